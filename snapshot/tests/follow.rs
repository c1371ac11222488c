//! A log is followed while it is written, rotated, trimmed, opened again and damaged. Every record
//! comes once, in order, as it was written, and not before it may be seen. If a record cannot come,
//! the follower says why.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "follow/watched.rs"]
mod watched;
#[path = "follow/world.rs"]
mod world;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use snapshot::{
    Batch, Damage, Disk, DiskFile, FaultyDisk, FollowError, LogFollower, LogWriter, Lsn,
    OpenOptions, RealDisk, SnapshotWriter, open, repair,
};

use watched::Watched;

const NODE: u64 = 0x00c0_ffee;
const DIR: &str = "/data";

fn dir() -> &'static Path {
    Path::new(DIR)
}

fn index(lsn: u64) -> usize {
    usize::try_from(lsn).unwrap()
}

fn payload(lsn: u64) -> Vec<u8> {
    format!("record {lsn}, {}", "x".repeat(index(lsn % 5))).into_bytes()
}

fn append<D: Disk>(log: &mut LogWriter<D>, records: u64) {
    let mut batch = Batch::new();
    for next in 1..=records {
        batch.push(&payload(log.written().0 + next)).unwrap();
    }
    log.append(&batch).unwrap();
}

fn create(disk: &FaultyDisk) -> LogWriter<FaultyDisk> {
    LogWriter::create(disk, dir(), NODE, Lsn(1)).unwrap()
}

fn follow<D: Disk>(disk: &D, from: u64) -> Result<LogFollower<D>, FollowError> {
    LogFollower::open(disk, dir(), NODE, Lsn(from))
}

fn oldest(disk: &FaultyDisk) -> Option<u64> {
    LogFollower::oldest(disk, dir(), NODE).unwrap().map(|oldest| oldest.0)
}

fn reopen(disk: &FaultyDisk) -> LogWriter<FaultyDisk> {
    open(disk, dir(), OpenOptions::new(NODE), |_| Ok(()), |_, _| Ok(())).unwrap().writer.unwrap()
}

/// One call. Returns the numbers of the records; all must be right and in order behind the
/// position.
fn take<D: Disk>(
    follower: &mut LogFollower<D>,
    until: u64,
    bytes_max: usize,
) -> Result<Vec<u64>, FollowError> {
    let mut position = follower.position().0;
    let mut taken = Vec::new();
    let next = follower.next(Lsn(until), bytes_max, |lsn, found| {
        position += 1;
        assert_eq!(lsn.0, position);
        assert!(lsn.0 <= until && found == payload(lsn.0), "LSN {lsn}");
        taken.push(lsn.0);
    });
    assert_eq!(follower.position().0, position);
    match next {
        Ok(reached) => {
            assert_eq!(reached.0, position);
            Ok(taken)
        }
        Err(error) => {
            assert!(taken.is_empty(), "what was handed on goes before an error");
            Err(error)
        }
    }
}

/// Bytes of the mark behind the last batch of a segment that another one follows.
const SUCCESSOR_MARK_BYTES: usize = 44;

/// Calls until all records up to `until` are there, or an error comes.
fn take_all<D: Disk>(follower: &mut LogFollower<D>, until: u64) -> Result<Vec<u64>, FollowError> {
    let mut all = Vec::new();
    while follower.position().0 < until {
        all.extend(take(follower, until, 20)?);
    }
    Ok(all)
}

fn gone<T: std::fmt::Debug>(result: Result<T, FollowError>) -> u64 {
    match result {
        Err(FollowError::Gone { oldest }) => oldest.0,
        other => panic!("{other:?}"),
    }
}

fn damaged<T: std::fmt::Debug>(result: Result<T, FollowError>) -> Damage {
    match result {
        Err(FollowError::Damaged(damage)) => damage,
        other => panic!("{other:?}"),
    }
}

fn segment(first: u64) -> PathBuf {
    dir().join(format!("log-{first:020}.seg"))
}

/// Segments 1..=5 (batches of 2 and 3 records), 6..=9 (3, 1) with an end mark, and 10..=12 (3),
/// written by two runs.
fn store(disk: &FaultyDisk) -> LogWriter<FaultyDisk> {
    let mut log = create(disk);
    append(&mut log, 2);
    append(&mut log, 3);
    log.rotate().unwrap();
    append(&mut log, 3);
    append(&mut log, 1);
    log.finish().unwrap();
    let mut log = reopen(disk);
    append(&mut log, 3);
    log.sync().unwrap();
    log
}

