//! Keeps the requests of one connection that name the same key in the order sent.
//!
//! Most requests keep their order by themselves: each goes straight to the shard of its key, in a
//! queue that nothing overtakes (see [`crate::node::mailbox`]). A *detour* goes over another shard,
//! or takes several steps, and has certainly reached its key only when it is answered. Until then,
//! later requests of the connection for that key are held. [`footprint`] says which keys a request
//! touches, and how.
//!
//! Invariants:
//! - A request waits only for requests that were sent before it. So at least one can always
//!   continue.
//! - A held request is released after all earlier requests that have a key in common with it.
//! - A lane, the queue of one key, is in the table exactly while a request is under way in it or
//!   waits for it.
//! - At most `KEYS_MAX` keys are in the table. A key counts once for each request that names it.

pub mod footprint;

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::command::Use;
use crate::node::Work;
use crate::node::responder::RequestInfo;
use crate::protocol::fast_path::PlainCommand;
use crate::types::KeyHasher;
use footprint::{Footprint, KeyTouch, Scope};

/// Most keys in the table. A request that would exceed it waits for all requests before it, and all
/// later requests wait for it.
const KEYS_MAX: usize = 4096;

/// What a request under way carries, so that [`Order::done`] finds the keys that it occupies.
///
/// It is the touch of its key if the request has one key, else the number of its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderKey(u64);

impl OrderKey {
    /// A flag of the mark, not of the key: the reply may be large.
    const LARGE: u64 = KeyTouch::FREE;
    /// A flag: the order key has the number of an entry, not the touch of a detour.
    const ENTRY: u64 = 0b1;
    const ENTRY_SHIFT: u32 = 5;

    fn of_entry(number: u64) -> Self {
        Self(number << Self::ENTRY_SHIFT | Self::ENTRY)
    }

    /// Packs an order key, and whether the reply may be large, into one number. The responder
    /// carries this mark and returns it with the reply.
    pub fn mark(order_key: Option<Self>, is_large: bool) -> u64 {
        let order_key = order_key.map_or(0, |order_key| order_key.0);
        if is_large { order_key | Self::LARGE } else { order_key }
    }

    /// Unpacks [`Self::mark`]: the order key for [`Order::done`], if there is one, and whether the
    /// reply may be large.
    pub fn of_mark(mark: u64) -> (Option<Self>, bool) {
        let order_key = mark & !Self::LARGE;
        ((order_key != 0).then_some(Self(order_key)), mark & Self::LARGE != 0)
    }
}

/// A request that may be submitted now, as no earlier one blocks it.
#[derive(Debug)]
pub struct Going {
    /// The request's id, start and size.
    pub asked: RequestInfo,
    /// The work to submit.
    pub work: Work,
    /// The caller gives it to [`Order::done`] when the request is answered. `None` if no request
    /// waits for this one.
    pub order_key: Option<OrderKey>,
}

/// The queue of one key: the requests that touch it.
#[derive(Debug, Default)]
struct Lane {
    /// Requests that are under way or may be submitted, counted by what they do to the key.
    open: [u32; Use::COUNT],
    /// The requests that wait for this key, in the order sent: the numbers of their entries, and
    /// their uses.
    waiting: VecDeque<(u64, Use)>,
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.open.iter().all(|open| *open == 0) && self.waiting.is_empty()
    }

    /// Whether a new request need not wait in this lane.
    fn is_free_for(&self, used: Use) -> bool {
        self.waiting.is_empty() && self.admits(used)
    }

    /// Whether the requests of this lane allow another one with this use beside them.
    fn admits(&self, used: Use) -> bool {
        let (own, all) = (self.open[used.index()], self.open.iter().sum::<u32>());
        all == if used.is_shared() { own } else { 0 }
    }

    /// Lets an entry into the lane, or queues it behind earlier ones. Returns whether it waits.
    fn enter(&mut self, number: u64, used: Use) -> bool {
        let waits = !self.is_free_for(used);
        match waits {
            true => self.waiting.push_back((number, used)),
            false => self.open[used.index()] += 1,
        }
        waits
    }

    /// Removes an answered request from the lane, and lets in the waiting entries that it blocked.
    /// Calls `next` with the number of each.
    fn leave(&mut self, used: Use, mut next: impl FnMut(u64)) {
        self.open[used.index()] = self.open[used.index()].saturating_sub(1);
        while let Some(&(number, used)) = self.waiting.front()
            && self.admits(used)
        {
            self.waiting.pop_front();
            self.open[used.index()] += 1;
            next(number);
        }
    }
}

