//! Records with correct checksums and any contents. They are refused, or a node that starts from
//! them runs, and its state comes back from a snapshot and its log.
//!
//! Input: pieces, each a record without the slot's sequence, which is filled in: slot, event code,
//! fields.

use std::collections::HashMap;

use chatshard::shard::{Shard, events};
use chatshard::types::{KeyHasher, ShardCount, ShardId, Slot};

use super::bytes::Bytes;
use crate::common::SimNode;

/// The hash seed of the golden records.
pub const HASH_SEED: u64 = 7;

/// Starts a node from the records, and checks that it runs.
pub fn run(input: &[u8]) {
    let mut records = Vec::new();
    let mut shard = Shard::new(ShardId(0), ShardCount::new(1).unwrap(), KeyHasher::new(HASH_SEED));
    for record in numbered(Bytes(input).pieces()) {
        if shard.replay(&record).is_err() {
            return;
        }
        records.push(record);
    }
    super::snapshot::runs(SimNode::from_log(1, HASH_SEED, &records));
}

/// The records, with their slots' sequences filled in.
fn numbered<'a>(pieces: Vec<&'a [u8]>) -> impl Iterator<Item = Vec<u8>> + 'a {
    let mut slots: HashMap<Slot, u64> = HashMap::new();
    pieces.into_iter().map(move |piece| {
        let Ok(slot) = events::slot_of(piece) else { return piece.to_vec() };
        let seq = slots.entry(slot).or_default();
        *seq += 1;
        [&piece[..2], &seq.to_be_bytes(), &piece[2..]].concat()
    })
}
