//! Wiring: start, recovery, serving and stop, in reading order.
//!
//! # Layout
//! - `credentials`: the credentials that callers must show, and when their files are read again
//! - `descriptors`: the file descriptors of each door, and the reserve of log and snapshots
//! - `doors`: the counters of the doors, and the budgets that their connections share
//!
//! Threads: one for each core, and one each for the log, `watch`, snapshots and offloaded work. The
//! calling thread accepts connections, serves the admin listener and waits for signals.
//!
//! Invariants:
//! - The admin listener is open before recovery begins, so that a long recovery shows as
//!   "starting". The other doors open when the data is there.
//! - After a stop every request that was read has a reply, and the log has its end mark. A stop that
//!   fails to reach this logs a warning or returns an error.

mod credentials;
mod descriptors;
mod doors;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tokio::task::LocalSet;
use tracing::{debug, error, info, warn};

use crate::access::{Endpoint, Tls};
use crate::admission::{Door, Guest};
use crate::command::{Call, Command, Error, Outcome};
use crate::config::{self, Config, Docs, FsyncMode};
use crate::http::serve::ServeConfig;
use crate::http::{self, Admin, App, DocsDoor};
use crate::limits::PROGRESS_BYTES;
use crate::metrics::doors::DoorMeter;
use crate::metrics::{MetricsInput, SharedMeter};
use crate::net::accept::{accept, no_room};
use crate::net::connection::{self, NetConfig};
use crate::net::listener::{Listener, bind};
use crate::net::stream::{Parked, Stream};
use crate::net::wrong_protocol::HttpOnly;
use crate::node::clock::shared::{SharedClock, Source};
use crate::node::log::{Log, LogMode, LogThread};
use crate::node::mailbox::{Control, Mailbox};
use crate::node::memory::Memory;
use crate::node::offload::{self, Offload};
use crate::node::rights;
use crate::node::snapshotter::{Covered, SnapshotPolicy, SnapshotRequest, Snapshotter};
use crate::node::store::{AtRisk, Recovered, Store, StoreError, StoreOptions, draw};
use crate::node::watch::{WatchHub, WatchThread};
use crate::node::worker::{Local, Worker};
use crate::node::{Handle, NodeInfo};
use crate::shard::Core;
use crate::types::{KeyHasher, ShardId};
use credentials::Credentials;
use descriptors::Places;
use doors::Doors;

/// How long a stop waits for open connections, and then for the cores.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// Most connections of the admin listener.
const ADMIN_CONNECTIONS_MAX: usize = 256;
/// Niceness of background threads; next to a busy core they get about a tenth of a processor.
const NICENESS: i32 = 10;

/// Why the server did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The operating system refused an operation, or a setting cannot work on this machine.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The limit of open files leaves no places for connections.
    #[error(
        "the limit of open files is {limit}, and this configuration needs {needed} at least; \
         raise it (LimitNOFILE=, ulimit -n)"
    )]
    Descriptors {
        /// The limit of open files of this process, after an attempt to raise it.
        limit: usize,
        /// The smallest limit that is enough for this configuration.
        needed: usize,
    },
    /// The log could not be closed; the next start will check it.
    #[error("the log could not be closed, or not where the next start looks for it")]
    Unclosed,
    /// The log could not be written, and the stop did not wait for it. The number of records that
    /// were dropped; none of them was acknowledged.
    #[error(
        "{0} records of writes that were not acknowledged are dropped: the log could not be \
         written when the stop came"
    )]
    Dropped(u64),
    /// Without a log only snapshots keep data, and the last one failed.
    #[error("the last snapshot failed, and what came after the one before is lost: {0}")]
    Unsaved(String),
    /// The named thread ended by a panic.
    #[error("the thread {0} ended by a panic")]
    Panicked(&'static str),
}

/// The addresses that the server listens on, with the ports that the system chose.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// Address of the TCP door.
    pub tcp: Endpoint,
    /// Address of the HTTP door; `None` if it is off.
    pub http: Option<Endpoint>,
    /// Address of the admin listener; `None` if it is off.
    pub admin: Option<Endpoint>,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If the server cannot start, or does not stop cleanly.
