//! Log lines of the server: a line that repeats is written a bounded number of times, and settings
//! that no one reads are reported.

use std::fs::Permissions;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Resource, Rlimit, prlimit};

use crate::common::program::chatshard;

use crate::common::served::{Files, Served, client, wait_until};

/// Most lines of one kind that may come in this time: one at once, and one every ten seconds.
fn lines_max(since: Instant) -> usize {
    1 + usize::try_from(since.elapsed().as_secs() / 10).unwrap()
}

#[test]
fn an_accept_that_fails_again_and_again_is_one_line_in_ten_seconds() {
    let files = Files::new();
    let mut server = Served::start(&files, &[]);
    // From here on the process can open nothing.
    let none = Rlimit { current: Some(1), maximum: Some(1) };
    prlimit(Some(server.pid()), Resource::Nofile, none).unwrap();
    let start = Instant::now();
    let guests: Vec<TcpStream> =
        (0..80).map(|_| TcpStream::connect(&server.tcp).unwrap()).collect();
    server.wait_for("could not be accepted");
    std::thread::sleep(Duration::from_secs(1));
    drop(guests);
    let lines = server.lines_with("could not be accepted");
    assert!((1..=lines_max(start)).contains(&lines.len()), "{lines:#?}");
}

#[test]
fn connections_that_find_no_room_are_one_line_in_ten_seconds() {
    let files = Files::new();
    let mut server = Served::start(&files, &["--connections-max=1"]);
    let start = Instant::now();
    let _guest = crate::common::raw::Raw::greeted(server.tcp.parse().unwrap());
    // The limit reports how many lines it left out. In two seconds a limit of one second lets two
    // lines through.
    while start.elapsed() < Duration::from_secs(2) {
        drop(TcpStream::connect(&server.tcp).unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
    server.wait_for("too many connections");
    let lines = server.lines_with("too many connections");
    assert!((1..=lines_max(start)).contains(&lines.len()), "{lines:#?}");
}

#[test]
fn the_demo_begins_without_a_warning() {
    let mut command = chatshard();
    command.args(["serve", "--demo", "--listen=127.0.0.1:0", "--http=127.0.0.1:0"]);
    command.args(["--admin=127.0.0.1:0", "--log-format=json", "--shards=2"]);
    let mut server = Served::of(&mut command);
    server.wait_for("a client connected");
    assert_eq!(server.lines_with("WARN"), [""; 0]);
    assert!(server.messages.first().unwrap().contains("\"INFO\""), "{:#?}", server.messages);
}

#[test]
fn a_variable_that_nobody_reads_is_warned_of_once() {
    let files = Files::new();
    let mut command = chatshard();
    command.args(["serve", "--listen=127.0.0.1:0", "--http=off", "--admin=off", "--shards=1"]);
    command.args(["--fsync=never", "--log-format=json", "--data-dir"]).arg(files.path("data"));
    let unknown = [
        ("CHATSHARD_FSYNK", "; did you mean CHATSHARD_FSYNC?\""),
        ("CHATSHARD_LOG_LEVELS", "; did you mean CHATSHARD_LOG_LEVEL?\""),
        ("CHATSHARD_HTTP_PORT", "; did you mean CHATSHARD_HTTP?\""),
        ("CHATSHARD_ZZZ", ": there is no such setting\""),
    ];
    let known = [
        // The client's own.
        ("CHATSHARD_TOKEN", "hush"),
        ("CHATSHARD_ADDR", "127.0.0.1:1"),
        ("CHATSHARD_TLS_CA", "/no/such/file"),
        ("CHATSHARD_TLS_NAME", "x"),
        // Kubernetes' own, for the services `chatshard` and `chatshard-admin`.
        ("CHATSHARD_SERVICE_HOST", "10.0.0.1"),
        ("CHATSHARD_SERVICE_PORT", "7700"),
        ("CHATSHARD_SERVICE_PORT_TCP", "7700"),
        ("CHATSHARD_PORT", "tcp://10.0.0.1:7700"),
        ("CHATSHARD_PORT_7700_TCP_ADDR", "10.0.0.1"),
        ("CHATSHARD_ADMIN_SERVICE_HOST", "10.0.0.2"),
        ("CHATSHARD_ADMIN_SERVICE_PORT_HTTP", "7790"),
        ("CHATSHARD_ADMIN_PORT", "tcp://10.0.0.2:7790"),
        ("CHATSHARD_ADMIN_PORT_7790_TCP", "tcp://10.0.0.2:7790"),
        // The program's own.
        ("CHATSHARD_CONFIG", ""),
        ("CHATSHARD_PIN", "false"),
    ];
    command.envs(unknown.map(|(name, _)| (name, "8080"))).envs(known);
    let mut server = Served::of(&mut command);
    let warned = server.lines_with("there is no such setting");
    assert_eq!(warned.len(), unknown.len(), "{warned:#?}");
    for (name, said) in unknown {
        let named = format!("environment {name}: there is no such setting");
        let of_it = |line: &&&String| line.contains(&named) && line.contains(said);
        assert_eq!(warned.iter().filter(of_it).count(), 1, "{name}: {warned:#?}");
    }
    assert!(!server.messages.join("").contains("8080"), "a value may be a secret");
}

#[test]
fn a_word_that_is_none_of_the_choices_is_refused_with_what_was_meant() {
    let files = Files::new();
    let refused = |flags: &[&str], variable: Option<(&str, &str)>, toml: &str| {
        let config = files.write("chatshard.toml", toml);
        let mut command = chatshard();
        // If a server starts nevertheless, it has no data and ends with the test.
        command.args(["serve", "--config", &config, "--data-dir=/proc/none"]).args(flags);
        let output = command.envs(variable).output().unwrap();
        assert_ne!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    for (level, meant) in [("warning", "warn"), ("inf", "info"), ("Dbug", "debug")] {
        let meant = format!("did you mean `{meant}`?");
        let said = refused(&["--log-level", level], None, "");
        assert!(said.contains("error: flag --log-level: ") && said.contains(&meant), "{said}");
        let said = refused(&[], Some(("CHATSHARD_LOG_LEVEL", level)), "");
        assert!(said.contains("environment CHATSHARD_LOG_LEVEL") && said.contains(&meant));
        let said = refused(&[], None, &format!("log_level = \"{level}\"\n"));
        assert!(said.contains(": log_level: ") && said.contains(&meant), "{said}");
    }
    assert!(refused(&["--log-level", "loud"], None, "").contains("there are off, error, warn"));
    for (variable, value, meant) in [
        ("CHATSHARD_FSYNC", "Always", "always"),
        ("CHATSHARD_LOG", "of", "off"),
        ("CHATSHARD_HTTP_AUTH", "headers", "header"),
        ("CHATSHARD_LOG_FORMAT", "jsn", "json"),
        ("CHATSHARD_DEMO", "ture", "true"),
    ] {
        let said = refused(&[], Some((variable, value)), "");
        let meant = format!("did you mean `{meant}`?");
        assert!(said.contains(variable) && said.contains(&meant), "{variable}: {said}");
    }
    for (key, meant) in [("fsnyc", "fsync"), ("data-dir", "data_dir"), ("shard", "shards")] {
        let said = refused(&[], None, &format!("{key} = \"1\"\n"));
        let wanted = format!("unknown key `{key}`; did you mean `{meant}`?");
        assert!(said.contains(&wanted), "{said}");
    }
}

#[test]
fn a_secret_that_every_user_may_read_is_warned_of() {
    for (mode, warnings) in [(0o644, 1), (0o640, 0)] {
        let files = Files::new();
        let tokens = files.write("tokens", &"t".repeat(40));
        std::fs::set_permissions(&tokens, Permissions::from_mode(mode)).unwrap();
        let mut server = Served::start(&files, &["--token-file", &tokens]);
        let warned = server.lines_with("every user may read this secret");
        assert_eq!(warned.len(), warnings, "{mode:o}: {warned:#?}");
        assert!(warned.iter().all(|line| line.contains("0644") && line.contains(&tokens)));
    }
}

/// A server with this door, whose log lines go to `stderr`.
fn serve(files: &Files, door: &str, stderr: Stdio) -> Child {
    chatshard()
        .args(["serve", "--log-level=debug", "--shards=1", "--pin=false", "--listen", door])
        .args(["--http=off", "--admin=off", "--data-dir"])
        .arg(files.path("data"))
        .stdin(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap()
}

/// The reader of the log lines ends, or their disk is full. Once the server ended then, without a
/// word.
#[test]
fn a_server_serves_on_when_its_log_lines_cannot_be_written() {
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    for stderr in [Stdio::from(closed), Stdio::from(full)] {
        let files = Files::new();
        let door = format!("unix:{}", files.path("door").display());
        let mut server = serve(&files, &door, stderr);
        wait_until("a server without log lines serves", || {
            assert_eq!(server.try_wait().unwrap(), None, "it ended");
            client(&["call", "ping", "--addr", &door]).is_ok()
        });
        let pid = rustix::process::Pid::from_child(&server);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(server.wait().unwrap().success());
    }
}

/// A pipe whose reader does not read, and that is full.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

/// The reader of the log lines stands still. Once the first line blocked the start, and any later
/// one the core that wrote it.
#[test]
fn a_server_serves_and_ends_while_the_reader_of_its_log_lines_stands_still() {
    let (mut reader, writer) = full_pipe();
    let files = Files::new();
    let door = format!("unix:{}", files.path("door").display());
    let mut server = serve(&files, &door, writer.into());
    let asked = || client(&["call", "ping", "--addr", &door]);
    wait_until("a server without a reader serves", || asked().is_ok());
    for _ in 0..10 {
        asked().unwrap();
    }
    let pid = rustix::process::Pid::from_child(&server);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_until("the end", || server.try_wait().unwrap().is_some());
    assert!(server.wait().unwrap().success());
    let mut said = Vec::new();
    reader.read_to_end(&mut said).unwrap();
    assert!(said.iter().all(|byte| *byte == b'x'), "a line was written into a full pipe");
}

/// A start that is refused says why to a reader that comes late, and ends without one.
#[test]
fn a_refused_start_ends_while_the_reader_stands_still() {
    let (_reader, writer) = full_pipe();
    let mut command = chatshard();
    command.args(["serve", "--listen=127.0.0.1:0", "--http=off", "--admin=off"]);
    command.args(["--data-dir=/dev/null/data"]).stdin(Stdio::null()).stderr(writer);
    let mut server = command.spawn().unwrap();
    wait_until("the end", || server.try_wait().unwrap().is_some());
    assert_eq!(server.wait().unwrap().code(), Some(1));
}
