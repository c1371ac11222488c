//! What a neighbor waits while a core works for giants: a user with 50 000 chats, a group with 100
//! 000 members, totals of many users. It runs a real server in this process, on one shard, through
//! its socket.
//!
//! ```text
//! cargo bench --bench neighbors             the sizes above
//! cargo bench --bench neighbors -- group    only `conversations`, `totals` or `group`
//! cargo bench --bench neighbors -- --test   small sizes, to see that it works
//! ```
//!
//! The neighbor requests a short list every millisecond on a connection of its own. Its latency
//! counts from the time at which the request was due. The report has its latencies in quiet beside
//! those during each work. Compare figures only within one run on one machine.
//!
//! This is no benchmark of criterion, which measures one work at a time and knows no quantiles: the
//! report is about another connection meanwhile, its p99.9, and CPU time. `giants.rs` has what
//! criterion can say.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]
// The test server is shared with the tests, which use more of it.
#![allow(dead_code)]

#[path = "../tests/common/priority.rs"]
mod priority;
#[path = "../tests/common/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chatshard::client::{ClientOptions, Connection};
use chatshard::command::{self, Kind, Reply};
use comfy_table::{Table, presets};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use server::TestServer;
use tokio::runtime::Runtime;

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Interval of the neighbor's requests.
const NEIGHBOR_EVERY: Duration = Duration::from_millis(1);
const IMPORT_LINES: usize = 4000;

struct Sizes {
    chats: usize,
    members: usize,
    users: usize,
    chats_a_user: usize,
    pages: usize,
}

const FULL: Sizes =
    Sizes { chats: 50_000, members: 100_000, users: 1000, chats_a_user: 50, pages: 200 };
const SMALL: Sizes = Sizes { chats: 300, members: 500, users: 20, chats_a_user: 5, pages: 3 };

/// A connection that is driven step by step.
struct Caller {
    runtime: Runtime,
    connection: Connection,
}

impl Caller {
    fn connect(server: &TestServer) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = ClientOptions::default();
        let (connection, _) =
            runtime.block_on(Connection::connect(server.tcp(), &options)).unwrap();
        Self { runtime, connection }
    }

    fn ask(&mut self, name: &str, arguments: Value) -> Reply {
        self.run(&command(name, arguments))
    }

    fn run(&mut self, command: &command::Command) -> Reply {
        self.connection.send(command).unwrap();
        let answer = self.runtime.block_on(async {
            self.connection.flush().await.unwrap();
            self.connection.receive().await.unwrap()
        });
        answer.outcome.unwrap()
    }
}

fn command(name: &str, arguments: Value) -> command::Command {
    command::Command::from_json(Kind::from_name(name).unwrap(), arguments).unwrap()
}

type Latencies = Histogram<u64>;

/// Result of a piece of work.
struct Seen {
    /// Duration of each of its parts.
    parts: Latencies,
    /// CPU time of the whole work in milliseconds: server, load and neighbor.
    cpu_ms: f64,
    /// The neighbor's latencies meanwhile.
    neighbor: Latencies,
}

/// Runs `work` while the neighbor sends requests. Returns the duration of each part, and the
/// neighbor's latencies.
fn beside_neighbor(server: &TestServer, work: impl FnOnce() -> Latencies) -> Seen {
    let stop = Arc::new(AtomicBool::new(false));
    let mut neighbor = Caller::connect(server);
    let asking = {
        let stop = Arc::clone(&stop);
        let list = command("list", json!({"user_id": "neighbor"}));
        std::thread::spawn(move || {
            if !priority::come_first() {
                println!("(the neighbor has no priority: it also waits for its turn on a core)");
            }
            let mut latencies = Latencies::new(3).unwrap();
            let mut next = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                next += NEIGHBOR_EVERY;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                neighbor.run(&list);
                latencies.record(micros(next.elapsed())).unwrap();
            }
            latencies
        })
    };
    let cpu = cpu_ms();
    let parts = work();
    let cpu_ms = cpu_ms() - cpu;
    stop.store(true, Ordering::Relaxed);
    Seen { parts, cpu_ms, neighbor: asking.join().unwrap() }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap().max(1)
}

/// Runs a function many times, and measures each run.
fn timed(times: usize, mut run: impl FnMut(usize)) -> Latencies {
    let mut latencies = Latencies::new(3).unwrap();
    for number in 0..times {
        let started = Instant::now();
        run(number);
        latencies.record(micros(started.elapsed())).unwrap();
    }
    latencies
}

/// CPU time of this process in milliseconds: server and load together.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks as f64 * 10.0
}

struct Report {
    table: Table,
}

impl Report {
    fn new() -> Self {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "work",
            "times",
            "p50 us",
            "p99 us",
            "max us",
            "CPU ms each",
            "neighbor p50 us",
            "p99 us",
            "p99.9 us",
        ]);
        Self { table }
    }

    fn add(&mut self, what: &str, Seen { parts, cpu_ms, neighbor }: &Seen) {
        self.table.add_row([
            what.to_owned(),
            parts.len().to_string(),
            parts.value_at_quantile(0.5).to_string(),
            parts.value_at_quantile(0.99).to_string(),
            parts.max().to_string(),
            format!("{:.2}", cpu_ms / parts.len() as f64),
            neighbor.value_at_quantile(0.5).to_string(),
            neighbor.value_at_quantile(0.99).to_string(),
            neighbor.value_at_quantile(0.999).to_string(),
        ]);
    }
}