#[test]
fn from_each_record_up_to_each_record() {
    let disk = FaultyDisk::new(1);
    let log = store(&disk);
    assert_eq!((log.written(), oldest(&disk)), (Lsn(12), Some(1)));
    for from in 1..=13 {
        for until in 0..=12 {
            let mut follower = follow(&disk, from).unwrap();
            assert_eq!(follower.position(), Lsn(from - 1));
            let expected: Vec<u64> = (from..=until).collect();
            assert_eq!(take(&mut follower, until, usize::MAX).unwrap(), expected);
            // And on from there, a step at a time.
            let mut rest = Vec::new();
            for later in until..=12 {
                rest.extend(take(&mut follower, later, 0).unwrap());
            }
            assert_eq!(rest, (from.max(until + 1)..=12).collect::<Vec<_>>());
        }
    }
    assert_eq!(take_all(&mut follow(&disk, 0).unwrap(), 12).unwrap().len(), 12);
}

#[test]
fn one_batch_at_least_and_not_many_more() {
    let disk = FaultyDisk::new(1);
    let mut log = create(&disk);
    (0..10).for_each(|_| append(&mut log, 4));
    let mut follower = follow(&disk, 2).unwrap();
    assert_eq!(take(&mut follower, 40, 0).unwrap(), [2, 3, 4]);
    assert_eq!(take(&mut follower, 40, 1).unwrap(), [5, 6, 7, 8]);
    let two = (9..=13).map(|lsn| payload(lsn).len() + 8).sum();
    assert_eq!(take(&mut follower, 40, two).unwrap(), (9..=16).collect::<Vec<_>>());
    // Empty records count too, and batches may be larger than a window or a limit.
    let disk = FaultyDisk::new(1);
    let mut log = create(&disk);
    let mut follower = follow(&disk, 1).unwrap();
    let mut large = Batch::new();
    (0..3).for_each(|_| large.push(&vec![7; 1 << 20]).unwrap());
    let mut empty = Batch::new();
    (0..4).for_each(|_| empty.push(&[]).unwrap());
    for batch in [&large, &empty, &empty, &empty, &large] {
        log.append(batch).unwrap();
    }
    let mut counts = Vec::new();
    while follower.position() < log.written() {
        let mut count = 0;
        follower.next(log.written(), 64, |_, _| count += 1).unwrap();
        counts.push(count);
    }
    assert_eq!(counts, [3, 8, 7]);
}

#[test]
fn what_is_behind_until_is_not_believed() {
    let disk = FaultyDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 2);
    let mut follower = follow(&disk, 1).unwrap();
    assert_eq!(take(&mut follower, 1, 9).unwrap(), [1]);
    // First a whole batch that looks right and is replaced later, then half of one, then zeros.
    let path = segment(1);
    let before = disk.read(&path).unwrap();
    let other = FaultyDisk::new(2);
    other.put(&path, &before);
    let mut phantom = reopen(&other);
    let mut batch = Batch::new();
    (0..3).for_each(|_| batch.push(b"never was").unwrap());
    phantom.append(&batch).unwrap();
    let with_phantom = other.read(&path).unwrap();
    let phantom = &with_phantom[before.len()..];
    for behind in [phantom, &phantom[..50], &[0; 99]] {
        let mut file = disk.open_append(&path).unwrap();
        let whole = file.len().unwrap();
        let written = log.written().0;
        file.append(behind).unwrap();
        let mut late = follow(&disk, written).unwrap();
        let mut ahead = follow(&disk, written + 2).unwrap();
        take_all(&mut follower, written).unwrap();
        assert_eq!(take(&mut follower, written, 9).unwrap(), []);
        assert_eq!(take(&mut late, written, 9).unwrap(), [written]);
        assert_eq!(take(&mut ahead, written, 9).unwrap(), []);
        file.truncate(whole).unwrap();
        append(&mut log, 2);
        let both = [written + 1, written + 2];
        assert_eq!(take(&mut follower, written + 2, 999).unwrap(), both);
        assert_eq!(take(&mut late, written + 2, 999).unwrap(), both);
        assert_eq!(take(&mut ahead, written + 2, 999).unwrap(), both[1..]);
    }
}

