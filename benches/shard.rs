//! One shard alone: no sockets, no log, no frames.
//!
//! `CHATSHARD_BENCH_CHATS` sets the number of chats (100 000 without it), and
//! `CHATSHARD_BENCH_ROWS` the rows of a user (50). Keys are drawn from all of them, so that the
//! caches miss as they do in production.
//!
//! ```text
//! CHATSHARD_BENCH_CHATS=1000000 cargo bench --bench shard
//! ```

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]
// The lone shard is shared with the tests, which use more of it.
#![allow(dead_code)]

#[path = "../tests/common/lone_shard.rs"]
mod lone_shard;

use bytes::BytesMut;
use chatshard::command::Command;
use chatshard::command::advance::Advance;
use chatshard::command::detail::Detail;
use chatshard::command::import::Import;
use chatshard::command::lines::{ChatLine, MemberLine};
use chatshard::command::list::List;
use chatshard::command::mark_read::MarkRead;
use chatshard::limits::REQUEST_BYTES_MAX;
use chatshard::node::worker::fast_path::prefetch_keys;
use chatshard::protocol::fast_path::{self, PlainCommand, PlainRequest};
use chatshard::protocol::{encode_request, frame};
use chatshard::shard::machine::PrefetchKeys;
use chatshard::shard::op::{Answer, Op};
use chatshard::types::{ChatId, ChatType, Flag, Sequence, TimeMs, UserId};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use lone_shard::{HASHER, LoneShard, operation};
use smallvec::SmallVec;

/// Members of a chat, and chats of one import.
const MEMBERS: usize = 5;
const CHATS_AN_IMPORT: usize = 1000;
/// Rows of a user, unless `CHATSHARD_BENCH_ROWS` sets another number.
const ROWS: usize = 50;
/// Chats in a `detail`.
const DETAILS: usize = 20;

/// A shard with data, and the state that requests to it need.
struct Filled {
    lone: LoneShard,
    chats: usize,
    /// Rows of a user.
    rows: usize,
    random: u64,
}

/// A size from the environment.
fn size(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

fn chat_id(number: usize) -> ChatId {
    ChatId::new(&format!("g_{number:016x}")).unwrap()
}

fn user_id(number: usize) -> UserId {
    UserId::new(&format!("0x{number:040x}")).unwrap()
}

impl Filled {
    fn new() -> Self {
        let chats = size("CHATSHARD_BENCH_CHATS", 100_000);
        let rows = size("CHATSHARD_BENCH_ROWS", ROWS);
        let mut shard = Self { lone: LoneShard::new(1_767_225_600_000), chats, rows, random: 1 };
        for first in (0..chats).step_by(CHATS_AN_IMPORT) {
            let numbers = first..chats.min(first + CHATS_AN_IMPORT);
            let members = numbers.clone().flat_map(|chat| {
                (0..MEMBERS).map(move |nth| member(chat, nth, users(chats, rows)))
            });
            let import = Import {
                chats: numbers.map(chat).collect(),
                members: members.collect(),
                merge: None,
                idempotency_key: None,
            };
            let answer = shard.lone.run(Op::Import(import.into(), Vec::new()));
            assert!(matches!(answer, Answer::Done(Ok(_))));
        }
        shard
    }

    fn users(&self) -> usize {
        users(self.chats, self.rows)
    }

    /// A number below `bound`: SplitMix64.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }
}

fn users(chats: usize, rows: usize) -> usize {
    (chats * MEMBERS / rows).max(MEMBERS)
}

fn chat(number: usize) -> ChatLine {
    ChatLine {
        id: chat_id(number),
        creator_id: user_id(0),
        chat_type: ChatType::Group,
        status: None,
        is_enc: Flag::NO,
        last_sequence: Sequence::new(1_000_000).unwrap(),
        last_time: TimeMs::ZERO,
        created_at: TimeMs::ZERO,
        version: None,
        dissolved: Flag::NO,
        request_digest: None,
    }
}

fn member(chat: usize, nth: usize, users: usize) -> MemberLine {
    MemberLine {
        user_id: user_id((chat + nth) % users),
        chat_id: chat_id(chat),
        id: None,
        is_top: Flag::NO,
        is_mute: Flag::NO,
        is_show: None,
        is_hide: Flag::NO,
        max_read_seq: Sequence::ZERO,
        last_online_time: TimeMs::ZERO,
        join_seq: None,
        deleted_to_seq: None,
        sent_seq: Sequence::ZERO,
        marked_unread: Flag::NO,
        join_order: None,
        version: None,
        removed: Flag::NO,
    }
}

fn list(shard: &mut Filled) -> Command {
    let user_id = user_id(shard.below(shard.users()));
    List { user_id, limit: None, cursor: None }.into()
}

fn details(shard: &mut Filled) -> Op {
    let ids = (0..DETAILS).map(|_| chat_id(shard.below(shard.chats))).collect();
    Op::Details { ids, user_id: Some(user_id(shard.below(shard.users()))) }
}

fn advance(shard: &mut Filled) -> Command {
    let chat_id = chat_id(shard.below(shard.chats));
    let (to, allocate) = (None, Some(1));
    Command::Advance(Advance {
        chat_id,
        to,
        allocate,
        time: None,
        sender_id: None,
        force: None,
        idempotency_key: None,
        if_version: None,
    })
}

fn mark_read(shard: &mut Filled) -> Command {
    let chat = shard.below(shard.chats);
    let user_id = user_id((chat + shard.below(MEMBERS)) % shard.users());
    let seq = Sequence::new(u64::try_from(shard.below(1_000_000)).unwrap()).unwrap();
    MarkRead { user_id, chat_id: chat_id(chat), seq, idempotency_key: None, if_version: None }
        .into()
}

fn decide(criterion: &mut Criterion) {
    let mut shard = Filled::new();
    let mut group = criterion.benchmark_group("shard");
    group.throughput(Throughput::Elements(1));
    type Make = fn(&mut Filled) -> Op;
    let cases: [(&str, Make); 4] = [
        ("list", |shard| operation(list(shard))),
        ("detail of 20", details),
        ("advance", |shard| operation(advance(shard))),
        ("mark_read", |shard| operation(mark_read(shard))),
    ];
    for (name, make) in cases {
        let shard = std::cell::RefCell::new(&mut shard);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || make(&mut shard.borrow_mut()),
                |op| shard.borrow_mut().lone.run(op),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// Requests on the fast path, from their bytes to the bytes of the replies. They come sixteen at a
/// time, as pipelined requests do.
fn fast_path(criterion: &mut Criterion) {
    let mut shard = Filled::new();
    let mut group = criterion.benchmark_group("fast_path");
    group.throughput(Throughput::Elements(PIPELINED));
    let mut bench = |name: String, make: &dyn Fn(&mut Filled) -> Command| {
        let batches = batches(&mut shard, make);
        let mut out = BytesMut::new();
        let mut next = (0..BATCHES).cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                answer(&mut shard, &batches[next.next().unwrap()], &mut out);
                out.len()
            });
        });
    };
    let rows = size("CHATSHARD_BENCH_ROWS", ROWS);
    bench(format!("list of {rows}"), &list);
    for count in [1, 5, DETAILS, 50].into_iter().filter(|count| *count <= rows) {
        bench(format!("detail of {count}"), &|shard| own_details(shard, count));
    }
    bench("advance".into(), &advance);
    bench("mark_read".into(), &mark_read);
    group.finish();
}

