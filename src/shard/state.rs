//! The contents of a slot: chats with their members, users with their rows.
//!
//! Plain data and lookups; only an event that is applied changes it.
//!
//! Invariants:
//! - A chat's outbox holds its events whose deliveries are not all confirmed, oldest first.
//! - A row's `event` is the number of the last chat event that it applied.
//! - A dissolved chat has no members. When its last event is delivered, only its id stays, in
//!   [`Retired`], forever.
//! - A user without rows stays for a while, so that `sync` can report what they lost. A user who is
//!   forgotten and joins again is a new user, see [`UserHead::born`].
//! - Each change of a user's rows except `touch` takes the user's next version, so versions say
//!   what changed since.

use std::collections::VecDeque;
use std::mem::offset_of;
use std::sync::Arc;

use bytes::Bytes;
use compact_str::CompactString;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use thin_vec::ThinVec;

use super::counts::{Counts, UserCounts};
use super::decode::counter;
use super::deliveries::{Deliveries, OutboxEntry};
use super::idempotency;
use super::member::Member;
use super::retired::Retired;
use super::roster::{Entry, Roster};
use super::row::Row;
use super::table::{OutOfLine, shrink, table_hash};
use crate::command::detail::{ChatItem, ChatItemRef};
use crate::limits::TOMBSTONES_MAX;
use crate::types::{
    ChatId, ChatStatus, ChatType, Flag, InternedUserId, KeyHasher, Sequence, TimeMs, UserId, wide,
};

/// A chat's own facts, without its members. The order of the fields is that of snapshots. The facts
/// that `detail` and `conversations` read come first, within one cache line, see [`Chat`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[repr(C)]
pub struct ChatHead {
    /// The chat's id, which decides its slot.
    pub id: ChatId,
    /// The user who created the chat; [`UserId::erased`] if they were erased.
    pub creator_id: InternedUserId,
    /// Single, group or official.
    pub chat_type: ChatType,
    /// Whether the chat accepts messages: normal or disabled.
    pub status: ChatStatus,
    /// Whether the chat is encrypted.
    pub is_enc: Flag,
    /// Whether the chat has ended for good.
    pub dissolved: bool,
    /// Sequence of the newest message.
    pub last_sequence: Sequence,
    /// Time of the newest message.
    pub last_time: TimeMs,
    /// Time of the chat's creation.
    pub created_at: TimeMs,
    /// Counts changes of the head and of the set of members.
    #[serde(deserialize_with = "counter")]
    pub version: u64,
    /// Number of the last event that had deliveries.
    #[serde(deserialize_with = "counter")]
    pub event: u64,
    /// Digest of the `create` request; 0 if the chat was imported without one.
    pub request_digest: u64,
    /// Counts how often deleted rows were brought back; see
    /// [`MemberFacts::deleted_in`](super::member::MemberFacts::deleted_in).
    #[serde(deserialize_with = "counter")]
    pub epoch: u64,
    /// Join order of the next member.
    #[serde(deserialize_with = "counter")]
    pub next_order: u64,
}

impl ChatHead {
    /// The head of a dissolved chat that is known only by its id and type. It no longer names its
    /// creator.
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

    /// The chat as `detail` replies it to a reader with this floor, borrowed.
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

    /// The chat as `detail` replies it to a reader with this floor.
    pub fn item(&self, last_read_sequence: Sequence) -> ChatItem {
        self.item_ref(last_read_sequence).with_ids(self.id.clone(), self.creator_id.to_user_id())
    }
}

/// A chat: its head, its members, and its open deliveries.
///
/// When many chats are looked up, each cache line is a wait for memory. So fields that are read
/// together are in one line. The first line holds the facts that lists and details reply, the third
/// one leads to the members.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Chat {
    /// The chat's own facts.
    pub head: ChatHead,
    /// Users who deleted the chat since its last message; None if there are none. May name users
    /// who left since.
    pub deleters: Option<Arc<Vec<UserId>>>,
    /// Events with deliveries under way, oldest first.
    pub outbox: ThinVec<Arc<OutboxEntry>>,
    /// Sender of the newest message; follows from the members.
    pub newest_by: NewestBy,
    /// Members, in join order.
    pub members: Roster<Member>,
}

const LINE_BYTES: usize = 64;
const _: () = assert!(offset_of!(Chat, head) + offset_of!(ChatHead, version) == LINE_BYTES);
const _: () = assert!(offset_of!(Chat, members) == 2 * LINE_BYTES);
const _: () = assert!(size_of::<Roster<Member>>() == LINE_BYTES);
const _: () = assert!(size_of::<Chat>() == 3 * LINE_BYTES);

/// The member who sent the newest message of a chat, as far as it is known. It spares a lookup of
/// the member to know whether they have anything unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewestBy {
    /// No member sent it.
    Nobody,
    /// At most the members whose hash ends in these 32 bits.
    One(u32),
    /// Perhaps several members, as the requests named them.
    Anybody,
}

