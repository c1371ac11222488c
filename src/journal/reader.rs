//! The reader's rule: which entries of a journal count.
//!
//! The active, standbys, tools and the simulation judge entries by this one rule, so all of them
//! agree. A reader gets the entries one by one, in the order of their seqs, and gives each one
//! verdict:
//!
//! 1. A checksum is wrong, or the journal id is another one: **damaged**. The caller offers the
//!    bytes of another endpoint for this seq.
//! 2. The index is below the due one, or the epoch below the current one: **void**. The entry
//!    arrived twice, or its writer was replaced. If the engine has a condition, this is a gap
//!    instead.
//! 3. Index, first LSN and previous checksum are the due ones: **accepted**. But a claim must have
//!    a higher epoch, and any other entry must be from the current writer.
//! 4. Anything else is a **gap**: an entry is missing.
//!
//! An accepted genesis, claim or format entry may raise the journal's format. If this program does
//! not read that format, the verdict is **newer** instead.
//!
//! # Invariants
//! - The format never falls, and is never above what this program reads.
//! - Only the verdicts accepted and void change the reader. After another verdict the caller can
//!   offer this seq again.
//! - Accepted entries have indexes without gaps, and their records have LSNs without gaps.
//! - The records of a batch count when its last part is accepted. A claim drops the parts of a
//!   batch that is not whole, and later records get the LSNs of the dropped ones.
//! - The rule depends only on the entries. So an entry that is void for one reader is void for all.
//! - A seq that the reader has already judged changes nothing.

use snapshot::{BATCH_BYTES_MAX, Batch, Lsn, Planted, is_planted};

use super::accepted_heads::EntryHead;
use super::engine::Condition;
use super::entry::{ControlBody, EntryError, EntryHeader, EntryKind, JournalEntry, SealedEntry};
use super::kept::ENTRY_COST_BYTES;
use super::place::JournalPlace;
use crate::limits::JOURNAL_FORMAT;

/// The accepted parts of a batch whose last part is still to come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PartsUnderWay {
    next: u16,
    parts: u16,
    records: u32,
    frames: Vec<u8>,
}

/// What an accepted entry brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// A whole batch. Its first record has the first LSN of the entry's header.
    Records(Batch),
    /// A part of a batch. The last part of the batch is still to come.
    Part,
    /// A control entry.
    Control(ControlBody),
}

/// An entry that the reader accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedEntry {
    /// Number of the entry in the engine.
    pub seq: u64,
    /// What the header of the entry says.
    pub header: EntryHeader,
    /// What the body of the entry holds.
    pub content: Content,
    /// The entry without its records.
    pub head: EntryHead,
    /// [`JournalReader::boundary_cost`] behind the entry.
    pub behind: Option<(JournalPlace, u64)>,
}

/// Why a reader cannot accept an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("entry {seq} of the journal, where LSN {lsn} is due: {what}")]
pub struct JournalFault {
    /// Number of the entry in the engine.
    pub seq: u64,
    /// The LSN that the next record must have.
    pub lsn: Lsn,
    /// Cause in words, for the operator.
    pub what: String,
}

/// What a reader says of one entry. The module header has the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The entry counts.
    Accepted(Box<AcceptedEntry>),
    /// The entry counts for nobody: it arrived twice, or its writer was replaced.
    Void,
    /// The reader has already judged an entry of this seq.
    Repeated,
    /// An entry before this one is missing.
    Gap(JournalFault),
    /// The bytes are not those that were written. Other endpoints may have the right ones.
    Damaged(JournalFault),
    /// A newer program wrote the entry. This program cannot continue.
    Newer(JournalFault),
}

/// What the header of an entry decides, before its body is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judged {
    Accept,
    Void,
    Gap(&'static str),
}

