//! The writer of a journal: one stint of one active, from its claim to its release.
//!
//! The owner hands over one batch or control entry at a time. [`JournalWriter::poll`] returns what
//! to send to the engine, and [`JournalWriter::on_reply`] takes the reply. The writer sends an
//! entry again, with the same bytes and condition, until it knows what became of the entry:
//!
//! ```text
//!             append, claim, beat, release
//!   idle -----------------------------------> sending <---+ no word: the same entry again
//!    ^                                         |    |     |
//!    |  appended at expect + 1                 |    +-----+
//!    +-----------------------------------------+
//!    |                                         | conflict, or an engine without a condition
//!    |  its own bytes are there                v
//!    +------------------------------------- looking: reads, and judges by the reader's rule
//!                                              |
//!                                              +--> ended: fenced, overtaken, broken
//! ```
//!
//! # Invariants
//! - At most one entry is under way, and no entry is skipped: the next entry names the checksum of
//!   the one before.
//! - An entry is committed when the engine replied `Appended` at `expect + 1`. Without that reply
//!   it is committed when a read finds its very bytes where the reader's rule accepts them.
//! - The lease ends [`LeaseTimes::serve`](super::engine::LeaseTimes) after the newest committed
//!   entry was *first* sent. Standbys count from the entry's arrival, which cannot be earlier.
//!   The lease ends at once when the owner hands over a release.
//! - A reply counts only if its request was about the entry under way. Late and doubled replies
//!   change nothing.
//! - The writer has no clock. Times are arguments, from a clock that also counts suspends.

use std::time::Duration;

use bytes::Bytes;
use snapshot::{Batch, Lsn, Planted, is_planted};

use super::accepted_heads::EntryHead;
use super::engine::{
    Condition, EngineProfile, EngineReply, EngineRequest, LeaseTimes, StoredEntry,
};
use super::entry::{
    ClaimFacts, ControlBody, ENTRY_HEADER_BYTES, EntryError, EntryHeader, EntryKind, JournalEntry,
    SealedEntry,
};
use super::place::JournalPlace;
use super::reach::JournalReach;
use super::reader::{JournalFault, JournalReader, Verdict};
use crate::limits::JOURNAL_LOOK_ENTRIES;

/// Why a stint is over. The writer then takes over no more entries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StintEnd {
    /// A claim of another node was accepted.
    #[error("another node is the active since epoch {epoch}")]
    Fenced {
        /// Epoch of that claim.
        epoch: u64,
    },
    /// Another entry was accepted where the own claim should have been.
    #[error("the journal went on before the claim")]
    Overtaken,
    /// Another node trimmed entries that this writer has not seen, so this writer was replaced
    /// before.
    #[error("another node has trimmed the journal further than this one has read")]
    LeftBehind,
    /// The release of this stint is committed.
    #[error("the active has released the journal")]
    Released,
    /// The engine does not keep its contract.
    #[error("{0}")]
    Broken(#[from] JournalFault),
    /// The journal has an entry of a newer program.
    #[error("{0}")]
    Newer(JournalFault),
}

/// Why the writer did not take over an entry. The writer is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// An entry is under way.
    #[error("an entry is under way")]
    Busy,
    /// The claim is not committed yet, or the stint is over.
    #[error("this node is not the active")]
    NotActive,
    /// The entry cannot be sealed.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// What a reply changed for the owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppendProgress {
    /// Nothing that the owner must know.
    None,
    /// The entry that was under way is committed.
    Committed {
        /// Seq of the entry.
        seq: u64,
        /// What the entry is for.
        kind: EntryKind,
        /// LSN of the newest committed record. A batch of several parts moves it only with its last
        /// part.
        lsn: Lsn,
    },
    /// The stint is over. Whether an entry under way counts is unknown.
    Ended(StintEnd),
}

/// What every entry of the stint carries: the epoch of its claim, and the random id of its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Stint {
    epoch: u64,
    writer: u64,
}

/// The parts of a batch that are not sealed yet. A part is sealed after the one before is
/// committed, because it names the checksum of that one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PartsLeft {
    frames: Bytes,
    part: u16,
    parts: u16,
    records: u32,
    time_ms: u64,
}

