//! The world of a seed: a disk that fails, a clock that is set, and a whole node of production's
//! parts in one thread. They act only when the world says so.
//!
//! These parts are production's: the cores at work with their mailboxes, gates and routers
//! (`LocalWorker::serve`), the log's queue and the turns of its thread, the steps of snapshots,
//! recovery. The world replaces threads, clock and file system. It polls a core only after it was
//! woken, so a missing wake-up is found.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatshard::command::Outcome;
use chatshard::node::NodeInfo;
use chatshard::node::clock::HEADROOM_MS;
use chatshard::node::clock::shared::Source;
use chatshard::node::error::StoreError;
use chatshard::node::identity::{AtRisk, Identity, KnownJournal, StoredBaseline};
use chatshard::node::log::{LogMode, LogState};
use chatshard::node::log_thread::LogThread;
use chatshard::node::prober::Prober;
use chatshard::node::probes::ProbeFigures;
use chatshard::node::snapshotter::Snapshotter;
use chatshard::node::store::{Store, StoreOptions};
use chatshard::node::worker::{LocalWorker, Worker};
use chatshard::types::ShardCount;
use serde_json::Value;
use snapshot::{Disk, FaultyDisk, LogWriter};

use super::links::Links;
use super::tally::Tally;
use super::whole_node::{NodeParts, NodeSetup, SimCore};
use crate::common::NOW;
use crate::common::random::Random;

pub const DIR: &str = "/data";

/// Events that are printed of a failing seed, unless `CHATSHARD_SIM_EVENTS` sets another number.
const EVENTS_TOLD: usize = 300;
/// Of so many seeds one writes digests of slots. Their records change the story of a seed, and no
/// seed that has found a fault is one of them.
const PROBED: (u64, u64) = (4, 2);
/// Steps after which a node without new requests counts as stuck.
const STEPS_TO_QUIET: usize = 200_000;

thread_local! {
    /// Elapsed time of the world in ms. Each seed has a thread of its own.
    static CLOCK: Cell<u64> = const { Cell::new(NOW) };
    /// Difference of the wall clock from it, in ms.
    static SET: Cell<i64> = const { Cell::new(0) };
}

/// Largest difference of the wall clock, in ms.
const SET_MAX: i64 = 40 * 365 * 24 * 60 * 60 * 1000;

fn wall_clock() -> u64 {
    CLOCK.get().strict_add_signed(SET.get())
}

const CLOCKS: Source = Source { wall: wall_clock, boot: || CLOCK.get() };

/// Why a seed fails.
pub type Fault = String;

pub struct World {
    pub random: Random,
    pub disk: FaultyDisk,
    pub tally: Tally,
    pub node: Option<Node>,
    pub trace: Trace,
    /// Number of starts of a node so far.
    pub starts: u64,
    pub began: Instant,
    /// Weight of the log among the steps: on a slow disk it seldom gets a turn.
    pub log_weight: u64,
    /// Wall clock and elapsed time at the start of this run, and the smallest value of the wall
    /// clock since.
    run_began: (u64, u64, u64),
    /// A sync of a file was planned to fail in this run.
    pub sync_may_fail: bool,
    /// Whether nodes write digests of slots.
    is_probed: bool,
    probe_figures: Arc<ProbeFigures>,
}

/// A digest of all events, and the last ones in words.
pub struct Trace {
    digest: DefaultHasher,
    last: VecDeque<String>,
    told_most: usize,
}

impl Trace {
    fn new() -> Self {
        let told = std::env::var("CHATSHARD_SIM_EVENTS").ok().and_then(|text| text.parse().ok());
        Self {
            digest: DefaultHasher::new(),
            last: VecDeque::new(),
            told_most: told.unwrap_or(EVENTS_TOLD),
        }
    }

    fn note(&mut self, what: String) {
        self.digest.write(what.as_bytes());
        self.last.push_back(what);
        if self.last.len() > self.told_most {
            self.last.pop_front();
        }
    }

    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// The last events, one to a line.
    pub fn told(&self) -> String {
        self.last.iter().fold(String::new(), |mut all, line| {
            writeln!(all, "  {line}").unwrap();
            all
        })
    }
}

