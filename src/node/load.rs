//! Recovery on all cores: one thread reads and verifies, one thread a shard takes what is its own.
//!
//! Invariants:
//! - A shard gets image blocks and records in the order in which they are on the disk.
//! - A reader that is faster than the shards waits: at most a few batches lie between them.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use snapshot::Lsn;

use crate::shard::Core;
use crate::shard::event::{BadRecord, slot_of};
use crate::types::ShardCount;

/// Bytes gathered for a shard before they are handed over.
const BATCH_BYTES: usize = 256 << 10;
/// Batches that may wait for a shard.
const BATCHES: usize = 8;

/// What a piece of bytes is, for messages about it.
#[derive(Debug, Clone, Copy)]
enum Piece {
    ImageBlock,
    Record(Lsn),
}

#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    pieces: Vec<(Piece, usize)>,
}

/// The reader's end: takes pieces and hands them to their shards.
pub struct Feeder {
    shards: ShardCount,
    lanes: Vec<(Batch, SyncSender<Batch>)>,
}

impl Feeder {
    /// A block of an image.
    ///
    /// # Errors
    /// If it names no slot, or its shard has given up.
    pub fn image_block(&mut self, block: &[u8]) -> Result<(), String> {
        self.put(Piece::ImageBlock, block)
    }

    /// A record of the log.
    ///
    /// # Errors
    /// If it names no slot, or its shard has given up.
    pub fn record(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), String> {
        self.put(Piece::Record(lsn), record)
    }

    fn put(&mut self, piece: Piece, bytes: &[u8]) -> Result<(), String> {
        let slot = slot_of(bytes).map_err(|error| error.to_string())?;
        let lane = self.lanes.get_mut(slot.shard(self.shards).index()).ok_or("no such shard")?;
        lane.0.bytes.extend_from_slice(bytes);
        lane.0.pieces.push((piece, bytes.len()));
        if lane.0.bytes.len() >= BATCH_BYTES { hand_over(lane) } else { Ok(()) }
    }

    fn finish(mut self) -> Result<(), String> {
        self.lanes.iter_mut().try_for_each(hand_over)
    }
}

fn hand_over((batch, lane): &mut (Batch, SyncSender<Batch>)) -> Result<(), String> {
    lane.send(std::mem::take(batch))
        .map_err(|_| "a shard could not take what came before".to_owned())
}

/// Runs `read`, which feeds, with one thread a core taking its part; gives the cores back.
///
/// # Errors
/// What a shard could not take, with its place; it is told before what `read` says of it.
pub fn load<T, E>(
    cores: Vec<Core>,
    shards: ShardCount,
    read: impl FnOnce(&mut Feeder) -> Result<T, E>,
) -> Result<(Vec<Core>, Result<T, E>), BadRecord> {
    thread::scope(|scope| {
        let mut lanes = Vec::new();
        let mut threads = Vec::new();
        for core in cores {
            let (sender, receiver) = sync_channel(BATCHES);
            lanes.push((Batch::default(), sender));
            threads.push(scope.spawn(move || take(core, &receiver)));
        }
        let mut feeder = Feeder { shards, lanes };
        let read = read(&mut feeder);
        // A shard that gave up tells why below.
        _ = feeder.finish();
        let mut cores = Vec::new();
        for thread in threads {
            let panicked = || Err(BadRecord("a shard's thread panicked".into()));
            cores.push(thread.join().unwrap_or_else(|_| panicked())?);
        }
        Ok((cores, read))
    })
}

fn take(mut core: Core, batches: &Receiver<Batch>) -> Result<Core, BadRecord> {
    for batch in batches {
        let mut rest = batch.bytes.as_slice();
        for (piece, len) in batch.pieces {
            let Some((bytes, after)) = rest.split_at_checked(len) else { break };
            rest = after;
            match piece {
                Piece::ImageBlock => {
                    core.restore(bytes).map_err(|error| about("image block", error))?
                }
                Piece::Record(lsn) => {
                    core.replay(bytes).map_err(|error| about(&format!("record {lsn}"), error))?;
                }
            }
        }
    }
    core.recount();
    Ok(core)
}

fn about(what: &str, error: BadRecord) -> BadRecord {
    BadRecord(format!("{what}: {error}"))
}