/// The search for the own entry in the journal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Looking {
    /// Id and time of the read whose reply is awaited.
    sent: Option<(u64, Duration)>,
    /// The endpoint to read from. The endpoints with smaller numbers returned damaged bytes.
    endpoint: Option<u16>,
    /// Whether the engine refused the own entry, so that an entry must stand in its place.
    after_conflict: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct UnderWay {
    entry: SealedEntry,
    first_sent: Option<Duration>,
    last_sent: Option<Duration>,
    /// Id of the first request about this entry. Replies to smaller ids are about earlier entries.
    first_request: u64,
    looking: Option<Looking>,
    left: Option<PartsLeft>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Idle,
    Sending(UnderWay),
    Ended(StintEnd),
}

/// One stint of one active.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JournalWriter {
    profile: EngineProfile,
    stint: Stint,
    reader: JournalReader,
    phase: Phase,
    next_request: u64,
    /// When the newest committed entry was first sent: the start of the lease.
    leased_from: Option<Duration>,
    /// When the newest entry was first sent, for the next beat.
    sent_at: Duration,
    is_releasing: bool,
    boundary: Option<JournalPlace>,
    /// The newest committed entry, until the owner takes it.
    committed: Option<(u64, EntryHead)>,
}

impl JournalWriter {
    /// Begins a stint: its first entry is a claim behind the place of `reader`, which should be the
    /// tail. `writer` is a random id that no other stint has.
    ///
    /// # Errors
    /// [`EntryError::Unwritable`] if a text of `facts` is too long.
    pub fn claim(
        reader: JournalReader,
        profile: EngineProfile,
        writer: u64,
        time_ms: u64,
        facts: ClaimFacts,
    ) -> Result<Self, EntryError> {
        Self::claim_above(reader, profile, 0, writer, time_ms, facts)
    }

    /// Like [`JournalWriter::claim`], with an epoch above `known`: the engine may have lost claims.
    ///
    /// # Errors
    /// Those of [`JournalWriter::claim`].
    pub fn claim_above(
        reader: JournalReader,
        profile: EngineProfile,
        known: u64,
        writer: u64,
        time_ms: u64,
        facts: ClaimFacts,
    ) -> Result<Self, EntryError> {
        let stint = Stint { epoch: reader.place().epoch.max(known).saturating_add(1), writer };
        let mut claiming = Self {
            profile,
            stint,
            reader,
            phase: Phase::Idle,
            next_request: 1,
            leased_from: None,
            sent_at: Duration::ZERO,
            is_releasing: false,
            boundary: None,
            committed: None,
        };
        let body = ControlBody::Claim(facts);
        let entry = claiming.seal(EntryKind::Claim, (0, 1, 0), time_ms, &body.encode()?)?;
        claiming.send(entry, None);
        Ok(claiming)
    }

    /// Takes over a batch. A batch over the entry limit of the engine is sent in parts.
    ///
    /// # Errors
    /// [`NotTaken`] if the writer is busy, is not the active, or cannot seal the batch.
    pub fn append(&mut self, time_ms: u64, batch: &Batch) -> Result<(), NotTaken> {
        self.is_free()?;
        let unwritable = |_| EntryError::Unwritable("the batch is too large");
        let records = u32::try_from(batch.count()).map_err(unwritable)?;
        let frames = batch.bytes();
        let limit = self.body_bytes_max();
        if frames.len() <= limit {
            let entry = self.seal(EntryKind::Records, (0, 1, records), time_ms, frames)?;
            self.send(entry, None);
            return Ok(());
        }
        let parts = u16::try_from(frames.len().div_ceil(limit)).map_err(unwritable)?;
        let frames = Bytes::copy_from_slice(frames);
        self.send_part(PartsLeft { frames, part: 0, parts, records, time_ms })?;
        Ok(())
    }

    /// Takes over a control entry that an active may append: a beat, a release, a format, a split.
    ///
    /// # Errors
    /// [`NotTaken`] if the writer is busy or is not the active, or if `body` is a genesis or a
    /// claim.
    pub fn control(&mut self, time_ms: u64, body: &ControlBody) -> Result<(), NotTaken> {
        self.is_free()?;
        if matches!(body.kind(), EntryKind::Genesis | EntryKind::Claim) {
            return Err(EntryError::Unwritable("not an entry of an active").into());
        }
        let entry = self.seal(body.kind(), (0, 1, 0), time_ms, &body.encode()?)?;
        self.is_releasing |= body.kind() == EntryKind::Release;
        self.send(entry, None);
        Ok(())
    }

    fn is_free(&self) -> Result<(), NotTaken> {
        match &self.phase {
            Phase::Sending(_) if self.is_active() => Err(NotTaken::Busy),
            Phase::Idle if self.is_active() && !self.is_releasing => Ok(()),
            Phase::Idle | Phase::Sending(_) | Phase::Ended(_) => Err(NotTaken::NotActive),
        }
    }

