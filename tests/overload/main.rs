//! Clients that ask too much, beside neighbors that ask a little. The neighbors get right replies
//! as usual, the server's memory stays within a bound, and a client that goes too far gets the
//! reason.
//!
//! Two cases wait for time limits of half a minute; their names make them start first.
//!
//! The latencies of the neighbors are printed and not asserted, so that a slow machine fails
//! nothing. The long form prints the table of RELIABILITY.md:
//!
//! ```text
//! CHATSHARD_OVERLOAD_SECONDS=10 \
//!     cargo test --release --test overload -- --nocapture --test-threads 1
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
mod memory;
#[path = "../process/mod.rs"]
mod process;
mod stage;
mod unread;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use chatshard::command::{Command, ErrorCode, Kind, Reply};
use chatshard::limits::{
    CONNECTIONS_MAX, IN_FLIGHT_BYTES_MAX, IN_FLIGHT_MAX, LARGE_IN_FLIGHT_MAX, REQUEST_BYTES_MAX,
    UNSENT_BYTES_MAX,
};
use chatshard::protocol;
use chatshard::types::{KeyHasher, ShardCount, ShardId};
use serde_json::{Value, json};

use crate::common::raw::Raw;
use crate::process::{PATIENCE, Server};
use stage::{Stage, is_measured, raise_descriptors, seconds};

const MIB: u64 = 1 << 20;
/// Memory beside that of the case: variations of the process, and the neighbors.
const SLACK: u64 = 24 * MIB;
/// Memory that the allocator may keep of buffers that grew while replies were unsent and were
/// freed, repeatedly: one segment.
const FREED: u64 = 32 * MIB;
/// Largest size of a list's row in these tests, and of each short reply.
const ROW_BYTES: u64 = 160;
/// Bound of an idle connection.
const IDLE_BYTES: u64 = 8 << 10;
/// Bound of a connection that has sent a part of a frame.
const PART_BYTES: u64 = 40 << 10;

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap()
}

fn request(id: u64, kind: Kind, arguments: Value) -> BytesMut {
    let mut bytes = BytesMut::new();
    protocol::encode_request(id, &Command::from_json(kind, arguments).unwrap(), &mut bytes)
        .unwrap();
    bytes
}

#[test]
fn ten_thousand_idle_connections_and_more_than_are_allowed() {
    // The server needs as many descriptors as this process, and both need some more.
    let descriptors = usize::try_from(raise_descriptors()).unwrap_or(usize::MAX);
    // Strangers have a quarter of the places, beside the others.
    let places = (descriptors.saturating_sub(500) / 5 * 4).min(CONNECTIONS_MAX);
    println!("{places} connections, as far as {descriptors} descriptors go");
    let stage = Stage::new(&["--connections-max", &places.to_string()]);
    // The neighbors have their places too.
    let connections = places - 2;
    let bytes_max = wide(connections) * IDLE_BYTES + SLACK;
    let mut idle: Vec<Raw> = Vec::new();
    stage.play("idle connections", bytes_max, || {
        idle.extend((0..connections).map(|_| stage.greeted()));
        std::thread::sleep(seconds());
    });
    // The neighbors' places are free again: two more clients come in, and then no other.
    idle.extend((0..2).map(|_| stage.greeted()));
    let too_many = 2000;
    for _ in 0..too_many {
        Raw::open(stage.server.address).assert_refused(0, ErrorCode::Busy);
    }
    let told = stage.server.messages().matches("too many connections").count();
    assert!((1..too_many).contains(&told), "{told} lines in the log");
    for raw in idle.iter_mut().step_by(97) {
        assert!(raw.call(2, Kind::Ping, json!({})).is_ok(), "who was there is served");
    }
}

#[test]
fn a_flood_of_new_connections() {
    let stage = Stage::new(&["--connections-max", "100"]);
    let (served, refused) = stage.play("a flood of new connections", SLACK, || {
        let (mut served, mut refused) = (0, 0);
        let mut open = Vec::new();
        let end = Instant::now() + seconds();
        while Instant::now() < end {
            let mut raw = Raw::open(stage.server.address);
            if raw.try_send(&[(1, Kind::Hello, json!({}))]).is_err() {
                refused += 1;
                continue;
            }
            match raw.receive() {
                Some((1, outcome)) => {
                    outcome.unwrap();
                    served += 1;
                    open.push(raw);
                }
                Some((_, outcome)) => {
                    assert_eq!(outcome.unwrap_err().code, ErrorCode::Busy);
                    refused += 1;
                }
                // The error was lost with the connection, because `hello` met a closed socket.
                None => refused += 1,
            }
            if refused % 500 == 499 {
                open.clear();
            }
        }
        (served, refused)
    });
    println!("a flood of new connections: {served} served, {refused} refused");
    assert!(served > 0);
}

