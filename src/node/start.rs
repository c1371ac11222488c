//! Starts a node: reads its data directory, then begins its threads. These are one thread for each
//! core, and one each for the log, `watch`, snapshots and offloaded work.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use snapshot::{HeldDirectory, LogWriter, RealDisk};
use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tracing::warn;

use super::after_stint::AfterStint;
use super::clock::shared::{SharedClock, Source};
use super::error::NodeError;
use super::genesis::{NoOrigin, wait_for_origin};
use super::identity::{AtRisk, IDENTITY_FILE, Identity, IdentityFile, draw};
use super::info::NodeInfo;
use super::journal_figures::JournalFigures;
use super::log::{Log, LogMode};
use super::log_thread::LogThread;
use super::mailbox::Mailbox;
use super::member_thread::{MemberParts, MemberThread};
use super::membership::Membership;
use super::memory::Memory;
use super::offload::{self, Offload};
use super::prober::Prober;
use super::probes::{ProbeFigures, ProbeJob, Probes};
use super::rights;
use super::snapshot_requests::SnapshotRequest;
use super::snapshotter::{Covered, SnapshotPolicy, Snapshotter};
use super::store::{Recovered, Store, StoreOptions};
use super::watch::{WatchHub, WatchThread};
use super::worker::{LocalWorker, Worker};
use crate::journal::client::EngineClient;
use crate::journal::kept::TrimLimits;
use crate::journal::names::MemberNames;
use crate::shard::Shard;
use crate::system;
use crate::types::{KeyHasher, ShardCount, ShardId};

/// Niceness of background threads. Beside a busy core such a thread gets about a tenth of a
/// processor.
const NICENESS: i32 = 10;

/// How a node runs.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    pub data_dir: PathBuf,
    /// Whether an empty directory may become a new store.
    pub init: bool,
    /// Whether damage is accepted: the node then continues with what is whole.
    pub allow_damage: bool,
    /// Number of shards. There is one for each core.
    pub shards: ShardCount,
    /// When replies may leave, compared with the log.
    pub mode: LogMode,
    /// A segment of the log that has reached this size, in bytes, is followed by a new one.
    pub segment_bytes_max: u64,
    /// When snapshots are taken without a request.
    pub snapshots: SnapshotPolicy,
    /// Growth is refused when the process uses this much memory, in bytes. `None` stands for no
    /// bound.
    pub memory_max: Option<u64>,
    /// The journal that the node is a member of. `None`: it has none.
    pub journal: Option<JournalOptions>,
    /// Whether a node without a journal writes digests of its slots; a member always does.
    pub probe: bool,
    /// Counters of this process for digests that were compared.
    pub probe_figures: Arc<ProbeFigures>,
    /// Whether each core's thread is pinned to its core.
    pub pin: bool,
}

/// How a member reaches its journal, and how others know it.
#[derive(Clone)]
pub struct JournalOptions {
    /// Makes ports to the engine.
    pub client: EngineClient,
    /// Its name and addresses.
    pub names: MemberNames,
    /// How much of the journal the engine keeps.
    pub trim: TrimLimits,
    /// Whether replies of the active wait until the journal confirms that it still is the active.
    pub confirms_reads: bool,
    /// The epoch of the stint that this process has handed over last.
    pub handed_over: Option<u64>,
    /// Whether a sync of the disk failed in the life of the node before.
    pub disk_failed: bool,
    /// Figures of this process, over all of its stints.
    pub figures: Arc<JournalFigures>,
}

impl fmt::Debug for JournalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalOptions").field("names", &self.names).finish_non_exhaustive()
    }
}

impl NodeOptions {
    fn store(&self) -> StoreOptions {
        StoreOptions {
            allow_damage: self.allow_damage,
            log: self.mode != LogMode::Off,
            at_risk: match self.mode {
                LogMode::Off => AtRisk::Always,
                // What a member loses of its log, the journal brings back.
                LogMode::Always | LogMode::Journal => AtRisk::Nothing,
                LogMode::EverySec | LogMode::Never => AtRisk::Unclean,
            },
            segment_bytes_max: self.segment_bytes_max,
        }
    }
}

/// Reads the data directory on a thread of its own, so that the caller can serve the admin listener
/// meanwhile.
///
/// # Errors
/// If the data directory cannot be used.
pub async fn recover(options: &NodeOptions) -> Result<(Store, Recovered), NodeError> {
    rights::warn_if_open(&options.data_dir);
    let (sender, receiver) = oneshot::channel();
    let (shards, store_options) = (options.shards, options.store());
    let (dir, init, journal) = (options.data_dir.clone(), options.init, options.journal.clone());
    thread::Builder::new().name("recovery".into()).spawn(move || {
        let opened = open(&dir, init, journal.as_ref()).and_then(|store| {
            let recovered = store.recover(shards, store_options, draw(&dir)?)?;
            Ok((store, recovered))
        });
        drop(sender.send(opened));
    })?;
    receiver.await.map_err(|_| io::Error::other("recovery broke off"))?
}

