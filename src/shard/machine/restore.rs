//! Restores a snapshot: turns the blocks that [`super::capture`] wrote into slots.
//!
//! Invariants:
//! - All blocks of a slot have one slot sequence, and each entry comes once, in order.
//! - A dissolved chat with nothing left to deliver is retired as soon as no later item can belong
//!   to it. So a restore needs no more memory than the shard had.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::capture::{
    ITEM_ANSWERS, ITEM_CHAT, ITEM_DELETERS, ITEM_MEMBERS, ITEM_OUTBOX, ITEM_REMOVALS, ITEM_ROWS,
    ITEM_USER,
};
use super::{Shard, Slots};
use crate::limits::COUNTER_MAX;
use crate::shard::decode::{BadRecord, hash_in};
use crate::shard::deliveries::{Deliveries, OutboxEntry};
use crate::shard::interner::Interner;
use crate::shard::member::Member;
use crate::shard::row::Row;
use crate::shard::state::{Chat, ChatHead, FirstAnswer, Removals, SlotState, User, UserHead};
use crate::types::{ChatId, KeyHasher, Slot, UserId};

/// What a restore must remember from one block to the next.
#[derive(Debug, Default)]
pub(super) struct Restoring {
    /// The last chat of the last block, if it is dissolved. The next block may hold more of it.
    ended: Option<ChatId>,
}

impl Restoring {
    fn block(&mut self, block: &[u8], slots: &mut Slots) -> Result<(), BadRecord> {
        let bad = || BadRecord("no head of a snapshot block".into());
        let (slot, rest) = block.split_first_chunk::<2>().ok_or_else(bad)?;
        let (seq, mut items) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let slot = Slot::new(u16::from_be_bytes(*slot)).ok_or_else(bad)?;
        let hasher = slots.hasher;
        let (state, interner) = slots.state_and_interner(slot)?;
        let seq = u64::from_be_bytes(*seq);
        // A slot that holds something has had a record, so its sequence is above 0. A slot at 0
        // would be left out of the next snapshot.
        let fits = match state.seq {
            0 => seq > 0 || items.is_empty(),
            known => seq == known,
        };
        if seq > COUNTER_MAX || !fits {
            return Err(BadRecord(format!("slot {} at {seq}, which it cannot be", slot.get())));
        }
        state.seq = seq;
        let mut restored = Restored { slot, state, interner, hasher, ended: None };
        while let Some((&code, fields)) = items.split_first() {
            items = fields;
            restored.item(code, &mut items)?;
        }
        let ended = restored.ended.take();
        self.retire(ended, slots)
    }

    /// Retires the chat that `self.ended` names, if that chat has nothing left to deliver.
    /// Remembers `ended` in its place.
    fn retire(&mut self, ended: Option<ChatId>, slots: &mut Slots) -> Result<(), BadRecord> {
        let Some(id) = std::mem::replace(&mut self.ended, ended) else { return Ok(()) };
        let (hash, hasher) = (slots.hash_of(id.as_str()), slots.hasher);
        match slots.slot_mut(KeyHasher::slot_of_hash(hash))?.retire(id.as_str(), hash, hasher) {
            true => Ok(()),
            false => Err(no_room_for(&id)),
        }
    }
}

impl Shard {
    /// Restores one block of a snapshot.
    ///
    /// # Errors
    /// If the block cannot be decoded, does not fit the blocks before, or belongs to another shard.
    pub fn restore(&mut self, block: &[u8]) -> Result<(), BadRecord> {
        self.restoring.block(block, &mut self.slots)
    }

    /// Retires the last dissolved chat and computes the counts of all slots. The caller calls this
    /// once, after the last block.
    ///
    /// # Errors
    /// If a slot has no room for one more retired id.
    pub fn recount(&mut self) -> Result<(), BadRecord> {
        self.restoring.retire(None, &mut self.slots)?;
        for slot in &mut self.slots.states {
            slot.counts = slot.recount();
        }
        Ok(())
    }
}

/// A slot while a block is restored into it.
struct Restored<'a> {
    slot: Slot,
    state: &'a mut SlotState,
    interner: &'a mut Interner,
    hasher: KeyHasher,
    /// The newest chat of the block, if it is dissolved. Later items may still belong to it.
    ended: Option<ChatId>,
}