#[test]
fn a_new_segment_in_the_making_is_not_in_the_way() {
    let disk = FaultyDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 3);
    let mut follower = follow(&disk, 3).unwrap();
    for bytes in [&b""[..], b"chshlog\n", &[0; 48]] {
        disk.put(&segment(4), bytes);
        assert_eq!(oldest(&disk), Some(1));
        let mut late = follow(&disk, 4).unwrap();
        assert_eq!(take_all(&mut follow(&disk, 1).unwrap(), 3).unwrap(), [1, 2, 3]);
        take_all(&mut follower, 3).unwrap();
        assert_eq!(take(&mut late, 3, 9).unwrap(), []);
        // Bytes follow it, so it was complete once; or it should be, because the caller says so.
        disk.put(&segment(4), &[0; 49]);
        assert_eq!(damaged(follow(&disk, 1)).path, segment(4));
        disk.put(&segment(4), bytes);
        assert_eq!(damaged(take(&mut follower, 4, 9)).path, segment(4));
    }
    disk.remove(&segment(4)).unwrap();
    log.rotate().unwrap();
    append(&mut log, 1);
    assert_eq!(take(&mut follower, 4, 9).unwrap(), [4]);
    log.rotate().unwrap();
    assert_eq!(oldest(&disk), Some(1));
    assert_eq!(take(&mut follow(&disk, 5).unwrap(), 4, 9).unwrap(), []);
}

/// A write fails after the new segment has its header and before the old one demands it. The writer
/// creates the segment again, and a follower may have opened the file that it replaces.
#[test]
fn a_segment_that_is_created_again_is_followed() {
    let disk = FaultyDisk::new(1);
    let mut log = create(&disk);
    append(&mut log, 1);
    log.set_segment_bytes_max(1);
    disk.fail_write(2);
    let mut batch = Batch::new();
    batch.push(&payload(2)).unwrap();
    log.append(&batch).unwrap_err();
    disk.fail_write(u64::MAX);
    assert_eq!(disk.read(&segment(2)).unwrap().len(), 48, "the new segment has its header");
    let mut follower = follow(&disk, 2).unwrap();
    append(&mut log, 1);
    append(&mut log, 1);
    assert_eq!(take_all(&mut follower, 3).unwrap(), [2, 3]);
}

#[test]
fn trimmed_records_are_gone() {
    let disk = FaultyDisk::new(1);
    let mut log = create(&disk);
    for _ in 0..4 {
        append(&mut log, 2);
        append(&mut log, 3);
        log.rotate().unwrap();
    }
    let mut at_end = follow(&disk, 4).unwrap();
    assert_eq!(take(&mut at_end, 5, 99).unwrap(), [4, 5]);
    let mut within = follow(&disk, 6).unwrap();
    assert_eq!(take(&mut within, 20, 0).unwrap(), [6, 7]);
    let mut not_begun = follow(&disk, 8).unwrap();

    assert_eq!(log.trimmer().trim(Lsn(15)).unwrap(), 2);
    assert_eq!(oldest(&disk), Some(11));
    for from in 0..=10 {
        assert_eq!(gone(follow(&disk, from)), 11);
    }
    assert_eq!(take_all(&mut follow(&disk, 11).unwrap(), 20).unwrap().len(), 10);
    // An open segment is read to its end, and the next one if it still exists.
    assert_eq!(gone(take(&mut at_end, 20, 9)), 11);
    assert_eq!(gone(take(&mut at_end, 20, 9)), 11);
    assert_eq!(take(&mut not_begun, 20, 99).unwrap(), [8, 9, 10, 11, 12]);
    log.trimmer().trim(Lsn(u64::MAX)).unwrap();
    assert_eq!(take_all(&mut not_begun, 15).unwrap(), [13, 14, 15]);
    // Records that exist are handed on before the error about those that are gone.
    assert_eq!(take(&mut within, 20, usize::MAX).unwrap(), [8, 9, 10]);
    assert_eq!(gone(take(&mut within, 20, 9)), 21);
    assert_eq!((gone(follow(&disk, 20)), oldest(&disk)), (21, Some(21)));
    append(&mut log, 1);
    assert_eq!(take(&mut follow(&disk, 21).unwrap(), 21, 9).unwrap(), [21]);
}

