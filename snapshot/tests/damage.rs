//! Damage: every byte of a small store is flipped, and every file is cut at every length. The store
//! recovers what is promised, or an error names file and offset.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod keeper;
#[path = "damage/missing.rs"]
mod missing;

use std::path::{Path, PathBuf};

use snapshot::{
    Batch, Damage, Disk, FaultyDisk, LogWriter, Lsn, OpenError, OpenOptions, Opened,
    SnapshotWriter, Tail, open, prune, read_sealed, repair, scan, write_sealed,
};

const NODE: u64 = 0x00c0_ffee;
const DIR: &str = "/data";

fn payload(lsn: u64) -> Vec<u8> {
    format!("record {lsn}, {}", "x".repeat(usize::try_from(lsn % 5).unwrap())).into_bytes()
}

fn append(log: &mut LogWriter<FaultyDisk>, records: u64) {
    let mut batch = Batch::new();
    for next in 1..=records {
        batch.push(&payload(log.written().0 + next)).unwrap();
    }
    log.append(&batch).unwrap();
}

/// Segments 1..=5 (batches of 2 and 3 records) and 6..=10 (2, 2, 1). Without an end mark, the last
/// two batches name 7 as the durable record.
fn store(end_mark: bool) -> FaultyDisk {
    let disk = FaultyDisk::new(1);
    let mut log = LogWriter::create(&disk, Path::new(DIR), NODE, Lsn(1)).unwrap();
    append(&mut log, 2);
    log.sync().unwrap();
    append(&mut log, 3);
    log.rotate().unwrap();
    append(&mut log, 2);
    log.sync().unwrap();
    append(&mut log, 2);
    append(&mut log, 1);
    log.sync().unwrap();
    if end_mark {
        log.finish().unwrap();
    }
    disk
}

/// The last durable record that the log itself can prove without an end mark: the last two batches
/// name it.
const PROVEN: u64 = 7;

fn snapshot(disk: &FaultyDisk, start: u64, end: u64) -> PathBuf {
    let mut snapshot = SnapshotWriter::create(disk, Path::new(DIR), NODE, Lsn(start)).unwrap();
    for lsn in 1..=start {
        snapshot.block(&payload(lsn)).unwrap();
    }
    snapshot.publish(Lsn(end)).unwrap().path
}

fn copy_of(disk: &FaultyDisk) -> FaultyDisk {
    let copy = FaultyDisk::new(9);
    for name in disk.list(Path::new(DIR)).unwrap() {
        let path = Path::new(DIR).join(name);
        copy.put(&path, &disk.read(&path).unwrap());
    }
    copy
}

type Recovered = (Opened<FaultyDisk>, Vec<Vec<u8>>);

fn recover(disk: &FaultyDisk, options: OpenOptions) -> Result<Recovered, Vec<Damage>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    let mut records = Vec::new();
    let opened = open(
        disk,
        Path::new(DIR),
        options,
        |block| {
            all.push(block.to_vec());
            Ok(())
        },
        |lsn, payload| {
            records.push((lsn, payload.to_vec()));
            Ok(())
        },
    );
    match opened {
        Ok(opened) => {
            all.extend(records.into_iter().map(|(_, payload)| payload));
            Ok((opened, all))
        }
        Err(OpenError::Damaged(damage)) => {
            assert!(!damage.is_empty());
            Err(damage)
        }
        Err(other) => panic!("{other}"),
    }
}

fn options() -> OpenOptions {
    OpenOptions::new(NODE)
}

fn right_prefix(records: &[Vec<u8>]) -> u64 {
    for (lsn, record) in (1..).zip(records) {
        assert!(*record == payload(lsn), "wrong record {lsn}");
    }
    u64::try_from(records.len()).unwrap()
}

fn segments(disk: &FaultyDisk) -> Vec<PathBuf> {
    let scan = scan(disk, Path::new(DIR), Some(NODE)).unwrap();
    scan.segments.into_iter().map(|segment| segment.path).collect()
}

