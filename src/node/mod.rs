//! A running node: one worker thread per core, and the threads for the log, `watch`, snapshots and
//! offloaded work.
//!
//! The sans-IO parts (shard and router) get everything they need from outside here: threads,
//! queues, clocks and wake-ups. The doors are one layer above.
//!
//! # Layout
//! - [`clock`]: the time that commands and idempotency keys use
//! - [`log`]: the queue of records and the thread that writes them
//! - [`commit_gate`]: holds replies back until the log has the records that they depend on
//! - [`buffers`]: byte buffers that the connections of a core share
//! - [`mailbox`]: the queues that other threads fill for a core
//! - [`worker`]: the thread of one core
//! - [`responder`]: brings a reply to the caller who waits for it
//! - [`snapshotter`]: takes snapshots while the node serves requests
//! - [`store`]: the data directory: lock, recovery
//! - [`identity`]: the identity file `node` in it
//! - [`loss`]: describes the cost of damage
//! - [`restore`]: prepares a copy of a data directory for service
//! - [`rights`]: file permissions of the data directory
//! - [`load`]: recovery on all cores
//! - [`memory`]: decides whether there is room for more chats and members
//! - [`watch`]: the stream of changes
//! - [`offload`]: long work that needs no shard

pub mod buffers;
pub mod clock;
pub mod commit_gate;
pub mod identity;
pub mod load;
pub mod log;
pub mod loss;
pub mod mailbox;
pub mod memory;
pub mod offload;
pub mod responder;
pub mod restore;
pub mod rights;
pub mod snapshotter;
pub mod store;
pub mod watch;
pub mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::command::hello::{HelloReply, Limits, PROTOCOL_VERSION};
use crate::command::stats::StatsReply;
use crate::command::{Call, Command, Error, ListHere, Outcome};
use crate::limits::{SCAN_ROWS, SLOTS};
use crate::metrics::MetricsInput;
use crate::types::{KeyHasher, ShardCount, ShardId};
use clock::shared::SharedClock;
use log::{Log, LogState};
use mailbox::{Control, Mailbox};
use memory::Memory;
use offload::Offload;
use snapshotter::{SnapshotRequest, SnapshotStatus};
use worker::{Local, Taken, WorkerReport};

pub use crate::router::Work;

/// The state that all threads of a node share.
pub struct NodeInfo {
    /// Number of shards, which is the number of cores.
    pub shards: ShardCount,
    /// The key hash, seeded from the identity file.
    pub hasher: KeyHasher,
    /// One mailbox per core, indexed by shard.
    pub mailboxes: Arc<[Mailbox]>,
    /// The log that all shards write to.
    pub log: Arc<Log>,
    /// Decides whether new chats and members are accepted.
    pub memory: Arc<Memory>,
    /// Sends changes to the clients that `watch`.
    pub watch: Arc<watch::WatchHub>,
    /// Runs long work on the offload thread.
    pub aside: Offload,
    /// Requests to the snapshot thread.
    pub snapshots: std::sync::mpsc::Sender<SnapshotRequest>,
    /// Figures of the snapshots since the start.
    pub snapshot_status: Arc<SnapshotStatus>,
    /// The data directory.
    pub data_dir: PathBuf,
    /// The time that commands use.
    pub clock: Arc<SharedClock>,
    /// When the node started; `uptime_ms` counts from here.
    pub started: Instant,
    /// Set when a stop begins: the node accepts no new work.
    pub stopping: AtomicBool,
    /// Set when the workers are to end: items in a mailbox get no answer from now on.
    pub ended: AtomicBool,
}

impl NodeInfo {
    /// The error for a write if the log cannot take it now; `None` while writes are accepted.
    pub fn refusal(&self) -> Option<Error> {
        self.log.refusal()
    }

    /// The reply to `hello` for a connection that `shard` serves.
    pub fn hello(&self, shard: ShardId) -> HelloReply {
        HelloReply {
            server: "chatshard".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: PROTOCOL_VERSION,
            shards: self.shards.get(),
            slots: SLOTS,
            hash_seed: self.hasher.seed(),
            shard: shard.0,
            limits: Limits::of_this_build(),
        }
    }

