//! Recovery of all shards: one thread reads and verifies files, and one thread for each shard
//! applies that shard's part.
//!
//! Invariants:
//! - A shard gets snapshot blocks and records in the order in which the disk has them.
//! - The disk is not changed before every shard has accepted everything ([`Feeder::verdict`]).
//! - The reader waits for a slow shard: at most `FEEDS` feeds are queued for each shard.

use std::thread;

use crossbeam::channel::{Receiver, Sender, bounded, unbounded};
use snapshot::Lsn;

use crate::shard::Shard;
use crate::shard::decode::BadRecord;
use crate::shard::events::slot_of;
use crate::shard::machine::Comparison;
use crate::types::ShardCount;

/// How many bytes the reader gathers for a shard before it hands them over.
const FEED_BYTES: usize = 256 << 10;
/// How many feeds may be queued for a shard.
const FEEDS: usize = 8;

/// What some bytes are: a snapshot block or a record. For error messages about them.
#[derive(Debug, Clone, Copy)]
enum Job {
    SnapshotBlock,
    Record(Lsn),
}

/// What a replay found of the digests in the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DigestsCompared {
    /// How many digests were compared.
    pub count: u64,
    /// The digests in the log that differ from those of the replayed state.
    pub differences: Vec<Comparison>,
}

impl DigestsCompared {
    fn note(&mut self, comparison: Comparison) {
        self.count += 1;
        if !comparison.is_equal() {
            self.differences.push(comparison);
        }
    }

    fn add(&mut self, other: Self) {
        self.count += other.count;
        self.differences.extend(other.differences);
    }
}

#[derive(Default)]
struct Feed {
    bytes: Vec<u8>,
    pieces: Vec<(Job, usize)>,
}

/// The reader's side: gives blocks and records to the shards of their slots.
pub struct Feeder {
    shards: ShardCount,
    lanes: Vec<(Feed, Sender<Feed>)>,
    verdicts: Receiver<Result<DigestsCompared, BadRecord>>,
    compared: DigestsCompared,
}

impl Feeder {
    /// Gives a block of the snapshot to the shard of its slot.
    ///
    /// # Errors
    /// If the block names no slot, or if its shard has failed.
    pub fn snapshot_block(&mut self, block: &[u8]) -> Result<(), String> {
        self.put(Job::SnapshotBlock, block)
    }

    /// Gives a record of the log to the shard of its slot.
    ///
    /// # Errors
    /// If the record names no slot, or if its shard has failed.
    pub fn record(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), String> {
        self.put(Job::Record(lsn), record)
    }

    /// Ends the input, and waits until all shards have applied everything.
    ///
    /// # Errors
    /// Which block or record a shard could not apply, and why.
    pub fn verdict(&mut self) -> Result<(), String> {
        // A shard that has failed closes its channel. Its verdict has the reason.
        _ = self.lanes.iter_mut().try_for_each(hand_over);
        self.lanes.clear();
        for verdict in &self.verdicts {
            self.compared.add(verdict.map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    /// What the shards found of the digests in the log. The caller asks after the verdict.
    pub fn compared(&self) -> &DigestsCompared {
        &self.compared
    }

    fn put(&mut self, piece: Job, bytes: &[u8]) -> Result<(), String> {
        let slot = slot_of(bytes).map_err(|error| error.to_string())?;
        let lane = self.lanes.get_mut(slot.shard(self.shards).index()).ok_or("no such shard")?;
        lane.0.bytes.extend_from_slice(bytes);
        lane.0.pieces.push((piece, bytes.len()));
        if lane.0.bytes.len() < FEED_BYTES {
            return Ok(());
        }
        hand_over(lane).or_else(|()| self.verdict())
    }
}

/// Hands a feed to a shard. Fails if the shard has failed and closed its channel.
fn hand_over((feed, lane): &mut (Feed, Sender<Feed>)) -> Result<(), ()> {
    lane.send(std::mem::take(feed)).map_err(|_| ())
}

/// Runs `read` on this thread, and one thread for each shard that applies what `read` feeds. `read`
/// must ask for the verdict. Returns the shards, and the result of `read`.
pub fn load<T>(
    empty: Vec<Shard>,
    count: ShardCount,
    read: impl FnOnce(&mut Feeder) -> T,
) -> (Vec<Shard>, T) {
    thread::scope(|scope| {
        let (tell, verdicts) = unbounded();
        let mut lanes = Vec::new();
        let mut threads = Vec::new();
        for mut shard in empty {
            let (sender, receiver) = bounded(FEEDS);
            lanes.push((Feed::default(), sender));
            let tell = tell.clone();
            threads.push(scope.spawn(move || {
                let taken = take(&mut shard, &receiver);
                // If the reader has failed, it does not ask for the verdict, and sending fails.
                _ = tell.send(taken);
                shard
            }));
        }
        drop(tell);
        let compared = DigestsCompared::default();
        let mut feeder = Feeder { shards: count, lanes, verdicts, compared };
        let read = read(&mut feeder);
        drop(feeder);
        let loaded = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
        (loaded, read)
    })
}

fn take(shard: &mut Shard, feeds: &Receiver<Feed>) -> Result<DigestsCompared, BadRecord> {
    let mut counted = false;
    let mut compared = DigestsCompared::default();
    for feed in feeds {
        let mut rest = feed.bytes.as_slice();
        for (piece, len) in feed.pieces {
            let Some((bytes, after)) = rest.split_at_checked(len) else { break };
            rest = after;
            match piece {
                Job::SnapshotBlock => {
                    shard.restore(bytes).map_err(|error| about("snapshot block", &error))?;
                }
                Job::Record(lsn) => {
                    // Restoring a snapshot does not count. So the counts are computed once, before
                    // the first record changes them.
                    if !std::mem::replace(&mut counted, true) {
                        shard.recount()?;
                    }
                    shard.replay(bytes).map_err(|error| about(&format!("record {lsn}"), &error))?;
                    if let Some(capture) = shard.take_probe(lsn) {
                        shard.hashed_in_replay(capture.digest());
                    }
                    if let Some(comparison) = shard.take_comparison() {
                        compared.note(comparison);
                    }
                }
            }
        }
    }
    if !counted {
        shard.recount()?;
    }
    Ok(compared)
}

fn about(what: &str, error: &BadRecord) -> BadRecord {
    BadRecord(format!("{what}: {error}"))
}
