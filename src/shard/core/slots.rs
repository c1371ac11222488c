//! The slots of a shard, and what they hold, found by keys.
//!
//! Operations look things up here. What changes a slot is open to the state machine only.
//!
//! Invariants:
//! - Slot `s` of the node is at `s / shards`, if this shard owns it.
//! - A slot's sequence rises by one with each event.

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

/// The slots of a shard; its rules are in the documentation of the module.
pub struct Slots {
    pub(super) shard: ShardId,
    pub(super) shards: ShardCount,
    pub(super) hasher: KeyHasher,
    /// The slots of this shard; slot `s` is at `s / shards`.
    pub(super) states: Vec<SlotState>,
    /// Ids of the users that the shard's chats name.
    pub(super) interner: Interner,
}

/// To find a slot.
impl Slots {
    pub(super) fn new(shard: ShardId, shards: ShardCount, hasher: KeyHasher) -> Self {
        let own = Slot::all().filter(|slot| slot.shard(shards) == shard).count();
        let states = std::iter::repeat_with(SlotState::default).take(own).collect();
        Self { shard, shards, hasher, states, interner: Interner::new(hasher) }
    }

    /// The node's key hash.
    pub fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// The slots of this shard, in their order.
    pub fn states(&self) -> &[SlotState] {
        &self.states
    }

    /// The slot at `index` among those of this shard.
    pub fn own_slot(&self, index: usize) -> Option<Slot> {
        let first = index.checked_mul(usize::from(self.shards.get()))?;
        Slot::new(u16::try_from(first.checked_add(self.shard.index())?).ok()?)
    }

    /// The index of a slot among those of this shard; None if another shard owns it.
    fn index_here(&self, slot: Slot) -> Option<usize> {
        let is_here = slot.shard(self.shards) == self.shard;
        is_here.then(|| usize::from(slot.get() / self.shards.get()))
    }

    /// The index of a slot among those of this shard.
    ///
    /// # Errors
    /// If another shard owns it.
    pub(super) fn index_of(&self, slot: Slot) -> Result<usize, BadRecord> {
        self.index_here(slot).ok_or_else(|| not_here(slot))
    }

    /// A slot of this shard.
    ///
    /// # Errors
    /// If another shard owns it.
    pub fn slot(&self, slot: Slot) -> Result<&SlotState, BadRecord> {
        self.states.get(self.index_of(slot)?).ok_or_else(|| not_here(slot))
    }

    pub(super) fn slot_mut(&mut self, slot: Slot) -> Result<&mut SlotState, BadRecord> {
        let index = self.index_of(slot)?;
        self.states.get_mut(index).ok_or_else(|| not_here(slot))
    }

    pub(super) fn state_and_interner(
        &mut self,
        slot: Slot,
    ) -> Result<(&mut SlotState, &mut Interner), BadRecord> {
        let index = self.index_of(slot)?;
        let state = self.states.get_mut(index).ok_or_else(|| not_here(slot))?;
        Ok((state, &mut self.interner))
    }

