//! Snapshots: a shard's state, captured slot by slot while the shard keeps working.
//!
//! With a log, a slot is captured when the walk over the slots reaches it. The capture holds the
//! slot's sequence, so replay passes over the records that the snapshot already contains.
//!
//! Without a log, a snapshot is of one instant, between two steps. A slot is captured when the walk
//! reaches it or before its first change, whichever is earlier. Right after the beginning, nearly
//! every write has a slot to capture. Captures are then made faster than they are written, and
//! gather in memory.
//!
//! A capture shares chunks (see [`crate::shard::roster`]) and copies only heads. Another thread
//! encodes it.
//!
//! ```text
//! block: [slot u16 BE][slot sequence u64 BE] item*
//! item:  [code u8][fields: MessagePack array]
//! ```
//!
//! A slot may take several blocks; items are applied in order. A retired chat is written as a chat
//! that has only its id and type, in the form of builds that kept dissolved chats whole.
//!
//! Invariants:
//! - A snapshot captures no slot twice.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use snapshot::{Planted, is_planted};

use super::{Core, Slots};
use crate::limits::{COUNTER_MAX, IMAGE_BLOCK_BYTES};
use crate::shard::decode::{BadRecord, hash_in};
use crate::shard::deliveries::{Deliveries, OutboxEntry};

use crate::shard::interner::Interner;
use crate::shard::member::Member;
use crate::shard::retired::Retired;
use crate::shard::roster::Chunks;
use crate::shard::row::Row;
use crate::shard::state::{Chat, ChatHead, FirstAnswer, Gone, SlotState, User, UserHead};
use crate::types::{ChatId, KeyHasher, Slot, UserId, wide};

/// Number of users in one item of deleters or of an outbox entry.
const USERS_AN_ITEM: usize = 1000;

const ITEM_CHAT: u8 = 1;
const ITEM_MEMBERS: u8 = 2;
const ITEM_DELETERS: u8 = 3;
const ITEM_OUTBOX: u8 = 4;
const ITEM_USER: u8 = 5;
const ITEM_ROWS: u8 = 6;
const ITEM_GONE: u8 = 7;
const ITEM_ANSWERS: u8 = 8;

/// The walk over the slots for the snapshot under way.
#[derive(Debug, Default)]
pub(super) struct CaptureWalk {
    /// Number of the newest snapshot that was begun.
    number: u64,
    /// For each own slot whether it was captured; empty if no snapshot is under way.
    captured: Vec<bool>,
    next: usize,
    /// Slots that were captured before the walk reached them.
    early: VecDeque<SlotCapture>,
    /// Slots of a snapshot may be of different instants.
    is_spread: bool,
}

impl CaptureWalk {
    pub(super) fn spread(&mut self) {
        self.is_spread = true;
    }

    /// Number of the newest snapshot that was begun.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    fn begin(&mut self, number: u64, slots: usize) {
        if number > self.number {
            self.end();
            self.number = number;
            self.captured = vec![false; slots];
        }
    }

    fn next(&mut self, slots: &Slots) -> Option<SlotCapture> {
        if let Some(early) = self.early.pop_front() {
            return Some(early);
        }
        while let Some(captured) = self.captured.get_mut(self.next) {
            let index = self.next;
            self.next += 1;
            if !std::mem::replace(captured, true) {
                return SlotCapture::of(slots, index);
            }
        }
        self.end();
        None
    }

    fn end(&mut self) {
        (self.captured, self.next, self.early) = (Vec::new(), 0, VecDeque::new());
    }

    /// Captures a slot that is about to change, if the snapshot is of one instant and lacks it.
    pub(super) fn before_change(&mut self, slot: Slot, slots: &Slots) {
        if self.is_spread {
            return;
        }
        let Ok(index) = slots.index_of(slot) else { return };
        if let Some(captured) = self.captured.get_mut(index)
            && !std::mem::replace(captured, true)
            && let Some(capture) = SlotCapture::of(slots, index)
        {
            self.early.push_back(capture);
        }
    }
}

