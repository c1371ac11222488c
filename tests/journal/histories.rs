//! Random histories of several nodes on one engine. The network loses, delays and doubles requests
//! and replies, nodes pause and restart, clocks have different speeds, actives trim, and one
//! endpoint may alter bytes. Half of the histories are on an engine without a condition.
//!
//! After each history:
//! - a reader of all that was ever appended finds no gap and no damage;
//! - each acknowledged record is there, at its LSN, and no record is there twice;
//! - every node has applied exactly a part of these records.
//!
//! And at each moment at most one node answers, and it has every record that was acknowledged.

use std::collections::BTreeSet;
use std::time::Duration;

use chatshard::journal::engine::{Condition, EngineRequest};
use chatshard::journal::entry::{ControlBody, EntryHeader, Genesis};
use chatshard::journal::reader::{Content, JournalReader, Verdict};
use chatshard::journal::sim::{SimEngine, SimFaults};
use snapshot::Lsn;

use super::node::{Draw, ENDPOINTS, JOURNAL, Node};

const NODES: u32 = 3;
const LENGTH: Duration = Duration::from_millis(1500);
const HEALING: Duration = Duration::from_millis(900);
/// Histories of a usual run.
const HISTORIES: u64 = 1000;

/// What happened in histories, to see that they are not empty.
#[derive(Debug, Default)]
pub struct Tally {
    pub acked: usize,
    pub claims: u64,
    pub beats: u64,
    pub void: u64,
    pub damaged: u64,
    pub entries: u64,
}

/// The first entry of the journal of these tests.
pub fn genesis() -> bytes::Bytes {
    let body = ControlBody::Genesis(Genesis {
        format: 1,
        hash_seed: 7,
        slots: 4096,
        incarnation: 9,
        partitions: 1,
    });
    let header = EntryHeader {
        kind: body.kind(),
        part: 0,
        parts: 1,
        journal: JOURNAL,
        epoch: 0,
        writer: 1,
        index: 1,
        first: Lsn(1),
        records: 0,
        time_ms: 0,
        previous: 0,
    };
    header.seal(&body.encode().unwrap()).unwrap().bytes
}

struct World {
    sim: SimEngine,
    nodes: Vec<Node>,
    draw: Draw,
    /// The newest acknowledged record, and all of them.
    newest: Lsn,
    acked: Vec<(Lsn, u64)>,
}

pub fn condition(seed: u64) -> Condition {
    if seed.is_multiple_of(2) { Condition::Checked } else { Condition::ReadBack }
}