#[test]
fn a_frame_in_half_and_slow_ones() {
    let stage = Stage::new(&[]);
    let count = 200;
    let bytes_max = 2 * wide(count) * PART_BYTES + SLACK;
    stage.play("half a frame, and slow senders", bytes_max, || {
        let mut stuck: Vec<Raw> = (0..count).map(|_| stage.greeted()).collect();
        for raw in &mut stuck {
            // A header that announces the largest frame, and one byte of it.
            raw.stream.write_all(&u32::try_from(REQUEST_BYTES_MAX).unwrap().to_be_bytes()).unwrap();
            raw.stream.write_all(&[0x93]).unwrap();
        }
        let mut slow: Vec<Raw> = (0..count).map(|_| stage.greeted()).collect();
        for byte in &request(7, Kind::List, json!({"user_id": "slow"})) {
            for raw in &mut slow {
                raw.stream.write_all(&[*byte]).unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        for raw in &mut slow {
            raw.kinds.insert(7, Kind::List);
            let (id, outcome) = raw.receive().unwrap();
            assert!(id == 7 && outcome.is_ok(), "who is slow is served");
        }
        for raw in &mut stuck {
            raw.assert_refused(0, ErrorCode::InvalidArgument);
        }
    });
    // Each client gets the error. The log has only the first lines, because clients can repeat
    // them.
    let told = stage.server.messages().matches("half a frame was dropped").count();
    assert!((1..=count).contains(&told), "{told} lines");
}

#[test]
fn a_client_that_never_reads_is_held_back_and_dropped() {
    let stage = Stage::new(&[]);
    let rows = 2000;
    stage.fill_list("long", rows);
    let list = request(9, Kind::List, json!({"user_id": "long"}));
    let reply = {
        let mut raw = stage.greeted();
        raw.stream.write_all(&list).unwrap();
        let mut length = [0; 4];
        raw.stream.read_exact(&mut length).unwrap();
        u64::from(u32::from_be_bytes(length))
    };
    let count = 20;
    let each = held_bytes_max(reply);
    stage.play("who never reads", count * each + SLACK, || {
        let mut asking = stage.greeted();
        let mut connections = |id| match asking.call(id, Kind::Stats, json!({})) {
            Ok(Reply::Stats(stats)) => stats.connections,
            other => panic!("{other:?}"),
        };
        let before = connections(1);
        let deaf: Vec<TcpStream> = (0..count).map(|_| ask_until_stuck(&stage, &list)).collect();
        let deadline = Instant::now() + PATIENCE;
        for id in 2.. {
            let left = connections(id).saturating_sub(before);
            if left == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "{left} of {count} were not dropped");
            std::thread::sleep(Duration::from_millis(50));
        }
        let told = "does not read its replies was dropped";
        assert!(stage.server.messages().contains(told));
        for mut stream in deaf {
            // First come the replies that were on their way, then the end.
            let end = std::io::copy(&mut stream, &mut std::io::sink());
            assert!(end.is_ok_and(|bytes| bytes > 0) || stream.write(&list).is_err());
        }
    });
}

/// Bound of the replies that a connection holds, the largest of this size. That is a full buffer
/// and the replies under way behind it, once as rows and once as bytes. A buffer doubles as it
/// grows.
fn held_bytes_max(reply: u64) -> u64 {
    let under_way = wide(LARGE_IN_FLIGHT_MAX) * reply;
    2 * (wide(UNSENT_BYTES_MAX) + reply + under_way) + 2 * under_way
}

/// Requests lists without reading one, until the server reads no more requests.
fn ask_until_stuck(stage: &Stage, list: &[u8]) -> TcpStream {
    let mut stream = stage.greeted().stream;
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let many = list.repeat(1000);
    loop {
        match stream.write(&many) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return stream;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn frames_that_claim_or_nest_too_much() {
    let stage = Stage::new(&[]);
    stage.play("frames of 4 GiB, nests of 10 000", SLACK, || {
        let mut nest = vec![0x93, 5, 16];
        nest.extend(vec![0x91; 10_000]);
        let mut nested = u32::try_from(nest.len()).unwrap().to_be_bytes().to_vec();
        nested.extend(nest);
        let end = Instant::now() + seconds();
        while Instant::now() < end {
            let mut raw = stage.greeted();
            raw.kinds.insert(5, Kind::List);
            for _ in 0..20 {
                raw.stream.write_all(&nested).unwrap();
                let (id, outcome) = raw.receive().unwrap();
                let error = outcome.unwrap_err();
                assert_eq!((id, error.code), (5, ErrorCode::InvalidArgument), "{error}");
            }
            raw.stream.write_all(&u32::MAX.to_be_bytes()).unwrap();
            raw.assert_refused(0, ErrorCode::TooLarge);
        }
    });
}

/// Sends and reads at the same time for a while. Returns the number of replies.
fn pipeline(mut raw: Raw, requests: Vec<u8>) -> u64 {
    let mut writer = raw.stream.try_clone().unwrap();
    let end = Instant::now() + seconds();
    // It ends when the connection does.
    let sending = std::thread::spawn(move || while writer.write_all(&requests).is_ok() {});
    let mut replies = 0;
    raw.kinds.extend([
        (5, Kind::Ping),
        (6, Kind::List),
        (7, Kind::Advance),
        (8, Kind::MarkRead),
        (9, Kind::Import),
    ]);
    while Instant::now() < end {
        let (_, outcome) = raw.receive().unwrap();
        outcome.unwrap();
        replies += 1;
    }
    raw.stream.shutdown(Shutdown::Both).unwrap();
    sending.join().unwrap();
    replies
}

#[test]
fn a_pipeline_without_end() {
    let stage = Stage::new(&[]);
    let mut raw = stage.greeted();
    let create = json!({"id": "busy", "type": 2, "creator_id": "u", "user_ids": ["u"]});
    raw.call(2, Kind::Create, create).unwrap();
    // It may send requests faster than it reads replies.
    let bytes_max = held_bytes_max(ROW_BYTES) + FREED;
    for (case, id, kind, arguments) in [
        ("pings without end", 5, Kind::Ping, json!({})),
        ("lists without end", 6, Kind::List, json!({"user_id": "u"})),
        ("messages without end", 7, Kind::Advance, json!({"chat_id": "busy", "allocate": 1})),
        ("read marks", 8, Kind::MarkRead, json!({"user_id": "u", "chat_id": "busy", "seq": 0})),
    ] {
        let requests = request(id, kind, arguments).repeat(2 * IN_FLIGHT_MAX);
        let replies = stage.play(case, bytes_max, || pipeline(stage.greeted(), requests));
        println!("{case}: {replies} replies");
        assert!(replies > 0);
    }
}

#[test]
fn the_longest_list_as_fast_as_it_comes() {
    let stage = Stage::new(&[]);
    let rows = if is_measured() { 50_000 } else { 5000 };
    stage.fill_list("long", rows);
    let clients = 3;
    let bytes_max = clients * held_bytes_max(wide(rows) * ROW_BYTES) + SLACK;
    let list = request(6, Kind::List, json!({"user_id": "long"})).repeat(16);
    let replies: u64 = stage.play(&format!("lists of {rows} without end"), bytes_max, || {
        std::thread::scope(|scope| {
            let one = |raw| scope.spawn(|| pipeline(raw, list.clone()));
            let clients: Vec<_> = (0..clients).map(|_| one(stage.greeted())).collect();
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        })
    });
    println!("lists of {rows} without end: {replies} replies");
    assert!(replies > 0);
}

/// Imports of nearly the largest size, sent without end to the shard that owns none of their keys.
/// They wait for each other there, and would accumulate without a bound.
#[test]
fn requests_of_a_megabyte_without_end() {
    let stage = Stage::new(&[]);
    let mut raw = stage.greeted();
    let Ok(Reply::Hello(hello)) = raw.call(2, Kind::Hello, json!({"shard": 0})) else {
        panic!("no hello")
    };
    let hasher = KeyHasher::new(hello.hash_seed);
    let two = ShardCount::new(2).unwrap();
    let is_away = |id: &String| hasher.slot(id).shard(two) == ShardId(1);
    let chats: Vec<Value> = (0..)
        .map(|number| format!("{number:->100}"))
        .filter(is_away)
        .take(7500)
        .map(|id| json!({"id": id, "type": 2, "creator_id": "m"}))
        .collect();
    let import = request(9, Kind::Import, json!({"chats": chats, "merge": true}));
    assert!(import.len() > REQUEST_BYTES_MAX * 3 / 4, "{} bytes", import.len());
    raw.kinds.insert(9, Kind::Import);
    raw.stream.write_all(&import).unwrap();
    raw.receive().unwrap().1.unwrap();
    // While an import is decoded it takes a few times its bytes. One more may be there, and a part
    // of another one.
    let bytes_max = 4 * wide(IN_FLIGHT_BYTES_MAX + 2 * REQUEST_BYTES_MAX) + SLACK;
    let replies =
        stage.play("imports of 1 MiB without end", bytes_max, || pipeline(raw, import.to_vec()));
    println!("imports of 1 MiB without end: {replies} replies");
}

#[test]
fn without_memory_new_chats_are_refused_and_all_else_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let bytes_max = 160 * MIB;
    let settings = ["--shards", "2", "--fsync", "never", "--memory-max", "160MiB"];
    let server = Server::start(&dir, &settings);
    let mut raw = Raw::greeted(server.address);
    raw.call(2, Kind::Create, group("g")).unwrap();
    raw.call(3, Kind::Advance, json!({"chat_id": "g", "allocate": 5})).unwrap();
    let (mut id, mut taken) = (10, 0_u64);
    let refused = loop {
        id += 1;
        match raw.call(id, Kind::Import, many_members(id)) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(refused.message.starts_with("not applied: memory is used up"), "{refused}");
    println!("memory: refused after {taken} imports at {} bytes", server.memory("VmRSS"));
    assert!(server.memory("VmHWM") < bytes_max + 2 * SLACK);
    let mut call = |kind, arguments| {
        id += 1;
        raw.call(id, kind, arguments)
    };
    let error = call(Kind::Create, group("another")).unwrap_err();
    assert!(error.message.starts_with("not applied: memory"), "{error}");
    assert!(call(Kind::Create, group("g")).is_ok(), "it is there already");
    for (kind, arguments) in [
        (Kind::List, json!({"user_id": "u"})),
        (Kind::Advance, json!({"chat_id": "g", "allocate": 1})),
        (Kind::MarkRead, json!({"user_id": "u", "chat_id": "g", "seq": 2})),
        (Kind::Delete, json!({"user_id": "u", "ids": ["g"]})),
        (Kind::Advance, json!({"chat_id": "g", "allocate": 1})),
        (Kind::RemoveMembers, json!({"chat_id": "g", "user_ids": ["v"]})),
    ] {
        let outcome = call(kind, arguments);
        assert!(outcome.is_ok(), "{}: {outcome:?}", kind.name());
    }
    let Ok(Reply::Stats(stats)) = call(Kind::Stats, json!({})) else { panic!("no figures") };
    assert_eq!((stats.memory_max_bytes, stats.memory_full), (bytes_max, 1));
    assert!(server.messages().contains("memory is used up"));
    drop(server);
    // With a larger bound, everything that was accepted is there, and more is accepted.
    let server = Server::start(&dir, &["--shards", "2", "--memory-max", "4GiB"]);
    let mut raw = Raw::greeted(server.address);
    raw.call(2, Kind::Create, group("another")).unwrap();
    let Ok(Reply::Stats(stats)) = raw.call(3, Kind::Stats, json!({})) else { panic!("no figures") };
    assert_eq!((stats.chats, stats.memory_full), (taken + 2, 0));
}

fn group(id: &str) -> Value {
    json!({"id": id, "type": 2, "creator_id": "u", "user_ids": ["u", "v"]})
}

/// Members of a chat that is imported.
const MEMBERS: u64 = 4000;

/// A member of such a chat, with a long id.
fn member(number: u64, user: u64) -> String {
    format!("{number}-{user:->100}")
}

/// A chat with many members whose ids are long.
fn many_members(number: u64) -> Value {
    let chat = format!("many-{number}");
    let members: Vec<Value> = (0..MEMBERS)
        .map(|user| json!({"user_id": member(number, user), "chat_id": chat}))
        .collect();
    json!({"chats": [{"id": chat, "type": 2, "creator_id": "u"}], "members": members})
}