/// A node that runs.
pub struct Node {
    pub info: Arc<NodeInfo>,
    cores: Vec<SimCore>,
    links: Links,
    log: Option<LogThread<LogWriter<FaultyDisk>>>,
    /// The log is written, and its sync is the next step.
    sync_is_next: bool,
    snapshotter: Snapshotter<FaultyDisk>,
    pub is_snapshotting: bool,
    prober: Prober,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        CLOCK.set(NOW);
        SET.set(0);
        let disk = FaultyDisk::new(random.draw());
        let identity = Identity {
            version: 1,
            node_id: 1 + random.below(1 << 50),
            hash_seed: random.draw() >> 11,
            slots: chatshard::limits::SLOTS,
            incarnation: 1,
            at_risk: AtRisk::Nothing,
            baseline: StoredBaseline::default(),
            member: None,
            journal: KnownJournal::default(),
            swap: None,
            file: None,
        };
        Store::made(disk.clone(), Path::new(DIR), identity).unwrap();
        Self {
            random,
            disk,
            tally: Tally::default(),
            node: None,
            trace: Trace::new(),
            starts: 0,
            began: Instant::now(),
            log_weight: 8,
            run_began: (NOW, NOW, NOW),
            sync_may_fail: false,
            is_probed: seed % PROBED.0 == PROBED.1,
            probe_figures: Arc::default(),
        }
    }

    pub fn event(&mut self, what: String) {
        self.trace.note(what);
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }

    pub fn now(&self) -> u64 {
        CLOCK.get()
    }

    pub fn pass(&mut self, ms: u64) {
        CLOCK.set(CLOCK.get() + ms);
    }

    /// Sets the wall clock, or lets it drift.
    fn set_wall_clock(&mut self) {
        let year = 365 * 24 * 60 * 60 * 1000;
        let some = i64::try_from(self.random.below(200_000)).unwrap();
        let (set, told) = match self.random.below(8) {
            0 => (SET.get() + year, "a year forward"),
            1 => (SET.get() - year, "a year back"),
            2 => (SET.get() + some, "forward"),
            3 => (SET.get() - some, "back"),
            4 => (SET.get() + some % 9 - 4, "as it drifts"),
            _ => (0, "right"),
        };
        SET.set(set.clamp(-SET_MAX, SET_MAX));
        let (.., least) = &mut self.run_began;
        *least = wall_clock().min(*least);
        self.tally.clock_set += 1;
        self.event(format!("the wall clock is set {told}"));
    }

    /// Checks a time that the node of this run has just given. It may exceed the elapsed time by at
    /// most 1 s a minute, and may not be before the smallest wall clock of this run.
    pub fn check_time(&self, time: u64) -> Result<(), Fault> {
        let (wall, began, least) = self.run_began;
        match time {
            _ if time < least => {
                Err(format!("{time} is before {least}, the least of the wall clock"))
            }
            _ if time > self.latest() => {
                let ahead = time - self.latest();
                Err(format!("{time} is {ahead} ms further than {wall} and the time since {began}"))
            }
            _ => Ok(()),
        }
    }

    /// The latest time that the node of this run may give.
    pub fn latest(&self) -> u64 {
        let (wall, began, _) = self.run_began;
        let elapsed = self.now() - began;
        wall + HEADROOM_MS + elapsed + elapsed / 60
    }

    pub fn node(&self) -> &Node {
        self.node.as_ref().expect("the node runs")
    }

    /// Starts a node from the contents of the disk.
    ///
    /// # Errors
    /// Those of recovery.
    pub fn start(&mut self, shards: u16, mode: LogMode) -> Result<(), StoreError> {
        self.event(format!("start with {shards} shards, {}", mode.name()));
        self.starts += 1;
        let store = Store::found(self.disk.clone(), Path::new(DIR))?;
        let options = StoreOptions {
            allow_damage: false,
            log: mode != LogMode::Off,
            at_risk: match mode {
                LogMode::Always | LogMode::Journal => AtRisk::Nothing,
                LogMode::EverySec | LogMode::Never => AtRisk::Unclean,
                LogMode::Off => AtRisk::Always,
            },
            segment_bytes_max: 500 + self.random.below(4000),
        };
        let next = 1 + self.random.below(1 << 50);
        let seed = self.random.draw();
        self.run_began = (wall_clock(), self.now(), wall_clock());
        let figures = Arc::clone(&self.probe_figures);
        let node = Node::start(&store, shards, mode, options, next, seed, figures)?;
        self.node = Some(node);
        self.tally.compared = self.probe_figures.compared();
        Ok(())
    }

    /// Ends the process at once: everything that the operating system has stays.
    pub fn kill(&mut self) {
        self.event("kill".into());
        self.tally.kills += 1;
        self.drop_node();
        self.disk.kill();
    }

    /// Stops the machine: bytes and names that were not synced may be lost or torn.
    pub fn crash(&mut self) {
        self.event("crash".into());
        self.tally.crashes += 1;
        self.drop_node();
        self.disk.crash();
        self.disk.free();
    }

    /// Ends all faults of the disk.
    pub fn heal(&mut self) {
        self.disk.free();
        self.disk.fail_truncate(false);
        self.disk.fail_write(u64::MAX);
        self.disk.fail_sync(u64::MAX);
        self.disk.refuse(u64::MAX);
        self.disk.refuse_all(false);
        self.disk.displace(false);
        self.disk.freeze_at_sync(u64::MAX);
    }

    /// Drops the node while the disk is frozen: a killed process cleans nothing up.
    fn drop_node(&mut self) {
        self.disk.refuse(u64::MAX);
        self.disk.refuse_all(false);
        self.disk.freeze_at_sync(1);
        let frozen = self.disk.sync_dir(Path::new(DIR));
        assert!(frozen.is_err() && self.disk.is_frozen());
        self.node = None;
    }

    /// Closes the log and ends the node. Returns whether the log has its end mark.
    pub fn stop(&mut self) -> bool {
        let mut node = self.node.take().expect("the node runs");
        let Some(mut log) = node.log.take() else { return false };
        node.info.log.stop();
        log.write();
        let ends = log.sync(self.began);
        assert!(ends, "the log's thread does not end");
        let closed = log.finish();
        drop(node);
        self.disk.kill();
        self.event(format!("stop, closed: {closed}"));
        self.tally.clean_stops += u64::from(closed);
        closed
    }

    /// One step of a random part; false if no part has anything to do.
    pub fn step(&mut self) -> bool {
        if self.one_in(4) {
            let ms = if self.one_in(50) { 300 } else { 1 };
            self.pass(ms);
        }
        if self.one_in(200) {
            self.set_wall_clock();
        }
        let now = self.began + Duration::from_millis(self.now() - NOW);
        let log_weight = self.log_weight;
        let Some(node) = &mut self.node else { return false };
        let awake: Vec<usize> =
            (0..node.cores.len()).filter(|at| node.cores[*at].is_awake()).collect();
        let snapshot_weight = if node.is_snapshotting { 4 } else { 0 };
        let log_weight = if node.log_is_idle() { 0 } else { log_weight };
        if awake.is_empty() && snapshot_weight == 0 && log_weight > 0 && node.only_time_is_missing()
        {
            CLOCK.set(CLOCK.get() + 1000);
        }
        let core_weight = 8 * awake.len() as u64;
        let busy = node.links.busy();
        let link_weight = 8 * busy.len() as u64;
        let all = core_weight + log_weight + snapshot_weight + link_weight;
        if all == 0 {
            return false;
        }
        let drawn = self.random.below(all);
        if self.is_probed && !node.prober.hash_next() && self.random.below(30) == 0 {
            node.prober.begin(&node.info);
        }
        if drawn < core_weight {
            node.cores[awake[usize::try_from(drawn / 8).unwrap()]].poll();
        } else if drawn < core_weight + log_weight {
            node.log_turn(now);
        } else if drawn < core_weight + log_weight + link_weight {
            let from = busy[usize::try_from((drawn - core_weight - log_weight) / 8).unwrap()];
            node.links.bring_next(from, &node.info.mailboxes);
            self.tally.brought += 1;
        } else if let Some(outcome) = node.snapshot_step() {
            self.snapshot_ended(outcome);
        }
        self.tally.steps += 1;
        self.note_state();
        true
    }

    pub fn begin_snapshot(&mut self) {
        let Some(node) = self.node.as_mut().filter(|node| !node.is_snapshotting) else { return };
        node.is_snapshotting = true;
        if let Some(outcome) = node.snapshotter.begin(&node.info) {
            self.snapshot_ended(outcome);
        }
    }

    fn snapshot_ended(&mut self, outcome: Outcome) {
        if let Some(node) = &mut self.node {
            node.is_snapshotting = false;
        }
        match outcome {
            Ok(_) => self.tally.snapshots += 1,
            Err(_) => self.tally.snapshots_failed += 1,
        }
        self.event(format!(
            "snapshot: {}",
            outcome.map_or_else(|why| why.to_string(), |_| "whole".into())
        ));
    }

    fn note_state(&mut self) {
        let Some(node) = &self.node else { return };
        let state = node.info.log.state();
        if self.tally.note_state(state) {
            self.event(format!("the log is {}", state.name()));
        }
    }

    pub fn state(&self) -> LogState {
        self.node().info.log.state()
    }

    /// Checks that only a failed sync of a file has poisoned the log.
    pub fn check_poison(&self) -> Result<(), Fault> {
        let is_allowed = self.sync_may_fail || self.disk.is_frozen();
        match self.state() {
            LogState::Poisoned if !is_allowed => {
                Err("the log is poisoned, and no sync of a file failed".into())
            }
            _ => Ok(()),
        }
    }

    /// Takes steps until nothing is under way and everything is on the disk. Returns false if the
    /// log takes no writes.
    pub fn settle(&mut self) -> Result<bool, Fault> {
        let is_probed = std::mem::take(&mut self.is_probed);
        let settled = self.settle_unprobed();
        self.is_probed = is_probed;
        settled
    }

    fn settle_unprobed(&mut self) -> Result<bool, Fault> {
        for _ in 0..STEPS_TO_QUIET {
            if self.step() {
                continue;
            }
            self.check_poison()?;
            let log = &self.node().info.log;
            if log.state() == LogState::Poisoned || log.durable() == log.tail() {
                return Ok(log.state() == LogState::Ok);
            }
            log.sync_now();
            let now = self.began + Duration::from_millis(self.now() - NOW);
            self.node.as_mut().expect("the node runs").log_turn(now);
        }
        Err("the node does not come to rest".into())
    }

    /// Sends a request and takes steps until its reply is there. The node must answer reads.
    pub fn ask(&mut self, name: &str, arguments: &Value) -> Result<Result<Value, u16>, Fault> {
        let mut connection = self.connect();
        let id = match self.send(&mut connection, name, arguments) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error.code.status())),
        };
        for _ in 0..STEPS_TO_QUIET {
            if let Some((answered, outcome)) = self.receive(&mut connection).pop() {
                assert_eq!(answered, id);
                return Ok(in_json(outcome));
            }
            if !self.step() {
                break;
            }
        }
        Err(format!("{name} {arguments} gets no reply"))
    }

    /// The whole state of the node, as `export` returns it.
    pub fn export(&mut self) -> Result<Vec<String>, Fault> {
        let mut lines = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let page = self.ask("export", &serde_json::json!({"cursor": cursor}))?;
            let mut page = page.map_err(|status| format!("export gave {status}"))?;
            for part in ["chats", "members"] {
                lines.extend(page[part].as_array().unwrap().iter().map(Value::to_string));
            }
            cursor = page["next_cursor"].take();
            if cursor.is_null() {
                // Nodes with other shard counts export in another order.
                lines.sort();
                return Ok(lines);
            }
        }
    }
}

