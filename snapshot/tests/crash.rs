//! Crash consistency: after a crash all synced records are there, in order, and nothing is
//! invented.
//!
//! A failing seed is printed. Put it into `SEED_ONLY` to run only that one.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod keeper;

use std::path::Path;
use std::sync::{Arc, Barrier};

use keeper::{Keeper, baseline_of};
use snapshot::{
    AppendError, Baseline, Batch, Disk, FaultyDisk, KeepBaseline, LogWriter, Lsn, OpenOptions,
    Opened, SnapshotWriter, open, prune,
};

const SEED_ONLY: Option<u64> = None;
const SEEDS: u64 = 3000;
const NODE: u64 = 7;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

/// The knowledge of the log's caller: the payload of every record by its number.
#[derive(Default)]
struct Model {
    /// Index 0 is LSN 1.
    records: Vec<Vec<u8>>,
    /// All records up to this one must come back.
    durable: u64,
    unique: u64,
}

impl Model {
    fn batch(&mut self, random: &mut Random) -> (Batch, Vec<Vec<u8>>) {
        let mut batch = Batch::new();
        let mut payloads = Vec::new();
        for _ in 0..1 + random.below(4) {
            self.unique += 1;
            let mut payload = self.unique.to_le_bytes().to_vec();
            payload.resize(8 + usize::try_from(random.below(90)).unwrap(), b'x');
            batch.push(&payload).unwrap();
            payloads.push(payload);
        }
        (batch, payloads)
    }
}

fn start(disk: &FaultyDisk, model: &mut Model, seed: u64) -> Opened<FaultyDisk> {
    let dir = Path::new("/data");
    let mut loaded: Vec<Vec<u8>> = Vec::new();
    let mut replayed: Vec<(Lsn, Vec<u8>)> = Vec::new();
    let mut options = OpenOptions::new(NODE);
    options.segment_bytes_max = 600;
    options.baseline = baseline_of(disk);
    let mut opened = open(
        disk,
        dir,
        options,
        |block| {
            loaded.push(block.to_vec());
            Ok(())
        },
        |lsn, payload| {
            replayed.push((lsn, payload.to_vec()));
            Ok(())
        },
    )
    .unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    // The snapshot of these tests is the list of all payloads up to its start.
    let mut all = loaded;
    let base = opened.snapshot.as_ref().map_or(0, |snapshot| snapshot.start_lsn.0);
    assert_eq!(u64::try_from(all.len()).unwrap(), base, "seed {seed}");
    for (index, (lsn, payload)) in replayed.into_iter().enumerate() {
        assert_eq!(lsn.0, base + u64::try_from(index).unwrap() + 1, "seed {seed}: order");
        all.push(payload);
    }
    let last = u64::try_from(all.len()).unwrap();
    assert!(last >= model.durable, "seed {seed}: {last} of {} durable records", model.durable);
    assert!(all.len() <= model.records.len(), "seed {seed}: records that were never written");
    assert!(all == model.records[..all.len()], "seed {seed}: other records came back");
    assert_eq!(opened.last_lsn.0, last, "seed {seed}");
    model.records = all;
    model.durable = last;
    let keeper = Keeper::of(disk);
    let writer = opened.writer.as_mut().unwrap();
    keeper.raise(writer.baseline()).unwrap();
    writer.set_baseline_keeper(keeper);
    opened
}

/// Appends a batch. Returns whether the log accepts more.
fn append(log: &mut LogWriter<FaultyDisk>, model: &mut Model, random: &mut Random) -> bool {
    let (batch, payloads) = model.batch(random);
    let appended = log.append(&batch);
    // A full segment was synced before, even if the rest failed.
    model.durable = model.durable.max(log.durable().0);
    match appended {
        Ok(last) => {
            model.records.extend(payloads);
            assert_eq!(last.0, u64::try_from(model.records.len()).unwrap());
        }
        Err(AppendError::Write(_)) => {}
        Err(AppendError::Poisoned(_)) => {
            // Unknown: the batch may come back.
            return false;
        }
    }
    true
}

fn step(
    disk: &FaultyDisk,
    keeper: &Arc<Keeper>,
    log: &mut LogWriter<FaultyDisk>,
    model: &mut Model,
    random: &mut Random,
) -> bool {
    let dir = Path::new("/data");
    match random.below(12) {
        0..=6 => {
            if !append(log, model, random) {
                return false;
            }
        }
        7..=9 => match log.sync() {
            Ok(durable) => model.durable = durable.0,
            Err(_) => return false,
        },
        10 => {
            let Ok(start) = log.sync() else { return false };
            model.durable = start.0;
            let Ok(mut snapshot) = SnapshotWriter::create(disk, dir, NODE, start) else {
                return true;
            };
            for payload in &model.records {
                if snapshot.block(payload).is_err() {
                    return true;
                }
            }
            if random.below(4) == 0 || snapshot.publish(start).is_err() {
                return true;
            }
            // As in a node: a failure here is only a warning.
            _ = keeper.raise(Baseline { durable: start, snapshot: start, ..Baseline::default() });
            if let Ok(keep_from) = prune(disk, dir, 2) {
                let _ = log.trimmer().trim(keep_from);
            }
        }
        _ => match random.below(8) {
            6 => disk.refuse(1 + random.below(6)),
            7 => disk.refuse_all(random.below(2) == 0),
            0 => disk.fail_write(1 + random.below(4)),
            1 => disk.fail_sync(1 + random.below(4)),
            2 => disk.full_after(random.below(400)),
            3 => disk.free(),
            4 => disk.freeze_at_sync(1 + random.below(6)),
            _ => {}
        },
    }
    true
}

