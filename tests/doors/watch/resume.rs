//! A watch that resumes from any offset gets exactly the rest: live, after a restart, after a
//! crash, and while others write.

use std::net::SocketAddr;

use chatshard::command::watch::WatchEvent;

use super::tools::{Stream, Writer, check_order, check_resumes, client, mark, offsets, prepare};
use crate::common::TestServer;
use crate::process::Server;

/// Writers at work at once. Their chats have long names, so that the log has several files.
const WRITERS: usize = 3;

/// A stream that is recorded from its first change on, and the writers of its changes.
struct Recording {
    began: String,
    told: Vec<WatchEvent>,
    writers: Vec<Writer>,
}

impl Recording {
    async fn new(address: SocketAddr) -> Self {
        let began = Stream::open(address, None).await.began;
        prepare(&client(address).await).await;
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            writers.push(Writer::new(address, &format!("{number:-<120}")).await);
        }
        Self { began, told: Vec::new(), writers }
    }

    fn last(&self) -> &str {
        self.told.last().map_or(&self.began, |event| &event.offset)
    }

    /// Lets all writers write `rounds` rounds at once, sets a mark, and records the stream up to
    /// it.
    async fn write(&mut self, address: SocketAddr, rounds: u64, number: u64) {
        let mut stream = Stream::open(address, Some(self.last())).await;
        let mut working = tokio::task::JoinSet::new();
        for mut writer in self.writers.drain(..) {
            working.spawn(async move {
                writer.reconnect(address).await;
                writer.rounds(rounds).await;
                writer
            });
        }
        self.writers = working.join_all().await;
        mark(&client(address).await, number).await;
        self.told.extend(stream.until_mark(number).await);
        self.check();
    }

    fn check(&self) {
        check_order(&self.told);
        self.writers.iter().for_each(|writer| writer.check(&self.told));
    }

    fn offsets(&self) -> Vec<String> {
        offsets(&self.began, &self.told)
    }

    /// Watches from every offset so far, while all writers continue.
    async fn check_every_offset(&mut self, address: SocketAddr, number: u64) {
        let offsets = self.offsets();
        check_resumes(address, &offsets, number, async {
            self.write(address, 10, number).await;
            self.told.clone()
        })
        .await;
    }
}

#[tokio::test]
async fn from_every_offset_the_rest_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let settings = |shards: &'static str| [("shards", shards), ("log_segment_bytes", "65536")];
    let server = TestServer::start_in(&dir, &settings("2"));
    let mut recording = Recording::new(server.tcp()).await;
    recording.write(server.tcp(), 25, 1).await;
    recording.check_every_offset(server.tcp(), 2).await;
    server.stop();

    // A clean restart with another number of shards: offsets do not depend on shards.
    for (number, shards) in [(3, "3"), (4, "1")] {
        let server = TestServer::start_in(&dir, &settings(shards));
        recording.check_every_offset(server.tcp(), number).await;
        server.stop();
    }
}

#[tokio::test]
async fn a_crash_leaves_no_gap_and_repeats_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let start = |shards: &str| {
        let settings = ["--fsync", "always", "--log-segment-bytes", "65536", "--shards", shards];
        Server::start(&dir, &settings)
    };
    let mut server = start("2");
    let mut recording = Recording::new(server.address).await;
    for (number, shards) in [(1, "3"), (2, "1")] {
        // Under load, and with watchers that have seen some of it.
        let address = server.address;
        let mut stream = Stream::open(address, Some(recording.last())).await;
        let mut working = tokio::task::JoinSet::new();
        for mut writer in recording.writers.drain(..) {
            working.spawn(async move {
                writer.reconnect(address).await;
                writer.until_refused().await;
                writer
            });
        }
        let mut heard = recording.told.clone();
        for _ in 0..100 {
            heard.push(stream.next().await);
        }
        server.kill();
        let (more, _) = stream.end().await;
        heard.extend(more);
        recording.writers = working.join_all().await;
        check_order(&heard);

        server = start(shards);
        recording.told = heard.clone();
        let offsets = recording.offsets();
        check_resumes(server.address, &offsets, number, async {
            // The writers may have got fewer replies than the server applied writes, and the
            // watchers fewer events than both.
            recording.told.clear();
            recording.write(server.address, 10, number).await;
            assert!(recording.told.starts_with(&heard));
            recording.told.clone()
        })
        .await;
    }
}
