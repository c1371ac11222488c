//! Writes records into a journal whose engine lost its end, under a claim of its own.
//!
//! # Invariants
//! - Nothing is appended before a claim whose epoch no member knows.
//! - Records go in the order of their LSNs, behind the last record that the engine shows.
//! - A record is known by a hash of 64 bits. Two logs differ if one hash does.

use std::time::{Duration, Instant};

use snapshot::{Batch, Lsn};
use twox_hash::XxHash64;

use crate::journal::client::{EngineClient, EnginePort};
use crate::journal::entry::{ClaimFacts, ControlBody, ENTRY_HEADER_BYTES, EntryError};
use crate::journal::reader::JournalReader;
use crate::journal::writer::{AppendProgress, JournalWriter, NotTaken, StintEnd};

/// How long the engine may give no word about an entry.
const PATIENCE: Duration = Duration::from_secs(30);
/// Why a refill claims, and the name of the member that it claims as.
const WHY: &str = "refill";

/// Why the journal was not filled. What was appended before stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFilled {
    /// The engine did not reply.
    #[error("the engine of the journal gives no word")]
    NoWord,
    /// Another member claimed, or the engine breaks its contract.
    #[error("{0}")]
    Ended(#[from] StintEnd),
    /// An entry cannot be made.
    #[error("{0}")]
    Entry(#[from] EntryError),
    /// The writer refuses an entry.
    #[error("{0}")]
    NotTaken(#[from] NotTaken),
}

/// Hashes of records without a gap between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHashes {
    /// The first record.
    pub first: Lsn,
    hashes: Vec<u64>,
}

impl RecordHashes {
    /// No record yet; the next one is `first`.
    #[must_use]
    pub fn new(first: Lsn) -> Self {
        Self { first, hashes: Vec::new() }
    }

    /// Adds the records of a batch.
    pub fn add(&mut self, batch: &Batch) {
        self.hashes.extend(batch.payloads().map(|record| XxHash64::oneshot(0, record)));
    }

    /// The record behind the last one.
    #[must_use]
    pub fn next(&self) -> Lsn {
        Lsn(self.first.0.saturating_add(u64::try_from(self.hashes.len()).unwrap_or(u64::MAX)))
    }

    fn since(&self, lsn: Lsn) -> &[u64] {
        let passed = usize::try_from(lsn.0.saturating_sub(self.first.0)).unwrap_or(usize::MAX);
        self.hashes.get(passed..).unwrap_or_default()
    }

    /// The first record that is another one here than there, of those that both have.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<Lsn> {
        let first = self.first.max(other.first);
        let pairs = self.since(first).iter().zip(other.since(first));
        let at = pairs.into_iter().position(|(own, other)| own != other)?;
        Some(Lsn(first.0.saturating_add(u64::try_from(at).unwrap_or(u64::MAX))))
    }

    /// Adds what `other` has behind the last record.
    pub fn extend(&mut self, other: &Self) {
        if other.first <= self.next() {
            let behind = other.since(self.next());
            self.hashes.extend_from_slice(behind);
        }
    }
}

/// A stint that writes what the engine lost.
pub struct Refill {
    port: EnginePort,
    writer: JournalWriter,
    began: Instant,
    time_ms: u64,
    body_bytes_max: usize,
}

impl Refill {
    /// Claims the journal behind `reader`, which has read all that the engine shows. The epoch is
    /// above `known`, the highest one that a member knows, and the journal's format is at least
    /// `format`. `writer` is a random number.
    ///
    /// # Errors
    /// [`NotFilled`].
    pub fn claim(
        client: &EngineClient,
        reader: JournalReader,
        known: u64,
        format: u32,
        writer: u64,
        time_ms: u64,
    ) -> Result<Self, NotFilled> {
        let profile = client.profile();
        let facts = ClaimFacts {
            member: WHY.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            format: reader.place().format.max(format),
            why: WHY.to_owned(),
            ..ClaimFacts::default()
        };
        let time_ms = time_ms.max(reader.newest_time_ms());
        let writer = JournalWriter::claim_above(reader, profile, known, writer, time_ms, facts)?;
        let body_bytes_max = profile.entry_bytes_max.saturating_sub(ENTRY_HEADER_BYTES);
        let (port, began) = (client.port(), Instant::now());
        let mut refill = Self { port, writer, began, time_ms, body_bytes_max };
        refill.drive()?;
        Ok(refill)
    }