#[test]
fn a_lost_segment_is_damage_and_no_trim() {
    let disk = FaultyDisk::new(1);
    let _log = store(&disk);
    disk.remove(&segment(6)).unwrap();
    let mut follower = follow(&disk, 1).unwrap();
    assert_eq!(take(&mut follower, 12, usize::MAX).unwrap(), [1, 2, 3, 4, 5]);
    assert_eq!(damaged(take(&mut follower, 12, 9)).path, segment(1));
    disk.remove(&segment(10)).unwrap();
    let damage = damaged(take(&mut follower, 12, 9));
    let len = u64::try_from(disk.read(&segment(1)).unwrap().len()).unwrap();
    assert_eq!((damage.path, damage.offset), (segment(1), len));
    // A segment that is cut to less than a header, or belongs to another log, counts as lost.
    let disk = FaultyDisk::new(1);
    let _log = store(&disk);
    disk.put(&segment(6), &[0; 48]);
    assert_eq!(damaged(follow(&disk, 1)).path, segment(6));
    let other = FaultyDisk::new(2);
    let mut log = create(&other);
    append(&mut log, 5);
    log.rotate().unwrap();
    append(&mut log, 4);
    disk.put(&segment(6), &other.read(&segment(6)).unwrap());
    let damage = damaged(take_all(&mut follow(&disk, 1).unwrap(), 12));
    assert_eq!((damage.path, damage.offset), (segment(6), 40));
    // A header and nothing else, where there should be more.
    let bytes = disk.read(&segment(1)).unwrap();
    disk.put(&segment(1), &bytes[..48]);
    let damage = damaged(take(&mut follow(&disk, 1).unwrap(), 5, 9));
    assert_eq!((damage.path, damage.offset), (segment(1), 48));
}

#[test]
fn no_log_and_the_log_of_another() {
    let disk = FaultyDisk::new(1);
    assert_eq!(oldest(&disk), None);
    let missing = follow(&disk, 1);
    assert!(matches!(missing, Err(FollowError::Io(error)) if error.kind() == ErrorKind::NotFound));
    let _log = store(&disk);
    let damage = damaged(LogFollower::open(&disk, dir(), 1, Lsn(1)));
    assert!(damage.what.contains("belongs to node"), "{damage}");
    assert_eq!(LogFollower::oldest(&disk, dir(), 1).unwrap_err().kind(), ErrorKind::InvalidData);
}

#[test]
fn after_a_torn_tail_was_cut() {
    let disk = FaultyDisk::new(1);
    drop(store(&disk));
    disk.open_append(&segment(10)).unwrap().append(b"torn").unwrap();
    let mut log = reopen(&disk);
    let mut follower = follow(&disk, 2).unwrap();
    append(&mut log, 2);
    assert_eq!(take_all(&mut follower, 14).unwrap(), (2..=14).collect::<Vec<_>>());
    // A stop without a record leaves a segment that the next start uses again.
    log.rotate().unwrap();
    log.finish().unwrap();
    let mut log = reopen(&disk);
    append(&mut log, 1);
    assert_eq!(take_all(&mut follow(&disk, 13).unwrap(), 15).unwrap(), [13, 14, 15]);
    // The end mark of a stop is no record, and nothing to wait for.
    let mut follower = follow(&disk, 15).unwrap();
    assert_eq!(log.finish().unwrap(), Lsn(15));
    assert_eq!(take(&mut follower, 15, 9).unwrap(), [15]);
    assert_eq!(take(&mut follower, 15, 9).unwrap(), []);
    // Bytes behind it are damage as soon as a later segment is wanted.
    disk.open_append(&segment(15)).unwrap().append(b"x").unwrap();
    let damage = damaged(take(&mut follower, 16, 9));
    assert!(damage.what.contains("after the end mark"), "{damage}");
}

#[test]
fn every_flip_is_damage_and_no_wrong_record_is_told() {
    let disk = FaultyDisk::new(1);
    drop(store(&disk));
    for first in [1, 6, 10] {
        let path = segment(first);
        for at in 0..disk.read(&path).unwrap().len() {
            let bit = u64::try_from(at * 8 + at % 8).unwrap();
            disk.flip_bit(&path, bit).unwrap();
            let mut all = Vec::new();
            let mut all_of_it = || -> Result<(), FollowError> {
                let mut follower = follow(&disk, 1)?;
                while follower.position() < Lsn(12) {
                    all.extend(take(&mut follower, 12, 20)?);
                }
                Ok(())
            };
            let damage = damaged(all_of_it());
            assert!(damage.path == path, "byte {at} of {first}: {damage}");
            assert!(all.is_empty() || first <= 12 && *all.last().unwrap() >= first - 1);
            disk.flip_bit(&path, bit).unwrap();
        }
    }
    // Before `from` only headers on the way to it are read.
    let path = segment(1);
    disk.flip_bit(&path, (48 + 44 + 10) * 8).unwrap();
    assert_eq!(take_all(&mut follow(&disk, 3).unwrap(), 12).unwrap().len(), 10);
    damaged(take(&mut follow(&disk, 2).unwrap(), 12, 9));
    disk.flip_bit(&path, 20).unwrap();
    assert_eq!(take_all(&mut follow(&disk, 6).unwrap(), 12).unwrap().len(), 7);
    damaged(follow(&disk, 5));
}

