//! Which offsets are valid: those that the log keeps, of the same incarnation.

use std::net::SocketAddr;
use std::path::Path;

use chatshard::client::ClientError;
use chatshard::command::ErrorCode;
use serde_json::json;

use super::tools::{
    Stream, Writer, client, mark, offset_in, offsets, ok, prepare, record, refused, soon,
    with_record,
};
use crate::common::TestServer;
use crate::process::Server;

#[tokio::test]
async fn what_snapshots_trimmed_is_refused_with_the_oldest_that_is_kept() {
    let server = TestServer::start(&[("shards", "2"), ("log_segment_bytes", "65536")]);
    let address = server.tcp();
    let mut stream = Stream::open(address, None).await;
    let backend = client(address).await;
    prepare(&backend).await;
    // Each request fills a segment, and a snapshot follows. The second snapshot lets the oldest
    // segments be removed.
    let mut writer = Writer::new(address, &"-".repeat(120)).await;
    for _ in 0..2 {
        writer.rounds(500).await;
        ok(&backend, "snapshot", json!({})).await;
    }
    writer.rounds(5).await;
    mark(&backend, 1).await;
    let told = stream.until_mark(1).await;
    writer.check(&told);

    // The log's thread removes the segments later. The ring is emptied when the last watcher
    // leaves.
    let began = stream.began.clone();
    drop(stream);
    let trimmed = async {
        loop {
            let mut stream = Stream::open(address, Some(&began)).await;
            match stream.changes.next().await {
                Ok(event) => assert_eq!(event, told[0]),
                Err(ClientError::Refused(error)) => return error,
                Err(error) => panic!("{error}"),
            }
        }
    };
    let error = soon("the trim", trimmed).await;
    assert_eq!(error.code, ErrorCode::Conflict, "{error}");
    let oldest = offset_in(&error.message);
    let kept = told.iter().position(|event| record(&event.offset) > record(&oldest)).unwrap();
    assert!(kept > 0);
    let resumed = Stream::open(address, Some(&oldest)).await.until_mark(1).await;
    assert!(resumed == told[kept..], "{resumed:?}");
    for offset in &offsets(&began, &told)[..kept] {
        let error = refused(address, Some(offset), ErrorCode::Conflict).await;
        assert_eq!(offset_in(&error.message), oldest, "{offset}: {error}");
    }
    let before = with_record(&oldest, record(&oldest) - 1);
    let error = refused(address, Some(&before), ErrorCode::Conflict).await;
    assert_eq!(offset_in(&error.message), oldest);
    server.stop();
}

#[tokio::test]
async fn nonsense_is_no_offset() {
    let server = TestServer::start(&[("shards", "1")]);
    let began = Stream::open(server.tcp(), None).await.began;
    let log = began.split('.').next().unwrap();
    let one_more = format!("{began}.0");
    let minus = format!("{log}.-1");
    let too_large = format!("{log}.18446744073709551616");
    let no_record = format!("{log}.");
    for from in
        ["", ".", "x", "1", ".1", "x.1", "watch", &one_more, &minus, &too_large, &no_record, log]
    {
        refused(server.tcp(), Some(from), ErrorCode::InvalidArgument).await;
    }
    // These have the right form, and belong to no record of the stream.
    for from in [with_record(&began, 1), with_record(&began, u64::MAX), "1.0".into(), "1.7".into()]
    {
        let error = refused(server.tcp(), Some(&from), ErrorCode::Conflict).await;
        assert_eq!(offset_in(&error.message), began, "{error}");
    }
    server.stop();
}

#[tokio::test]
async fn without_a_log_there_is_no_stream() {
    let server = TestServer::start(&[("shards", "1"), ("log", "off")]);
    for from in [None, Some("1.0")] {
        let error = refused(server.tcp(), from, ErrorCode::Unavailable).await;
        assert!(error.message.starts_with("not applied"), "{error}");
    }
    server.stop();
}

/// A client's knowledge of a server: an offset, and a point in the change log of the user that
/// `write` changes.
struct Known {
    offset: String,
    since: serde_json::Value,
}

impl Known {
    async fn of(address: SocketAddr) -> Self {
        let offset = Stream::open(address, None).await.began;
        let sync = ok(&client(address).await, "sync", json!({"user_id": "u"})).await;
        Self { offset, since: json!({"log": sync["log"], "version": sync["version"]}) }
    }

    /// Checks that a server continues the same log.
    async fn is_good(&self, address: SocketAddr) {
        let stream = Stream::open(address, None).await;
        assert_eq!(stream.began, self.offset, "nothing happened since");
        Stream::open(address, Some(&self.offset)).await;
        let sync = json!({"user_id": "u", "since": self.since});
        let reply = ok(&client(address).await, "sync", sync).await;
        assert_eq!((&reply["reset"], &reply["items"]), (&json!(false), &json!([])), "{reply}");
    }

    /// Checks that a server resets its clients.
    async fn is_lost(&self, address: SocketAddr) {
        let error = refused(address, Some(&self.offset), ErrorCode::Conflict).await;
        // The records that are kept can be watched, with offsets of the new log.
        let oldest = offset_in(&error.message);
        assert_eq!(record(&oldest), 0, "{error}");
        assert_ne!(oldest, with_record(&self.offset, 0));
        let mut stream = Stream::open(address, Some(&oldest)).await;
        assert_eq!(record(&stream.next().await.offset), 1);
        let sync = json!({"user_id": "u", "since": self.since});
        let reply = ok(&client(address).await, "sync", sync).await;
        assert_eq!(reply["reset"], json!(true), "{reply}");
        assert!(reply["reason"].is_string(), "{reply}");
        assert_eq!(reply["items"].as_array().unwrap().len(), 1, "{reply}");
    }
}

/// Starts a real process on `dir`, runs `end` on it, and returns what a client knows.
async fn run(dir: &Path, fsync: &str, end: impl FnOnce(&mut Server)) -> Known {
    let mut server = Server::start(dir, &["--fsync", fsync, "--shards", "2"]);
    Writer::new(server.address, "g").await.rounds(7).await;
    let known = Known::of(server.address).await;
    end(&mut server);
    known
}

fn stop(server: &mut Server) {
    server.terminate();
    assert!(server.wait().success());
}

#[tokio::test]
async fn what_may_have_been_lost_is_another_log() {
    type End = fn(&mut Server);
    let ends: [(&str, End, bool); 5] = [
        ("always", Server::kill, true),
        ("always", stop, true),
        ("everysec", Server::kill, false),
        ("everysec", stop, true),
        ("never", Server::kill, false),
    ];
    for (fsync, end, is_good) in ends {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path().join("data");
        let known = run(&dir, fsync, end).await;
        // The fsync mode of the next run does not matter.
        let server = Server::start(&dir, &["--fsync", "always", "--shards", "1"]);
        match is_good {
            true => known.is_good(server.address).await,
            false => known.is_lost(server.address).await,
        }
    }
}
