//! What a slot holds: chats with their members, users with their rows.
//!
//! Plain data and lookups; who may change it and how is in [`super::apply`].
//!
//! Invariants:
//! - A chat's outbox holds its events, oldest first, whose deliveries are not all confirmed.
//! - A row's `event` is the number of the last chat event that was applied to it.
//! - A dissolved chat has no members. When its last event is delivered, only its id stays, in [`Retired`], for ever.
//! - A user without rows stays for a while, so that `sync` tells what they lost. Who is forgotten and joins again is
//!   another user, see [`UserHead::born`].
//! - Each change of a user's rows but `touch` takes the user's next version, so that versions tell what changed since.

use std::collections::VecDeque;
use std::mem::offset_of;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;
use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, Serialize};
use thin_vec::ThinVec;

use super::counts::{Counts, UserCounts};
use super::deliveries::Deliveries;
use super::idempotency;
use super::member::Member;
use super::retired::Retired;
use super::roster::{Entry, Roster};
use super::row::{Row, RowImport};
use crate::command::membership::{ChatItem, ChatItemRef};
use crate::limits::{COUNTER_MAX, TOMBSTONES_MAX};
use crate::types::{
    ChatId, ChatStatus, ChatType, Flag, InternedUserId, KeyHasher, Sequence, TimeMs, UserId, wide,
};

/// Reads a number that is counted up, or none, from the disk.
pub(super) fn counter<'de, D, N>(deserializer: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: Deserialize<'de> + Into<Option<u64>> + Copy,
{
    let number = N::deserialize(deserializer)?;
    match number.into() {
        Some(value) if value > COUNTER_MAX => {
            Err(serde::de::Error::custom(format!("nothing is counted up to {value}")))
        }
        _ => Ok(number),
    }
}

/// A chat's own facts, without its members. Its order is that of images, and what `detail` and
/// `conversations` look at comes first: a cache line, see [`Chat`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[repr(C)]
pub struct ChatHead {
    /// The chat's id.
    pub id: ChatId,
    /// Who made it.
    pub creator_id: InternedUserId,
    /// Single, group or official.
    pub chat_type: ChatType,
    /// Normal or disabled.
    pub status: ChatStatus,
    /// Encrypted.
    pub is_enc: Flag,
    /// Gone for good.
    pub dissolved: bool,
    /// Newest sequence.
    pub last_sequence: Sequence,
    /// Its time.
    pub last_time: TimeMs,
    /// When the chat was made.
    pub created_at: TimeMs,
    /// Counts changes of the head and of the member set.
    #[serde(deserialize_with = "counter")]
    pub version: u64,
    /// Number of the last event that had deliveries.
    #[serde(deserialize_with = "counter")]
    pub event: u64,
    /// Digest of the `create` request; 0 if it came by import without one.
    pub request_digest: u64,
    /// Counts the times that deleted rows were brought back; see [`MemberFacts::deleted_in`](super::member::MemberFacts::deleted_in).
    #[serde(deserialize_with = "counter")]
    pub epoch: u64,
    /// Order of the next member.
    #[serde(deserialize_with = "counter")]
    pub next_order: u64,
}

impl ChatHead {
    /// A dissolved chat of which only this is known. Whoever made it is not named any more.
    pub fn retired(id: ChatId, chat_type: ChatType) -> Self {
        Self {
            id,
            creator_id: InternedUserId::from(&UserId::erased()),
            chat_type,
            status: ChatStatus::Normal,
            is_enc: Flag::NO,
            dissolved: true,
            last_sequence: Sequence::ZERO,
            last_time: TimeMs::ZERO,
            created_at: TimeMs::ZERO,
            version: 1,
            event: 0,
            request_digest: 0,
            epoch: 0,
            next_order: 1,
        }
    }

    /// The chat as `detail` tells it to a reader with this floor, where it stands.
    pub fn item_ref(&self, last_read_sequence: Sequence) -> ChatItemRef<'_> {
        ChatItemRef {
            id: &self.id,
            creator_id: self.creator_id.as_str(),
            chat_type: self.chat_type,
            status: self.status,
            is_enc: self.is_enc,
            last_read_sequence,
            last_sequence: self.last_sequence,
            last_time: self.last_time,
            created_at: self.created_at,
        }
    }

    /// The chat as `detail` tells it to a reader with this floor.
    pub fn item(&self, last_read_sequence: Sequence) -> ChatItem {
        self.item_ref(last_read_sequence).with_ids(self.id.clone(), self.creator_id.to_user_id())
    }
}