    fn body_bytes_max(&self) -> usize {
        self.profile.entry_bytes_max.saturating_sub(ENTRY_HEADER_BYTES).max(1)
    }

    /// Seals the entry that is due next. `shape` is its part, its parts and its records.
    fn seal(
        &self,
        kind: EntryKind,
        shape: (u16, u16, u32),
        time_ms: u64,
        body: &[u8],
    ) -> Result<SealedEntry, EntryError> {
        let place = self.reader.place();
        let (part, parts, records) = shape;
        let header = EntryHeader {
            kind,
            part,
            parts,
            journal: self.reader.journal(),
            epoch: self.stint.epoch,
            writer: self.stint.writer,
            index: place.index.saturating_add(1),
            first: place.next_lsn,
            records,
            time_ms,
            previous: place.checksum,
        };
        header.seal(body)
    }

    fn send(&mut self, entry: SealedEntry, left: Option<PartsLeft>) {
        self.phase = Phase::Sending(UnderWay {
            entry,
            first_sent: None,
            last_sent: None,
            first_request: self.next_request,
            looking: None,
            left,
        });
    }

    /// Seals the next part of a batch, and keeps the parts behind it.
    fn send_part(&mut self, mut left: PartsLeft) -> Result<(), EntryError> {
        let length = self.body_bytes_max().min(left.frames.len());
        let body = left.frames.split_to(length);
        let shape = (left.part, left.parts, left.records);
        let entry = self.seal(EntryKind::Records, shape, left.time_ms, &body)?;
        left.part = left.part.saturating_add(1);
        let left = (left.part < left.parts).then_some(left);
        self.send(entry, left);
        Ok(())
    }

    /// Returns a request to send now, with its id. `None` means: nothing to send before the next
    /// reply or [`JournalWriter::next_poll`]. The owner gives replies with this id to
    /// [`JournalWriter::on_reply`]. Each stint counts ids anew, so the owner drops replies to an
    /// earlier stint.
    pub fn poll(&mut self, now: Duration) -> Option<(u64, EngineRequest)> {
        let (from, id) = (self.reader.next_seq(), self.next_request);
        let retry = self.profile.retry;
        let Phase::Sending(under_way) = &mut self.phase else { return None };
        let is_due =
            |sent: Option<Duration>| sent.is_none_or(|sent| now.saturating_sub(sent) >= retry);
        let request = match &mut under_way.looking {
            Some(looking) => {
                if !is_due(looking.sent.map(|(_, at)| at)) {
                    return None;
                }
                looking.sent = Some((id, now));
                let Looking { endpoint, .. } = *looking;
                EngineRequest::Read { from, max: JOURNAL_LOOK_ENTRIES, endpoint }
            }
            None if !is_due(under_way.last_sent) => return None,
            None if under_way.last_sent.is_some()
                && self.reader.condition() == Condition::ReadBack =>
            {
                // The first copy may have arrived: another copy would only be void. So look for it
                // before sending again.
                under_way.look(false);
                return self.poll(now);
            }
            None => {
                if under_way.first_sent.is_none() {
                    under_way.first_sent = Some(now);
                    self.sent_at = now;
                }
                under_way.last_sent = Some(now);
                let entry = under_way.entry.bytes.clone();
                EngineRequest::Append { expect: from.saturating_sub(1), entry }
            }
        };
        self.next_request = id.saturating_add(1);
        Some((id, request))
    }

    /// When [`JournalWriter::poll`] must be called if no reply comes before. `None` if nothing is
    /// under way.
    #[must_use]
    pub fn next_poll(&self) -> Option<Duration> {
        let Phase::Sending(under_way) = &self.phase else { return None };
        let sent = match &under_way.looking {
            Some(looking) => looking.sent.map(|(_, at)| at),
            None => under_way.last_sent,
        };
        Some(sent.map_or(Duration::ZERO, |sent| sent.saturating_add(self.profile.retry)))
    }

    /// Takes the reply to request `id`. Replies may come late, twice or never.
    pub fn on_reply(&mut self, now: Duration, id: u64, reply: EngineReply) -> AppendProgress {
        let next = self.reader.next_seq();
        let Phase::Sending(under_way) = &mut self.phase else { return AppendProgress::None };
        if id < under_way.first_request {
            return AppendProgress::None;
        }
        let is_awaited = under_way.awaits(id);
        match reply {
            EngineReply::Appended { seq }
                if seq == next && self.reader.condition() == Condition::Checked =>
            {
                self.commit(now, seq)
            }
            // The engine appended the entry at an unexpected seq, or checks no condition. A read
            // shows which.
            EngineReply::Appended { .. } => under_way.look(false),
            EngineReply::Conflict => under_way.look(true),
            EngineReply::Entries(entries) if is_awaited => self.look_at(now, &entries),
            EngineReply::Gone { .. } if is_awaited => self.end(StintEnd::LeftBehind),
            _ => AppendProgress::None,
        }
    }

