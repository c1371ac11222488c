//! A whole node in one thread: the cores and routers of production. Lanes between them are emptied
//! one message at a time.
//!
//! The node keeps the promises of production. Each lane between two cores keeps its order, and the
//! records of a step are in the log before its messages and answers leave. Where production
//! promises no order, [`Order`] decides: in turn, or at random from a seed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use chatshard::command::ping::PingReply;
use chatshard::command::stats::Stats;
use chatshard::command::{Command, Outcome, Reply};
use chatshard::limits::IDEMPOTENCY_WINDOW_MS;
use chatshard::router::Router;
use chatshard::shard::machine::{SlotCapture, SlotDigest};
use chatshard::shard::op::{Answer, Envelope, Op, Output, ReplyTo};
use chatshard::shard::state::FirstAnswer;
use chatshard::shard::{Shard, events};
use chatshard::types::{KeyHasher, ShardCount, ShardId, Slot, TimeMs};
use serde_json::Value;
use snapshot::Lsn;

use super::random::Random;

/// Which lane is served next.
#[derive(Debug, Clone)]
pub enum Order {
    /// One lane after the other.
    Turns(usize),
    /// A random lane, drawn from this state.
    Random(Random),
}

impl Order {
    fn pick(&mut self, choices: usize) -> usize {
        match self {
            Self::Turns(next) => {
                *next = next.wrapping_add(1);
                *next % choices
            }
            Self::Random(random) => usize::try_from(random.below(choices as u64)).unwrap(),
        }
    }
}

enum Cargo {
    Request(ReplyTo, Op),
    Message(Envelope),
    Answer(ReplyTo, Answer),
}

/// Requests, messages and answers may overtake each other. Production has at most as many lanes for
/// them.
const LANES_A_LINK: usize = 3;

/// A snapshot, with the place in the log at which it was begun.
#[derive(Debug, Clone, Default)]
pub struct SimSnapshot {
    /// Blocks as they would be written to the disk.
    pub blocks: Vec<Vec<u8>>,
    /// Records in the log when the snapshot was begun.
    pub log_start: usize,
}

/// A node; the module's documentation says what it promises.
pub struct SimNode {
    shards: ShardCount,
    hash_seed: u64,
    now: u64,
    states: Vec<Shard>,
    routers: Vec<Router<u64>>,
    /// The lane at `(from * shards + to) * LANES_A_LINK + kind`.
    lanes: Vec<VecDeque<Cargo>>,
    /// Lanes that are not empty.
    busy: Vec<usize>,
    order: Order,
    log: Vec<Vec<u8>>,
    /// Length of the log after each step that wrote to it. A crash may cut the log there.
    cuts: Vec<usize>,
    finished: BTreeMap<u64, Outcome>,
    next_ticket: u64,
    starts: u64,
    incarnation: u64,
    snapshot_number: u64,
    snapshot: SimSnapshot,
    /// The weight for [`Shard::remember_at_least`], kept for new shards.
    remembers: Option<u64>,
    /// The digest of the probe under way, which its second record has still to get.
    probe: Option<SlotDigest>,
    /// Digests of the log that the start compared.
    compared: u64,
}

impl SimNode {
    /// An empty node.
    pub fn new(shards: u16, hash_seed: u64) -> Self {
        Self::from_parts(shards, hash_seed, 1, &SimSnapshot::default(), Vec::new())
    }

    /// A node that starts from these records.
    pub fn from_log(shards: u16, hash_seed: u64, records: &[Vec<u8>]) -> Self {
        Self::from_parts(shards, hash_seed, 1, &SimSnapshot::default(), records.to_vec())
    }

