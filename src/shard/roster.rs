//! An ordered list with lookup by key, kept in small copy-on-write chunks.
//!
//! A chat's members and a user's rows are both rosters: ordered by a number that grows with each
//! join, found by id. A giant one (100 000 members, 50 000 rows) costs no more per change than a
//! small one, because a change touches one chunk; and an image can hold on to the chunks (by
//! [`Arc`]) while changes go on, because a shared chunk is copied before it is changed.
//!
//! Invariants:
//! - Orders strictly rise over all chunks; no chunk is empty or longer than `CHUNK_ENTRIES_MAX`.
//! - Keys are unique. The index is there exactly if the roster has grown past `INDEXED_FROM`
//!   entries once, and then it holds one (hash, order) pair for each entry.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::limits::CHUNK_ENTRIES_MAX;
use crate::types::KeyHasher;

/// Up to this many entries are searched one by one; past it an index is kept.
const INDEXED_FROM: usize = 32;

/// What a roster holds.
pub trait Entry: Clone {
    /// The id it is found by.
    fn key(&self) -> &str;
    /// Its place.
    fn order(&self) -> u64;
}

/// Entries that are copied together when an image still holds them.
pub type Chunk<T> = Arc<Vec<T>>;

#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    hash: u64,
    order: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Roster<T> {
    chunks: Vec<Chunk<T>>,
    index: Option<Box<HashTable<IndexEntry>>>,
    len: usize,
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self { chunks: Vec::new(), index: None, len: 0 }
    }
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    chunk: usize,
    entry: usize,
}

