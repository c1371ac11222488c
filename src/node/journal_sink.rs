//! The sink of an active: a batch goes into the journal, and then into the log on the disk.
//!
//! # Invariants
//! - A batch is written to the disk only when the journal has it. So the log on the disk is always a
//!   prefix of the journal.
//! - Once the journal has a batch, replies may leave, and only its write to the disk is repeated.
//!   While the disk takes nothing, writes are refused, and the active hands over if a standby may
//!   follow.
//! - One entry is under way. The same bytes are sent until the writer knows what became of them; no
//!   batch is skipped.
//! - A beat is appended only if every core had a turn since the one before. Beats for replies that
//!   wait for an append are many, so for them it is enough if every core had one lately.
//! - A release of a handover follows on the replies to all requests that were let in.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use snapshot::{AppendError, Batch, Disk, Lsn, Planted, Poisoned, is_planted};
use tracing::{error, info, warn};

use super::core_turns::CoreTurns;
use super::handover::{Handover, HandoverStep};
use super::info::NodeInfo;
use super::journal_figures::HandoverWhy;
use super::member_disk::MemberDisk;
use super::membership::{HandoverRequest, MemberRole, Membership};
use super::sink::{Sink, SinkError};
use super::trimming::Trimming;
use crate::command::handover::HandoverReply;
use crate::command::{Error, Reply};
use crate::journal::client::EnginePort;
use crate::journal::entry::ControlBody;
use crate::journal::writer::{AppendProgress, JournalWriter, NotTaken, StintEnd};
use crate::throttle::Episode;

/// How often a waiting sink lets the log's thread look at other work.
const PATIENCE_MAX: Duration = Duration::from_millis(50);
/// Turns in which a stop waits for the release to count, each as long as one call waits.
const RELEASE_TURNS: usize = 50;

/// How long the disk may take nothing before the active hands over: a file that cannot be opened now
/// is no reason.
const DISK_PATIENCE: Duration = Duration::from_millis(500);
/// How often an active with such a disk looks for a standby, and how long it waits after a handover
/// that it gave up.
const LEAVE_INTERVAL: Duration = Duration::from_secs(1);
const LEAVE_PAUSE: Duration = Duration::from_secs(30);

/// Why a handover is given up.
const UNFINISHED: &str = "requests under way took too long; this node goes on as the active";

/// What became of the batch that the log's thread offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offered {
    /// The writer has not taken it over.
    New,
    /// The writer has it.
    Sent,
}

/// The journal with the log on the disk behind it.
pub struct JournalSink<D: Disk> {
    node: Arc<NodeInfo>,
    member: Arc<Membership>,
    port: EnginePort,
    writer: JournalWriter,
    disk: MemberDisk<D>,
    offered: Offered,
    /// When the writer took the newest batch.
    taken_at: Instant,
    turns: CoreTurns,
    /// When every core was last seen to have had a turn.
    turned_at: Duration,
    trimming: Trimming,
    /// The handover under way.
    handover: Option<Handover>,
    /// When it looks for a standby next, because of its disk.
    leave_at: Duration,
    /// It stays the active although its disk takes nothing.
    stays: Episode,
    /// How long one call waits for the engine; zero in a simulation.
    patience: Duration,
    /// Whether watchers were woken since the lease is lost for long.
    is_cut_off: bool,
}

impl<D: Disk> JournalSink<D> {
    /// The sink of a stint whose claim counts.
    pub(super) fn new(
        node: Arc<NodeInfo>,
        member: Arc<Membership>,
        port: EnginePort,
        writer: JournalWriter,
        disk: MemberDisk<D>,
        trimming: Trimming,
        patience: Duration,
    ) -> Self {
        let (offered, turns) = (Offered::New, CoreTurns::default());
        let patience = patience.min(PATIENCE_MAX);
        let (handover, leave_at, is_cut_off) = (None, Duration::ZERO, false);
        let turned_at = node.clock.boot();
        Self {
            node,
            member,
            port,
            writer,
            disk,
            offered,
            taken_at: Instant::now(),
            turns,
            turned_at,
            trimming,
            handover,
            leave_at,
            stays: Episode::default(),
            patience,
            is_cut_off,
        }
    }

    fn now(&self) -> Duration {
        self.node.clock.boot()
    }

    fn time_ms(&self) -> u64 {
        self.node.clock.moment().now.get()
    }

