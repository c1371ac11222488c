//! The thread of a member of a journal: it applies the journal, claims, and then writes the log as
//! the active.
//!
//! ```text
//!   standby ---> claiming ---> starting ---> active
//!     ^  |           |                         |
//!     |  |           | the journal went on     | fenced, released, or the disk failed
//!     +--|-----------+                         v
//!        |                                    over: the node recovers again
//!        +--> over: a sync of the disk failed
//!        +--> over: the journal has trimmed what comes next; the node copies it first
//!        +--> failed
//! ```
//!
//! It takes the place of the log's thread. [`MemberThread::turn`] takes one step and waits no longer
//! than its patience, so a simulation can run the same steps without waiting.
//!
//! # Invariants
//! - Every core gets every batch, in order, before the thread that decides ([`Stage::Active`]) can
//!   begin. A core decides nothing before all cores have applied everything up to the claim.
//! - The log on the disk gets a batch behind the journal, never before it ([`super::member_disk`]).
//! - `written` is the lowest LSN that all cores have applied and that the log on the disk has, and
//!   `tail` the last that the cores were given. Watchers get a batch behind that, never before it.

use std::collections::VecDeque;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use snapshot::{Batch, Disk, LogWriter, Lsn, Poisoned};
use tokio::sync::watch;
use tracing::{error, info, warn};
use twox_hash::XxHash64;

use super::after_stint::AfterStint;
use super::claim_check::ClaimVerdict;
use super::identity::IdentityFile;
use super::info::NodeInfo;
use super::journal_figures::TakeoverWhy;
use super::journal_keeper::JournalKeeper;
use super::journal_sink::JournalSink;
use super::log::LogState;
use super::log_comparison::LogComparison;
use super::log_thread::LogThread;
use super::mailbox::Control;
use super::member_disk::MemberDisk;
use super::membership::{MemberRole, Membership};
use super::standby::{Standby, StandbyEnd};
use super::standby_reads::Freshness;
use super::trimming::Trimming;
use super::worker::on_core;
use crate::journal::client::{EngineClient, EnginePort};
use crate::journal::engine::{EngineReply, EngineRequest};
use crate::journal::entry::ControlBody;
use crate::journal::kept::{KeptEntries, TrimLimits};
use crate::journal::names::ActiveMember;
use crate::journal::reach::JournalReach;
use crate::journal::reader::{AcceptedEntry, Content, JournalFault, JournalReader};
use crate::journal::trimmer::Trimmer;
use crate::journal::writer::{AppendProgress, JournalWriter, StintEnd};
use crate::throttle::Episode;

/// Longest wait of one turn.
const PATIENCE_MAX: Duration = Duration::from_millis(20);
/// Bytes of batches that the cores may have before them, with those that the disk refuses. Beyond it
/// nothing more is read.
const HELD_BYTES_MAX: usize = 32 << 20;
/// Most time that is added to the wait before a claim, so that two standbys seldom claim at once.
const JITTER_MAX_MS: u64 = 300;

/// Rounds of questions to other members in the time after which a standby claims: a round waits
/// 500 ms with etcd. It begins so much before the claim is due, so that it delays no claim after a
/// silence.
const ROUNDS_A_CLAIM: u32 = 6;

/// From this lead on, a node is the last to claim: it would take the time of the journal there.
const CLOCK_AHEAD_MS: u64 = 5 * 60 * 1000;
/// From this lag on, a new active warns that its clock is behind the journal.
const CLOCK_BEHIND_MS: u64 = 1000;

/// What a member's thread is made of.
pub struct MemberParts<D: Disk> {
    /// The node whose cores apply and decide.
    pub node: Arc<NodeInfo>,
    /// Its membership.
    pub member: Arc<Membership>,
    /// Makes ports to the engine.
    pub client: EngineClient,
    /// Continues the log on the disk.
    pub disk: LogWriter<D>,
    /// The identity file of its directory.
    pub identity_file: Arc<IdentityFile<D>>,
    /// How much of the journal the engine keeps.
    pub trim: TrimLimits,
    /// The epoch of the stint that this process has handed over last. It does not claim at once
    /// behind that release.
    pub handed_over: Option<u64>,
    /// Whether a sync of the disk failed in the life of the node before.
    pub disk_failed: bool,
    /// A random number of this run.
    pub seed: u64,
    /// Longest wait of one turn; zero in a simulation.
    pub patience: Duration,
}

