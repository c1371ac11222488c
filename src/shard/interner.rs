//! The ids of the users that a shard's chats name, each kept once.
//!
//! A user is a member of many chats. Their id is kept once on each shard, and a chat holds a pointer to it:
//! so a member takes fewer bytes, and to look for one reader in many chats compares with one text that
//! is in the cache.
//!
//! Invariants:
//! - Of two interned ids with the same text, both share it.
//! - A text that only the interner holds goes when its table would have to grow. So there are at most about
//!   twice as many as are in use.

use hashbrown::HashTable;

use super::state::table_hash;
use crate::limits::SLOTS;
use crate::types::{InternedUserId, KeyHasher, UserId};

/// See the module's documentation.
#[derive(Debug)]
pub struct Interner {
    hasher: KeyHasher,
    /// By slots of the ids, whether of this shard or not: small tables grow in small steps.
    tables: Vec<HashTable<InternedUserId>>,
}

impl Interner {
    /// One that holds no ids.
    pub fn new(hasher: KeyHasher) -> Self {
        let tables = std::iter::repeat_with(HashTable::new).take(usize::from(SLOTS)).collect();
        Self { hasher, tables }
    }

    /// The id, with the text that is shared.
    pub fn intern(&mut self, id: &UserId) -> InternedUserId {
        self.shared(id.as_str(), || id.into())
    }

    /// Gives an id that came with a text of its own the one that is shared.
    pub fn share(&mut self, id: &mut InternedUserId) {
        *id = self.shared(id.as_str(), || id.clone());
    }

    /// What is kept of an id, or of another with the same hash in its table: not looked at yet.
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
    fn what_nobody_uses_goes() {
        let mut interner = Interner::new(KeyHasher::new(7));
        let used: Vec<_> = (0..1000).map(|number| interner.intern(&id(number))).collect();
        for number in 1000..500_000 {
            interner.intern(&id(number));
        }
        let kept: usize = interner.tables.iter().map(HashTable::len).sum();
        // A table of the smallest size holds three.
        assert!(kept < usize::from(SLOTS) * 4, "{kept} are kept");
        let again = used.iter().map(|id| interner.intern(&id.to_user_id()));
        assert!(again.zip(&used).all(|(a, b)| std::ptr::eq(a.as_str(), b.as_str())));
    }
}
