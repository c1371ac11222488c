//! Compares entries of the journal with the records that a member has already.
//!
//! A member that starts has records up to some LSN, and the engine keeps entries from before it. Each
//! of their records must be the one in the log on the disk. If one differs, the engine or the disk
//! does not have what was written, and this member must neither apply more nor claim.
//!
//! # Invariants
//! - Entries come in order. A record is compared before a record behind it is handed on.
//! - What is compared is all that the log still has. A snapshot removes old segments, and then the
//!   records in them are passed over.
//! - A comparison holds one follower of the log, and nothing once the last record is compared.

use snapshot::{Batch, Disk, FollowError, LogFollower, LogWriter, Lsn, Planted, is_planted};

/// Why records of an entry cannot be passed over.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotEqual {
    /// The log has another record of this LSN.
    #[error(
        "its record {0} is not the one that this member has. If the other members continue, wipe \
         the directory of this one and start it; else the engine has what was never written"
    )]
    Differs(Lsn),
    /// The log cannot be read.
    #[error("the log of this member cannot be compared with it: {0}")]
    Unreadable(#[from] FollowError),
}

/// The records that a member had when it began, in step with the entries that have them too.
#[derive(Debug)]
pub(super) struct LogComparison<D: Disk> {
    /// The last record that the member had.
    have: Lsn,
    /// The log has no record before this one, as far as is known.
    oldest: Lsn,
    follower: Option<LogFollower<D>>,
}

impl<D: Disk> LogComparison<D> {
    /// All records of `log` are compared.
    pub(super) fn new(log: &LogWriter<D>) -> Self {
        Self { have: log.written(), oldest: Lsn(1), follower: None }
    }

    /// Compares the records of a batch that begins with `first`, as far as the member had them.
    /// Returns those that it had not, with their first LSN.
    ///
    /// # Errors
    /// [`NotEqual`]. Nothing behind this batch may be applied then.
    pub(super) fn behind(
        &mut self,
        log: &LogWriter<D>,
        first: Lsn,
        batch: Batch,
    ) -> Result<Option<(Lsn, Batch)>, NotEqual> {
        let Some(had) = self.have.0.checked_sub(first.previous().0).filter(|had| *had > 0) else {
            return Ok(Some((first, batch)));
        };
        let had = usize::try_from(had).unwrap_or(usize::MAX).min(batch.count());
        if !is_planted(Planted::ReturnUncompared) {
            self.compare(log, first, &batch, had)?;
        }
        if had == batch.count() {
            return Ok(None);
        }
        let mut rest = Batch::new();
        for record in batch.payloads().skip(had) {
            // Each is a record already, and together they are fewer than before.
            let pushed = rest.push(record);
            debug_assert!(pushed.is_ok(), "{pushed:?}");
        }
        Ok(Some((self.have.next(), rest)))
    }

