//! Several members in this process, each with threads of its own, and the engine that they share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chatshard::client::{Client, ClientOptions};
use chatshard::command::{Call, Command, Error, Kind, Reply};
use chatshard::config::{Config, EngineAddress, JournalConfig, read_tokens};
use chatshard::journal::base::JournalBase;
use chatshard::journal::client::EngineClient;
use chatshard::journal::engine::{
    Condition, EngineProfile, EngineReply, EngineRequest, LeaseTimes,
};
use chatshard::journal::kept::TrimLimits;
use chatshard::journal::sim::{SimEngine, SimFaults};
use chatshard::journal::sim_server::SimServer;
use chatshard::node::genesis;
use chatshard::node::identity::Identity;
use chatshard::node::journal_end::{JournalEnd, read_to_end};
use chatshard::server::{self, Addresses};
use chatshard::types::ShardCount;
use serde_json::Value;
use snapshot::Lsn;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;

/// No step takes this long unless something is stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);
const TURN: Duration = Duration::from_millis(1);
pub const NOBODY: u32 = 99;

/// Times of a fifth of those that fit a real engine.
pub fn profile() -> EngineProfile {
    let ms = Duration::from_millis;
    EngineProfile {
        condition: Condition::Checked,
        entry_bytes_max: 64 << 10,
        queue_bytes_max: 4 << 20,
        endpoints: 3,
        times: LeaseTimes { beat: ms(100), serve: ms(600), claim: ms(900) },
        retry: ms(200),
        stall: ms(700),
    }
}

/// The engine, which has turns on a thread of its own.
pub struct Cluster {
    pub server: Arc<Mutex<SimServer>>,
    files: TempDir,
    trim: TrimLimits,
    ended: Arc<AtomicBool>,
    turning: Option<JoinHandle<()>>,
}

/// A member that runs.
pub struct Member {
    pub addresses: Addresses,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Cluster {
    /// An engine with a journal that has begun.
    pub fn start() -> Self {
        Self::keeping(TrimLimits::default())
    }

    /// Like [`Cluster::start`], with members that keep so much of the journal.
    pub fn keeping(trim: TrimLimits) -> Self {
        let cluster = Self::without_journal(trim);
        cluster.begin(&Identity::draw(&cluster.path("journal")).unwrap(), Lsn(1));
        cluster
    }

    /// An engine whose journal has not begun.
    pub fn without_journal(trim: TrimLimits) -> Self {
        let faults = SimFaults { delay: Duration::from_millis(2), ..SimFaults::default() };
        let engine = SimEngine::new(1, Condition::Checked, 3, faults);
        let server = Arc::new(Mutex::new(SimServer::new(engine)));
        let (ended, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let turning = {
            let (server, ended) = (Arc::clone(&server), Arc::clone(&ended));
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    server.lock().unwrap().turn(began.elapsed());
                    std::thread::sleep(TURN);
                }
            })
        };
        let files = tempfile::tempdir().unwrap();
        Self { server, files, trim, ended, turning: Some(turning) }
    }

    /// Begins the journal with this record.
    pub fn begin(&self, identity: &Identity, first: Lsn) {
        genesis::begin(&self.client(NOBODY), identity, first, 1).unwrap();
    }

    /// A client of the engine for this node number.
    pub fn client(&self, node: u32) -> EngineClient {
        self.server.lock().unwrap().connect(node, profile())
    }

    /// Trims all entries but the newest ones, as an active does.
    pub async fn trim(&self) {
        let client = self.client(NOBODY);
        let port = client.port();
        let origin = genesis::read_origin(&client).unwrap();
        let JournalEnd { reader, active } = read_to_end(&client, origin.journal).unwrap();
        let place = reader.boundary().unwrap();
        // A beat comes behind it: the newest entry is never trimmed.
        until("a beat", async || self.server.lock().unwrap().engine.tail() > place.seq).await;
        let epoch = active.epoch;
        let base = JournalBase { place, active }.encode(origin.journal).unwrap();
        let trim = EngineRequest::Trim { epoch, upto: place.seq, base };
        assert_eq!(genesis::ask(&port, 1, trim), Some(EngineReply::Trimmed));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// Starts a member with its own directory, which it may have had before.
    pub fn member(&self, number: u32) -> Member {
        self.named(number, &format!("m{number}"))
    }

    /// Like [`Cluster::member`], with another name than its own.
    pub fn named(&self, number: u32, name: &str) -> Member {
        Member::start(self.config(number, name))
    }

    /// Like [`Cluster::member`], with this full token at its doors.
    pub fn guarded(&self, number: u32, token: &str) -> Member {
        let file = self.path(&format!("tokens-{number}"));
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let mut config = self.config(number, &format!("m{number}"));
        (config.tokens, config.token_file) = (read_tokens(&file).unwrap(), Some(file));
        Member::start(config)
    }

    /// Like [`Cluster::member`], with replies that wait for appends.
    pub fn confirming(&self, number: u32) -> Member {
        let mut config = self.config(number, &format!("m{number}"));
        config.journal.as_mut().unwrap().confirms_reads = true;
        Member::start(config)
    }

    pub fn config(&self, number: u32, name: &str) -> Config {
        let mut config = Config::ephemeral(self.path(&format!("member-{number}")));
        config.shards = ShardCount::new(2).unwrap();
        config.journal = Some(JournalConfig {
            engine: EngineAddress::Given(self.client(number)),
            member: Some(name.to_owned()),
            advertise: None,
            advertise_admin: None,
            beat: None,
            serve: None,
            claim: None,
            member_tls_ca: None,
            confirms_reads: false,
            trim: self.trim,
        });
        config
    }

    /// Starts a node without a journal.
    pub fn alone(&self, name: &str) -> Member {
        Member::start(Config::ephemeral(self.path(name)))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(self.turning.take().unwrap().join());
    }
}