/// Opens the directory of a node, or of a member of a journal.
fn open(dir: &Path, init: bool, journal: Option<&JournalOptions>) -> Result<Store, NodeError> {
    let Some(journal) = journal else {
        let store = Store::open(dir, init)?;
        store.identity.check_alone(dir)?;
        return Ok(store);
    };
    let origin = wait_for_origin(&journal.client).map_err(|error| explained(dir, error))?;
    let store = Store::open_with(dir, init, |path| origin.new_member(path))?;
    origin.check(dir, &store.identity)?;
    Ok(store)
}

/// Says what an empty journal means for a directory that is a member's: `journal init` would begin
/// another one, which refuses it.
fn explained(dir: &Path, error: NoOrigin) -> NodeError {
    let known = Identity::read(&RealDisk, &dir.join(IDENTITY_FILE)).ok();
    let member = known.map(|(identity, _)| identity).filter(|identity| identity.member.is_some());
    match (error, member) {
        (NoOrigin::Empty, Some(Identity { node_id, journal, .. })) => NodeError::Journal(format!(
            "the engine has nothing of the journal {node_id:x}, whose records are in {}, up to LSN \
             {} at least. The engine lost its data, or --journal names another journal. If the data \
             is lost for good, `chatshard journal init --from` begins a journal with that of the \
             member that has the highest LSN",
            dir.display(),
            journal.lsn
        )),
        (error, _) => NodeError::Journal(error.to_string()),
    }
}

/// A running node with its threads.
pub struct Node {
    /// The state that all threads of the node share.
    pub info: Arc<NodeInfo>,
    /// Holds the lock of the directory until all threads have ended.
    pub(super) _store: Store,
    pub(super) cores: Vec<JoinHandle<()>>,
    /// The log thread. Its result says whether it closed the log. `None` without a log.
    pub(super) log: Option<JoinHandle<bool>>,
    pub(super) watch: JoinHandle<()>,
    pub(super) snapshotter: JoinHandle<()>,
    /// Tells all cores to end.
    pub(super) end: watch::Sender<bool>,
    /// What a member does next, once its thread is over.
    over: watch::Receiver<Option<AfterStint>>,
}

impl Node {
    /// Begins the threads of a node whose data [`recover`] has read.
    ///
    /// # Errors
    /// If the system refuses a thread, or if `memory_max` cannot be kept on this machine.
    pub fn start(options: &NodeOptions, store: Store, recovered: Recovered) -> io::Result<Self> {
        let (snapshots, requests) = unbounded();
        let (offload, work) = Offload::new();
        let (probes, captures) = Probes::new(Arc::clone(&options.probe_figures));
        probes.figures().replayed(&recovered.digests);
        let info = shared(options, &store, &recovered, snapshots, offload, probes)?;
        // An accepted difference is replayed at each start, until a snapshot is behind it.
        let is_accepted = options.journal.is_none() && !recovered.digests.differences.is_empty();
        let snapshot = recovered.snapshot.as_ref().filter(|_| !is_accepted);
        let covered = Covered::by(snapshot, recovered.replayed_bytes);
        let snapshotter = Snapshotter::new(
            store.disk(),
            store.identity.node_id,
            &info,
            requests,
            options.snapshots,
            &covered,
            recovered.writer.as_ref().map(LogWriter::trimmer),
        )
        .raising(recovered.identity_file.clone());
        let (over, is_over) = watch::channel(None);
        let identity_file = recovered.identity_file;
        let log = recovered.writer.map(|writer| match &options.journal {
            None => start_log(&info, writer),
            Some(journal) => start_member(&info, journal, writer, identity_file, over),
        });
        let log = log.transpose()?;
        let watch = start_watch(&info, &store)?;
        let snapshotter = start_snapshotter(snapshotter, options.mode)?;
        start_offload(work)?;
        if options.probe || options.journal.is_some() {
            start_prober(&info, captures)?;
        }
        let (end, ended) = watch::channel(false);
        let shards = recovered.shards.into_iter();
        let cores = shards.map(|shard| start_core(shard, &info, options.pin, ended.clone()));
        let cores = cores.collect::<io::Result<Vec<JoinHandle<()>>>>()?;
        Ok(Self { info, _store: store, cores, log, watch, snapshotter, end, over: is_over })
    }

    /// Waits until the thread of a member is over, and returns what comes next. Waits forever if the
    /// node has no journal.
    pub async fn over(&mut self) -> AfterStint {
        let over = self.over.wait_for(Option::is_some).await.ok();
        match over.and_then(|over| *over) {
            Some(next) => next,
            None => std::future::pending().await,
        }
    }
}