/// Opens the store, writes more, stops, and opens it again: recovered records stay, and added ones
/// are there.
fn goes_on(disk: &FaultyDisk, (opened, records): Recovered) {
    let mut log = opened.writer.unwrap();
    assert_eq!(log.written(), opened.last_lsn);
    append(&mut log, 2);
    log.finish().unwrap();
    let (again, more) = recover(disk, options()).unwrap();
    assert!(again.clean);
    assert_eq!(more.len(), records.len() + 2);
    right_prefix(&more);
}

#[test]
fn every_flip_in_the_log() {
    for end_mark in [true, false] {
        let disk = store(end_mark);
        let segments = segments(&disk);
        assert_eq!(segments.len(), 2);
        for path in &segments {
            let whole = disk.read(path).unwrap();
            for at in 0..whole.len() {
                for mask in [1_u8 << (at % 8), 0xff] {
                    let damaged = copy_of(&disk);
                    let mut bytes = whole.clone();
                    bytes[at] ^= mask;
                    damaged.put(path, &bytes);
                    let in_mark = end_mark && path == &segments[1] && at >= whole.len() - 44;
                    let before = scan(&damaged, Path::new(DIR), Some(NODE)).unwrap();
                    match recover(&damaged, options()) {
                        Ok((opened, records)) => {
                            assert!(before.damage.is_empty());
                            let last = right_prefix(&records);
                            assert!(!end_mark || (in_mark && last == 10), "flip at {at} unseen");
                            assert!(last >= PROVEN && path == &segments[1], "flip at {at} unseen");
                            assert!(!opened.clean);
                            goes_on(&damaged, (opened, records));
                        }
                        Err(damage) => {
                            assert!(!before.damage.is_empty());
                            assert_eq!(&damage[0].path, path);
                            let offset = usize::try_from(damage[0].offset).unwrap();
                            assert!(offset <= at && at < offset + 80, "{at}: {}", damage[0]);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn every_flip_before_a_clean_restart_names_its_segment() {
    let disk = store(true);
    goes_on(&disk, recover(&disk, options()).unwrap());
    let segments = segments(&disk);
    assert_eq!(segments.len(), 4);
    for path in &segments[..3] {
        for at in 0..disk.read(path).unwrap().len() {
            let bit = u64::try_from(at * 8 + at % 8).unwrap();
            disk.flip_bit(path, bit).unwrap();
            let damage = recover(&disk, options()).unwrap_err();
            assert_eq!(&damage[0].path, path, "byte {at}: {}", damage[0]);
            disk.flip_bit(path, bit).unwrap();
        }
    }
}

#[test]
fn every_cut_of_the_log() {
    for end_mark in [true, false] {
        let disk = store(end_mark);
        let segments = segments(&disk);
        for path in &segments {
            let whole = disk.read(path).unwrap();
            for length in 0..whole.len() {
                let cut = copy_of(&disk);
                cut.put(path, &whole[..length]);
                match recover(&cut, options()) {
                    Ok(recovered) => {
                        // The successor mark alone may be gone while there is a successor.
                        let mark_only = path == &segments[0] && length == whole.len() - 44;
                        assert!(mark_only || path == &segments[1]);
                        assert!(right_prefix(&recovered.1) >= if mark_only { 10 } else { 5 });
                        goes_on(&cut, recovered);
                    }
                    // At a batch boundary the next segment shows the gap. The last segment's header
                    // was whole before the mark of the first one was written.
                    Err(damage) => {
                        assert!(path == &segments[0] || length < 48);
                        assert!(segments.contains(&damage[0].path));
                    }
                }
            }
        }
    }
}

#[test]
fn every_flip_and_cut_of_a_snapshot() {
    let disk = store(false);
    let path = snapshot(&disk, 6, 8);
    let whole = disk.read(&path).unwrap();
    let (opened, records) = recover(&copy_of(&disk), options()).unwrap();
    assert_eq!((right_prefix(&records), opened.records), (10, 4));
    for at in 0..whole.len() {
        let damaged = copy_of(&disk);
        damaged.flip_bit(&path, u64::try_from(at * 8 + at % 8).unwrap()).unwrap();
        let damage = recover(&damaged, options()).unwrap_err();
        assert_eq!(damage[0].path, path);
        damaged.put(&path, &whole[..at]);
        let damage = recover(&damaged, options()).unwrap_err();
        assert_eq!(damage[0].path, path);
    }
    let longer = copy_of(&disk);
    longer.put(&path, &[whole, vec![0]].concat());
    recover(&longer, options()).unwrap_err();
}

#[test]
fn every_flip_and_cut_of_a_sealed_file() {
    let disk = FaultyDisk::new(1);
    let path = Path::new("/data/node");
    write_sealed(&disk, path, b"sealed").unwrap();
    let whole = disk.read(path).unwrap();
    assert_eq!(read_sealed(&disk, path).unwrap(), b"sealed");
    for at in 0..whole.len() {
        disk.flip_bit(path, u64::try_from(at * 8 + at % 8).unwrap()).unwrap();
        read_sealed(&disk, path).unwrap_err();
        disk.put(path, &whole[..at]);
        read_sealed(&disk, path).unwrap_err();
        disk.put(path, &whole);
    }
}

#[test]
fn bytes_after_an_end_mark_are_damage() {
    let disk = store(true);
    let path = &segments(&disk)[1];
    let whole = disk.read(path).unwrap();
    disk.put(path, &[whole.clone(), vec![0]].concat());
    let damage = recover(&disk, options()).unwrap_err();
    assert_eq!(damage[0].offset, u64::try_from(whole.len()).unwrap());
}

#[test]
fn missing_files_are_damage() {
    let dir = Path::new(DIR);
    // The first segment, without a snapshot.
    let disk = store(false);
    disk.remove(&segments(&disk)[0]).unwrap();
    let damage = recover(&disk, options()).unwrap_err();
    assert!(damage[0].what.contains("neither in a snapshot nor in the log"), "{}", damage[0]);
    // With a snapshot that covers it, it is not needed.
    snapshot(&disk, 5, 7);
    assert_eq!(recover(&disk, options()).unwrap().1.len(), 10);

    // A segment in the middle.
    let disk = store(false);
    let (opened, _) = recover(&disk, options()).unwrap();
    let mut log = opened.writer.unwrap();
    log.rotate().unwrap();
    append(&mut log, 1);
    drop(log);
    disk.remove(&segments(&disk)[1]).unwrap();
    let damage = recover(&disk, options()).unwrap_err();
    assert!(damage[0].what.contains("gap"), "{}", damage[0]);

    // The last segment, when a snapshot shows that it existed; and all of them.
    let disk = store(false);
    snapshot(&disk, 5, 9);
    let last = segments(&disk)[1].clone();
    disk.put(&last, &disk.read(&last).unwrap()[..48]);
    let damage = recover(&disk, options()).unwrap_err();
    assert!(damage[0].what.contains("durable up to 9"), "{}", damage[0]);
    disk.remove(&last).unwrap();
    let damage = recover(&disk, options()).unwrap_err();
    assert_eq!(damage[0].path, last, "{}", damage[0]);
    disk.remove(&segments(&disk)[0]).unwrap();
    let damage = recover(&disk, options()).unwrap_err();
    assert!(damage[0].what.contains("no log beside"), "{}", damage[0]);

    // An empty directory is reported as empty.
    let empty = FaultyDisk::new(1);
    let found = scan(&empty, dir, None).unwrap();
    assert!(found.is_empty() && found.tail == Tail::Empty && found.damage.is_empty());
}

#[test]
fn files_of_another_node_and_odd_names_are_damage() {
    let disk = store(true);
    let damage = recover(&disk, OpenOptions::new(1)).unwrap_err();
    assert!(damage[0].what.contains("belongs to node"), "{}", damage[0]);
    let path = snapshot(&disk, 5, 7);
    let damage = recover(&disk, OpenOptions::new(1)).unwrap_err();
    assert_eq!(damage[0].path, path);
    disk.put(Path::new("/data/log-12.seg"), b"");
    let damage = recover(&disk, options()).unwrap_err();
    assert!(damage[0].path.ends_with("log-12.seg"));
}

#[test]
fn an_older_snapshot_only_when_asked_for() {
    let disk = store(false);
    snapshot(&disk, 4, 6);
    let newest = snapshot(&disk, 8, 9);
    disk.flip_bit(&newest, 500).unwrap();
    recover(&disk, options()).unwrap_err();
    let mut older = options();
    older.allow_older_snapshot = true;
    let (opened, records) = recover(&disk, older).unwrap();
    assert_eq!((right_prefix(&records), opened.records), (10, 6));
    assert!(disk.read(&PathBuf::from(format!("{}.damaged", newest.display()))).is_ok());
    drop(opened);
    recover(&disk, options()).unwrap();
}

#[test]
fn a_run_without_a_log_in_between() {
    let disk = store(true);
    let mut without = options();
    without.log = false;
    let before = disk.list(Path::new(DIR)).unwrap();
    let (opened, records) = recover(&disk, without).unwrap();
    assert!(opened.writer.is_none() && records.len() == 10);
    assert_eq!(disk.list(Path::new(DIR)).unwrap(), before);
    let mut snapshot = SnapshotWriter::create(&disk, Path::new(DIR), NODE, Lsn(20)).unwrap();
    (1..=20).for_each(|lsn| snapshot.block(&payload(lsn)).unwrap());
    snapshot.publish_without_log().unwrap();
    let recovered = recover(&disk, options()).unwrap();
    assert_eq!(recovered.0.last_lsn, Lsn(20));
    goes_on(&disk, recovered);
    // Loading the part before the gap would lose records that were only in that snapshot.
    let newest = scan(&disk, Path::new(DIR), None).unwrap().snapshots.pop().unwrap();
    disk.remove(&newest.path).unwrap();
    recover(&disk, options()).unwrap_err();
}

#[test]
fn repair_keeps_what_is_whole_and_a_copy_of_the_rest() {
    let dir = Path::new(DIR);
    for with_snapshot in [false, true] {
        let disk = store(true);
        if with_snapshot {
            snapshot(&disk, 5, 9);
        }
        let segments = segments(&disk);
        for path in &segments {
            for at in 0..disk.read(path).unwrap().len() {
                let damaged = copy_of(&disk);
                damaged.flip_bit(path, u64::try_from(at * 8).unwrap()).unwrap();
                let broken = damaged.read(path).unwrap();
                if scan(&damaged, dir, None).unwrap().damage.is_empty() {
                    assert!(repair(&damaged, dir, Some(NODE)).unwrap().done.is_empty());
                    continue;
                }
                let repaired = repair(&damaged, dir, Some(NODE)).unwrap();
                if !repaired.left.is_empty() {
                    assert!(
                        repaired.done.is_empty() && !with_snapshot && at < 48,
                        "{at}: {repaired:?}"
                    );
                    continue;
                }
                let kept = PathBuf::from(format!("{}.damaged", path.display()));
                assert!(damaged.read(&kept).unwrap() == broken);
                let (opened, records) = recover(&damaged, options()).unwrap();
                let last = right_prefix(&records);
                let covered = if with_snapshot || path == &segments[1] { 5 } else { 0 };
                assert!(last >= covered, "flip at {at} of {}: {last}", path.display());
                // No number is given a second time.
                let mut log = opened.writer.unwrap();
                assert!(log.written() >= Lsn(10), "flip at {at}: {}", log.written());
                append(&mut log, 1);
                let next = log.finish().unwrap();
                let again = recover(&damaged, options()).unwrap();
                assert_eq!((again.0.last_lsn, again.1.len()), (next, records.len() + 1));
            }
        }
    }
}

#[test]
fn repair_drops_a_damaged_snapshot_for_an_older_one_and_never_empties_a_store() {
    let dir = Path::new(DIR);
    let disk = store(false);
    snapshot(&disk, 5, 7);
    let newest = snapshot(&disk, 8, 9);
    disk.flip_bit(&newest, 333).unwrap();
    let repaired = repair(&disk, dir, None).unwrap();
    assert!(repaired.left.is_empty() && repaired.done.len() == 1, "{repaired:?}");
    assert_eq!(right_prefix(&recover(&disk, options()).unwrap().1), 10);

    // Only a log that does not begin at 1: nothing to start from.
    let disk = store(false);
    disk.remove(&segments(&disk)[0]).unwrap();
    let before = disk.list(dir).unwrap();
    let repaired = repair(&disk, dir, None).unwrap();
    assert!(repaired.done.is_empty() && !repaired.left.is_empty());
    assert_eq!(disk.list(dir).unwrap(), before);
    let mut allow = options();
    allow.allow_damage = true;
    recover(&disk, allow).unwrap_err();

    // The end of the log is missing: the snapshot is what is left.
    let disk = store(false);
    snapshot(&disk, 5, 9);
    disk.remove(&segments(&disk)[1]).unwrap();
    let (opened, records) = recover(&disk, allow).unwrap();
    // The number of records in the missing segment is unknown, so none of their numbers is given
    // again.
    assert!(records.len() == 5 && opened.last_lsn > Lsn(9 + (1 << 31)));
    assert_eq!(opened.loss.map(|loss| (loss.first, loss.last)), Some((Lsn(6), Lsn(9))));
    assert!(!opened.repaired.is_empty());
    drop(opened);
    recover(&disk, options()).unwrap();
}

#[test]
fn trimmed_and_pruned_it_still_recovers() {
    let dir = Path::new(DIR);
    let disk = FaultyDisk::new(4);
    let (opened, _) = recover(&disk, options()).unwrap();
    assert!(opened.clean && opened.snapshot.is_none());
    let mut log = opened.writer.unwrap();
    log.set_segment_bytes_max(200);
    for round in 0..6 {
        (0..10).for_each(|_| append(&mut log, 3));
        let start = log.sync().unwrap();
        snapshot(&disk, start.0, start.0);
        let keep_from = prune(&disk, dir, 2).unwrap();
        assert_eq!(keep_from.0, if round == 0 { 0 } else { start.0 - 30 + 1 });
        let removed = log.trimmer().trim(keep_from).unwrap();
        assert_eq!(removed > 0, round > 0);
    }
    let others = segments(&disk).len() - 1;
    assert_eq!(log.trimmer().trim(Lsn(u64::MAX)).unwrap(), u64::try_from(others).unwrap());
    let found = scan(&disk, dir, None).unwrap();
    assert_eq!((found.snapshots.len(), found.segments.len(), found.damage.len()), (2, 1, 0));
    disk.crash();
    assert_eq!(right_prefix(&recover(&disk, options()).unwrap().1), 180);
}

#[test]
fn a_callback_error_names_file_and_offset() {
    let disk = store(false);
    let result = open(
        &disk,
        Path::new(DIR),
        options(),
        |_| Ok(()),
        |lsn, _| {
            if lsn == Lsn(6) { Err("no such slot".to_owned()) } else { Ok(()) }
        },
    );
    let Err(OpenError::Callback { path, offset, message }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(path, segments(&disk)[1]);
    assert_eq!((offset, message.as_str()), (48 + 44, "no such slot"));
    let path = snapshot(&disk, 3, 5);
    let result = open(&disk, Path::new(DIR), options(), |_| Err("no".to_owned()), |_, _| Ok(()));
    assert!(matches!(result, Err(OpenError::Callback { path: at, offset: 32, .. }) if at == path));
}

#[test]
fn leftovers_are_removed_by_a_start() {
    let disk = store(true);
    let mut snapshot = SnapshotWriter::create(&disk, Path::new(DIR), NODE, Lsn(3)).unwrap();
    snapshot.block(b"never published").unwrap();
    std::mem::forget(snapshot);
    let found = scan(&disk, Path::new(DIR), None).unwrap();
    assert_eq!((found.leftovers.len(), found.snapshots.len(), found.damage.len()), (1, 0, 0));
    recover(&disk, options()).unwrap();
    assert!(scan(&disk, Path::new(DIR), None).unwrap().leftovers.is_empty());
    // Dropped in good order, the writer removes its file.
    drop(SnapshotWriter::create(&disk, Path::new(DIR), NODE, Lsn(3)).unwrap());
    assert!(scan(&disk, Path::new(DIR), None).unwrap().leftovers.is_empty());
}