/// The state of the rule. It is `Clone`, so that a writer can begin with what a standby has read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JournalReader {
    journal: u64,
    condition: Condition,
    place: JournalPlace,
    /// The last seq that was judged accepted or void.
    seen: u64,
    parts: Option<PartsUnderWay>,
    /// Whether the newest accepted entry is a release.
    is_released: bool,
    newest_time_ms: u64,
    void: u64,
    /// Cost of the judged entries in the engine, in bytes.
    cost_bytes: u64,
    /// The newest format that this program reads.
    reads: u32,
}

impl JournalReader {
    /// A reader that has read nothing. Its first entry must be genesis.
    #[must_use]
    pub fn new(journal: u64, condition: Condition) -> Self {
        Self::begin(journal, condition, JournalPlace::default())
    }

    /// A reader that begins behind `base`: the base of the last trim, or a place that
    /// [`JournalReader::boundary`] gave.
    #[must_use]
    pub fn begin(journal: u64, condition: Condition, base: JournalPlace) -> Self {
        let seen = base.seq;
        Self {
            journal,
            condition,
            place: base,
            seen,
            parts: None,
            is_released: false,
            newest_time_ms: 0,
            void: 0,
            cost_bytes: 0,
            reads: JOURNAL_FORMAT,
        }
    }

    /// Lets it read formats up to this one, as another version of the program does.
    #[must_use]
    pub fn reading(self, format: u32) -> Self {
        Self { reads: format, ..self }
    }

    /// The newest format that this program reads.
    #[must_use]
    pub fn reads(&self) -> u32 {
        self.reads
    }

    /// Id of the journal.
    #[must_use]
    pub fn journal(&self) -> u64 {
        self.journal
    }

    /// Whether the engine checks the condition of an append.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// The place behind the newest accepted entry. It may lie between two parts of a batch.
    #[must_use]
    pub fn place(&self) -> JournalPlace {
        self.place
    }

    /// The place behind the newest accepted entry. `None` between two parts of a batch, where no
    /// reader may begin and no trim may end.
    #[must_use]
    pub fn boundary(&self) -> Option<JournalPlace> {
        self.parts.is_none().then_some(self.place)
    }

