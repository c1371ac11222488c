//! Two shards against one, driven from inside the threads of the shards: the gain of a second core,
//! and the cost of a key that is on the other core.
//!
//! ```text
//! cargo bench --bench scaling             throughput by criterion, and the table
//! cargo bench --bench scaling -- advance  only this work
//! cargo bench --bench scaling -- table    only the table: five rounds of a second for each work
//! cargo bench --bench scaling -- --test   a moment, to see that it works
//! ```
//!
//! Tasks on each core do what connections do, without a socket. They read requests in place, answer
//! those for their own shard, pass the others on, and copy the replies that come back. There is no
//! log. All nodes hold the same data. There are three ways to ask:
//!
//! - one shard;
//! - two shards, keys at random: half of them are on the other core;
//! - two shards, each request on the core that owns its key, as a good client sends it.
//!
//! Criterion has the throughput of each way, and compares it with a saved run. The table has what
//! criterion cannot say: CPU time, and ratios of ways that take turns. Criterion measures one way
//! after the other, so a machine that slows down meanwhile would change a ratio.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../tests/common/bare.rs"]
mod bare;

use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use chatshard::command::{Call, Command, Kind};
use chatshard::limits::REQUEST_BYTES_MAX;
use chatshard::net::fast_path::{Destination, FastPath};
use chatshard::net::order::Order;
use chatshard::node::buffers;
use chatshard::node::clock::shared::Source;
use chatshard::node::log::LogMode;
use chatshard::node::responder::{ReplyBody, ReplyQueue, RequestInfo, Responder};
use chatshard::node::worker::fast_path::prefetch_keys;
use chatshard::node::worker::{LocalWorker, Worker, on_core};
use chatshard::node::{Handle, NodeInfo};
use chatshard::protocol::fast_path::PlainRequest;
use chatshard::protocol::{self, frame};
use chatshard::shard::Shard;
use chatshard::system;
use chatshard::types::ShardId;
use comfy_table::{Table, presets};
use criterion::{Criterion, Throughput};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, yield_now};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Members of a chat, and rows of a user.
const MEMBERS: usize = 5;
const ROWS: usize = 50;
const CHATS_AN_IMPORT: usize = 1000;
/// Tasks on a core, and requests under way in each task.
const TASKS: usize = 25;
const PIPELINED: usize = 16;
/// Number of different requests of a core.
const REQUESTS: usize = 20_000;

struct Sizes {
    chats: usize,
    rounds: usize,
    span: Duration,
}

const FULL: Sizes = Sizes { chats: 200_000, rounds: 5, span: Duration::from_secs(1) };
const SMALL: Sizes = Sizes { chats: 100, rounds: 1, span: Duration::from_millis(20) };
/// Time of one sample of criterion. The end of a sample must not count: tasks stop at its end in
/// the middle of their turns.
const SAMPLE: Duration = Duration::from_millis(100);
const SAMPLES: usize = 20;

fn chat_id(number: usize) -> String {
    format!("g_{number:016x}")
}

fn user_id(number: usize) -> String {
    format!("0x{number:040x}")
}

/// A kind of request, which is sent repeatedly.
#[derive(Clone, Copy)]
enum Work {
    List,
    Advance,
    Detail,
}

