//! The ids of dissolved chats with nothing left to deliver. An id is kept forever, so that no new
//! chat gets it.
//!
//! A whole chat takes about 300 bytes, an entry here only the bytes of the id and about ten more.
//! The other facts of the chat are gone, because no answer needs them.
//!
//! ```text
//! entry: [type u8][length of the id u8][id]
//! ```
//!
//! Invariants:
//! - Each id has one entry, and no entry is ever removed.
//! - `places` has the offset of each entry in `entries`, found by the hash of the id.

use hashbrown::HashTable;

use super::table::table_hash;
use crate::limits::ID_BYTES_MAX;
use crate::types::{ChatId, ChatType, KeyHasher};

const HEAD_BYTES: usize = 2;
const _: () = assert!(ID_BYTES_MAX <= u8::MAX as usize);

/// The buffer grows by an eighth: doubling would waste more memory than the set needs.
const GROWTH_SHARE: usize = 8;

/// A set of chat ids with the types of the chats.
#[derive(Debug, Default, Clone)]
pub struct Retired {
    entries: Vec<u8>,
    places: HashTable<u32>,
}

impl Retired {
    /// Number of ids in the set.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether the set is empty.
    #[cfg(feature = "internals")]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether the id is in the set. `hash` is the hash of the id.
    pub fn contains(&self, id: impl AsRef<[u8]>, hash: u64) -> bool {
        let is_it = |place: &u32| {
            let entry = entry_at(&self.entries, *place);
            entry.is_some_and(|(_, it)| it.as_bytes() == id.as_ref())
        };
        self.places.find(table_hash(hash), is_it).is_some()
    }

    /// Adds an id. Returns false if the set has the id already, or if its entries would take more
    /// than 4 GiB.
    pub fn add(&mut self, id: &str, chat_type: ChatType, hasher: KeyHasher) -> bool {
        let hash = hasher.hash(id);
        let (Ok(place), Ok(length)) = (u32::try_from(self.entries.len()), u8::try_from(id.len()))
        else {
            return false;
        };
        if self.contains(id, hash) {
            return false;
        }
        let bytes = HEAD_BYTES + id.len();
        if self.entries.capacity() - self.entries.len() < bytes {
            self.entries.reserve_exact(bytes.max(self.entries.len() / GROWTH_SHARE));
        }
        self.entries.extend([chat_type.code(), length]);
        self.entries.extend_from_slice(id.as_bytes());
        let Self { entries, places } = self;
        let hash_of = |place: &u32| {
            entry_at(entries, *place).map_or(0, |(_, id)| table_hash(hasher.hash(id)))
        };
        places.insert_unique(table_hash(hash), place, hash_of);
        true
    }

    /// All ids with their types, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (ChatId, ChatType)> {
        let mut rest = self.entries.as_slice();
        std::iter::from_fn(move || {
            let ((chat_type, id), behind) = first(rest)?;
            rest = behind;
            Some((ChatId::new(id).ok()?, ChatType::from_code(chat_type)?))
        })
    }
}

fn entry_at(entries: &[u8], place: u32) -> Option<(u8, &str)> {
    first(entries.get(usize::try_from(place).ok()?..)?).map(|(entry, _)| entry)
}

/// The first entry of `entries`, and the bytes behind it.
fn first(entries: &[u8]) -> Option<((u8, &str), &[u8])> {
    let (&[chat_type, length], rest) = entries.split_first_chunk::<HEAD_BYTES>()?;
    let (id, behind) = rest.split_at_checked(usize::from(length))?;
    Some(((chat_type, std::str::from_utf8(id).ok()?), behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> String {
        format!("{number:x>0$}", 1 + number % ID_BYTES_MAX)
    }

    #[test]
    fn an_id_is_kept_once_with_its_type() {
        let hasher = KeyHasher::new(7);
        let mut retired = Retired::default();
        let of = |number: usize| match number % 3 {
            0 => ChatType::Single,
            1 => ChatType::Group,
            _ => ChatType::Official,
        };
        let ids: Vec<_> = (1000..3000).map(|number| (id(number), of(number))).collect();
        for (id, chat_type) in &ids {
            let is_new = !retired.contains(id, hasher.hash(id));
            assert_eq!(retired.add(id, *chat_type, hasher), is_new);
            assert!(!retired.add(id, *chat_type, hasher));
        }
        let kept: Vec<_> = retired.iter().map(|(id, of)| (id.as_str().to_owned(), of)).collect();
        assert_eq!(kept.len(), retired.len());
        assert!(kept.iter().all(|entry| ids.contains(entry)));
        assert!(ids.iter().all(|(id, _)| retired.contains(id, hasher.hash(id))));
        assert!(!retired.contains("another", hasher.hash("another")));
    }

    #[test]
    fn an_id_takes_little_more_than_its_bytes() {
        let hasher = KeyHasher::new(7);
        let mut retired = Retired::default();
        let count = 100_000;
        for number in 0..count {
            assert!(retired.add(&format!("g_{number:016x}"), ChatType::Group, hasher));
        }
        let bytes = retired.entries.capacity() + retired.places.allocation_size();
        assert!(bytes < count * 36, "{} bytes each", bytes / count);
    }
}
