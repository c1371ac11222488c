//! An ordered list that finds entries by key, stored in small copy-on-write chunks.
//!
//! A chat's members and a user's rows are rosters. They are sorted by join order and found by id. A
//! change touches one chunk, so it costs a giant roster (100 000 members, 50 000 rows) no more than
//! a small one. A snapshot shares the chunks by [`Arc`] while changes continue: a shared chunk is
//! copied before it is changed.
//!
//! A chunk is one allocation of exactly its entries. So it wastes no memory, and reading a small
//! roster costs one wait for memory. Adding an entry moves at most the entries of one chunk.
//!
//! Invariants:
//! - Orders strictly rise over all chunks. No chunk is empty or longer than `CHUNK_ENTRIES_MAX`.
//! - Keys are unique, and `Lookup` knows each entry exactly once.
//! - The form of `Lookup` depends on the present and on earlier numbers of entries, because a
//!   roster shrinks later than it grew.

use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;
use thin_vec::ThinVec;

use super::table::shrink;
use crate::limits::CHUNK_ENTRIES_MAX;
use crate::types::KeyHasher;

/// A roster of up to this many entries keeps their tags in itself.
const FEW: usize = 15;
/// A roster of up to this many entries has tags. A larger one has an index.
const INDEXED_FROM: usize = 256;
/// How many hash tables an index has.
const INDEX_PARTS: usize = 16;
/// How many tags one step compares.
const TAGS_AT_ONCE: usize = 16;
const _: () = assert!(TAGS_AT_ONCE <= u16::BITS as usize);

/// What a roster can hold.
pub trait Entry: Clone {
    /// The id by which the entry is found.
    fn key(&self) -> &str;
    /// The number by which entries are sorted, unique in the roster.
    fn order(&self) -> u64;
    /// Moves the entry out. What it leaves behind may only be dropped.
    fn take(&mut self) -> Self;
}

/// Entries that are copied together when one of them changes while a snapshot shares them.
pub type Chunk<T> = Arc<[T]>;
/// All chunks of a roster, in order. Nearly always there is one.
pub type Chunks<T> = SmallVec<[Chunk<T>; 1]>;

#[derive(Debug, Clone, Copy)]
struct IndexEntry {
    hash: u64,
    order: u64,
}

/// How a roster finds an entry by its key.
#[derive(Debug)]
enum Lookup {
    /// The tags of a few entries, in the order of the entries. A tag is 16 bits of the hash of a
    /// key, so a wrong key is nearly never compared.
    Few([u16; FEW]),
    /// The tags of more entries, in the order of the entries. They fit into a few cache lines.
    Tags(ThinVec<u16>),
    /// The hash and the order of each entry, in hash tables.
    Index(Box<Index>),
}

/// The hash and the order of each entry, in several hash tables. A table that grows moves all its
/// entries, so one small table at a time keeps every step short.
#[derive(Debug)]
struct Index {
    parts: [HashTable<IndexEntry>; INDEX_PARTS],
}

impl Index {
    fn with_capacity(entries: usize) -> Self {
        let part = || HashTable::with_capacity(entries.div_ceil(INDEX_PARTS));
        Self { parts: std::array::from_fn(|_| part()) }
    }

    /// The number of the table that holds entries with this hash.
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

    /// Computes the tags of all entries in `chunks`, in the order of the entries.
    fn tags<T: Entry>(&self, chunks: &Chunks<T>) -> ThinVec<u16> {
        let mut pairs: Vec<IndexEntry> = self.parts.iter().flatten().copied().collect();
        pairs.sort_unstable_by_key(|pair| pair.order);
        // Index and chunks hold the same entries, and both are sorted by order here.
        debug_assert!(pairs.iter().map(|pair| pair.order).eq(orders(chunks)));
        pairs.into_iter().map(|pair| tag(pair.hash)).collect()
    }

    fn find(&self, hash: u64, is_it: impl Fn(u64) -> bool) -> Option<u64> {
        let part = self.parts.get(Self::part_of(hash))?;
        let found = part.find(hash, |other| other.hash == hash && is_it(other.order))?;
        Some(found.order)
    }
}

/// An ordered list that finds entries by key.
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

/// Where an entry is: its chunk, and its index in the chunk.
#[derive(Debug, Clone, Copy)]
struct EntryPlace {
    chunk: usize,
    entry: usize,
}