impl Work {
    const ALL: [(&'static str, Self); 3] =
        [("list of 50", Self::List), ("advance", Self::Advance), ("detail of 1", Self::Detail)];

    /// The key that decides which core owns a request, and the request.
    fn request(self, number: usize, sizes: &Sizes) -> (String, Command) {
        let spread = number.wrapping_mul(0x9E37_79B9) >> 4;
        let (chat, user) = (chat_id(spread % sizes.chats), user_id(spread % users(sizes.chats)));
        match self {
            Self::List => (user.clone(), command(Kind::List, json!({"user_id": user}))),
            Self::Advance => {
                (chat.clone(), command(Kind::Advance, json!({"chat_id": chat, "allocate": 1})))
            }
            Self::Detail => (chat.clone(), command(Kind::Detail, json!({"ids": [chat]}))),
        }
    }
}

fn users(chats: usize) -> usize {
    (chats * MEMBERS / ROWS).max(MEMBERS)
}

fn command(kind: Kind, arguments: Value) -> Command {
    Command::from_json(kind, arguments).unwrap()
}

/// A node without doors and without a log.
struct Node {
    info: Arc<NodeInfo>,
}

impl Node {
    fn start(shards: u16) -> Self {
        let info = bare::node(shards, LogMode::Off, Source::MACHINE);
        let (shards, hasher) = (info.shards, info.hasher);
        for shard in shards.all() {
            let info = Arc::clone(&info);
            std::thread::spawn(move || serve(Shard::new(shard, shards, hasher), info));
        }
        Self { info }
    }

    fn fill(&self, sizes: &Sizes) {
        let store = Handle::new(Arc::clone(&self.info));
        let runtime = a_runtime();
        let numbers: Vec<usize> = (0..sizes.chats).collect();
        for numbers in numbers.chunks(CHATS_AN_IMPORT) {
            let chats: Vec<Value> = numbers.iter().map(|&chat| a_chat(chat)).collect();
            let members = numbers
                .iter()
                .flat_map(|&chat| (0..MEMBERS).map(move |nth| (chat, chat + nth)))
                .map(|(chat, user)| {
                    json!({"user_id": user_id(user % users(sizes.chats)), "chat_id": chat_id(chat)})
                });
            let members: Vec<Value> = members.collect();
            let import = command(Kind::Import, json!({"chats": chats, "members": members}));
            runtime.block_on(store.call(import)).unwrap();
        }
    }

    /// Requests of each core, which are repeated: for any keys, or for its own.
    fn requests(&self, work: Work, own_keys: bool, sizes: &Sizes) -> Vec<Requests> {
        let is_wanted = |shard: ShardId, key: &str| {
            !own_keys || self.info.hasher.slot(key).shard(self.info.shards) == shard
        };
        let of_core = |shard| {
            let all = (0..).map(|number| work.request(number, sizes));
            let wanted = all.filter(|(key, _)| is_wanted(shard, key)).take(REQUESTS);
            wanted.map(|(_, command)| encoded(&command)).collect()
        };
        self.info.shards.all().map(of_core).collect()
    }

    /// Drives all cores for a while. Returns requests a second, and microseconds of CPU time for
    /// each.
    fn drive(&self, requests: &[Requests], span: Duration) -> (f64, f64) {
        let (tell, told) = mpsc::channel();
        let (until, cpu) = (Instant::now() + span, cpu_us());
        for (shard, requests) in self.info.shards.all().zip(requests) {
            let (requests, tell) = (Arc::clone(requests), tell.clone());
            let begin = move |local: &LocalWorker| {
                for task in 0..TASKS {
                    let asking = ask(local.clone(), Arc::clone(&requests), task, until);
                    let tell = tell.clone();
                    tokio::task::spawn_local(async move { tell.send(asking.await).unwrap() });
                }
            };
            self.info.control(shard, on_core(begin));
        }
        drop(tell);
        let answered: usize = told.iter().sum();
        ((answered as f64) / span.as_secs_f64(), (cpu_us() - cpu) / answered as f64)
    }
}

/// Requests as they are in a connection's input.
type Requests = Arc<[Bytes]>;

fn encoded(command: &Command) -> Bytes {
    let mut out = BytesMut::new();
    protocol::encode_request(1, command, &mut out).unwrap();
    out.freeze()
}

fn a_chat(number: usize) -> Value {
    json!({"id": chat_id(number), "creator_id": user_id(0), "type": 2, "created_at": 1})
}

fn a_runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Runs a core, which ends with the process.
fn serve(shard: Shard, info: Arc<NodeInfo>) {
    // Without the right to pin it runs where the system lets it.
    let _ = system::pin_to_core(shard.id().index());
    let local = LocalWorker::new(Worker::new(shard, info, 1));
    local.start();
    let serving = local.serve();
    LocalSet::new().block_on(&a_runtime(), serving);
}

/// The work of a connection without its socket. Returns the number of replies.
async fn ask(local: LocalWorker, requests: Requests, task: usize, until: Instant) -> usize {
    let mut line = Line::new(local);
    let mut next = task * requests.len() / TASKS;
    let mut answered = 0;
    while Instant::now() < until {
        let payloads: Vec<&[u8]> = (next..next + PIPELINED)
            .map(|at| frame::first(&requests[at % requests.len()], REQUEST_BYTES_MAX))
            .map(|payload| payload.unwrap().unwrap())
            .collect();
        line.turn(&payloads);
        line.settle().await;
        next += PIPELINED;
        answered += PIPELINED;
        yield_now().await;
    }
    answered
}

struct Line {
    local: LocalWorker,
    fast_path: FastPath,
    order: Order,
    replies: Rc<ReplyQueue>,
    output: BytesMut,
}

impl Line {
    fn new(local: LocalWorker) -> Self {
        Self {
            local,
            fast_path: FastPath::default(),
            order: Order::default(),
            replies: Rc::default(),
            output: BytesMut::new(),
        }
    }

    /// Reads requests: answers those of this core in place, and submits the others.
    fn turn(&mut self, payloads: &[&[u8]]) {
        self.local.tick();
        let started = Instant::now();
        let hasher = self.local.node().hasher;
        let plain: Vec<PlainRequest<'_>> = payloads
            .iter()
            .map(|payload| protocol::fast_path::read(payload, hasher).unwrap())
            .collect();
        self.local.prefetch(&plain.iter().map(prefetch_keys).collect::<Vec<_>>());
        for (request, payload) in plain.into_iter().zip(payloads) {
            let Self { local, order, replies, output, .. } = self;
            let ticket = |bytes, mark| {
                let asked = RequestInfo { id: request.id, started, bytes };
                Responder::of_connection(replies, asked, request.command.kind(), mark)
            };
            let went = self.fast_path.take(request, payload, local, order, ticket, output);
            assert_ne!(went, Destination::Router);
        }
        self.fast_path.note(&self.local, started.elapsed());
        self.local.flush();
    }

    /// Waits for the missing replies, and encodes them.
    async fn settle(&mut self) {
        loop {
            while let Some(reply) = self.replies.pop() {
                match reply.body {
                    ReplyBody::Frames { mut bytes, .. } => {
                        self.output.extend_from_slice(&bytes);
                        buffers::empty(&mut bytes);
                    }
                    told @ ReplyBody::Outcome { .. } => {
                        panic!("a plain reply takes the short way: {told:?}")
                    }
                }
            }
            if self.replies.in_flight() == 0 {
                self.output.clear();
                return;
            }
            self.replies.ready().await;
        }
    }
}

/// User and system time of this process.
fn cpu_us() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) * 10_000.0
}