/// What a chat event does to one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// The user became a member.
    #[serde(rename = "j")]
    Join {
        /// First sequence that counts.
        join_seq: Sequence,
    },
    /// The user is no member any more.
    #[serde(rename = "r")]
    Remove,
    /// The user deleted the chat.
    #[serde(rename = "d")]
    Delete {
        /// Watermark.
        to: Sequence,
        /// Something newer is there already: the row does not leave the list.
        back: bool,
    },
    /// A message brings the deleted row back.
    #[serde(rename = "b")]
    Return,
    /// The row was imported.
    #[serde(rename = "i")]
    Import(Box<RowImport>),
    /// The user is being erased: the row goes. Until the user is forgotten, which a crash may put off,
    /// `sync` tells of it as of any removal.
    #[serde(rename = "x")]
    Erase,
}

/// A chat event whose deliveries are not all confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// The event's number in its chat.
    #[serde(deserialize_with = "counter")]
    pub event: u64,
    /// Who must hear of it, and of what.
    pub deliveries: Deliveries,
}

/// A chat.
///
/// A lookup among many waits for each cache line of it, so what is looked at together lies together: the
/// facts that lists and details tell in the first line, the way to the members in the third.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Chat {
    /// Its own facts.
    pub head: ChatHead,
    /// Who deleted the chat since its last message (may hold users that left since); none if there is nobody.
    pub deleters: Option<Arc<Vec<UserId>>>,
    /// Events with deliveries under way, oldest first.
    pub outbox: ThinVec<Arc<OutboxEntry>>,
    /// Whose own message is the newest; follows from the members.
    pub newest_by: NewestBy,
    /// Its members, in join order.
    pub members: Roster<Member>,
}

/// A table with room for so many times its entries is made smaller.
const SHRINK_FROM: usize = 8;

const LINE_BYTES: usize = 64;
const _: () = assert!(offset_of!(Chat, head) + offset_of!(ChatHead, version) == LINE_BYTES);
const _: () = assert!(offset_of!(Chat, members) == 2 * LINE_BYTES);
const _: () = assert!(size_of::<Roster<Member>>() == LINE_BYTES);
const _: () = assert!(size_of::<Chat>() == 3 * LINE_BYTES);

/// Whose own message is the newest of a chat. It spares looking for a member to know whether
/// something is unread to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewestBy {
    /// No member's.
    Nobody,
    /// At most that of the members whose hash ends in this.
    One(u32),
    /// Maybe that of several, as the senders named.
    Anybody,
}

/// The lower half of a hash.
fn hash_end(hash: u64) -> u32 {
    u32::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

impl Chat {
    /// A chat without members.
    pub fn new(head: ChatHead) -> Self {
        Self {
            head,
            members: Roster::default(),
            deleters: None,
            outbox: ThinVec::new(),
            newest_by: NewestBy::Nobody,
        }
    }

    /// Notes the position of a member's own newest message, whenever it or the chat's newest changes.
    pub fn note_sent(&mut self, hash: u64, sent_seq: Sequence) {
        if sent_seq < self.head.last_sequence {
            return;
        }
        let sender = hash_end(hash);
        self.newest_by = match self.newest_by {
            NewestBy::Nobody => NewestBy::One(sender),
            NewestBy::One(other) if other == sender => NewestBy::One(sender),
            _ => NewestBy::Anybody,
        };
    }

    /// Whether the newest message may be this member's own.
    pub fn newest_may_be_by(&self, hash: u64) -> bool {
        match self.newest_by {
            NewestBy::Nobody => false,
            NewestBy::One(other) => other == hash_end(hash),
            NewestBy::Anybody => true,
        }
    }

    /// Who deleted the chat since its last message.
    pub fn deleters(&self) -> &[UserId] {
        self.deleters.as_ref().map_or(&[], |users| users)
    }

    /// Adds those who deleted it.
    pub fn add_deleters(&mut self, users: impl IntoIterator<Item = UserId>) {
        let mut users = users.into_iter().peekable();
        if users.peek().is_some() {
            Arc::make_mut(self.deleters.get_or_insert_default()).extend(users);
        }
    }

    /// Takes a user out of those who deleted it.
    pub fn forget_deleter(&mut self, user_id: &UserId) {
        if self.deleters().contains(user_id)
            && let Some(deleters) = &mut self.deleters
        {
            let left = Arc::make_mut(deleters);
            left.retain(|other| other != user_id);
            if left.is_empty() {
                self.deleters = None;
            }
        }
    }

    /// Whether this member deleted the chat and no message came since.
    pub fn is_deleted_by(&self, member: &Member) -> bool {
        member.facts().deleted_in == self.head.epoch + 1
    }
}

/// A user's own facts, without their rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserHead {
    /// The user's id.
    pub id: UserId,
    /// Counts the changes of their rows.
    #[serde(deserialize_with = "counter")]
    pub version: u64,
    /// Order of the next row.
    #[serde(deserialize_with = "counter")]
    pub next_order: u64,
    /// All their changes came by import: versions that an import names may still be taken as they are.
    #[serde(default)]
    pub imported: bool,
    /// Sequence of the slot when it was made: who is erased and joins again is another user, whose
    /// versions are not those that were told before.
    #[serde(default)]
    pub born: u64,
    /// Stands in the shard's queue of those who have something to forget.
    #[serde(skip)]
    pub fades: bool,
}

