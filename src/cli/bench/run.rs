//! `bench run`: puts one kind of load on one system, and measures it.

use std::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::data::{Data, DataArgs};
use super::draw::Keys;
use super::load::{LoadPlan, Measured, Signals, drive};
use super::preflight;
use super::report::{LoadShape, RunReport};
use super::wire::Look;
use super::wire::framed::Framed;
use super::wire::http::Http;
use super::wire::valkey::Valkey;
use super::work::{LoadRequests, Workload};
use crate::cli::generate::random::derive;
use crate::cli::progress::Progress;
use crate::cli::result_file::{print, print_json_line};
use crate::cli::{ConnectArgs, Failure, TlsArgs, block_on};
use crate::client::ClientTls;
use crate::limits::IN_FLIGHT_MAX;
use crate::system::process_time;

/// How often the progress bar is updated.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The system to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// chatshard's TCP door
    Chatshard,
    /// chatshard's HTTP door for apps
    Http,
    /// `bench canned`: the limit of the network path
    Canned,
    /// Valkey, or another server of its protocol
    Valkey,
}

impl Target {
    /// The name of the target on the command line and in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chatshard => "chatshard",
            Self::Http => "http",
            Self::Canned => "canned",
            Self::Valkey => "valkey",
        }
    }

    /// The address that the target has by default.
    pub fn default_addr(self) -> &'static str {
        match self {
            Self::Chatshard => "127.0.0.1:7700",
            Self::Http => "127.0.0.1:7780",
            Self::Canned => super::canned::DEFAULT_ADDR,
            Self::Valkey => "127.0.0.1:6379",
        }
    }
}

/// Arguments of `bench run`: the target, the load and the data.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// System to measure
    #[arg(long, value_enum, default_value = "chatshard")]
    pub target: Target,
    /// Address of the system: HOST:PORT, or unix:PATH [default: its usual address on loopback]
    #[arg(long)]
    pub addr: Option<String>,
    /// Secret for chatshard, if it requires one
    #[arg(long, value_name = "TOKEN", env = "CHATSHARD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The settings of TLS; only chatshard and its HTTP door use it.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Work to do
    #[arg(long, value_enum, default_value = "mixed")]
    pub work: Workload,
    /// Connections, divided among the threads
    #[arg(long, default_value = "50")]
    pub connections: NonZeroUsize,
    /// Requests in flight on each connection
    #[arg(long, default_value = "16")]
    pub depth: NonZeroU16,
    /// Seconds to measure
    #[arg(long, default_value_t = 5.0, conflicts_with = "requests")]
    pub seconds: f64,
    /// Send exactly this many requests instead
    #[arg(long, value_name = "N")]
    pub requests: Option<NonZeroU64>,
    /// Seconds of load before anything counts
    #[arg(long, default_value_t = 0.0)]
    pub warmup: f64,
    /// Requests per second, due at fixed times from which the latency counts; without it, each
    /// request follows a reply
    #[arg(long, value_name = "R")]
    pub rate: Option<f64>,
    /// How often each key is drawn
    #[arg(long, value_enum, default_value = "uniform")]
    pub keys: Keys,
    /// The size of the data, as given to `bench fill`.
    #[command(flatten)]
    pub data: DataArgs,
    /// Threads of the load side
    #[arg(long, default_value = "1")]
    pub threads: NonZeroUsize,
    /// Seed; the same seed draws the same keys
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Decode each reply and check that it is complete; costs the load side time
    #[arg(long)]
    pub check: bool,
    /// Process of the server, whose CPU time is then reported
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

