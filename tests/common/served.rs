//! A real `chatshard serve` with files of its own, and clients for it.

// Each test crate uses its own part of this.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::program::chatshard;

/// Longest time of any step. Beyond it the process counts as stuck.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A directory for the files of one test.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and returns its path as an argument.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// A server process. It is killed when dropped.
pub struct Served {
    child: Child,
    told: Receiver<String>,
    /// Every log line so far.
    pub messages: Vec<String>,
    /// Addresses of the doors, as the server reports them.
    pub tcp: String,
    pub http: String,
    pub admin: String,
}

impl Served {
    /// Starts a server on free ports, unless `arguments` name the doors.
    pub fn start(files: &Files, arguments: &[&str]) -> Self {
        let mut command = chatshard();
        command.args(["serve", "--log-format=json", "--pin=false", "--fsync=never", "--shards=2"]);
        command.arg("--data-dir").arg(files.path("data"));
        for door in ["--listen", "--http", "--admin"] {
            if !arguments.iter().any(|given| given.split('=').next() == Some(door)) {
                command.arg(format!("{door}=127.0.0.1:0"));
            }
        }
        Self::of(command.args(arguments))
    }

    /// Starts a server with this command, which must log as JSON.
    pub fn of(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, told) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        let nowhere = String::new;
        let mut served = Self {
            child,
            told,
            messages: Vec::new(),
            tcp: nowhere(),
            http: nowhere(),
            admin: nowhere(),
        };
        let ready: Value = serde_json::from_str(&served.wait_for("ready")).unwrap();
        let door = |name: &str| ready["fields"][name].as_str().unwrap().to_owned();
        (served.tcp, served.http, served.admin) = (door("tcp"), door("http"), door("admin"));
        served
    }

    /// Waits for a log line with `text` among those that come from now on.
    pub fn wait_for(&mut self, text: &str) -> String {
        loop {
            let told = self.told.recv_timeout(PATIENCE);
            let line = told.unwrap_or_else(|_| panic!("no `{text}` in {:#?}", self.messages));
            self.messages.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The log lines so far with `text`.
    pub fn lines_with(&mut self, text: &str) -> Vec<&String> {
        self.messages.extend(self.told.try_iter());
        self.messages.iter().filter(|line| line.contains(text)).collect()
    }

    pub fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }

    /// Sends SIGTERM, and returns everything that it logged.
    pub fn stop(mut self) -> String {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success());
        self.messages.extend(self.told.iter());
        self.messages.join("\n")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a client command. Returns its stdout, or its stderr if it failed.
pub fn client(arguments: &[&str]) -> Result<String, String> {
    let output = chatshard().args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Runs `chatshard call` at a door with a token.
pub fn call(addr: &str, token: &str, command: &str, json: &str) -> Result<String, String> {
    client(&["call", command, json, "--addr", addr, "--token", token])
}

/// Waits until a condition holds that only the server can bring about.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Replaces a file at once, as a careful operator does.
pub fn replace(path: &Path, text: &str) {
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.persist(path).unwrap();
}
