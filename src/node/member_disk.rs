//! The disk of a member: the log behind the journal, the batches that it does not have yet, and
//! what the identity file keeps of the journal.
//!
//! Once the journal has a batch, it is committed, whatever the disk says. So a batch that the disk
//! refuses waits here and is written again, while standby and active go on.
//!
//! # Invariants
//! - Batches reach the log in order, and only behind the journal: the log on the disk is always a
//!   prefix of the journal.
//! - The disk is in trouble while a batch waits for it, or while the path of the directory leads
//!   elsewhere. Then nothing counts as durable in a directory that is not in its place.
//! - After a failed sync nothing is written any more: the member recovers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use snapshot::{AppendError, Batch, Disk, LogWriter, Lsn, Poisoned};
use tracing::{error, info};

use super::journal_keeper::JournalKeeper;
use super::log_thread::LOOK_INTERVAL;
use super::membership::Membership;
use crate::limits::JOURNAL_TEXT_BYTES_MAX;
use crate::throttle::Episode;

/// How often a batch that was refused is written again.
const RETRY: Duration = Duration::from_millis(100);
/// How often a standby syncs its log.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);

/// Why the disk takes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DiskTrouble {
    /// Since when, on the clock that runs on in suspend.
    pub(super) since: Duration,
    /// The reason, in at most [`JOURNAL_TEXT_BYTES_MAX`] bytes.
    pub(super) why: String,
}

/// What a member has on its disk.
pub(super) struct MemberDisk<D: Disk> {
    member: Arc<Membership>,
    log: LogWriter<D>,
    keeper: JournalKeeper<D>,
    /// Batches that the log does not have.
    unwritten: VecDeque<Arc<Batch>>,
    /// The last record that the journal has and this disk has or should have.
    accepted: Lsn,
    poisoned: Option<Poisoned>,
    trouble: Option<DiskTrouble>,
    lines: Episode,
    is_displaced: bool,
    /// The disk failed in the life of the node before, and nothing was synced since.
    is_suspect: bool,
    retry_at: Duration,
    looked_at: Duration,
    synced_at: Duration,
}

impl<D: Disk> MemberDisk<D> {
    /// The disk with everything that is on it. `is_suspect` says that a sync of it failed before.
    pub(super) fn new(
        now: Duration,
        member: Arc<Membership>,
        log: LogWriter<D>,
        keeper: JournalKeeper<D>,
        is_suspect: bool,
    ) -> Self {
        Self {
            member,
            accepted: log.written(),
            log,
            keeper,
            unwritten: VecDeque::new(),
            poisoned: None,
            trouble: None,
            lines: Episode::default(),
            is_displaced: false,
            is_suspect,
            retry_at: Duration::ZERO,
            looked_at: now,
            synced_at: now,
        }
    }

    /// The log on the disk.
    pub(super) fn log(&self) -> &LogWriter<D> {
        &self.log
    }

    /// The last record that was accepted.
    pub(super) fn accepted(&self) -> Lsn {
        self.accepted
    }

    /// The last record that the log on the disk has.
    pub(super) fn written(&self) -> Lsn {
        self.log.written()
    }

    /// The last record that is durable in its place.
    pub(super) fn durable(&self) -> Lsn {
        if self.is_displaced { Lsn(0) } else { self.log.durable() }
    }

    /// Whether the path of the directory leads elsewhere.
    pub(super) fn is_displaced(&self) -> bool {
        self.is_displaced
    }

    /// Why it takes nothing, if so.
    pub(super) fn trouble(&self) -> Option<&DiskTrouble> {
        self.trouble.as_ref()
    }

    /// Whether a member with another disk should be the active.
    pub(super) fn is_bad(&self) -> bool {
        self.is_suspect || self.trouble.is_some()
    }

    /// When [`MemberDisk::turn`] has a batch to write again; `None` if none waits.
    pub(super) fn retry_at(&self) -> Option<Duration> {
        (!self.unwritten.is_empty()).then_some(self.retry_at)
    }

    /// Accepts a batch of the journal, which is written in the next turn.
    pub(super) fn accept(&mut self, batch: Arc<Batch>) {
        self.count(&batch);
        self.unwritten.push_back(batch);
    }

    /// Accepts a batch of the journal and writes it, unless others wait before it. Returns its last
    /// record.
    pub(super) fn accept_now(&mut self, now: Duration, batch: &Batch) -> Lsn {
        self.count(batch);
        let written = self.unwritten.is_empty() && self.poisoned.is_none();
        match written.then(|| self.log.append(batch)) {
            Some(Ok(_)) => {}
            refused => {
                self.unwritten.push_back(Arc::new(batch.clone()));
                if let Some(Err(error)) = refused {
                    self.refused(now, error);
                }
            }
        }
        self.accepted
    }