impl RunArgs {
    fn check(&self) -> Result<(), Failure> {
        let refuse = |why: String| Err(Failure::usage(why));
        if usize::from(self.depth.get()) > IN_FLIGHT_MAX {
            return refuse(format!("--depth: at most {IN_FLIGHT_MAX}"));
        }
        if self.threads > self.connections {
            return refuse("--threads: more than there are connections".to_owned());
        }
        if self.target == Target::Http && matches!(self.work, Workload::Advance | Workload::Mixed) {
            return refuse("--work: the HTTP door for apps has no advance".to_owned());
        }
        let time = |value: f64| (0.0..=86_400.0).contains(&value);
        if !time(self.seconds) || !time(self.warmup) {
            return refuse("--seconds and --warmup: 0 to 86400".to_owned());
        }
        if self.rate.is_some_and(|rate| !(0.001..=1e9).contains(&rate)) {
            return refuse("--rate: 0.001 to 1000000000".to_owned());
        }
        Ok(())
    }

    fn addr(&self) -> String {
        self.addr.clone().unwrap_or_else(|| self.target.default_addr().to_owned())
    }

    /// The part of the load for the thread with this number.
    fn plan(&self, thread: usize, tls: Option<ClientTls>) -> LoadPlan {
        let (connections, threads) = (self.connections.get(), self.threads.get());
        let share = |all: usize| all / threads + usize::from(thread < all % threads);
        let requests = self.requests.map(|all| {
            let (threads, thread) = (crate::types::wide(threads), crate::types::wide(thread));
            all.get() / threads + u64::from(thread < all.get() % threads)
        });
        let interval = self.rate.map(|rate| Duration::from_secs_f64(1.0 / rate));
        let times = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        LoadPlan {
            addr: self.addr(),
            tls,
            connections: share(connections),
            depth: self.depth.get(),
            warmup: Duration::from_secs_f64(self.warmup),
            span: Duration::from_secs_f64(self.seconds),
            requests,
            interval: interval.map(|interval| interval.saturating_mul(times(connections))),
            stagger: interval.unwrap_or_default().saturating_mul(times(threads)),
        }
    }

    /// The certificates to trust for TLS. Only the doors of chatshard use it.
    fn tls(&self) -> Result<Option<ClientTls>, Failure> {
        match self.target {
            Target::Chatshard | Target::Http => self.tls.read().map_err(Failure::usage),
            Target::Canned | Target::Valkey => Ok(None),
        }
    }

    fn look(&self) -> Look {
        match self.check {
            true => Look::Check { with_deletes: self.work == Workload::Mixed },
            false => Look::Status,
        }
    }
}

/// Puts the load on the target, measures it, and prints the results.
pub fn run(args: &RunArgs) -> Result<(), Failure> {
    args.check()?;
    let (data, tls) = (Data::new(args.data)?, args.tls()?);
    if args.target == Target::Chatshard {
        let connection = ConnectArgs {
            addr: args.addr(),
            token: args.token.clone(),
            stale_ms: None,
            tls: args.tls.clone(),
        };
        block_on(async { preflight::look(&connection, &data).await })?;
    }
    let progress = Arc::new(AtomicU64::new(0));
    let (ready, is_ready) = mpsc::channel();
    let mut threads = Vec::new();
    for number in 0..args.threads.get() {
        let (begin, begins) = mpsc::channel();
        let signals = Signals { ready: ready.clone(), begin: begins, progress: progress.clone() };
        let plan = args.plan(number, tls.clone());
        threads.push((start(args, plan, data, number, signals)?, begin));
    }
    drop(ready);
    // If fewer threads report than were started, one has failed. Its result says why.
    let all_ready = is_ready.iter().take(threads.len()).count() == threads.len();
    let began = Instant::now();
    let threads: Vec<_> = threads
        .into_iter()
        .map(|(thread, begin)| {
            if all_ready {
                let _ = begin.send(began);
            }
            thread
        })
        .collect();
    let from = began + Duration::from_secs_f64(args.warmup);
    let watched = if all_ready { watch(args, from, &threads, &progress)? } else { None };
    let mut measured = Measured::new()?;
    for thread in threads {
        let ended = thread.join().map_err(|_| Failure::new("a thread panicked"))?;
        measured.add(&ended?)?;
    }
    let span = match args.requests {
        None => Duration::from_secs_f64(args.seconds),
        Some(_) => {
            measured.last.map_or(Duration::ZERO, |last| last.saturating_duration_since(from))
        }
    };
    let asked = LoadShape {
        target: args.target.name(),
        work: args.work.name(),
        keys: if args.keys == Keys::Zipf { "zipf" } else { "uniform" },
        connections: args.connections.get(),
        depth: args.depth.get(),
        threads: args.threads.get(),
        rate: args.rate,
    };
    let report = RunReport::new(asked, &measured, span, watched);
    if args.json { print_json_line(&report) } else { print(&report.table()) }?;
    match report.errors {
        0 => Ok(()),
        errors => Err(Failure::new(format!("{errors} requests failed"))),
    }
}

