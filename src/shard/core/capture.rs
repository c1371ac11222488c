//! Images: a shard's state, taken slot by slot while work goes on.
//!
//! With a log a slot is captured when the walk comes to it. Its sequence is in the image, so replay passes
//! over those of its records that the image holds already.
//!
//! Without a log an image is of one instant, between two steps: a slot is captured when the walk comes to
//! it, or before its first change, whichever is earlier. Right behind the beginning nearly every write
//! has a slot to capture then, faster than captures are written, and they pile up in memory.
//!
//! A capture holds on to chunks (see [`crate::shard::roster`]) and copies only heads; it is encoded
//! elsewhere.
//!
//! ```text
//! block: [slot u16 BE][slot sequence u64 BE] item*
//! item:  [code u8][fields: MessagePack array]
//! ```
//!
//! A slot may take several blocks; items are applied in order. A retired chat is written as a chat that has
//! nothing but its id and type, as it was when chats stayed whole.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use snapshot::{Planted, is_planted};

use super::{Core, hash_in};
use crate::limits::{COUNTER_MAX, IMAGE_BLOCK_BYTES};
use crate::shard::deliveries::Deliveries;
use crate::shard::event::BadRecord;
use crate::shard::interner::Interner;
use crate::shard::member::Member;
use crate::shard::retired::Retired;
use crate::shard::roster::Chunks;
use crate::shard::row::Row;
use crate::shard::state::{
    Chat, ChatHead, FirstAnswer, Gone, OutboxEntry, SlotState, User, UserHead,
};
use crate::types::{ChatId, KeyHasher, Slot, UserId, wide};

/// Users in one item of deleters or of an outbox entry.
const USERS_AN_ITEM: usize = 1000;

const ITEM_CHAT: u8 = 1;
const ITEM_MEMBERS: u8 = 2;
const ITEM_DELETERS: u8 = 3;
const ITEM_OUTBOX: u8 = 4;
const ITEM_USER: u8 = 5;
const ITEM_ROWS: u8 = 6;
const ITEM_GONE: u8 = 7;
const ITEM_ANSWERS: u8 = 8;

/// How far the image under way has come.
#[derive(Debug, Default)]
pub(super) struct ImageWalk {
    number: u64,
    /// For each own slot whether it was captured; empty when no image is under way.
    captured: Vec<bool>,
    next: usize,
    /// Captured before the walk came to them.
    early: VecDeque<SlotCapture>,
}

impl ImageWalk {
    /// Number of the newest image that was begun.
    pub(super) fn number(&self) -> u64 {
        self.number
    }
}

/// A slot as it was when it was captured; may be sent to another thread.
#[derive(Debug)]
pub struct SlotCapture {
    slot: Slot,
    seq: u64,
    chats: Vec<ChatCapture>,
    retired: Retired,
    users: Vec<UserCapture>,
    answers: Chunks<FirstAnswer>,
}

#[derive(Debug)]
struct ChatCapture {
    head: ChatHead,
    members: Chunks<Member>,
    deleters: Option<Arc<Vec<UserId>>>,
    outbox: Vec<Arc<OutboxEntry>>,
}

#[derive(Debug)]
struct UserCapture {
    head: UserHead,
    rows: Chunks<Row>,
    gone: Option<Arc<Gone>>,
}

impl Core {
    /// Begins image `number`, unless it was begun already.
    pub fn begin_image(&mut self, number: u64) {
        if number > self.image.number {
            self.image = ImageWalk {
                number,
                captured: vec![false; self.slots.len()],
                next: 0,
                early: VecDeque::new(),
            };
        }
    }

    /// The next slot of the image under way; none when all have been given out.
    pub fn next_capture(&mut self) -> Option<SlotCapture> {
        if let Some(early) = self.image.early.pop_front() {
            return Some(early);
        }
        while let Some(captured) = self.image.captured.get_mut(self.image.next) {
            let index = self.image.next;
            self.image.next += 1;
            if !std::mem::replace(captured, true) {
                return self.capture(index);
            }
        }
        self.end_image();
        None
    }

    /// Gives the image under way up, or ends it.
    pub fn end_image(&mut self) {
        self.image.captured = Vec::new();
        self.image.early = VecDeque::new();
    }