    /// The seq that the reader expects next.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.seen.saturating_add(1)
    }

    /// The LSN of the newest record that counts.
    #[must_use]
    pub fn committed(&self) -> Lsn {
        self.place.next_lsn.previous()
    }

    /// Whether the newest accepted entry is a release. After a release a standby may claim at once.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.is_released
    }

    /// The newest time in the accepted entries, in ms since 1970. 0 before the first entry.
    #[must_use]
    pub fn newest_time_ms(&self) -> u64 {
        self.newest_time_ms
    }

    /// How many entries were void. With a condition it stays 0.
    #[must_use]
    pub fn void(&self) -> u64 {
        self.void
    }

    /// The boundary with what the entries since the beginning of this reader cost the engine, about,
    /// in bytes. `None` between two parts of a batch.
    #[must_use]
    pub fn boundary_cost(&self) -> Option<(JournalPlace, u64)> {
        self.boundary().map(|place| (place, self.cost_bytes))
    }

    /// Compares the engine's newest seq, `tail`, with the newest accepted entry. A smaller `tail`
    /// is a fault: the engine has lost entries, and no node may claim.
    #[must_use]
    pub fn lost_end(&self, tail: u64) -> Option<JournalFault> {
        let what = || format!("the engine ends with entry {tail}, and this one was accepted");
        (tail < self.place.seq).then(|| JournalFault {
            seq: self.place.seq,
            lsn: self.committed(),
            what: what(),
        })
    }

    /// Judges the entry that the engine has at `seq`.
    pub fn accept(&mut self, seq: u64, bytes: &[u8]) -> Verdict {
        if seq <= self.seen {
            return Verdict::Repeated;
        }
        if seq != self.next_seq() {
            return Verdict::Gap(self.fault(format!("the engine has entry {seq} in its place")));
        }
        let entry = match JournalEntry::decode(bytes) {
            Ok(entry) if entry.header.journal == self.journal => entry,
            Ok(_) => return Verdict::Damaged(self.fault("it belongs to another journal")),
            Err(EntryError::Newer(what)) => return Verdict::Newer(self.fault(what)),
            Err(error) => return Verdict::Damaged(self.fault(error.to_string())),
        };
        match self.judge(&entry.header) {
            Judged::Gap(what) => Verdict::Gap(self.fault(what)),
            Judged::Void => {
                self.seen = seq;
                self.void += 1;
                self.count(bytes);
                Verdict::Void
            }
            Judged::Accept => match self.content(&entry) {
                Ok(Content::Control(body)) if self.format_behind(&body) > self.reads => {
                    Verdict::Newer(self.newer(self.format_behind(&body)))
                }
                Ok(content) => {
                    if let Content::Control(body) = &content {
                        self.place.format = self.format_behind(body);
                    }
                    self.advance(seq, &entry.header, entry.checksum);
                    self.count(bytes);
                    let (header, head) = (entry.header, EntryHead::of(&entry));
                    let behind = self.boundary_cost();
                    Verdict::Accepted(Box::new(AcceptedEntry {
                        seq,
                        header,
                        content,
                        head,
                        behind,
                    }))
                }
                Err(what) => Verdict::Damaged(self.fault(what)),
            },
        }
    }

    /// Accepts an entry that this process made and that the engine has at `seq`. Skips decoding its
    /// body, which this process wrote itself, unless it raises the format. Fails if the rule does not accept the entry.
    pub(super) fn accept_own(&mut self, seq: u64, entry: &SealedEntry) -> Result<(), JournalFault> {
        if seq != self.next_seq() {
            return Err(self.fault(format!("the engine has it as entry {seq}")));
        }
        match self.judge(&entry.header) {
            Judged::Accept => {
                if entry.header.kind == EntryKind::Records {
                    self.collect(&entry.header, &[]);
                }
                if entry.header.kind == EntryKind::Format
                    && let Ok(Some(body)) = ControlBody::decode(EntryKind::Format, entry.body())
                {
                    self.place.format = self.format_behind(&body);
                }
                self.advance(seq, &entry.header, entry.checksum);
                self.count(&entry.bytes);
                Ok(())
            }
            Judged::Gap(what) => Err(self.fault(what)),
            Judged::Void => Err(self.fault("it is void")),
        }
    }

    /// The journal's format behind this control entry.
    fn format_behind(&self, body: &ControlBody) -> u32 {
        body.format().map_or(self.place.format, |format| format.max(self.place.format))
    }

    /// Why this program cannot read a journal of this format.
    #[must_use]
    pub fn newer(&self, format: u32) -> JournalFault {
        let reads = self.reads;
        self.fault(format!("a newer program writes format {format}; this one reads up to {reads}"))
    }

    fn count(&mut self, entry: &[u8]) {
        let bytes = u64::try_from(entry.len()).unwrap_or(u64::MAX);
        self.cost_bytes = self.cost_bytes.saturating_add(bytes).saturating_add(ENTRY_COST_BYTES);
    }

    /// Why the entry that is due cannot be had.
    #[must_use]
    pub fn fault(&self, what: impl Into<String>) -> JournalFault {
        JournalFault { seq: self.next_seq(), lsn: self.place.next_lsn, what: what.into() }
    }

    fn judge(&self, header: &EntryHeader) -> Judged {
        let place = &self.place;
        if place.index == 0 {
            return match header.kind {
                EntryKind::Genesis => Judged::Accept,
                _ => Judged::Gap("the journal does not begin with a genesis"),
            };
        }
        let due = place.index.saturating_add(1);
        let is_index_checked = !is_planted(Planted::JournalIndexUnchecked);
        if is_index_checked && header.index < due || header.epoch < place.epoch {
            return match self.condition {
                Condition::ReadBack => Judged::Void,
                Condition::Checked => Judged::Gap("it was written before what is accepted"),
            };
        }
        if is_index_checked && header.index != due {
            return Judged::Gap("its index is not the one that is due");
        }
        if header.first != place.next_lsn {
            return Judged::Gap("its first LSN is not the one that is due");
        }
        if header.previous != place.checksum {
            return Judged::Gap("it follows another entry");
        }
        let is_current = (header.epoch, header.writer) == (place.epoch, place.writer);
        match header.kind {
            EntryKind::Claim if header.epoch > place.epoch => Judged::Accept,
            EntryKind::Claim | EntryKind::Genesis => Judged::Gap("its epoch is not a new one"),
            _ if !is_current => Judged::Gap("another writer is the active"),
            _ if !self.is_due_part(header) => Judged::Gap("a part of a batch is missing"),
            _ => Judged::Accept,
        }
    }

    fn is_due_part(&self, header: &EntryHeader) -> bool {
        match &self.parts {
            None => header.part == 0,
            Some(parts) => {
                header.kind == EntryKind::Records
                    && (header.part, header.parts) == (parts.next, parts.parts)
                    && header.records == parts.records
            }
        }
    }

    /// Decodes the body of an entry whose header was judged accepted. After an error the reader is
    /// as before.
    fn content(&mut self, entry: &JournalEntry<'_>) -> Result<Content, String> {
        let header = &entry.header;
        let control = ControlBody::decode(header.kind, entry.body);
        if let Some(body) = control.map_err(|error| error.to_string())? {
            return Ok(Content::Control(body));
        }
        let before = self.parts.as_ref().map_or(0, |parts| parts.frames.len());
        if before.saturating_add(entry.body.len()) > BATCH_BYTES_MAX {
            return Err(format!("its batch is over the limit of {BATCH_BYTES_MAX} bytes"));
        }
        let mut frames = self.collect(header, entry.body);
        let Some(whole) = &mut frames else { return Ok(Content::Part) };
        match Batch::take_frames(whole) {
            Ok(batch) if u32::try_from(batch.count()) == Ok(header.records) => {
                Ok(Content::Records(batch))
            }
            Ok(batch) => {
                self.restore(header, batch.bytes().to_vec(), before);
                Err(format!("it has {} records instead of {}", batch.count(), header.records))
            }
            Err(what) => {
                self.restore(header, std::mem::take(whole), before);
                Err(format!("its records: {what}"))
            }
        }
    }

    /// Adds a part to the batch that is not whole. Returns the frames of the batch if this was the
    /// last part.
    fn collect(&mut self, header: &EntryHeader, body: &[u8]) -> Option<Vec<u8>> {
        let EntryHeader { parts, records, .. } = *header;
        let mut under_way = self.parts.take().unwrap_or(PartsUnderWay {
            next: 0,
            parts,
            records,
            frames: Vec::new(),
        });
        under_way.next = header.part.saturating_add(1);
        under_way.frames.extend_from_slice(body);
        if under_way.next == parts {
            return Some(under_way.frames);
        }
        self.parts = Some(under_way);
        None
    }

    /// Undoes what [`JournalReader::collect`] did with the last part of a batch.
    fn restore(&mut self, header: &EntryHeader, mut frames: Vec<u8>, before: usize) {
        frames.truncate(before);
        let EntryHeader { part: next, parts, records, .. } = *header;
        self.parts = (next > 0).then_some(PartsUnderWay { next, parts, records, frames });
    }

    fn advance(&mut self, seq: u64, header: &EntryHeader, checksum: u32) {
        self.seen = seq;
        if header.kind != EntryKind::Records {
            // Only a claim can come between two parts. The records of the parts before it never
            // count.
            self.parts = None;
        }
        let records = match self.parts {
            None => header.records,
            Some(_) => 0,
        };
        self.place = JournalPlace {
            seq,
            epoch: header.epoch,
            writer: header.writer,
            index: header.index,
            next_lsn: Lsn(header.first.0.saturating_add(records.into())),
            checksum,
            format: self.place.format,
        };
        self.is_released = header.kind == EntryKind::Release;
        self.newest_time_ms = self.newest_time_ms.max(header.time_ms);
    }
}
