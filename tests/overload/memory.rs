//! `--memory-max` with a server as a process of its own.

use chatshard::command::node::StatsReply;
use chatshard::command::{Error, ErrorCode, Kind, Reply};
use rustix::process::{Resource, Rlimit, prlimit};
use serde_json::json;

use super::{MIB, SLACK, many_members};
use crate::common::raw::Raw;
use crate::process::Server;

/// A server with a bound, and a connection to it.
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

    /// Imports chats until the server refuses them. Fails if it takes more than it may.
    fn fill(&mut self) {
        let refused = loop {
            let chat = many_members(self.id);
            match self.call(Kind::Import, chat) {
                Ok(_) => self.assert_within(),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.code, ErrorCode::Unavailable);
        assert!(refused.message.starts_with("not applied: memory is used up"), "{refused}");
    }

    fn assert_within(&self) {
        let resident = self.server.memory("VmRSS");
        assert!(resident < self.bytes_max + 2 * SLACK, "{resident} of {}", self.bytes_max);
    }
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
