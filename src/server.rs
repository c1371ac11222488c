//! Wiring: the doors, the node behind them, the signals that end it.
//!
//! [`run`] and its siblings are the whole life of a server. `node/start.rs` starts the node inside
//! it, and `node/stop.rs` stops it. The calling thread accepts connections, serves the admin
//! listener, and waits for signals.
//!
//! # Layout
//! - `listeners`: the sockets of the doors
//! - `descriptors`: the file descriptors of each door, and the reserve of log and snapshots
//! - `credentials`: the credentials that callers must show, and when their files are read again
//! - `doors`: the counters of the doors, and the budgets that their connections share
//! - `engine`: the engine of a member's journal
//! - `member_access`: how a member shows itself to other members, and whom it trusts
//! - `reports`: a standby's reports to the active
//! - `claim_rounds`: asks the other members before this one claims
//! - `entry_repairs`: asks the other members for an entry that the engine has damaged
//! - `accept`: opens the doors
//! - `admin`: the routes of the admin listener
//! - `giving`: what a member gives to another one that copies its data
//! - `joining`: copies the data of another member
//!
//! Invariant: the admin listener is open before recovery begins, so that it can report a long
//! recovery as "starting". The other doors open when the data is there.

mod accept;
mod admin;
mod claim_rounds;
mod credentials;
mod descriptors;
mod doors;
pub mod engine;
mod entry_repairs;
mod giving;
mod joining;
mod listeners;
mod member_access;
mod reports;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::LocalSet;
use tracing::{error, info, warn};

use crate::access::Endpoint;
use crate::admission::Door;
use crate::config::{Config, FsyncMode, LogSwitch};
use crate::metrics::SharedMeter;
use crate::node::after_stint::AfterStint;
pub use crate::node::error::{NodeError, StoreError};
use crate::node::log::LogMode;
use crate::node::snapshotter::SnapshotPolicy;
use crate::node::stop::STOP_TIMEOUT;
use crate::node::{Handle, Node, NodeOptions, start};
use crate::throttle::throttled;
use accept::Opening;
use admin::LateNode;
use credentials::Credentials;
use doors::Doors;
use joining::{JoinParts, JoinProgress, JoinThread};
use listeners::Listeners;
use member_access::MemberAccess;

/// Most connections of the admin listener that have shown their credentials.
const ADMIN_CONNECTIONS_MAX: usize = 256;

/// Time in which clients learn from 421 that a member has handed over, before it ends their
/// connections.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause before a member reads a directory again whose disk is bad. Each failure in a row doubles it,
/// up to the maximum.
const DISK_PAUSE_MIN: Duration = Duration::from_secs(1);
const DISK_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Why the server did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The node did not start, or did not stop cleanly.
    #[error("{0}")]
    Node(#[from] NodeError),
    /// The journal cannot be used with these settings.
    #[error("{0}")]
    Journal(String),
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
        /// The smallest limit of open files that is enough for this configuration.
        needed: usize,
    },
}

/// The addresses that the server listens on, with the ports that the system chose.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// The address of the TCP door.
    pub tcp: Endpoint,
    /// The address of the HTTP door; `None` if it is off.
    pub http: Option<Endpoint>,
    /// The address of the admin listener; `None` if it is off.
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

/// Like [`run_with`], but serves until the future that `stop` returns is complete. `stop` is called
/// on the thread of the async runtime.
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