#[test]
fn a_fault_that_passes_is_tried_again() {
    let disk = FaultyDisk::new(1);
    let mut log = store(&disk);
    log.set_segment_bytes_max(1);
    let mut follower = follow(&disk, 1).unwrap();
    // A bit that is read wrong once, in bytes that are read ahead or later. Records that were
    // handed on before it stay.
    let behind_last = disk.read(&segment(1)).unwrap().len() - SUCCESSOR_MARK_BYTES;
    let last = u64::try_from(behind_last - 1).unwrap();
    disk.flip_bit(&segment(1), last * 8).unwrap();
    assert_eq!(take(&mut follower, 12, 0).unwrap(), [1, 2]);
    damaged(take(&mut follower, 12, 0));
    disk.flip_bit(&segment(1), last * 8).unwrap();
    disk.flip_bit(&segment(6), 48 * 8).unwrap();
    assert_eq!(take(&mut follower, 12, usize::MAX).unwrap(), [3, 4, 5]);
    damaged(take(&mut follower, 12, 9));
    disk.flip_bit(&segment(6), 48 * 8).unwrap();
    let mut fresh = follow(&disk, 6).unwrap();
    assert_eq!(take(&mut fresh, 12, 0).unwrap(), [6, 7, 8]);
    // A failed write of the writer does not affect the follower.
    disk.fail_write(3);
    let mut batch = Batch::new();
    batch.push(&payload(13)).unwrap();
    log.append(&batch).unwrap_err();
    assert_eq!(take_all(&mut fresh, 12).unwrap(), [9, 10, 11, 12]);
    append(&mut log, 1);
    assert_eq!(take(&mut fresh, 13, 9).unwrap(), [13]);
}

#[test]
fn a_break_in_the_log_is_where_it_begins() {
    // Accepted loss: the damaged part of 1..=5 and all of 6..=12.
    let disk = FaultyDisk::new(1);
    drop(store(&disk));
    disk.flip_bit(&segment(1), (48 + 44 + 80) * 8).unwrap();
    assert!(repair(&disk, dir(), Some(NODE)).unwrap().left.is_empty());
    let mut log = reopen(&disk);
    let first = log.written().0 + 1;
    assert!(first > 12);
    assert_eq!((gone(follow(&disk, 1)), gone(follow(&disk, 2))), (first, first));
    assert_eq!((gone(follow(&disk, first - 1)), oldest(&disk)), (first, Some(first)));
    append(&mut log, 2);
    log.rotate().unwrap();
    append(&mut log, 1);
    assert_eq!(oldest(&disk), Some(first));
    let all = take_all(&mut follow(&disk, first).unwrap(), first + 2).unwrap();
    assert_eq!(all, [first, first + 1, first + 2]);
    log.rotate().unwrap();
    log.trimmer().trim(Lsn(first + 2)).unwrap();
    assert_eq!((gone(follow(&disk, first)), oldest(&disk)), (first + 2, Some(first + 2)));

    // A run without a log.
    let disk = FaultyDisk::new(1);
    store(&disk).finish().unwrap();
    let snapshot = SnapshotWriter::create(&disk, dir(), NODE, Lsn(20)).unwrap();
    snapshot.publish_without_log().unwrap();
    let mut log = reopen(&disk);
    append(&mut log, 2);
    assert_eq!(oldest(&disk), Some(21));
    for from in 1..=20 {
        assert_eq!(gone(follow(&disk, from)), 21);
    }
    let mut follower = follow(&disk, 21).unwrap();
    assert_eq!(take_all(&mut follower, 22).unwrap(), [21, 22]);
    // A log that merely begins where this one ends does not follow it either.
    let mut log = LogWriter::create(&disk, dir(), NODE, Lsn(23)).unwrap();
    append(&mut log, 1);
    assert_eq!((gone(take(&mut follower, 23, 9)), gone(follow(&disk, 22))), (23, 23));
}

