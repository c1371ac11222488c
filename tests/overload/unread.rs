//! Many TCP clients that send requests, or watch, and do not read. All that they hold together is
//! bounded, and clients that read are served meanwhile.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use chatshard::command::watch::WatchOp;
use chatshard::command::{ErrorCode, Kind, Reply};
use chatshard::limits::LARGE_IN_FLIGHT_MAX;
use serde_json::{Value, json};

use super::{MIB, SLACK, request, wide};
use crate::common::raw::Raw;
use crate::process::{PATIENCE, Server};

/// An eighth of `--memory-max`.
const BUDGET: u64 = 32 * MIB;
const SETTINGS: [&str; 6] = ["--shards", "2", "--fsync", "never", "--memory-max", "256MiB"];
/// Memory beside the budget: freed memory that the allocator keeps while clients are dropped, and
/// replies that are made before the server notices that no client reads them.
const BESIDE: u64 = 32 * MIB;
const CONNECTIONS: usize = 60;

/// Watches a server's memory during a case.
struct Gauge<'a> {
    server: &'a Server,
    before: u64,
    most: u64,
}

impl<'a> Gauge<'a> {
    fn of(server: &'a Server) -> Self {
        let before = server.memory("VmRSS");
        Self { server, before, most: before }
    }

    fn look(&mut self) {
        self.most = self.most.max(self.server.memory("VmRSS"));
    }

    fn assert_within(&mut self, what: &str, bytes_max: u64) {
        self.look();
        let grown = self.most - self.before;
        println!("{what}: {} of {} MiB more", grown / MIB, bytes_max / MIB);
        assert!(grown < bytes_max, "{what}: {grown} bytes");
    }
}

/// Each client requests as many long lists as may be under way. Without a bound they take 15 MiB
/// each.
#[test]
fn unread_lists_take_a_bounded_part_of_the_memory() {
    const ROWS: usize = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("data"), &SETTINGS);
    let mut raw = Raw::greeted(server.address);
    for group in (0..ROWS).collect::<Vec<_>>().chunks(2000) {
        let id = |number: &usize| format!("chat-{number:016x}");
        let chats: Vec<Value> =
            group.iter().map(|n| json!({"id": id(n), "type": 2, "creator_id": "m"})).collect();
        let members: Vec<Value> =
            group.iter().map(|n| json!({"user_id": "long", "chat_id": id(n)})).collect();
        raw.call(2, Kind::Import, json!({"chats": chats, "members": members})).unwrap();
    }
    let mut gauge = Gauge::of(&server);
    let long = json!({"user_id": "long"});
    let lists = request(7, Kind::List, long.clone()).repeat(LARGE_IN_FLIGHT_MAX);
    let deaf: Vec<TcpStream> = (0..CONNECTIONS)
        .map(|_| {
            let mut stream = Raw::greeted(server.address).stream;
            std::io::Write::write_all(&mut stream, &lists).unwrap();
            gauge.look();
            stream
        })
        .collect();
    // Who reads gets short replies all the time, and a long one as soon as there is room for it.
    let (began, mut refused) = (Instant::now(), 0);
    for id in 10.. {
        gauge.look();
        let page = raw.call(2 * id, Kind::List, json!({"user_id": "long", "limit": 10})).unwrap();
        let Reply::List(page) = page else { panic!("{page:?}") };
        assert_eq!(page.items.len(), 10);
        match raw.call(2 * id + 1, Kind::List, long.clone()) {
            Ok(Reply::List(list)) => {
                assert_eq!(list.items.len(), ROWS);
                break;
            }
            Err(error) => assert_eq!(error.code, ErrorCode::Busy, "{error}"),
            other => panic!("{other:?}"),
        }
        refused += 1;
        assert!(began.elapsed() < PATIENCE, "no long list for a client that reads");
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("a long list was given after {refused} that were not, in {:?}", began.elapsed());
    while !server.messages().contains("too many of them are unread") {
        gauge.look();
        assert!(began.elapsed() < PATIENCE, "nobody was dropped: {}", server.messages());
        // One more reply that is not read.
        std::thread::sleep(Duration::from_millis(50));
        drop(raw.call(9, Kind::List, long.clone()));
    }
    let made = wide(ROWS * 2 * size_of::<chatshard::command::list::ListRow>());
    gauge.assert_within("unread lists", BUDGET + BESIDE + SLACK + made);
    drop(deaf);
}

/// Each client has as many watches as it may, and they resume from the files of the log.
#[test]
fn unread_watches_take_a_bounded_part_of_the_memory() {
    const CHANGES: u64 = 60_000;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&directory.path().join("data"), &SETTINGS);
    let mut raw = Raw::greeted(server.address);
    let Ok(Reply::Watch(began)) = raw.call(2, Kind::Watch, json!({})) else { panic!("no watch") };
    // Without a watcher the ring holds nothing: a client that resumes reads the files.
    drop(raw);
    let mut raw = Raw::greeted(server.address);
    let chat = "c".repeat(120);
    let create = json!({"id": chat, "type": 2, "creator_id": "u", "user_ids": []});
    raw.call(2, Kind::Create, create).unwrap();
    let advance = |id| (id, Kind::Advance, json!({"chat_id": chat, "allocate": 1}));
    for first in (0..CHANGES).step_by(500) {
        raw.send(&(0..500).map(|id| advance(3 + first + id)).collect::<Vec<_>>());
        assert!(raw.receive_all(500).values().all(Result::is_ok));
    }

    let mut gauge = Gauge::of(&server);
    let deaf: Vec<Raw> = (0..CONNECTIONS)
        .map(|_| {
            let mut watching = Raw::greeted(server.address);
            let watch = |id| (id, Kind::Watch, json!({"from": began.offset}));
            watching.send(&(2..18).map(watch).collect::<Vec<_>>());
            gauge.look();
            watching
        })
        .collect();
    // A client that reads gets every change, in order, and is not cut off.
    let mut reading = Raw::greeted(server.address);
    reading.send(&[(2, Kind::Watch, json!({"from": began.offset}))]);
    let mut last = 0;
    while last < CHANGES {
        let (_, outcome) = reading.receive().expect("a change");
        let Ok(Reply::Watch(event)) = outcome else { panic!("{outcome:?}") };
        if event.op == WatchOp::Advance {
            let sequence = event.last_sequence.unwrap().get();
            assert_eq!(sequence, last + 1);
            last = sequence;
        }
        if last % 500 == 0 {
            gauge.look();
        }
    }
    gauge.assert_within("unread watches", BUDGET + BESIDE + SLACK);
    drop(deaf);
}
