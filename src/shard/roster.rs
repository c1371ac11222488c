//! An ordered list with lookup by key, kept in small copy-on-write chunks.
//!
//! A chat's members and a user's rows are both rosters: ordered by a number that grows with each
//! join, found by id. A giant one (100 000 members, 50 000 rows) costs no more per change than a
//! small one, because a change touches one chunk; and an image can hold on to the chunks (by
//! [`Arc`]) while changes go on, because a shared chunk is copied before it is changed.
//!
//! A chunk is one allocation of exactly its entries: nothing is kept in reserve, and reading the entries
//! behind a roster waits for memory once. To add one costs a move of at most a chunk.
//!
//! Invariants:
//! - Orders strictly rise over all chunks; no chunk is empty or longer than `CHUNK_ENTRIES_MAX`.
//! - Keys are unique. How they are found follows from how many entries there are, and were before: see
//!   `Lookup`, which knows each entry once.

use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;
use thin_vec::ThinVec;

use super::state::shrink;
use crate::limits::CHUNK_ENTRIES_MAX;
use crate::types::KeyHasher;

/// Up to this many entries have their tags in the roster itself.
const FEW: usize = 15;
/// Up to this many entries have tags; past it an index is kept.
const INDEXED_FROM: usize = 256;
/// Parts of an index.
const INDEX_PARTS: usize = 16;
/// Tags that are compared at once.
const TAGS_AT_ONCE: usize = 16;
const _: () = assert!(TAGS_AT_ONCE <= u16::BITS as usize);

/// What a roster holds.
pub trait Entry: Clone {
    /// The id it is found by.
    fn key(&self) -> &str;
    /// Its place.
    fn order(&self) -> u64;
    /// Moves the entry out. What is left is good for nothing but to be dropped.
    fn take(&mut self) -> Self;
}

/// Entries that are copied together when an image still holds them.
pub type Chunk<T> = Arc<[T]>;
/// All chunks of a roster: nearly always one.
pub type Chunks<T> = SmallVec<[Chunk<T>; 1]>;

#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    hash: u64,
    order: u64,
}

/// How an entry is found by its key.
#[derive(Debug)]
enum Lookup {
    /// Tags of a few entries: sixteen bits of each key's hash, in the entries' order. So nearly always only
    /// the right key is compared.
    Few([u16; FEW]),
    /// The same for more entries; they fit into some cache lines.
    Tags(ThinVec<u16>),
    /// One pair for each entry.
    Index(Box<Index>),
}

/// Pairs of all entries, by their hashes. It grows a part at a time: nobody waits long for it.
#[derive(Debug)]
struct Index {
    parts: [HashTable<IndexEntry>; INDEX_PARTS],
}

impl Index {
    fn with_capacity(entries: usize) -> Self {
        let part = || HashTable::with_capacity(entries.div_ceil(INDEX_PARTS));
        Self { parts: std::array::from_fn(|_| part()) }
    }

    /// Those of the parts that hold this hash: one.
    fn part_of(hash: u64) -> usize {
        usize::try_from(hash >> 40).unwrap_or_default() % INDEX_PARTS
    }

    fn insert(&mut self, entry: IndexEntry) {
        if let Some(part) = self.parts.get_mut(Self::part_of(entry.hash)) {
            part.insert_unique(entry.hash, entry, |entry| entry.hash);
        }
    }

    fn remove(&mut self, entry: IndexEntry) {
        let Some(part) = self.parts.get_mut(Self::part_of(entry.hash)) else { return };
        if let Ok(found) = part.find_entry(entry.hash, |other| other.order == entry.order) {
            found.remove();
            shrink(part, |entry| entry.hash);
        }
    }

    /// The tags of all entries in these chunks, in their order.
    fn tags<T: Entry>(&self, chunks: &Chunks<T>) -> ThinVec<u16> {
        let mut pairs: Vec<IndexEntry> = self.parts.iter().flatten().copied().collect();
        pairs.sort_unstable_by_key(|pair| pair.order);
        // Both name the same entries, and chunks are in the order of entries.
        debug_assert!(pairs.iter().map(|pair| pair.order).eq(orders(chunks)));
        pairs.into_iter().map(|pair| tag(pair.hash)).collect()
    }