#[test]
fn nothing_is_read_twice() {
    let disk = Watched::new(&FaultyDisk::new(1));
    let mut log = LogWriter::create(&disk, dir(), NODE, Lsn(1)).unwrap();
    log.set_segment_bytes_max(50_000);
    let mut live = follow(&disk, 1).unwrap();
    for _ in 0..2000 {
        append(&mut log, 2);
        assert_eq!(take(&mut live, log.written().0, 9).unwrap().len(), 2);
    }
    // Each batch is read once, and each segment's header.
    let (bytes, whole) = (disk.read.take().0, log.bytes_written());
    assert!(bytes <= whole + 48, "{bytes} of {whole}");
    // Old records in small parts: each byte is read once too, and many bytes in one read.
    let mut old = follow(&disk, 1).unwrap();
    disk.read.take();
    assert_eq!(take_all(&mut old, 4000).unwrap().len(), 4000);
    let (bytes, calls) = disk.read.take();
    assert!(bytes <= whole + whole / 8, "{bytes} of {whole}");
    assert!(calls <= 5 * (whole / 50_000 + 1), "{calls} calls");
    // Finding a place reads the headers of segments, and one segment.
    let mut last = follow(&disk, 4000).unwrap();
    assert_eq!(take(&mut last, 4000, 9).unwrap(), [4000]);
    let (bytes, _) = disk.read.take();
    assert!(bytes < 60_000, "{bytes}");
}

#[test]
fn a_roll_and_a_trim_between_listing_and_opening() {
    // All listed segments are gone, so the directory is listed again: once, or more often than the
    // bound.
    for (times, expected) in [(1, Some(11)), (7, Some(41)), (8, None)] {
        let disk = Watched::new(&FaultyDisk::new(1));
        let log = Arc::new(Mutex::new(create(&disk.disk)));
        let roll = |trim: bool| {
            let log = Arc::clone(&log);
            move || {
                let mut log = log.lock().unwrap();
                append(&mut log, 5);
                log.rotate().unwrap();
                log.trimmer().trim(Lsn(if trim { u64::MAX } else { 0 })).unwrap();
            }
        };
        roll(false)();
        for _ in 0..times {
            disk.after_list.lock().unwrap().push_back(Box::new(roll(true)));
        }
        match (follow(&disk, 1), expected) {
            (Err(FollowError::Gone { oldest }), Some(expected)) => assert_eq!(oldest.0, expected),
            (Err(FollowError::Io(error)), None) => assert_eq!(error.kind(), ErrorKind::NotFound),
            other => panic!("{other:?}"),
        }
        assert!(disk.after_list.lock().unwrap().is_empty());
    }
}

/// The real disk, a writer at full speed that also trims, and followers on other threads.
#[test]
fn beside_a_writer_on_another_thread() {
    const LAST: u64 = 30_000;
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path();
    let mut log = LogWriter::create(&RealDisk, dir, NODE, Lsn(1)).unwrap();
    log.set_segment_bytes_max(40_000);
    let written = AtomicU64::new(0);
    let run = &|mut follower: LogFollower<RealDisk>, bytes_max: usize, wait: bool| {
        let (mut count, mut skipped) = (0, 0);
        while follower.position() < Lsn(LAST) {
            let before = follower.position().0;
            match take(&mut follower, written.load(Ordering::Acquire), bytes_max) {
                Ok(taken) => count += u64::try_from(taken.len()).unwrap(),
                Err(FollowError::Gone { oldest }) => {
                    assert!(oldest.0 > before + 1);
                    match LogFollower::open(&RealDisk, dir, NODE, oldest) {
                        Ok(again) => {
                            skipped += oldest.0 - before - 1;
                            follower = again;
                        }
                        // Trimmed again already.
                        Err(error) => assert!(gone(Err::<(), _>(error)) > oldest.0),
                    }
                }
                Err(error) => panic!("{error}"),
            }
            if wait {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
        assert_eq!(count + skipped, LAST);
    };
    std::thread::scope(|scope| {
        for (bytes_max, wait) in [(0, false), (5000, false), (usize::MAX, true), (300, true)] {
            let follower = LogFollower::open(&RealDisk, dir, NODE, Lsn(1)).unwrap();
            scope.spawn(move || run(follower, bytes_max, wait));
        }
        let mut size = 0;
        while log.written() < Lsn(LAST) {
            size = (size + 7) % 40;
            let left = LAST - log.written().0;
            append(&mut log, (size + 1).min(left));
            written.store(log.written().0, Ordering::Release);
            if log.written().0.is_multiple_of(50) {
                log.trimmer().trim(Lsn(log.written().0.saturating_sub(9000))).unwrap();
            }
        }
    });
}
