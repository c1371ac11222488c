//! The log on a real disk: group commit by the size of the batch, and replay.
//!
//! The directory is the system's temporary one; `TMPDIR` chooses the disk. On a file system in
//! memory a sync costs nothing, and the figures mean nothing.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use snapshot::{Batch, LogWriter, Lsn, OpenOptions, RealDisk, open};

const NODE: u64 = 7;
/// About the size of an `advance`'s record.
const RECORD: [u8; 48] = [0x5a; 48];
/// Records in the log that is replayed.
const REPLAYED: usize = 100_000;

fn batch(records: usize) -> Batch {
    let mut batch = Batch::new();
    (0..records).for_each(|_| batch.push(&RECORD).unwrap());
    batch
}

fn commit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append and sync");
    group.sample_size(20);
    for records in [1, 16, 256, 4096] {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = LogWriter::create(&RealDisk, directory.path(), NODE, Lsn(1)).unwrap();
        let batch = batch(records);
        group.throughput(Throughput::Elements(u64::try_from(records).unwrap()));
        group.bench_function(BenchmarkId::from_parameter(records), |bencher| {
            bencher.iter(|| {
                writer.append(&batch).unwrap();
                writer.sync().unwrap()
            });
        });
    }
    group.finish();
}

fn replay(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = LogWriter::create(&RealDisk, directory.path(), NODE, Lsn(1)).unwrap();
    let batch = batch(REPLAYED / 100);
    for _ in 0..100 {
        writer.append(&batch).unwrap();
    }
    writer.finish().unwrap();
    let mut group = criterion.benchmark_group("replay");
    group.sample_size(20);
    group.throughput(Throughput::Elements(u64::try_from(REPLAYED).unwrap()));
    group.bench_function("read and check", |bencher| {
        bencher.iter(|| {
            let mut bytes = 0;
            // Without a log of its own it only reads.
            let options = OpenOptions { log: false, ..OpenOptions::new(NODE) };
            let take = |_: Lsn, record: &[u8]| {
                bytes += black_box(record).len();
                Ok(())
            };
            let opened = open(&RealDisk, directory.path(), options, |_| Ok(()), take).unwrap();
            assert_eq!(opened.records, u64::try_from(REPLAYED).unwrap());
            bytes
        });
    });
    group.finish();
}

criterion_group!(benches, commit, replay);
criterion_main!(benches);
