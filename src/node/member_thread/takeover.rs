//! A takeover: a standby claims, lets every core begin to decide, and becomes the active.
//!
//! # Invariants
//! - A claim follows on everything that the engine shows, and no other member has more.
//! - A core decides nothing before all cores have applied everything up to the claim.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use snapshot::Disk;
use tracing::{error, info, warn};

use super::applying::Applying;
use super::{Common, Stage};
use crate::journal::client::EnginePort;
use crate::journal::names::ActiveMember;
use crate::journal::reader::JournalReader;
use crate::journal::trimmer::Trimmer;
use crate::journal::writer::{AppendProgress, JournalWriter, StintEnd};
use crate::node::claim_check::ClaimVerdict;
use crate::node::journal_figures::TakeoverWhy;
use crate::node::journal_sink::JournalSink;
use crate::node::log::LogState;
use crate::node::log_thread::LogThread;
use crate::node::member_disk::MemberDisk;
use crate::node::membership::MemberRole;
use crate::node::trimming::Trimming;
use crate::node::worker::on_core;

/// Rounds of questions to other members in the time after which a standby claims: a round waits
/// 500 ms with etcd. It begins so much before the claim is due, so that it delays no claim after a
/// silence.
const ROUNDS_A_CLAIM: u32 = 6;
/// From this lag on, a new active warns that its clock is behind the journal.
const CLOCK_BEHIND_MS: u64 = 1000;

/// A standby with its claim.
pub(super) struct Takeover<D: Disk> {
    applying: Applying<D>,
    port: EnginePort,
    writer: Box<JournalWriter>,
    /// When the active before was last seen to append.
    silent_since: Duration,
}

/// Whether a claim is due, and no other member has more than the engine shows.
pub(super) fn is_claim_allowed<D: Disk>(common: &Common, applying: &Applying<D>) -> bool {
    let patience = common.client.profile().times.claim / ROUNDS_A_CLAIM;
    if !applying.standby.may_claim_within(patience) {
        return false;
    }
    let is_released = applying.standby.reader().is_released();
    match common.member.claim_check.look(common.now(), patience, is_released) {
        ClaimVerdict::Pending => false,
        ClaimVerdict::Allowed => applying.standby.may_claim(),
        ClaimVerdict::Forbidden(obstacle) => {
            // A moment before, the active may have appended what this member will see next.
            if applying.standby.may_claim()
                && let Some(left_out) = applying.forbidden.lasts()
            {
                error!(left_out = left_out.field(), "this member {obstacle}");
            }
            false
        }
    }
}

fn new_claim(common: &Common, reader: JournalReader) -> Result<JournalWriter, String> {
    let facts = common.member.claim_facts(&reader);
    let time_ms = common.node.clock.moment().now.get().max(reader.newest_time_ms());
    let writer = common.random(reader.place().seq.max(1));
    let claim = JournalWriter::claim(reader, common.client.profile(), writer, time_ms, facts);
    claim.map_err(|error| error.to_string())
}

impl<D: Disk> Takeover<D> {
    /// Claims behind what the standby has read.
    pub(super) fn begin(common: &Common, applying: Applying<D>) -> Stage<D> {
        match new_claim(common, applying.standby.reader().clone()) {
            Ok(writer) => {
                let silent_since = common.now().saturating_sub(applying.standby.silence());
                common.member.set_role(MemberRole::Claiming);
                let (port, writer) = (common.client.port(), Box::new(writer));
                Stage::Claiming(Self { applying, port, writer, silent_since })
            }
            Err(why) => common.fail(applying, why),
        }
    }

    /// The disk, of a takeover that is given up.
    pub(super) fn into_disk(self) -> MemberDisk<D> {
        self.applying.disk
    }

    /// One turn of the claim.
    pub(super) fn claim(mut self, common: &Common) -> Stage<D> {
        let now = common.now();
        while let Some((id, request)) = self.writer.poll(now) {
            self.port.send(id, request);
        }
        common.node.log.wake_shards();
        let Some((id, reply)) = self.port.receive(common.patience) else {
            return Stage::Claiming(self);
        };
        match self.writer.on_reply(common.now(), id, reply) {
            AppendProgress::None => Stage::Claiming(self),
            AppendProgress::Committed { .. } => {
                if let Some((seq, head)) = self.writer.take_committed() {
                    common.member.repair.accepted(seq, head);
                }
                let begun = self.start_cores(common);
                Stage::Starting(self, begun)
            }
            AppendProgress::Ended(
                StintEnd::Overtaken | StintEnd::Fenced { .. } | StintEnd::LeftBehind,
            ) => {
                info!("another member claimed before this one");
                common.member.set_role(MemberRole::Standby);
                Stage::Standby(self.applying)
            }
            AppendProgress::Ended(end) => common.fail(self.applying, end.to_string()),
        }
    }

    /// Lets every core begin to decide. All of them have applied everything. Returns the number of
    /// cores that have begun.
    fn start_cores(&self, common: &Common) -> Arc<AtomicUsize> {
        let newest = self.applying.standby.reader().newest_time_ms();
        let behind_ms = newest.saturating_sub(common.node.clock.moment().now.get());
        if behind_ms >= CLOCK_BEHIND_MS {
            warn!(
                behind_ms,
                "the clock is behind the time of the journal; time runs at half speed"
            );
        }
        common.node.clock.not_below(newest);
        common.member.set_begun();
        common.node.clock.continue_keys();
        let begun = Arc::new(AtomicUsize::new(0));
        for shard in common.node.shards.all() {
            let begun = Arc::clone(&begun);
            common.node.control(
                shard,
                on_core(move |local| {
                    local.start();
                    begun.fetch_add(1, Ordering::AcqRel);
                }),
            );
        }
        begun
    }

    /// Becomes the active once every core has begun. A stop may have ended cores before: then nobody
    /// decides, and the stint only releases the journal.
    pub(super) fn start(self, common: &Common, begun: Arc<AtomicUsize>) -> Stage<D> {
        let have_begun = begun.load(Ordering::Acquire) >= usize::from(common.node.shards.get());
        if !have_begun && !common.node.log.is_stopping() {
            std::thread::sleep(common.patience.min(Duration::from_millis(1)));
            return Stage::Starting(self, begun);
        }
        let Self { applying, port, writer, silent_since } = self;
        let (node, member) = (Arc::clone(&common.node), Arc::clone(&common.member));
        // A disk that takes nothing holds no reply of an active up: the journal has what it tells of.
        node.log.set_state(LogState::Ok);
        let epoch = writer.epoch();
        let active = ActiveMember { epoch, names: member.names.clone() };
        member.set_active(active.clone());
        let now = common.now();
        member.lease(now.saturating_add(writer.lease_left(now)));
        member.begin_votes(node.log.tail());
        member.set_role(MemberRole::Active);
        node.log.wake_shards();
        let why = TakeoverWhy::of(applying.standby.reader().is_released());
        member.figures.note_takeover(why, now.saturating_sub(silent_since));
        info!(epoch, last_lsn = node.log.tail().0, "this node is the active");
        let trimmer = Trimmer::new(member.journal, active, common.trim, applying.kept);
        let trimming = Trimming::new(trimmer, common.client.port());
        let disk = applying.disk;
        let sink = JournalSink::new(node, member, port, *writer, disk, trimming, common.patience);
        let thread = LogThread::new(Arc::clone(&common.node.log), sink);
        Stage::Active(Box::new(thread.with_watch(Arc::clone(&common.node.watch))))
    }
}