    /// A node that starts from a snapshot and a log.
    fn from_parts(
        shards: u16,
        hash_seed: u64,
        starts: u64,
        snapshot: &SimSnapshot,
        log: Vec<Vec<u8>>,
    ) -> Self {
        let shards = ShardCount::new(shards).unwrap();
        let hasher = KeyHasher::new(hash_seed);
        let mut states: Vec<Shard> =
            shards.all().map(|shard| Shard::new(shard, shards, hasher)).collect();
        let owner = |bytes: &[u8]| events::slot_of(bytes).unwrap().shard(shards).index();
        for block in &snapshot.blocks {
            states[owner(block)].restore(block).unwrap();
        }
        // Items of the snapshot are counted here; records of the log count themselves.
        if !snapshot.blocks.is_empty() {
            states.iter_mut().for_each(|shard| shard.recount().unwrap());
        }
        // Some of these records are in the snapshot already, and the node must pass over them.
        let mut compared = 0;
        for record in &log[snapshot.log_start / 2..] {
            let state = &mut states[owner(record)];
            state.replay(record).unwrap();
            if let Some(capture) = state.take_probe(Lsn(0)) {
                state.hashed_in_replay(capture.digest());
            }
            if let Some(comparison) = state.take_comparison() {
                assert!(comparison.is_equal(), "{comparison}");
                compared += 1;
            }
        }
        let lanes = usize::from(shards.get()).pow(2) * LANES_A_LINK;
        let routers = shards
            .all()
            .map(|shard| Router::new(shard, shards, hasher, (starts << 16) + u64::from(shard.0)))
            .collect();
        let mut node = Self {
            shards,
            hash_seed,
            now: super::NOW,
            states,
            routers,
            lanes: std::iter::repeat_with(VecDeque::new).take(lanes).collect(),
            busy: Vec::new(),
            order: Order::Turns(0),
            cuts: vec![log.len()],
            log,
            finished: BTreeMap::new(),
            next_ticket: 0,
            starts,
            incarnation: 0,
            snapshot_number: 0,
            snapshot: SimSnapshot::default(),
            remembers: None,
            probe: None,
            compared,
        };
        for index in 0..node.states.len() {
            let mut out = Output::default();
            node.states[index].start(&mut out);
            node.carry_out(index, out);
        }
        node
    }

    /// Serves the lanes in random order from now on.
    pub fn shuffle(&mut self, seed: u64) {
        self.order = Order::Random(Random::new(seed));
    }

    /// Sets the server's time, in ms.
    pub fn set_time(&mut self, ms: u64) {
        self.now = ms;
    }

    /// The server's time, in ms.
    pub fn time(&self) -> u64 {
        self.now
    }

    /// A shard, for settings that in production its worker makes: that it must refuse.
    pub fn shard(&mut self, id: ShardId) -> &mut Shard {
        &mut self.states[id.index()]
    }

    /// Number of shards.
    pub fn shards(&self) -> u16 {
        self.shards.get()
    }

    /// The records so far.
    pub fn log(&self) -> &[Vec<u8>] {
        &self.log
    }

    /// Lengths that the log may have after a crash. The records of a step are one batch, which is
    /// there as a whole or not at all.
    pub fn cuts(&self) -> &[usize] {
        &self.cuts
    }