    /// Sends what is due and takes replies until nothing is under way.
    fn drive(&mut self) -> Result<(), SinkError> {
        let until = self.now().saturating_add(self.patience);
        loop {
            let now = self.now();
            while let Some((id, request)) = self.writer.poll(now) {
                self.port.send(id, request);
            }
            if self.writer.is_idle() {
                if self.member.confirmations.accept_all() {
                    self.node.log.wake_shards();
                }
                return Ok(());
            }
            if let Some(end) = self.writer.ended().cloned() {
                self.member.set_role(MemberRole::Demoted);
                self.end_handover(&end);
                return Err(SinkError::Fenced(end.to_string()));
            }
            let due = self.writer.next_poll().unwrap_or(until).min(until).saturating_sub(now);
            let Some((id, reply)) = self.port.receive(due) else {
                if self.now() < until {
                    continue;
                }
                self.wake_watchers();
                self.give_up_waiting();
                return Err(SinkError::Pending);
            };
            let now = self.now();
            match self.writer.on_reply(now, id, reply) {
                AppendProgress::None | AppendProgress::Ended(_) => {}
                AppendProgress::Committed { .. } => {
                    if let Some((seq, head)) = self.writer.take_committed() {
                        self.member.repair.accepted(seq, head);
                    }
                    self.member.lease(now.saturating_add(self.writer.lease_left(now)));
                    self.trimming.note(now, &self.writer);
                    self.member.has_read(self.writer.reader());
                }
            }
        }
    }

    /// Wakes watchers when the lease is lost for so long that their watches end.
    fn wake_watchers(&mut self) {
        let is_cut_off = self.member.is_cut_off(self.now());
        if is_cut_off && !self.is_cut_off {
            self.node.watch.wake_watchers();
        }
        self.is_cut_off = is_cut_off;
    }

    /// Lets the cores give up replies that wait for an append, if the engine gives no word for long.
    fn give_up_waiting(&self) {
        if self.writer.is_stalled(self.now()) && self.member.confirmations.set_silent() {
            self.node.log.wake_shards();
        }
    }

    /// Like [`JournalSink::drive`], for a batch: without a word for long it is refused, and offered
    /// again.
    fn drive_batch(&mut self) -> Result<(), SinkError> {
        match self.drive() {
            Err(SinkError::Pending) if self.writer.is_stalled(self.now()) => {
                let why = "the engine of the journal gives no word; it is tried again";
                Err(SinkError::Write(io::Error::new(io::ErrorKind::TimedOut, why)))
            }
            driven => driven,
        }
    }

    /// Hands the newest batch to the writer, as soon as nothing else is under way.
    fn commit(&mut self, batch: &Batch) -> Result<(), SinkError> {
        while self.offered == Offered::New {
            self.drive_batch()?;
            match self.writer.append(self.time_ms(), batch) {
                Ok(()) => {
                    self.member.confirmations.begin();
                    (self.offered, self.taken_at) = (Offered::Sent, Instant::now());
                }
                Err(NotTaken::Busy) => {}
                Err(error @ (NotTaken::NotActive | NotTaken::Entry(_))) => {
                    self.member.set_role(MemberRole::Demoted);
                    return Err(SinkError::Fenced(error.to_string()));
                }
            }
        }
        if self.offered == Offered::Sent {
            self.drive_batch()?;
            self.member.figures.note_append(self.taken_at.elapsed());
            self.offered = Offered::New;
        }
        Ok(())
    }

    /// Gives the writer the release, which ends the lease.
    fn begin_release(&mut self, to: Option<String>) -> Result<(), NotTaken> {
        let taken = self.writer.control(self.time_ms(), &ControlBody::Release(to));
        self.member.set_role(MemberRole::Demoted);
        taken
    }

    /// Writes to the disk what it lacks.
    fn write(&mut self, now: Duration) -> Result<(), Poisoned> {
        self.disk.turn(now)?;
        if self.disk.is_displaced() {
            self.node.log.forget_durable();
        }
        Ok(())
    }

    /// Asks for a handover if the disk takes nothing for long.
    fn leave_for_disk(&mut self, now: Duration) {
        let Some(trouble) = self.disk.trouble() else {
            self.stays.ends();
            return;
        };
        let is_short = now.saturating_sub(trouble.since) < DISK_PATIENCE;
        let is_leaving = self.handover.is_some();
        if is_short || is_leaving || now < self.leave_at || is_planted(Planted::BadDiskStays) {
            return;
        }
        self.leave_at = now.saturating_add(LEAVE_INTERVAL);
        match self
            .member
            .ask_handover(now, HandoverRequest { to: None, caller: None, why: HandoverWhy::Disk })
        {
            Ok(()) => warn!(disk = trouble.why, "this node gives its place away for its disk"),
            Err(error) => {
                if let Some(left_out) = self.stays.lasts() {
                    let left_out = left_out.field();
                    error!(disk = trouble.why, %error, left_out,
                        "this node stays the active, and refuses writes");
                }
            }
        }
    }