impl UserHead {
    /// Takes the next version, for a change that is not imported.
    pub fn next_version(&mut self) -> u64 {
        self.imported = false;
        self.version += 1;
        self.version
    }
}

/// Chats that a user is no member of any more.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gone {
    /// Each chat with the version of its removal, oldest first.
    pub chats: VecDeque<(ChatId, u64)>,
    /// Removals up to this version may be forgotten.
    pub forgotten_to: u64,
}

/// A user; the way to their rows is in the first cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct User {
    /// Their rows, in join order.
    pub rows: Roster<Row>,
    /// Their own facts.
    pub head: UserHead,
    /// What they had; none if there was never anything.
    pub gone: Option<Arc<Gone>>,
}

impl User {
    /// A user without rows, made at this sequence of their slot.
    pub fn new(id: UserId, born: u64) -> Self {
        let head = UserHead { id, version: 0, next_order: 1, imported: true, born, fades: false };
        Self { head, rows: Roster::default(), gone: None }
    }

    /// Notes that a chat was removed with this version; the oldest removals beyond the limit are
    /// forgotten.
    pub fn bury(&mut self, chat_id: ChatId, version: u64) {
        let gone = Arc::make_mut(self.gone.get_or_insert_default());
        let after = gone.chats.partition_point(|(_, other)| *other <= version);
        gone.chats.insert(after, (chat_id, version));
        if gone.chats.len() > TOMBSTONES_MAX
            && let Some((_, version)) = gone.chats.pop_front()
        {
            // An import may bring older ones later.
            gone.forgotten_to = gone.forgotten_to.max(version);
        }
    }

    /// Removals that are remembered.
    pub fn gone_count(&self) -> u64 {
        self.gone.as_ref().map_or(0, |gone| wide(gone.chats.len()))
    }

    /// Whether something of what they had is remembered.
    pub fn has_to_forget(&self) -> bool {
        self.rows.is_empty() || self.gone_count() > 0
    }

    /// Up to which version they forget when it is their turn; none if they have nothing to forget.
    pub fn forgets_to(&self) -> Option<u64> {
        if self.rows.is_empty() {
            return Some(self.head.version);
        }
        let gone = &self.gone.as_ref()?.chats;
        let last = gone.len().div_ceil(2).checked_sub(1)?;
        gone.get(last).map(|(_, version)| *version)
    }

    /// Forgets removals up to a version.
    pub fn forget_to(&mut self, version: u64) {
        let Some(gone) = self.gone.as_mut().map(Arc::make_mut) else { return };
        let forgotten = gone.chats.partition_point(|(_, removed)| *removed <= version);
        gone.chats.drain(..forgotten);
        gone.chats.shrink_to_fit();
        gone.forgotten_to = gone.forgotten_to.max(version);
    }

    /// Forgets the removal of a chat that is there again.
    pub fn unbury(&mut self, chat_id: &ChatId) {
        if let Some(gone) = &mut self.gone
            && let Some(at) = gone.chats.iter().position(|(id, _)| id == chat_id)
        {
            Arc::make_mut(gone).chats.remove(at);
        }
    }
}

/// What a request with an idempotency key was answered, for when it comes again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FirstAnswer {
    /// Whom the key belongs to, and the key; see [`super::idempotency`].
    pub scope: CompactString,
    /// Place in the slot's order of answers.
    #[serde(deserialize_with = "counter")]
    pub order: u64,
    /// Digest of the request.
    pub request: u64,
    /// When it was answered, in the time that keys age by: see [`super::core::Moment`].
    pub at: TimeMs,
    /// The reply, encoded; or that the key was taken for a request whose parts follow.
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
    /// Answers to requests with idempotency keys, oldest first. The oldest are let go when their
    /// time is over or there are too many on the node; no record tells of that.
    pub answers: Roster<FirstAnswer>,
    /// What is in it, counted as it changes.
    pub counts: Counts,
    /// The ids of the chats that are dissolved and have nothing to deliver.
    pub retired: Retired,
    chats: HashTable<OutOfLine<Chat>>,
    users: HashTable<OutOfLine<User>>,
}