    /// Gives a command to a core. Its outcome comes with later steps.
    pub fn submit(&mut self, core: u16, command: Command) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        if let Err(error) = command.check() {
            self.finished.insert(ticket, Err(error));
            return ticket;
        }
        if let Command::Ping(_) = command {
            self.finished.insert(ticket, Ok(Reply::Ping(PingReply {})));
            return ticket;
        }
        let index = usize::from(core % self.shards.get());
        let mut ops = Vec::new();
        if let Some((ticket, outcome)) = self.routers[index].submit(ticket, command, &mut ops) {
            self.finished.insert(ticket, outcome);
        }
        self.send_ops(index, ops);
        ticket
    }

    /// Runs `work` on a shard, outside its lanes. Its output goes the usual ways.
    pub fn at_shard<R>(
        &mut self,
        shard: u16,
        work: impl FnOnce(&mut Shard, &mut Output) -> R,
    ) -> R {
        let index = usize::from(shard % self.shards.get());
        let mut out = Output::default();
        self.states[index].tick(TimeMs::new(self.now).unwrap());
        let done = work(&mut self.states[index], &mut out);
        self.carry_out(index, out);
        done
    }

    /// The outcome of a command, once it is there.
    pub fn take(&mut self, ticket: u64) -> Option<Outcome> {
        self.finished.remove(&ticket)
    }

    /// Runs a command until its outcome is there. Deliveries of it may still be under way.
    pub fn run(&mut self, command: Command) -> Outcome {
        let core = u16::try_from(self.next_ticket % u64::from(self.shards.get())).unwrap();
        let ticket = self.submit(core, command);
        loop {
            if let Some(outcome) = self.take(ticket) {
                return outcome;
            }
            assert!(self.step(), "the node is quiet and the command has no outcome");
        }
    }

    /// Takes steps until nothing is under way.
    pub fn settle(&mut self) {
        while self.step() {}
        assert!(self.routers.iter().all(|router| router.pending() == 0), "a command was forgotten");
    }

    /// Delivers one item; false if nothing is under way.
    pub fn step(&mut self) -> bool {
        if self.busy.is_empty() {
            return false;
        }
        let chosen = self.order.pick(self.busy.len());
        let at = self.busy[chosen];
        let to = at / LANES_A_LINK % self.states.len();
        let cargo = self.lanes[at].pop_front().unwrap();
        if self.lanes[at].is_empty() {
            self.busy.swap_remove(chosen);
        }
        let mut out = Output::default();
        self.states[to].tick(TimeMs::new(self.now).unwrap());
        match cargo {
            Cargo::Request(from, op) => self.states[to].operation(from, op, &mut out),
            Cargo::Message(envelope) => self.states[to].message(envelope, &mut out),
            Cargo::Answer(entry, answer) => {
                let mut ops = Vec::new();
                if let Some((ticket, outcome)) = self.routers[to].answer(entry, answer, &mut ops) {
                    assert!(self.finished.insert(ticket, outcome).is_none(), "answered twice");
                }
                self.send_ops(to, ops);
            }
        }
        self.carry_out(to, out);
        true
    }

    fn send_ops(&mut self, from: usize, ops: Vec<(ShardId, ReplyTo, Op)>) {
        for (shard, to, op) in ops {
            self.put(from, shard, 0, Cargo::Request(to, op));
        }
    }

    fn carry_out(&mut self, from: usize, out: Output) {
        if !out.records.is_empty() {
            self.log.extend(out.records.payloads().map(<[u8]>::to_vec));
            self.cuts.push(self.log.len());
        }
        for (shard, envelope) in out.messages {
            self.put(from, shard, 1, Cargo::Message(envelope));
        }
        for answered in out.answers {
            self.put(from, answered.to.core, 2, Cargo::Answer(answered.to, answered.answer));
        }
    }

    fn put(&mut self, from: usize, to: ShardId, kind: usize, cargo: Cargo) {
        let at = (from * self.states.len() + to.index()) * LANES_A_LINK + kind;
        if self.lanes[at].is_empty() {
            self.busy.push(at);
        }
        self.lanes[at].push_back(cargo);
    }

    /// A node as it is after a crash now: only the log is left.
    pub fn crashed(&self, shards: u16) -> Self {
        self.found(shards, &SimSnapshot::default())
    }

    /// Like [`Self::crashed`], started from a snapshot and the log after it.
    pub fn crashed_with_snapshot(&self, shards: u16, snapshot: &SimSnapshot) -> Self {
        self.found(shards, snapshot)
    }

    /// Like [`Self::crashed`], started from a snapshot alone, as with `--log off`.
    pub fn crashed_without_log(&self, shards: u16, snapshot: &SimSnapshot) -> Self {
        let snapshot = SimSnapshot { blocks: snapshot.blocks.clone(), log_start: 0 };
        Self::from_parts(shards, self.hash_seed, self.starts + 1, &snapshot, Vec::new())
    }

    /// A node as it is after a crash that loses all records after the first `length`, acknowledged
    /// or not, as without `--fsync always`. The new log has another incarnation.
    pub fn crashed_with_loss(&self, shards: u16, length: usize) -> Self {
        let log = self.log[..length].to_vec();
        let mut node =
            Self::from_parts(shards, self.hash_seed, self.starts + 1, &SimSnapshot::default(), log);
        node.take_over(self);
        node.set_incarnation(self.incarnation + 1);
        node
    }

    fn found(&self, shards: u16, snapshot: &SimSnapshot) -> Self {
        let mut node =
            Self::from_parts(shards, self.hash_seed, self.starts + 1, snapshot, self.log.clone());
        node.take_over(self);
        node
    }

    /// Copies the settings that a crash does not change.
    fn take_over(&mut self, crashed: &Self) {
        self.now = crashed.now;
        // The state of the order continues; the draws so far do not matter to the new run.
        self.order = crashed.order.clone();
        self.set_incarnation(crashed.incarnation);
        crashed.remembers.into_iter().for_each(|weight| self.remember_at_least(weight));
    }

    /// Sets what each shard remembers of removed rows, however few rows there are.
    pub fn remember_at_least(&mut self, weight: u64) {
        self.remembers = Some(weight);
        self.states.iter_mut().for_each(|shard| shard.remember_at_least(weight));
    }

    fn set_incarnation(&mut self, incarnation: u64) {
        self.incarnation = incarnation;
        self.states.iter_mut().for_each(|shard| shard.set_incarnation(incarnation));
    }

    /// Crashes, and starts from the log alone.
    pub fn restart(&mut self, shards: u16) {
        *self = self.crashed(shards);
    }

    /// Takes a snapshot now, crashes, and starts from it and the log.
    pub fn restart_from_snapshot(&mut self, shards: u16) {
        self.begin_snapshot(0);
        let snapshot = self.finish_snapshot();
        *self = self.crashed_with_snapshot(shards, &snapshot);
    }

    /// Begins a snapshot on one shard. The other shards begin with [`Self::finish_snapshot`], or when
    /// a message of a shard that has begun reaches them.
    pub fn begin_snapshot(&mut self, shard: u16) {
        self.snapshot_number += 1;
        self.snapshot = SimSnapshot { blocks: Vec::new(), log_start: self.log.len() };
        let index = usize::from(shard % self.shards.get());
        self.states[index].begin_snapshot(self.snapshot_number);
    }

    /// Captures some slots of the snapshot that was begun, on one shard.
    pub fn capture(&mut self, shard: u16, count: usize) {
        let index = usize::from(shard % self.shards.get());
        for _ in 0..count {
            for capture in self.states[index].next_captures(1) {
                encode(&capture, &mut self.snapshot.blocks);
            }
        }
    }

    /// Captures the rest of the snapshot.
    pub fn finish_snapshot(&mut self) -> SimSnapshot {
        for shard in &mut self.states {
            shard.begin_snapshot(self.snapshot_number);
            for capture in shard.next_captures(usize::MAX) {
                encode(&capture, &mut self.snapshot.blocks);
            }
        }
        std::mem::take(&mut self.snapshot)
    }

    /// Ends the probe under way, or begins one of the slot of the newest other record.
    pub fn probe(&mut self) {
        if let Some(digest) = self.probe.take() {
            self.at_shard_of(digest.slot, |shard, out| shard.end_probe(digest, out));
            return;
        }
        let is_probe = |record: &&Vec<u8>| {
            matches!(events::decode(record).unwrap().2, events::Event::Probed(_))
        };
        let Some(newest) = self.log.iter().rev().find(|record| !is_probe(record)) else { return };
        let slot = events::slot_of(newest).unwrap();
        self.begin_probe(slot);
    }

    fn begin_probe(&mut self, slot: Slot) {
        let capture = self.at_shard_of(slot, |shard, out| {
            shard.begin_probe(slot, out);
            shard.take_probe(Lsn(0))
        });
        self.probe = capture.map(|capture| capture.digest());
    }

    /// Probes a slot, and returns its digest.
    pub fn probe_slot(&mut self, slot: u16) -> u64 {
        self.begin_probe(Slot::new(slot).unwrap());
        let digest = self.probe.expect("the slot has a record").digest;
        self.probe();
        digest
    }

    fn at_shard_of<R>(&mut self, slot: Slot, work: impl FnOnce(&mut Shard, &mut Output) -> R) -> R {
        self.at_shard(slot.shard(self.shards).0, work)
    }

    /// How many digests of its log the start of this node has compared.
    pub fn compared(&self) -> u64 {
        self.compared
    }

    /// The whole state, as a snapshot holds it: one text for each item and for each entry of a
    /// roster, with its slot and the slot's sequence. It does not depend on the number of shards.
    /// Nor does it depend on how long the node keeps first answers after their time.
    pub fn state(&mut self) -> BTreeSet<String> {
        self.begin_snapshot(0);
        let blocks = self.finish_snapshot().blocks;
        blocks.iter().flat_map(|block| items(block, self.now)).collect()
    }

    /// Fails and shows the difference, unless both nodes have the same state.
    #[track_caller]
    pub fn assert_same_state(&mut self, other: &mut Self, why: &str) {
        let (ours, theirs) = (self.state(), other.state());
        let mine: Vec<_> = ours.difference(&theirs).collect();
        let others: Vec<_> = theirs.difference(&ours).collect();
        assert!(mine.is_empty() && others.is_empty(), "{why}:\nhere {mine:#?}\nthere {others:#?}");
        let counts = |node: &mut Self| {
            let Ok(Reply::Stats(mut stats)) = node.run(Stats {}.into()) else { panic!("no stats") };
            stats.shards.clear();
            stats
        };
        assert_eq!(counts(self), counts(other), "{why}");
    }
}

