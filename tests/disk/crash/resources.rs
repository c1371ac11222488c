//! A process that lacks something for a time: descriptors, a snapshot, a regular file where it
//! expects one.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use chatshard::command::stats::StatsReply;
use chatshard::command::{Error, ErrorCode, Kind, Reply};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::{Value, json};

use crate::common::program::chatshard;
use crate::common::raw::Raw;
use crate::process::{PATIENCE, Refused, Server, Starting, run, serve};

const SMALL_SEGMENTS: [&str; 4] = ["--log-segment-bytes", "65536", "--shards", "1"];

/// An import of a chat of some KiB.
fn chat(number: u64) -> Value {
    let members: Vec<String> = (0..100).map(|member| format!("user-{number}-{member}")).collect();
    json!({"id": format!("chat-{number}"), "type": 2, "creator_id": "creator", "user_ids": members})
}

fn write(raw: &mut Raw, number: u64) -> Result<Reply, Error> {
    raw.call(number, Kind::Create, chat(number))
}

fn stats(raw: &mut Raw) -> StatsReply {
    match raw.call(1, Kind::Stats, json!({})) {
        Ok(Reply::Stats(stats)) => *stats,
        other => panic!("no figures: {other:?}"),
    }
}

fn descriptors(server: &Server, current: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: Some(current), maximum };
    prlimit(Some(server.pid()), Resource::Nofile, limit).unwrap();
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn files(dir: &Path, ends: &str) -> usize {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().ends_with(ends)).count()
}

fn refused(dir: &Path, arguments: &[&str]) -> String {
    refused_with(1, dir, arguments)
}

fn refused_with(code: i32, dir: &Path, arguments: &[&str]) -> String {
    let Err(Refused { status, messages }) = Starting::new(dir, arguments).ready() else {
        panic!("it starts");
    };
    assert_eq!(status.code(), Some(code), "{messages}");
    messages
}

#[test]
fn silent_connections_leave_the_log_its_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    // Few descriptors for the server, with the hard limit too.
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 120; exec \"$0\" \"$@\""]).arg(chatshard().get_program());
    command.args(serve(&dir, &SMALL_SEGMENTS).get_args());
    let server = Server::of(command);
    let mut raw = Raw::greeted(server.address);
    let silent: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    for number in 2..200 {
        write(&mut raw, number).unwrap();
    }
    assert!(files(&dir, ".seg") > 3);
    raw.call(200, Kind::Snapshot, json!({})).unwrap();
    assert_eq!(stats(&mut raw).log.state, "ok");
    assert!(server.messages().contains("the limit of open files is too low"));
    drop(silent);
}

#[test]
fn a_log_without_descriptors_stalls_and_heals() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(&directory.path().join("data"), &SMALL_SEGMENTS);
    let (mut raw, mut waiting) = (Raw::greeted(server.address), Raw::greeted(server.address));
    descriptors(&server, 1);
    // A request that is under way when the log stalls waits until the log heals.
    let mut number = 2;
    wait_until("the stall", || {
        for _ in 0..10 {
            waiting.send(&[(number, Kind::Create, chat(number))]);
            number += 1;
        }
        stats(&mut raw).log.state == "stalled"
    });
    let error = write(&mut raw, number).unwrap_err();
    assert_eq!(error.code, ErrorCode::Unavailable, "{error}");
    descriptors(&server, 1000);
    wait_until("the end of the stall", || stats(&mut raw).log.state == "ok");
    write(&mut raw, number).unwrap();
    server.terminate();
    assert!(server.wait().success(), "{}", server.messages());
}

#[test]
fn a_stop_while_the_log_stalls_says_what_it_drops_and_fails() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let mut server = Server::start(&dir, &SMALL_SEGMENTS);
    let (mut raw, mut waiting) = (Raw::greeted(server.address), Raw::greeted(server.address));
    write(&mut raw, 2).unwrap();
    descriptors(&server, 1);
    let mut number = 3;
    wait_until("the stall", || {
        for _ in 0..10 {
            waiting.send(&[(number, Kind::Create, chat(number))]);
            number += 1;
        }
        stats(&mut raw).log.state == "stalled"
    });
    server.terminate();
    assert_eq!(server.wait().code(), Some(1), "{}", server.messages());
    assert!(server.messages().contains("records are dropped"), "{}", server.messages());
    let Some(last) = server.messages().lines().last().map(str::to_owned) else { panic!() };
    let dropped = last.split(" records of writes that were not acknowledged are dropped").next();
    let dropped: u64 = dropped.and_then(|it| it.rsplit(' ').next()).unwrap().parse().unwrap();
    assert!(dropped > 0, "{last}");
    // Acknowledged writes are there, and the directory is whole.
    let server = Server::start(&dir, &SMALL_SEGMENTS);
    let mut raw = Raw::greeted(server.address);
    raw.call(2, Kind::Detail, json!({"ids": ["chat-2"]})).unwrap();
    assert!(stats(&mut raw).chats >= 1);
}