pub fn run(config: Config) -> Result<(), StartError> {
    run_with(config, |_| {})
}

/// Like [`run`]; `on_ready` runs on a thread of its own once all doors are open.
///
/// # Errors
/// If the server cannot start, or does not stop cleanly.
pub fn run_with(
    config: Config,
    on_ready: impl FnOnce(&Addresses) + Send + 'static,
) -> Result<(), StartError> {
    run_until(config, signalled, on_ready)
}

/// Like [`run_with`], but serves until the future of `stop` ends. `stop` is called on the thread of
/// the runtime.
///
/// # Errors
/// If the server cannot start, or does not stop cleanly.
pub fn run_until<F: Future<Output = ()>>(
    config: Config,
    stop: impl FnOnce() -> F,
    on_ready: impl FnOnce(&Addresses) + Send + 'static,
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async { serve(config, stop(), Box::new(on_ready)).await })
}

/// Ends with SIGTERM or SIGINT.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        error!("signals cannot be caught; only a kill ends this server");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

type OnReady = Box<dyn FnOnce(&Addresses) + Send>;

async fn serve(
    config: Config,
    stop: impl Future<Output = ()>,
    on_ready: OnReady,
) -> Result<(), StartError> {
    tokio::pin!(stop);
    let places = descriptors::make_room(&config)?;
    let listeners = Listeners::bind(&config)?;
    let credentials = Rc::new(Credentials::new(&config));
    credentials.check_certificate();
    if !config.demo {
        tokio::task::spawn_local(credentials::keep_reading(Rc::clone(&credentials)));
    }
    let (closing, stopping) = watch::channel(false);
    let late = Late::default();
    let doors = Doors::new(&config, &stopping);
    let meters: Arc<OnceLock<Vec<SharedMeter>>> = Arc::default();
    let http_no_room = http::envelope::last_words(&Error::no_room());
    if let Some(listener) = listeners.admin {
        let mut router = admin_router(&credentials, &late, &meters, &doors);
        if config.docs == Docs::Admin {
            router = router.merge(http::docs_router(DocsDoor::Admin));
        }
        let door = door(doors.meter("admin"), places.admin, http_no_room.clone());
        // A supervisor can ask for health even if other clients hold all places.
        let door = door.answering_strangers().with_sign(doors::sign("admin", &listeners.addresses));
        let door = Arc::new(door);
        serve_here(listener, door, credentials.tls.clone(), router, doors.admin_config(&config));
    }

    info!(version = env!("CARGO_PKG_VERSION"), data_dir = %config.data_dir.display(), "starting");
    let addresses = listeners.addresses.clone();
    let listening = [Some(&addresses.tcp), addresses.http.as_ref(), addresses.admin.as_ref()];
    for door in
        listening.into_iter().flatten().filter(|door| door.is_open() && config.tls.is_none())
    {
        warn!(%door, "beyond loopback without TLS: tokens and data can be read on their way");
    }
    let (store, recovered) = tokio::select! {
        recovered = recover(&config) => recovered?,
        () = &mut stop => return Ok(()),
    };
    let node = Node::start(&config, &store, recovered)?;
    let core_meters = node.info.shards.all().map(|_| SharedMeter::default()).collect::<Vec<_>>();
    drop(meters.set(core_meters.clone()));
    tokio::task::spawn_local(Arc::clone(&node.info.memory).keep_looking());
    tokio::task::spawn_local(Arc::clone(&node.info.clock).keep_looking());

    let sign = |door| doors::sign(door, &addresses);
    let tcp_door = door(doors.meter("tcp"), places.door, no_room()).with_sign(sign("tcp"));
    let http_door = door(doors.meter("http"), places.door, http_no_room).with_sign(sign("http"));
    let (tcp_door, http_door) = (Arc::new(tcp_door), Arc::new(http_door));
    let net = NetConfig {
        gate: Arc::clone(&credentials.gate),
        idle: config.idle_timeout,
        incomplete: Arc::clone(&doors.http.incomplete),
        unread: Arc::clone(&doors.tcp_unread),
        stop: stopping.clone(),
    };
    accept_tcp(listeners.tcp, &tcp_door, &node.info, net, &credentials);
    if let Some(listener) = listeners.http {
        accept_http(
            listener,
            &http_door,
            &node.info,
            &config,
            &core_meters,
            &credentials,
            &doors.http,
        );
    }
    drop(late.handle.set(Handle::new(Arc::clone(&node.info))));
    let shown = |door: &Option<Endpoint>| {
        door.as_ref().map_or_else(|| "off".to_owned(), Endpoint::to_string)
    };
    info!(tcp = %addresses.tcp, http = shown(&addresses.http), admin = shown(&addresses.admin),
        shards = node.info.shards.get(), "ready");
    std::thread::spawn(move || on_ready(&addresses));

    stop.await;
    info!("stopping: no new connections; what is in flight is answered");
    node.info.stopping.store(true, Ordering::Release);
    closing.send_replace(true);
    wait_empty(&[&tcp_door, &http_door]).await;
    node.stop().await
}

