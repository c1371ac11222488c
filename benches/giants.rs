//! What giants cost by their size, in one shard with its router: no sockets, no log, no frames.
//! `neighbors.rs` measures what others wait meanwhile.
//!
//! ```text
//! cargo bench --bench giants               all sizes
//! cargo bench --bench giants -- advance    only the benchmarks with this name
//! ```
//!
//! The group `kept index` has the cost of an alternative to `conversations`: an index of each user's
//! conversations in order, which every message updates for every member of its chat. It is as plain
//! as possible.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]
// The lone shard is shared with the tests, which use more of it.
#![allow(dead_code)]

#[path = "../tests/common/lone_shard.rs"]
mod lone_shard;

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Range;

use chatshard::command::{Command, Kind};
use chatshard::limits::USERS_MAX;
use criterion::measurement::WallTime;
use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, criterion_group,
    criterion_main,
};
use lone_shard::LoneShard;
use serde_json::{Value, json};

/// The allocator of the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: u64 = 1_767_225_600_000;
/// Chats of one import, each with two members.
const CHATS_AN_IMPORT: usize = 1000;
/// Chats of each user in `kept index`.
const CHATS_A_USER: usize = 50;

/// As criterion sees it: `cargo bench` measures, `cargo test` and `--test` only run.
fn is_test() -> bool {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    !has("--bench") || has("--test")
}

/// Sizes of giants, or small ones to see that a benchmark works.
fn sizes(measured: [usize; 3]) -> [usize; 3] {
    if is_test() { [2, 10, 100] } else { measured }
}

fn command(name: &str, arguments: Value) -> Command {
    Command::from_json(Kind::from_name(name).unwrap(), arguments).unwrap()
}

fn users(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("member{number}")).collect()
}

fn create(members: usize) -> Command {
    let users = users(0..members);
    command("create", json!({"id": "giant", "type": 2, "creator_id": "m", "user_ids": users}))
}

/// A shard with a chat of this many members: one call brings at most [`USERS_MAX`].
fn with_members(members: usize) -> LoneShard {
    let mut lone = LoneShard::new(NOW);
    lone.call(create(members.min(USERS_MAX))).unwrap();
    for from in (USERS_MAX..members).step_by(USERS_MAX) {
        let users = users(from..members.min(from + USERS_MAX));
        let add = command("add_members", json!({"chat_id": "giant", "user_ids": users}));
        lone.call(add).unwrap();
    }
    lone
}

/// A group is created with all of its members in one call.
fn group_created(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("create");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for members in sizes([100, 1000, 10_000]) {
        let create = create(members);
        group.bench_function(BenchmarkId::from_parameter(members), |bencher| {
            bencher.iter_batched(
                || (LoneShard::new(NOW), create.clone()),
                |(mut lone, create)| {
                    lone.call(create).unwrap();
                    lone
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// Messages to a group of this size.
fn advances(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("advance");
    for members in sizes([2, 100, 100_000]) {
        let mut lone = with_members(members);
        let arguments = json!({"chat_id": "giant", "allocate": 1, "sender_id": "member0"});
        let advance = command("advance", arguments);
        measure(&mut group, members, &mut lone, &advance);
    }
    group.finish();
}

/// Measures a command that can be repeated, on a shard of this size.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    size: usize,
    lone: &mut LoneShard,
    asked: &Command,
) {
    group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
        bencher.iter_batched(
            || asked.clone(),
            |asked| lone.call(asked).unwrap(),
            BatchSize::SmallInput,
        );
    });
}

/// A shard with this many chats of the user `heavy`.
fn with_chats(chats: usize) -> LoneShard {
    let mut lone = LoneShard::new(NOW);
    let numbers: Vec<usize> = (0..chats).collect();
    for numbers in numbers.chunks(CHATS_AN_IMPORT) {
        let id = |number: usize| format!("h{number:016x}");
        let chat = |number: usize| {
            json!({"id": id(number), "type": 2, "creator_id": "m", "last_sequence": 9,
                   "last_time": 1_000_000 + number * 7919 % 1_000_003})
        };
        let rows = |number: usize| {
            [
                json!({"user_id": "heavy", "chat_id": id(number), "max_read_seq": number % 10}),
                json!({"user_id": format!("other{}", number % 97), "chat_id": id(number)}),
            ]
        };
        let chats: Vec<Value> = numbers.iter().copied().map(chat).collect();
        let members: Vec<Value> = numbers.iter().copied().flat_map(rows).collect();
        lone.call(command("import", json!({"chats": chats, "members": members}))).unwrap();
    }
    lone
}

/// What a user with this many chats asks.
fn reads(criterion: &mut Criterion) {
    let asked = [
        ("list", json!({"user_id": "heavy"})),
        ("conversations", json!({"user_id": "heavy", "limit": 50})),
        ("unread", json!({"user_ids": ["heavy"]})),
        ("sync", json!({"user_id": "heavy"})),
    ];
    for (name, arguments) in asked {
        let mut group = criterion.benchmark_group(name);
        for chats in sizes([50, 5000, 50_000]) {
            let mut lone = with_chats(chats);
            let asked = command(name, arguments.clone());
            measure(&mut group, chats, &mut lone, &asked);
        }
        group.finish();
    }
}

type Index = BTreeSet<(Reverse<u64>, String)>;

fn index_of(chats: usize) -> Index {
    let entry =
        |number: usize| (Reverse(u64::try_from(number).unwrap()), format!("h{number:016x}"));
    (0..chats).map(entry).collect()
}

fn kept_index(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("kept index");
    for members in sizes([2, 100, 100_000]) {
        let mut indexes: Vec<Index> = (0..members).map(|_| index_of(CHATS_A_USER)).collect();
        let mut entry = (Reverse(0), format!("h{:016x}", 0));
        group.bench_function(BenchmarkId::new("a message to a chat of", members), |bencher| {
            bencher.iter(|| {
                let before = entry.0.0;
                entry.0 = Reverse(before.max(10_000_000) + 1);
                for index in &mut indexes {
                    let old = (Reverse(before), entry.1.clone());
                    index.remove(&old);
                    index.insert((entry.0, old.1));
                }
            });
        });
    }
    for chats in sizes([50, 5000, 50_000]) {
        let index = index_of(chats);
        group.bench_function(BenchmarkId::new("a page of 50 of", chats), |bencher| {
            bencher.iter(|| index.iter().take(50).count());
        });
    }
    group.finish();
}

criterion_group!(benches, group_created, advances, reads, kept_index);
criterion_main!(benches);