impl<T: Entry> Roster<T> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entry with this key; `hash` is the key's.
    pub fn get(&self, key: &str, hash: u64) -> Option<&T> {
        let place = self.find(key, hash)?;
        self.at(place)
    }

    /// The entry with this key, to be changed; its key and order must stay.
    pub fn get_mut(&mut self, key: &str, hash: u64) -> Option<&mut T> {
        let place = self.find(key, hash)?;
        Arc::make_mut(self.chunks.get_mut(place.chunk)?).get_mut(place.entry)
    }

    /// Adds an entry. Its key must be new and its order free.
    pub fn insert(&mut self, entry: T, hasher: KeyHasher) {
        let (hash, order) = (hasher.hash(entry.key()), entry.order());
        match self.chunks.last_mut() {
            // Nearly always the newest entry is added.
            Some(last) if last_order(last) < order && last.len() < CHUNK_ENTRIES_MAX => {
                let entries = Arc::make_mut(last);
                reserve_tight(entries);
                entries.push(entry);
            }
            Some(last) if last_order(last) > order => self.insert_between(entry),
            _ => self.chunks.push(Arc::new(vec![entry])),
        }
        self.len += 1;
        match &mut self.index {
            Some(index) => {
                index.insert_unique(hash, IndexEntry { hash, order }, |entry| entry.hash);
            }
            None if self.len > INDEXED_FROM => self.build_index(hasher),
            None => {}
        }
    }

    /// Adds an entry that is not the newest.
    fn insert_between(&mut self, entry: T) {
        let order = entry.order();
        let after = self.chunks.partition_point(|chunk| first_order(chunk) <= order);
        let at = after.saturating_sub(1);
        let Some(chunk) = self.chunks.get_mut(at) else { return };
        let entries = Arc::make_mut(chunk);
        let place = entries.partition_point(|other| other.order() < order);
        reserve_tight(entries);
        entries.insert(place, entry);
        if entries.len() > CHUNK_ENTRIES_MAX {
            let upper = entries.split_off(entries.len() / 2);
            self.chunks.insert(at + 1, Arc::new(upper));
        }
    }

    /// Takes the entry with this key out.
    pub fn remove(&mut self, key: &str, hash: u64) -> Option<T> {
        let place = self.find(key, hash)?;
        let entries = Arc::make_mut(self.chunks.get_mut(place.chunk)?);
        let entry = entries.remove(place.entry);
        if entries.is_empty() {
            self.chunks.remove(place.chunk);
        } else {
            self.join_with_next(place.chunk);
        }
        self.len -= 1;
        if let Some(index) = &mut self.index
            && let Ok(found) = index.find_entry(hash, |other| other.order == entry.order())
        {
            found.remove();
        }
        Some(entry)
    }

    /// The entry with the lowest order.
    pub fn first(&self) -> Option<&T> {
        self.chunks.first()?.first()
    }

    /// The entry with the highest order.
    pub fn last(&self) -> Option<&T> {
        self.chunks.last()?.last()
    }

    /// Takes the entry with the lowest order out.
    pub fn pop_first(&mut self, hasher: KeyHasher) -> Option<T> {
        let first = self.first()?;
        let (key, hash) = (first.key().to_owned(), hasher.hash(first.key()));
        self.remove(&key, hash)
    }

    /// Whether an entry stands at this order.
    pub fn has_order(&self, order: u64) -> bool {
        self.chunks.last().is_some_and(|last| last_order(last) >= order)
            && self.place_of(order).is_some()
    }

    /// All entries, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Entries after `order`, oldest first.
    pub fn iter_after(&self, order: u64) -> impl Iterator<Item = &T> {
        let from = self.chunks.partition_point(|chunk| last_order(chunk) <= order);
        self.chunks
            .iter()
            .skip(from)
            .flat_map(|chunk| chunk.iter())
            .skip_while(move |entry| entry.order() <= order)
    }

    /// Entries before `order`, newest first.
    pub fn iter_before(&self, order: u64) -> impl Iterator<Item = &T> {
        let to = self.chunks.partition_point(|chunk| first_order(chunk) < order);
        self.chunks
            .iter()
            .take(to)
            .rev()
            .flat_map(|chunk| chunk.iter().rev())
            .skip_while(move |entry| entry.order() >= order)
    }

    /// Changes each entry for which `change` answers true; entries of untouched chunks are not
    /// copied. `wanted` is asked first, on the shared entry.
    pub fn update_all(&mut self, wanted: impl Fn(&T) -> bool, mut change: impl FnMut(&mut T)) {
        for chunk in &mut self.chunks {
            if chunk.iter().any(&wanted) {
                Arc::make_mut(chunk).iter_mut().filter(|entry| wanted(entry)).for_each(&mut change);
            }
        }
    }

    /// The chunks as they are now, to be read while changes go on.
    pub fn chunks(&self) -> Vec<Chunk<T>> {
        self.chunks.clone()
    }

    fn at(&self, place: Place) -> Option<&T> {
        self.chunks.get(place.chunk)?.get(place.entry)
    }

    fn place_of(&self, order: u64) -> Option<Place> {
        let chunk =
            self.chunks.partition_point(|chunk| first_order(chunk) <= order).checked_sub(1)?;
        let entry = self.chunks.get(chunk)?.binary_search_by_key(&order, Entry::order).ok()?;
        Some(Place { chunk, entry })
    }

    fn find(&self, key: &str, hash: u64) -> Option<Place> {
        let Some(index) = &self.index else {
            return self.chunks.iter().enumerate().find_map(|(chunk, entries)| {
                let entry = entries.iter().position(|entry| entry.key() == key)?;
                Some(Place { chunk, entry })
            });
        };
        let found = index.find(hash, |other| {
            other.hash == hash
                && self
                    .place_of(other.order)
                    .and_then(|place| self.at(place))
                    .is_some_and(|entry| entry.key() == key)
        })?;
        self.place_of(found.order)
    }

    fn build_index(&mut self, hasher: KeyHasher) {
        let mut index = HashTable::with_capacity(self.len * 2);
        for entry in self.iter() {
            let (hash, order) = (hasher.hash(entry.key()), entry.order());
            index.insert_unique(hash, IndexEntry { hash, order }, |entry: &IndexEntry| entry.hash);
        }
        self.index = Some(Box::new(index));
    }

    /// Keeps a roster that shrinks from ending up as many tiny chunks.
    fn join_with_next(&mut self, at: usize) {
        let (Some(this), Some(next)) = (self.chunks.get(at), self.chunks.get(at + 1)) else {
            return;
        };
        if this.len() + next.len() > CHUNK_ENTRIES_MAX / 2 {
            return;
        }
        let next = self.chunks.remove(at + 1);
        if let Some(this) = self.chunks.get_mut(at) {
            Arc::make_mut(this).extend(next.iter().cloned());
        }
    }
}