fn door(meter: Arc<DoorMeter>, places: Places, full: Vec<u8>) -> Door {
    Door::new(meter, places.known, full).with_strangers(places.strangers)
}

/// Sockets that are bound before anything else is done.
struct Listeners {
    tcp: Listener,
    http: Option<Listener>,
    admin: Option<Listener>,
    addresses: Addresses,
}

impl Listeners {
    fn bind(config: &Config) -> io::Result<Self> {
        let bind = |flag: &'static str| {
            move |endpoint: &Endpoint| {
                bind(endpoint, config.socket_mode)
                    .map_err(|error| io::Error::new(error.kind(), format!("{flag}: {error}")))
            }
        };
        let tcp = bind("--listen")(&config.listen)?;
        let http = config.http.as_ref().map(bind("--http")).transpose()?;
        let admin = config.admin.as_ref().map(bind("--admin")).transpose()?;
        let shown = |listener: &Listener| listener.endpoint().clone();
        let addresses = Addresses {
            tcp: shown(&tcp),
            http: http.as_ref().map(shown),
            admin: admin.as_ref().map(shown),
        };
        Ok(Self { tcp, http, admin, addresses })
    }
}

/// A way to the store for routes that serve before it has recovered.
#[derive(Clone, Default)]
struct Late {
    handle: Arc<OnceLock<Handle>>,
}

impl Call for Late {
    async fn call(&self, command: Command) -> Outcome {
        match self.handle.get() {
            Some(handle) => handle.call(command).await,
            None => Err(Error::not_applied("the server is starting")),
        }
    }

    async fn aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        match self.handle.get() {
            Some(handle) => handle.aside(work).await,
            None => Some(work()),
        }
    }
}

fn admin_router(
    credentials: &Credentials,
    late: &Late,
    meters: &Arc<OnceLock<Vec<SharedMeter>>>,
    doors: &Doors,
) -> axum::Router {
    let admin_meter = SharedMeter::default();
    let readiness = {
        let late = late.clone();
        move || {
            late.handle
                .get()
                .map_or_else(|| Err("the server is starting".into()), Handle::readiness)
        }
    };
    let metrics = {
        let (late, meters, admin_meter) = (late.clone(), Arc::clone(meters), admin_meter.clone());
        let (door_meters, tls) = (doors.meters.to_vec(), credentials.tls.clone());
        move || {
            let (late, meters, admin_meter) =
                (late.clone(), Arc::clone(&meters), admin_meter.clone());
            let (door_meters, tls) = (door_meters.clone(), tls.clone());
            let gathered = async move {
                let mut input = match late.handle.get() {
                    Some(handle) => handle.metrics().await,
                    None => MetricsInput::default(),
                };
                let cores = meters.get().into_iter().flatten();
                cores.for_each(|meter| meter.merge_into(&mut input.http));
                admin_meter.merge_into(&mut input.call);
                input.doors = door_meters;
                input.certificate_end = tls.and_then(|tls| tls.end());
                input
            };
            Box::pin(gathered) as std::pin::Pin<Box<dyn Future<Output = MetricsInput> + Send>>
        }
    };
    http::admin_router(Admin {
        store: late.clone(),
        readiness: Arc::new(readiness),
        metrics: Arc::new(metrics),
        gate: Arc::clone(&credentials.gate),
        meter: admin_meter,
    })
}

