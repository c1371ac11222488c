//! `serve --ephemeral` and `schema`, as the makers of clients and their tests use them.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::{chatshard, run};
use crate::common::served::client;

/// Starts a server whose temporary directory is below `directory`. Returns it and its addresses.
fn start(directory: &tempfile::TempDir, arguments: &[&str]) -> (Child, Value) {
    let mut child = chatshard(&["serve", "--ephemeral", "--shards=1"])
        .args(arguments)
        .env("TMPDIR", directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

fn directories(below: &tempfile::TempDir) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(below.path()).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn an_ephemeral_server_says_where_it_is_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, addresses) = start(&directory, &["--http=off"]);
    let tcp = addresses["tcp"].as_str().unwrap();
    assert!(tcp.starts_with("127.0.0.1:") && !tcp.ends_with(":0"), "{addresses}");
    assert!(addresses["http"].is_null() && addresses["admin"].is_string(), "{addresses}");
    let stats = client(&["call", "stats", "--addr", tcp]).unwrap();
    let stats: Value = serde_json::from_str(&stats).unwrap();
    assert_eq!((&stats["log"]["mode"], &stats["chats"]), (&"never".into(), &0.into()));
    assert_eq!(directories(&directory).len(), 1);
    // The one who started it is gone.
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(directories(&directory).is_empty());
}

#[test]
fn the_variable_of_the_clients_tests_is_known() {
    let mut child = chatshard(&["serve", "--ephemeral", "--shards=1"])
        .env("CHATSHARD_BIN", "/opt/chatshard")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !messages.contains("WARN"), "{messages}");
}

#[test]
fn two_ephemeral_servers_do_not_meet() {
    let directory = tempfile::tempdir().unwrap();
    let servers = [start(&directory, &[]), start(&directory, &["--fsync=always"])];
    let [(_, one), (_, other)] = &servers;
    assert_ne!(one["tcp"], other["tcp"]);
    let stats = client(&["call", "stats", "--addr", other["tcp"].as_str().unwrap()]).unwrap();
    assert!(stats.contains("\"mode\":\"always\""), "{stats}");
    for (mut child, _) in servers {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn an_ephemeral_server_has_no_directory_of_the_caller_and_no_journal() {
    for (arguments, why) in [
        (&["--data-dir=/nowhere"][..], "a throw-away directory"),
        (&["--demo"], "a throw-away server already"),
        (&["--journal=etcd://127.0.0.1:1/x"], "a throw-away server has no journal"),
    ] {
        let arguments = [&["serve", "--ephemeral"], arguments].concat();
        let (code, _, stderr) = run(&arguments);
        assert!(code == 2 && stderr.contains(why), "{arguments:?}: {stderr}");
    }
}

#[test]
fn the_schema_is_printed() {
    let (code, stdout, _) = run(&["schema"]);
    assert_eq!((code, stdout.as_str()), (0, include_str!("../../../docs/reference/protocol.json")));
}