    /// Judges the entries that a search for the own entry has read.
    fn look_at(&mut self, now: Duration, entries: &[StoredEntry]) -> AppendProgress {
        for StoredEntry { seq, bytes } in entries {
            let Phase::Sending(under_way) = &self.phase else { return AppendProgress::None };
            if *seq == self.reader.next_seq() && *bytes == under_way.entry.bytes {
                return self.commit(now, *seq);
            }
            match self.reader.accept(*seq, bytes) {
                Verdict::Accepted(entry) => return self.replaced_by(&entry.header),
                Verdict::Void | Verdict::Repeated => {}
                Verdict::Damaged(fault) => return self.ask_elsewhere(fault),
                Verdict::Gap(fault) => return self.end(StintEnd::Broken(fault)),
                Verdict::Newer(fault) => return self.end(StintEnd::Newer(fault)),
            }
        }
        self.found_nothing(entries.len() >= JOURNAL_LOOK_ENTRIES)
    }

    /// Ends the stint, because an entry of another writer was accepted where the own one was due.
    fn replaced_by(&mut self, header: &EntryHeader) -> AppendProgress {
        let end = match header.kind {
            _ if !self.is_active() => StintEnd::Overtaken,
            EntryKind::Claim => StintEnd::Fenced { epoch: header.epoch },
            _ => StintEnd::Broken(JournalFault {
                seq: self.reader.place().seq,
                lsn: header.first,
                what: "this writer has not written it".to_owned(),
            }),
        };
        self.end(end)
    }

    /// Repeats the read at the next endpoint. After the last endpoint the stint ends with `fault`.
    fn ask_elsewhere(&mut self, fault: JournalFault) -> AppendProgress {
        let endpoints = self.profile.endpoints;
        let Phase::Sending(UnderWay { looking: Some(looking), .. }) = &mut self.phase else {
            return AppendProgress::None;
        };
        let next = looking.endpoint.map_or(0, |asked| asked.saturating_add(1));
        if next >= endpoints {
            return self.end(StintEnd::Broken(fault));
        }
        *looking = Looking { sent: None, endpoint: Some(next), ..*looking };
        AppendProgress::None
    }

    /// Continues a search whose read did not show the own entry. With `is_more` the next read
    /// continues behind it. Otherwise the entry is sent again, or the engine has broken its
    /// contract.
    fn found_nothing(&mut self, is_more: bool) -> AppendProgress {
        let is_checked = self.reader.condition() == Condition::Checked;
        let fault = JournalFault {
            seq: self.reader.next_seq(),
            lsn: self.reader.place().next_lsn,
            what: "the engine refused it, and has nothing in its place".to_owned(),
        };
        let Phase::Sending(under_way) = &mut self.phase else { return AppendProgress::None };
        match &mut under_way.looking {
            Some(looking) if is_more => looking.sent = None,
            Some(looking) if looking.after_conflict && is_checked => {
                return self.end(StintEnd::Broken(fault));
            }
            _ => {
                under_way.looking = None;
                under_way.last_sent = None;
            }
        }
        AppendProgress::None
    }

    /// Commits the entry under way. Continues with the next part of its batch, if there is one.
    fn commit(&mut self, now: Duration, seq: u64) -> AppendProgress {
        let Phase::Sending(under_way) = std::mem::replace(&mut self.phase, Phase::Idle) else {
            return AppendProgress::None;
        };
        let UnderWay { entry, first_sent, left, .. } = under_way;
        if let Err(fault) = self.reader.accept_own(seq, &entry) {
            return self.end(StintEnd::Broken(fault));
        }
        let from = if is_planted(Planted::LeaseFromReply) { Some(now) } else { first_sent };
        self.leased_from = self.leased_from.max(from);
        self.boundary = self.reader.boundary().or(self.boundary);
        let whole = JournalEntry::decode(&entry.bytes).ok();
        self.committed = whole.map(|whole| (seq, EntryHead::of(&whole)));
        let kind = entry.header.kind;
        if kind == EntryKind::Release {
            self.phase = Phase::Ended(StintEnd::Released);
        }
        // Cannot fail in practice: the first part was sealed by the same limits.
        if left.is_some_and(|left| self.send_part(left).is_err()) {
            let what = "the next part of its batch cannot be made".to_owned();
            let lsn = self.reader.place().next_lsn;
            return self.end(StintEnd::Broken(JournalFault { seq, lsn, what }));
        }
        AppendProgress::Committed { seq, kind, lsn: self.reader.committed() }
    }