/// Creates `chats` chats of one user, and as many rows of other users.
fn load(caller: &mut Caller, user: &str, prefix: &str, chats: usize) {
    let numbers: Vec<usize> = (0..chats).collect();
    for group in numbers.chunks(IMPORT_LINES / 3) {
        let id = |number: &usize| format!("{prefix}{number:016x}");
        let lines: Vec<Value> = group
            .iter()
            .map(|number| {
                json!({"id": id(number), "type": 2, "creator_id": "m",
                       "last_sequence": 9, "last_time": 1_000_000 + number * 7919 % 1_000_003})
            })
            .collect();
        let members: Vec<Value> = group
            .iter()
            .flat_map(|number| {
                [
                    json!({"user_id": user, "chat_id": id(number), "max_read_seq": number % 10}),
                    json!({"user_id": format!("other{}", number % 97), "chat_id": id(number)}),
                ]
            })
            .collect();
        caller.ask("import", json!({"chats": lines, "members": members}));
    }
}

fn main() {
    // As with criterion: `cargo bench` measures, `cargo test` only runs.
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let sizes = if has("--bench") && !has("--test") { FULL } else { SMALL };
    let server =
        TestServer::start(&[("shards", "1"), ("pin", "true"), ("snapshot_interval_s", "0")]);
    let mut caller = Caller::connect(&server);
    caller.ask("create", json!({"type": 1, "creator_id": "m", "user_ids": ["neighbor", "m"]}));
    load(&mut caller, "heavy", "h", sizes.chats);
    for user in 0..sizes.users {
        load(&mut caller, &format!("user{user}"), &format!("u{user}-"), sizes.chats_a_user);
    }
    let mut report = Report::new();
    let quiet =
        beside_neighbor(&server, || timed(200, |_| std::thread::sleep(Duration::from_millis(5))));
    report.add("nothing, for a second", &quiet);
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_asked = |part: &str| asked.is_empty() || asked.iter().any(|asked| asked == part);
    if is_asked("conversations") {
        conversations(&server, &mut caller, &sizes, &mut report);
    }
    if is_asked("totals") {
        totals(&server, &mut caller, &sizes, &mut report);
    }
    if is_asked("group") {
        group(&server, &mut caller, &sizes, &mut report);
    }
    println!("{}", report.table);
    let verified = serde_json::to_value(caller.ask("verify", json!({}))).unwrap();
    assert_eq!(verified["differences"], 0, "{verified}");
    drop(caller);
    server.stop();
}

fn conversations(server: &TestServer, caller: &mut Caller, sizes: &Sizes, report: &mut Report) {
    let pages = |caller: &mut Caller, filter: Value| {
        let mut cursor = Value::Null;
        timed(sizes.pages, |_| {
            let mut asked = json!({"user_id": "heavy", "limit": 50, "cursor": cursor});
            asked.as_object_mut().unwrap().extend(filter.as_object().unwrap().clone());
            let reply = serde_json::to_value(caller.ask("conversations", asked)).unwrap();
            assert!(!reply["items"].as_array().unwrap().is_empty());
            cursor = reply["next_cursor"].clone();
        })
    };
    let chats = sizes.chats;
    let seen = beside_neighbor(server, || pages(caller, json!({})));
    report.add(&format!("a page of 50 of {chats} conversations"), &seen);
    let seen = beside_neighbor(server, || pages(caller, json!({"unread_only": true})));
    report.add("the same, unread only", &seen);
    let asked = json!({"user_id": "user0", "limit": 50});
    let small = beside_neighbor(server, || {
        timed(sizes.pages, |_| drop(caller.ask("conversations", asked.clone())))
    });
    report.add(&format!("a page of {} conversations", sizes.chats_a_user), &small);
}

fn totals(server: &TestServer, caller: &mut Caller, sizes: &Sizes, report: &mut Report) {
    let users: Vec<String> = (0..sizes.users).map(|user| format!("user{user}")).collect();
    let seen = beside_neighbor(server, || {
        timed(sizes.pages / 10 + 1, |_| {
            let reply = caller.ask("unread", json!({"user_ids": users}));
            let reply = serde_json::to_value(reply).unwrap();
            assert!(reply["items"][0]["messages"].as_u64().unwrap() > 0);
        })
    });
    report
        .add(&format!("unread of {} users, {} chats each", sizes.users, sizes.chats_a_user), &seen);
    let seen = beside_neighbor(server, || {
        timed(sizes.pages / 10 + 1, |_| drop(caller.ask("unread", json!({"user_ids": ["heavy"]}))))
    });
    report.add(&format!("unread of a user with {} chats", sizes.chats), &seen);
    let seen = beside_neighbor(server, || {
        timed(sizes.pages / 10 + 1, |_| drop(caller.ask("sync", json!({"user_id": "heavy"}))))
    });
    report.add("the first 1000 changes of that user", &seen);
}

fn group(server: &TestServer, caller: &mut Caller, sizes: &Sizes, report: &mut Report) {
    let members: Vec<String> = (0..sizes.members).map(|number| format!("member{number}")).collect();
    for (id, a_call) in [("giant", 500), ("giant at once", 10_000)] {
        let calls: Vec<&[String]> = members.chunks(a_call).collect();
        let seen = beside_neighbor(server, || {
            timed(calls.len(), |number| {
                let users = calls[number];
                if number == 0 {
                    let create = json!({"id": id, "type": 2, "creator_id": "m", "user_ids": users});
                    caller.ask("create", create);
                } else {
                    caller.ask("add_members", json!({"chat_id": id, "user_ids": users}));
                }
            })
        });
        report.add(&format!("a group of {} made, {a_call} a call", sizes.members), &seen);
    }
}