/// The round whose throughput is in the middle.
fn median(rounds: &mut [(f64, f64)]) -> (f64, f64) {
    rounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    rounds[rounds.len() / 2]
}

/// The nodes, and the ways in which they are driven.
struct Ways {
    sizes: Sizes,
    one: Node,
    two: Node,
}

/// A way, and the requests that its cores repeat.
type Way<'a> = (&'static str, &'a Node, Vec<Requests>);

impl Ways {
    fn new(sizes: Sizes) -> Self {
        let (one, two) = (Node::start(1), Node::start(2));
        [&one, &two].into_iter().for_each(|node| node.fill(&sizes));
        Self { sizes, one, two }
    }

    fn of(&self, work: Work) -> [Way<'_>; 3] {
        [
            ("one shard", &self.one, false),
            ("two, keys at random", &self.two, false),
            ("two, own keys", &self.two, true),
        ]
        .map(|(way, node, own_keys)| (way, node, node.requests(work, own_keys, &self.sizes)))
    }
}

/// The throughput of each way, one after the other.
fn throughput(criterion: &mut Criterion, ways: &Ways) {
    for (name, work) in Work::ALL {
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(1)).sample_size(SAMPLES);
        group.warm_up_time(SAMPLE).measurement_time(SAMPLE);
        for (way, node, requests) in ways.of(work) {
            group.bench_function(way, |bencher| {
                bencher.iter_custom(|requests_asked| {
                    let (rate, _) = node.drive(&requests, ways.sizes.span.min(SAMPLE));
                    Duration::from_secs_f64(requests_asked as f64 / rate)
                });
            });
        }
        group.finish();
    }
}

/// The ways in turns, with their CPU time.
fn table(ways: &Ways, wanted: Option<&str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["work", "way", "requests/s", "CPU us", "against one shard"]);
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| name.contains(wanted));
    for (name, work) in Work::ALL.into_iter().filter(|(name, _)| is_wanted(name)) {
        let of_work = ways.of(work);
        let mut found = [const { Vec::new() }; 3];
        for _ in 0..ways.sizes.rounds {
            for (rounds, (_, node, requests)) in found.iter_mut().zip(&of_work) {
                rounds.push(node.drive(requests, ways.sizes.span));
            }
        }
        let medians = found.map(|mut rounds| median(&mut rounds));
        for ((way, ..), (rate, cpu)) in of_work.iter().zip(medians) {
            table.add_row([
                name.to_owned(),
                (*way).to_owned(),
                format!("{rate:.0}"),
                format!("{cpu:.2}"),
                format!("{:.2}", rate / medians[0].0),
            ]);
        }
    }
    table
}

fn main() {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    let is_test = !has("--bench") || has("--test");
    let ways = Ways::new(if is_test { SMALL } else { FULL });
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = wanted.filter(|wanted| wanted != "table");
    if wanted.is_some() || !has("table") {
        let mut criterion = Criterion::default().configure_from_args();
        throughput(&mut criterion, &ways);
        criterion.final_summary();
    }
    println!("{}", table(&ways, wanted.as_deref()));
}
