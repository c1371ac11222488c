//! Frames of the three most frequent commands, decoded and encoded by serde. Clients do this, and a
//! server does it for requests that are not on the fast path. `shard.rs` measures the fast path, in
//! its group `fast_path`.
//!
//! `cargo bench --bench frame`; the figures are those of one thread.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use bytes::BytesMut;
use chatshard::command::advance::{Advance, AdvanceReply};
use chatshard::command::detail::{ChatItem, Detail, DetailReply};
use chatshard::command::list::{List, ListReply, ListRow};
use chatshard::command::{Command, Outcome, Reply};
use chatshard::limits::REQUEST_BYTES_MAX;
use chatshard::protocol::{decode_request, encode_reply, encode_request, frame};
use chatshard::types::{ChatId, ChatStatus, ChatType, Flag, Sequence, TimeMs, UserId};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn chat_id(number: usize) -> ChatId {
    ChatId::new(&format!("g_{number:016x}")).unwrap()
}

fn user_id(number: usize) -> UserId {
    UserId::new(&format!("0x{number:040x}")).unwrap()
}

fn requests() -> Vec<(&'static str, Command)> {
    let ids = (0..20).map(chat_id).collect();
    let advance = Advance {
        chat_id: chat_id(1),
        to: None,
        allocate: Some(1),
        time: None,
        sender_id: Some(user_id(1)),
        force: None,
        idempotency_key: None,
        if_version: None,
    };
    vec![
        ("list", List { user_id: user_id(1), limit: None, cursor: None }.into()),
        ("detail of 20", Detail { ids, user_id: Some(user_id(1)) }.into()),
        ("advance", advance.into()),
    ]
}

fn replies() -> Vec<(&'static str, Outcome)> {
    let time = TimeMs::new(1_767_225_600_000).unwrap();
    let row = |number| ListRow {
        chat_id: chat_id(number),
        is_top: Flag::NO,
        is_mute: Flag::YES,
        is_show: Flag::YES,
        is_hide: Flag::NO,
        max_read_seq: Sequence::new(123_456).unwrap(),
        last_online_time: time,
    };
    let item = |number| ChatItem {
        id: chat_id(number),
        creator_id: user_id(number),
        chat_type: ChatType::Group,
        status: ChatStatus::Normal,
        is_enc: Flag::NO,
        last_read_sequence: Sequence::new(123_450).unwrap(),
        last_sequence: Sequence::new(123_456).unwrap(),
        last_time: time,
        created_at: time,
    };
    let list = ListReply { items: (0..50).map(row).collect(), next_cursor: None };
    let detail = DetailReply { items: (0..20).map(item).collect() };
    let sequence = Sequence::new(123_457).unwrap();
    let advance =
        AdvanceReply { first_sequence: sequence, last_sequence: sequence, last_time: time };
    vec![
        ("list of 50", Ok(Reply::List(list))),
        ("detail of 20", Ok(Reply::Detail(detail))),
        ("advance", Ok(Reply::Advance(advance))),
    ]
}

fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode request");
    for (name, command) in requests() {
        let mut bytes = BytesMut::new();
        encode_request(1, &command, &mut bytes).unwrap();
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let payload = frame::first(black_box(&bytes), REQUEST_BYTES_MAX).unwrap().unwrap();
                decode_request(payload).unwrap()
            });
        });
    }
    group.finish();
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode reply");
    for (name, outcome) in replies() {
        let mut out = BytesMut::with_capacity(64 << 10);
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_reply(1, black_box(&outcome), &mut out);
                out.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode, encode);
criterion_main!(benches);