/// The lower 32 bits of a hash.
fn hash_end(hash: u64) -> u32 {
    u32::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

impl Chat {
    /// A chat without members, deleters and deliveries.
    pub fn new(head: ChatHead) -> Self {
        Self {
            head,
            members: Roster::default(),
            deleters: None,
            outbox: ThinVec::new(),
            newest_by: NewestBy::Nobody,
        }
    }

    /// Notes a member's own newest sequence. Must be called whenever it or the chat's last sequence
    /// changes.
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

    /// Whether this member may have sent the newest message.
    pub fn newest_may_be_by(&self, hash: u64) -> bool {
        match self.newest_by {
            NewestBy::Nobody => false,
            NewestBy::One(other) => other == hash_end(hash),
            NewestBy::Anybody => true,
        }
    }

    /// Users who deleted the chat since its last message.
    pub fn deleters(&self) -> &[UserId] {
        self.deleters.as_ref().map_or(&[], |users| users)
    }

    /// Adds users to the deleters.
    pub fn add_deleters(&mut self, users: impl IntoIterator<Item = UserId>) {
        let mut users = users.into_iter().peekable();
        if users.peek().is_some() {
            Arc::make_mut(self.deleters.get_or_insert_default()).extend(users);
        }
    }

    /// Removes a user from the deleters.
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

    /// Puts the chat's next event into its outbox. The caller counts it in the slot.
    pub fn post(&mut self, deliveries: Deliveries) {
        self.head.event += 1;
        self.outbox.push(Arc::new(OutboxEntry { event: self.head.event, deliveries }));
    }

    /// Whether this member deleted the chat and no message has arrived since.
    pub fn is_deleted_by(&self, member: &Member) -> bool {
        member.facts().deleted_in == self.head.epoch + 1
    }
}

/// A user's own facts, without their rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserHead {
    /// The user's id, which decides the slot.
    pub id: UserId,
    /// Counts the changes of the user's rows.
    #[serde(deserialize_with = "counter")]
    pub version: u64,
    /// Join order of the next row.
    #[serde(deserialize_with = "counter")]
    pub next_order: u64,
    /// Whether all changes so far came by import. Only then a version that an import names is taken
    /// as it is.
    #[serde(default)]
    pub imported: bool,
    /// The slot's sequence when the user was created. A user who was erased and joins again is a
    /// new user, and versions that clients kept from before do not count.
    #[serde(default)]
    pub born: u64,
    /// Whether the user is in the shard's queue of users with something to forget.
    #[serde(skip)]
    pub fades: bool,
}

impl UserHead {
    /// Takes the next version, for a change that does not come by import.
    pub fn next_version(&mut self) -> u64 {
        self.imported = false;
        self.version += 1;
        self.version
    }

    /// The version of an imported change. A version that the import names counts only as long as
    /// all changes of the user were imported. Otherwise a client that follows the user's changes
    /// would not see an older one.
    pub fn import_version(&mut self, named: Option<u64>) -> u64 {
        match named {
            Some(version) if self.imported => {
                self.version = self.version.max(version);
                version
            }
            None if self.imported => {
                self.version += 1;
                self.version
            }
            _ => self.next_version(),
        }
    }
}

/// Removals of a user: the chats that they are no longer a member of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gone {
    /// Each chat with the version of its removal, oldest first.
    pub chats: VecDeque<(ChatId, u64)>,
    /// Removals up to this version may be forgotten.
    pub forgotten_to: u64,
}

/// A user with their rows. The first cache line leads to the rows.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct User {
    /// Rows, in join order.
    pub rows: Roster<Row>,
    /// The user's own facts.
    pub head: UserHead,
    /// Removals; None if there was never one.
    pub gone: Option<Arc<Gone>>,
}

impl User {
    /// A user without rows; `born` is the sequence of the slot.
    pub fn new(id: UserId, born: u64) -> Self {
        let head = UserHead { id, version: 0, next_order: 1, imported: true, born, fades: false };
        Self { head, rows: Roster::default(), gone: None }
    }

    /// Remembers the removal of a chat with this version. Forgets the oldest removals beyond
    /// [`TOMBSTONES_MAX`].
    pub fn bury(&mut self, chat_id: ChatId, version: u64) {
        let gone = Arc::make_mut(self.gone.get_or_insert_default());
        let after = gone.chats.partition_point(|(_, other)| *other <= version);
        gone.chats.insert(after, (chat_id, version));
        if gone.chats.len() > TOMBSTONES_MAX
            && let Some((_, version)) = gone.chats.pop_front()
        {
            // An import may bring older removals later.
            gone.forgotten_to = gone.forgotten_to.max(version);
        }
    }

    /// The user's numbers, as the slot counts them.
    pub fn counts(&self) -> UserCounts {
        let (rows, gone) = (wide(self.rows.len()), self.gone_count());
        // A user who was just created does not count yet.
        let is_new = rows == 0 && self.gone.is_none() && self.head.version == 0;
        UserCounts { rows, gone, idle: u64::from(rows == 0 && !is_new) }
    }

    /// Number of removals that are remembered.
    pub fn gone_count(&self) -> u64 {
        self.gone.as_ref().map_or(0, |gone| wide(gone.chats.len()))
    }

    /// Whether the user has no rows, or removals to forget.
    pub fn has_to_forget(&self) -> bool {
        self.rows.is_empty() || self.gone_count() > 0
    }

    /// The version up to which the user forgets at their turn; None if there is nothing to forget.
    pub fn forgets_to(&self) -> Option<u64> {
        if self.rows.is_empty() {
            return Some(self.head.version);
        }
        let gone = &self.gone.as_ref()?.chats;
        let last = gone.len().div_ceil(2).checked_sub(1)?;
        gone.get(last).map(|(_, version)| *version)
    }

    /// Forgets removals up to a version, and notes that version.
    pub fn forget_to(&mut self, version: u64) {
        let Some(gone) = self.gone.as_mut().map(Arc::make_mut) else { return };
        let forgotten = gone.chats.partition_point(|(_, removed)| *removed <= version);
        gone.chats.drain(..forgotten);
        gone.chats.shrink_to_fit();
        gone.forgotten_to = gone.forgotten_to.max(version);
    }

    /// Forgets the removal of a chat that the user has joined again.
    pub fn unbury(&mut self, chat_id: &ChatId) {
        if let Some(gone) = &mut self.gone
            && let Some(at) = gone.chats.iter().position(|(id, _)| id == chat_id)
        {
            Arc::make_mut(gone).chats.remove(at);
        }
    }
}

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