/// Completes when the process gets SIGTERM or SIGINT.
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
    let Listeners { tcp, http, admin, addresses } = Listeners::bind(&config)?;
    let credentials = Rc::new(Credentials::new(&config));
    credentials.check_certificate();
    if !config.demo {
        tokio::task::spawn_local(credentials::keep_reading(Rc::clone(&credentials)));
    }
    let (closing, stopping) = watch::channel(false);
    let doors = Doors::new(&config, &stopping);
    let opening = Opening {
        config: &config,
        addresses: &addresses,
        places,
        credentials: &credentials,
        doors: &doors,
        stopping: &stopping,
    };
    let late = LateNode::default();
    if let Some(listener) = admin {
        opening.admin(listener, &late);
    }

    info!(version = env!("CARGO_PKG_VERSION"), data_dir = %config.data_dir.display(), "starting");
    warn_of_open_doors(&config, &addresses);
    credentials.warn_of_open_files();
    let mut options = tokio::select! {
        options = node_options(&config, &addresses) => options?,
        () = &mut stop => return Ok(()),
    };
    let access = MemberAccess::new(&config, &credentials.authenticator);
    if options.journal.is_some() {
        // Else it would fail when the first copy or report is due.
        access.credentials().map_err(StartError::Journal)?;
    }
    let mut node = tokio::select! {
        node = begin(&options, &access) => node?,
        () = &mut stop => return Ok(()),
    };
    let meters: Vec<SharedMeter> = options.shards.all().map(|_| SharedMeter::default()).collect();
    let current = opening.current(&node.info, &meters);
    let mut open = vec![opening.tcp(tcp, &current)];
    open.extend(http.map(|listener| opening.http(listener, &current)));
    late.set(Some((Handle::new(Arc::clone(&node.info)), meters.clone())));
    let shown = |door: &Option<Endpoint>| {
        door.as_ref().map_or_else(|| "off".to_owned(), Endpoint::to_string)
    };
    info!(tcp = %addresses.tcp, http = shown(&addresses.http), admin = shown(&addresses.admin),
        shards = node.info.shards.get(), "ready");
    let told = addresses.clone();
    std::thread::spawn(move || on_ready(&told));

    // Whether the data of the present node was copied from another member.
    let mut copied = false;
    loop {
        let next = tokio::select! {
            () = &mut stop => break,
            next = node.over() => next,
        };
        let has_failed_sync = matches!(next, AfterStint::DiskFailed { .. });
        let trouble = node.info.member.as_ref().and_then(|member| member.disk_trouble());
        let is_disk_bad = has_failed_sync || trouble.is_some();
        let stint = next.handed_over();
        if let Some(journal) = &mut options.journal {
            journal.handed_over = stint.or(journal.handed_over);
            journal.disk_failed = has_failed_sync;
        }
        if stint.is_some() {
            tokio::select! {
                () = wait_left(&node) => {}
                () = &mut stop => break,
            }
        }
        info!("this member begins again as a standby");
        late.set(None);
        current.set(None);
        node.demote().await?;
        if let AfterStint::Copy { was_level: false } = next
            && copied
        {
            warn!(
                "the copy of another member's data took longer than the journal keeps what is \
                 written meanwhile; another one begins. Raise --journal-bytes-max"
            );
        }
        if matches!(next, AfterStint::Copy { .. } | AfterStint::Replace) {
            let is_wrong = next == AfterStint::Replace;
            let mut joining = join(&options, &access, &late, is_wrong)?;
            tokio::select! {
                () = joining.ended() => {}
                () = &mut stop => {
                    joining.cancel().await;
                    return Ok(());
                }
            }
            late.set(None);
            if let Some(journal) = &options.journal {
                journal.figures.note_join();
            }
        }
        copied = matches!(next, AfterStint::Copy { .. } | AfterStint::Replace);
        if has_failed_sync {
            tokio::select! {
                () = tokio::time::sleep(DISK_PAUSE_MIN) => {}
                () = &mut stop => return Ok(()),
            }
        }
        node = tokio::select! {
            node = begin_again(&options, &access, &late, is_disk_bad) => node?,
            () = &mut stop => return Ok(()),
        };
        current.set(Some(opening.serving(&node.info, &meters)));
        late.set(Some((Handle::new(Arc::clone(&node.info)), meters.clone())));
    }
    info!("stopping: no new connections; what is in flight is answered");
    node.info.stopping.store(true, Ordering::Release);
    closing.send_replace(true);
    wait_empty(&open).await;
    Ok(node.stop().await?)
}

