//! The ids of the users that a shard's chats name, each stored once.
//!
//! A user is a member of many chats. The shard stores the text of the user's id once, and each
//! member points to it. So a member takes fewer bytes. A lookup of one user in many chats compares
//! with one text, which stays in the cache.
//!
//! Invariants:
//! - Interned ids with equal texts share one text.
//! - A text that no chat uses is dropped when its table would grow, or by a sweep. A sweep begins
//!   after many members have left, and visits a few tables per step.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashTable;

use super::deliveries::OutboxEntry;
use super::table::{shrink, table_hash};
use crate::limits::SLOTS;
use crate::types::{InternedUserId, KeyHasher, UserId};

/// The ids of the users that a shard's chats name.
#[derive(Debug)]
pub struct Interner {
    hasher: KeyHasher,
    /// One table for each slot of the node, because small tables grow in small steps.
    tables: Vec<HashTable<InternedUserId>>,
    /// How many ids chats have released since the last sweep began.
    released: usize,
    /// How many ids the sweep under way has kept so far. Without one, how many the last sweep kept.
    retained: usize,
    /// The table that the sweep visits next. None without a sweep under way.
    sweep_at: Option<usize>,
    /// Delivered events whose memory is not freed yet, because long ones are freed in parts.
    delivered: VecDeque<Arc<OutboxEntry>>,
}

/// A sweep begins after so many released ids, or after a quarter of the ids that the last sweep
/// kept, whichever is more.
const SWEEP_FROM: usize = 4096;
/// How many tables one step of a sweep visits.
const TABLES_A_STEP: usize = 8;
/// How many rows of a delivered event one step frees.
const ROWS_A_STEP: usize = 512;

impl Interner {
    /// An interner without ids.
    pub fn new(hasher: KeyHasher) -> Self {
        let tables = std::iter::repeat_with(HashTable::new).take(usize::from(SLOTS)).collect();
        Self {
            hasher,
            tables,
            released: 0,
            retained: 0,
            sweep_at: None,
            delivered: VecDeque::new(),
        }
    }

    /// Notes that chats have released so many ids. Enough of them start a sweep.
    pub fn note_released(&mut self, ids: usize) {
        self.released += ids;
    }

    /// Frees a delivered event: at once if it has few rows, else in parts by [`Self::drop_some`].
    pub fn drop_later(&mut self, entry: Arc<OutboxEntry>) {
        self.delivered.push_back(entry);
        if self.delivered.len() == 1 {
            self.drop_some();
        }
    }

    /// Frees a part of a delivered event. Returns true if there is more to free.
    pub fn drop_some(&mut self) -> bool {
        let Some(entry) = self.delivered.front_mut() else { return false };
        let is_gone = match Arc::get_mut(entry) {
            Some(entry) => {
                self.released += entry.deliveries.shorten(ROWS_A_STEP);
                entry.deliveries.is_empty()
            }
            // A snapshot shares the event, and frees it on its own thread.
            None => true,
        };
        if is_gone {
            self.delivered.pop_front();
        }
        !self.delivered.is_empty()
    }

    /// Drops unused ids from a few tables, if a sweep is due or under way. Returns true if the
    /// sweep has more tables to visit.
    pub fn sweep_some(&mut self) -> bool {
        let first = match self.sweep_at {
            Some(first) => first,
            None if self.released >= SWEEP_FROM.max(self.retained / 4) => {
                (self.released, self.retained) = (0, 0);
                0
            }
            None => return false,
        };
        let hasher = self.hasher;
        for table in self.tables.iter_mut().skip(first).take(TABLES_A_STEP) {
            table.retain(|known| !known.is_alone());
            shrink(table, |known| table_hash(hasher.hash(known.as_str())));
            self.retained += table.len();
        }
        let next = first + TABLES_A_STEP;
        self.sweep_at = (next < self.tables.len()).then_some(next);
        self.sweep_at.is_some()
    }

    /// The interned form of an id. Stores the text if no interned id has it.
    pub fn intern(&mut self, id: &UserId) -> InternedUserId {
        self.shared(id.as_str(), || id.into())
    }

    /// Replaces an id that has a text of its own by the interned id with that text.
    pub fn share(&mut self, id: &mut InternedUserId) {
        *id = self.shared(id.as_str(), || id.clone());
    }

    /// Finds the interned id that is most likely `id`, without reading its text. The caller must
    /// compare.
    pub fn candidate(&self, id: &str) -> Option<&InternedUserId> {
        let hash = self.hasher.hash(id);
        let table = self.tables.get(usize::from(KeyHasher::slot_of_hash(hash).get()))?;
        table.find(table_hash(hash), |_| true)
    }

    fn shared(&mut self, text: &str, new: impl FnOnce() -> InternedUserId) -> InternedUserId {
        let hasher = self.hasher;
        let hash = hasher.hash(text);
        let slot = usize::from(KeyHasher::slot_of_hash(hash).get());
        let Some(table) = self.tables.get_mut(slot) else { return new() };
        if let Some(known) = table.find(table_hash(hash), |known| known.as_str() == text) {
            return known.clone();
        }
        if table.len() == table.capacity() {
            table.retain(|known| !known.is_alone());
        }
        let hash_of = |known: &InternedUserId| table_hash(hasher.hash(known.as_str()));
        table.insert_unique(table_hash(hash), new(), hash_of).get().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> UserId {
        UserId::new(&format!("user {number}, whose id is long")).unwrap()
    }

    #[test]
    fn the_same_text_is_kept_once() {
        let mut interner = Interner::new(KeyHasher::new(7));
        let one = interner.intern(&id(1));
        let mut came = InternedUserId::from(&id(1));
        assert!(came.is_alone());
        interner.share(&mut came);
        for other in [interner.intern(&id(1)), came] {
            assert_eq!(other, one);
            assert!(std::ptr::eq(other.as_str(), one.as_str()));
        }
        assert_eq!(one.to_user_id(), id(1));
    }

    #[test]
    fn a_sweep_drops_what_nobody_uses() {
        let mut interner = Interner::new(KeyHasher::new(7));
        let used: Vec<_> = (0..1000).map(|number| interner.intern(&id(number))).collect();
        drop((1000..50_000).map(|number| interner.intern(&id(number))).collect::<Vec<_>>());
        interner.note_released(SWEEP_FROM - 1);
        assert!(!interner.sweep_some(), "it is not worth it yet");
        interner.note_released(1);
        while interner.sweep_some() {}
        let kept: usize = interner.tables.iter().map(HashTable::len).sum();
        assert_eq!((kept, interner.retained), (used.len(), used.len()));
        let room: usize = interner.tables.iter().map(HashTable::capacity).sum();
        assert!(room < 8 * usize::from(SLOTS), "{room}");
        assert!(!interner.sweep_some());
    }

    #[test]
    fn what_nobody_uses_goes() {
        let mut interner = Interner::new(KeyHasher::new(7));
        let used: Vec<_> = (0..1000).map(|number| interner.intern(&id(number))).collect();
        for number in 1000..500_000 {
            interner.intern(&id(number));
        }
        let kept: usize = interner.tables.iter().map(HashTable::len).sum();
        // The smallest table has room for three ids.
        assert!(kept < usize::from(SLOTS) * 4, "{kept} are kept");
        let again = used.iter().map(|id| interner.intern(&id.to_user_id()));
        assert!(again.zip(&used).all(|(a, b)| std::ptr::eq(a.as_str(), b.as_str())));
    }
}