fn one_seed(seed: u64) {
    let disk = FaultyDisk::new(seed);
    let mut random = Random(seed.wrapping_mul(0x9e3779b97f4a7c15));
    let mut model = Model::default();
    let mut expect_clean = false;
    for _ in 0..4 {
        let opened = start(&disk, &mut model, seed);
        assert!(opened.clean || !expect_clean, "seed {seed}: a clean stop was not seen as one");
        let mut log = opened.writer.unwrap();
        let keeper = Keeper::of(&disk);
        log.set_baseline_keeper(keeper.clone());
        for _ in 0..random.below(25) {
            if !step(&disk, &keeper, &mut log, &mut model, &mut random) {
                break;
            }
        }
        expect_clean = false;
        let written = log.written().0;
        if random.below(4) == 0
            && let Ok(durable) = log.finish()
        {
            assert_eq!(durable.0, written, "seed {seed}");
            model.durable = durable.0;
            expect_clean = true;
        }
        disk.free();
        disk.refuse(u64::MAX);
        disk.refuse_all(false);
        if random.below(3) == 0 {
            disk.fail_write(u64::MAX);
            disk.fail_sync(u64::MAX);
            disk.freeze_at_sync(u64::MAX);
            disk.kill();
        } else {
            disk.crash();
        }
    }
    start(&disk, &mut model, seed);
}

#[test]
fn what_was_synced_survives_every_crash() {
    match SEED_ONLY {
        Some(seed) => one_seed(seed),
        None => (0..SEEDS).for_each(one_seed),
    }
}

/// Two threads change the directory at the same time, and a crash comes at any of their syncs.
#[test]
fn segments_are_removed_beside_the_writer() {
    let dir = Path::new("/data");
    let mut removed = 0;
    for seed in SEED_ONLY.map_or(0..300, |seed| seed..seed + 1) {
        let disk = FaultyDisk::new(seed);
        let mut model = Model::default();
        let mut random = Random(seed);
        for _ in 0..3 {
            let mut log = start(&disk, &mut model, seed).writer.unwrap();
            append_many(&mut log, &mut model, &mut random);
            let covered = log.sync().unwrap();
            model.durable = covered.0;
            let mut snapshot = SnapshotWriter::create(&disk, dir, NODE, covered).unwrap();
            model.records.iter().for_each(|payload| snapshot.block(payload).unwrap());
            snapshot.publish(covered).unwrap();
            let keep_from = prune(&disk, dir, 1).unwrap();
            let (trimmer, both) = (log.trimmer(), Barrier::new(2));
            let before = disk.list(dir).unwrap();
            disk.freeze_at_sync(1 + random.below(40));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    both.wait();
                    // The disk may have stopped.
                    _ = trimmer.trim(keep_from);
                });
                both.wait();
                append_many(&mut log, &mut model, &mut random);
                if let Ok(durable) = log.sync() {
                    model.durable = durable.0;
                }
            });
            disk.crash();
            let after = disk.list(dir).unwrap();
            removed += before.iter().filter(|path| !after.contains(path)).count();
        }
        start(&disk, &mut model, seed);
    }
    println!("{removed} segments removed");
    assert!(removed > 0);
}

/// Appends batches for some segments, as far as the disk accepts them.
fn append_many(log: &mut LogWriter<FaultyDisk>, model: &mut Model, random: &mut Random) {
    for _ in 0..30 {
        if !append(log, model, random) {
            return;
        }
    }
}

#[test]
fn a_failed_sync_is_believed_forever() {
    let mut lost = 0;
    for seed in 0..200 {
        let disk = FaultyDisk::new(seed);
        let mut model = Model::default();
        let mut random = Random(seed);
        let mut log = start(&disk, &mut model, seed).writer.unwrap();
        let (batch, payloads) = model.batch(&mut random);
        log.append(&batch).unwrap();
        model.records.extend(payloads);
        disk.fail_sync(1);
        let first = log.sync().unwrap_err();
        // The disk would accept a second sync; the writer must not try one.
        assert_eq!(log.sync().unwrap_err(), first);
        assert!(matches!(log.append(&batch), Err(AppendError::Poisoned(_))));
        assert!(matches!(log.rotate(), Err(AppendError::Poisoned(_))));
        assert_eq!(log.durable(), Lsn(0));
        assert!(log.poisoned().is_some());
        assert!(matches!(log.finish(), Err(AppendError::Poisoned(_))));
        // The process starts again on the same machine, reads the records and relies on them. Then
        // the power fails.
        disk.kill();
        let opened = start(&disk, &mut model, seed);
        assert_eq!(opened.writer.unwrap().durable(), opened.last_lsn);
        disk.crash();
        let opened = start(&disk, &mut model, seed);
        lost += u64::from(opened.records == 0);
    }
    assert_eq!(lost, 0);
}

