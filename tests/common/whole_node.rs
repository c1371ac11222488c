//! A whole node of production's parts in one thread: what all of them share, its cores, and the
//! parts that act only when the world of a test says so.
//!
//! A core is polled only after it was woken, so a missing wake-up is found.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use chatshard::node::NodeInfo;
use chatshard::node::clock::shared::{SharedClock, Source};
use chatshard::node::log::{Log, LogMode};
use chatshard::node::mailbox::Mailbox;
use chatshard::node::membership::Membership;
use chatshard::node::memory::Memory;
use chatshard::node::offload::Offload;
use chatshard::node::prober::Prober;
use chatshard::node::probes::{ProbeFigures, Probes};
use chatshard::node::snapshotter::{Covered, SnapshotPolicy, Snapshotter};
use chatshard::node::store::{Recovered, Store};
use chatshard::node::watch::WatchHub;
use chatshard::node::worker::LocalWorker;
use chatshard::types::{KeyHasher, ShardCount};
use snapshot::{FaultyDisk, LogWriter};

/// What a node is besides what a recovery gives.
pub struct NodeSetup {
    pub shards: ShardCount,
    pub mailboxes: Arc<[Mailbox]>,
    pub mode: LogMode,
    pub clocks: Source,
    pub figures: Arc<ProbeFigures>,
    pub member: Option<Arc<Membership>>,
}

/// A node behind its recovery, without its cores and the thread of its log.
pub struct NodeParts {
    pub info: Arc<NodeInfo>,
    pub prober: Prober,
    pub snapshotter: Snapshotter<FaultyDisk>,
}

impl NodeParts {
    pub fn of(
        store: &Store<FaultyDisk>,
        recovered: &Recovered<FaultyDisk>,
        setup: NodeSetup,
    ) -> Self {
        let NodeSetup { shards, mailboxes, mode, clocks, figures, member } = setup;
        figures.replayed(&recovered.digests);
        let (probes, captures) = Probes::new(figures);
        let log = Arc::new(Log::new(mode, recovered.last, Arc::clone(&mailboxes)));
        let (snapshots, requests) = crossbeam::channel::unbounded();
        let info = Arc::new(NodeInfo {
            shards,
            hasher: KeyHasher::new(store.identity.hash_seed),
            mailboxes,
            watch: Arc::new(WatchHub::new(Arc::clone(&log), recovered.incarnation)),
            log,
            memory: Arc::new(Memory::new(None)),
            snapshots,
            offload: Offload::new().0,
            probes,
            snapshot_status: Arc::default(),
            data_dir: store.dir.clone(),
            clock: SharedClock::new(clocks, recovered.newest_key),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            member,
        });
        let prober = Prober::new(&info, captures);
        // The world decides when a snapshot is due.
        let policy = SnapshotPolicy { interval: None, log_bytes: u64::MAX };
        let covered = Covered::by(recovered.snapshot.as_ref(), recovered.replayed_bytes);
        let trimmer = recovered.writer.as_ref().map(LogWriter::trimmer);
        let (disk, node_id) = (store.disk(), store.identity.node_id);
        let snapshotter =
            Snapshotter::new(disk, node_id, &info, requests, policy, &covered, trimmer)
                .slices_of(2)
                .raising(recovered.identity_file.clone());
        Self { info, prober, snapshotter }
    }
}

/// A core at work.
pub struct SimCore {
    /// For those who ask a core without its mailbox.
    #[allow(dead_code)]
    pub local: LocalWorker,
    serving: Pin<Box<dyn Future<Output = ()>>>,
    wake: Arc<Flag>,
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl SimCore {
    pub fn new(local: LocalWorker) -> Self {
        let serving = Box::pin(local.clone().serve());
        Self { local, serving, wake: Arc::new(Flag(AtomicBool::new(true))) }
    }

    pub fn is_awake(&self) -> bool {
        self.wake.0.load(Ordering::Relaxed)
    }

    pub fn poll(&mut self) {
        self.wake.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.wake));
        let ended = self.serving.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        assert!(!ended, "a core serves for as long as it lives");
    }
}
