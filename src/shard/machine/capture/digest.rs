//! The digest of a captured slot: whoever has the same records has the same digest.
//!
//! ```text
//! digest: sum of hash(entry), wrapping, over all entries of the slot
//! entry:  [item code u8][fields: MessagePack array], one member, row or removal at a time
//! hash:   XXH64 with the seed 0
//! ```
//!
//! Invariants:
//! - The digest does not depend on the order of tables, on the cut of chunks, or on what a restore
//!   from a snapshot changes of either.
//! - Everything that a snapshot keeps of a slot counts, but for first answers: their eviction
//!   leaves no record.

use serde::Serialize;
use twox_hash::XxHash64;

use super::{
    ChatCapture, ITEM_CHAT, ITEM_DELETERS, ITEM_MEMBERS, ITEM_OUTBOX, ITEM_REMOVALS, ITEM_ROWS,
    ITEM_USER, SlotCapture, USERS_AN_ITEM, UserCapture,
};
use crate::shard::state::ChatHead;
use crate::types::Slot;

/// The digest of a slot behind one of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotDigest {
    /// The slot.
    pub slot: Slot,
    /// Slot sequence of the record.
    pub seq: u64,
    /// The digest.
    pub digest: u64,
}

/// Sums the hashes of entries.
#[derive(Default)]
struct Sum {
    digest: u64,
    buffer: Vec<u8>,
}

impl Sum {
    fn add(&mut self, code: u8, fields: &impl Serialize) {
        self.buffer.clear();
        self.buffer.push(code);
        // Writing to memory cannot fail, and every item can be encoded.
        let encoded = rmp_serde::encode::write(&mut self.buffer, fields);
        assert!(encoded.is_ok(), "an item was not encoded: {encoded:?}");
        self.digest = self.digest.wrapping_add(XxHash64::oneshot(0, &self.buffer));
    }
}

impl ChatCapture {
    fn add_to(&self, sum: &mut Sum) {
        let id = &self.head.id;
        sum.add(ITEM_CHAT, &self.head);
        for member in self.members.iter().flat_map(|chunk| chunk.iter()) {
            sum.add(ITEM_MEMBERS, &(id, member));
        }
        // The order of deleters and of deliveries counts: it decides what later events change
        // first.
        let deleters = self.deleters.iter().flat_map(|users| users.chunks(USERS_AN_ITEM));
        for (number, users) in (0_u64..).zip(deleters) {
            sum.add(ITEM_DELETERS, &(id, number, users));
        }
        for entry in &self.outbox {
            for start in (0..entry.deliveries.len()).step_by(USERS_AN_ITEM) {
                let part = entry.deliveries.part(start, USERS_AN_ITEM);
                sum.add(ITEM_OUTBOX, &(id, entry.event, start, part));
            }
        }
    }
}

impl UserCapture {
    fn add_to(&self, sum: &mut Sum) {
        let id = &self.head.id;
        sum.add(ITEM_USER, &self.head);
        for row in self.rows.iter().flat_map(|chunk| chunk.iter()) {
            sum.add(ITEM_ROWS, &(id, row));
        }
        if let Some(removals) = &self.removals {
            sum.add(ITEM_REMOVALS, &(id, &**removals));
        }
    }
}

impl SlotCapture {
    /// Computes the digest. It takes about as long as encoding the slot for a snapshot.
    #[must_use]
    pub fn digest(&self) -> SlotDigest {
        let Self { slot, seq, chats, retired, users, answers: _ } = self;
        let mut sum = Sum::default();
        chats.iter().for_each(|chat| chat.add_to(&mut sum));
        for (id, chat_type) in retired.iter() {
            sum.add(ITEM_CHAT, &ChatHead::retired(id, chat_type));
        }
        users.iter().for_each(|user| user.add_to(&mut sum));
        SlotDigest { slot: *slot, seq: *seq, digest: sum.digest }
    }
}
