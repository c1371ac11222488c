//! A slot, with everything that an event needs to change it.
//!
//! Invariants:
//! - Applying an event reads only the slot and the event: no clock, no randomness, no other slot.
//! - The shard that commits an event has checked that it fits. An event that does not fit the slot
//!   is damage, and is reported as such.

use std::fmt::Display;

use crate::shard::counts::UserCounts;
use crate::shard::decode::BadRecord;
use crate::shard::interner::Interner;
use crate::shard::row::RowFacts;
use crate::shard::state::{Chat, SlotState};
use crate::types::{ChatId, Hashed, KeyHasher, UserId};

/// A slot, with everything that is needed to change it.
pub struct Applier<'a> {
    /// The slot that the events belong to.
    pub slot: &'a mut SlotState,
    /// The interner of the shard.
    pub interner: &'a mut Interner,
    /// The node's key hash.
    pub hasher: KeyHasher,
}

impl Applier<'_> {
    /// The chat that an event names.
    pub(super) fn chat(&mut self, id: &ChatId) -> Result<&mut Chat, BadRecord> {
        self.chat_and_interner(id).map(|(chat, _)| chat)
    }

    pub(super) fn chat_and_interner(
        &mut self,
        id: &ChatId,
    ) -> Result<(&mut Chat, &mut Interner), BadRecord> {
        let hash = self.hasher.hash(id.as_str());
        let chat = self.slot.chat_mut(id.as_str(), hash).ok_or_else(|| misfit("chat", id))?;
        Ok((chat, self.interner))
    }

    /// Retires a chat as [`SlotState::retire`] does, and fails if there is no room for its id.
    pub(super) fn retire(&mut self, id: &ChatId) -> Result<(), BadRecord> {
        let hash = self.hasher.hash(id.as_str());
        match self.slot.retire(id.as_str(), hash, self.hasher) {
            true => Ok(()),
            false => Err(misfit("dissolved chat", id)),
        }
    }

    pub(super) fn is_retired(&self, id: &ChatId) -> bool {
        self.slot.retired.contains(id.as_str(), self.hasher.hash(id.as_str()))
    }

    /// Brings the slot's counts up to date after a change of a user.
    pub(super) fn recount_user(&mut self, before: UserCounts, after: UserCounts) {
        self.slot.counts.add_user(after);
        self.slot.counts.take_user(before);
    }

    /// Changes a row that exists, as the user's next version.
    pub(super) fn change_row(
        &mut self,
        user_id: Hashed<'_>,
        chat_id: Hashed<'_>,
        change: impl FnOnce(&mut RowFacts),
    ) -> Result<(), BadRecord> {
        let Hashed { id, hash } = user_id;
        let user = self.slot.user_mut(id, hash).ok_or_else(|| misfit("user", &user_id))?;
        let row = user.rows.get_mut(chat_id.id, chat_id.hash);
        let row = row.ok_or_else(|| misfit("row of", &user_id))?;
        let version = user.head.next_version();
        row.update(|row| {
            change(&mut row.facts);
            row.version = version;
        });
        Ok(())
    }

    /// Like [`Self::change_row`], with ids whose hashes are not known yet.
    pub(super) fn change_row_of(
        &mut self,
        user_id: &UserId,
        chat_id: &ChatId,
        change: impl FnOnce(&mut RowFacts),
    ) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        self.change_row(hasher.hashed(user_id.as_str()), hasher.hashed(chat_id.as_str()), change)
    }
}

/// The error of an event that does not fit the slot.
pub(super) fn misfit(what: &str, id: &dyn Display) -> BadRecord {
    BadRecord(format!("{what} {id} does not fit the state"))
}
