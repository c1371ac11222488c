//! A slot, with what an event needs to change the slot.
//!
//! Invariants:
//! - Applying an event reads only the slot and the event: no clock, no randomness, no other slot.
//!   So replay gives the same state as the live run.
//! - A shard checks an event before it commits the event. So an event of the log that does not fit
//!   its slot is damage, and is reported as damage.

use std::fmt::Display;

use crate::shard::counts::UserCounts;
use crate::shard::decode::BadRecord;
use crate::shard::interner::Interner;
use crate::shard::row::RowFacts;
use crate::shard::state::{Chat, SlotState, User};
use crate::types::{ChatId, Hashed, KeyHasher, UserId};

/// A slot, with what an event needs to change the slot.
pub struct Applier<'a> {
    /// The slot that the event changes.
    pub slot: &'a mut SlotState,
    /// The shard's interner, which keeps one copy of each user id.
    pub interner: &'a mut Interner,
    /// The node's hash of keys.
    pub hasher: KeyHasher,
}

impl Applier<'_> {
    /// Finds the chat that an event names. A missing chat is damage.
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

    /// Retires the dissolved chat `id`, as [`SlotState::retire`] does. Fails if the slot has no
    /// room for one more retired id.
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

    /// Changes a user, who is new if the slot has none of this id, and counts the user again.
    pub(super) fn change_user(&mut self, id: &UserId, change: impl FnOnce(&mut User, KeyHasher)) {
        let hasher = self.hasher;
        let user = self.slot.user_or_new(id, hasher.hash(id.as_str()), hasher);
        let before = user.counts();
        change(user, hasher);
        let after = user.counts();
        self.recount_user(before, after);
    }

    /// Replaces a user's counts in the sums of the slot: `before` leaves the sums, `after` enters
    /// them.
    pub(super) fn recount_user(&mut self, before: UserCounts, after: UserCounts) {
        self.slot.counts.add_user(after);
        self.slot.counts.take_user(before);
    }

    /// Changes an existing row, and gives the row the next version of its user.
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

    /// Like [`Self::change_row`], for a caller who has not hashed the ids.
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

/// The error for an event that does not fit its slot.
pub(super) fn misfit(what: &str, id: &dyn Display) -> BadRecord {
    BadRecord(format!("{what} {id} does not fit the state"))
}