/// What every stage has.
struct Common {
    node: Arc<NodeInfo>,
    member: Arc<Membership>,
    client: EngineClient,
    trim: TrimLimits,
    handed_over: Option<u64>,
    seed: u64,
    patience: Duration,
}

/// The thread, and where it is.
pub struct MemberThread<D: Disk> {
    common: Common,
    stage: Stage<D>,
}

enum Stage<D: Disk> {
    Standby(Applying<D>),
    Claiming(Applying<D>, EnginePort, Box<JournalWriter>),
    /// All cores begin to decide; the number of those that have begun.
    Starting(Applying<D>, EnginePort, Box<JournalWriter>, Arc<AtomicUsize>),
    Active(Box<LogThread<JournalSink<D>>>),
    /// It waits for the stop of the process.
    Failed(MemberDisk<D>),
    /// Whether the log on the disk was closed with its end mark, and what the node does next.
    Over(bool, AfterStint),
}

/// What a standby reads, and brings to the cores and to the disk.
struct Applying<D: Disk> {
    standby: Standby,
    port: EnginePort,
    disk: MemberDisk<D>,
    /// The records that the disk had at the beginning.
    comparison: LogComparison<D>,
    /// Batches that some core has not applied, or that the disk does not have.
    handed: VecDeque<HandedBatch>,
    /// How new the state is.
    freshness: Freshness,
    /// Whether watchers were woken since there is no word of the engine for long.
    is_cut_off: bool,
    /// What the engine keeps, for the trims of an active.
    kept: KeptEntries,
    /// Other members have more than the engine shows.
    forbidden: Episode,
    /// When the active before was last seen to append, as of the newest claim.
    silent_since: Duration,
    /// By how much the time of this node was ahead of the newest entry, in ms, when that came. Only
    /// an entry that came while this member had all others shows that.
    ahead_ms: Option<u64>,
    /// Whether it had everything up to the tail at some time.
    was_level: bool,
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

impl<D: Disk> MemberThread<D> {
    /// A standby that continues behind the records on its disk.
    pub fn new(parts: MemberParts<D>) -> Self {
        let MemberParts {
            node,
            member,
            client,
            disk,
            identity_file,
            trim,
            handed_over,
            disk_failed,
            seed,
            patience,
        } = parts;
        let now = node.clock.boot();
        let keeper = JournalKeeper::new(now, identity_file, &member);
        let disk = MemberDisk::new(now, Arc::clone(&member), disk, keeper, disk_failed);
        let patience = patience.min(PATIENCE_MAX);
        let common = Common { node, member, client, trim, handed_over, seed, patience };
        let applying = common.stand_by(disk);
        Self { common, stage: Stage::Standby(applying) }
    }

    /// Runs until the node stops or its stint ends; says the end to `over`. Returns whether the log
    /// on the disk was closed.
    pub fn run(mut self, over: &watch::Sender<Option<AfterStint>>) -> bool {
        let (closed, next) = loop {
            self.stage = match self.stage {
                Stage::Active(thread) => {
                    let closed = thread.run();
                    Stage::Over(closed, self.common.after_stint())
                }
                Stage::Over(closed, next) => break (closed, next),
                stage => self.common.step(stage),
            };
        };
        over.send_replace(Some(next));
        closed
    }

    /// Takes one step. Returns what the node does next, once the thread is over.
    #[cfg(feature = "internals")]
    pub fn turn(&mut self, now: std::time::Instant) -> Option<AfterStint> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over(false, AfterStint::Recover));
        self.stage = match stage {
            Stage::Active(mut thread) => {
                thread.look();
                thread.write();
                match thread.sync(now) || thread.is_over() {
                    true => {
                        let closed = thread.finish();
                        Stage::Over(closed, self.common.after_stint())
                    }
                    false => Stage::Active(thread),
                }
            }
            Stage::Over(closed, next) => {
                self.stage = Stage::Over(closed, next);
                return Some(next);
            }
            stage => self.common.step(stage),
        };
        None
    }
}

impl Common {
    fn now(&self) -> Duration {
        self.node.clock.boot()
    }

    fn random(&self, of: u64) -> u64 {
        let mut hasher = XxHash64::with_seed(self.seed);
        hasher.write_u64(of);
        hasher.finish()
    }