    /// The slot of a key with this hash; None if another shard owns it.
    pub fn slot_here(&self, hash: u64) -> Option<&SlotState> {
        self.states.get(self.index_here(KeyHasher::slot_of_hash(hash))?)
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

    /// The shard that owns a user.
    pub fn shard_of_user(&self, id: &UserId) -> ShardId {
        self.slot_of_user(id).shard(self.shards)
    }

    /// Whether this is the own shard.
    pub fn is_own(&self, shard: ShardId) -> bool {
        shard == self.shard
    }

    /// An interned id that may be this one; its text is not read yet.
    pub fn interned_candidate(&self, id: &str) -> Option<&InternedUserId> {
        self.interner.candidate(id)
    }

    /// Applies the next event of a slot.
    pub(super) fn apply(
        &mut self,
        slot: Slot,
        apply: impl FnOnce(&mut Applier<'_>) -> Result<(), BadRecord>,
    ) -> Result<(), BadRecord> {
        let index = self.index_of(slot)?;
        let Some(state) = self.states.get_mut(index) else { return Err(not_here(slot)) };
        state.seq += 1;
        apply(&mut Applier { slot: state, interner: &mut self.interner, hasher: self.hasher })
    }
}

/// To find what a slot holds.
impl Slots {
    /// The chat with this id. A dissolved chat is found only as long as it has something to
    /// deliver.
    pub fn find_chat(&self, id: &ChatId) -> Option<&Chat> {
        self.chat_at(id.as_str(), self.hash_of(id.as_str()))
    }

    /// Like [`Self::find_chat`]; `hash` is that of the id.
    pub fn chat_at(&self, id: impl AsRef<[u8]>, hash: u64) -> Option<&Chat> {
        self.slot_here(hash)?.chat(id, hash)
    }

    /// Like [`Self::chat_at`], with a `candidate` from [`SlotState::chat_candidate`], which is most
    /// likely the chat.
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

    /// The chat, for a command that needs it alive.
    pub fn live_chat(&self, id: &ChatId) -> Result<&Chat, Error> {
        let hash = self.hash_of(id.as_str());
        self.alive(self.chat_at(id.as_str(), hash), self.hasher.hashed(id.as_str()))
    }

    /// Checks the chat that was found under an id, for a command that needs it alive.
    pub fn alive<'a>(&self, chat: Option<&'a Chat>, id: Hashed<'_>) -> Result<&'a Chat, Error> {
        match chat {
            Some(chat) if !chat.head.dissolved => Ok(chat),
            Some(_) => Err(Error::gone()),
            None if self.is_retired(id) => Err(Error::gone()),
            None => Err(Error::no_chat()),
        }
    }

    /// Whether the chat was dissolved and only its id is left.
    pub fn is_retired(&self, id: Hashed<'_>) -> bool {
        self.slot_here(id.hash).is_some_and(|slot| slot.retired.contains(id.id, id.hash))
    }

    /// A chat that is not dissolved, with the user as its member.
    pub fn chat_of_member(&self, user_id: &UserId, id: &ChatId) -> Option<(&Chat, &Member)> {
        let chat = self.live_chat(id).ok()?;
        Some((chat, self.member(chat, user_id)?))
    }

    /// A member of a chat.
    pub fn member<'a>(&self, chat: &'a Chat, user_id: &UserId) -> Option<&'a Member> {
        chat.members.get(user_id.as_str(), self.hash_of(user_id.as_str()))
    }

    /// The floors that a chat knows of a member; None if the user is no member.
    pub fn floors_of(&self, chat: &Chat, user_id: &UserId) -> Option<Floors> {
        self.member(chat, user_id).map(Member::floors)
    }

    pub fn find_user(&self, id: &UserId) -> Option<&User> {
        let hash = self.hash_of(id.as_str());
        self.slot_here(hash)?.user(id.as_str(), hash)
    }

    pub(super) fn find_user_mut(&mut self, id: &UserId) -> Option<&mut User> {
        let hash = self.hash_of(id.as_str());
        self.slot_mut(KeyHasher::slot_of_hash(hash)).ok()?.user_mut(id.as_str(), hash)
    }

    pub fn find_row(&self, user_id: &UserId, chat_id: &ChatId) -> Option<&Row> {
        self.row_of(self.find_user(user_id)?, chat_id)
    }

    /// A user's row of a chat.
    pub fn row_of<'a>(&self, user: &'a User, chat_id: &ChatId) -> Option<&'a Row> {
        user.rows.get(chat_id.as_str(), self.hash_of(chat_id.as_str()))
    }
}

/// Fails unless the target of a change has the version that the caller saw.
pub fn check_version(what: &str, stored: u64, wanted: Option<u64>) -> Result<(), Error> {
    match wanted {
        Some(wanted) if wanted != stored => Err(Error::new(
            ErrorCode::Conflict,
            format!("if_version: the {what} has version {stored}, not {wanted}"),
        )),
        _ => Ok(()),
    }
}

fn not_here(slot: Slot) -> BadRecord {
    BadRecord(format!("slot {} of {SLOTS} is not on this shard", slot.get()))
}