/// Reads the data on a thread of its own, so that the admin listener replies meanwhile.
async fn recover(config: &Config) -> Result<(Store, Recovered), StartError> {
    rights::warn_if_open(&config.data_dir);
    let (dir, shards, init) = (config.data_dir.clone(), config.shards, config.init);
    let options = StoreOptions {
        allow_damage: config.allow_damage,
        log: config.log == config::LogSwitch::On,
        at_risk: match (config.log, config.fsync) {
            (config::LogSwitch::Off, _) => AtRisk::Always,
            (config::LogSwitch::On, FsyncMode::Always) => AtRisk::Nothing,
            (config::LogSwitch::On, FsyncMode::EverySecond | FsyncMode::Never) => AtRisk::Unclean,
        },
        segment_bytes_max: config.log_segment_bytes,
    };
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new().name("recovery".into()).spawn(move || {
        let opened = Store::open(&dir, init).and_then(|store| {
            let recovered = store.recover(shards, options, draw(&dir)?)?;
            Ok((store, recovered))
        });
        drop(sender.send(opened));
    })?;
    let recovered = receiver.await.map_err(|_| io::Error::other("recovery broke off"))?;
    Ok(recovered?)
}

/// A running node with its threads.
struct Node<'a> {
    info: Arc<NodeInfo>,
    /// Keeps the lock of the directory until all threads have ended.
    _store: &'a Store,
    cores: Vec<JoinHandle<()>>,
    log: Option<JoinHandle<bool>>,
    telling: JoinHandle<()>,
    snapshotter: JoinHandle<()>,
    end: watch::Sender<bool>,
}