    /// Number of the claim.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.writer.epoch()
    }

    /// The last record that the journal has.
    #[must_use]
    pub fn committed(&self) -> Lsn {
        self.writer.committed()
    }

    /// Appends records, in entries as long as the engine takes them.
    ///
    /// # Errors
    /// [`NotFilled`].
    pub fn append(&mut self, records: &Batch) -> Result<(), NotFilled> {
        let mut batch = Batch::new();
        for record in records.payloads() {
            let mut one = Batch::new();
            let too_large = |_| EntryError::Unwritable("a record is too large");
            one.push(record).map_err(too_large)?;
            if !batch.is_empty() && batch.len_bytes() + one.len_bytes() > self.body_bytes_max {
                self.append_one(&batch)?;
                batch.clear();
            }
            batch.append(&mut one).map_err(too_large)?;
        }
        match batch.is_empty() {
            true => Ok(()),
            false => self.append_one(&batch),
        }
    }

    fn append_one(&mut self, batch: &Batch) -> Result<(), NotFilled> {
        self.writer.append(self.time_ms, batch)?;
        self.drive()
    }

    /// Ends the stint, so that a member may claim at once. Returns the seq of the newest entry.
    ///
    /// # Errors
    /// [`NotFilled`]. The records are in the journal, and a member claims after a silence.
    pub fn release(mut self) -> Result<u64, NotFilled> {
        self.writer.control(self.time_ms, &ControlBody::Release(None))?;
        match self.drive() {
            Ok(()) | Err(NotFilled::Ended(StintEnd::Released)) => Ok(self.writer.reach().seq),
            Err(error) => Err(error),
        }
    }

    /// Sends what is due, until the entry counts.
    fn drive(&mut self) -> Result<(), NotFilled> {
        let deadline = self.began.elapsed().saturating_add(PATIENCE);
        loop {
            let now = self.began.elapsed();
            while let Some((id, request)) = self.writer.poll(now) {
                self.port.send(id, request);
            }
            if let Some(end) = self.writer.ended() {
                return Err(end.clone().into());
            }
            if self.writer.is_idle() {
                return Ok(());
            }
            if now >= deadline {
                return Err(NotFilled::NoWord);
            }
            let due = self.writer.next_poll().unwrap_or(deadline).min(deadline);
            if let Some((id, reply)) = self.port.receive(due.saturating_sub(now)) {
                match self.writer.on_reply(self.began.elapsed(), id, reply) {
                    AppendProgress::None | AppendProgress::Committed { .. } => {}
                    AppendProgress::Ended(end) => return Err(end.into()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(first: u64, records: &[&str]) -> RecordHashes {
        let mut batch = Batch::new();
        records.iter().for_each(|record| batch.push(record.as_bytes()).unwrap());
        let mut hashes = RecordHashes::new(Lsn(first));
        hashes.add(&batch);
        hashes
    }

    #[test]
    fn the_first_record_that_differs_is_found() {
        let own = hashes(10, &["a", "b", "c", "d"]);
        assert_eq!(own.next(), Lsn(14));
        assert_eq!(own.difference(&own), None);
        assert_eq!(own.difference(&hashes(12, &["c", "d", "e"])), None);
        assert_eq!(own.difference(&hashes(12, &["c", "x", "e"])), Some(Lsn(13)));
        assert_eq!(hashes(8, &["y", "z", "x"]).difference(&own), Some(Lsn(10)));
        assert_eq!(own.difference(&hashes(14, &["x"])), None, "they share none");
        assert_eq!(own.difference(&hashes(1, &["x"])), None, "they share none");
    }

    #[test]
    fn hashes_continue_without_a_gap() {
        let mut own = hashes(10, &["a", "b"]);
        own.extend(&hashes(11, &["b", "c"]));
        assert_eq!(own, hashes(10, &["a", "b", "c"]));
        own.extend(&hashes(13, &["d"]));
        assert_eq!(own.next(), Lsn(14));
        own.extend(&hashes(15, &["f"]));
        assert_eq!(own.next(), Lsn(14), "there is a gap");
    }
}
