//! Batches and logs of random records come back as they were, on the real disk too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::Path;

use proptest::prelude::*;
use snapshot::{
    BATCH_BYTES_MAX, Batch, Disk, DiskFile, FaultyDisk, LogWriter, Lsn, OpenOptions,
    RECORD_BYTES_MAX, RealDisk, RecordError, SnapshotReader, SnapshotWriter, open, scan,
};

fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)
}

fn batch_of(payloads: &[Vec<u8>]) -> Batch {
    let mut batch = Batch::new();
    payloads.iter().for_each(|payload| batch.push(payload).unwrap());
    batch
}

fn replay<D: Disk>(disk: &D, dir: &Path) -> (Vec<Vec<u8>>, Option<LogWriter<D>>) {
    let mut records = Vec::new();
    let opened = open(
        disk,
        dir,
        OpenOptions::new(1),
        |_| Ok(()),
        |lsn, payload| {
            assert_eq!(lsn.0, u64::try_from(records.len()).unwrap() + 1);
            records.push(payload.to_vec());
            Ok(())
        },
    );
    (records, opened.unwrap().writer)
}

proptest! {
    #[test]
    fn batches_concatenate(one in payloads(), two in payloads()) {
        let mut left = batch_of(&one);
        let mut right = batch_of(&two);
        left.append(&mut right).unwrap();
        prop_assert!(right.is_empty() && right.len_bytes() == 0);
        let both: Vec<Vec<u8>> = one.into_iter().chain(two).collect();
        prop_assert_eq!(&left, &batch_of(&both));
        prop_assert_eq!(left.count(), both.len());
        prop_assert!(left.payloads().eq(both.iter().map(Vec::as_slice)));
        left.clear();
        prop_assert_eq!((left.count(), left.len_bytes()), (0, 0));
    }

    #[test]
    fn a_log_gives_back_what_it_was_given(batches in prop::collection::vec(payloads(), 1..8), segment_bytes in 1..3000_u64) {
        let disk = FaultyDisk::new(segment_bytes);
        let dir = Path::new("/data");
        let (_, log) = replay(&disk, dir);
        let mut log = log.unwrap();
        log.set_segment_bytes_max(segment_bytes);
        for payloads in &batches {
            log.append(&batch_of(payloads)).unwrap();
        }
        log.finish().unwrap();
        disk.crash();
        prop_assert_eq!(replay(&disk, dir).0, batches.concat());
    }

    /// A file of garbage, or a segment with garbage behind it, is described or refused; nothing
    /// panics.
    #[test]
    fn garbage_is_garbage(garbage in prop::collection::vec(any::<u8>(), 0..300), append in any::<bool>(), snapshot in any::<bool>()) {
        let disk = FaultyDisk::new(1);
        let dir = Path::new("/data");
        let mut log = LogWriter::create(&disk, dir, 1, Lsn(1)).unwrap();
        log.append(&batch_of(&[b"one".to_vec()])).unwrap();
        log.sync().unwrap();
        let path = match snapshot {
            false => dir.join("log-00000000000000000001.seg"),
            true => {
                let mut snapshot = SnapshotWriter::create(&disk, dir, 1, Lsn(1)).unwrap();
                snapshot.block(b"one").unwrap();
                snapshot.publish(Lsn(1)).unwrap().path
            }
        };
        let mut bytes = if append { disk.read(&path).unwrap() } else { Vec::new() };
        bytes.extend_from_slice(&garbage);
        disk.put(&path, &bytes);
        let damaged = !scan(&disk, dir, None).unwrap().damage.is_empty();
        let opened = open(&disk, dir, OpenOptions::new(1), |_| Ok(()), |_, _| Ok(()));
        prop_assert_eq!(opened.is_err(), damaged);
    }
}

#[test]
fn limits_hold_and_leave_the_batch_as_it_was() {
    let mut batch = batch_of(&[b"one".to_vec()]);
    let before = batch.clone();
    let large = vec![7; RECORD_BYTES_MAX + 1];
    assert_eq!(batch.push(&large), Err(RecordError::RecordTooLarge { bytes: large.len() }));
    assert_eq!(batch, before);
    let mut count = 1;
    while batch.push(&large[1..]).is_ok() {
        count += 1;
    }
    assert_eq!(batch.count(), count);
    assert!(batch.len_bytes() <= BATCH_BYTES_MAX);
    let mut other = batch.clone();
    assert!(matches!(batch.append(&mut other), Err(RecordError::BatchFull { .. })));
    assert_eq!((batch.count(), other.count()), (count, count));
}

#[test]
#[should_panic(expected = "must only append")]
fn a_closure_that_takes_bytes_away_is_a_mistake_of_the_caller() {
    let _ = Batch::new().push_with(Vec::clear);
}

