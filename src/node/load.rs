//! Recovery on all cores: one thread reads and verifies, and one thread per shard applies the
//! shard's part.
//!
//! Invariants:
//! - A shard gets snapshot blocks and records in the order in which they are on the disk.
//! - The disk does not change before every shard has accepted everything ([`Feeder::verdict`]).
//! - A reader that is faster than a shard waits: at most `BATCHES` batches are queued for each
//!   shard.

use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use snapshot::Lsn;

use crate::shard::Core;
use crate::shard::decode::BadRecord;
use crate::shard::events::slot_of;
use crate::types::ShardCount;

/// Bytes that are gathered for a shard before they are handed over.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that may be queued for a shard.
const BATCHES: usize = 8;

/// The kind of a piece of bytes, for error messages about it.
#[derive(Debug, Clone, Copy)]
enum Job {
    SnapshotBlock,
    Record(Lsn),
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    pieces: Vec<(Job, usize)>,
}

/// The reader's end: distributes blocks and records to their shards.
pub struct Feeder {
    shards: ShardCount,
    lanes: Vec<(Batch, Sender<Batch>)>,
    verdicts: Receiver<Result<(), BadRecord>>,
}

impl Feeder {
    /// Gives a block of the snapshot to the shard of its slot.
    ///
    /// # Errors
    /// If the block names no slot, or its shard has failed.
    pub fn snapshot_block(&mut self, block: &[u8]) -> Result<(), String> {
        self.put(Job::SnapshotBlock, block)
    }

    /// Gives a record of the log to the shard of its slot.
    ///
    /// # Errors
    /// If the record names no slot, or its shard has failed.
    pub fn record(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), String> {
        self.put(Job::Record(lsn), record)
    }

    /// Ends the input, and waits until the shards have applied all of it.
    ///
    /// # Errors
    /// The block or record that a shard could not apply, and why.
    pub fn verdict(&mut self) -> Result<(), String> {
        // A closed lane belongs to a shard that failed; its verdict has the reason.
        _ = self.lanes.iter_mut().try_for_each(hand_over);
        self.lanes.clear();
        self.verdicts.iter().collect::<Result<(), BadRecord>>().map_err(|error| error.to_string())
    }

    fn put(&mut self, piece: Job, bytes: &[u8]) -> Result<(), String> {
        let slot = slot_of(bytes).map_err(|error| error.to_string())?;
        let lane = self.lanes.get_mut(slot.shard(self.shards).index()).ok_or("no such shard")?;
        lane.0.bytes.extend_from_slice(bytes);
        lane.0.pieces.push((piece, bytes.len()));
        if lane.0.bytes.len() < BATCH_BYTES {
            return Ok(());
        }
        hand_over(lane).or_else(|()| self.verdict())
    }
}

/// Fails if the shard has failed and closed its lane.
fn hand_over((batch, lane): &mut (Batch, Sender<Batch>)) -> Result<(), ()> {
    lane.send(std::mem::take(batch)).map_err(|_| ())
}

/// Runs `read`, which feeds the shards and asks for the verdict, with one thread per core that
/// applies. Returns the cores with the result of `read`.
pub fn load<T>(
    cores: Vec<Core>,
    shards: ShardCount,
    read: impl FnOnce(&mut Feeder) -> T,
) -> (Vec<Core>, T) {
    thread::scope(|scope| {
        let (tell, verdicts) = unbounded();
        let mut lanes = Vec::new();
        let mut threads = Vec::new();
        for mut core in cores {
            let (sender, receiver) = bounded(BATCHES);
            lanes.push((Batch::default(), sender));
            let tell = tell.clone();
            threads.push(scope.spawn(move || {
                let taken = take(&mut core, &receiver);
                // A reader that does not ask for the verdict has failed itself.
                _ = tell.send(taken);
                core
            }));
        }
        drop(tell);
        let mut feeder = Feeder { shards, lanes, verdicts };
        let read = read(&mut feeder);
        drop(feeder);
        let cores = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
        (cores, read)
    })
}

fn take(core: &mut Core, batches: &Receiver<Batch>) -> Result<(), BadRecord> {
    let mut counted = false;
    for batch in batches {
        let mut rest = batch.bytes.as_slice();
        for (piece, len) in batch.pieces {
            let Some((bytes, after)) = rest.split_at_checked(len) else { break };
            rest = after;
            match piece {
                Job::SnapshotBlock => {
                    core.restore(bytes).map_err(|error| about("image block", &error))?;
                }
                Job::Record(lsn) => {
                    // The snapshot restores rows without counting them; records update the counters
                    // from there.
                    if !std::mem::replace(&mut counted, true) {
                        core.recount()?;
                    }
                    core.replay(bytes).map_err(|error| about(&format!("record {lsn}"), &error))?;
                }
            }
        }
    }
    if !counted {
        core.recount()?;
    }
    Ok(())
}

fn about(what: &str, error: &BadRecord) -> BadRecord {
    BadRecord(format!("{what}: {error}"))
}