    fn end(&mut self, end: StintEnd) -> AppendProgress {
        self.phase = Phase::Ended(end.clone());
        AppendProgress::Ended(end)
    }

    /// Whether the claim is committed and the stint is not over.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.leased_from.is_some() && self.ended().is_none()
    }

    /// Whether the writer would take over a batch now.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.is_free().is_ok()
    }

    /// Why the stint is over, if it is.
    #[must_use]
    pub fn ended(&self) -> Option<&StintEnd> {
        match &self.phase {
            Phase::Ended(end) => Some(end),
            Phase::Idle | Phase::Sending(_) => None,
        }
    }

    /// What this stint and those before have brought into the journal.
    #[must_use]
    pub fn reader(&self) -> &JournalReader {
        &self.reader
    }

    /// The times of the lease.
    #[must_use]
    pub fn times(&self) -> LeaseTimes {
        self.profile.times
    }

    /// Epoch of the claim.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.stint.epoch
    }

    /// The place behind the newest committed batch or control entry of this stint. `None` before
    /// the claim is committed. A node that is no longer the active lets a new reader begin there.
    #[must_use]
    pub fn boundary(&self) -> Option<JournalPlace> {
        self.boundary
    }

    /// [`JournalReader::boundary_cost`] behind the newest committed entry.
    #[must_use]
    pub fn newest_cost(&self) -> Option<(JournalPlace, u64)> {
        self.reader.boundary_cost()
    }

    /// How far this stint has brought the journal.
    #[must_use]
    pub fn reach(&self) -> JournalReach {
        JournalReach::of(&self.reader)
    }

    /// The newest committed entry with its seq, once behind each commit.
    pub fn take_committed(&mut self) -> Option<(u64, EntryHead)> {
        self.committed.take()
    }

    /// LSN of the newest committed record.
    #[must_use]
    pub fn committed(&self) -> Lsn {
        self.reader.committed()
    }

    /// How long this node may still reply as the active. Zero without a lease. A release ends the
    /// lease when the owner hands it over, before it is sent.
    #[must_use]
    pub fn lease_left(&self, now: Duration) -> Duration {
        match self.leased_from {
            Some(from) if self.is_active() && !self.is_releasing => {
                from.saturating_add(self.profile.times.serve).saturating_sub(now)
            }
            _ => Duration::ZERO,
        }
    }

    /// Whether a beat is due: nothing is under way, and nothing was sent for the time of a beat. A
    /// beat says that every core had a turn, so the owner must check that before it appends one.
    #[must_use]
    pub fn is_beat_due(&self, now: Duration) -> bool {
        self.is_idle() && now.saturating_sub(self.sent_at) >= self.profile.times.beat
    }

    /// Time until a beat is due, if nothing is appended before.
    #[must_use]
    pub fn beat_in(&self, now: Duration) -> Duration {
        self.profile.times.beat.saturating_sub(now.saturating_sub(self.sent_at))
    }

    /// Whether the engine has said nothing about the entry under way for so long that new writes
    /// must be refused. The writer keeps trying.
    #[must_use]
    pub fn is_stalled(&self, now: Duration) -> bool {
        match &self.phase {
            Phase::Sending(UnderWay { first_sent: Some(sent), .. }) => {
                now.saturating_sub(*sent) >= self.profile.stall
            }
            Phase::Idle | Phase::Sending(_) | Phase::Ended(_) => false,
        }
    }
}

impl UnderWay {
    /// Begins to search the journal for the entry before the entry is sent again.
    fn look(&mut self, after_conflict: bool) -> AppendProgress {
        match &mut self.looking {
            // A read that was sent before the conflict may not show its cause, so it is sent again.
            Some(looking) if after_conflict && !looking.after_conflict => {
                *looking = Looking { sent: None, after_conflict, ..*looking };
            }
            Some(_) => {}
            None => {
                self.looking = Some(Looking { sent: None, endpoint: None, after_conflict });
            }
        }
        AppendProgress::None
    }

    fn awaits(&self, id: u64) -> bool {
        let awaited = self.looking.as_ref().and_then(|looking| looking.sent);
        awaited.is_some_and(|(awaited, _)| awaited == id)
    }
}