impl<'a> Node<'a> {
    fn start(config: &Config, store: &'a Store, recovered: Recovered) -> io::Result<Self> {
        let mailboxes: Arc<[Mailbox]> = config.shards.all().map(|_| Mailbox::default()).collect();
        let mode = match (config.log, config.fsync) {
            (config::LogSwitch::Off, _) => LogMode::Off,
            (config::LogSwitch::On, FsyncMode::Always) => LogMode::Always,
            (config::LogSwitch::On, FsyncMode::EverySecond) => LogMode::EverySec,
            (config::LogSwitch::On, FsyncMode::Never) => LogMode::Never,
        };
        let memory = Memory::new(config.memory_max);
        memory.check()?;
        let (snapshots, requests) = mpsc::channel();
        let (aside, work) = Offload::new();
        let log = Arc::new(Log::new(mode, recovered.last, Arc::clone(&mailboxes)));
        let watch = Arc::new(WatchHub::new(Arc::clone(&log), recovered.incarnation));
        let info = Arc::new(NodeInfo {
            shards: config.shards,
            hasher: KeyHasher::new(store.identity.hash_seed),
            log,
            memory: Arc::new(memory),
            watch: Arc::clone(&watch),
            mailboxes,
            aside,
            snapshots,
            snapshot_status: Arc::default(),
            data_dir: store.dir.clone(),
            clock: SharedClock::new(Source::MACHINE, recovered.newest_key),
            started: Instant::now(),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let trimmer = recovered.writer.as_ref().map(snapshot::LogWriter::trimmer);
        let log = recovered
            .writer
            .map(|writer| {
                let thread = LogThread::new(Arc::clone(&info.log), writer);
                let thread = thread.telling(Arc::clone(&info.watch));
                std::thread::Builder::new().name("log".into()).spawn(move || thread.run())
            })
            .transpose()?;
        let telling =
            WatchThread::new(watch, store.disk(), store.dir.clone(), store.identity.node_id);
        let telling =
            std::thread::Builder::new().name("watch".into()).spawn(move || telling.run())?;
        let policy = SnapshotPolicy {
            interval: config.snapshot_interval,
            log_bytes: config.snapshot_log_bytes,
        };
        let snapshotter = Snapshotter::new(
            store.disk(),
            store.identity.node_id,
            &info,
            requests,
            policy,
            &Covered::by(recovered.image.as_ref(), recovered.replayed_bytes),
            trimmer,
        )
        .raising(recovered.floor);
        let snapshotter = std::thread::Builder::new().name("snapshot".into()).spawn(move || {
            // Without a log nothing is durable before its snapshot is, and memory grows meanwhile.
            // So the thread keeps its priority.
            if mode != LogMode::Off {
                come_behind_cores();
            }
            snapshotter.run();
        })?;
        // The thread ends when no sender of work is left; nothing waits for it.
        std::thread::Builder::new().name("aside".into()).spawn(move || {
            come_behind_cores();
            offload::serve(&work);
        })?;
        let (end, ended) = watch::channel(false);
        let mut cores = Vec::new();
        for core in recovered.cores {
            cores.push(start_core(core, &info, config.pin, ended.clone())?);
        }
        Ok(Self { info, _store: store, cores, log, telling, snapshotter, end })
    }

    /// Lets the cores finish, closes the log and ends all threads.
    async fn stop(self) -> Result<(), StartError> {
        let drained = async {
            for shard in self.info.shards.all() {
                let (sender, receiver) = oneshot::channel();
                self.info.control(shard, Control::Drain(sender));
                drop(receiver.await);
            }
        };
        if tokio::time::timeout(STOP_PATIENCE, drained).await.is_err() {
            warn!("some requests could not be finished; they were never acknowledged");
        }
        let saved = match self.info.log.mode() {
            LogMode::Off => self.info.snapshot().await.map(drop).map_err(|error| error.to_string()),
            LogMode::Always | LogMode::EverySec | LogMode::Never => Ok(()),
        };
        self.info.ended.store(true, Ordering::Release);
        self.end.send_replace(true);
        let mut panicked = join_all(self.cores).await.then_some("core");
        self.info.log.stop();
        let closed = match self.log {
            Some(thread) => join(thread).await.unwrap_or(false),
            None => true,
        };
        self.info.watch.stop();
        if join(self.telling).await.is_none() {
            panicked = Some("watch");
        }
        // A snapshot under way ends first, or fails because the log is closed.
        drop(self.info.snapshots.send(SnapshotRequest::Stop));
        if join(self.snapshotter).await.is_none() {
            panicked = Some("snapshot");
        }
        saved.map_err(StartError::Unsaved)?;
        match self.info.log.dropped() {
            0 => {}
            records => return Err(StartError::Dropped(records)),
        }
        if !closed {
            return Err(StartError::Unclosed);
        }
        if let Some(thread) = panicked {
            return Err(StartError::Panicked(thread));
        }
        info!("stopped cleanly");
        Ok(())
    }
}

/// Waits for all threads. Returns whether any panicked.
async fn join_all(threads: Vec<JoinHandle<()>>) -> bool {
    let mut panicked = false;
    for thread in threads {
        panicked |= join(thread).await.is_none();
    }
    panicked
}

/// Waits for a thread without blocking this one; `None` if it panicked.
async fn join<T: Send + 'static>(thread: JoinHandle<T>) -> Option<T> {
    tokio::task::spawn_blocking(move || thread.join().ok()).await.ok().flatten()
}

fn start_core(
    core: Core,
    node: &Arc<NodeInfo>,
    pin: bool,
    mut ended: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let seed = getrandom::u64().map_err(io::Error::other)?;
    let (node, shard) = (Arc::clone(node), core.shard());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("core-{}", shard.0)).spawn(move || {
        if pin {
            pin_to_core(shard);
        }
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, async move {
            let local = Local::new(Worker::new(core, node, seed));
            local.settle_here();
            tokio::select! {
                () = local.serve() => {}
                _ = ended.wait_for(|ended| *ended) => {}
            }
        });
    })
}

/// Lowers the priority of this thread, so that requests come first on a shared processor. (On Linux
/// niceness is per thread.)
fn come_behind_cores() {
    if let Err(error) = rustix::process::nice(NICENESS) {
        warn!(%error, "a thread that has time keeps its priority");
    }
}

fn pin_to_core(shard: ShardId) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    // If the system lists no cores, the thread is not pinned either.
    let core = cores.get(shard.index() % cores.len().max(1));
    if !core.is_some_and(|core| core_affinity::set_for_current(*core)) {
        warn!(shard = shard.0, "the thread could not be pinned");
    }
}