    /// Compares the first `had` records of a batch with those of the log.
    fn compare(
        &mut self,
        log: &LogWriter<D>,
        first: Lsn,
        batch: &Batch,
        had: usize,
    ) -> Result<(), NotEqual> {
        let last = Lsn(first.0.saturating_add(u64::try_from(had).unwrap_or(u64::MAX))).previous();
        while self.oldest <= last {
            let from = self.oldest.max(first);
            // Behind a trim the entries may have gone on without it. Else it is at the record before.
            let follower =
                self.follower.take().filter(|follower| follower.position() >= from.previous());
            let opened = follower.map_or_else(|| log.follow(from), Ok);
            let compared = opened.and_then(|mut follower| {
                let passed = follower.position().0.saturating_sub(first.previous().0);
                let passed = usize::try_from(passed).unwrap_or(usize::MAX);
                let mut records = batch.payloads().skip(passed);
                let mut differs = None;
                let at = follower.next(last, usize::MAX, |lsn, record| {
                    if differs.is_none() && records.next() != Some(record) {
                        differs = Some(lsn);
                    }
                })?;
                self.oldest = at.next();
                self.follower = Some(follower).filter(|_| at < self.have);
                Ok(differs)
            });
            match compared {
                Ok(None) => {}
                Ok(Some(lsn)) => return Err(NotEqual::Differs(lsn)),
                Err(FollowError::Gone { oldest }) => self.oldest = oldest,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use snapshot::FaultyDisk;

    use super::*;

    const DIR: &str = "/data";

    fn batch(records: std::ops::RangeInclusive<u64>) -> Batch {
        let mut batch = Batch::new();
        for record in records {
            batch.push(format!("record {record}").as_bytes()).unwrap();
        }
        batch
    }

    /// A log with the records 1 to 40, ten in each segment, in batches of five.
    fn log() -> (FaultyDisk, LogWriter<FaultyDisk>) {
        let disk = FaultyDisk::new(1);
        let mut log = LogWriter::create(&disk, Path::new(DIR), 7, Lsn(1)).unwrap();
        for first in (1..40).step_by(5) {
            if first % 10 == 1 && first > 1 {
                log.rotate().unwrap();
            }
            log.append(&batch(first..=first + 4)).unwrap();
        }
        log.sync().unwrap();
        (disk, log)
    }

    fn has(behind: Result<Option<(Lsn, Batch)>, NotEqual>) -> Option<(u64, Batch)> {
        behind.unwrap().map(|(first, batch)| (first.0, batch))
    }

    #[test]
    fn equal_records_are_passed_over_however_they_are_cut() {
        let (_, log) = log();
        let mut comparison = LogComparison::new(&log);
        for (first, last) in [(1, 3), (4, 4), (5, 22), (23, 38)] {
            assert_eq!(has(comparison.behind(&log, Lsn(first), batch(first..=last))), None);
        }
        let behind = has(comparison.behind(&log, Lsn(39), batch(39..=44)));
        assert_eq!(behind, Some((41, batch(41..=44))));
        assert!(comparison.follower.is_none(), "all is compared");
        let behind = has(comparison.behind(&log, Lsn(45), batch(45..=46)));
        assert_eq!(behind, Some((45, batch(45..=46))));
    }

    /// A member that returns compares many entries, and each open reads a part of a segment again.
    #[test]
    fn one_follower_compares_all_entries_of_a_segment() {
        let (disk, log) = log();
        let mut comparison = LogComparison::new(&log);
        assert_eq!(has(comparison.behind(&log, Lsn(1), batch(1..=2))), None);
        disk.refuse_all(true);
        for first in 3..=10 {
            assert_eq!(has(comparison.behind(&log, Lsn(first), batch(first..=first))), None);
        }
        let behind = comparison.behind(&log, Lsn(11), batch(11..=11));
        assert!(behind.is_err(), "the next segment must be opened: {behind:?}");
    }

    #[test]
    fn each_record_that_differs_is_named() {
        let (_, log) = log();
        for lsn in 1..=40 {
            let mut comparison = LogComparison::new(&log);
            let mut found = None;
            for first in (1..=40).step_by(8) {
                let mut other = Batch::new();
                for record in first..first + 8 {
                    let other_one = if record == lsn { 99 } else { record };
                    other.push(format!("record {other_one}").as_bytes()).unwrap();
                }
                match comparison.behind(&log, Lsn(first), other) {
                    Ok(None) => {}
                    Err(NotEqual::Differs(lsn)) => {
                        found = Some(lsn);
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(found, Some(Lsn(lsn)));
        }
    }

    #[test]
    fn what_snapshots_have_removed_is_passed_over() {
        let (_, log) = log();
        let mut comparison = LogComparison::new(&log);
        let other = batch(101..=104);
        assert_eq!(has(comparison.behind(&log, Lsn(1), batch(1..=8))), None);
        log.trimmer().trim(Lsn(30)).unwrap();
        assert_eq!(has(comparison.behind(&log, Lsn(9), batch(9..=16))), None);
        assert_eq!(has(comparison.behind(&log, Lsn(17), other.clone())), None, "it is gone");
        assert_eq!(has(comparison.behind(&log, Lsn(21), batch(21..=33))), None);
        let compared = comparison.behind(&log, Lsn(34), other);
        assert!(matches!(compared, Err(NotEqual::Differs(Lsn(34)))), "{compared:?}");
    }

    #[test]
    fn a_log_that_cannot_be_read_is_no_log_that_is_equal() {
        let (disk, log) = log();
        let mut comparison = LogComparison::new(&log);
        disk.flip_bit(&Path::new(DIR).join("log-00000000000000000011.seg"), 8 * 120).unwrap();
        assert_eq!(has(comparison.behind(&log, Lsn(1), batch(1..=10))), None);
        let compared = comparison.behind(&log, Lsn(11), batch(11..=15));
        assert!(matches!(compared, Err(NotEqual::Unreadable(_))), "{compared:?}");
    }
}