    pub(super) fn capture_before_change(&mut self, slot: Slot) {
        if self.spreads_images {
            return;
        }
        let index = usize::from(slot.get() / self.shards.get());
        if let Some(captured) = self.image.captured.get_mut(index)
            && !std::mem::replace(captured, true)
            && let Some(capture) = self.capture(index)
        {
            self.image.early.push_back(capture);
        }
    }

    fn capture(&self, index: usize) -> Option<SlotCapture> {
        let slot = self.own_slot(index)?;
        let state = self.slots.get(index)?;
        Some(SlotCapture {
            slot,
            seq: state.seq,
            chats: state.chats().map(ChatCapture::of).collect(),
            retired: state.retired.clone(),
            users: state.users().map(UserCapture::of).collect(),
            answers: state.answers.chunks(),
        })
    }

    /// Takes a block of an image.
    ///
    /// # Errors
    /// If the block cannot be read or is of another shard.
    pub fn restore(&mut self, block: &[u8]) -> Result<(), BadRecord> {
        let bad = || BadRecord("no head of an image block".into());
        let (slot, rest) = block.split_first_chunk::<2>().ok_or_else(bad)?;
        let (seq, mut items) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let slot = Slot::new(u16::from_be_bytes(*slot)).ok_or_else(bad)?;
        let index = self.slot_index(slot)?;
        let state = self.slots.get_mut(index).ok_or_else(bad)?;
        let seq = u64::from_be_bytes(*seq);
        // All blocks of a slot say the same, and one with anything in it has had a record. A slot without a
        // sequence would be in no further image.
        let fits = match state.seq {
            0 => seq > 0 || items.is_empty(),
            known => seq == known,
        };
        if seq > COUNTER_MAX || !fits {
            return Err(BadRecord(format!("slot {} at {seq}, which it cannot be", slot.get())));
        }
        state.seq = seq;
        let (hasher, interner) = (self.hasher, &mut self.interner);
        let mut restored = Restored { slot, state, interner, hasher, ended: None };
        while let Some((&code, fields)) = items.split_first() {
            items = fields;
            restored.item(code, &mut items)?;
        }
        let ended = restored.ended.take();
        self.retire_restored(ended)
    }

    /// Counts what the image brought; once, behind its last block.
    ///
    /// # Errors
    /// If a slot has no room for the ids of its dissolved chats.
    pub fn recount(&mut self) -> Result<(), BadRecord> {
        self.retire_restored(None)?;
        for slot in &mut self.slots {
            slot.counts = slot.recount();
        }
        Ok(())
    }

    /// The last dissolved chat of a block may have more in the next one: it is retired behind that.
    fn retire_restored(&mut self, ended: Option<ChatId>) -> Result<(), BadRecord> {
        let Some(id) = std::mem::replace(&mut self.restored, ended) else { return Ok(()) };
        let hash = self.hash_of(id.as_str());
        let index = self.slot_index(KeyHasher::slot_of_hash(hash))?;
        match self.slots.get_mut(index).map(|slot| slot.retire(id.as_str(), hash, self.hasher)) {
            Some(true) => Ok(()),
            _ => Err(no_room_for(&id)),
        }
    }
}

/// The slot that an image's items are of.
struct Restored<'a> {
    slot: Slot,
    state: &'a mut SlotState,
    interner: &'a mut Interner,
    hasher: KeyHasher,
    /// The newest chat that came, if it is dissolved.
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
            ITEM_GONE => {
                let (user_id, gone): (UserId, Gone) = read(bytes)?;
                self.user(&user_id)?.gone = Some(Arc::new(gone));
            }
            ITEM_ANSWERS => {
                let (answers,): (Vec<FirstAnswer>,) = read(bytes)?;
                if !self.state.answers.try_append(answers, hasher) {
                    return Err(twice(&"an answer"));
                }
            }
            other => {
                let what = format!("image item {other} is not known: a newer chatshard wrote it");
                return Err(BadRecord(what));
            }
        }
        Ok(())
    }

    fn chat(&mut self, id: &ChatId) -> Result<&mut Chat, BadRecord> {
        self.state
            .chat_mut(id.as_str(), self.hasher.hash(id.as_str()))
            .ok_or_else(|| BadRecord(format!("image names chat {id} before it holds it")))
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
    BadRecord(format!("image holds {what}, or an entry of it, twice or out of order"))
}

/// Reads one value and moves past it.
fn read<T: DeserializeOwned>(bytes: &mut &[u8]) -> Result<T, BadRecord> {
    rmp_serde::from_read(bytes).map_err(|error| BadRecord(error.to_string()))
}