/// A reply in JSON, or the status of an error.
pub fn in_json(outcome: Outcome) -> Result<Value, u16> {
    match outcome {
        Ok(reply) => Ok(serde_json::to_value(reply).unwrap()),
        Err(error) => Err(error.code.status()),
    }
}

impl Node {
    fn start(
        store: &Store<FaultyDisk>,
        shards: u16,
        mode: LogMode,
        options: StoreOptions,
        next: u64,
        seed: u64,
        figures: Arc<ProbeFigures>,
    ) -> Result<Self, StoreError> {
        let shards = ShardCount::new(shards).unwrap();
        let recovered = store.recover(shards, options, next)?;
        let (links, mailboxes) = Links::new(shards);
        let setup = NodeSetup { shards, mailboxes, mode, clocks: CLOCKS, figures, member: None };
        let NodeParts { info, prober, snapshotter } = NodeParts::of(store, &recovered, setup);
        let start_core = |mut shard: chatshard::shard::Shard| {
            shard.remember_at_least(seed % 40);
            let local = LocalWorker::new(Worker::new(shard, Arc::clone(&info), seed));
            local.start();
            SimCore::new(local)
        };
        let cores: Vec<SimCore> = recovered.shards.into_iter().map(start_core).collect();
        let log = recovered.writer.map(|writer| LogThread::new(Arc::clone(&info.log), writer));
        Ok(Self {
            info,
            cores,
            links,
            log,
            sync_is_next: false,
            snapshotter,
            is_snapshotting: false,
            prober,
        })
    }

    pub fn core(&self, core: usize) -> LocalWorker {
        self.cores[core].local.clone()
    }

    fn log_is_idle(&self) -> bool {
        let Some(thread) = &self.log else { return true };
        // A stalled log without writes still checks whether its directory is back.
        let is_waiting = self.info.log.state() == LogState::Stalled;
        !self.sync_is_next && thread.is_idle() && !self.only_time_is_missing() && !is_waiting
    }

    /// `everysec` has written everything, and will sync when it is time.
    fn only_time_is_missing(&self) -> bool {
        let log = &self.info.log;
        log.mode() == LogMode::EverySec
            && log.state() == LogState::Ok
            && log.durable() < log.tail()
            && self.log.as_ref().is_some_and(LogThread::is_idle)
    }

    /// Half a turn of the log's thread. A crash, or steps of other parts, may come between the
    /// halves.
    fn log_turn(&mut self, now: Instant) {
        let Some(log) = &mut self.log else { return };
        if self.sync_is_next {
            log.sync(now);
        } else {
            log.look();
            log.write();
        }
        self.sync_is_next = !self.sync_is_next;
    }

    fn snapshot_step(&mut self) -> Option<Outcome> {
        self.snapshotter.step(&self.info, Duration::ZERO)
    }
}