    fn count(&mut self, batch: &Batch) {
        let records = u64::try_from(batch.count()).unwrap_or(u64::MAX);
        self.accepted = Lsn(self.accepted.0.saturating_add(records));
    }

    /// Writes what waits, looks at the place of the directory, and keeps what is new of the journal.
    ///
    /// # Errors
    /// A sync of the disk has failed: the member must recover.
    pub(super) fn turn(&mut self, now: Duration) -> Result<(), Poisoned> {
        if now.saturating_sub(self.looked_at) >= LOOK_INTERVAL {
            self.looked_at = now;
            self.look(now);
        }
        if now >= self.retry_at {
            self.write(now);
        }
        self.keeper.turn(now, &self.member);
        self.poisoned.clone().map_or(Ok(()), Err)
    }

    /// Syncs the log if that is due.
    ///
    /// # Errors
    /// Those of [`MemberDisk::sync`].
    pub(super) fn sync_if_due(&mut self, now: Duration) -> Result<(), Poisoned> {
        let is_due = now.saturating_sub(self.synced_at) >= SYNC_INTERVAL;
        if is_due && self.log.durable() < self.log.written() {
            self.synced_at = now;
            self.sync()?;
        }
        Ok(())
    }

    /// Syncs the log, if its directory is in its place. Returns what is durable.
    ///
    /// # Errors
    /// After a failed sync the member must recover.
    pub(super) fn sync(&mut self) -> Result<Lsn, Poisoned> {
        if !self.is_displaced {
            let is_new = self.log.durable() < self.log.written();
            if let Err(poisoned) = self.log.sync() {
                self.poisoned = Some(poisoned.clone());
                return Err(poisoned);
            }
            self.is_suspect &= !is_new;
        }
        Ok(self.durable())
    }

    fn look(&mut self, now: Duration) {
        match self.log.look_at_place() {
            Err(error) => {
                self.is_displaced = true;
                self.in_trouble(now, &format!("the data directory is not in its place: {error}"));
            }
            Ok(()) => {
                self.is_displaced = false;
                self.is_well();
            }
        }
    }

    fn write(&mut self, now: Duration) {
        while self.poisoned.is_none()
            && let Some(batch) = self.unwritten.front()
        {
            if let Err(error) = self.log.append(batch) {
                return self.refused(now, error);
            }
            self.unwritten.pop_front();
        }
        self.is_well();
    }

    fn refused(&mut self, now: Duration, error: AppendError) {
        self.retry_at = now.saturating_add(RETRY);
        let why = match error {
            AppendError::Write(error) => format!("the log cannot be written: {error}"),
            AppendError::Poisoned(poisoned) => {
                let why = poisoned.to_string();
                self.poisoned = Some(poisoned);
                why
            }
        };
        self.in_trouble(now, &why);
    }

    fn in_trouble(&mut self, now: Duration, why: &str) {
        let why = bounded(why);
        if let Some(left_out) = self.lines.lasts() {
            let left_out = left_out.field();
            error!(why, left_out, "the disk of this member takes nothing; it is tried again");
        }
        let since = self.trouble.as_ref().map_or(now, |trouble| trouble.since);
        self.member.set_disk_trouble(Some(why.to_owned()));
        self.trouble = Some(DiskTrouble { since, why: why.to_owned() });
    }

    /// Ends the trouble if there is no reason for it any more.
    fn is_well(&mut self) {
        if self.trouble.is_none() || self.is_displaced || !self.unwritten.is_empty() {
            return;
        }
        self.trouble = None;
        self.member.set_disk_trouble(None);
        if self.lines.ends() {
            info!("the disk of this member can be written again");
        }
    }

    /// Keeps what the journal has shown.
    pub(super) fn keep(&mut self) {
        self.keeper.finish(&self.member);
    }

    /// Keeps what the journal has shown, and closes the log with its end mark. Returns the last
    /// durable record.
    ///
    /// # Errors
    /// If the log cannot be closed in its place. The next start gets from the journal what it lacks.
    pub(super) fn finish(mut self) -> Result<Lsn, AppendError> {
        self.keep();
        while let Some(batch) = self.unwritten.pop_front() {
            self.log.append(&batch)?;
        }
        self.log.look_at_place().map_err(AppendError::Write)?;
        self.log.finish()
    }
}

/// The beginning of a text, as far as a report has room for it.
fn bounded(text: &str) -> &str {
    text.get(..text.floor_char_boundary(JOURNAL_TEXT_BYTES_MAX)).unwrap_or_default()
}