fn faults(draw: &mut Draw) -> SimFaults {
    let ms = Duration::from_millis;
    let mut some = |most: u64| u16::try_from(draw.below(most + 1)).unwrap();
    SimFaults {
        lost_requests: some(150),
        doubled_requests: some(200),
        lost_replies: some(150),
        doubled_replies: some(100),
        unknown_replies: some(50),
        late_ones: some(100),
        delay: ms(some(12).into()),
        late: ms(600),
        bad_follows: some(300),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut draw = Draw(seed);
        let condition = condition(seed);
        let mut sim = SimEngine::new(draw.draw(), condition, ENDPOINTS, SimFaults::default());
        sim.send(0, 0, EngineRequest::Append { expect: 0, entry: genesis() });
        sim.next(Duration::ZERO).unwrap();
        sim.set_faults(faults(&mut draw));
        let nodes = (0..NODES).map(|number| Node::new(number, condition, &mut draw)).collect();
        Self { sim, nodes, draw, newest: Lsn(0), acked: Vec::new() }
    }

    /// Runs up to this time: deliveries as they come, and all nodes every few ms.
    fn run(&mut self, until: Duration, is_healthy: bool) -> Result<(), String> {
        while self.sim.now() < until {
            let tick = self.sim.now() + Duration::from_millis(4 + self.draw.below(12));
            while let Some(delivery) = self.sim.next(tick) {
                let node = &mut self.nodes[usize::try_from(delivery.node).unwrap()];
                if node.paused_until > self.sim.now() {
                    node.waiting.push((delivery.id, delivery.reply));
                    continue;
                }
                node.on_reply(&mut self.sim, delivery.id, delivery.reply, &mut self.draw)?;
                self.check()?;
            }
            for at in 0..self.nodes.len() {
                if !is_healthy {
                    self.disturb(at);
                }
                let node = &mut self.nodes[at];
                if node.paused_until > self.sim.now() {
                    continue;
                }
                for (id, reply) in std::mem::take(&mut node.waiting) {
                    node.on_reply(&mut self.sim, id, reply, &mut self.draw)?;
                }
                node.turn(&mut self.sim, &mut self.draw)?;
            }
            self.check()?;
        }
        Ok(())
    }

    /// Something bad happens to a node now and then.
    fn disturb(&mut self, at: usize) {
        if !self.draw.one_in(60) {
            return;
        }
        let (now, draw) = (self.sim.now(), &mut self.draw);
        let node = &mut self.nodes[at];
        match draw.below(6) {
            0 => {
                node.restart(&mut self.sim, draw);
                node.waiting.clear();
                node.paused_until = now + Duration::from_millis(draw.below(500));
            }
            1 => node.paused_until = now + Duration::from_millis(draw.below(700)),
            2 => self.sim.stall(node.number, now + Duration::from_millis(draw.below(500))),
            3 => self.sim.cut(node.number, draw.one_in(2), draw.one_in(2)),
            4 => self.sim.cut(node.number, false, false),
            _ => {
                let seq = self.sim.tail();
                if seq > 1 {
                    self.sim.alter(seq, 0, usize::try_from(draw.below(80)).unwrap(), 0x10);
                }
            }
        }
    }

    /// What must hold at each moment.
    fn check(&mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            for (lsn, record) in node.acked.drain(..) {
                self.newest = self.newest.max(lsn);
                self.acked.push((lsn, record));
            }
        }
        let now = self.sim.now();
        let answering: Vec<&Node> = self.nodes.iter().filter(|node| node.answers(now)).collect();
        if answering.len() > 1 {
            return Err(format!("{} nodes answer at {now:?}", answering.len()));
        }
        match answering.iter().find(|node| node.applied.last() < self.newest) {
            Some(node) => Err(format!(
                "node {} answers at {now:?} from LSN {}, and {} is acknowledged",
                node.number,
                node.applied.last(),
                self.newest
            )),
            None => Ok(()),
        }
    }

    /// What must hold at the end.
    fn check_all(&self) -> Result<Tally, String> {
        let condition = self.sim.condition();
        let mut reader = JournalReader::new(JOURNAL, condition);
        let (mut records, mut tally) = (Vec::new(), Tally::default());
        for entry in self.sim.history() {
            tally.entries += 1;
            match reader.accept(entry.seq, &entry.bytes) {
                Verdict::Accepted(accepted) => {
                    if let Content::Records(batch) = accepted.content {
                        let record = |payload: &[u8]| *payload.first_chunk::<8>().unwrap();
                        records.extend(batch.payloads().map(record).map(u64::from_le_bytes));
                    }
                }
                Verdict::Void => {}
                other => return Err(format!("the whole journal: {other:?}")),
            }
        }
        let unique: BTreeSet<u64> = records.iter().copied().collect();
        if unique.len() != records.len() {
            return Err("a record is there twice".to_owned());
        }
        for (lsn, record) in &self.acked {
            let at = usize::try_from(lsn.0 - 1).unwrap();
            if records.get(at) != Some(record) {
                return Err(format!("the acknowledged record {lsn} is lost or moved"));
            }
        }
        for node in &self.nodes {
            let before = usize::try_from(node.applied.before).unwrap();
            let own = &node.applied.records;
            if records.get(before..before + own.len()) != Some(own.as_slice()) {
                return Err(format!("node {} has applied other records", node.number));
            }
            // The active goes on, so a standby may be some entries behind.
            let is_active = node.writer.is_some();
            if !is_active && node.next_seq() + 20 < self.sim.tail() {
                return Err(format!("node {} does not follow", node.number));
            }
            tally.claims += node.claims;
            tally.beats += node.beats;
            tally.damaged += node.damaged;
        }
        tally.void = reader.void();
        tally.acked = self.acked.len();
        if condition == Condition::Checked && tally.void > 0 {
            return Err(format!("{} entries are void, with a condition", tally.void));
        }
        Ok(tally)
    }
}

/// Plays one history.
pub fn play(seed: u64) -> Result<Tally, String> {
    let mut world = World::new(seed);
    world.run(LENGTH, false)?;
    world.sim.set_faults(SimFaults { delay: Duration::from_millis(5), ..SimFaults::default() });
    for node in 0..NODES {
        world.sim.cut(node, false, false);
    }
    world.run(LENGTH + HEALING, true)?;
    world.check_all()
}

#[test]
fn no_acknowledged_entry_is_lost_and_all_readers_agree() {
    let set = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let drawn = std::process::id().into();
    let (first, count) = match (set("CHATSHARD_JOURNAL_SEED"), set("CHATSHARD_JOURNAL_HISTORIES")) {
        (Some(seed), _) => (seed, 1),
        (None, Some(count)) => (Draw(drawn).draw() >> 1, count),
        (None, None) => (0, HISTORIES),
    };
    let mut all = Tally::default();
    for seed in first..first + count {
        match play(seed) {
            Ok(tally) => {
                all.acked += tally.acked;
                all.claims += tally.claims;
                all.beats += tally.beats;
                all.void += tally.void;
                all.damaged += tally.damaged;
                all.entries += tally.entries;
            }
            Err(why) => panic!("CHATSHARD_JOURNAL_SEED={seed}: {why}"),
        }
    }
    println!("{count} histories from seed {first}: {all:?}");
    let played = usize::try_from(count).unwrap();
    assert!(count == 1 || all.acked > 10 * played, "too few are acknowledged: {all:?}");
    assert!(count == 1 || all.claims > count && all.beats > count && all.damaged > 0, "{all:?}");
    assert!(count == 1 || all.void > count, "{all:?}");
}
