//! The table of the commands under way: each entry has a ticket, and what was gathered for it.

use slotmap::{DefaultKey, Key, KeyData, SlotMap};

use super::scatter::Gather;

/// Maps a number to a command under way. A number is not used again after its entry is removed.
pub(super) struct Entries<T>(SlotMap<DefaultKey, Entry<T>>);

struct Entry<T> {
    ticket: T,
    /// What was gathered so far. `None` if one answer completes the command, or while
    /// [`Entries::take_out`] has it.
    gather: Option<Box<dyn Gather>>,
}

impl<T> Entries<T> {
    pub(super) fn new() -> Self {
        Self(SlotMap::new())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a ticket that the next answer completes, unless [`Self::put_back`] makes it wait for
    /// more.
    pub(super) fn add(&mut self, ticket: T) -> u64 {
        self.0.insert(Entry { ticket, gather: None }).data().as_ffi()
    }

    /// Removes an entry and returns its ticket; `None` if the entry is gone.
    pub(super) fn remove(&mut self, entry: u64) -> Option<T> {
        self.0.remove(key_of(entry)).map(|entry| entry.ticket)
    }

    /// Takes out what was gathered for an entry; [`Self::put_back`] returns it. The outer option is
    /// `None` if there is no such entry.
    pub(super) fn take_out(&mut self, entry: u64) -> Option<Option<Box<dyn Gather>>> {
        self.0.get_mut(key_of(entry)).map(|entry| entry.gather.take())
    }

    pub(super) fn put_back(&mut self, entry: u64, gather: Box<dyn Gather>) {
        if let Some(entry) = self.0.get_mut(key_of(entry)) {
            entry.gather = Some(gather);
        }
    }
}

fn key_of(entry: u64) -> DefaultKey {
    KeyData::from_ffi(entry).into()
}