/// An entry of a slot's table. What it holds stands apart, so that the table is small when it grows.
#[derive(Debug)]
pub struct OutOfLine<T>(Box<T>);

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

/// Gives back what a table has for many more entries than are left.
pub(super) fn shrink<T>(table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    if table.capacity() > SHRINK_FROM * table.len().max(1) {
        table.shrink_to(2 * table.len(), hash);
    }
}

/// All keys of a slot share the bits that chose the slot; the tables need others.
pub(super) fn table_hash(hash: u64) -> u64 {
    (hash >> 12).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl SlotState {
    /// The chat with this id; `hash` is the id's.
    pub fn chat(&self, id: impl AsRef<[u8]>, hash: u64) -> Option<&Chat> {
        let is_it = |chat: &OutOfLine<Chat>| chat.head.id.as_str().as_bytes() == id.as_ref();
        self.chats.find(table_hash(hash), is_it).map(|chat| &**chat)
    }

    /// A chat that may have this id, without looking at it nor even at where it stands: a first step of
    /// looking many up, in which no lookup waits for the memory of another. Whoever uses it compares the id.
    pub fn chat_candidate(&self, hash: u64) -> Option<&OutOfLine<Chat>> {
        self.chats.find(table_hash(hash), |_| true)
    }

    /// A user who may have this id, in the same way.
    pub fn user_candidate(&self, hash: u64) -> Option<&OutOfLine<User>> {
        self.users.find(table_hash(hash), |_| true)
    }

    /// The same, to be changed.
    pub fn chat_mut(&mut self, id: &str, hash: u64) -> Option<&mut Chat> {
        self.chats
            .find_mut(table_hash(hash), |chat| chat.head.id.as_str() == id)
            .map(|chat| &mut **chat)
    }

    /// Adds a chat whose id is new.
    pub fn insert_chat(&mut self, chat: Chat, hasher: KeyHasher) {
        let hash = |chat: &Chat| table_hash(hasher.hash(chat.head.id.as_str()));
        self.chats.insert_unique(hash(&chat), OutOfLine(Box::new(chat)), |chat| hash(chat));
    }

    /// Keeps only the id of a dissolved chat that has nothing to deliver; any other chat stays as it is. Whether
    /// there was room for the id.
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

    /// The user with this id; `hash` is the id's.
    pub fn user(&self, id: &str, hash: u64) -> Option<&User> {
        self.users.find(table_hash(hash), |user| user.head.id.as_str() == id).map(|user| &**user)
    }

    /// The same, to be changed.
    pub fn user_mut(&mut self, id: &str, hash: u64) -> Option<&mut User> {
        self.users
            .find_mut(table_hash(hash), |user| user.head.id.as_str() == id)
            .map(|user| &mut **user)
    }

    /// The user with this id, made if it is new.
    pub fn user_or_new(&mut self, id: &UserId, key_hash: u64, hasher: KeyHasher) -> &mut User {
        let hash = |user: &User| table_hash(hasher.hash(user.head.id.as_str()));
        let born = self.seq;
        self.users
            .entry(table_hash(key_hash), |user| user.head.id == *id, |user| hash(user))
            .or_insert_with(|| OutOfLine(Box::new(User::new(id.clone(), born))))
            .into_mut()
    }

    /// Forgets a user.
    pub fn remove_user(&mut self, id: &UserId, hash: u64, hasher: KeyHasher) -> Option<User> {
        let found = self.users.find_entry(table_hash(hash), |user| user.head.id == *id).ok()?;
        let user = found.remove().0.0;
        shrink(&mut self.users, |user| table_hash(hasher.hash(user.head.id.as_str())));
        Some(*user)
    }

    /// What is kept under the keys of the user with this hash.
    pub fn answers_of(&self, hash: u64) -> impl Iterator<Item = &FirstAnswer> {
        let prefix = idempotency::users_prefix(hash);
        self.answers.iter().filter(move |answer| answer.scope.starts_with(prefix.as_str()))
    }

    /// What is in it, counted anew.
    pub fn recount(&self) -> Counts {
        let mut counts = Counts { dissolved: wide(self.retired.len()), ..Counts::default() };
        for chat in self.chats() {
            counts.chats += u64::from(!chat.head.dissolved);
            counts.dissolved += u64::from(chat.head.dissolved);
            counts.outbox += wide(chat.outbox.len());
        }
        for user in self.users() {
            counts.add_user(UserCounts::of(user));
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