/// Reads the data and begins the threads of the node.
async fn begin(options: &NodeOptions, access: &MemberAccess) -> Result<Node, StartError> {
    let (store, recovered) = start::recover(options).await?;
    let node = Node::start(options, store, recovered)?;
    tokio::task::spawn_local(Arc::clone(&node.info.memory).keep_looking());
    tokio::task::spawn_local(Arc::clone(&node.info.clock).keep_looking());
    tokio::task::spawn_local(reports::keep_reporting(Arc::clone(&node.info), access.clone()));
    tokio::task::spawn_local(claim_rounds::keep_asking(Arc::clone(&node.info), access.clone()));
    tokio::task::spawn_local(entry_repairs::keep_repairing(Arc::clone(&node.info), access.clone()));
    Ok(node)
}

/// Like [`begin`], for a member that was a node before. If its disk was bad, the directory may not be
/// readable now, or have no room: it is tried until it works.
async fn begin_again(
    options: &NodeOptions,
    access: &MemberAccess,
    late: &LateNode,
    is_disk_bad: bool,
) -> Result<Node, StartError> {
    let mut pause = DISK_PAUSE_MIN;
    loop {
        match begin(options, access).await {
            Err(error) if is_disk_bad => {
                let why = error.to_string();
                throttled!(error, why, "this member cannot read its data; it is tried again");
                late.set_failing(why);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(DISK_PAUSE_MAX);
            }
            begun => return begun,
        }
    }
}

/// Begins to copy the data of another member.
fn join(
    options: &NodeOptions,
    access: &MemberAccess,
    late: &LateNode,
    is_wrong: bool,
) -> Result<JoinThread, StartError> {
    let missing = || StartError::Journal("the node is no member of a journal".to_owned());
    let journal = options.journal.as_ref().ok_or_else(missing)?;
    let parts = JoinParts {
        dir: options.data_dir.clone(),
        segment_bytes_max: options.segment_bytes_max,
        client: journal.client.clone(),
        own: journal.names.clone(),
        access: access.clone(),
        is_wrong,
    };
    let progress = JoinProgress::default();
    late.set_joining(progress.clone());
    Ok(JoinThread::start(parts, progress)?)
}

fn warn_of_open_doors(config: &Config, addresses: &Addresses) {
    if config.tls.is_some() {
        return;
    }
    let doors = [Some(&addresses.tcp), addresses.http.as_ref(), addresses.admin.as_ref()];
    for door in doors.into_iter().flatten().filter(|door| door.is_open()) {
        warn!(%door, "beyond loopback without TLS: tokens and data can be read on their way");
    }
}

async fn node_options(config: &Config, addresses: &Addresses) -> Result<NodeOptions, StartError> {
    let journal = match &config.journal {
        Some(journal) => Some(engine::options(journal, addresses).await?),
        None => None,
    };
    Ok(NodeOptions {
        data_dir: config.data_dir.clone(),
        init: config.init,
        allow_damage: config.allow_damage,
        shards: config.shards,
        mode: match (config.log, config.fsync) {
            (LogSwitch::On, _) if journal.is_some() => LogMode::Journal,
            (LogSwitch::Off, _) => LogMode::Off,
            (LogSwitch::On, FsyncMode::Always) => LogMode::Always,
            (LogSwitch::On, FsyncMode::EverySecond) => LogMode::EverySec,
            (LogSwitch::On, FsyncMode::Never) => LogMode::Never,
        },
        segment_bytes_max: config.log_segment_bytes,
        snapshots: SnapshotPolicy {
            interval: config.snapshot_interval,
            log_bytes: config.snapshot_log_bytes,
        },
        memory_max: config.memory_max,
        probe: config.probe,
        probe_figures: Arc::default(),
        journal,
        pin: config.pin,
    })
}

/// Waits for a while until clients have left a node that replies 421 to all that they ask.
async fn wait_left(node: &Node) {
    let deadline = Instant::now() + LEAVE_TIMEOUT;
    while node.info.connections() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until no door has a connection.
async fn wait_empty(doors: &[Arc<Door>]) {
    let deadline = Instant::now() + STOP_TIMEOUT;
    while doors.iter().any(|door| door.open() > 0) {
        if Instant::now() > deadline {
            warn!("some clients did not take their replies in time");
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