/// A slot as it was when it was captured. It may be sent to another thread.
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
    /// Begins snapshot `number`, unless it or a newer one was begun already.
    pub fn begin_snapshot(&mut self, number: u64) {
        self.walk.begin(number, self.slots.states().len());
    }

    /// The next slot of the snapshot under way; None when all were returned, which ends it.
    pub fn next_capture(&mut self) -> Option<SlotCapture> {
        self.walk.next(&self.slots)
    }

    /// Ends the snapshot under way, or gives it up.
    pub fn end_snapshot(&mut self) {
        self.walk.end();
    }

    /// Applies a block of a snapshot.
    ///
    /// # Errors
    /// If the block cannot be read, does not fit, or belongs to another shard.
    pub fn restore(&mut self, block: &[u8]) -> Result<(), BadRecord> {
        let bad = || BadRecord("no head of an image block".into());
        let (slot, rest) = block.split_first_chunk::<2>().ok_or_else(bad)?;
        let (seq, mut items) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let slot = Slot::new(u16::from_be_bytes(*slot)).ok_or_else(bad)?;
        let hasher = self.slots.hasher;
        let (state, interner) = self.slots.state_and_interner(slot)?;
        let seq = u64::from_be_bytes(*seq);
        // All blocks of a slot have the same sequence, and a slot with any item has had a record. A
        // slot with sequence 0 would be missing in the next snapshot.
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
        self.retire_restored(ended)
    }

    /// Retires the last chat and counts the contents of all slots. Must be called once, after the
    /// last block.
    ///
    /// # Errors
    /// If a slot has no room for the ids of its dissolved chats.
    pub fn recount(&mut self) -> Result<(), BadRecord> {
        self.retire_restored(None)?;
        for slot in &mut self.slots.states {
            slot.counts = slot.recount();
        }
        Ok(())
    }

    /// Retires the dissolved chat that the last block ended with. It waited, because this block
    /// could hold more of it.
    fn retire_restored(&mut self, ended: Option<ChatId>) -> Result<(), BadRecord> {
        let Some(id) = std::mem::replace(&mut self.restored, ended) else { return Ok(()) };
        let (hash, hasher) = (self.slots.hash_of(id.as_str()), self.slots.hasher);
        match self.slots.slot_mut(KeyHasher::slot_of_hash(hash))?.retire(id.as_str(), hash, hasher)
        {
            true => Ok(()),
            false => Err(no_room_for(&id)),
        }
    }
}

/// The slot that receives the items of a block.
struct Restored<'a> {
    slot: Slot,
    state: &'a mut SlotState,
    interner: &'a mut Interner,
    hasher: KeyHasher,
    /// The newest chat in the block, if it is dissolved.
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

/// Takes encoded blocks; implemented by closures.
pub trait Emit {
    /// The reason why a block was not taken.
    type Error;
    /// Takes one block, with its header.
    fn emit(&mut self, block: &[u8]) -> Result<(), Self::Error>;
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> Emit for F {
    type Error = E;
    fn emit(&mut self, block: &[u8]) -> Result<(), E> {
        self(block)
    }
}

/// Cuts a slot's items into blocks of about `IMAGE_BLOCK_BYTES`.
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
    fn of(slots: &Slots, index: usize) -> Option<Self> {
        let state = slots.states().get(index)?;
        Some(Self {
            slot: slots.own_slot(index)?,
            seq: state.seq,
            chats: state.chats().map(ChatCapture::of).collect(),
            retired: state.retired.clone(),
            users: state.users().map(UserCapture::of).collect(),
            answers: state.answers.chunks(),
        })
    }

    /// Number of chats, retired ones included, and rows.
    pub fn records(&self) -> u64 {
        let rows: usize =
            self.users.iter().flat_map(|user| &user.rows).map(|chunk| chunk.len()).sum();
        wide(self.chats.len() + self.retired.len() + rows)
    }

    /// Writes the slot's blocks; none if the slot never had a record.
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
        // The last block is written even without items, because it carries the slot's sequence.
        blocks.flush()
    }
}
