//! The trims of an active: asks the engine, and publishes what is kept and on how many disks.

use std::time::Duration;

use snapshot::Lsn;
use tracing::{debug, warn};

use super::membership::Membership;
use crate::journal::client::EnginePort;
use crate::journal::trimmer::Trimmer;
use crate::journal::writer::JournalWriter;
use crate::throttle::Episode;

/// After so long with a lease, all standbys that are alive have reported: each does once a second.
const HEARD_AFTER: Duration = Duration::from_secs(3);

/// The trims of one stint, with a port of their own: they never wait for appends, nor appends for
/// them.
pub(super) struct Trimming {
    trimmer: Trimmer,
    port: EnginePort,
    /// Since when reports can arrive: without a lease they are turned away.
    leased_since: Option<Duration>,
    refusal: Episode,
}

impl Trimming {
    pub(super) fn new(trimmer: Trimmer, port: EnginePort) -> Self {
        Self { trimmer, port, leased_since: None, refusal: Episode::default() }
    }

    /// Notes what the writer has committed.
    pub(super) fn note(&mut self, now: Duration, writer: &JournalWriter) {
        if let Some((place, bytes)) = writer.newest_cost() {
            self.trimmer.note(now, place, bytes);
        }
    }

    /// Takes replies, and asks for what is due. `own` is durable on this node.
    pub(super) fn turn(&mut self, now: Duration, own: Lsn, member: &Membership) {
        while let Some((id, reply)) = self.port.try_receive() {
            if let Some(place) = self.trimmer.on_reply(now, id, &reply) {
                member.figures.note_trim();
                debug!(
                    seq = place.seq,
                    lsn = place.next_lsn.previous().0,
                    "the journal is trimmed"
                );
            }
        }
        if !self.trimmer.is_due(now) {
            return;
        }
        let others = member.durable_on_standbys(now);
        if let Some((id, request)) = self.trimmer.poll(now, own, &others) {
            self.port.send(id, request);
        }
        let kept = self.trimmer.kept();
        let leased_since = match member.lease_left(now).is_zero() {
            true => None,
            false => Some(self.leased_since.unwrap_or(now)),
        };
        self.leased_since = leased_since;
        let is_heard = leased_since.is_some_and(|since| now.saturating_sub(since) >= HEARD_AFTER);
        member.figures.set_kept(kept.retained_bytes(), is_heard.then(|| kept.copies(&others)));
        let is_refusing = self.trimmer.is_refusing();
        member.refuse_for_copies(is_refusing);
        if !is_refusing {
            self.refusal.ends();
        } else if let Some(left_out) = self.refusal.lasts() {
            warn!(
                left_out = left_out.field(),
                standbys = others.len(),
                "the journal is at its maximum and too few standbys have it; writes are refused"
            );
        }
    }
}