type Thread = JoinHandle<Result<Measured, Failure>>;

fn start(
    args: &RunArgs,
    plan: LoadPlan,
    data: Data,
    number: usize,
    signals: Signals,
) -> Result<Thread, Failure> {
    let (look, target) = (args.look(), args.target);
    let token = args.token.clone().filter(|token| !token.is_empty());
    let seed = derive(args.seed, 41, crate::types::wide(number));
    let asks = LoadRequests::new(args.work, args.keys, &data, seed);
    let work = move || match target {
        Target::Chatshard | Target::Canned => {
            drive(&plan, asks, || Framed::new(data, token.clone(), look), signals)
        }
        Target::Http => drive(&plan, asks, || Http::new(data, look), signals),
        Target::Valkey => drive(&plan, asks, || Valkey::new(data, look), signals),
    };
    let thread = std::thread::Builder::new().name(format!("load-{number}")).spawn(work);
    thread.map_err(|error| Failure::new(format!("cannot start a thread: {error}")))
}

/// Updates the progress bar. Reads the CPU time of the server when counting begins and when it
/// ends.
fn watch(
    args: &RunArgs,
    from: Instant,
    threads: &[Thread],
    progress: &AtomicU64,
) -> Result<Option<u64>, Failure> {
    let span = Duration::from_secs_f64(args.seconds);
    let until = args.requests.is_none().then(|| from + span);
    let bar = bar(args);
    let cpu = || args.server_pid.map(cpu_us).transpose();
    let is_over = || threads.iter().any(JoinHandle::is_finished);
    while Instant::now() < from && !is_over() {
        std::thread::sleep(from.saturating_duration_since(Instant::now()).min(LOOK_INTERVAL));
    }
    let before = cpu()?;
    while !is_over() {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            break;
        }
        // With `--requests` the end is not known in advance. The server's CPU time must be read
        // soon after it.
        let pause = if args.requests.is_some() && args.server_pid.is_some() {
            Duration::from_millis(2)
        } else {
            LOOK_INTERVAL
        };
        std::thread::sleep(left.unwrap_or(pause).min(pause));
        let count = progress.load(Ordering::Relaxed);
        match until {
            Some(_) => bar.set(milliseconds(Instant::now().saturating_duration_since(from))),
            None => bar.set(count),
        }
        bar.say(format!("{count} requests"));
    }
    let after = cpu()?;
    bar.clear();
    Ok(before.zip(after).map(|(before, after)| after.saturating_sub(before)))
}

/// A progress bar on stderr, if that is a terminal.
fn bar(args: &RunArgs) -> Progress {
    let length = match args.requests {
        Some(requests) => requests.get(),
        None => milliseconds(Duration::from_secs_f64(args.seconds)),
    };
    Progress::new(Some(length), "{bar:32} {percent} % {msg} {eta}")
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// User and system time of a process with all its threads, in microseconds.
fn cpu_us(pid: u32) -> Result<u64, Failure> {
    process_time::cpu_us(pid)
        .map_err(|error| Failure::new(format!("CPU time of process {pid}: {error}")))
}