impl Member {
    fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (sender, ready) = channel();
        let thread = std::thread::spawn(move || {
            let stop = || async { drop(stopped.await) };
            let on_ready = move |addresses: &Addresses| drop(sender.send(addresses.clone()));
            server::run_until(config, stop, on_ready).unwrap();
        });
        let addresses = ready.recv_timeout(PATIENCE).unwrap();
        Self { addresses, stop: Some(stop), thread: Some(thread) }
    }

    pub fn tcp(&self) -> String {
        self.addresses.tcp.to_string()
    }

    /// Stops the member cleanly.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.tcp(), ClientOptions::default()).await.unwrap()
    }

    /// The role that `hello` tells; empty while the member recovers.
    pub async fn role(&self) -> String {
        let client = Client::connect(&self.tcp(), ClientOptions::default()).await;
        client.map_or_else(|_| String::new(), |client| client.hello().role.clone())
    }

    /// What `/readyz` replies.
    pub async fn readiness(&self) -> String {
        self.get("/readyz").await
    }

    /// The reply of the admin listener, with its head.
    pub async fn get(&self, path: &str) -> String {
        let admin = self.addresses.admin.as_ref().unwrap().to_string();
        let mut stream = tokio::net::TcpStream::connect(&admin).await.unwrap();
        let head = "HTTP/1.1\r\nhost: localhost\r\nconnection: close";
        stream.write_all(format!("GET {path} {head}\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// Sends one request on a connection of its own.
    pub async fn ask(&self, kind: Kind, arguments: Value) -> Result<Reply, Error> {
        self.client().await.call(Command::from_json(kind, arguments).unwrap()).await
    }

    /// Waits until the member is the active and may reply.
    pub async fn until_active(&self) {
        let is_active = async || match Client::connect(&self.tcp(), ClientOptions::default()).await
        {
            Ok(client) => {
                let list = serde_json::json!({"user_id": "nobody"});
                client.call(Command::from_json(Kind::List, list).unwrap()).await.is_ok()
            }
            Err(_) => false,
        };
        until("a member to be the active", is_active).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// Waits until it is so.
pub async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what} does not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
