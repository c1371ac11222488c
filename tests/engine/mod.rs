//! An etcd of three members, for tests: start, stop, kill, pause. They are on loopback, or each in a
//! network namespace of its own.
//!
//! `just engine` brings the program. Without it these tests say loudly that nothing was tested, and
//! fail where `CI` is set.
//!
//! Invariants:
//! - No member outlives the value that stands for it.
//! - Waiting ends with an event or with [`PATIENCE`].

// Each test crate uses its own part of this.
#![allow(dead_code)]

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest time of any step.
const PATIENCE: Duration = Duration::from_secs(60);
/// Members of an engine.
pub const MEMBERS: usize = 3;

/// Where a member runs.
#[derive(Clone)]
pub struct Seat {
    /// The address that it listens on.
    pub host: Ipv4Addr,
    /// Its network namespace; `None` for that of the test.
    pub namespace: Option<PathBuf>,
}

/// Three members, which end with this value.
pub struct Engine {
    directory: TempDir,
    seats: Vec<Seat>,
    clients: Vec<u16>,
    peers: Vec<u16>,
    /// Variables of `tests/cluster/member`.
    variables: Vec<(&'static str, OsString)>,
    members: RefCell<Vec<Option<Child>>>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn program() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let beside = target.unwrap_or_else(|| root().join("target")).join("engine/etcd");
    std::env::var_os("CHATSHARD_ENGINE").map_or(beside, PathBuf::from)
}

/// Ports that are free now, all different.
fn free_ports(count: usize) -> Vec<u16> {
    let listen = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listeners: Vec<TcpListener> = (0..count).map(listen).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

impl Engine {
    /// Starts three members; `None` if the program is missing on a machine that may miss it.
    pub fn start() -> Option<Self> {
        let engine = Self::begin_with(Vec::new())?;
        (0..MEMBERS).for_each(|member| engine.wait_healthy(member));
        Some(engine)
    }

    /// Like [`Engine::start`], with so many bytes of space instead of those that a journal needs.
    pub fn with_quota(bytes: u64) -> Option<Self> {
        Self::begin_with(vec![("CHATSHARD_ENGINE_QUOTA", bytes.to_string().into())])
    }

    /// Members that speak TLS, with the files in a directory; they may not be ready yet.
    pub fn with_tls(files: &Path) -> Option<Self> {
        Self::begin_with(vec![("CHATSHARD_ENGINE_TLS", files.into())])
    }

    /// Members in these places; they may not be ready yet.
    pub fn at(seats: Vec<Seat>) -> Option<Self> {
        Self::begin_at(seats, Vec::new())
    }

    fn begin_with(variables: Vec<(&'static str, OsString)>) -> Option<Self> {
        let loopback = Seat { host: Ipv4Addr::LOCALHOST, namespace: None };
        Self::begin_at(vec![loopback; MEMBERS], variables)
    }

    fn begin_at(seats: Vec<Seat>, variables: Vec<(&'static str, OsString)>) -> Option<Self> {
        if !program().exists() {
            let missing = "NOT TESTED: there is no etcd. `just engine` brings it.";
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            eprintln!("\n{missing}\n");
            return None;
        }
        let ports = free_ports(2 * MEMBERS);
        let (clients, peers) = ports.split_at(MEMBERS);
        let engine = Self {
            directory: TempDir::new().unwrap(),
            seats,
            clients: clients.to_vec(),
            peers: peers.to_vec(),
            variables,
            members: RefCell::new((0..MEMBERS).map(|_| None).collect()),
        };
        (0..MEMBERS).for_each(|member| engine.begin(member));
        Some(engine)
    }

    /// Where a journal of this name is.
    pub fn address(&self, name: &str) -> String {
        format!("etcd://{}/{name}", self.hosts().join(","))
    }

    /// `host:port` of each member.
    pub fn hosts(&self) -> Vec<String> {
        (0..MEMBERS).map(|member| self.host(member)).collect()
    }

    /// `host:port` of a member.
    pub fn host(&self, member: usize) -> String {
        self.client(member).to_string()
    }

    fn client(&self, member: usize) -> SocketAddr {
        (self.seats[member].host, self.clients[member]).into()
    }

    /// Starts a member that is not running.
    pub fn begin(&self, member: usize) {
        let ports =
            |ports: &[u16]| ports.iter().map(u16::to_string).collect::<Vec<String>>().join(",");
        let program_of_member = root().join("tests/cluster/member");
        let mut command = match &self.seats[member].namespace {
            None => Command::new(program_of_member),
            Some(namespace) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", namespace.display())).arg(program_of_member);
                command
            }
        };
        let hosts: Vec<String> = self.seats.iter().map(|seat| seat.host.to_string()).collect();
        command.env("CHATSHARD_ENGINE_HOSTS", hosts.join(","));
        command.arg(self.directory.path()).arg(member.to_string());
        command.arg(ports(&self.clients)).arg(ports(&self.peers));
        command.env("CHATSHARD_ENGINE", program());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let messages = self.directory.path().join(format!("member{member}.log"));
        let messages = std::fs::File::options().create(true).append(true).open(messages).unwrap();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(messages);
        let before = self.members.borrow_mut()[member].replace(command.spawn().unwrap());
        assert!(before.is_none(), "member {member} runs already");
    }

    /// Waits until a member has a leader and can serve.
    pub fn wait_healthy(&self, member: usize) {
        let deadline = Instant::now() + PATIENCE;
        while !self.get(member, "/health").is_some_and(|told| told.contains(r#""health":"true""#)) {
            assert!(Instant::now() < deadline, "member {member}:\n{}", self.messages(member));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL.
    pub fn kill(&self, member: usize) {
        let running = self.members.borrow_mut()[member].take();
        let mut child = running.unwrap_or_else(|| panic!("member {member} does not run"));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGKILL, and a start, without waiting.
    pub fn kill_and_begin(&self, member: usize) {
        self.kill(member);
        self.begin(member);
    }

    /// Stops a member, or lets it go on.
    pub fn signal(&self, member: usize, signal: Signal) {
        let members = self.members.borrow();
        let child = members[member].as_ref().unwrap();
        kill_process(Pid::from_child(child), signal).unwrap();
    }

    /// The member that leads the others.
    pub fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let leads = |member: &usize| {
            let told = self.get(*member, "/metrics");
            told.is_some_and(|told| told.contains("\netcd_server_is_leader 1"))
        };
        loop {
            if let Some(leader) = (0..MEMBERS).find(leads) {
                return leader;
            }
            assert!(Instant::now() < deadline, "no member leads");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn messages(&self, member: usize) -> String {
        let path = self.directory.path().join(format!("member{member}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    /// What a member replies to a plain GET; `None` if it does not.
    fn get(&self, member: usize, path: &str) -> Option<String> {
        let mut stream =
            TcpStream::connect_timeout(&self.client(member), Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut told = Vec::new();
        // What came before a timeout may tell enough.
        let _ = stream.read_to_end(&mut told);
        Some(String::from_utf8_lossy(&told).into_owned())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for child in self.members.borrow_mut().iter_mut().flatten() {
            // An error means that it has ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }
}