    fn find(&self, hash: u64, is_it: impl Fn(u64) -> bool) -> Option<u64> {
        let part = self.parts.get(Self::part_of(hash))?;
        let found = part.find(hash, |other| other.hash == hash && is_it(other.order))?;
        Some(found.order)
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Roster<T> {
    chunks: Chunks<T>,
    lookup: Lookup,
    len: usize,
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Self { chunks: SmallVec::new(), lookup: Lookup::Few([0; FEW]), len: 0 }
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
    pub fn get(&self, key: impl AsRef<[u8]>, hash: u64) -> Option<&T> {
        let place = self.find(key.as_ref(), hash)?;
        self.at(place)
    }

    /// An entry that may have a key of this hash, without looking at it: a first step of looking many up, in
    /// which no lookup waits for the memory of another. A giant tells none.
    pub fn candidate(&self, hash: u64) -> Option<&T> {
        let tags = match &self.lookup {
            Lookup::Few(tags) => tags.get(..self.len)?,
            Lookup::Tags(tags) => tags,
            Lookup::Index(_) => return None,
        };
        self.at(self.place_at(position_of(tags, tag(hash))?)?)
    }

    /// Something of what [`Self::candidate`] looks at apart from the roster itself, to bring it near.
    pub fn tags_line(&self) -> u64 {
        match &self.lookup {
            Lookup::Tags(tags) => tags.first().copied().unwrap_or_default().into(),
            Lookup::Few(_) | Lookup::Index(_) => 0,
        }
    }

    /// The entry with this key; `candidate` is what [`Self::candidate`] of this very roster told for it.
    pub fn get_by<'a>(
        &'a self,
        candidate: Option<&'a T>,
        key: impl AsRef<[u8]>,
        hash: u64,
    ) -> Option<&'a T> {
        let key = key.as_ref();
        candidate.filter(|entry| entry.key().as_bytes() == key).or_else(|| self.get(key, hash))
    }

    /// The entry with this key, to be changed; its key and order must stay.
    pub fn get_mut(&mut self, key: &str, hash: u64) -> Option<&mut T> {
        let place = self.find(key.as_bytes(), hash)?;
        Arc::make_mut(self.chunks.get_mut(place.chunk)?).get_mut(place.entry)
    }

    /// Adds an entry. Its key must be new and its order free.
    pub fn insert(&mut self, entry: T, hasher: KeyHasher) {
        let (hash, order) = (hasher.hash(entry.key()), entry.order());
        let place = match self.chunks.last() {
            // Nearly always the newest entry is added.
            Some(last) if last_order(last) < order && last.len() < CHUNK_ENTRIES_MAX => {
                Some(Place { chunk: self.chunks.len() - 1, entry: last.len() })
            }
            Some(last) if last_order(last) > order => Some(self.place_for(order)),
            _ => None,
        };
        match place {
            None => {
                self.note_added(self.len, hash, order);
                self.chunks.push(Arc::new([entry]));
            }
            Some(place) => {
                self.note_added(self.position(place), hash, order);
                self.insert_at(place, entry);
            }
        }
        self.len += 1;
        self.prepare_lookup(self.len, hasher);
    }

    /// Adds many entries at once, behind all others. Whether they were such: their keys new, their orders
    /// rising and above all that there are. If not, some may have been added.
    #[must_use]
    pub fn try_append(&mut self, entries: Vec<T>, hasher: KeyHasher) -> bool {
        self.prepare_lookup(self.len + entries.len(), hasher);
        let mut newest = self.last().map(Entry::order);
        let mut left = entries.into_iter();
        while left.len() > 0 {
            let (chunk, from) = self.fill_last_chunk(&mut left);
            for at in from.. {
                let Some(entry) = self.at(Place { chunk, entry: at }) else { break };
                let (hash, order) = (hasher.hash(entry.key()), entry.order());
                if newest >= Some(order) || self.get(entry.key(), hash).is_some() {
                    return false;
                }
                newest = Some(order);
                self.note_added(self.len, hash, order);
                self.len += 1;
            }
        }
        true
    }