impl<T: Entry> Roster<T> {
    /// Number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the roster has no entries.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Finds an entry by its key. `hash` is the hash of the key.
    pub fn get(&self, key: impl AsRef<[u8]>, hash: u64) -> Option<&T> {
        let place = self.find(key.as_ref(), hash)?;
        self.at(place)
    }

    /// Finds an entry whose key most likely has this hash, without reading the entry. So lookups of
    /// many keys wait for memory together. None if there is none, and always in a roster with an
    /// index.
    pub fn candidate(&self, hash: u64) -> Option<&T> {
        let tags = match &self.lookup {
            Lookup::Few(tags) => tags.get(..self.len)?,
            Lookup::Tags(tags) => tags,
            Lookup::Index(_) => return None,
        };
        self.at(self.place_at(position_of(tags, tag(hash))?)?)
    }

    /// Reads from the tags outside the roster, so that [`Self::candidate`] does not wait for them
    /// later.
    pub fn tags_line(&self) -> u64 {
        match &self.lookup {
            Lookup::Tags(tags) => tags.first().copied().unwrap_or_default().into(),
            Lookup::Few(_) | Lookup::Index(_) => 0,
        }
    }

    /// Like [`Self::get`], but first tries `candidate`, which [`Self::candidate`] of this roster
    /// found.
    pub fn get_by<'a>(
        &'a self,
        candidate: Option<&'a T>,
        key: impl AsRef<[u8]>,
        hash: u64,
    ) -> Option<&'a T> {
        let key = key.as_ref();
        candidate.filter(|entry| entry.key().as_bytes() == key).or_else(|| self.get(key, hash))
    }

    /// Like [`Self::get`], for a caller that changes the entry but not its key or order.
    pub fn get_mut(&mut self, key: impl AsRef<[u8]>, hash: u64) -> Option<&mut T> {
        let place = self.find(key.as_ref(), hash)?;
        Arc::make_mut(self.chunks.get_mut(place.chunk)?).get_mut(place.entry)
    }

    /// Adds an entry. No entry may have its key or its order.
    pub fn insert(&mut self, entry: T, hasher: KeyHasher) {
        let (hash, order) = (hasher.hash(entry.key()), entry.order());
        let place = match self.chunks.last() {
            // Nearly always the new entry has the highest order.
            Some(last) if last_order(last) < order && last.len() < CHUNK_ENTRIES_MAX => {
                Some(EntryPlace { chunk: self.chunks.len() - 1, entry: last.len() })
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

    /// Adds entries at the end. Returns false if a key is not new, or if an order is not above all
    /// orders before it. Some of the entries may then have been added.
    #[must_use]
    pub fn try_append(&mut self, entries: Vec<T>, hasher: KeyHasher) -> bool {
        self.prepare_lookup(self.len + entries.len(), hasher);
        let mut newest = self.last().map(Entry::order);
        let mut left = entries.into_iter();
        while left.len() > 0 {
            let (chunk, from) = self.fill_last_chunk(&mut left);
            for at in from.. {
                let Some(entry) = self.at(EntryPlace { chunk, entry: at }) else { break };
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

    /// Moves as many entries as fit into the last chunk, or into a new chunk if the last one is
    /// full. Returns the number of the chunk, and the index of the first new entry in it.
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

    /// Where an entry of this order belongs, if a higher order exists.
    fn place_for(&self, order: u64) -> EntryPlace {
        let after = self.chunks.partition_point(|chunk| first_order(chunk) <= order);
        let chunk = after.saturating_sub(1);
        let entry = self
            .chunks
            .get(chunk)
            .map_or(0, |entries| entries.partition_point(|other| other.order() < order));
        EntryPlace { chunk, entry }
    }

    fn insert_at(&mut self, place: EntryPlace, entry: T) {
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

    /// Removes the entry with this key and returns it. `hash` is the hash of the key.
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

    /// Frees memory that a larger roster needed. It does so only at half the size at which the
    /// roster grew. Otherwise a roster around that size would convert its lookup again and again.
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

    /// Removes the entry with the lowest order and returns it.
    pub fn pop_first(&mut self, hasher: KeyHasher) -> Option<T> {
        let first = self.first()?;
        let (key, hash) = (first.key().to_owned(), hasher.hash(first.key()));
        self.remove(&key, hash)
    }

    /// Whether an entry has this order.
    pub fn has_order(&self, order: u64) -> bool {
        self.chunks.last().is_some_and(|last| last_order(last) >= order)
            && self.place_of(order).is_some()
    }

    /// All entries, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// The entries whose order is above `order`, in order.
    pub fn iter_after(&self, order: u64) -> impl Iterator<Item = &T> {
        let from = self.chunks.partition_point(|chunk| last_order(chunk) <= order);
        self.chunks
            .iter()
            .skip(from)
            .flat_map(|chunk| chunk.iter())
            .skip_while(move |entry| entry.order() <= order)
    }

    /// The entries whose order is at least `order`, in order.
    pub fn iter_from(&self, order: u64) -> impl Iterator<Item = &T> {
        let from = self.chunks.partition_point(|chunk| last_order(chunk) < order);
        self.chunks
            .iter()
            .skip(from)
            .flat_map(|chunk| chunk.iter())
            .skip_while(move |entry| entry.order() < order)
    }

    /// Changes each entry for which `wanted` returns true. Does not copy chunks without such an
    /// entry.
    pub fn update_all(&mut self, wanted: impl Fn(&T) -> bool, mut change: impl FnMut(&mut T)) {
        for chunk in &mut self.chunks {
            if chunk.iter().any(&wanted) {
                Arc::make_mut(chunk).iter_mut().filter(|entry| wanted(entry)).for_each(&mut change);
            }
        }
    }

    /// Shares the present chunks, so that the caller can read them while changes continue.
    pub fn chunks(&self) -> Chunks<T> {
        self.chunks.clone()
    }

    /// The chunks without the lookup, for entries that nobody looks up by key any more.
    pub fn into_chunks(self) -> Chunks<T> {
        self.chunks
    }

    /// The chunks, borrowed, in order.
    pub fn as_chunks(&self) -> &[Chunk<T>] {
        &self.chunks
    }

    fn at(&self, place: EntryPlace) -> Option<&T> {
        self.chunks.get(place.chunk)?.get(place.entry)
    }

    fn place_of(&self, order: u64) -> Option<EntryPlace> {
        let chunk =
            self.chunks.partition_point(|chunk| first_order(chunk) <= order).checked_sub(1)?;
        let entry = self.chunks.get(chunk)?.binary_search_by_key(&order, Entry::order).ok()?;
        Some(EntryPlace { chunk, entry })
    }

    fn find(&self, key: &[u8], hash: u64) -> Option<EntryPlace> {
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

    fn find_tagged(&self, tags: &[u16], key: &[u8], tag: u16) -> Option<EntryPlace> {
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

    /// How many entries stand before a place. 0 in a roster with an index, which does not need the
    /// number.
    fn position(&self, place: EntryPlace) -> usize {
        match self.lookup {
            Lookup::Few(_) | Lookup::Tags(_) => {
                let before = self.chunks.iter().take(place.chunk);
                before.map(|chunk| chunk.len()).sum::<usize>() + place.entry
            }
            // Tags are found by their position, entries of an index are not. Counting would take
            // long here.
            Lookup::Index(_) => 0,
        }
    }

    /// The place of the entry that has `position` entries before it.
    fn place_at(&self, position: usize) -> Option<EntryPlace> {
        let mut left = position;
        for (chunk, entries) in self.chunks.iter().enumerate() {
            match left.checked_sub(entries.len()) {
                Some(after) => left = after,
                None => return Some(EntryPlace { chunk, entry: left }),
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

    /// Builds an index if the roster is about to have more entries than tags are for.
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

    /// Joins a chunk with the next one if both are small. Otherwise a roster that shrinks would
    /// keep many tiny chunks.
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

/// The tag of a key: the upper 16 bits of its hash.
fn tag(hash: u64) -> u16 {
    u16::try_from(hash >> 48).unwrap_or_default()
}

/// The position of the first tag that equals `tag`.
fn position_of(tags: &[u16], tag: u16) -> Option<usize> {
    let (blocks, rest) = tags.as_chunks::<TAGS_AT_ONCE>();
    let in_blocks = blocks.iter().enumerate().find_map(|(number, block)| {
        // One bit for each tag, and no exit from the loop. So the compiler turns it into a few
        // comparisons of many tags at once.
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

/// A chunk like `chunk`, with `more` inserted at index `at`. Moves the old entries if nobody shares
/// the chunk, and copies them otherwise.
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

/// A copy of the chunk without the entry at index `at`.
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

/// Makes room for one block of tags, not for twice as many: most users and chats have a roster, so
/// spare room would cost much memory.
fn reserve_tight(tags: &mut ThinVec<u16>) {
    if tags.len() == tags.capacity() {
        tags.reserve_exact(TAGS_AT_ONCE);
    }
}

#[cfg(test)]
mod tests;
