//! `--memory-max` with a server as a process of its own.

use chatshard::command::stats::StatsReply;
use std::time::{Duration, Instant};

use chatshard::command::{Error, ErrorCode, Kind, Reply};
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::json;

use super::{MEMBERS, MIB, SLACK, many_members, member};
use crate::common::raw::Raw;
use crate::process::{PATIENCE, Server};

/// Longest time from a removal until growth is accepted again.
const LET_IN_MAX: Duration = Duration::from_secs(1);

/// A server with a memory bound, and a connection to it.
struct Bounded {
    server: Server,
    raw: Raw,
    bytes_max: u64,
    id: u64,
}

impl Bounded {
    fn start(dir: &std::path::Path, mib: u64, settings: &[&str]) -> Self {
        let memory_max = format!("{mib}MiB");
        let fixed = ["--shards", "2", "--memory-max", &memory_max];
        let server = Server::start(dir, &[&fixed, settings].concat());
        let raw = Raw::greeted(server.address);
        Self { server, raw, bytes_max: mib * MIB, id: 1 }
    }

    fn call(&mut self, kind: Kind, arguments: serde_json::Value) -> Result<Reply, Error> {
        self.id += 1;
        self.raw.call(self.id, kind, arguments)
    }

    fn stats(&mut self) -> StatsReply {
        match self.call(Kind::Stats, json!({})) {
            Ok(Reply::Stats(stats)) => *stats,
            other => panic!("no figures: {other:?}"),
        }
    }

    /// Imports chats until the server refuses them, and returns them. Fails if the server uses more
    /// than its bound.
    fn fill(&mut self) -> Vec<Chat> {
        let mut chats = Vec::new();
        let refused = loop {
            let number = self.id;
            match self.call(Kind::Import, many_members(number)) {
                Ok(_) => chats.push(Chat(number)),
                Err(error) => break error,
            }
            // The server looks at its memory for this reply: an optimized build would take many
            // imports between two of its own looks, and more in one round than in another.
            self.stats();
            self.assert_within();
        };
        assert_eq!(refused.code, ErrorCode::Unavailable);
        assert!(refused.message.starts_with("not applied: memory is used up"), "{refused}");
        chats
    }

    /// Removes everything, in every way: members of one chat are removed, some users of another one
    /// are erased, and all chats are dissolved.
    fn remove(&mut self, chats: &[Chat]) {
        let users = |chat: &Chat| (0..MEMBERS).map(|user| member(chat.0, user)).collect::<Vec<_>>();
        let [first, second, ..] = chats else { panic!("{} chats fill the memory", chats.len()) };
        let emptied = json!({"chat_id": first.id(), "user_ids": users(first)});
        self.call(Kind::RemoveMembers, emptied).unwrap();
        for user in users(second).iter().take(50) {
            self.call(Kind::EraseUser, json!({"user_id": user})).unwrap();
        }
        for chat in chats {
            self.call(Kind::Dissolve, json!({"chat_id": chat.id()})).unwrap();
        }
    }

    /// Waits until growth is accepted again, and returns the time that it took.
    fn until_let_in(&mut self) -> Duration {
        let began = Instant::now();
        while self.stats().memory_full == 1 {
            assert!(began.elapsed() < PATIENCE, "{:?}", self.stats());
            std::thread::sleep(Duration::from_millis(5));
        }
        let id = format!("let in {}", self.id);
        self.call(Kind::Create, json!({"id": id, "type": 2, "creator_id": "u", "user_ids": []}))
            .unwrap();
        began.elapsed()
    }

    fn assert_within(&self) {
        let resident = self.server.memory("VmRSS");
        assert!(resident < self.bytes_max + 2 * SLACK, "{resident} of {}", self.bytes_max);
    }

    /// The live bytes, as soon as they are at most so many: batches on their way to the disk live
    /// for a moment more.
    fn live_at_most(&mut self, bytes: u64) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let live = self.stats().memory_live_bytes;
            if live <= bytes || Instant::now() >= deadline {
                return live;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A chat that was imported.
struct Chat(u64);

impl Chat {
    fn id(&self) -> String {
        format!("many-{}", self.0)
    }
}

#[test]
fn ten_rounds_of_fill_and_remove_leave_as_much_as_one() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let settings = ["--fsync", "never"];
    let mut bounded = Bounded::start(&dir, 96, &settings);
    let mut first = None;
    for round in 1..=10 {
        let chats = bounded.fill();
        let filled = bounded.server.memory("VmRSS");
        bounded.remove(&chats);
        let waited = bounded.until_let_in();
        let left = bounded.server.memory("VmRSS");
        let live_max = first.map_or(u64::MAX, |(_, _, live)| live + 4 * MIB);
        let live = bounded.live_at_most(live_max);
        assert!(waited < LET_IN_MAX, "growth waited for {waited:?}");
        let taken = chats.len();
        println!(
            "round {round}: {taken} chats, {filled} bytes, then {left}, {live} live, {waited:?}"
        );
        let (taken_then, filled_then, live_then) = *first.get_or_insert((taken, filled, live));
        assert!(filled <= filled_then + filled_then / 10, "{filled} bytes, {filled_then} at first");
        // The allocator returns freed memory late, and how much of it differs from round to round.
        assert!(left <= filled_then + filled_then / 10, "{left} bytes, {filled_then} at first");
        assert!(live <= live_max, "{live} bytes live, {live_then} at first");
        assert!(taken >= taken_then * 3 / 4, "{taken} chats, {taken_then} at first");
    }
    bounded.server.kill();
    let mut bounded = Bounded { id: 1 << 20, ..Bounded::start(&dir, 96, &settings) };
    println!("let in after kill -9 and a start: {:?}", bounded.until_let_in());
    let figures = bounded.call(Kind::Verify, json!({}));
    let Ok(Reply::Verify(verified)) = figures else { panic!("{figures:?}") };
    assert_eq!(verified.differences, 0, "{:?}", verified.items);
}

#[test]
fn the_bound_is_held_without_a_free_descriptor() {
    let directory = tempfile::tempdir().unwrap();
    let mut bounded = Bounded::start(&directory.path().join("data"), 96, &["--log", "off"]);
    // From here on the process can open nothing.
    let none = Rlimit { current: Some(1), maximum: Some(1) };
    prlimit(Some(bounded.server.pid()), Resource::Nofile, none).unwrap();
    bounded.fill();
    let stats = bounded.stats();
    assert_eq!((stats.memory_full, stats.memory_stale), (1, 0));
    assert!(stats.memory_bytes > bounded.bytes_max * 15 / 16, "{}", stats.memory_bytes);
    assert!((1..stats.memory_bytes).contains(&stats.memory_live_bytes));
}
