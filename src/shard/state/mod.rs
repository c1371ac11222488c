//! The contents of a slot: chats with members, users with rows, and first answers.
//!
//! The types here are plain data with lookups. Only applying an event changes them.

mod chat;
mod user;

use bytes::Bytes;
pub use chat::{Chat, ChatHead, NewestBy};
use compact_str::CompactString;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
pub use user::{Removals, User, UserHead};

use super::counts::Counts;
use super::decode::counter;
use super::idempotency;
use super::retired::Retired;
use super::roster::{Entry, Roster};
use super::table::{OutOfLine, shrink, table_hash};
use crate::types::{KeyHasher, TimeMs, UserId, wide};

/// The answer to the first request with an idempotency key. A repeat of the request gets it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FirstAnswer {
    /// The idempotency key together with its owner; see [`super::idempotency`].
    pub scope: CompactString,
    /// Number of the answer in its slot. Older answers have smaller numbers.
    #[serde(deserialize_with = "counter")]
    pub order: u64,
    /// Digest of the first request. A request with this idempotency key and another digest is no
    /// repeat.
    pub request: u64,
    /// When the answer was given, in the time by which idempotency keys age:
    /// [`super::machine::Moment::keys`].
    pub at: TimeMs,
    /// The encoded reply. Or a reservation: the request has reserved the idempotency key, and
    /// its parts are still running.
    pub reply: Bytes,
}

impl Entry for FirstAnswer {
    fn key(&self) -> &str {
        &self.scope
    }
    fn order(&self) -> u64 {
        self.order
    }
    fn take(&mut self) -> Self {
        Self {
            scope: std::mem::take(&mut self.scope),
            reply: std::mem::take(&mut self.reply),
            ..*self
        }
    }
}

/// The contents of one slot, with one table of chats and one of users.
#[derive(Debug, Default)]
pub struct SlotState {
    /// Slot sequence of the newest record that was applied.
    pub seq: u64,
    /// First answers, oldest first. An answer is evicted when it is too old or the node keeps too
    /// many. Evictions leave no record.
    pub answers: Roster<FirstAnswer>,
    /// Sums over the contents. Each change updates them.
    pub counts: Counts,
    /// Ids of dissolved chats that have left nothing to deliver.
    pub retired: Retired,
    chats: HashTable<OutOfLine<Chat>>,
    users: HashTable<OutOfLine<User>>,
}

impl SlotState {
    /// Finds a chat by its id. `hash` is the hash of the id.
    pub fn chat(&self, id: impl AsRef<[u8]>, hash: u64) -> Option<&Chat> {
        let is_it = |chat: &OutOfLine<Chat>| chat.head.id.as_str().as_bytes() == id.as_ref();
        self.chats.find(table_hash(hash), is_it).map(|chat| &**chat)
    }

    /// Finds a table entry that is most likely the chat with this hash, without reading the chat.
    /// So lookups of many chats wait for memory together. The caller must compare the id.
    pub fn chat_candidate(&self, hash: u64) -> Option<&OutOfLine<Chat>> {
        self.chats.find(table_hash(hash), |_| true)
    }

    /// Finds a table entry that is most likely the user with this hash. Works like
    /// [`Self::chat_candidate`].
    pub fn user_candidate(&self, hash: u64) -> Option<&OutOfLine<User>> {
        self.users.find(table_hash(hash), |_| true)
    }

    /// Like [`Self::chat`], for a caller that changes the chat.
    pub fn chat_mut(&mut self, id: impl AsRef<[u8]>, hash: u64) -> Option<&mut Chat> {
        let is_it = |chat: &OutOfLine<Chat>| chat.head.id.as_str().as_bytes() == id.as_ref();
        self.chats.find_mut(table_hash(hash), is_it).map(|chat| &mut **chat)
    }

    /// Adds a chat. The slot must not have a chat with this id.
    pub fn insert_chat(&mut self, chat: Chat, hasher: KeyHasher) {
        let hash = |chat: &Chat| table_hash(hasher.hash(chat.head.id.as_str()));
        self.chats.insert_unique(hash(&chat), OutOfLine::new(chat), |chat| hash(chat));
    }