    /// Asks for a snapshot, and waits until it is published.
    pub async fn snapshot(&self) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        if self.snapshots.send(SnapshotRequest::Take(sender)).is_err() {
            return Err(Error::not_applied("the server is stopping"));
        }
        let stopped =
            || Err(Error::outcome_unknown("the server stopped before the snapshot ended"));
        receiver.await.unwrap_or_else(|_| stopped())
    }

    /// Open connections of the TCP door, over all cores.
    pub fn connections(&self) -> usize {
        self.mailboxes.iter().map(|mailbox| mailbox.connections.load(Ordering::Relaxed)).sum()
    }

    /// The core with the fewest connections, for the next connection.
    pub fn least_loaded(&self) -> ShardId {
        let load = |shard: &ShardId| {
            self.mailboxes
                .get(shard.index())
                .map_or(usize::MAX, |mailbox| mailbox.connections.load(Ordering::Relaxed))
        };
        self.shards.all().min_by_key(load).unwrap_or(ShardId(0))
    }

    /// Puts a request of the node into a core's mailbox, and wakes the core.
    pub fn control(&self, shard: ShardId, control: Control) {
        if let Some(mailbox) = self.mailboxes.get(shard.index()) {
            mailbox.control.push(control);
            mailbox.wake();
        }
    }

    /// Fills in the figures that shards do not know: memory, log, snapshots, connections.
    pub fn complete_stats(&self, stats: &mut StatsReply) {
        stats.version = env!("CARGO_PKG_VERSION").into();
        stats.uptime_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        stats.connections = u64::try_from(self.connections()).unwrap_or(u64::MAX);
        self.memory.look();
        // The wire has a number here; `memory_stale` says whether 0 means that the size is unknown.
        stats.memory_bytes = self.memory.resident().unwrap_or(0);
        stats.memory_stale = u64::from(self.memory.is_stale());
        stats.memory_live_bytes = self.memory.live().unwrap_or(0);
        stats.memory_max_bytes = self.memory.bytes_max().unwrap_or(0);
        stats.memory_full = u64::from(self.memory.is_full());
        let total = |count: fn(&Mailbox) -> &AtomicU64| {
            self.mailboxes.iter().map(|mailbox| count(mailbox).load(Ordering::Relaxed)).sum()
        };
        stats.requests = total(|mailbox| &mailbox.answered);
        stats.errors = total(|mailbox| &mailbox.errors);
        stats.log = self.log.stats();
        stats.snapshot = self.snapshot_status.stats();
        for shard in &mut stats.shards {
            if let Some(mailbox) = self.mailboxes.get(usize::from(shard.shard)) {
                let connections = mailbox.connections.load(Ordering::Relaxed);
                shard.connections = u64::try_from(connections).unwrap_or(u64::MAX);
            }
        }
    }
}

/// A way to run commands on the node from any thread.
#[derive(Clone)]
pub struct Handle {
    node: Arc<NodeInfo>,
    /// The core that runs the calls; `None` takes the cores in turn.
    shard: Option<ShardId>,
    next: Arc<AtomicUsize>,
}

impl Handle {
    /// A handle whose calls go to the cores in turn.
    pub fn new(node: Arc<NodeInfo>) -> Self {
        Self { node, shard: None, next: Arc::default() }
    }

    /// A handle whose calls go to one core, for callers that run on it.
    pub fn on_core(node: Arc<NodeInfo>, shard: ShardId) -> Self {
        Self { shard: Some(shard), ..Self::new(node) }
    }

    /// The node that the calls go to.
    pub fn node(&self) -> &NodeInfo {
        &self.node
    }

    /// Whether the node accepts reads and writes now; `/readyz` asks.
    ///
    /// # Errors
    /// The reason, if the node is stopping or the log refuses writes.
    pub fn readiness(&self) -> Result<(), String> {
        if self.node.stopping.load(Ordering::Acquire) {
            return Err("the server is stopping".into());
        }
        match self.node.log.state() {
            LogState::Ok => Ok(()),
            state => Err(state.why().into()),
        }
    }

    /// The figures of all cores; the HTTP doors add their own.
    pub async fn metrics(&self) -> MetricsInput {
        let (mut input, mut stats) = (MetricsInput::default(), StatsReply::default());
        for report in self.reports().await {
            let (shard, longest) = (report.shard.shard, report.turns.longest(Instant::now()));
            input.turns.push((ShardId(shard), report.turns.all(), longest));
            input.tcp.merge(&report.tcp);
            stats.add_shard(report.shard);
        }
        self.node.complete_stats(&mut stats);
        input.wall_clock_ahead_ms = self.node.clock.behind_wall();
        MetricsInput { stats: Some(stats), ..input }
    }

    async fn reports(&self) -> Vec<WorkerReport> {
        let mut reports = Vec::with_capacity(self.node.mailboxes.len());
        for shard in self.node.shards.all() {
            let (sender, receiver) = oneshot::channel();
            self.node.control(shard, Control::WorkerReport(sender));
            reports.extend(receiver.await);
        }
        reports
    }
}

impl Call for Handle {
    async fn call(&self, command: Command) -> Outcome {
        let shard = self.shard.unwrap_or_else(|| {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.node.mailboxes.len().max(1);
            ShardId(u16::try_from(turn).unwrap_or(0))
        });
        let (sender, receiver) = oneshot::channel();
        match Local::here(&self.node, shard) {
            Some(core) => core.call(command, sender),
            None => self.node.control(shard, Control::Call(command, sender)),
        }
        receiver.await.unwrap_or_else(|_| Err(Error::outcome_unknown("the server stopped")))
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.node.aside.begin(work).await.ok()
    }

    fn list_here<R>(&self, user_id: &str, read: impl FnOnce(ListHere<'_>) -> R) -> Option<R> {
        let shard = self.shard?;
        let core = Local::here(&self.node, shard)?;
        let user_id = self.node.hasher.hashed(user_id);
        let told = core.read(|core| Some(read(&mut core.read_list(user_id, SCAN_ROWS)?)));
        let Taken::Now(told) = told else { return None };
        self.node.mailboxes.get(shard.index())?.count(false);
        Some(told)
    }
}