impl ChatCapture {
    fn of(chat: &Chat) -> Self {
        Self {
            head: chat.head.clone(),
            members: chat.members.chunks(),
            deleters: chat.deleters.clone(),
            outbox: chat.outbox.iter().cloned().collect(),
        }
    }

    fn encode<E: Emit>(&self, blocks: &mut Blocks<'_, E>) -> Result<(), E::Error> {
        let id = &self.head.id;
        blocks.item(ITEM_CHAT, &self.head)?;
        for chunk in &self.members {
            blocks.item(ITEM_MEMBERS, &(id, &**chunk))?;
        }
        for users in self.deleters.iter().flat_map(|users| users.chunks(USERS_AN_ITEM)) {
            blocks.item(ITEM_DELETERS, &(id, users))?;
        }
        let is_kept = !is_planted(Planted::OutboxNotKept);
        for entry in self.outbox.iter().filter(|_| is_kept) {
            for start in (0..entry.deliveries.len()).step_by(USERS_AN_ITEM) {
                let part = entry.deliveries.part(start, USERS_AN_ITEM);
                blocks.item(ITEM_OUTBOX, &(id, entry.event, part))?;
            }
        }
        Ok(())
    }
}

impl UserCapture {
    fn of(user: &User) -> Self {
        Self { head: user.head.clone(), rows: user.rows.chunks(), gone: user.gone.clone() }
    }

    fn encode<E: Emit>(&self, blocks: &mut Blocks<'_, E>) -> Result<(), E::Error> {
        blocks.item(ITEM_USER, &self.head)?;
        for chunk in &self.rows {
            blocks.item(ITEM_ROWS, &(&self.head.id, &**chunk))?;
        }
        if let Some(gone) = &self.gone {
            blocks.item(ITEM_GONE, &(&self.head.id, &**gone))?;
        }
        Ok(())
    }
}

/// Takes encoded blocks; a closure does.
pub trait Emit {
    /// Why a block was not taken.
    type Error;
    /// Takes a block.
    fn emit(&mut self, block: &[u8]) -> Result<(), Self::Error>;
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> Emit for F {
    type Error = E;
    fn emit(&mut self, block: &[u8]) -> Result<(), E> {
        self(block)
    }
}

/// Cuts a slot's items into blocks.
struct Blocks<'a, E: Emit> {
    header: [u8; 10],
    buffer: Vec<u8>,
    emit: &'a mut E,
}

impl<E: Emit> Blocks<'_, E> {
    fn item(&mut self, code: u8, fields: &impl Serialize) -> Result<(), E::Error> {
        self.buffer.push(code);
        // Writing into a Vec does not fail, and these types have no value that cannot be encoded.
        let encoded = rmp_serde::encode::write(&mut self.buffer, fields);
        assert!(encoded.is_ok(), "an image item was not encoded: {encoded:?}");
        if self.buffer.len() >= IMAGE_BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), E::Error> {
        self.emit.emit(&self.buffer)?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.header);
        Ok(())
    }
}

impl SlotCapture {
    /// Chats and rows in it.
    pub fn records(&self) -> u64 {
        let rows: usize =
            self.users.iter().flat_map(|user| &user.rows).map(|chunk| chunk.len()).sum();
        wide(self.chats.len() + self.retired.len() + rows)
    }

    /// Writes the slot's blocks; none if it never held anything.
    ///
    /// # Errors
    /// Those of `emit`.
    pub fn encode<E: Emit>(&self, emit: &mut E) -> Result<(), E::Error> {
        if self.seq == 0 {
            return Ok(());
        }
        let mut header = [0; 10];
        let (slot, seq) = header.split_at_mut(2);
        slot.copy_from_slice(&self.slot.get().to_be_bytes());
        seq.copy_from_slice(&self.seq.to_be_bytes());
        let mut blocks = Blocks { header, buffer: header.to_vec(), emit };
        for chat in &self.chats {
            chat.encode(&mut blocks)?;
        }
        for (id, chat_type) in self.retired.iter() {
            blocks.item(ITEM_CHAT, &ChatHead::retired(id, chat_type))?;
        }
        for user in &self.users {
            user.encode(&mut blocks)?;
        }
        for chunk in &self.answers {
            blocks.item(ITEM_ANSWERS, &(&**chunk,))?;
        }
        // The last block goes out even without items: it carries the slot's sequence.
        blocks.flush()
    }
}