    /// Continues a handover, or begins the one that was asked for.
    fn hand_over(&mut self) -> Result<(), SinkError> {
        let now = self.now();
        if self.handover.is_none() {
            self.handover = Handover::begin(now, &self.node, &self.member);
        }
        let Some(handover) = &mut self.handover else { return Ok(()) };
        match handover.step(now, &self.node) {
            HandoverStep::Wait => Ok(()),
            HandoverStep::GiveUp => {
                self.leave_at = now.saturating_add(LEAVE_PAUSE);
                self.member.keep_on();
                if let Some(handover) = self.handover.take() {
                    handover.reply(&self.node, Err(Error::not_applied(UNFINISHED)));
                }
                Ok(())
            }
            HandoverStep::Release => {
                handover.sent();
                let to = handover.to();
                self.begin_release(to).map_err(|error| SinkError::Fenced(error.to_string()))?;
                self.drive()
            }
        }
    }

    /// Whether a beat is due, because nothing was sent for long or because a reply waits for an
    /// append, and whether the cores have turns.
    fn is_beat_due(&mut self, now: Duration) -> bool {
        let is_wanted = self.writer.is_idle() && self.member.confirmations.lack_one();
        let is_silent = self.writer.is_beat_due(now);
        if !is_wanted && !is_silent {
            return false;
        }
        let (times, since) = (self.writer.times(), now.saturating_sub(self.turned_at));
        if (is_silent || since >= times.beat) && self.turns.all_had(&self.node) {
            self.turns.reset();
            self.turned_at = now;
            return true;
        }
        is_wanted && since < times.serve
    }

    /// Raises the journal's format once all members read a newer one.
    fn raise_format(&mut self) -> Result<(), SinkError> {
        let Some(format) = self.member.format_due(self.now()) else { return Ok(()) };
        match self.writer.control(self.time_ms(), &ControlBody::Format(format)) {
            Ok(()) => {
                info!(format, "all members read this format: the journal is raised to it");
                self.drive()
            }
            // A handover has begun its release.
            Err(NotTaken::Busy | NotTaken::NotActive | NotTaken::Entry(_)) => Ok(()),
        }
    }

    /// Replies to the handover when the stint is over.
    fn end_handover(&mut self, end: &StintEnd) {
        let Some(handover) = self.handover.take() else { return };
        let epoch = self.writer.epoch();
        let outcome = match end {
            StintEnd::Released => {
                self.member.set_released(epoch);
                self.member.figures.note_handover(handover.why());
                let last_lsn = self.writer.committed().0;
                Ok(Reply::Handover(HandoverReply { epoch, last_lsn }))
            }
            end if handover.is_sent() => Err(Error::outcome_unknown(&end.to_string())),
            end => Err(Error::not_applied(&end.to_string())),
        };
        handover.reply(&self.node, outcome);
    }

    /// Ends the stint, so that a standby may claim at once.
    fn release(&mut self) {
        if self.drive().is_err() {
            return;
        }
        if let Err(error) = self.begin_release(None) {
            warn!(%error, "the journal is not released; a standby waits before it claims");
            return;
        }
        for _ in 0..RELEASE_TURNS {
            if !matches!(self.drive(), Err(SinkError::Pending)) {
                break;
            }
        }
        match self.writer.ended() {
            Some(StintEnd::Released) => info!("the journal is released"),
            _ => warn!("nobody has said that the journal is released"),
        }
    }
}

impl<D: Disk> Sink for JournalSink<D> {
    fn append(&mut self, batch: &Batch) -> Result<Lsn, SinkError> {
        self.commit(batch)?;
        Ok(self.disk.accept_now(self.now(), batch))
    }

    fn sync(&mut self) -> Result<Lsn, Poisoned> {
        self.disk.sync()
    }

    fn written(&self) -> Lsn {
        self.disk.accepted()
    }

    fn durable(&self) -> Lsn {
        self.disk.durable()
    }

    fn look_at_place(&mut self) -> io::Result<()> {
        // A directory that is elsewhere is no reason to give replies up: the journal has what they
        // tell of.
        Ok(())
    }

    fn idle(&mut self) -> Result<(), SinkError> {
        let now = self.now();
        self.write(now)?;
        self.trimming.turn(now, self.disk.durable(), &self.member);
        self.drive()?;
        self.leave_for_disk(now);
        self.hand_over()?;
        self.raise_format()?;
        if self.is_beat_due(self.now()) {
            let taken = self.writer.control(self.time_ms(), &ControlBody::Beat);
            debug_assert!(taken.is_ok(), "nothing is under way: {taken:?}");
            self.member.confirmations.begin();
            self.drive()?;
        }
        Ok(())
    }

    fn idle_in(&self) -> Option<Duration> {
        if self.handover.is_some() || self.member.confirmations.lack_one() {
            return Some(Duration::from_millis(1));
        }
        let now = self.now();
        let retry = self.disk.retry_at().map(|at| at.saturating_sub(now));
        let beat = self.writer.beat_in(now);
        Some(retry.map_or(beat, |retry| retry.min(beat)).max(Duration::from_millis(5)))
    }

    fn finish(mut self) -> Result<Lsn, AppendError> {
        if self.writer.is_active() {
            self.release();
        }
        self.disk.finish()
    }
}
