//! Commands on a terminal, which `script` of util-linux provides: their output is escaped and
//! readable.

use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chatshard::command::Kind;
use serde_json::json;

use crate::common::TestServer;
use crate::common::program::chatshard;
use crate::common::raw::Raw;

/// Runs a command on a terminal until it has written `until`, and ends it. Returns everything that
/// it wrote so far.
fn on_terminal(arguments: &[&str], until: &str) -> String {
    let program = chatshard().get_program().to_str().unwrap().to_owned();
    let quoted: Vec<String> =
        std::iter::once(program.as_str()).chain(arguments.iter().copied()).map(quote).collect();
    let mut command = Command::new("script");
    // No echo, at once, and the exit code of the command; the record is not kept.
    command.args(["-q", "-e", "-f", "-E", "never", "-c", &quoted.join(" "), "/dev/null"]);
    let mut child = command
        .env("TERM", "dumb")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`script` of util-linux runs");
    let (mut written, mut buffer) = (Vec::new(), [0; 4096]);
    let mut stdout = child.stdout.take().unwrap();
    while !String::from_utf8_lossy(&written).contains(until) {
        let read = stdout.read(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&written);
        assert!(read > 0, "it ends without {until:?}:\n{text}");
        written.extend_from_slice(&buffer[..read]);
    }
    drop(child.kill());
    child.wait().unwrap();
    String::from_utf8(written).unwrap()
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[test]
fn watch_says_that_it_waits_and_leaves_out_what_says_nothing() {
    let server = TestServer::start(&[("shards", "2")]);
    let mut raw = Raw::greeted(server.tcp());
    let chat = json!({"id": "g_1", "type": 2, "creator_id": "ann", "user_ids": ["ann"]});
    raw.call(2, Kind::Create, chat).unwrap();
    let addr = server.tcp().to_string();
    let is_seen = Arc::new(AtomicBool::new(false));
    // Changes before the watch is open are not shown, so messages are sent until one is.
    let sending = std::thread::spawn({
        let is_seen = Arc::clone(&is_seen);
        move || {
            for number in 3.. {
                if is_seen.load(Ordering::Relaxed) {
                    return;
                }
                let message = json!({"chat_id": "g_1", "allocate": 1});
                raw.call(number, Kind::Advance, message).unwrap();
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let seen = on_terminal(&["call", "watch", "{}", "--addr", &addr], "\"chat_id\":\"g_1\"");
    is_seen.store(true, Ordering::Relaxed);
    sending.join().unwrap();
    let (waits, change) = seen.split_once('{').unwrap();
    assert!(waits.contains("waiting for changes; Ctrl-C ends it"), "{seen}");
    assert!(change.contains("\"op\":") && !change.contains("null"), "{seen}");
    server.stop();
}

#[test]
fn an_export_on_a_terminal_is_escaped() {
    let server = TestServer::start(&[("shards", "2")]);
    let mut raw = Raw::greeted(server.tcp());
    let id = "g_\u{202e}evil\u{2066}";
    let chat = json!({"id": id, "type": 2, "creator_id": "ann", "user_ids": ["ann"]});
    raw.call(2, Kind::Create, chat).unwrap();
    let addr = server.tcp().to_string();
    for arguments in [["export", "-"], ["export", "/dev/tty"]] {
        let arguments = [&arguments[..], &["--addr", &addr]].concat();
        let seen = on_terminal(&arguments, "exported");
        assert!(seen.contains("g_\\u202eevil\\u2066"), "{seen}");
        assert!(!seen.contains('\u{202e}') && !seen.contains('\u{2066}'), "{seen}");
    }
    // A program gets the lines unchanged.
    let output = chatshard().args(["export", "-", "--addr", &addr]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains(id));
    server.stop();
}

#[test]
fn the_demo_finds_free_ports_beside_another_server() {
    // The default ports are taken, by this test or by another process.
    let _taken = ["127.0.0.1:7700", "127.0.0.1:7780", "127.0.0.1:7790"].map(TcpListener::bind);
    let mut child = chatshard()
        .args(["serve", "--demo", "--shards", "1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut hints = String::new();
    let mut stdout = child.stdout.take().unwrap();
    let mut buffer = [0; 4096];
    while !hints.contains("The admin page: ") {
        let read = stdout.read(&mut buffer).unwrap();
        assert!(read > 0, "{hints}");
        hints.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    let lines: Vec<&str> = hints.lines().map(str::trim).collect();
    assert!(hints.contains("Another process listens on 127.0.0.1:7700"), "{hints}");
    for port in [":7700/", ":7780/", ":7790/", "=127.0.0.1:7700"] {
        assert!(!hints.contains(port), "{port} is in {hints}");
    }
    // Every line works as printed.
    let export = lines.iter().find(|line| line.starts_with("export ")).unwrap();
    let is_command = |line: &&&str| line.starts_with("curl ") || line.contains(" list 0x");
    let commands: Vec<&str> = lines.iter().filter(is_command).copied().collect();
    assert_eq!(commands.len(), 4, "{hints}");
    let program = chatshard().get_program().to_str().unwrap().to_owned();
    let by_export = format!("{program} list 0x4c3f6cb0cd7df2977ea98e006b61bb899637d1ca");
    for line in commands.into_iter().chain([by_export.as_str()]) {
        let script = format!("{export}\n{line}");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line}: {said}");
        let is_answer = said.contains("\"code\":200") || said.contains("g_5f2d9c1e7ab34608");
        assert!(is_answer, "{line}: {said}");
    }
    drop(child.kill());
    child.wait().unwrap();
}
