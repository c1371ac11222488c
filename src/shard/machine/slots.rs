//! The slots of a shard, with lookups by keys.
//!
//! Operations may only look things up here. What changes a slot is visible only to `Shard`.
//!
//! Invariants:
//! - This shard keeps its slot `s` at index `s / shards`, where `shards` is the number of shards.
//! - Each applied event raises the slot sequence by one.

use crate::command::floors::Floors;
use crate::command::{Error, ErrorCode};
use crate::limits::SLOTS;
use crate::shard::decode::BadRecord;
use crate::shard::events::Applier;
use crate::shard::interner::Interner;
use crate::shard::member::Member;
use crate::shard::row::Row;
use crate::shard::state::{Chat, SlotState, User};
use crate::types::{ChatId, Hashed, InternedUserId, KeyHasher, ShardCount, ShardId, Slot, UserId};

/// The slots of a shard.
pub struct Slots {
    pub(super) shard: ShardId,
    pub(super) shards: ShardCount,
    pub(super) hasher: KeyHasher,
    /// The slots of this shard, by index: slot `s` is at `s / shards`.
    pub(super) states: Vec<SlotState>,
    /// One copy of each user id that the shard's chats name.
    pub(super) interner: Interner,
}

/// Finds slots.
impl Slots {
    pub(super) fn new(shard: ShardId, shards: ShardCount, hasher: KeyHasher) -> Self {
        let own = Slot::all().filter(|slot| slot.shard(shards) == shard).count();
        let states = std::iter::repeat_with(SlotState::default).take(own).collect();
        Self { shard, shards, hasher, states, interner: Interner::new(hasher) }
    }

    /// The node's hash of keys.
    pub fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// The slots of this shard, in the order of their numbers.
    pub fn states(&self) -> &[SlotState] {
        &self.states
    }

    /// The number of the slot that this shard keeps at `index`. None if there is none.
    pub fn own_slot(&self, index: usize) -> Option<Slot> {
        let first = index.checked_mul(usize::from(self.shards.get()))?;
        Slot::new(u16::try_from(first.checked_add(self.shard.index())?).ok()?)
    }

    /// The index at which this shard keeps a slot. None if another shard owns the slot.
    fn own_index(&self, slot: Slot) -> Option<usize> {
        let is_own = slot.shard(self.shards) == self.shard;
        is_own.then(|| usize::from(slot.get() / self.shards.get()))
    }

    /// Like [`Self::own_index`], with an error instead of None.
    ///
    /// # Errors
    /// If another shard owns the slot.
    pub(super) fn index_of(&self, slot: Slot) -> Result<usize, BadRecord> {
        self.own_index(slot).ok_or_else(|| not_own(slot))
    }

    /// The contents of a slot of this shard.
    ///
    /// # Errors
    /// If another shard owns the slot.
    pub fn slot(&self, slot: Slot) -> Result<&SlotState, BadRecord> {
        self.states.get(self.index_of(slot)?).ok_or_else(|| not_own(slot))
    }

    pub(super) fn slot_mut(&mut self, slot: Slot) -> Result<&mut SlotState, BadRecord> {
        let index = self.index_of(slot)?;
        self.states.get_mut(index).ok_or_else(|| not_own(slot))
    }

    pub(super) fn state_and_interner(
        &mut self,
        slot: Slot,
    ) -> Result<(&mut SlotState, &mut Interner), BadRecord> {
        let index = self.index_of(slot)?;
        let state = self.states.get_mut(index).ok_or_else(|| not_own(slot))?;
        Ok((state, &mut self.interner))
    }

    /// The contents of the slot of a key with this hash. None if another shard owns the slot.
    pub fn own_state(&self, hash: u64) -> Option<&SlotState> {
        self.states.get(self.own_index(KeyHasher::slot_of_hash(hash))?)
    }

    pub fn slot_of_chat(&self, id: &ChatId) -> Slot {
        self.hasher.slot(id.as_str())
    }

    pub fn slot_of_user(&self, id: &UserId) -> Slot {
        self.hasher.slot(id.as_str())
    }

    pub fn hash_of(&self, key: impl AsRef<[u8]>) -> u64 {
        self.hasher.hash(key)
    }

    /// The shard that owns a user's rows.
    pub fn shard_of_user(&self, id: &UserId) -> ShardId {
        self.slot_of_user(id).shard(self.shards)
    }

    /// Whether `shard` is the shard of these slots.
    pub fn is_own(&self, shard: ShardId) -> bool {
        shard == self.shard
    }

    /// Finds the interned id that is most likely `id`, without reading its text. The caller must
    /// compare.
    pub fn interned_candidate(&self, id: &str) -> Option<&InternedUserId> {
        self.interner.candidate(id)
    }

