//! The contents of a slot: chats with their members, users with their rows, and first answers.
//!
//! Plain data and lookups; only an event that is applied changes it.

mod chat;
mod user;

use bytes::Bytes;
pub use chat::{Chat, ChatHead, NewestBy};
use compact_str::CompactString;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
pub use user::{Gone, User, UserHead};

use super::counts::Counts;
use super::decode::counter;
use super::idempotency;
use super::retired::Retired;
use super::roster::{Entry, Roster};
use super::table::{OutOfLine, shrink, table_hash};
use crate::types::{KeyHasher, TimeMs, UserId, wide};

/// The first answer to a request with an idempotency key, kept for repeats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FirstAnswer {
    /// The owner of the key and the key; see [`super::idempotency`].
    pub scope: CompactString,
    /// Position among the answers of the slot, oldest first.
    #[serde(deserialize_with = "counter")]
    pub order: u64,
    /// Digest of the request, which a repeat must match.
    pub request: u64,
    /// The time of the answer, by the clock that keys age by: see [`super::core::Moment`].
    pub at: TimeMs,
    /// The encoded reply, or a claim: the key was taken for a request whose parts follow.
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

/// A slot: one small table of chats and one of users.
#[derive(Debug, Default)]
pub struct SlotState {
    /// Number of records applied.
    pub seq: u64,
    /// Answers to requests with idempotency keys, oldest first. The oldest are evicted when their
    /// time is over or the node keeps too many; this leaves no record.
    pub answers: Roster<FirstAnswer>,
    /// Counts of the contents, updated with each change.
    pub counts: Counts,
    /// Ids of dissolved chats that have nothing left to deliver.
    pub retired: Retired,
    chats: HashTable<OutOfLine<Chat>>,
    users: HashTable<OutOfLine<User>>,
}

impl SlotState {
    /// The chat with this id; `hash` is that of the id.
    pub fn chat(&self, id: impl AsRef<[u8]>, hash: u64) -> Option<&Chat> {
        let is_it = |chat: &OutOfLine<Chat>| chat.head.id.as_str().as_bytes() == id.as_ref();
        self.chats.find(table_hash(hash), is_it).map(|chat| &**chat)
    }

    /// An entry that may be the chat, without reading the chat itself: a first step to look up many
    /// chats, in which no lookup waits for another's memory. The caller must compare the id.
    pub fn chat_candidate(&self, hash: u64) -> Option<&OutOfLine<Chat>> {
        self.chats.find(table_hash(hash), |_| true)
    }

    /// An entry that may be the user, like [`Self::chat_candidate`].
    pub fn user_candidate(&self, hash: u64) -> Option<&OutOfLine<User>> {
        self.users.find(table_hash(hash), |_| true)
    }

    /// Like [`Self::chat`], to be changed.
    pub fn chat_mut(&mut self, id: impl AsRef<[u8]>, hash: u64) -> Option<&mut Chat> {
        let is_it = |chat: &OutOfLine<Chat>| chat.head.id.as_str().as_bytes() == id.as_ref();
        self.chats.find_mut(table_hash(hash), is_it).map(|chat| &mut **chat)
    }

    /// Adds a chat; its id must be new.
    pub fn insert_chat(&mut self, chat: Chat, hasher: KeyHasher) {
        let hash = |chat: &Chat| table_hash(hasher.hash(chat.head.id.as_str()));
        self.chats.insert_unique(hash(&chat), OutOfLine::new(chat), |chat| hash(chat));
    }

    /// Keeps only the id of a dissolved chat that has nothing left to deliver; leaves any other
    /// chat as it is. Returns false if there is no room for the id.
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

    /// All chats except the retired ones, in no order.
    pub fn chats(&self) -> impl Iterator<Item = &Chat> {
        self.chats.iter().map(|chat| &**chat)
    }

    /// The user with this id; `hash` is that of the id.
    pub fn user(&self, id: impl AsRef<[u8]>, hash: u64) -> Option<&User> {
        let is_it = |user: &OutOfLine<User>| user.head.id.as_str().as_bytes() == id.as_ref();
        self.users.find(table_hash(hash), is_it).map(|user| &**user)
    }

    /// Like [`Self::user`], to be changed.
    pub fn user_mut(&mut self, id: impl AsRef<[u8]>, hash: u64) -> Option<&mut User> {
        let is_it = |user: &OutOfLine<User>| user.head.id.as_str().as_bytes() == id.as_ref();
        self.users.find_mut(table_hash(hash), is_it).map(|user| &mut **user)
    }

    /// The user with this id; creates one if there is none.
    pub fn user_or_new(&mut self, id: &UserId, key_hash: u64, hasher: KeyHasher) -> &mut User {
        let hash = |user: &User| table_hash(hasher.hash(user.head.id.as_str()));
        let born = self.seq;
        self.users
            .entry(table_hash(key_hash), |user| user.head.id == *id, |user| hash(user))
            .or_insert_with(|| OutOfLine::new(User::new(id.clone(), born)))
            .into_mut()
    }

    /// Removes a user and returns them; None if there is no such user.
    pub fn remove_user(&mut self, id: &UserId, hash: u64, hasher: KeyHasher) -> Option<User> {
        let found = self.users.find_entry(table_hash(hash), |user| user.head.id == *id).ok()?;
        let user = found.remove().0.into_inner();
        shrink(&mut self.users, |user| table_hash(hasher.hash(user.head.id.as_str())));
        Some(user)
    }

    /// The answers under the keys of the user with this hash.
    pub fn answers_of(&self, hash: u64) -> impl Iterator<Item = &FirstAnswer> {
        let prefix = idempotency::users_prefix(hash);
        self.answers.iter().filter(move |answer| answer.scope.starts_with(prefix.as_str()))
    }

    /// Counts the contents anew, to compare them with [`Self::counts`].
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

    /// All users, in no order, to be changed.
    pub fn users_mut(&mut self) -> impl Iterator<Item = &mut User> {
        self.users.iter_mut().map(|user| &mut **user)
    }

    /// All users, in no order.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter().map(|user| &**user)
    }
}