#[test]
fn a_full_disk_is_waited_for() {
    let disk = FaultyDisk::new(1);
    let mut model = Model::default();
    let mut random = Random(1);
    let mut log = start(&disk, &mut model, 1).writer.unwrap();
    disk.full_after(1000);
    let mut refused = 0;
    for _ in 0..200 {
        let (batch, payloads) = model.batch(&mut random);
        while let Err(error) = log.append(&batch) {
            assert!(matches!(error, AppendError::Write(_)), "{error}");
            refused += 1;
            if refused % 3 == 0 {
                disk.full_after(500);
            }
        }
        model.records.extend(payloads);
    }
    assert!(refused > 20);
    disk.free();
    model.durable = log.sync().unwrap().0;
    disk.crash();
    assert!(disk.list(Path::new("/data")).unwrap().len() > 10);
    start(&disk, &mut model, 1);
}

#[test]
fn a_failed_write_that_cannot_be_undone_is_undone_later() {
    let disk = FaultyDisk::new(3);
    let mut model = Model::default();
    let mut random = Random(3);
    let mut log = start(&disk, &mut model, 3).writer.unwrap();
    assert!(append(&mut log, &mut model, &mut random));
    log.sync().unwrap();
    model.durable = log.durable().0;
    disk.fail_write(1);
    disk.fail_truncate(true);
    let (batch, payloads) = model.batch(&mut random);
    for _ in 0..3 {
        assert!(matches!(log.append(&batch), Err(AppendError::Write(_))));
        log.sync().unwrap();
    }
    disk.fail_truncate(false);
    log.append(&batch).unwrap();
    model.records.extend(payloads);
    model.durable = log.sync().unwrap().0;
    disk.crash();
    start(&disk, &mut model, 3);
}

#[test]
fn a_rotation_that_is_refused_is_tried_again_and_loses_nothing() {
    let mut refused = 0;
    for seed in 0..300 {
        let disk = FaultyDisk::new(seed);
        let mut model = Model::default();
        let mut random = Random(seed);
        let mut log = start(&disk, &mut model, seed).writer.unwrap();
        for _ in 0..20 {
            match seed % 3 {
                0 => disk.refuse(1 + random.below(6)),
                1 => disk.refuse_all(random.below(3) == 0),
                // Half a mark that demands the next segment.
                _ => disk.fail_write(1 + random.below(3)),
            }
            let before = model.records.len();
            assert!(append(&mut log, &mut model, &mut random), "seed {seed}: poisoned");
            refused += u64::from(model.records.len() == before);
        }
        let ends_well = random.below(2) == 0;
        if ends_well {
            disk.refuse(u64::MAX);
            disk.refuse_all(false);
            disk.fail_write(u64::MAX);
        }
        if random.below(2) == 0 {
            let written = log.written().0;
            let finished = log.finish();
            assert!(finished.is_ok() || !ends_well, "seed {seed}: {finished:?}");
            if finished.is_ok() {
                model.durable = written;
            }
        }
        if random.below(2) == 0 {
            disk.crash();
        } else {
            disk.kill();
        }
        disk.refuse(u64::MAX);
        disk.refuse_all(false);
        disk.fail_write(u64::MAX);
        start(&disk, &mut model, seed);
    }
    assert!(refused > 300, "{refused}");
}

/// The kernel may have dropped bytes that a sync failed to write, and still show them. A start must
/// write them again before it relies on them, or refuse.
#[test]
fn a_start_on_a_full_disk_does_not_rely_on_a_failed_sync() {
    let dir = Path::new("/data");
    let open =
        |disk: &FaultyDisk| open(disk, dir, OpenOptions::new(NODE), |_| Ok(()), |_, _| Ok(()));
    let (mut refused, mut lost) = (0, 0);
    for seed in 0..40 {
        let disk = FaultyDisk::new(seed);
        let mut batch = Batch::new();
        batch.push(&[7; 400]).unwrap();
        let mut log = open(&disk).unwrap().writer.unwrap();
        log.append(&batch).unwrap();
        disk.fail_sync(1);
        assert!(log.sync().is_err());
        disk.kill();
        disk.full_after(100);
        refused += u64::from(open(&disk).is_err());
        disk.free();
        let mut log = open(&disk).unwrap().writer.unwrap();
        let there = log.durable();
        log.append(&batch).unwrap();
        log.sync().unwrap();
        disk.crash();
        let found = open(&disk).unwrap();
        assert_eq!(found.last_lsn, there.next(), "seed {seed}");
        lost += u64::from(there == Lsn(0));
    }
    assert_eq!((refused, lost), (40, 0));
}
