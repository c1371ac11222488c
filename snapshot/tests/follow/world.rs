//! Writes, rotations, trims, restarts and calls of several followers in random order: each follower
//! gets what was written.

use proptest::prelude::*;
use snapshot::{Batch, Disk, DiskFile, FaultyDisk, LogFollower, LogWriter, Lsn, SnapshotWriter};

use crate::{NODE, create, dir, follow, gone, index, oldest, reopen};

#[derive(Clone, Debug)]
enum Op {
    /// Appends records of these lengths in one batch.
    Append(Vec<usize>),
    /// Like [`Self::Append`], but the write fails after a part.
    FailedAppend(Vec<usize>, u64),
    SegmentBytes(u64),
    Rotate,
    /// Trims up to this share of the log, in 1/256.
    Trim(u8),
    /// Opens a follower from this share of the log on.
    Open(u8),
    /// Calls a follower: which one, up to which record, and how many bytes.
    Next(usize, u8, usize),
    /// For this one operation a part of another batch, or all of it, is behind the log.
    Behind(Vec<usize>, u8, usize, u8),
    Restart(bool),
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0..60_usize, 0..3000_usize], 1..8)
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let next = || (0..4_usize, prop_oneof![Just(255), any::<u8>()], 0..4000_usize);
    let op = prop_oneof![
        6 => sizes().prop_map(Op::Append),
        1 => (sizes(), 1..4_u64).prop_map(|(sizes, n)| Op::FailedAppend(sizes, n)),
        1 => (1..20_000_u64).prop_map(Op::SegmentBytes),
        1 => Just(Op::Rotate),
        1 => any::<u8>().prop_map(Op::Trim),
        1 => any::<u8>().prop_map(Op::Open),
        8 => next().prop_map(|(who, until, bytes_max)| Op::Next(who, until, bytes_max)),
        2 => (sizes(), any::<u8>(), 0..4_usize, any::<u8>())
            .prop_map(|(sizes, cut, who, until)| Op::Behind(sizes, cut, who, until)),
        1 => any::<bool>().prop_map(Op::Restart),
    ];
    prop::collection::vec(op, 1..80)
}

/// A log, its contents, and its followers.
struct World {
    disk: FaultyDisk,
    log: Option<LogWriter<FaultyDisk>>,
    records: Vec<Vec<u8>>,
    /// Last record of each batch.
    batches: Vec<u64>,
    segment_bytes: u64,
    followers: Vec<LogFollower<FaultyDisk>>,
}

impl World {
    fn batch(&self, sizes: &[usize], salt: usize) -> (Batch, Vec<Vec<u8>>) {
        let first = self.records.len();
        let record = |(at, size): (usize, &usize)| {
            (0..*size).map(|byte| u8::try_from((first + at + byte + salt) % 251).unwrap()).collect()
        };
        let records: Vec<Vec<u8>> = sizes.iter().enumerate().map(record).collect();
        let mut batch = Batch::new();
        records.iter().for_each(|record| batch.push(record).unwrap());
        (batch, records)
    }

    fn log(&mut self) -> &mut LogWriter<FaultyDisk> {
        self.log.as_mut().unwrap()
    }

    fn written(&self) -> u64 {
        u64::try_from(self.records.len()).unwrap()
    }

    fn share(&self, of: u8) -> u64 {
        self.written() * u64::from(of) / 255
    }

    fn first(&self) -> u64 {
        let names = self.disk.list(dir()).unwrap();
        let firsts = names.iter().filter_map(|name| {
            name.strip_prefix("log-")?.strip_suffix(".seg")?.parse::<u64>().ok()
        });
        firsts.min().unwrap()
    }

    fn open(&mut self, from: u64) {
        let first = self.first();
        assert_eq!(oldest(&self.disk), Some(first));
        match follow(&self.disk, from) {
            Ok(follower) => {
                assert!(from >= first);
                self.followers.push(follower);
            }
            Err(error) => {
                assert_eq!(gone(Err::<(), _>(error)), first);
                assert!(from < first);
                self.followers.push(follow(&self.disk, first).unwrap());
            }
        }
    }