/// Requests that come at once.
const PIPELINED: u64 = 16;
/// Number of such batches, which are drawn before the clock runs.
const BATCHES: usize = 1024;

fn batches(shard: &mut Filled, make: &dyn Fn(&mut Filled) -> Command) -> Vec<BytesMut> {
    let batch = |_| {
        let mut bytes = BytesMut::new();
        for id in 1..=PIPELINED {
            encode_request(id, &make(shard), &mut bytes).unwrap();
        }
        bytes
    };
    (0..BATCHES).map(batch).collect()
}

/// Answers the requests that a connection has read.
fn answer(shard: &mut Filled, batch: &[u8], out: &mut BytesMut) {
    let mut rest = batch;
    let mut requests: SmallVec<[PlainRequest<'_>; 16]> = SmallVec::new();
    while let Some(payload) = frame::first(rest, REQUEST_BYTES_MAX).unwrap() {
        requests.push(fast_path::read(payload, HASHER).unwrap());
        rest = &rest[frame::HEADER_BYTES + payload.len()..];
    }
    let prefetch_keys: SmallVec<[PrefetchKeys; 16]> = requests.iter().map(prefetch_keys).collect();
    shard.lone.shard.prefetch(&prefetch_keys);
    for PlainRequest { id, command } in requests {
        match command {
            PlainCommand::List { user_id } => {
                let rows = shard.lone.shard.read_list(user_id, fast_path::ROWS_MAX).unwrap();
                fast_path::write_list(id, rows, out);
            }
            PlainCommand::Detail { ids, user_id } => {
                let tell = |items: &[_]| fast_path::write_detail(id, items, out);
                shard.lone.shard.read_details(ids, user_id, tell).unwrap();
            }
            PlainCommand::Advance(advance) => {
                let reply =
                    shard.lone.shard.fast_advance(advance, &mut shard.lone.out).unwrap().unwrap();
                fast_path::write_advance(id, &reply, out);
            }
            PlainCommand::MarkRead(read) => {
                let reply =
                    shard.lone.shard.fast_mark_read(read, &mut shard.lone.out).unwrap().unwrap();
                fast_path::write_mark_read(id, &reply, out);
            }
        }
    }
    shard.lone.out.records.clear();
    shard.lone.out.messages.clear();
}

/// A `detail` of some of a user's own chats; see `member`.
fn own_details(shard: &mut Filled, count: usize) -> Command {
    let (user, users) = (shard.below(shard.users()), shard.users());
    let first = shard.below(shard.rows - count + 1);
    let chat = |row: usize| row / MEMBERS * users + (user + users - row % MEMBERS) % users;
    let ids: Vec<ChatId> = (first..first + count).map(|row| chat_id(chat(row))).collect();
    let user_id = user_id(user);
    let asked = ids.iter().map(|id| HASHER.hashed(id.as_str().as_bytes()));
    let found =
        shard
            .lone
            .shard
            .read_details(asked, Some(HASHER.hashed(user_id.as_str())), |items| items.len());
    assert_eq!(found, Some(count));
    Detail { ids, user_id: Some(user_id) }.into()
}

criterion_group!(benches, decide, fast_path);
criterion_main!(benches);