/// A request that is held, or one with several keys that is under way by a detour.
#[derive(Debug)]
struct TrackedRequest {
    footprint: Footprint,
    /// The number of lanes in which the request still waits.
    missing: usize,
    /// The request while it is held; `None` once it is submitted.
    held: Option<(RequestInfo, Work)>,
}

/// The order of one connection's requests.
#[derive(Debug, Default)]
pub struct Order {
    /// Requests that are held, or under way by a detour.
    tracked: usize,
    /// How many keys the tracked requests name. A key counts once for each request.
    touches: usize,
    lanes: HashMap<u64, Lane>,
    /// How many of the lanes belong to chats; the others belong to users.
    chats: usize,
    /// One lane for all keys. Each tracked request is in it, so that a request that touches
    /// everything waits for all others.
    all: Lane,
    entries: HashMap<u64, TrackedRequest>,
    next: u64,
    /// Held requests that may be submitted.
    ready: VecDeque<u64>,
    held: usize,
    held_bytes: usize,
}

impl Order {
    /// The number of held requests.
    pub fn held(&self) -> usize {
        self.held
    }

    /// The bytes of the held requests, as their clients encoded them.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether a request on the fast path may go to its shard now: none of its keys is in the
    /// table.
    pub fn is_free(&self, command: PlainCommand<'_>) -> bool {
        self.tracked == 0 || self.has_no_key_of(command)
    }

    fn has_no_key_of(&self, command: PlainCommand<'_>) -> bool {
        let is_in = |touch: KeyTouch| self.lanes.contains_key(&touch.key());
        let has_user =
            command.user_id().is_some_and(|id| is_in(KeyTouch::user(id.hash, Use::Read)));
        let is_chat_in = |hash| is_in(KeyTouch::chat(hash, Use::Read));
        let has_chat = self.chats > 0
            && match command {
                PlainCommand::List { .. } => false,
                PlainCommand::Detail { mut ids, .. } => ids.any(|id| is_chat_in(id.hash)),
                PlainCommand::Advance(advance) => is_chat_in(advance.chat_id.hash),
                PlainCommand::MarkRead(read) => is_chat_in(read.chat_id.hash),
            };
        self.all.is_free_for(Use::Read) && !has_user && !has_chat
    }

    /// Takes a request, and returns it if it may be submitted now. Otherwise holds it and returns
    /// `None`; [`Self::release`] returns it later.
    ///
    /// If the result has an `order_key`, the caller must call [`Self::done`] when the request is
    /// answered.
    pub fn take(&mut self, asked: RequestInfo, work: Work, hasher: KeyHasher) -> Option<Going> {
        let scope = match (self.tracked, self.chats) {
            (0, _) => Scope::Detours,
            (_, 0) => Scope::Users,
            _ => Scope::All,
        };
        let mut footprint = Footprint::of(&work, hasher, scope);
        if footprint.is_empty() && scope != Scope::Users {
            return Some(Going { asked, work, order_key: None });
        }
        if footprint.is_detour() {
            footprint = self.bounded(footprint);
        }
        if self.is_free_for(&footprint) {
            let order_key = self.begin(footprint);
            return Some(Going { asked, work, order_key });
        }
        if scope != Scope::All {
            footprint = Footprint::of(&work, hasher, Scope::All);
        }
        if footprint.is_empty() {
            return Some(Going { asked, work, order_key: None });
        }
        self.hold(asked, work, footprint);
        None
    }

    /// Returns the footprint, or that of a request which touches everything if the table has no
    /// room for its keys.
    fn bounded(&self, footprint: Footprint) -> Footprint {
        match self.touches + footprint.touches.len() > KEYS_MAX {
            true => Footprint::everything(),
            false => footprint,
        }
    }

    fn is_free_for(&self, footprint: &Footprint) -> bool {
        let is_free = |touch: &KeyTouch| {
            self.lanes.get(&touch.key()).is_none_or(|lane| lane.is_free_for(touch.used()))
        };
        self.all.is_free_for(footprint.of_all()) && footprint.touches.iter().all(is_free)
    }