/// The items of a block: `[code][MessagePack array]`. Members (2), rows (6) and first answers (8)
/// come one by one.
fn items(block: &[u8], now: u64) -> Vec<String> {
    let (head, mut rest) = block.split_at(10);
    let slot = u16::from_be_bytes([head[0], head[1]]);
    let seq = u64::from_be_bytes(head[2..].try_into().unwrap());
    let mut items = vec![format!("slot {slot} at {seq}")];
    while let Some((code, fields)) = rest.split_first() {
        rest = fields;
        if *code == 8 {
            // First answers hold bytes, and JSON has no form for bytes.
            let (answers,): (Vec<FirstAnswer>,) = rmp_serde::from_read(&mut rest).unwrap();
            let told =
                answers.iter().filter(|answer| answer.at.get() + IDEMPOTENCY_WINDOW_MS > now);
            items.extend(told.map(|answer| {
                // The order of an answer is relative to those that are still remembered, so it is
                // left out.
                let FirstAnswer { scope, order: _, request, at, reply } = answer;
                format!("slot {slot}: 8 {scope:?} {request} {at} {reply:?}")
            }));
            continue;
        }
        let item: Value = rmp_serde::from_read(&mut rest).unwrap();
        match (code, &item[1]) {
            (2 | 6, Value::Array(entries)) => items.extend(
                entries.iter().map(|entry| format!("slot {slot}: {code} {} {entry}", item[0])),
            ),
            _ => items.push(format!("slot {slot}: {code} {item}")),
        }
    }
    items
}

fn encode(capture: &SlotCapture, blocks: &mut Vec<Vec<u8>>) {
    let mut keep = |block: &[u8]| -> Result<(), std::convert::Infallible> {
        blocks.push(block.to_vec());
        Ok(())
    };
    let Ok(()) = capture.encode(&mut keep);
}
