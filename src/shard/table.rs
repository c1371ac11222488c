//! The hash tables of a slot: their hash, their entries, and when they shrink.

use std::ops::{Deref, DerefMut};

use hashbrown::HashTable;

/// A table shrinks when it has room for more than this many times its entries.
const SHRINK_FROM: usize = 8;

/// An entry of a table of a slot. The value has an allocation of its own. So a table that grows
/// moves only pointers.
#[derive(Debug)]
pub struct OutOfLine<T>(Box<T>);

impl<T> OutOfLine<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Box::new(value))
    }

    pub(super) fn into_inner(self) -> T {
        *self.0
    }
}

impl<T> Deref for OutOfLine<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for OutOfLine<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Shrinks a table that has room for far more entries than it holds.
pub(super) fn shrink<T>(table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    if table.capacity() > SHRINK_FROM * table.len().max(1) {
        table.shrink_to(2 * table.len(), hash);
    }
}

/// The hash for the tables of a slot. All keys of a slot share the lowest bits of their hashes,
/// which chose the slot. So the tables use other bits.
pub(super) fn table_hash(hash: u64) -> u64 {
    (hash >> 12).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
