//! An engine in memory and the network around it, for tests. One seed decides all that they do.
//!
//! The engine keeps the contract of [`super::engine`]. The network may lose, delay and double
//! requests and replies, hold them back, and cut one direction. A follow may lag, repeat and end. A
//! test can make the engine break its contract: [`SimEngine::make_hole`], [`SimEngine::alter`],
//! [`SimEngine::lose_end`].
//!
//! # Invariants
//! - Equal seeds and equal calls give equal deliveries at equal times.
//! - An append takes effect at the instant at which its request arrives, for all nodes.
//! - Trimmed entries stay in [`SimEngine::history`], so that a test can compare them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::engine::{Condition, EngineReply, EngineRequest, StoredEntry};

/// What the network around the engine does, in thousandths of all requests or replies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimFaults {
    /// Requests that never arrive.
    pub lost_requests: u16,
    /// Requests that arrive twice.
    pub doubled_requests: u16,
    /// Replies that never arrive.
    pub lost_replies: u16,
    /// Replies that arrive twice.
    pub doubled_replies: u16,
    /// Replies that the network replaces by [`EngineReply::Unknown`].
    pub unknown_replies: u16,
    /// Requests and replies that take up to [`SimFaults::late`] instead of [`SimFaults::delay`].
    pub late_ones: u16,
    /// Longest time that a request or a reply usually takes.
    pub delay: Duration,
    /// Longest time that a late request or reply takes.
    pub late: Duration,
    /// Deliveries of a follow that end the follow, repeat entries, or hold entries back.
    pub bad_follows: u16,
}

/// What the network brings to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimDelivery {
    /// The node that sent the request.
    pub node: u32,
    /// The id that the node gave its request.
    pub id: u64,
    /// A reply, or one delivery of a follow.
    pub reply: EngineReply,
}

#[derive(Clone, Debug, Default)]
struct Link {
    requests_cut: bool,
    replies_cut: bool,
    stalled_until: Duration,
}

#[derive(Clone, Debug)]
struct FollowState {
    node: u32,
    id: u64,
    next: u64,
    /// When the newest delivery of the follow arrives. Later deliveries do not overtake it.
    arrives: Duration,
}

#[derive(Clone, Debug)]
enum SimEvent {
    Request { node: u32, id: u64, request: EngineRequest },
    Follow(FollowState),
    Delivery(SimDelivery),
}

/// The engine and its network.
#[derive(Clone, Debug)]
pub struct SimEngine {
    condition: Condition,
    endpoints: u16,
    faults: SimFaults,
    history: Vec<Bytes>,
    tail: u64,
    /// The last seq that is trimmed.
    trimmed: u64,
    trim_epoch: u64,
    base: Bytes,
    holes: BTreeSet<u64>,
    altered: BTreeMap<(u64, u16), Bytes>,
    links: BTreeMap<u32, Link>,
    events: BTreeMap<(Duration, u64), SimEvent>,
    now: Duration,
    serial: u64,
    random: u64,
}

impl SimEngine {
    /// An empty engine with so many endpoints, at least one.
    #[must_use]
    pub fn new(seed: u64, condition: Condition, endpoints: u16, faults: SimFaults) -> Self {
        Self {
            condition,
            endpoints: endpoints.max(1),
            faults,
            history: Vec::new(),
            tail: 0,
            trimmed: 0,
            trim_epoch: 0,
            base: Bytes::new(),
            holes: BTreeSet::new(),
            altered: BTreeMap::new(),
            links: BTreeMap::new(),
            events: BTreeMap::new(),
            now: Duration::ZERO,
            serial: 0,
            random: seed,
        }
    }

    /// Sends a request of a node to the engine. Its reply comes from [`SimEngine::next`] with this
    /// `id`.
    pub fn send(&mut self, node: u32, id: u64, request: EngineRequest) {
        let link = self.links.entry(node).or_default().clone();
        if link.requests_cut || self.chance(self.faults.lost_requests) {
            return;
        }
        let copies = if self.chance(self.faults.doubled_requests) { 2 } else { 1 };
        for _ in 0..copies {
            let at = self.way().max(link.stalled_until);
            self.schedule(at, SimEvent::Request { node, id, request: request.clone() });
        }
    }

