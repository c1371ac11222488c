//! Captures a shard's state for a snapshot, slot by slot, while the shard keeps working.
//!
//! With a log, a slot is captured when the walk over the slots reaches it. The capture has the slot
//! sequence of that time, so replay skips the records that the capture already contains.
//!
//! Without a log, all slots of a snapshot must show one instant between two steps. So a slot is
//! captured when the walk reaches it, or earlier before its first change. At first nearly every
//! write must capture a slot. Captures then arrive faster than they are written, and gather in
//! memory.
//!
//! A capture shares chunks (see [`crate::shard::roster`]) and copies only heads, so it is quick.
//! Another thread encodes it.
//!
//! ```text
//! block: [slot u16 BE][slot sequence u64 BE] item*
//! item:  [code u8][fields: MessagePack array]
//! ```
//!
//! A slot may take several blocks, and a restore applies items in order. A retired chat is written
//! as a chat with only id and type. Old builds kept dissolved chats whole, and this stays their
//! format.
//!
//! Invariants:
//! - A snapshot captures no slot twice.

mod digest;

use std::collections::VecDeque;
use std::sync::Arc;

pub use digest::SlotDigest;
use serde::Serialize;
use snapshot::{Planted, is_planted};

use super::{Shard, Slots};
use crate::limits::SNAPSHOT_BLOCK_BYTES;
use crate::shard::deliveries::OutboxEntry;
use crate::shard::member::Member;
use crate::shard::retired::Retired;
use crate::shard::roster::Chunks;
use crate::shard::row::Row;
use crate::shard::state::{Chat, ChatHead, FirstAnswer, Removals, User, UserHead};
use crate::types::{Slot, UserId, wide};

/// How many users one item of deleters or of an outbox entry holds at most.
const USERS_AN_ITEM: usize = 1000;

pub(super) const ITEM_CHAT: u8 = 1;
pub(super) const ITEM_MEMBERS: u8 = 2;
pub(super) const ITEM_DELETERS: u8 = 3;
pub(super) const ITEM_OUTBOX: u8 = 4;
pub(super) const ITEM_USER: u8 = 5;
pub(super) const ITEM_ROWS: u8 = 6;
pub(super) const ITEM_REMOVALS: u8 = 7;
pub(super) const ITEM_ANSWERS: u8 = 8;

/// The walk over the slots of a shard for the present snapshot.
#[derive(Debug, Default)]
pub(super) struct CaptureWalk {
    /// Number of the newest snapshot that was begun.
    number: u64,
    /// For each slot of this shard, whether it was captured. Empty without a snapshot under way.
    captured: Vec<bool>,
    next: usize,
    /// Captures that were made before the walk reached their slots.
    early: VecDeque<SlotCapture>,
    /// Whether slots of one snapshot may be captured at different instants.
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
            if !std::mem::replace(captured, true)
                && let Some(capture) = SlotCapture::of(slots, index)
            {
                return Some(capture);
            }
        }
        self.end();
        None
    }

    fn end(&mut self) {
        (self.captured, self.next, self.early) = (Vec::new(), 0, VecDeque::new());
    }

    /// Captures a slot that is about to change, if the snapshot must show one instant and lacks the
    /// slot.
    #[inline]
    pub(super) fn before_change(&mut self, slot: Slot, slots: &Slots) {
        if !self.is_spread && !self.captured.is_empty() {
            self.capture_early(slot, slots);
        }
    }

    fn capture_early(&mut self, slot: Slot, slots: &Slots) {
        let Ok(index) = slots.index_of(slot) else { return };
        if let Some(captured) = self.captured.get_mut(index)
            && !std::mem::replace(captured, true)
            && let Some(capture) = SlotCapture::of(slots, index)
        {
            self.early.push_back(capture);
        }
    }
}

/// The state of a slot when it was captured. It may be sent to another thread.
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
    removals: Option<Arc<Removals>>,
}

impl Shard {
    /// Begins snapshot `number`. Does nothing if this snapshot or a newer one was already begun.
    pub fn begin_snapshot(&mut self, number: u64) {
        self.walk.begin(number, self.slots.states().len());
    }