#[test]
fn a_stop_whose_last_snapshot_fails_is_a_failed_stop() {
    let directory = tempfile::tempdir().unwrap();
    let mut server = Server::start(&directory.path().join("data"), &["--log", "off"]);
    write(&mut Raw::greeted(server.address), 2).unwrap();
    descriptors(&server, 1);
    server.terminate();
    let status = server.wait();
    assert_eq!(status.code(), Some(1), "{}", server.messages());
    assert!(server.messages().contains("the last snapshot failed"), "{}", server.messages());
}

#[test]
fn growth_of_the_log_counts_over_runs_and_the_last_snapshot_is_known() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let arguments =
        ["--shards", "1", "--snapshot-interval-s", "0", "--snapshot-log-bytes", "20000"];
    let mut number = 2;
    for _ in 0..5 {
        let mut server = Server::start(&dir, &arguments);
        let mut raw = Raw::greeted(server.address);
        // Each run alone grows too little.
        while stats(&mut raw).log.written_bytes < 10_000 {
            write(&mut raw, number).unwrap();
            number += 1;
        }
        assert!(stats(&mut raw).log.written_bytes < 20_000);
        server.kill();
    }
    let server = Server::start(&dir, &arguments);
    wait_until("a snapshot", || files(&dir, ".img") > 0);
    drop(server);
    let server = Server::start(&dir, &arguments);
    let snapshot = stats(&mut Raw::greeted(server.address)).snapshot;
    assert!(snapshot.last_time > 0 && snapshot.last_bytes > 0, "{snapshot:?}");
    assert_eq!(snapshot.taken, 0);
}

#[test]
fn a_snapshot_that_failed_is_tried_again_before_its_next_turn() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let mut server = Server::start(&dir, &["--shards", "1"]);
    write(&mut Raw::greeted(server.address), 2).unwrap();
    server.kill();
    // The next start has records that no snapshot holds, and cannot create the file.
    let inspected = run(&["inspect", "--json", dir.to_str().unwrap()]).stdout;
    let inspected: Value = serde_json::from_slice(&inspected).unwrap();
    let last = inspected["last_lsn"].as_u64().unwrap();
    let obstacle = dir.join(format!("image-{last:020}-0000000001.img.tmp"));
    std::fs::create_dir(&obstacle).unwrap();
    let server = Server::start(&dir, &["--shards", "1", "--snapshot-interval-s", "86400"]);
    let mut raw = Raw::greeted(server.address);
    wait_until("a failure", || stats(&mut raw).snapshot.failed > 0);
    std::fs::remove_dir(&obstacle).unwrap();
    wait_until("a snapshot", || stats(&mut raw).snapshot.taken > 0);
    assert_eq!(files(&dir, ".img"), 1);
}

#[test]
fn what_is_no_file_is_refused_by_name() {
    let pipe = |path: &Path| {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    };
    let places = [
        "log-00000000000000000001.seg",
        "log-00000000000000009999.seg",
        "image-00000000000000000001-0000000001.img",
        "node",
        "lock",
    ];
    for place in places {
        for is_pipe in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let dir = directory.path().join("data");
            let mut server = Server::start(&dir, &[]);
            server.terminate();
            assert!(server.wait().success());
            let path = dir.join(place);
            drop(std::fs::remove_file(&path));
            if is_pipe {
                pipe(&path);
            } else {
                std::fs::create_dir(&path).unwrap();
            }
            let messages = refused(&dir, &[]);
            assert!(messages.contains(path.to_str().unwrap()), "{place}: {messages}");
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe");
    pipe(&path);
    let path = path.to_str().unwrap();
    let dir = directory.path().join("data");
    let cases: [&[&str]; 5] = [
        &["--config", path],
        &["--token-file", path],
        &["--tls-cert", path, "--tls-key", path],
        &["--http-auth", "jwt", "--jwt-secret-file", path],
        &["--http-auth", "jwt", "--jwt-jwks-file", path],
    ];
    for arguments in cases {
        let messages = refused_with(2, &dir, arguments);
        assert!(messages.contains(path) && messages.contains("a named pipe"), "{messages}");
    }
}

#[test]
fn a_directory_stays_locked_without_its_lock_file() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("data");
    let _server = Server::start(&dir, &[]);
    std::fs::remove_file(dir.join("lock")).unwrap();
    let messages = refused(&dir, &[]);
    assert!(messages.contains("used by another chatshard"), "{messages}");
}
