//! A node without doors, store and threads: the parts that its cores share.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use chatshard::node::NodeInfo;
use chatshard::node::clock::shared::{SharedClock, Source};
use chatshard::node::log::{Log, LogMode};
use chatshard::node::mailbox::Mailbox;
use chatshard::node::memory::Memory;
use chatshard::node::offload::Offload;
use chatshard::node::probes::Probes;
use chatshard::node::watch::WatchHub;
use chatshard::types::{KeyHasher, ShardCount};
use snapshot::Lsn;

/// The hash seed of the node.
pub const SEED: u64 = 7;

/// Creates a node without a thread that writes its log.
pub fn node(shards: u16, mode: LogMode, clock: Source) -> Arc<NodeInfo> {
    let shards = ShardCount::new(shards).unwrap();
    let mailboxes: Arc<[Mailbox]> = shards.all().map(|_| Mailbox::default()).collect();
    let log = Arc::new(Log::new(mode, Lsn(0), Arc::clone(&mailboxes)));
    Arc::new(NodeInfo {
        shards,
        hasher: KeyHasher::new(SEED),
        mailboxes,
        watch: Arc::new(WatchHub::new(Arc::clone(&log), 1)),
        log,
        memory: Arc::new(Memory::new(None)),
        snapshots: crossbeam::channel::unbounded().0,
        offload: Offload::new().0,
        probes: Probes::new(Arc::default()).0,
        snapshot_status: Arc::default(),
        data_dir: "/nowhere".into(),
        clock: SharedClock::new(clock, None),
        started: Instant::now(),
        stopping: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        member: None,
    })
}
