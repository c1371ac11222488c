//! What a standby reads, and how it brings that to the cores, to the disk and to watchers.
//!
//! # Invariants
//! - Every core gets every batch, in order.
//! - The log on the disk gets a batch behind the journal, never before it ([`MemberDisk`]).
//! - `written` is the lowest LSN that all cores have applied and that the log on the disk has, and
//!   `tail` the last that the cores were given. Watchers get a batch behind that, never before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{Batch, Disk, Lsn};
use tracing::{info, warn};

use super::Common;
use crate::journal::client::EnginePort;
use crate::journal::engine::{EngineReply, EngineRequest};
use crate::journal::entry::ControlBody;
use crate::journal::kept::KeptEntries;
use crate::journal::reach::JournalReach;
use crate::journal::reader::{AcceptedEntry, Content, JournalFault, JournalReader};
use crate::node::log::LogState;
use crate::node::log_comparison::LogComparison;
use crate::node::mailbox::Control;
use crate::node::member_disk::MemberDisk;
use crate::node::standby::Standby;
use crate::node::standby_reads::Freshness;
use crate::throttle::Episode;

/// Bytes of batches that the cores may have before them, with those that the disk refuses. Beyond it
/// nothing more is read.
const HELD_BYTES_MAX: usize = 32 << 20;
/// Most time that is added to the wait before a claim, so that two standbys seldom claim at once.
const JITTER_MAX_MS: u64 = 300;
/// From this lead on, a node is the last to claim: it would take the time of the journal there.
const CLOCK_AHEAD_MS: u64 = 5 * 60 * 1000;

/// What a standby reads, and brings to the cores and to the disk.
pub(super) struct Applying<D: Disk> {
    pub(super) standby: Standby,
    port: EnginePort,
    pub(super) disk: MemberDisk<D>,
    /// The records that the disk had at the beginning.
    comparison: LogComparison<D>,
    /// Batches that some core has not applied, or that the disk does not have.
    handed: VecDeque<HandedBatch>,
    /// How new the state is.
    freshness: Freshness,
    /// Whether watchers were woken since there is no word of the engine for long.
    is_cut_off: bool,
    /// What the engine keeps, for the trims of an active.
    pub(super) kept: KeptEntries,
    /// Other members have more than the engine shows.
    pub(super) forbidden: Episode,
    /// By how much the time of this node was ahead of the newest entry, in ms, when that came. Only
    /// an entry that came while this member had all others shows that.
    ahead_ms: Option<u64>,
    /// Whether it had everything up to the tail at some time.
    pub(super) was_level: bool,
    is_ahead: Episode,
}

/// A batch that the cores and the disk were given.
struct HandedBatch {
    first: Lsn,
    last: Lsn,
    /// The entry before it, or before its last part.
    behind: u64,
    batch: Arc<Batch>,
}

impl<D: Disk> Applying<D> {
    /// Begins behind the records of this disk.
    pub(super) fn new(common: &Common, disk: MemberDisk<D>) -> Self {
        let profile = common.client.profile();
        let reader = JournalReader::new(common.member.journal, profile.condition);
        let reader = reader.reading(common.member.reads);
        let jitter = Duration::from_millis(common.random(0) % JITTER_MAX_MS);
        let standby = Standby::new(reader, profile, disk.accepted(), jitter);
        let comparison = LogComparison::new(disk.log());
        Self {
            standby: standby.of_member(common.member.names.member.clone(), common.handed_over),
            port: common.client.port(),
            disk,
            comparison,
            handed: VecDeque::new(),
            freshness: Freshness::default(),
            is_cut_off: false,
            kept: KeptEntries::new(&common.trim),
            forbidden: Episode::default(),
            ahead_ms: None,
            was_level: false,
            is_ahead: Episode::default(),
        }
    }

    /// Sends what is due, and accepts what has come.
    pub(super) fn read(&mut self, common: &Common) {
        if self.held_bytes() > HELD_BYTES_MAX {
            std::thread::sleep(common.patience);
            return;
        }
        let now = common.now();
        while let Some((id, request)) = self.standby.poll(now) {
            if request == EngineRequest::Tail {
                self.freshness.sent(now, id);
            }
            self.port.send(id, request);
        }
        let wait = self.standby.next_poll().saturating_sub(now).min(common.patience);
        let mut next = self.port.receive(wait);
        while let Some((id, reply)) = next {
            if let EngineReply::Tail { seq } = &reply {
                self.freshness.shown(common.now(), id, *seq);
            }
            let is_level = self.standby.has_all();
            let accepted = self.standby.on_reply(common.now(), id, reply);
            if let Some(active) = self.standby.take_base_active() {
                info!(epoch = active.epoch, active = active.names.member, "the base of a trim");
                common.member.set_active(active);
                self.kept = KeptEntries::new(&common.trim);
            }
            if let Some(entry) = accepted.last().filter(|_| is_level) {
                let now = common.node.clock.moment().now.get();
                self.ahead_ms = Some(now.saturating_sub(entry.header.time_ms));
            }
            for entry in accepted {
                self.accept(common, entry);
                if common.member.failure().is_some() {
                    return;
                }
            }
            next = self.port.try_receive();
        }
        self.was_level |= self.standby.has_all();
        self.repair(common);
        common.member.has_read(self.standby.reader());
        common.member.figures.note_faults(self.standby.take_found());
        if common.member.claim_check.forbidding().is_none() && self.forbidden.ends() {
            info!("nothing forbids a claim any more");
        }
    }