    /// Enters a request that is submitted now into the lanes of its detours.
    fn begin(&mut self, mut footprint: Footprint) -> Option<OrderKey> {
        footprint.touches.retain(|touch| touch.is_detour());
        if !footprint.is_detour() {
            return None;
        }
        self.tracked += 1;
        self.touches += footprint.touches.len();
        self.all.open[footprint.of_all().index()] += 1;
        for touch in &footprint.touches {
            let lane = lane(&mut self.lanes, &mut self.chats, *touch);
            lane.open[touch.used().index()] += 1;
        }
        match (footprint.touches.as_slice(), footprint.all) {
            ([touch], None) => Some(OrderKey(touch.0)),
            _ => Some(OrderKey::of_entry(self.keep(TrackedRequest {
                footprint,
                missing: 0,
                held: None,
            }))),
        }
    }

    fn keep(&mut self, entry: TrackedRequest) -> u64 {
        self.next += 1;
        self.entries.insert(self.next, entry);
        self.next
    }

    fn hold(&mut self, asked: RequestInfo, work: Work, footprint: Footprint) {
        let footprint = self.bounded(footprint);
        self.tracked += 1;
        self.touches += footprint.touches.len();
        self.held += 1;
        self.held_bytes += asked.bytes;
        let number = self.next + 1;
        let mut missing = usize::from(self.all.enter(number, footprint.of_all()));
        for touch in &footprint.touches {
            let lane = lane(&mut self.lanes, &mut self.chats, *touch);
            missing += usize::from(lane.enter(number, touch.used()));
        }
        self.keep(TrackedRequest { footprint, missing, held: Some((asked, work)) });
        if missing == 0 {
            self.ready.push_back(number);
        }
    }

    /// Removes an answered request from its lanes. The held requests that it blocked become ready.
    pub fn done(&mut self, order_key: OrderKey) {
        if order_key.0 & KeyTouch::DETOUR != 0 {
            self.leave(KeyTouch(order_key.0));
            self.end(Use::Read);
        } else if let Some(entry) = self.entries.remove(&(order_key.0 >> OrderKey::ENTRY_SHIFT)) {
            entry.footprint.touches.iter().for_each(|touch| self.leave(*touch));
            self.end(entry.footprint.of_all());
        }
    }

    /// Whether [`Self::release`] has a request to return.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Returns the next held request that may be submitted, as [`Self::take`] does.
    pub fn release(&mut self) -> Option<Going> {
        let number = self.ready.pop_front()?;
        let entry = self.entries.get_mut(&number)?;
        let (asked, work) = entry.held.take()?;
        self.held -= 1;
        self.held_bytes -= asked.bytes;
        let direct: Vec<KeyTouch> =
            entry.footprint.touches.iter().filter(|touch| !touch.is_detour()).copied().collect();
        entry.footprint.touches.retain(|touch| touch.is_detour());
        let is_detour = entry.footprint.is_detour();
        direct.into_iter().for_each(|touch| self.leave(touch));
        if !is_detour {
            self.entries.remove(&number);
            self.end(Use::Read);
        }
        Some(Going { asked, work, order_key: is_detour.then(|| OrderKey::of_entry(number)) })
    }

    /// Removes a request from the lane of this key, and lets in those that it blocked.
    fn leave(&mut self, touch: KeyTouch) {
        let Self { lanes, entries, ready, chats, touches, .. } = self;
        *touches = touches.saturating_sub(1);
        let Some(lane) = lanes.get_mut(&touch.key()) else { return };
        lane.leave(touch.used(), |number| let_in(entries, ready, number));
        if lane.is_idle() {
            *chats -= usize::from(touch.is_of_chat());
            lanes.remove(&touch.key());
        }
    }

    /// Removes a request from the lane of all keys, and from the count of tracked requests.
    fn end(&mut self, used: Use) {
        let Self { all, entries, ready, .. } = self;
        all.leave(used, |number| let_in(entries, ready, number));
        self.tracked = self.tracked.saturating_sub(1);
    }
}

/// The lane of a key. If the key has none, adds one.
fn lane<'a>(lanes: &'a mut HashMap<u64, Lane>, chats: &mut usize, touch: KeyTouch) -> &'a mut Lane {
    lanes.entry(touch.key()).or_insert_with(|| {
        *chats += usize::from(touch.is_of_chat());
        Lane::default()
    })
}

/// Notes that an entry waits in one lane fewer. If that was the last, it becomes ready.
fn let_in(entries: &mut HashMap<u64, TrackedRequest>, ready: &mut VecDeque<u64>, number: u64) {
    if let Some(entry) = entries.get_mut(&number) {
        entry.missing = entry.missing.saturating_sub(1);
        if entry.missing == 0 {
            ready.push_back(number);
        }
    }
}

#[cfg(test)]
mod tests;