    /// What the node does behind its stint as the active.
    fn after_stint(&self) -> AfterStint {
        if self.node.log.state() == LogState::Poisoned {
            return AfterStint::DiskFailed { epoch: Some(self.member.active().epoch) };
        }
        match self.member.released() {
            Some(epoch) => AfterStint::HandedOver { epoch },
            None => AfterStint::Recover,
        }
    }

    fn stand_by<D: Disk>(&self, disk: MemberDisk<D>) -> Applying<D> {
        let profile = self.client.profile();
        let reader = JournalReader::new(self.member.journal, profile.condition);
        let reader = reader.reading(self.member.reads);
        let jitter = Duration::from_millis(self.random(0) % JITTER_MAX_MS);
        let standby = Standby::new(reader, profile, disk.accepted(), jitter);
        let comparison = LogComparison::new(disk.log());
        Applying {
            standby: standby.of_member(self.member.names.member.clone(), self.handed_over),
            port: self.client.port(),
            disk,
            comparison,
            handed: VecDeque::new(),
            freshness: Freshness::default(),
            is_cut_off: false,
            kept: KeptEntries::new(&self.trim),
            forbidden: Episode::default(),
            silent_since: Duration::ZERO,
            ahead_ms: None,
            was_level: false,
            is_ahead: Episode::default(),
        }
    }

    fn step<D: Disk>(&self, stage: Stage<D>) -> Stage<D> {
        match stage {
            Stage::Standby(applying) if self.node.log.is_stopping() => {
                self.end(applying.disk, AfterStint::Recover)
            }
            Stage::Standby(applying) => self.apply(applying),
            Stage::Claiming(applying, ..) if self.node.log.is_stopping() => {
                self.end(applying.disk, AfterStint::Recover)
            }
            Stage::Claiming(applying, port, writer) => self.claim(applying, port, writer),
            Stage::Starting(applying, port, writer, begun) => {
                self.begin(applying, port, writer, begun)
            }
            Stage::Failed(disk) if self.node.log.is_stopping() => {
                self.end(disk, AfterStint::Recover)
            }
            Stage::Failed(disk) => {
                std::thread::sleep(self.patience);
                Stage::Failed(disk)
            }
            stage @ (Stage::Active(_) | Stage::Over(..)) => stage,
        }
    }

    /// Keeps what the journal has shown, and closes the log on the disk.
    fn end<D: Disk>(&self, disk: MemberDisk<D>, next: AfterStint) -> Stage<D> {
        self.member.set_role(MemberRole::Demoted);
        let closed = disk.finish();
        if let Err(error) = &closed {
            error!(%error, "the log could not be closed");
        }
        self.node.log.set_stopped();
        Stage::Over(closed.is_ok(), next)
    }

    fn fail<D: Disk>(&self, mut applying: Applying<D>, why: String) -> Stage<D> {
        // Others, and a refill, may need all that it has.
        let written = applying.disk.turn(self.now());
        if written.is_ok() && applying.disk.sync().is_ok() {
            self.publish(&mut applying);
        }
        applying.disk.keep();
        error!(why, "this member cannot continue, and waits for an operator");
        self.member.set_role(MemberRole::Demoted);
        self.member.fail(why);
        self.node.log.wake_shards();
        Stage::Failed(applying.disk)
    }

    /// One turn of a standby.
    fn apply<D: Disk>(&self, mut applying: Applying<D>) -> Stage<D> {
        self.read(&mut applying);
        let now = self.now();
        if let Err(poisoned) = applying.disk.turn(now).and_then(|()| applying.disk.sync_if_due(now))
        {
            return self.disk_failed(applying.disk, &poisoned);
        }
        self.publish(&mut applying);
        if let Some(StandbyEnd::Trimmed { have }) = applying.standby.end() {
            warn!(last_lsn = have.0, "the journal begins behind what this member has");
            let was_level = applying.was_level;
            return self.end(applying.disk, AfterStint::Copy { was_level });
        }
        if let Some(lsn) = self.member.wrong_at() {
            return self.copy_once(applying, lsn);
        }
        let failed = self.member.failure();
        let end = applying.standby.end().map(ToString::to_string);
        if let Some(why) = failed.or(end) {
            return self.fail(applying, why);
        }
        let is_last = applying.disk.is_bad() || applying.is_clock_ahead();
        applying.standby.set_last(is_last);
        let applied = self.applied();
        let has_all = applying.handed.iter().all(|handed| handed.last <= applied);
        // Who stops would keep the others waiting with a claim.
        let is_stopping = self.node.stopping.load(Ordering::Acquire);
        if !has_all || is_stopping || !self.is_claim_allowed(&applying) {
            return Stage::Standby(applying);
        }
        match self.new_claim(applying.standby.reader().clone()) {
            Ok(writer) => {
                applying.silent_since = self.now().saturating_sub(applying.standby.silence());
                self.member.set_role(MemberRole::Claiming);
                Stage::Claiming(applying, self.client.port(), Box::new(writer))
            }
            Err(why) => self.fail(applying, why),
        }
    }