fn accept_tcp(
    listener: Listener,
    door: &Arc<Door>,
    node: &Arc<NodeInfo>,
    net: NetConfig,
    credentials: &Credentials,
) {
    let (door, stop, tls) = (Arc::clone(door), net.stop.clone(), credentials.tls.clone());
    let (node, net) = (Arc::clone(node), Arc::new(net));
    let accepting = accept(listener, door, tls, stop, move |stream, guest| {
        connection::start(&node, node.least_loaded(), stream, guest, Arc::clone(&net));
    });
    tokio::task::spawn_local(tell_end("tcp", accepting));
}

fn accept_http(
    listener: Listener,
    door: &Arc<Door>,
    node: &Arc<NodeInfo>,
    config: &Config,
    meters: &[SharedMeter],
    credentials: &Credentials,
    serve: &ServeConfig,
) {
    let routers: Vec<(ShardId, axum::Router)> = node
        .shards
        .all()
        .zip(meters)
        .map(|(shard, meter)| {
            let store = Handle::on_core(Arc::clone(node), shard);
            let auth = credentials.user_auth();
            let mut router = http::app_router(App { store, auth, meter: meter.clone() });
            if config.docs == Docs::App {
                router = router.merge(http::docs_router(DocsDoor::App));
            }
            (shard, http::with_cors(router, &config.cors_origins))
        })
        .collect();
    let (node, shared) = (Arc::clone(node), serve.clone());
    let turns = RefCell::new(VecDeque::from(routers));
    let (door, stop, tls) = (Arc::clone(door), serve.stop.clone(), credentials.tls.clone());
    let accepting = accept(listener, door, tls, stop, move |stream, guest| {
        let mut turns = turns.borrow_mut();
        turns.rotate_left(1);
        let Some((shard, router)) = turns.front().cloned() else { return };
        let shared = shared.clone();
        let serve = move |local: &Local| {
            let local = local.clone();
            let serving = serve_http(stream, guest, router, shared);
            tokio::task::spawn_local(async move { local.in_turns(serving).await });
        };
        node.control(shard, Control::Connection(Box::new(serve)));
    });
    tokio::task::spawn_local(tell_end("http", accepting));
}

/// Serves a listener on this thread.
fn serve_here(
    listener: Listener,
    door: Arc<Door>,
    tls: Option<Arc<Tls>>,
    router: axum::Router,
    config: ServeConfig,
) {
    let accepting = accept(listener, door, tls, config.stop.clone(), move |stream, guest| {
        tokio::task::spawn_local(serve_http(stream, guest, router.clone(), config.clone()));
    });
    tokio::task::spawn_local(tell_end("admin", accepting));
}

/// Serves an HTTP connection on this thread; `guest` is its place at the door.
async fn serve_http(stream: Parked, guest: Guest, router: axum::Router, config: ServeConfig) {
    use http::serve::connection;
    let sign = guest.sign().to_owned();
    match stream.arrive() {
        Ok(Stream::Tcp(stream)) => {
            connection(HttpOnly::new(stream, sign), router, guest, config).await;
        }
        Ok(Stream::Unix(stream)) => {
            connection(HttpOnly::new(stream, sign), router, guest, config).await;
        }
        Ok(Stream::Tls(mut stream)) => {
            // The bytes that the TLS stream accepts must show how fast the client reads, so it
            // buffers only a few records.
            stream.get_mut().1.set_buffer_limit(Some(PROGRESS_BYTES));
            connection(HttpOnly::new(stream, sign), router, guest, config).await;
        }
        Err(error) => debug!(%error, "a connection broke on its way"),
    }
}

async fn tell_end(door: &'static str, accepting: impl Future<Output = io::Result<()>>) {
    if let Err(error) = accepting.await {
        error!(%error, door, "the listener ended");
    }
}

async fn wait_empty(doors: &[&Arc<Door>]) {
    let deadline = Instant::now() + STOP_PATIENCE;
    while doors.iter().any(|door| door.open() > 0) {
        if Instant::now() > deadline {
            warn!("some clients did not take their replies in time");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
