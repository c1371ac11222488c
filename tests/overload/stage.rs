//! A server as a process of its own, and neighbors on each of its shards that ask a little all the
//! time.
//!
//! In the long form, the scheduler prefers the neighbors' threads, then those of the log and the
//! cores. The threads of a case get what is left, as if clients had machines of their own. So the
//! neighbors' latencies are those of the server.
//!
//! The preferred threads are of a real-time class. Only these take a processor at once from a
//! thread in the middle of a system call; others wait for the next tick, up to 4 ms. The cores are
//! not pinned. The kernel stops a real-time thread that never sleeps for 50 ms each second. Without
//! a pin the thread can move to another processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chatshard::command::{Kind, Reply};
use hdrhistogram::Histogram;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::common::priority;
use crate::common::raw::Raw;
use crate::process::Server;

/// Interval between requests of a neighbor.
const EVERY: Duration = Duration::from_millis(5);

/// Shards of the server.
const SHARDS: u64 = 2;

/// Duration of a case that has no end of its own.
pub fn seconds() -> Duration {
    let seconds =
        std::env::var("CHATSHARD_OVERLOAD_SECONDS").map_or(1, |text| text.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Whether this is the long form, whose figures should be those of the server alone.
pub fn is_measured() -> bool {
    seconds() > Duration::from_secs(1)
}

/// Raises the number of descriptors of this process to the system's limit, and returns it.
pub fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}

/// The server of a case, and its neighbors.
pub struct Stage {
    pub server: Server,
    quiet: Histogram<u64>,
    _directory: tempfile::TempDir,
}

impl Stage {
    /// Starts a server. The neighbors' latencies in quiet are measured once.
    pub fn new(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shards = SHARDS.to_string();
        let fixed = ["--shards", &shards, "--fsync", "never", "--snapshot-interval-s", "0"];
        let arguments = [&fixed[..], settings].concat();
        let server = Server::start(&directory.path().join("data"), &arguments);
        // The log's thread has little work at a time, and all writes wait for it.
        if is_measured() && !priority::favour(server.pid(), ["core-", "log"]) {
            println!("(the server has no priority: it also waits for its turn on a core)");
        }
        let mut stage = Self { server, quiet: Histogram::new(3).unwrap(), _directory: directory };
        let (quiet, ()) = stage.beside_neighbours(|| std::thread::sleep(seconds()));
        stage.quiet = quiet;
        stage
    }

    /// A connection that has completed a `hello`.
    pub fn greeted(&self) -> Raw {
        Raw::greeted(self.server.address)
    }

    /// Creates a user with this number of chats.
    pub fn fill_list(&self, user: &str, chats: usize) {
        let mut raw = self.greeted();
        let numbers: Vec<usize> = (0..chats).collect();
        for group in numbers.chunks(2000) {
            let id = |number: &usize| format!("{user}-{number:016x}");
            let chats: Vec<Value> =
                group.iter().map(|n| json!({"id": id(n), "type": 2, "creator_id": "m"})).collect();
            let members: Vec<Value> =
                group.iter().map(|n| json!({"user_id": user, "chat_id": id(n)})).collect();
            let lines = json!({"chats": chats, "members": members});
            raw.call(2, Kind::Import, lines).unwrap();
        }
    }

    /// Plays a case while the neighbors send requests. They must get right replies, and the
    /// server's memory may grow by at most `bytes_max`. The neighbors' latencies are printed and
    /// not checked, because they depend on the machine too.
    pub fn play<R>(&self, case: &str, bytes_max: u64, play: impl FnOnce() -> R) -> R {
        let before = self.server.memory("VmRSS");
        let (seen, played) = self.beside_neighbours(play);
        let grown = self.server.memory("VmHWM").saturating_sub(before);
        let times = |quantile| {
            let (quiet, seen) =
                (self.quiet.value_at_quantile(quantile), seen.value_at_quantile(quantile));
            format!("{quiet} -> {seen} us ({:.1}x)", seen as f64 / quiet as f64)
        };
        println!(
            "{case}: neighbours asked {} times, p50 {}, p99 {}, longest {} us; memory grew by {} KiB of {} KiB",
            seen.len(),
            times(0.5),
            times(0.99),
            seen.max(),
            grown >> 10,
            bytes_max >> 10
        );
        assert!(grown <= bytes_max, "{case}: memory grew by {grown} bytes of {bytes_max}");
        played
    }

    fn beside_neighbours<R>(&self, play: impl FnOnce() -> R) -> (Histogram<u64>, R) {
        let stop = Arc::new(AtomicBool::new(false));
        let neighbours: Vec<_> = (0..SHARDS)
            .map(|shard| Neighbour::start(self.greeted(), shard, Arc::clone(&stop)))
            .collect();
        if is_measured() && !priority::stay_behind() {
            println!(
                "(the case has the priority of all others: the figures are also the machine's)"
            );
        }
        let played = play();
        if is_measured() {
            priority::be_as_others();
        }
        stop.store(true, Ordering::Relaxed);
        let mut seen = Histogram::new(3).unwrap();
        neighbours.into_iter().for_each(|neighbour| seen.add(neighbour.join().unwrap()).unwrap());
        (seen, played)
    }
}

/// A client that reads and writes, and checks each reply.
struct Neighbour {
    raw: Raw,
    user: String,
    chat: String,
    next_id: u64,
}

impl Neighbour {
    fn start(mut raw: Raw, shard: u64, stop: Arc<AtomicBool>) -> JoinHandle<Histogram<u64>> {
        raw.call(2, Kind::Hello, json!({"shard": shard})).unwrap();
        let (user, chat) = (format!("neighbour-{shard}"), format!("neighbours-{shard}"));
        let create = json!({"id": chat, "type": 2, "creator_id": user, "user_ids": [user]});
        raw.call(3, Kind::Create, create).unwrap();
        let mut neighbour = Self { raw, user, chat, next_id: 4 };
        std::thread::spawn(move || neighbour.ask_until(&stop))
    }

    /// Latencies in microseconds, each from the time at which the request was due.
    fn ask_until(&mut self, stop: &AtomicBool) -> Histogram<u64> {
        if is_measured() && !priority::come_first() {
            println!("(a neighbour has no priority: it also waits for its turn on a core)");
        }
        let mut seen = Histogram::new(3).unwrap();
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            next += EVERY;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            self.ask();
            seen.record(u64::try_from(next.elapsed().as_micros()).unwrap().max(1)).unwrap();
        }
        seen
    }

    fn ask(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        let (kind, arguments) = match id % 3 {
            0 => (Kind::List, json!({"user_id": self.user})),
            1 => (Kind::Detail, json!({"ids": [self.chat], "user_id": self.user})),
            _ => (Kind::Advance, json!({"chat_id": self.chat, "allocate": 1})),
        };
        let reply = self.raw.call(id, kind, arguments).unwrap();
        match reply {
            Reply::List(list) => {
                assert!(list.items.iter().map(|row| row.chat_id.as_str()).eq([&self.chat]));
            }
            Reply::Detail(detail) => {
                assert!(detail.items.iter().map(|chat| chat.id.as_str()).eq([&self.chat]));
            }
            Reply::Advance(told) => assert_eq!(told.first_sequence, told.last_sequence),
            other => panic!("{other:?}"),
        }
    }
}