    /// Lets time pass until the next delivery, and returns it. `None` if none comes before `until`.
    pub fn next(&mut self, until: Duration) -> Option<SimDelivery> {
        while let Some(event) = self.events.first_entry() {
            let (at, _) = *event.key();
            if at > until {
                break;
            }
            let event = event.remove();
            self.now = self.now.max(at);
            match event {
                SimEvent::Delivery(delivery) => return Some(delivery),
                SimEvent::Follow(follow) => self.turn_of(follow),
                SimEvent::Request { node, id, request } => self.arrives(node, id, request),
            }
        }
        self.now = self.now.max(until);
        None
    }

    /// Time since the engine was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Whether it checks the condition of an append.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition
    }

    /// The newest seq.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// The last seq that is trimmed; 0 before the first trim.
    #[must_use]
    pub fn trimmed(&self) -> u64 {
        self.trimmed
    }

    /// Changes the faults of the network from now on.
    pub fn set_faults(&mut self, faults: SimFaults) {
        self.faults = faults;
    }

    /// Cuts the requests of a node to the engine, the replies to the node, both, or neither.
    pub fn cut(&mut self, node: u32, requests: bool, replies: bool) {
        let link = self.links.entry(node).or_default();
        (link.requests_cut, link.replies_cut) = (requests, replies);
    }

    /// Holds back the requests of a node until the time `until`.
    pub fn stall(&mut self, node: u32, until: Duration) {
        self.links.entry(node).or_default().stalled_until = until;
    }

    /// Drops the follows of a node and the deliveries to it, as if its process had ended. Requests
    /// that it sent may still arrive.
    pub fn forget(&mut self, node: u32) {
        self.events.retain(|_, event| match event {
            SimEvent::Delivery(delivery) => delivery.node != node,
            SimEvent::Follow(follow) => follow.node != node,
            SimEvent::Request { .. } => true,
        });
    }

    /// Restarts the engine: all follows end, and all requests and replies under way are lost.
    pub fn restart(&mut self) {
        let (now, mut ended) = (self.now, Vec::new());
        for event in std::mem::take(&mut self.events).into_values() {
            if let SimEvent::Follow(FollowState { node, id, .. }) = event {
                ended.push(SimDelivery { node, id, reply: EngineReply::FollowEnded });
            }
        }
        for delivery in ended {
            self.schedule(now, SimEvent::Delivery(delivery));
        }
    }

    /// All entries that were appended, trimmed ones too, as they were appended. Lost ones are
    /// missing.
    pub fn history(&self) -> impl Iterator<Item = StoredEntry> {
        let seqs = 1..;
        seqs.zip(&self.history).map(|(seq, bytes)| StoredEntry { seq, bytes: bytes.clone() })
    }

    /// Breaks the contract: no endpoint has the entry any more.
    pub fn make_hole(&mut self, seq: u64) {
        self.holes.insert(seq);
    }

    /// Breaks the contract: one endpoint returns the entry with some bits of one byte flipped.
    pub fn alter(&mut self, seq: u64, endpoint: u16, at: usize, mask: u8) {
        let stored = self.stored(seq, endpoint);
        let mut bytes = stored.unwrap_or_default().to_vec();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= mask;
        }
        self.altered.insert((seq, endpoint), bytes.into());
    }

    /// Breaks the contract: the entries after seq `tail` are lost, as if they never were.
    pub fn lose_end(&mut self, tail: u64) {
        self.tail = self.tail.min(tail);
        self.history.truncate(usize::try_from(self.tail).unwrap_or(usize::MAX));
    }

    /// Mends that: the entries are there again, as before [`SimEngine::lose_end`].
    pub fn bring_back(&mut self, entries: impl IntoIterator<Item = StoredEntry>) {
        let lost: Vec<Bytes> =
            entries.into_iter().skip(self.history.len()).map(|entry| entry.bytes).collect();
        self.history.extend(lost);
        self.tail = u64::try_from(self.history.len()).unwrap_or(u64::MAX);
    }

    /// Mends holes and altered entries: every endpoint has what was appended.
    pub fn mend(&mut self) {
        self.holes.clear();
        self.altered.clear();
    }

    fn schedule(&mut self, at: Duration, event: SimEvent) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: u64) -> u64 {
        self.draw() % count.max(1)
    }

    fn chance(&mut self, thousandths: u16) -> bool {
        thousandths > 0 && self.below(1000) < thousandths.into()
    }

    /// When a request or a reply that leaves now arrives.
    fn way(&mut self) -> Duration {
        let is_late = self.chance(self.faults.late_ones);
        let longest = if is_late { self.faults.late } else { self.faults.delay };
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        self.now.saturating_add(Duration::from_micros(self.below(micros.saturating_add(1))))
    }

    fn arrives(&mut self, node: u32, id: u64, request: EngineRequest) {
        let reply = match request {
            EngineRequest::Append { expect, entry } => self.append(expect, entry),
            EngineRequest::Tail => EngineReply::Tail { seq: self.tail },
            EngineRequest::Read { from, max, endpoint } => self.read(from, max, endpoint),
            EngineRequest::Follow { from } => {
                let follow = FollowState { node, id, next: from, arrives: self.now };
                self.schedule(self.now, SimEvent::Follow(follow));
                return;
            }
            EngineRequest::Trim { epoch, upto, base } => self.trim(epoch, upto, base),
            EngineRequest::Endpoints => EngineReply::Endpoints(self.endpoints),
        };
        if self.links.entry(node).or_default().replies_cut || self.chance(self.faults.lost_replies)
        {
            return;
        }
        let is_unknown = self.chance(self.faults.unknown_replies);
        let reply = if is_unknown { EngineReply::Unknown } else { reply };
        let copies = if self.chance(self.faults.doubled_replies) { 2 } else { 1 };
        for _ in 0..copies {
            let at = self.way();
            let reply = reply.clone();
            self.schedule(at, SimEvent::Delivery(SimDelivery { node, id, reply }));
        }
    }

    fn append(&mut self, expect: u64, entry: Bytes) -> EngineReply {
        if self.condition == Condition::Checked && expect != self.tail {
            return EngineReply::Conflict;
        }
        self.history.push(entry);
        self.tail += 1;
        EngineReply::Appended { seq: self.tail }
    }

    /// The bytes that an endpoint returns for an entry. `None` if the endpoint does not have it.
    fn stored(&self, seq: u64, endpoint: u16) -> Option<Bytes> {
        let is_kept = seq == 1 || seq > self.trimmed;
        if !is_kept || seq > self.tail || self.holes.contains(&seq) {
            return None;
        }
        let at = usize::try_from(seq.checked_sub(1)?).ok()?;
        let altered = self.altered.get(&(seq, endpoint));
        altered.or_else(|| self.history.get(at)).cloned()
    }

    fn read(&mut self, from: u64, max: usize, endpoint: Option<u16>) -> EngineReply {
        let any = u16::try_from(self.below(self.endpoints.into())).unwrap_or(0);
        let endpoint = endpoint.unwrap_or(any);
        if (2..=self.trimmed).contains(&from) {
            return EngineReply::Gone { base: self.base.clone() };
        }
        // After a trim, genesis stays but entry 2 is gone. A read gives no entries behind a gap.
        let last = if from == 1 && self.trimmed > 0 { 1 } else { self.tail };
        let found = (from..=last)
            .filter_map(|seq| self.stored(seq, endpoint).map(|bytes| StoredEntry { seq, bytes }));
        EngineReply::Entries(found.take(max).collect())
    }

    fn trim(&mut self, epoch: u64, upto: u64, base: Bytes) -> EngineReply {
        if epoch < self.trim_epoch || upto < self.trimmed || upto >= self.tail {
            return EngineReply::TrimRefused;
        }
        (self.trim_epoch, self.trimmed, self.base) = (epoch, upto, base);
        EngineReply::Trimmed
    }

    /// Delivers the new entries to a follow. A bad follow gets fewer entries, old entries again, or
    /// its end.
    fn turn_of(&mut self, mut follow: FollowState) {
        let FollowState { node, id, .. } = follow;
        let link = self.links.entry(node).or_default().clone();
        let is_bad = self.chance(self.faults.bad_follows);
        follow.arrives = self.way().max(follow.arrives);
        let deliver = |reply| SimEvent::Delivery(SimDelivery { node, id, reply });
        if link.replies_cut || is_bad && self.below(4) == 0 {
            self.schedule(follow.arrives, deliver(EngineReply::FollowEnded));
            return;
        }
        let again = if is_bad { self.below(3) } else { 0 };
        let from = follow.next.saturating_sub(again).max(1);
        let most = if is_bad { self.below(3) } else { 64 };
        match self.read(from, usize::try_from(most).unwrap_or(64), None) {
            EngineReply::Entries(entries) => {
                if let Some(last) = entries.last() {
                    follow.next = follow.next.max(last.seq.saturating_add(1));
                    self.schedule(follow.arrives, deliver(EngineReply::Entries(entries)));
                }
            }
            gone => {
                self.schedule(follow.arrives, deliver(gone));
                return;
            }
        }
        let later = self.way().max(self.now + Duration::from_millis(8)).max(link.stalled_until);
        self.schedule(later, SimEvent::Follow(follow));
    }
}
