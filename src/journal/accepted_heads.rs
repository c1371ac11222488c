//! Headers of the newest entries that a member has accepted. With the records of its log they are
//! whole entries again, for a reader whose engine has altered one or lost one in the middle.
//!
//! # Invariants
//! - At most [`HEADS_MAX`] headers are kept, the newest ones.
//! - An entry is given out only if its checksums match. So a log with other records gives none.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use snapshot::{Batch, Lsn};

use super::entry::{ENTRY_HEADER_BYTES, EntryKind, JournalEntry};

/// Most headers that are kept. They take about 8 MiB.
const HEADS_MAX: usize = 1 << 16;

/// An entry without the records in its body.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntryHead {
    head: [u8; ENTRY_HEADER_BYTES],
    /// The body of a control entry.
    control: Box<[u8]>,
}

/// What is missing to an entry of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingBody {
    head: EntryHead,
    /// The first record of its batch.
    pub first: Lsn,
    /// The last record of its batch.
    pub last: Lsn,
    /// The bytes of the batch that the entry has.
    part: Range<usize>,
}

/// An entry that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownEntry {
    /// A control entry, which is whole.
    Whole(Bytes),
    /// An entry of records, which are in the log.
    Lacks(MissingBody),
}

/// The newest headers, by seq.
#[derive(Clone, Debug, Default)]
pub struct AcceptedHeads(VecDeque<(u64, EntryHead)>);

impl EntryHead {
    /// The head of an entry.
    #[must_use]
    pub fn of(entry: &JournalEntry<'_>) -> Self {
        let control = match entry.header.kind {
            EntryKind::Records => &[],
            _ => entry.body,
        };
        Self { head: *entry.head, control: control.into() }
    }

    fn with(&self, body: &[u8]) -> Option<Bytes> {
        let mut bytes = BytesMut::with_capacity(ENTRY_HEADER_BYTES + body.len());
        bytes.extend_from_slice(&self.head);
        bytes.extend_from_slice(body);
        JournalEntry::decode(&bytes).is_ok().then(|| bytes.freeze())
    }
}

impl MissingBody {
    /// The entry, if `batch` has its records from [`Self::first`] to [`Self::last`].
    #[must_use]
    pub fn filled(&self, batch: &Batch) -> Option<Bytes> {
        self.head.with(batch.bytes().get(self.part.clone())?)
    }
}

impl AcceptedHeads {
    /// Notes the entry that was accepted as the newest one. What is not newer is forgotten.
    pub fn note(&mut self, seq: u64, head: EntryHead) {
        while self.0.pop_back_if(|(other, _)| *other >= seq).is_some() {}
        if self.0.len() >= HEADS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((seq, head));
    }

    /// The entry with this seq; `None` if its header is not known.
    #[must_use]
    pub fn entry(&self, seq: u64) -> Option<KnownEntry> {
        let at = self.0.binary_search_by_key(&seq, |(seq, _)| *seq).ok()?;
        let (_, head) = self.0.get(at)?;
        let (header, length) = JournalEntry::header(&head.head).ok()?;
        if header.kind != EntryKind::Records {
            return head.with(&head.control).map(KnownEntry::Whole);
        }
        let mut start = 0_usize;
        for before in 1..=usize::from(header.part) {
            let (_, other) = self.0.get(at.checked_sub(before)?)?;
            let (other, length) = JournalEntry::header(&other.head).ok()?;
            if (other.first, other.kind) != (header.first, EntryKind::Records) {
                return None;
            }
            start = start.saturating_add(length);
        }
        let last = Lsn(header.first.0.saturating_add(header.records.into())).previous();
        let part = start..start.saturating_add(length);
        Some(KnownEntry::Lacks(MissingBody { head: head.clone(), first: header.first, last, part }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::entry::{ClaimFacts, ControlBody, EntryHeader};

    fn header(kind: EntryKind, shape: (u16, u16, u32)) -> EntryHeader {
        let (part, parts, records) = shape;
        EntryHeader {
            kind,
            part,
            parts,
            journal: 7,
            epoch: 3,
            writer: 5,
            index: 9,
            first: Lsn(40),
            records,
            time_ms: 1,
            previous: 2,
        }
    }

    fn head(entry: &[u8]) -> EntryHead {
        EntryHead::of(&JournalEntry::decode(entry).unwrap())
    }

    #[test]
    fn entries_are_whole_again_with_the_records_of_the_log_alone() {
        let (mut batch, mut other) = (Batch::new(), Batch::new());
        for record in [&b"one"[..], b"", b"three"] {
            batch.push(record).unwrap();
            other.push(b"other").unwrap();
        }
        let claim = ControlBody::Claim(ClaimFacts::default()).encode().unwrap();
        let mut entries = vec![header(EntryKind::Claim, (0, 1, 0)).seal(&claim).unwrap()];
        let whole = header(EntryKind::Records, (0, 1, 3)).seal(batch.bytes()).unwrap();
        entries.push(whole);
        let pieces: Vec<&[u8]> = batch.bytes().chunks(13).collect();
        let parts = u16::try_from(pieces.len()).unwrap();
        for (part, piece) in (0..).zip(&pieces) {
            entries.push(header(EntryKind::Records, (part, parts, 3)).seal(piece).unwrap());
        }
        let mut heads = AcceptedHeads::default();
        for (seq, entry) in (11..).zip(&entries) {
            heads.note(seq, head(&entry.bytes));
        }
        for (seq, entry) in (11..).zip(&entries) {
            match heads.entry(seq).unwrap() {
                KnownEntry::Whole(bytes) => assert_eq!((seq, &bytes), (11, &entry.bytes)),
                KnownEntry::Lacks(missing) => {
                    assert_eq!((missing.first, missing.last), (Lsn(40), Lsn(42)));
                    assert_eq!(missing.filled(&batch).as_ref(), Some(&entry.bytes));
                    assert_eq!(missing.filled(&other), None);
                    assert_eq!(missing.filled(&Batch::new()), None);
                }
            }
        }
        assert_eq!(heads.entry(10), None);
        let newest = 11 + u64::try_from(entries.len()).unwrap();
        assert_eq!(heads.entry(newest), None);
        heads.note(12, head(&entries[0].bytes));
        assert_eq!(heads.entry(13), None, "what is not newer is forgotten");
    }
}
