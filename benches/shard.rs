//! The shard's core alone: no sockets, no log, no frames.
//!
//! The core holds 100 000 chats, or as many as `CHATSHARD_BENCH_CHATS` says; users have 50 rows.
//! Keys are drawn over all of it, so that the caches miss as they do in production.
//!
//! ```text
//! CHATSHARD_BENCH_CHATS=1000000 cargo bench --bench shard
//! ```

#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use chatshard::command::Command;
use chatshard::command::membership::List;
use chatshard::command::message::{Advance, MarkRead};
use chatshard::command::transfer::{ChatLine, Import, MemberLine};
use chatshard::shard::Core;
use chatshard::shard::op::{Op, Output, ReplyTo};
use chatshard::types::{
    ChatId, ChatType, Flag, KeyHasher, Sequence, ShardCount, ShardId, TimeMs, UserId,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Members of a chat, rows of a user, chats of one import.
const MEMBERS: usize = 5;
const ROWS: usize = 50;
const CHATS_AN_IMPORT: usize = 1000;
/// Chats in a `detail`.
const DETAILS: usize = 20;

const TO: ReplyTo = ReplyTo { core: ShardId(0), entry: 0, part: 0 };

/// A core with data, and what is needed to ask it.
struct Shard {
    core: Core,
    out: Output,
    chats: usize,
    random: u64,
}

fn chat_id(number: usize) -> ChatId {
    ChatId::new(&format!("g_{number:016x}")).unwrap()
}

fn user_id(number: usize) -> UserId {
    UserId::new(&format!("0x{number:040x}")).unwrap()
}

impl Shard {
    fn new() -> Self {
        let wanted = std::env::var("CHATSHARD_BENCH_CHATS").ok();
        let chats = wanted.map_or(100_000, |text| text.parse().unwrap());
        let core = Core::new(ShardId(0), ShardCount::new(1).unwrap(), KeyHasher::new(7));
        let mut shard = Self { core, out: Output::default(), chats, random: 1 };
        shard.core.tick(TimeMs::new(1_767_225_600_000).unwrap());
        for first in (0..chats).step_by(CHATS_AN_IMPORT) {
            let numbers = first..chats.min(first + CHATS_AN_IMPORT);
            let members = numbers
                .clone()
                .flat_map(|chat| (0..MEMBERS).map(move |nth| member(chat, nth, chats)));
            let import = Import {
                chats: numbers.map(chat).collect(),
                members: members.collect(),
                merge: None,
                idempotency_key: None,
            };
            assert_eq!(shard.ask(Op::Import(import.into())), 1);
        }
        shard
    }

    fn users(&self) -> usize {
        users(self.chats)
    }

    /// A number below `bound`: SplitMix64.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(bound).unwrap()).unwrap()
    }

    /// Runs an op with all that follows from it; how many answers came.
    fn ask(&mut self, op: Op) -> usize {
        self.core.request(TO, op, &mut self.out);
        let mut messages = VecDeque::new();
        loop {
            messages.extend(self.out.messages.drain(..));
            let Some((_, envelope)) = messages.pop_front() else { break };
            self.core.message(envelope, &mut self.out);
        }
        self.out.records.clear();
        self.out.answers.drain(..).count()
    }
}

fn users(chats: usize) -> usize {
    (chats * MEMBERS / ROWS).max(MEMBERS)
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

fn member(chat: usize, nth: usize, chats: usize) -> MemberLine {
    MemberLine {
        user_id: user_id((chat + nth) % users(chats)),
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

fn list(shard: &mut Shard) -> Op {
    let user_id = user_id(shard.below(shard.users()));
    Op::Run(List { user_id, limit: None, cursor: None }.into())
}

fn details(shard: &mut Shard) -> Op {
    let ids = (0..DETAILS).map(|_| chat_id(shard.below(shard.chats))).collect();
    Op::Details { ids, user_id: Some(user_id(shard.below(shard.users()))) }
}

fn advance(shard: &mut Shard) -> Op {
    let chat_id = chat_id(shard.below(shard.chats));
    let (to, allocate) = (None, Some(1));
    Op::Run(Command::Advance(Advance {
        chat_id,
        to,
        allocate,
        time: None,
        sender_id: None,
        force: None,
        idempotency_key: None,
        if_version: None,
    }))
}

fn mark_read(shard: &mut Shard) -> Op {
    let chat = shard.below(shard.chats);
    let user_id = user_id((chat + shard.below(MEMBERS)) % shard.users());
    let seq = Sequence::new(u64::try_from(shard.below(1_000_000)).unwrap()).unwrap();
    Op::Run(
        MarkRead { user_id, chat_id: chat_id(chat), seq, idempotency_key: None, if_version: None }
            .into(),
    )
}

fn core(criterion: &mut Criterion) {
    let mut shard = Shard::new();
    let mut group = criterion.benchmark_group("core");
    group.throughput(Throughput::Elements(1));
    type Make = fn(&mut Shard) -> Op;
    let cases: [(&str, Make); 4] = [
        ("list of 50", list),
        ("detail of 20", details),
        ("advance", advance),
        ("mark_read", mark_read),
    ];
    for (name, make) in cases {
        let shard = std::cell::RefCell::new(&mut shard);
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || make(&mut shard.borrow_mut()),
                |op| shard.borrow_mut().ask(op),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, core);
criterion_main!(benches);