    /// Asks the other members for an entry that no endpoint of the engine has whole.
    fn repair(&mut self, common: &Common) {
        let Some(seq) = self.standby.lacks() else { return };
        let Some(given) = common.member.repair.want(seq) else { return };
        if let Some(entry) = self.standby.repair(&given) {
            warn!(seq, "an entry of the journal was damaged, and another member gave it");
            self.accept(common, entry);
        }
    }

    fn accept(&mut self, common: &Common, entry: AcceptedEntry) {
        let AcceptedEntry { seq, header, content, head, behind } = entry;
        common.member.repair.accepted(seq, head);
        if let Some((place, bytes)) = behind {
            self.kept.note(common.now(), place, bytes);
        }
        match content {
            Content::Records(batch) => {
                match self.comparison.behind(self.disk.log(), header.first, batch) {
                    Ok(Some((first, batch))) => self.distribute(common, first, seq, batch),
                    Ok(None) => {}
                    Err(why) => {
                        let (lsn, what) = (header.first, why.to_string());
                        common.member.fail(JournalFault { seq, lsn, what }.to_string());
                    }
                }
            }
            Content::Control(ControlBody::Claim(facts)) => {
                info!(epoch = header.epoch, active = facts.member, why = facts.why, "a claim");
                common.member.set_active(facts.active(header.epoch));
            }
            Content::Part
            | Content::Control(
                ControlBody::Genesis(_)
                | ControlBody::Beat
                | ControlBody::Release(_)
                | ControlBody::Format(_)
                | ControlBody::Split(_),
            ) => {}
        }
    }

    /// Gives a batch to every core and to the disk.
    fn distribute(&mut self, common: &Common, first: Lsn, seq: u64, batch: Batch) {
        debug_assert_eq!(first, common.node.log.tail().next(), "the reader's rule leaves no gap");
        let records = u64::try_from(batch.count()).unwrap_or(u64::MAX);
        let last = Lsn(first.0.saturating_add(records)).previous();
        let (behind, batch) = (seq.saturating_sub(1), batch.into());
        let handed = HandedBatch { first, last, behind, batch };
        common.node.log.received(handed.last);
        for shard in common.node.shards.all() {
            common.node.control(shard, Control::Replay(handed.first, Arc::clone(&handed.batch)));
        }
        common.node.log.note_written(handed.batch.len_bytes());
        self.disk.accept(Arc::clone(&handed.batch));
        self.handed.push_back(handed);
    }

    /// Publishes how far the cores and the disk have come.
    pub(super) fn publish(&mut self, common: &Common) {
        let applied = common.applied();
        let reached = applied.min(self.disk.written());
        if self.disk.is_displaced() {
            common.node.log.forget_durable();
        }
        common.node.log.set_state(match self.disk.trouble() {
            Some(_) => LogState::Stalled,
            None => LogState::Ok,
        });
        common.node.log.applied(reached, self.disk.durable());
        let watch = &common.node.watch;
        while let Some(done) = self.handed.pop_front_if(|handed| handed.last <= reached) {
            // Asked after `reached` has moved; see [`WatchHub::is_watched`].
            if watch.is_watched() {
                watch.offer(done.first, done.batch);
            }
        }
        self.publish_age(common, applied);
    }

    /// Publishes how new the state is that all cores have applied. While another member has more
    /// than the engine shows, the tail says nothing about that.
    fn publish_age(&mut self, common: &Common, applied: Lsn) {
        let reader = self.standby.reader();
        let unapplied = self.handed.iter().find(|handed| handed.last > applied);
        let seq = unapplied.map_or(reader.next_seq().saturating_sub(1), |handed| handed.behind);
        let is_ahead = common.member.claim_check.reach().exceeds(&JournalReach::of(reader));
        if let Some(at) = self.freshness.applied(seq).filter(|_| !is_ahead) {
            common.member.set_fresh_at(at);
        }
        let is_cut_off = common.member.is_cut_off(common.now());
        if is_cut_off && !self.is_cut_off {
            common.node.watch.wake_watchers();
        }
        self.is_cut_off = is_cut_off;
        // Requests that wait for what other members have shown wait for a time, too.
        common.node.log.wake_shards();
    }

    /// Whether the clock is so far ahead of the journal that others should claim.
    pub(super) fn is_clock_ahead(&self) -> bool {
        let ahead_ms = self.ahead_ms.filter(|ahead_ms| *ahead_ms >= CLOCK_AHEAD_MS);
        match ahead_ms {
            Some(ahead_ms) => {
                if let Some(left_out) = self.is_ahead.lasts() {
                    let left_out = left_out.field();
                    warn!(
                        ahead_ms,
                        left_out, "the clock is ahead of the journal; others claim first"
                    );
                }
            }
            None if self.is_ahead.ends() => info!("the clock is that of the journal again"),
            None => {}
        }
        ahead_ms.is_some()
    }

    /// Whether all cores have applied everything that was read.
    pub(super) fn is_applied(&self, common: &Common) -> bool {
        let applied = common.applied();
        self.handed.iter().all(|handed| handed.last <= applied)
    }

    /// Bytes of the batches that some core has not applied, and of those that the disk does not
    /// have.
    fn held_bytes(&self) -> usize {
        self.handed.iter().map(|handed| handed.batch.len_bytes()).sum()
    }
}