    /// Puts as many entries as there is room for into the last chunk, or into a new one; which chunk it is,
    /// and where they begin in it.
    fn fill_last_chunk(&mut self, entries: &mut std::vec::IntoIter<T>) -> (usize, usize) {
        let chunks = self.chunks.len();
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK_ENTRIES_MAX => {
                let from = last.len();
                *last = with_entries(last, from, entries.take(CHUNK_ENTRIES_MAX - from));
                (chunks - 1, from)
            }
            _ => {
                self.chunks.push(entries.take(CHUNK_ENTRIES_MAX).collect());
                (chunks, 0)
            }
        }
    }

    /// Where an entry that is not the newest belongs.
    fn place_for(&self, order: u64) -> Place {
        let after = self.chunks.partition_point(|chunk| first_order(chunk) <= order);
        let chunk = after.saturating_sub(1);
        let entry = self
            .chunks
            .get(chunk)
            .map_or(0, |entries| entries.partition_point(|other| other.order() < order));
        Place { chunk, entry }
    }

    fn insert_at(&mut self, place: Place, entry: T) {
        let Some(chunk) = self.chunks.get_mut(place.chunk) else { return };
        let mut longer = with_entries(chunk, place.entry, [entry]);
        if longer.len() > CHUNK_ENTRIES_MAX
            && let Some(entries) = Arc::get_mut(&mut longer)
        {
            let (lower, upper) = entries.split_at_mut(entries.len() / 2);
            let upper = upper.iter_mut().map(Entry::take).collect();
            longer = lower.iter_mut().map(Entry::take).collect();
            self.chunks.insert(place.chunk + 1, upper);
        }
        if let Some(chunk) = self.chunks.get_mut(place.chunk) {
            *chunk = longer;
        }
    }

    /// Takes the entry with this key out.
    pub fn remove(&mut self, key: &str, hash: u64) -> Option<T> {
        let place = self.find(key.as_bytes(), hash)?;
        let position = self.position(place);
        let chunk = self.chunks.get_mut(place.chunk)?;
        let entry = chunk.get(place.entry)?.clone();
        if chunk.len() == 1 {
            self.chunks.remove(place.chunk);
        } else {
            *chunk = without_entry(chunk, place.entry);
            self.join_with_next(place.chunk);
        }
        self.len -= 1;
        match &mut self.lookup {
            Lookup::Few(tags) => {
                tags.copy_within((position + 1).min(FEW).., position.min(FEW - 1));
            }
            Lookup::Tags(tags) => _ = tags.remove(position),
            Lookup::Index(index) => {
                index.remove(IndexEntry { hash, order: entry.order() });
            }
        }
        self.shrink();
        Some(entry)
    }

    /// Gives back what a larger roster needed. At half of what made it grow, so that one that comes and goes
    /// around that size does not pay for it each time.
    fn shrink(&mut self) {
        match &mut self.lookup {
            _ if self.len == 0 => *self = Self::default(),
            Lookup::Index(index) if self.len <= INDEXED_FROM / 2 => {
                let tags = index.tags(&self.chunks);
                self.lookup = Lookup::Tags(tags);
                self.chunks.shrink_to_fit();
            }
            Lookup::Tags(few) if self.len <= FEW / 2 => {
                let mut tags = [0; FEW];
                tags.iter_mut().zip(few).for_each(|(place, tag)| *place = *tag);
                self.lookup = Lookup::Few(tags);
                self.chunks.shrink_to_fit();
            }
            Lookup::Tags(tags) if tags.capacity() > 2 * (tags.len() + TAGS_AT_ONCE) => {
                tags.shrink_to_fit();
            }
            Lookup::Few(_) | Lookup::Tags(_) | Lookup::Index(_) => {}
        }
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

    /// Entries from `order` on, oldest first.
    pub fn iter_from(&self, order: u64) -> impl Iterator<Item = &T> {
        let from = self.chunks.partition_point(|chunk| last_order(chunk) < order);
        self.chunks
            .iter()
            .skip(from)
            .flat_map(|chunk| chunk.iter())
            .skip_while(move |entry| entry.order() < order)
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
    pub fn chunks(&self) -> Chunks<T> {
        self.chunks.clone()
    }

    /// The chunks alone, for entries that nobody looks for any more.
    pub fn into_chunks(self) -> Chunks<T> {
        self.chunks
    }

    /// The chunks where they are.
    pub fn as_chunks(&self) -> &[Chunk<T>] {
        &self.chunks
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

    fn find(&self, key: &[u8], hash: u64) -> Option<Place> {
        match &self.lookup {
            Lookup::Few(tags) => self.find_tagged(tags.get(..self.len)?, key, tag(hash)),
            Lookup::Tags(tags) => self.find_tagged(tags, key, tag(hash)),
            Lookup::Index(index) => {
                let order = index.find(hash, |order| {
                    let entry = self.place_of(order).and_then(|place| self.at(place));
                    entry.is_some_and(|entry| entry.key().as_bytes() == key)
                })?;
                self.place_of(order)
            }
        }
    }

    fn find_tagged(&self, tags: &[u16], key: &[u8], tag: u16) -> Option<Place> {
        let mut from = 0;
        loop {
            let position = from + position_of(tags.get(from..)?, tag)?;
            let place = self.place_at(position)?;
            if self.at(place).is_some_and(|entry| entry.key().as_bytes() == key) {
                return Some(place);
            }
            from = position + 1;
        }
    }

    /// How many entries are before a place.
    fn position(&self, place: Place) -> usize {
        match self.lookup {
            Lookup::Few(_) | Lookup::Tags(_) => {
                let before = self.chunks.iter().take(place.chunk);
                before.map(|chunk| chunk.len()).sum::<usize>() + place.entry
            }
            // Only tags are kept by position; it would be long to count for a giant.
            Lookup::Index(_) => 0,
        }
    }

    /// The place that so many entries are before.
    fn place_at(&self, position: usize) -> Option<Place> {
        let mut left = position;
        for (chunk, entries) in self.chunks.iter().enumerate() {
            match left.checked_sub(entries.len()) {
                Some(after) => left = after,
                None => return Some(Place { chunk, entry: left }),
            }
        }
        None
    }

    fn note_added(&mut self, position: usize, hash: u64, order: u64) {
        match &mut self.lookup {
            Lookup::Few(tags) if self.len < FEW => {
                tags.copy_within(position..FEW - 1, position + 1);
                if let Some(place) = tags.get_mut(position) {
                    *place = tag(hash);
                }
            }
            Lookup::Few(few) => {
                let mut tags = ThinVec::with_capacity(FEW + TAGS_AT_ONCE);
                tags.extend_from_slice(few);
                tags.insert(position, tag(hash));
                self.lookup = Lookup::Tags(tags);
            }
            Lookup::Tags(tags) => {
                reserve_tight(tags);
                tags.insert(position, tag(hash));
            }
            Lookup::Index(index) => {
                index.insert(IndexEntry { hash, order });
            }
        }
    }

    /// Builds an index when so many entries are too many for tags.
    fn prepare_lookup(&mut self, len: usize, hasher: KeyHasher) {
        if len <= INDEXED_FROM || matches!(self.lookup, Lookup::Index(_)) {
            return;
        }
        let mut index = Index::with_capacity(len * 2);
        for entry in self.iter() {
            index.insert(IndexEntry { hash: hasher.hash(entry.key()), order: entry.order() });
        }
        self.lookup = Lookup::Index(Box::new(index));
    }

    /// Keeps a roster that shrinks from ending up as many tiny chunks.
    fn join_with_next(&mut self, at: usize) {
        let (Some(this), Some(next)) = (self.chunks.get(at), self.chunks.get(at + 1)) else {
            return;
        };
        if this.len() + next.len() > CHUNK_ENTRIES_MAX / 2 {
            return;
        }
        let joined = this.iter().chain(next.iter()).cloned().collect();
        self.chunks.remove(at + 1);
        if let Some(this) = self.chunks.get_mut(at) {
            *this = joined;
        }
    }
}

/// Sixteen bits of a key's hash.
fn tag(hash: u64) -> u16 {
    u16::try_from(hash >> 48).unwrap_or_default()
}

/// Where the tag stands first.
fn position_of(tags: &[u16], tag: u16) -> Option<usize> {
    let (blocks, rest) = tags.as_chunks::<TAGS_AT_ONCE>();
    let in_blocks = blocks.iter().enumerate().find_map(|(number, block)| {
        // A bit for each, without a way out of the loop: so it becomes a few wide comparisons.
        let bits = block.iter().enumerate();
        let same = bits.fold(0_u16, |all, (at, other)| all | u16::from(*other == tag) << at);
        let at = usize::try_from(same.trailing_zeros()).ok().filter(|at| *at < TAGS_AT_ONCE)?;
        Some(number * TAGS_AT_ONCE + at)
    });
    in_blocks.or_else(|| {
        let at = rest.iter().position(|other| *other == tag)?;
        Some(blocks.len() * TAGS_AT_ONCE + at)
    })
}

/// The chunk with more entries. If nobody else holds it, those that it had are moved.
fn with_entries<T: Entry>(
    chunk: &mut Chunk<T>,
    at: usize,
    more: impl IntoIterator<Item = T>,
) -> Chunk<T> {
    let at = at.min(chunk.len());
    match Arc::get_mut(chunk) {
        Some(entries) => {
            let (before, after) = entries.split_at_mut(at);
            let (before, after) = (before.iter_mut(), after.iter_mut());
            before.map(Entry::take).chain(more).chain(after.map(Entry::take)).collect()
        }
        None => {
            let (before, after) = chunk.split_at(at);
            before.iter().cloned().chain(more).chain(after.iter().cloned()).collect()
        }
    }
}

/// The chunk without one of its entries.
fn without_entry<T: Entry>(chunk: &[T], at: usize) -> Chunk<T> {
    let (before, rest) = chunk.split_at(at.min(chunk.len()));
    before.iter().chain(rest.iter().skip(1)).cloned().collect()
}

fn orders<T: Entry>(chunks: &Chunks<T>) -> impl Iterator<Item = u64> {
    chunks.iter().flat_map(|chunk| chunk.iter()).map(Entry::order)
}

fn first_order<T: Entry>(chunk: &Chunk<T>) -> u64 {
    chunk.first().map_or(0, Entry::order)
}

fn last_order<T: Entry>(chunk: &Chunk<T>) -> u64 {
    chunk.last().map_or(0, Entry::order)
}

/// Grows by a little instead of doubling: there are as many rosters as users.
fn reserve_tight(tags: &mut ThinVec<u16>) {
    if tags.len() == tags.capacity() {
        tags.reserve_exact(TAGS_AT_ONCE);
    }
}

#[cfg(test)]
mod tests;
