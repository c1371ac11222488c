//! Real `chatshard` processes for tests: start, wait until ready, stop, kill.
//!
//! Invariants:
//! - No process outlives the value that stands for it.
//! - The system chooses the ports; the server reports them when it is ready.
//! - Waiting ends with an event or with [`PATIENCE`], which no healthy run comes near.

// Each test crate uses its own part of this.
#![allow(dead_code)]

pub mod check;
pub mod ledger;
pub mod load;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};

pub use crate::common::program::chatshard;

/// Longest time of any step. Beyond it the process counts as stuck.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A process that was started as a server, and may not be ready yet.
pub struct Starting {
    child: Child,
    ready: Receiver<SocketAddr>,
    messages: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

/// A server that is ready.
pub struct Server {
    starting: Starting,
    /// Address of its TCP door.
    pub address: SocketAddr,
}

/// A process that ended before it was ready.
pub struct Refused {
    /// Its exit status.
    pub status: ExitStatus,
    /// Everything that it wrote to stderr.
    pub messages: String,
}

/// The command that serves `dir`, with only the TCP door.
pub fn serve(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = chatshard();
    command.args(["serve", "--listen", "127.0.0.1:0", "--http", "off", "--admin", "off"]);
    command.args(["--log-format", "json", "--pin=false", "--data-dir"]).arg(dir).args(arguments);
    command
}

/// Runs a command of this build to its end.
pub fn run(arguments: &[&str]) -> Output {
    chatshard().args(arguments).stdin(Stdio::null()).output().unwrap()
}

impl Starting {
    /// Starts a server on `dir`, with only the TCP door.
    pub fn new(dir: &Path, arguments: &[&str]) -> Self {
        Self::of(serve(dir, arguments))
    }

    /// Starts a server with this command.
    pub fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, ready) = channel();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&messages);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = address_when_ready(&line) {
                    let _ = sender.send(address);
                }
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, ready, messages, reader: Some(reader) }
    }

    /// Waits until it is ready, or has ended.
    pub fn ready(self) -> Result<Server, Refused> {
        match self.ready.recv_timeout(PATIENCE) {
            Ok(address) => Ok(Server { starting: self, address }),
            Err(RecvTimeoutError::Disconnected) => {
                let mut starting = self;
                let status = starting.wait();
                Err(Refused { status, messages: starting.messages() })
            }
            Err(RecvTimeoutError::Timeout) => {
                panic!("the server does not get ready:\n{}", self.messages())
            }
        }
    }

    /// Everything that it wrote to stderr so far.
    pub fn messages(&self) -> String {
        self.messages.lock().unwrap().join("\n")
    }

    /// SIGKILL: no handler runs and nothing is flushed.
    pub fn kill(&mut self) {
        // An error means that it has ended already.
        drop(self.child.kill());
        self.child.wait().unwrap();
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reader) = self.reader.take() {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(Instant::now() < deadline, "the server does not end:\n{}", self.messages());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// Starts a server on `dir` and waits until it is ready.
    pub fn start(dir: &Path, arguments: &[&str]) -> Self {
        Self::of(serve(dir, arguments))
    }

    /// Starts a server with this command and waits until it is ready.
    pub fn of(command: Command) -> Self {
        match Starting::of(command).ready() {
            Ok(server) => server,
            Err(Refused { status, messages }) => {
                panic!("the server did not start ({status}):\n{messages}")
            }
        }
    }

    /// The process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.starting.child)
    }

    /// Memory of the process in bytes, as the system reports it: `VmRSS` or `VmHWM`.
    pub fn memory(&self, figure: &str) -> u64 {
        let path = format!("/proc/{}/status", self.starting.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(figure)).unwrap();
        let kib = line.trim_start_matches(':').split_whitespace().next().unwrap();
        kib.parse::<u64>().unwrap() * 1024
    }

    /// Everything that it wrote to stderr so far.
    pub fn messages(&self) -> String {
        self.starting.messages()
    }

    /// SIGKILL: no handler runs and nothing is flushed.
    pub fn kill(&mut self) {
        self.starting.kill();
    }

    /// Sends SIGTERM without waiting for the end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends any signal without waiting, such as SIGSTOP or SIGCONT.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.starting.wait()
    }
}

/// The TCP door's address, if this is the line that reports it.
fn address_when_ready(line: &str) -> Option<SocketAddr> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let fields = message.get("fields")?;
    (fields.get("message")? == "ready").then(|| fields.get("tcp")?.as_str()?.parse().ok()).flatten()
}

/// Random numbers that are equal on every machine: SplitMix64 (Steele, Lea, Flood 2014).
pub struct Random(pub u64);

impl Random {
    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is above 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A random item of `from`; `None` if it is empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(from.len()).unwrap();
        (count > 0).then(|| &from[usize::try_from(self.below(count)).unwrap()])
    }
}