    /// The next captures of the present snapshot: early ones, and then those that are made now. They
    /// have `heads` heads together, or less than one slot more. Empty after the last capture, and
    /// the snapshot ends.
    pub fn next_captures(&mut self, heads: usize) -> Vec<SlotCapture> {
        let (mut captures, mut copied) = (Vec::new(), 0);
        while copied < heads
            && let Some(capture) = self.walk.next(&self.slots)
        {
            copied += capture.heads();
            captures.push(capture);
        }
        captures
    }

    /// Ends the present snapshot, complete or not.
    pub fn end_snapshot(&mut self) {
        self.walk.end();
    }
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
        Self { head: user.head.clone(), rows: user.rows.chunks(), removals: user.removals.clone() }
    }

    fn encode<E: Emit>(&self, blocks: &mut Blocks<'_, E>) -> Result<(), E::Error> {
        blocks.item(ITEM_USER, &self.head)?;
        for chunk in &self.rows {
            blocks.item(ITEM_ROWS, &(&self.head.id, &**chunk))?;
        }
        if let Some(removals) = &self.removals {
            blocks.item(ITEM_REMOVALS, &(&self.head.id, &**removals))?;
        }
        Ok(())
    }
}

/// Takes encoded blocks one by one. Closures implement it.
pub trait Emit {
    /// Why a block was not taken.
    type Error;
    /// Takes one block, which begins with its header.
    fn emit(&mut self, block: &[u8]) -> Result<(), Self::Error>;
}

impl<E, F: FnMut(&[u8]) -> Result<(), E>> Emit for F {
    type Error = E;
    fn emit(&mut self, block: &[u8]) -> Result<(), E> {
        self(block)
    }
}

/// Cuts the items of a slot into blocks of about `SNAPSHOT_BLOCK_BYTES`.
struct Blocks<'a, E: Emit> {
    header: [u8; 10],
    buffer: Vec<u8>,
    emit: &'a mut E,
}

impl<E: Emit> Blocks<'_, E> {
    fn item(&mut self, code: u8, fields: &impl Serialize) -> Result<(), E::Error> {
        self.buffer.push(code);
        // Writing to memory cannot fail, and every item can be encoded.
        let encoded = rmp_serde::encode::write(&mut self.buffer, fields);
        assert!(encoded.is_ok(), "a snapshot item was not encoded: {encoded:?}");
        if self.buffer.len() >= SNAPSHOT_BLOCK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), E::Error> {
        self.emit.emit(&self.buffer)?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&self.header);
        Ok(())
    }
}

impl SlotCapture {
    /// Captures a slot. `None` if it never had a record: a snapshot has no block of such a slot.
    fn of(slots: &Slots, index: usize) -> Option<Self> {
        let state = slots.states().get(index).filter(|state| state.seq > 0)?;
        Some(Self {
            slot: slots.own_slot(index)?,
            seq: state.seq,
            chats: state.chats().map(ChatCapture::of).collect(),
            retired: state.retired.clone(),
            users: state.users().map(UserCapture::of).collect(),
            answers: state.answers.chunks(),
        })
    }

    /// Like [`Self::of`], for a slot of this shard by its number.
    pub(super) fn of_slot(slots: &Slots, slot: Slot) -> Option<Self> {
        Self::of(slots, slots.index_of(slot).ok()?)
    }

    /// Slot sequence of the newest record that the capture has.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// How many chats and rows the capture holds, retired chats included.
    pub fn records(&self) -> u64 {
        let rows: usize =
            self.users.iter().flat_map(|user| &user.rows).map(|chunk| chunk.len()).sum();
        wide(self.chats.len() + self.retired.len() + rows)
    }

    /// How many heads the capture copied: those of chats, retired chats and users. At least 1.
    fn heads(&self) -> usize {
        (self.chats.len() + self.retired.len() + self.users.len()).max(1)
    }

    /// Encodes the slot as blocks.
    ///
    /// # Errors
    /// The errors of `emit`.
    pub fn encode<E: Emit>(&self, emit: &mut E) -> Result<(), E::Error> {
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
        // A slot without items also has a block, which carries its slot sequence.
        blocks.flush()
    }
}
