//! Records of a member's log on their way to another member, which copies them.
//!
//! They are sealed like entries of a journal, so that the joiner verifies every byte by the reader's
//! rule: a small journal of its own that begins at any LSN, under epoch 0 and writer 0.
//!
//! # Invariants
//! - A batch is given out only after its last part was verified. A stream that breaks off anywhere
//!   leaves whole batches.
//! - Bytes from another member decide no allocation beyond one entry and one batch.

use bytes::{Buf, Bytes, BytesMut};
use snapshot::{Batch, Lsn};

use super::engine::Condition;
use super::entry::{
    ENTRY_BODY_BYTES_MAX, ENTRY_HEADER_BYTES, EntryError, EntryHeader, EntryKind, JournalEntry,
};
use super::place::JournalPlace;
use super::reader::{Content, JournalReader, Verdict};

/// The place in front of the first record that is copied.
fn place_before(first: Lsn) -> JournalPlace {
    JournalPlace { index: 1, next_lsn: first, ..JournalPlace::default() }
}

/// Seals batches for a joiner.
#[derive(Debug)]
pub struct CopiedLogWriter {
    journal: u64,
    place: JournalPlace,
}

impl CopiedLogWriter {
    /// The first batch will begin with the record `first` of the journal with id `journal`.
    #[must_use]
    pub fn new(journal: u64, first: Lsn) -> Self {
        Self { journal, place: place_before(first) }
    }

    /// The bytes of the next batch: one entry, or several for a long batch.
    ///
    /// # Errors
    /// [`EntryError::Unwritable`] if the batch is empty or too large.
    pub fn seal(&mut self, batch: &Batch) -> Result<Bytes, EntryError> {
        let unwritable = |_| EntryError::Unwritable("the batch is too large");
        let records = u32::try_from(batch.count()).map_err(unwritable)?;
        let bodies = batch.bytes().chunks(ENTRY_BODY_BYTES_MAX);
        let parts = u16::try_from(bodies.len()).map_err(unwritable)?;
        let mut bytes = BytesMut::new();
        for (part, body) in (0_u16..).zip(bodies) {
            let header = EntryHeader {
                kind: EntryKind::Records,
                part,
                parts,
                journal: self.journal,
                epoch: self.place.epoch,
                writer: self.place.writer,
                index: self.place.index.saturating_add(1),
                first: self.place.next_lsn,
                records,
                time_ms: 0,
                previous: self.place.checksum,
            };
            let sealed = header.seal(body)?;
            (self.place.index, self.place.checksum) = (header.index, sealed.checksum);
            bytes.extend_from_slice(&sealed.bytes);
        }
        self.place.next_lsn = Lsn(self.place.next_lsn.0.saturating_add(records.into()));
        Ok(bytes.freeze())
    }
}

/// Takes the stream apart that [`CopiedLogWriter`] makes, however it is cut on its way.
#[derive(Debug)]
pub struct CopiedLogReader {
    reader: JournalReader,
    /// Bytes of an entry that is not whole.
    buffer: BytesMut,
}

impl CopiedLogReader {
    /// The stream must begin with the record `first` of the journal with id `journal`.
    #[must_use]
    pub fn new(journal: u64, first: Lsn) -> Self {
        let reader = JournalReader::begin(journal, Condition::Checked, place_before(first));
        Self { reader, buffer: BytesMut::new() }
    }

    /// Takes the next bytes, and returns the batches that are whole now.
    ///
    /// # Errors
    /// In words, if the bytes are not what a member sealed, or belong elsewhere. Nothing behind them
    /// may be taken.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Batch>, String> {
        self.buffer.extend_from_slice(bytes);
        let mut batches = Vec::new();
        while let Some(entry_bytes) = self.entry_bytes()? {
            let Some(entry) = self.buffer.get(..entry_bytes) else { break };
            match self.reader.accept(self.reader.next_seq(), entry) {
                Verdict::Accepted(accepted) => match accepted.content {
                    Content::Records(batch) => batches.push(batch),
                    Content::Part => {}
                    Content::Control(_) => return Err("it has an entry without records".into()),
                },
                Verdict::Void | Verdict::Repeated => {
                    return Err("it has an entry a second time".into());
                }
                Verdict::Gap(fault) | Verdict::Damaged(fault) | Verdict::Newer(fault) => {
                    return Err(format!("LSN {}: {}", fault.lsn, fault.what));
                }
            }
            self.buffer.advance(entry_bytes);
        }
        Ok(batches)
    }

    /// Length of the entry that begins in the buffer; `None` while its header is not whole.
    fn entry_bytes(&self) -> Result<Option<usize>, String> {
        let Some((head, _)) = self.buffer.split_first_chunk::<ENTRY_HEADER_BYTES>() else {
            return Ok(None);
        };
        let bytes = JournalEntry::whole_bytes(head);
        bytes.map(Some).map_err(|error| format!("LSN {}: {error}", self.reader.committed().next()))
    }

    /// The last record of the batches that were given out.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.reader.committed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(records: u64, bytes: usize) -> Batch {
        let mut batch = Batch::new();
        for record in 0..records {
            batch.push(&vec![u8::try_from(record % 251).unwrap(); bytes]).unwrap();
        }
        batch
    }

    fn sealed() -> (Vec<Batch>, Vec<u8>) {
        let batches = vec![batch(3, 10), batch(2, 3 << 19), batch(1, 0), batch(40, 30_000)];
        let mut writer = CopiedLogWriter::new(7, Lsn(100));
        let mut bytes = Vec::new();
        for batch in &batches {
            bytes.extend_from_slice(&writer.seal(batch).unwrap());
        }
        (batches, bytes)
    }

    #[test]
    fn batches_come_through_however_the_stream_is_cut() {
        let (batches, bytes) = sealed();
        for piece in [1_000_000, 65_536, 4097, bytes.len()] {
            let mut reader = CopiedLogReader::new(7, Lsn(100));
            let taken = bytes.chunks(piece).flat_map(|bytes| reader.take(bytes).unwrap());
            assert_eq!(taken.collect::<Vec<_>>(), batches, "in pieces of {piece}");
            assert_eq!(reader.position(), Lsn(145));
        }
    }

    #[test]
    fn a_changed_byte_is_refused_wherever_it_is() {
        let (batches, bytes) = sealed();
        let places = (0..400).chain((400..bytes.len()).step_by(9973));
        for place in places {
            let mut changed = bytes.clone();
            changed[place] ^= 4;
            let mut reader = CopiedLogReader::new(7, Lsn(100));
            let mut taken = Vec::new();
            let refused = changed.chunks(10_000).any(|bytes| match reader.take(bytes) {
                Ok(more) => {
                    taken.extend(more);
                    false
                }
                Err(_) => true,
            });
            assert!(refused, "byte {place}");
            assert_eq!(taken, batches[..taken.len()], "byte {place}");
        }
    }

    #[test]
    fn a_foreign_stream_is_refused() {
        let (_, bytes) = sealed();
        assert!(CopiedLogReader::new(8, Lsn(100)).take(&bytes).is_err());
        assert!(CopiedLogReader::new(7, Lsn(99)).take(&bytes).is_err());
        assert!(CopiedLogReader::new(7, Lsn(100)).take(&[0; 80]).is_err());
        let huge = [b"\xc1JE\x01\x01\0\0\0\x01\0\0\0".as_slice(), &[255; 68]].concat();
        assert!(CopiedLogReader::new(7, Lsn(100)).take(&huge).is_err());
    }
}