    fn next(&mut self, who: usize, until: u64, bytes_max: usize) {
        if self.followers.is_empty() {
            return;
        }
        let who = who % self.followers.len();
        let before = self.followers[who].position().0;
        let mut position = before;
        let records = &self.records;
        let next = self.followers[who].next(Lsn(until), bytes_max, |lsn, found| {
            position += 1;
            assert_eq!(lsn.0, position);
            assert!(position <= until, "LSN {lsn} is beyond {until}");
            assert!(found == records[index(lsn.0) - 1], "LSN {lsn} is wrong");
        });
        match next {
            Ok(reached) => {
                assert_eq!(reached.0, position);
                assert!(position > before || until <= before);
                let bytes = |from: u64, to: u64| -> usize {
                    (from..to).map(|lsn| records[index(lsn)].len() + 8).sum()
                };
                let stopped = position < until && position > before;
                assert!(
                    !stopped || bytes(before, position) >= bytes_max || position + 1 < self.first()
                );
                let last_batch = self.batches.iter().rev().find(|last| **last < position);
                let last_batch = last_batch.copied().unwrap_or(0);
                assert!(last_batch <= before || bytes(before, last_batch) < bytes_max);
            }
            Err(error) => {
                let oldest = gone(Err::<(), _>(error));
                assert!(oldest == self.first() && oldest > before + 1 && position == before);
                self.followers[who] = follow(&self.disk, oldest).unwrap();
            }
        }
    }

    fn restart(&mut self, clean: bool) {
        let log = self.log.take().unwrap();
        if clean {
            log.finish().unwrap();
        }
        self.disk.kill();
        self.log = Some(reopen(&self.disk));
        let segment_bytes = self.segment_bytes;
        self.log().set_segment_bytes_max(segment_bytes);
        for follower in std::mem::take(&mut self.followers) {
            self.open(follower.position().0 + 1);
        }
    }

    /// Leaves a part of other records behind the log while a follower is called, and cuts it off
    /// again.
    fn with_behind(&mut self, sizes: &[usize], cut: u8, who: usize, until: u64) {
        let last = self.disk.list(dir()).unwrap().into_iter().max().unwrap();
        let path = dir().join(last);
        let twin = FaultyDisk::new(7);
        for name in self.disk.list(dir()).unwrap() {
            let path = dir().join(name);
            twin.put(&path, &self.disk.read(&path).unwrap());
        }
        // The state before the log does not matter to it.
        let before = Lsn(self.first() - 1);
        if before > Lsn(0) {
            SnapshotWriter::create(&twin, dir(), NODE, before).unwrap().publish(before).unwrap();
        }
        let (batch, _) = self.batch(sizes, 100);
        reopen(&twin).append(&batch).unwrap();
        let whole = self.disk.read(&path).unwrap().len();
        let with_other = twin.read(&path).unwrap();
        let other = &with_other[whole..];
        let cut = other.len() * usize::from(cut) / 255;
        let mut file = self.disk.open_append(&path).unwrap();
        file.append(&other[..cut]).unwrap();
        self.next(who, until, 10_000);
        self.next(who, self.written(), 10);
        file.truncate(u64::try_from(whole).unwrap()).unwrap();
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Append(sizes) => {
                let (batch, records) = self.batch(&sizes, 0);
                self.log().append(&batch).unwrap();
                self.records.extend(records);
                self.batches.push(self.written());
            }
            Op::FailedAppend(sizes, n) => {
                let (batch, records) = self.batch(&sizes, 50);
                self.disk.fail_write(n);
                if self.log().append(&batch).is_ok() {
                    self.records.extend(records);
                    self.batches.push(self.written());
                }
                self.disk.fail_write(u64::MAX);
            }
            Op::SegmentBytes(bytes) => {
                self.segment_bytes = bytes;
                self.log().set_segment_bytes_max(bytes);
            }
            Op::Rotate => self.log().rotate().unwrap(),
            Op::Trim(share) => {
                // Without a snapshot a restart needs the whole log, so a snapshot takes the place
                // of the removed part.
                let keep_from = Lsn(self.share(share));
                self.log().sync().unwrap();
                self.log().trimmer().trim(keep_from).unwrap();
                let before = Lsn(self.first() - 1);
                if before > Lsn(0) {
                    let snapshot = SnapshotWriter::create(&self.disk, dir(), NODE, before).unwrap();
                    snapshot.publish(before).unwrap();
                }
            }
            Op::Open(from) => self.open(self.share(from) + 1),
            Op::Next(who, until, bytes_max) => self.next(who, self.share(until), bytes_max),
            Op::Behind(sizes, cut, who, until) => {
                self.with_behind(&sizes, cut, who, self.share(until));
            }
            Op::Restart(clean) => self.restart(clean),
        }
    }
}

proptest! {
    #[test]
    fn followers_get_what_was_written(ops in ops(), segment_bytes in 1..20_000_u64) {
        let disk = FaultyDisk::new(segment_bytes);
        let mut log = create(&disk);
        log.set_segment_bytes_max(segment_bytes);
        let mut world = World {
            disk,
            log: Some(log),
            records: Vec::new(),
            batches: Vec::new(),
            segment_bytes,
            followers: Vec::new(),
        };
        world.open(1);
        for op in ops {
            world.apply(op);
        }
        for who in 0..world.followers.len() {
            while world.followers[who].position().0 < world.written() {
                world.next(who, world.written(), 5000);
            }
        }
    }
}