    /// Raises the slot sequence, and applies an event with `apply`.
    pub(super) fn apply(
        &mut self,
        slot: Slot,
        apply: impl FnOnce(&mut Applier<'_>) -> Result<(), BadRecord>,
    ) -> Result<(), BadRecord> {
        let index = self.index_of(slot)?;
        let Some(state) = self.states.get_mut(index) else { return Err(not_own(slot)) };
        state.seq += 1;
        apply(&mut Applier { slot: state, interner: &mut self.interner, hasher: self.hasher })
    }
}

/// Finds what a slot holds.
impl Slots {
    /// Finds a chat by its id. Finds a dissolved chat only while it still has something to deliver.
    pub fn find_chat(&self, id: &ChatId) -> Option<&Chat> {
        self.chat_at(id.as_str(), self.hash_of(id.as_str()))
    }

    /// Like [`Self::find_chat`]. `hash` is the hash of the id.
    pub fn chat_at(&self, id: impl AsRef<[u8]>, hash: u64) -> Option<&Chat> {
        self.own_state(hash)?.chat(id, hash)
    }

    /// Like [`Self::chat_at`], but first tries `candidate`, which [`SlotState::chat_candidate`]
    /// found.
    pub fn chat_by<'a>(
        &'a self,
        candidate: Option<&'a Chat>,
        id: impl AsRef<[u8]>,
        hash: u64,
    ) -> Option<&'a Chat> {
        match candidate? {
            chat if chat.head.id.as_str().as_bytes() == id.as_ref() => Some(chat),
            _ => self.chat_at(id, hash),
        }
    }

    /// Finds a chat that is not dissolved. The error says whether the chat was dissolved or never
    /// was.
    pub fn live_chat(&self, id: &ChatId) -> Result<&Chat, Error> {
        let hash = self.hash_of(id.as_str());
        self.alive(self.chat_at(id.as_str(), hash), self.hasher.hashed(id.as_str()))
    }

    /// Checks that `chat` is there and not dissolved, where `chat` is what a lookup of `id` found.
    pub fn alive<'a>(&self, chat: Option<&'a Chat>, id: Hashed<'_>) -> Result<&'a Chat, Error> {
        match chat {
            Some(chat) if !chat.head.dissolved => Ok(chat),
            Some(_) => Err(Error::gone()),
            None if self.is_retired(id) => Err(Error::gone()),
            None => Err(Error::no_chat()),
        }
    }

    /// Whether the chat is retired: it was dissolved, and only its id and type are left.
    pub fn is_retired(&self, id: Hashed<'_>) -> bool {
        self.own_state(id.hash).is_some_and(|slot| slot.retired.contains(id.id, id.hash))
    }

    /// Finds a chat that is not dissolved, and the user as its member. None if the user is no
    /// member.
    pub fn chat_of_member(&self, user_id: &UserId, id: &ChatId) -> Option<(&Chat, &Member)> {
        let chat = self.live_chat(id).ok()?;
        Some((chat, self.member(chat, user_id)?))
    }

    /// Finds a user among the members of a chat.
    pub fn member<'a>(&self, chat: &'a Chat, user_id: &UserId) -> Option<&'a Member> {
        chat.members.get(user_id.as_str(), self.hash_of(user_id.as_str()))
    }

    /// The floors of a user as the chat knows them. None if the user is no member.
    pub fn floors_of(&self, chat: &Chat, user_id: &UserId) -> Option<Floors> {
        self.member(chat, user_id).map(Member::floors)
    }

    pub fn find_user(&self, id: &UserId) -> Option<&User> {
        let hash = self.hash_of(id.as_str());
        self.own_state(hash)?.user(id.as_str(), hash)
    }

    pub(super) fn find_user_mut(&mut self, id: &UserId) -> Option<&mut User> {
        let hash = self.hash_of(id.as_str());
        self.slot_mut(KeyHasher::slot_of_hash(hash)).ok()?.user_mut(id.as_str(), hash)
    }

    pub fn find_row(&self, user_id: &UserId, chat_id: &ChatId) -> Option<&Row> {
        self.row_of(self.find_user(user_id)?, chat_id)
    }

    /// Finds a user's row of a chat.
    pub fn row_of<'a>(&self, user: &'a User, chat_id: &ChatId) -> Option<&'a Row> {
        user.rows.get(chat_id.as_str(), self.hash_of(chat_id.as_str()))
    }
}

/// Fails with a conflict if a request wants version `wanted` and `stored` is another one.
pub fn check_version(what: &str, stored: u64, wanted: Option<u64>) -> Result<(), Error> {
    match wanted {
        Some(wanted) if wanted != stored => Err(Error::new(
            ErrorCode::Conflict,
            format!("if_version: the {what} has version {stored}, not {wanted}"),
        )),
        _ => Ok(()),
    }
}

fn not_own(slot: Slot) -> BadRecord {
    BadRecord(format!("slot {} of {SLOTS} is not on this shard", slot.get()))
}