#[test]
fn a_snapshot_of_many_sizes_comes_back() {
    let disk = FaultyDisk::new(1);
    let dir = Path::new("/data");
    let mut snapshot = SnapshotWriter::create(&disk, dir, 1, Lsn(4)).unwrap();
    let sizes = [0, 1, 300_000, 5, 256 << 10, (1 << 20) + 3, 70_000];
    for size in sizes {
        snapshot.block(&vec![1; size]).unwrap();
    }
    assert!(snapshot.block(&vec![0; RECORD_BYTES_MAX + 1]).is_err());
    assert_eq!(snapshot.blocks(), 7);
    let info = snapshot.publish(Lsn(6)).unwrap();
    let mut reader = SnapshotReader::open(&disk, &info.path).unwrap();
    assert_eq!(reader.info(), &info);
    for size in sizes {
        assert!(reader.next_block().unwrap().unwrap() == vec![1; size]);
    }
    assert!(reader.next_block().unwrap().is_none());
    // A second snapshot with the same start is the newer one.
    let second = SnapshotWriter::create(&disk, dir, 1, Lsn(4)).unwrap().publish(Lsn(6)).unwrap();
    assert!(second.path > info.path);
    // A snapshot that could not be written completely is never published.
    let mut snapshot = SnapshotWriter::create(&disk, dir, 1, Lsn(9)).unwrap();
    disk.full_after(1000);
    assert!(snapshot.block(&[1; 300_000]).and_then(|()| snapshot.block(b"more")).is_err());
    disk.free();
    assert!(snapshot.publish(Lsn(9)).is_err());
    assert_eq!(disk.list(dir).unwrap().len(), 2);
}

#[test]
fn the_operating_systems_files() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("a/b");
    assert!(scan(&RealDisk, &dir, None).is_err());
    RealDisk.create_dir(&dir).unwrap();
    let (records, log) = replay(&RealDisk, &dir);
    assert!(records.is_empty());
    let mut log = log.unwrap();
    log.set_segment_bytes_max(5000);
    let payloads: Vec<Vec<u8>> = (0..200_u8).map(|byte| vec![byte; usize::from(byte)]).collect();
    for some in payloads.chunks(7) {
        log.append(&batch_of(some)).unwrap();
    }
    assert!(log.bytes_written() > 19_900);
    log.finish().unwrap();
    let (records, log) = replay(&RealDisk, &dir);
    assert_eq!(records, payloads);
    // Only unfinished files of this crate are removed.
    let own = ["node.tmp", "log-00000000000000000007.seg.tmp"];
    let of_others = ["notes.tmp", "image-1.img.tmp", "log-7.seg.tmp", "node.bak.tmp", ".tmp"];
    let paths = |names: &[&str]| names.iter().map(|name| dir.join(name)).collect::<Vec<_>>();
    let (own, of_others) = (paths(&own), paths(&of_others));
    own.iter().chain(&of_others).for_each(|path| std::fs::write(path, "unfinished").unwrap());
    drop(log);
    let mut leftovers = scan(&RealDisk, &dir, None).unwrap().leftovers;
    leftovers.sort();
    assert_eq!(leftovers, [own[1].clone(), own[0].clone()]);
    let (records, log) = replay(&RealDisk, &dir);
    assert_eq!(records, payloads);
    assert!(own.iter().all(|path| !path.exists()));
    assert!(of_others.iter().all(|path| path.exists()));
    // An unclean stop, with a torn tail.
    let mut log = log.unwrap();
    log.append(&batch_of(&payloads[..3])).unwrap();
    drop(log);
    let last = scan(&RealDisk, &dir, Some(1)).unwrap().segments.pop().unwrap();
    RealDisk.open_append(&last.path).unwrap().append(b"torn").unwrap();
    let (records, log) = replay(&RealDisk, &dir);
    assert_eq!(records.len(), 203);
    let mut log = log.unwrap();
    log.append(&batch_of(&payloads[..1])).unwrap();
    assert_eq!(log.sync().unwrap(), Lsn(204));
    assert!(log.trimmer().trim(Lsn(150)).unwrap() > 0);
}

/// In every mode a full segment is synced before the next one, and all later writes wait. So little
/// may be left to that sync.
#[test]
fn the_disk_begins_with_what_is_written_long_before_the_sync() {
    let (disk, dir) = (FaultyDisk::new(1), Path::new("/log"));
    let mut writer = LogWriter::create(&disk, dir, 7, Lsn(1)).unwrap();
    let header = writer.bytes_written();
    let batch = batch_of(&vec![vec![7; 1000]; 100]);
    let mut safe = header;
    for appended in 1..=100 {
        writer.append(&batch).unwrap();
        let begun = disk.syncs_begun();
        let end = begun.last().map_or(0, |range| range.end).max(safe);
        let written = disk.read(&dir.join("log-00000000000000000001.seg")).unwrap().len();
        let left = u64::try_from(written).unwrap() - end;
        assert!(left < (1 << 20) + 110_000, "{left} bytes are left to the sync: {begun:?}");
        if appended == 55 {
            writer.sync().unwrap();
            safe = u64::try_from(written).unwrap();
        }
    }
    let begun = disk.syncs_begun();
    assert!((8..=10).contains(&begun.len()), "not for each batch: {begun:?}");
    assert!(begun.iter().all(|range| range.end <= safe || range.start >= safe), "{begun:?}");
}
