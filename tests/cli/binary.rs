//! The binary as a script sees it: stdout, stderr, exit codes.

mod ephemeral;

mod wrong_doors;

mod manual;

mod metrics;

mod log_lines;

mod terminal;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn chatshard(arguments: &[&str]) -> Command {
    let mut command = crate::common::program::chatshard();
    command.args(arguments);
    command
}

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = chatshard(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    assert_eq!(run(&["nonsense"]).0, 2);
    assert_eq!(run(&["list"]).0, 2);
    assert_eq!(run(&["list", ""]).0, 2);
    let (code, help, _) = run(&["serve", "--help"]);
    assert_eq!(code, 0);
    for (name, default) in chatshard::config::settings::SETTINGS {
        assert!(help.contains(&chatshard::config::settings::variable(name)), "{name}");
        assert!(default.is_empty() || help.contains(default), "{name}");
    }
    assert!(run(&["--version"]).1.starts_with("chatshard "));
}

#[test]
fn wrong_arguments_and_settings_are_2_and_failures_are_1() {
    let (code, stdout, stderr) = run(&["call", "nonsense"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.starts_with("error: no command `nonsense`; there are: hello"), "{stderr}");
    let (code, _, stderr) = run(&["call", "list", "{\"user\":\"u\"}"]);
    assert!(code == 2 && stderr.starts_with("error: invalid_argument: list: "), "{stderr}");
    let (code, _, stderr) = run(&["call", "list", "[]"]);
    assert!(code == 2 && stderr.contains("JSON object"), "{stderr}");
    // As on the HTTP doors: choosing one of two values would be a guess.
    for json in [
        r#"{"user_id": "u", "user_id": "v"}"#,
        r#"{"user_id": "u", "items": [{"chat_id": "c", "seq": 1, "seq": 2}]}"#,
    ] {
        let command = if json.contains("items") { "mark_read_many" } else { "list" };
        let (code, _, stderr) = run(&["call", command, json]);
        assert!(code == 2 && stderr.contains("duplicate field"), "{json}: {stderr}");
    }
    let (code, _, stderr) = run(&["serve", "--listen", "0.0.0.0:0"]);
    assert!(code == 2 && stderr.starts_with("error: flag --listen: "), "{stderr}");
    for arguments in [
        &["serve", "--config", "/no/such/file.toml"][..],
        &["serve", "--token-file", "/no/such/file"],
        &["stats", "--tls-name", "x"],
        &["stats", "--tls-ca", "/no/such/file"],
        &["stats", "--addr", "nowhere"],
        &["journal", "status", "--journal", "file:/x"],
        &["bench", "run", "--depth", "0"],
        &["bench", "run", "--depth", "5000"],
        &["bench", "fill", "--chats", "1"],
        &["bench", "fill", "--target", "http"],
        &["bench", "generate", "--users", "1", "--chats", "9", "--memberships", "100"],
    ] {
        let (code, _, stderr) = run(arguments);
        assert_eq!((code, stderr.starts_with("error: ")), (2, true), "{arguments:?}: {stderr}");
    }
    for arguments in [&["stats", "--addr", "127.0.0.1:1"][..], &["restore", "/no/such/directory"]] {
        let (code, _, stderr) = run(arguments);
        assert_eq!((code, stderr.starts_with("error: ")), (1, true), "{arguments:?}: {stderr}");
    }
    let (code, _, stderr) = run(&["import", "/no/such/file.jsonl"]);
    assert!(code == 1 && stderr.starts_with("error: /no/such/file.jsonl: "), "{stderr}");
}

#[test]
fn a_closed_pipe_is_quiet() {
    let arguments = ["bench", "generate", "--users", "1000", "--chats", "9000"];
    let mut child = chatshard(&arguments)
        .args(["--memberships", "90000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), [].as_slice()));
}

#[test]
fn inspect_tells_whole_from_damaged_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let (code, stdout, _) = run(&["inspect", path]);
    // As a start says it: an empty directory may be a volume that is not mounted.
    assert!(code == 1 && stdout.contains("empty") && stdout.contains("--init"), "{stdout}");

    let snapshot = directory.path().join("image-00000000000000000007-0000000001.img");
    std::fs::write(&snapshot, "no snapshot").unwrap();
    let (code, stdout, _) = run(&["inspect", path]);
    assert!(code == 1 && stdout.contains("DAMAGED") && stdout.contains("image-"), "{stdout}");
    let (code, stdout, _) = run(&["inspect", path, "--json"]);
    let found: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 1);
    assert_eq!(found["images"][0]["whole"], false);
    assert!(found["damage"][0]["what"].is_string());
    assert_eq!(std::fs::read_to_string(&snapshot).unwrap(), "no snapshot");

    let (code, _, stderr) = run(&["inspect", "/no/such/directory"]);
    assert!(code == 1 && stderr.contains("/no/such/directory"), "{stderr}");
    assert!(!Path::new("/no/such/directory").exists());
}

/// The engine of a journal without a majority looks like this: the node takes requests and is silent.
#[test]
fn a_call_without_a_reply_says_that_it_waits() {
    let files = crate::common::served::Files::new();
    let server = crate::common::served::Served::start(&files, &[]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let tcp = server.tcp.clone();
    // It passes on `hello` and its reply, and nothing more.
    std::thread::spawn(move || {
        let (mut client, mut server) =
            (listener.accept().unwrap().0, TcpStream::connect(tcp).unwrap());
        let pass = |from: &mut TcpStream, to: &mut TcpStream| {
            let mut bytes = [0; 4096];
            let read = from.read(&mut bytes).unwrap();
            to.write_all(&bytes[..read]).unwrap();
        };
        pass(&mut client.try_clone().unwrap(), &mut server);
        pass(&mut server, &mut client);
        std::io::copy(&mut client, &mut std::io::sink())
    });
    let mut command = chatshard(&["call", "stats", "--addr", &addr]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(line, format!("no reply of {addr} yet; waiting for at most 30s\n"));
}