impl Restored<'_> {
    fn item(&mut self, code: u8, bytes: &mut &[u8]) -> Result<(), BadRecord> {
        let hasher = self.hasher;
        match code {
            ITEM_CHAT => {
                let mut head: ChatHead = read(bytes)?;
                self.interner.share(&mut head.creator_id);
                let hash = hash_in(self.slot, head.id.as_str(), hasher)?;
                if self.state.chat(head.id.as_str(), hash).is_some()
                    || self.state.retired.contains(head.id.as_str(), hash)
                {
                    return Err(twice(&head.id));
                }
                let ended = head.dissolved.then(|| head.id.clone());
                self.state.insert_chat(Chat::new(head), hasher);
                if let Some(id) = std::mem::replace(&mut self.ended, ended) {
                    let hash = hasher.hash(id.as_str());
                    if !self.state.retire(id.as_str(), hash, hasher) {
                        return Err(no_room_for(&id));
                    }
                }
            }
            ITEM_MEMBERS => {
                let (chat_id, mut members): (ChatId, Vec<Member>) = read(bytes)?;
                for member in &mut members {
                    self.interner.share(&mut member.user_id);
                }
                let chat = self.chat(&chat_id)?;
                for member in &members {
                    chat.note_sent(hasher.hash(member.user_id.as_str()), member.facts().sent_seq);
                }
                let is_counted =
                    members.last().is_none_or(|last| last.facts().order < chat.head.next_order);
                if !is_counted || !chat.members.try_append(members, hasher) {
                    return Err(twice(&chat_id));
                }
            }
            ITEM_DELETERS => {
                let (chat_id, users): (ChatId, Vec<UserId>) = read(bytes)?;
                self.chat(&chat_id)?.add_deleters(users);
            }
            ITEM_OUTBOX => {
                let (chat_id, event, part): (ChatId, u64, Deliveries) = read(bytes)?;
                let chat = self.chat(&chat_id)?;
                let outbox = &mut chat.outbox;
                if event > chat.head.event || outbox.last().is_some_and(|last| last.event > event) {
                    return Err(twice(&chat_id));
                }
                match outbox.last_mut().filter(|entry| entry.event == event) {
                    Some(entry) => Arc::make_mut(entry).deliveries.extend(part),
                    None => outbox.push(Arc::new(OutboxEntry { event, deliveries: part })),
                }
            }
            ITEM_USER => {
                let head: UserHead = read(bytes)?;
                self.user(&head.id)?.head = head.clone();
            }
            ITEM_ROWS => {
                let (user_id, rows): (UserId, Vec<Row>) = read(bytes)?;
                let user = self.user(&user_id)?;
                let is_counted =
                    rows.last().is_none_or(|last| last.state().order < user.head.next_order);
                if !is_counted || !user.rows.try_append(rows, hasher) {
                    return Err(twice(&user_id));
                }
            }
            ITEM_REMOVALS => {
                let (user_id, removals): (UserId, Removals) = read(bytes)?;
                self.user(&user_id)?.removals = Some(Arc::new(removals));
            }
            ITEM_ANSWERS => {
                let (answers,): (Vec<FirstAnswer>,) = read(bytes)?;
                if !self.state.answers.try_append(answers, hasher) {
                    return Err(twice(&"an answer"));
                }
            }
            other => {
                let what =
                    format!("snapshot item {other} is not known: a newer chatshard wrote it");
                return Err(BadRecord(what));
            }
        }
        Ok(())
    }

    fn chat(&mut self, id: &ChatId) -> Result<&mut Chat, BadRecord> {
        self.state
            .chat_mut(id.as_str(), self.hasher.hash(id.as_str()))
            .ok_or_else(|| BadRecord(format!("snapshot names chat {id} before it holds it")))
    }

    fn user(&mut self, id: &UserId) -> Result<&mut User, BadRecord> {
        let hash = hash_in(self.slot, id.as_str(), self.hasher)?;
        Ok(self.state.user_or_new(id, hash, self.hasher))
    }
}

fn no_room_for(id: &ChatId) -> BadRecord {
    BadRecord(format!("its slot has no room for the id of the dissolved chat {id}"))
}

fn twice(what: &dyn std::fmt::Display) -> BadRecord {
    BadRecord(format!("snapshot holds {what}, or an entry of it, twice or out of order"))
}

/// Decodes one value at the front of `bytes`, and moves past it.
fn read<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, BadRecord> {
    rmp_serde::from_read(bytes).map_err(|error| BadRecord(error.to_string()))
}