    /// Replaces the data of this member, which is wrong, by that of the active. If it is wrong again in this
    /// process, it waits for an operator.
    fn copy_once<D: Disk>(&self, applying: Applying<D>, lsn: Lsn) -> Stage<D> {
        if !self.member.figures.may_copy_wrong_data() {
            let why = "its data is wrong again, after it was copied: a bug, or bad memory";
            return self.fail(applying, format!("{why} (digest at LSN {lsn})"));
        }
        error!(lsn = lsn.0, "the data of this member is wrong; it copies that of the active");
        self.end(applying.disk, AfterStint::Replace)
    }

    /// Ends a life whose disk has failed a sync. What it calls durable may not be on the disk.
    fn disk_failed<D: Disk>(&self, disk: MemberDisk<D>, poisoned: &Poisoned) -> Stage<D> {
        error!(reason = %poisoned.reason, "a sync of the log failed; this member recovers");
        self.end(disk, AfterStint::DiskFailed { epoch: None })
    }

    /// Whether a claim is due, and no other member has more than the engine shows.
    fn is_claim_allowed<D: Disk>(&self, applying: &Applying<D>) -> bool {
        let patience = self.client.profile().times.claim / ROUNDS_A_CLAIM;
        if !applying.standby.may_claim_within(patience) {
            return false;
        }
        let is_released = applying.standby.reader().is_released();
        match self.member.claim_check.look(self.now(), patience, is_released) {
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

    /// Sends what is due, and accepts what has come.
    fn read<D: Disk>(&self, applying: &mut Applying<D>) {
        if applying.held_bytes() > HELD_BYTES_MAX {
            std::thread::sleep(self.patience);
            return;
        }
        let now = self.now();
        while let Some((id, request)) = applying.standby.poll(now) {
            if request == EngineRequest::Tail {
                applying.freshness.sent(now, id);
            }
            applying.port.send(id, request);
        }
        let wait = applying.standby.next_poll().saturating_sub(now).min(self.patience);
        let mut next = applying.port.receive(wait);
        while let Some((id, reply)) = next {
            if let EngineReply::Tail { seq } = &reply {
                applying.freshness.shown(self.now(), id, *seq);
            }
            let is_level = applying.standby.has_all();
            let accepted = applying.standby.on_reply(self.now(), id, reply);
            if let Some(active) = applying.standby.take_base_active() {
                info!(epoch = active.epoch, active = active.names.member, "the base of a trim");
                self.member.set_active(active);
                applying.kept = KeptEntries::new(&self.trim);
            }
            if let Some(entry) = accepted.last().filter(|_| is_level) {
                let now = self.node.clock.moment().now.get();
                applying.ahead_ms = Some(now.saturating_sub(entry.header.time_ms));
            }
            for entry in accepted {
                self.accept(applying, entry);
                if self.member.failure().is_some() {
                    return;
                }
            }
            next = applying.port.try_receive();
        }
        applying.was_level |= applying.standby.has_all();
        self.repair(applying);
        self.member.claim_check.accepted(JournalReach::of(applying.standby.reader()));
        self.member.set_format(applying.standby.reader().place().format);
        if self.member.claim_check.forbidding().is_none() && applying.forbidden.ends() {
            info!("nothing forbids a claim any more");
        }
    }

    /// Asks the other members for an entry that no endpoint of the engine has whole.
    fn repair<D: Disk>(&self, applying: &mut Applying<D>) {
        let Some(seq) = applying.standby.lacks() else { return };
        let Some(given) = self.member.repair.want(seq) else { return };
        if let Some(entry) = applying.standby.repair(&given) {
            warn!(seq, "an entry of the journal was damaged, and another member gave it");
            self.accept(applying, entry);
        }
    }

    fn accept<D: Disk>(&self, applying: &mut Applying<D>, entry: AcceptedEntry) {
        let AcceptedEntry { seq, header, content, head, behind } = entry;
        self.member.repair.accepted(seq, head);
        if let Some((place, bytes)) = behind {
            applying.kept.note(self.now(), place, bytes);
        }
        match content {
            Content::Records(batch) => {
                match applying.comparison.behind(applying.disk.log(), header.first, batch) {
                    Ok(Some((first, batch))) => self.hand_over(applying, first, seq, batch),
                    Ok(None) => {}
                    Err(why) => {
                        let (lsn, what) = (header.first, why.to_string());
                        self.member.fail(JournalFault { seq, lsn, what }.to_string());
                    }
                }
            }
            Content::Control(ControlBody::Claim(facts)) => {
                info!(epoch = header.epoch, active = facts.member, why = facts.why, "a claim");
                self.member.set_active(facts.active(header.epoch));
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
    fn hand_over<D: Disk>(&self, applying: &mut Applying<D>, first: Lsn, seq: u64, batch: Batch) {
        debug_assert_eq!(first, self.node.log.tail().next(), "the reader's rule leaves no gap");
        let records = u64::try_from(batch.count()).unwrap_or(u64::MAX);
        let last = Lsn(first.0.saturating_add(records)).previous();
        let (behind, batch) = (seq.saturating_sub(1), batch.into());
        let handed = HandedBatch { first, last, behind, batch };
        self.node.log.received(handed.last);
        for shard in self.node.shards.all() {
            self.node.control(shard, Control::Replay(handed.first, Arc::clone(&handed.batch)));
        }
        self.node.log.note_written(handed.batch.len_bytes());
        applying.disk.accept(Arc::clone(&handed.batch));
        applying.handed.push_back(handed);
    }

    /// The last record that all cores have applied.
    fn applied(&self) -> Lsn {
        let applied =
            self.node.mailboxes.iter().map(|mailbox| mailbox.applied.load(Ordering::Acquire));
        Lsn(applied.min().unwrap_or(0))
    }

    /// Publishes how far the cores and the disk have come.
    fn publish<D: Disk>(&self, applying: &mut Applying<D>) {
        let applied = self.applied();
        let reached = applied.min(applying.disk.written());
        if applying.disk.is_displaced() {
            self.node.log.forget_durable();
        }
        self.node.log.set_state(match applying.disk.trouble() {
            Some(_) => LogState::Stalled,
            None => LogState::Ok,
        });
        self.node.log.applied(reached, applying.disk.durable());
        let watch = &self.node.watch;
        while let Some(done) = applying.handed.pop_front_if(|handed| handed.last <= reached) {
            // Asked after `reached` has moved; see [`WatchHub::is_watched`].
            if watch.is_watched() {
                watch.offer(done.first, done.batch);
            }
        }
        self.publish_age(applying, applied);
    }

    /// Publishes how new the state is that all cores have applied. While another member has more
    /// than the engine shows, the tail says nothing about that.
    fn publish_age<D: Disk>(&self, applying: &mut Applying<D>, applied: Lsn) {
        let reader = applying.standby.reader();
        let unapplied = applying.handed.iter().find(|handed| handed.last > applied);
        let seq = unapplied.map_or(reader.next_seq().saturating_sub(1), |handed| handed.behind);
        let is_ahead = self.member.claim_check.reach().exceeds(&JournalReach::of(reader));
        if let Some(at) = applying.freshness.applied(seq).filter(|_| !is_ahead) {
            self.member.set_fresh_at(at);
        }
        let is_cut_off = self.member.is_cut_off(self.now());
        if is_cut_off && !applying.is_cut_off {
            self.node.watch.wake_watchers();
        }
        applying.is_cut_off = is_cut_off;
        // Requests that wait for what other members have shown wait for a time, too.
        self.node.log.wake_shards();
    }

    fn new_claim(&self, reader: JournalReader) -> Result<JournalWriter, String> {
        let facts = self.member.claim_facts(&reader);
        let time_ms = self.node.clock.moment().now.get().max(reader.newest_time_ms());
        let writer = self.random(reader.place().seq.max(1));
        let claim = JournalWriter::claim(reader, self.client.profile(), writer, time_ms, facts);
        claim.map_err(|error| error.to_string())
    }

    /// One turn of a claim.
    fn claim<D: Disk>(
        &self,
        applying: Applying<D>,
        port: EnginePort,
        mut writer: Box<JournalWriter>,
    ) -> Stage<D> {
        let now = self.now();
        while let Some((id, request)) = writer.poll(now) {
            port.send(id, request);
        }
        self.node.log.wake_shards();
        let Some((id, reply)) = port.receive(self.patience) else {
            return Stage::Claiming(applying, port, writer);
        };
        match writer.on_reply(self.now(), id, reply) {
            AppendProgress::None => Stage::Claiming(applying, port, writer),
            AppendProgress::Committed { .. } => {
                if let Some((seq, head)) = writer.take_committed() {
                    self.member.repair.accepted(seq, head);
                }
                let begun = self.start_cores(&applying);
                Stage::Starting(applying, port, writer, begun)
            }
            AppendProgress::Ended(
                StintEnd::Overtaken | StintEnd::Fenced { .. } | StintEnd::LeftBehind,
            ) => {
                info!("another member claimed before this one");
                self.member.set_role(MemberRole::Standby);
                Stage::Standby(applying)
            }
            AppendProgress::Ended(end) => self.fail(applying, end.to_string()),
        }
    }

    /// Lets every core begin to decide. All of them have applied everything.
    fn start_cores<D: Disk>(&self, applying: &Applying<D>) -> Arc<AtomicUsize> {
        let newest = applying.standby.reader().newest_time_ms();
        let behind_ms = newest.saturating_sub(self.node.clock.moment().now.get());
        if behind_ms >= CLOCK_BEHIND_MS {
            warn!(
                behind_ms,
                "the clock is behind the time of the journal; time runs at half speed"
            );
        }
        self.node.clock.not_below(newest);
        self.member.set_begun();
        self.node.clock.continue_keys();
        let begun = Arc::new(AtomicUsize::new(0));
        for shard in self.node.shards.all() {
            let begun = Arc::clone(&begun);
            self.node.control(
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
    fn begin<D: Disk>(
        &self,
        applying: Applying<D>,
        port: EnginePort,
        writer: Box<JournalWriter>,
        begun: Arc<AtomicUsize>,
    ) -> Stage<D> {
        let have_begun = begun.load(Ordering::Acquire) >= usize::from(self.node.shards.get());
        if !have_begun && !self.node.log.is_stopping() {
            std::thread::sleep(self.patience.min(Duration::from_millis(1)));
            return Stage::Starting(applying, port, writer, begun);
        }
        // A disk that takes nothing holds no reply of an active up: the journal has what it tells of.
        self.node.log.set_state(LogState::Ok);
        let epoch = writer.epoch();
        let active = ActiveMember { epoch, names: self.member.names.clone() };
        self.member.set_active(active.clone());
        let now = self.now();
        self.member.lease(now.saturating_add(writer.lease_left(now)));
        self.member.begin_votes(self.node.log.tail());
        self.member.set_role(MemberRole::Active);
        self.node.log.wake_shards();
        let why = TakeoverWhy::of(applying.standby.reader().is_released());
        let took = now.saturating_sub(applying.silent_since);
        self.member.figures.note_takeover(why, took);
        info!(epoch, last_lsn = self.node.log.tail().0, "this node is the active");
        let trimmer = Trimmer::new(self.member.journal, active, self.trim, applying.kept);
        let trimming = Trimming::new(trimmer, self.client.port());
        let (node, member) = (Arc::clone(&self.node), Arc::clone(&self.member));
        let disk = applying.disk;
        let sink = JournalSink::new(node, member, port, *writer, disk, trimming, self.patience);
        let thread = LogThread::new(Arc::clone(&self.node.log), sink);
        Stage::Active(Box::new(thread.with_watch(Arc::clone(&self.node.watch))))
    }
}

impl<D: Disk> Applying<D> {
    /// Whether the clock is so far ahead of the journal that others should claim.
    fn is_clock_ahead(&self) -> bool {
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

    /// Bytes of the batches that some core has not applied, and of those that the disk does not
    /// have.
    fn held_bytes(&self) -> usize {
        self.handed.iter().map(|handed| handed.batch.len_bytes()).sum()
    }
}