fn shared(
    options: &NodeOptions,
    store: &Store,
    recovered: &Recovered,
    snapshots: Sender<SnapshotRequest>,
    offload: Offload,
    probes: Probes,
) -> io::Result<Arc<NodeInfo>> {
    let memory = Memory::new(options.memory_max);
    memory.check()?;
    let mailboxes: Arc<[Mailbox]> = options.shards.all().map(|_| Mailbox::default()).collect();
    for mailbox in &*mailboxes {
        mailbox.applied.store(recovered.last.0, Ordering::Release);
    }
    let member = options.journal.as_ref().map(|journal| {
        let member = Membership::new(store.identity.node_id, journal.names.clone());
        let member = member.with_figures(Arc::clone(&journal.figures));
        let member = member.with_claim(journal.client.profile().times.claim);
        let member = member.confirming(journal.confirms_reads);
        Arc::new(member.with_space(journal.client.space().clone()))
    });
    let log = Arc::new(Log::new(options.mode, recovered.last, Arc::clone(&mailboxes)));
    Ok(Arc::new(NodeInfo {
        shards: options.shards,
        hasher: KeyHasher::new(store.identity.hash_seed),
        watch: Arc::new(WatchHub::new(Arc::clone(&log), recovered.incarnation)),
        log,
        memory: Arc::new(memory),
        mailboxes,
        offload,
        probes,
        snapshots,
        snapshot_status: Arc::default(),
        data_dir: store.dir.clone(),
        clock: SharedClock::new(Source::MACHINE, recovered.newest_key),
        started: Instant::now(),
        stopping: AtomicBool::new(false),
        ended: AtomicBool::new(false),
        member,
    }))
}

fn start_log(info: &NodeInfo, writer: LogWriter<HeldDirectory>) -> io::Result<JoinHandle<bool>> {
    let log = LogThread::new(Arc::clone(&info.log), writer).with_watch(Arc::clone(&info.watch));
    thread::Builder::new().name("log".into()).spawn(move || log.run())
}

fn start_member(
    info: &Arc<NodeInfo>,
    journal: &JournalOptions,
    disk: LogWriter<HeldDirectory>,
    identity_file: Arc<IdentityFile<HeldDirectory>>,
    over: watch::Sender<Option<AfterStint>>,
) -> io::Result<JoinHandle<bool>> {
    let member = info.member.clone().ok_or(io::ErrorKind::InvalidInput)?;
    let thread = MemberThread::new(MemberParts {
        node: Arc::clone(info),
        member,
        client: journal.client.clone(),
        disk,
        identity_file,
        trim: journal.trim,
        handed_over: journal.handed_over,
        disk_failed: journal.disk_failed,
        seed: getrandom::u64().map_err(io::Error::other)?,
        patience: Duration::MAX,
    });
    thread::Builder::new().name("log".into()).spawn(move || thread.run(&over))
}

fn start_watch(info: &NodeInfo, store: &Store) -> io::Result<JoinHandle<()>> {
    let (dir, node_id) = (store.dir.clone(), store.identity.node_id);
    let watch = WatchThread::new(Arc::clone(&info.watch), store.disk(), dir, node_id);
    thread::Builder::new().name("watch".into()).spawn(move || watch.run())
}

fn start_snapshotter(
    snapshotter: Snapshotter<HeldDirectory>,
    mode: LogMode,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("snapshot".into()).spawn(move || {
        // Without a log only snapshots make data durable, and captures gather in memory until they
        // are written. So the thread keeps its priority then.
        if mode != LogMode::Off {
            lower_priority();
        }
        snapshotter.run();
    })
}

/// Begins the offload thread. It ends when nobody can send work any more, so no stop waits for it.
fn start_offload(work: Receiver<offload::Job>) -> io::Result<()> {
    thread::Builder::new().name("offload".into()).spawn(move || {
        lower_priority();
        offload::serve(&work);
    })?;
    Ok(())
}

/// Begins the thread that hashes captures of probes. It ends with the node, and no stop waits for it.
fn start_prober(info: &Arc<NodeInfo>, captures: Receiver<ProbeJob>) -> io::Result<()> {
    let prober = Prober::new(info, captures);
    thread::Builder::new().name("probe".into()).spawn(move || {
        lower_priority();
        prober.run();
    })?;
    Ok(())
}

fn start_core(
    shard: Shard,
    info: &Arc<NodeInfo>,
    pin: bool,
    mut ended: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let seed = getrandom::u64().map_err(io::Error::other)?;
    let (info, id) = (Arc::clone(info), shard.id());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name(format!("core-{}", id.0)).spawn(move || {
        if pin {
            pin_to_core(id);
        }
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async move {
            let local = LocalWorker::new(Worker::new(shard, info, seed));
            // A member decides nothing before its claim counts.
            if local.node().member.is_none() {
                local.start();
            }
            local.make_current();
            tokio::select! {
                () = local.serve() => {}
                _ = ended.wait_for(|ended| *ended) => {}
            }
        });
    })
}

/// Lowers the priority of this thread, so that requests come first on a shared processor.
fn lower_priority() {
    if let Err(error) = system::lower_priority(NICENESS) {
        warn!(%error, "a thread that has time keeps its priority");
    }
}

fn pin_to_core(shard: ShardId) {
    if let Err(error) = system::pin_to_core(shard.index()) {
        warn!(shard = shard.0, %error, "the thread could not be pinned");
    }
}
