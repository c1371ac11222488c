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
//! # Layout
//! - `applying`: what a standby reads, and how it comes to cores, disk and watchers
//! - `takeover`: the claim, the start of all cores, and the first moment of an active
//!
//! # Invariants
//! - Every core gets every batch, in order, before the thread that decides ([`Stage::Active`]) can
//!   begin.
//! - A stage that ends keeps what the journal has shown, and closes the log on the disk.

mod applying;
mod takeover;

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use snapshot::{Disk, LogWriter, Lsn, Poisoned};
use tokio::sync::watch;
use tracing::{error, warn};
use twox_hash::XxHash64;

use self::applying::Applying;
use self::takeover::{Takeover, is_claim_allowed};
use super::after_stint::AfterStint;
use super::identity::IdentityFile;
use super::info::NodeInfo;
use super::journal_keeper::JournalKeeper;
use super::journal_sink::JournalSink;
use super::log::LogState;
use super::log_thread::{LogThread, not_closed};
use super::member_disk::MemberDisk;
use super::membership::{MemberRole, Membership};
use super::standby::StandbyEnd;
use crate::journal::client::EngineClient;
use crate::journal::kept::TrimLimits;

/// Longest wait of one turn.
const PATIENCE_MAX: Duration = Duration::from_millis(20);

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
    Claiming(Takeover<D>),
    /// All cores begin to decide; the number of those that have begun.
    Starting(Takeover<D>, Arc<AtomicUsize>),
    Active(Box<LogThread<JournalSink<D>>>),
    /// It waits for the stop of the process.
    Failed(MemberDisk<D>),
    /// Whether the log on the disk was closed with its end mark, and what the node does next.
    Over(bool, AfterStint),
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
        let applying = Applying::new(&common, disk);
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

    fn step<D: Disk>(&self, stage: Stage<D>) -> Stage<D> {
        match stage {
            Stage::Standby(applying) if self.node.log.is_stopping() => {
                self.end(applying.disk, AfterStint::Recover)
            }
            Stage::Standby(applying) => self.apply(applying),
            Stage::Claiming(takeover) if self.node.log.is_stopping() => {
                self.end(takeover.into_disk(), AfterStint::Recover)
            }
            Stage::Claiming(takeover) => takeover.claim(self),
            Stage::Starting(takeover, begun) => takeover.start(self, begun),
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
            not_closed(self.node.log.mode(), error);
        }
        self.node.log.set_stopped();
        Stage::Over(closed.is_ok(), next)
    }

    fn fail<D: Disk>(&self, mut applying: Applying<D>, why: String) -> Stage<D> {
        // Others, and a refill, may need all that it has.
        let written = applying.disk.turn(self.now());
        if written.is_ok() && applying.disk.sync().is_ok() {
            applying.publish(self);
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
        applying.read(self);
        let now = self.now();
        if let Err(poisoned) = applying.disk.turn(now).and_then(|()| applying.disk.sync_if_due(now))
        {
            return self.disk_failed(applying.disk, &poisoned);
        }
        applying.publish(self);
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
        // Who stops would keep the others waiting with a claim.
        let is_stopping = self.node.stopping.load(Ordering::Acquire);
        match applying.is_applied(self) && !is_stopping && is_claim_allowed(self, &applying) {
            true => Takeover::begin(self, applying),
            false => Stage::Standby(applying),
        }
    }

    /// Replaces the data of this member, which is wrong, by that of the active. If it is wrong again
    /// in this process, it waits for an operator.
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

    /// The last record that all cores have applied.
    fn applied(&self) -> Lsn {
        let applied =
            self.node.mailboxes.iter().map(|mailbox| mailbox.applied.load(Ordering::Acquire));
        Lsn(applied.min().unwrap_or(0))
    }
}
