//! A data directory that is moved, replaced or removed beneath a running server: the log stalls,
//! and nothing is written elsewhere.

use std::path::Path;
use std::process::Output;

use chatshard::command::stats::StatsReply;
use chatshard::command::{Error, ErrorCode, Kind, Reply};
use serde_json::json;

use super::resources::wait_until;
use crate::common::raw::Raw;
use crate::process::{Server, run};

const ONE_SHARD: [&str; 2] = ["--shards", "1"];

fn state(raw: &mut Raw) -> String {
    match raw.call(1, Kind::Stats, json!({})) {
        Ok(Reply::Stats(stats)) => {
            let StatsReply { log, .. } = *stats;
            log.state.to_string()
        }
        other => panic!("no figures: {other:?}"),
    }
}

fn create(raw: &mut Raw, number: u64) -> Result<Reply, Error> {
    let chat =
        json!({"id": format!("chat-{number}"), "type": 2, "creator_id": "a", "user_ids": []});
    raw.call(number, Kind::Create, chat)
}

fn exported(server: &Server) -> Output {
    run(&["export", "-", "--addr", &server.address.to_string()])
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_directory_that_was_replaced_stalls_the_log_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (directory.path().join("data"), directory.path().join("moved"));
    let mut server = Server::start(&dir, &ONE_SHARD);
    let mut raw = Raw::greeted(server.address);
    create(&mut raw, 2).unwrap();
    std::fs::rename(&dir, &elsewhere).unwrap();
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("node"), "of somebody else").unwrap();
    // No client writes, and the server still notices it.
    wait_until("the stall", || state(&mut raw) == "stalled");
    let error = create(&mut raw, 3).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
    let error = raw.call(4, Kind::Snapshot, json!({})).unwrap_err();
    assert!(error.message.contains("renamed, removed or replaced"), "{error}");
    assert_eq!(names(&dir), ["node"], "nothing is written into a directory of somebody else");
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::rename(&elsewhere, &dir).unwrap();
    wait_until("the end of the stall", || state(&mut raw) == "ok");
    create(&mut raw, 3).unwrap();
    raw.call(4, Kind::Snapshot, json!({})).unwrap();
    server.terminate();
    assert!(server.wait().success(), "{}", server.messages());
    assert!(server.messages().contains("the data directory is not in its place"));
    let server = Server::start(&dir, &ONE_SHARD);
    let lines = String::from_utf8(exported(&server).stdout).unwrap();
    assert!(lines.contains("chat-2") && lines.contains("chat-3"), "{lines}");
}

#[test]
fn a_directory_that_was_removed_ends_writing_and_the_export_still_works() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let mut server = Server::start(&dir, &ONE_SHARD);
    let mut raw = Raw::greeted(server.address);
    create(&mut raw, 2).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    wait_until("the stall", || state(&mut raw) == "stalled");
    let error = create(&mut raw, 3).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
    assert!(String::from_utf8(exported(&server).stdout).unwrap().contains("chat-2"));
    server.terminate();
    assert_eq!(server.wait().code(), Some(1), "{}", server.messages());
    let messages = server.messages();
    assert!(messages.contains("chatshard export"), "{messages}");
    assert!(!dir.exists(), "nothing is made where the directory was");
}