fn first_order<T: Entry>(chunk: &Chunk<T>) -> u64 {
    chunk.first().map_or(0, Entry::order)
}

fn last_order<T: Entry>(chunk: &Chunk<T>) -> u64 {
    chunk.last().map_or(0, Entry::order)
}

/// Grows by half instead of doubling from four: most rosters have a handful of entries.
fn reserve_tight<T>(entries: &mut Vec<T>) {
    if entries.len() == entries.capacity() {
        let more = (entries.len() / 2).clamp(1, CHUNK_ENTRIES_MAX);
        entries.reserve_exact(more);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Item {
        key: String,
        order: u64,
        value: u32,
    }

    impl Entry for Item {
        fn key(&self) -> &str {
            &self.key
        }
        fn order(&self) -> u64 {
            self.order
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(u16, u64),
        Remove(u16),
        Update(u16, u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u16..300, 0u64..2000).prop_map(|(key, order)| Step::Insert(key, order)),
            2 => (0u16..300).prop_map(Step::Remove),
            1 => (0u16..300, any::<u32>()).prop_map(|(key, value)| Step::Update(key, value)),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(steps in prop::collection::vec(step(), 1..600)) {
            let hasher = KeyHasher::new(7);
            let mut roster = Roster::default();
            let mut model: BTreeMap<u64, Item> = BTreeMap::new();
            let shared = |roster: &Roster<Item>| roster.chunks();
            let mut kept = (shared(&roster), model.clone());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Insert(key, order) => {
                        let key = format!("k{key}");
                        let hash = hasher.hash(&key);
                        if roster.get(&key, hash).is_none() && !roster.has_order(order) {
                            let item = Item { key, order, value: 0 };
                            roster.insert(item.clone(), hasher);
                            model.insert(order, item);
                        }
                    }
                    Step::Remove(key) => {
                        let key = format!("k{key}");
                        let removed = roster.remove(&key, hasher.hash(&key));
                        let order = model.values().find(|item| item.key == key).map(|item| item.order);
                        prop_assert_eq!(removed, order.and_then(|order| model.remove(&order)));
                    }
                    Step::Update(key, value) => {
                        let key = format!("k{key}");
                        if let Some(item) = roster.get_mut(&key, hasher.hash(&key)) {
                            item.value = value;
                        }
                        if let Some(item) = model.values_mut().find(|item| item.key == key) {
                            item.value = value;
                        }
                    }
                }
                if number % 50 == 0 {
                    // What was held on to must not have changed since.
                    let held: Vec<Item> = kept.0.iter().flat_map(|chunk| chunk.iter().cloned()).collect();
                    prop_assert_eq!(held, kept.1.values().cloned().collect::<Vec<_>>());
                    kept = (shared(&roster), model.clone());
                }
            }
            prop_assert_eq!(roster.len(), model.len());
            prop_assert!(roster.iter().eq(model.values()));
            prop_assert!(roster.iter_after(700).eq(model.range(701..).map(|(_, item)| item)));
            prop_assert!(roster.iter_before(700).eq(model.range(..700).rev().map(|(_, item)| item)));
            prop_assert!(roster.chunks.iter().all(|chunk| !chunk.is_empty() && chunk.len() <= CHUNK_ENTRIES_MAX));
            for item in model.values() {
                prop_assert_eq!(roster.get(&item.key, hasher.hash(&item.key)), Some(item));
            }
        }
    }
}