    /// Replaces a dissolved chat by its id and type, if it has nothing left to deliver. Leaves any
    /// other chat as it is. Returns false if [`Self::retired`] has no room for the id.
    #[must_use]
    pub fn retire(&mut self, id: &str, hash: u64, hasher: KeyHasher) -> bool {
        let is_it = |chat: &OutOfLine<Chat>| {
            chat.head.id.as_str() == id
                && chat.head.dissolved
                && chat.outbox.is_empty()
                && chat.members.is_empty()
        };
        let Ok(found) = self.chats.find_entry(table_hash(hash), is_it) else { return true };
        let chat_type = found.get().head.chat_type;
        if !self.retired.add(id, chat_type, hasher) {
            return false;
        }
        drop(found.remove());
        shrink(&mut self.chats, |chat| table_hash(hasher.hash(chat.head.id.as_str())));
        true
    }

    /// All chats but the retired ones, in no order.
    pub fn chats(&self) -> impl Iterator<Item = &Chat> {
        self.chats.iter().map(|chat| &**chat)
    }

    /// Finds a user by the id. `hash` is the hash of the id.
    pub fn user(&self, id: impl AsRef<[u8]>, hash: u64) -> Option<&User> {
        let is_it = |user: &OutOfLine<User>| user.head.id.as_str().as_bytes() == id.as_ref();
        self.users.find(table_hash(hash), is_it).map(|user| &**user)
    }

    /// Like [`Self::user`], for a caller that changes the user.
    pub fn user_mut(&mut self, id: impl AsRef<[u8]>, hash: u64) -> Option<&mut User> {
        let is_it = |user: &OutOfLine<User>| user.head.id.as_str().as_bytes() == id.as_ref();
        self.users.find_mut(table_hash(hash), is_it).map(|user| &mut **user)
    }

    /// Finds a user by the id, or adds a user without rows. `key_hash` is the hash of the id.
    pub fn user_or_new(&mut self, id: &UserId, key_hash: u64, hasher: KeyHasher) -> &mut User {
        let hash = |user: &User| table_hash(hasher.hash(user.head.id.as_str()));
        let born = self.seq;
        self.users
            .entry(table_hash(key_hash), |user| user.head.id == *id, |user| hash(user))
            .or_insert_with(|| OutOfLine::new(User::new(id.clone(), born)))
            .into_mut()
    }

    /// Removes a user and returns the user. `hash` is the hash of the id.
    pub fn remove_user(&mut self, id: &UserId, hash: u64, hasher: KeyHasher) -> Option<User> {
        let found = self.users.find_entry(table_hash(hash), |user| user.head.id == *id).ok()?;
        let user = found.remove().0.into_inner();
        shrink(&mut self.users, |user| table_hash(hasher.hash(user.head.id.as_str())));
        Some(user)
    }

    /// First answers whose idempotency keys belong to the user with this hash.
    pub fn answers_of(&self, hash: u64) -> impl Iterator<Item = &FirstAnswer> {
        let prefix = idempotency::users_prefix(hash);
        self.answers.iter().filter(move |answer| answer.scope.starts_with(prefix.as_str()))
    }

    /// Computes the counts from the contents. [`Self::counts`] must be equal to them.
    pub fn recount(&self) -> Counts {
        let mut counts = Counts { dissolved: wide(self.retired.len()), ..Counts::default() };
        for chat in self.chats() {
            counts.chats += u64::from(!chat.head.dissolved);
            counts.dissolved += u64::from(chat.head.dissolved);
            counts.outbox += wide(chat.outbox.len());
        }
        for user in self.users() {
            counts.add_user(user.counts());
        }
        counts
    }

    /// All users, in no order, for a caller that changes them.
    pub fn users_mut(&mut self) -> impl Iterator<Item = &mut User> {
        self.users.iter_mut().map(|user| &mut **user)
    }

    /// All users, in no order.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter().map(|user| &**user)
    }
}
