//! Members of a journal as real processes, on a real etcd of three members: whatever is killed or
//! stands still, every acknowledged write is there afterwards, once.
//!
//! `CHATSHARD_CLUSTER_ROUNDS` sets the number of rounds, and draws a new load. A load can be played
//! again, as far as the machine's timing allows: `CHATSHARD_CLUSTER_SEED=7 cargo test ...`.
#![cfg(feature = "journal-etcd")]
// Helpers beside the tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../engine/mod.rs"]
mod engine;
mod handover;
mod network;
#[path = "../process/mod.rs"]
mod process;
mod refill;
mod standbys;
mod starts;
mod trims;

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use chatshard::client::{ClientOptions, Connection};
use chatshard::command::list::List;
use chatshard::command::watch::Watch;
use chatshard::command::{Command, Error, ErrorCode, Outcome};
use chatshard::types::UserId;
use engine::{Engine, MEMBERS};
use process::check::check;
use process::load::Load;
use process::{PATIENCE, Server, Signal, run, serve};
use tempfile::TempDir;
use tokio::task::LocalSet;

const NODES: usize = 3;
/// Acknowledged writes of a round before something happens to it.
const WRITES: u64 = 300;

/// Three nodes on one engine.
struct Cluster {
    nodes: Vec<Option<Server>>,
    directory: TempDir,
    engine: Engine,
}

/// An engine with a journal of this name that has begun.
fn engine_with(journal: &str) -> Option<Engine> {
    let engine = Engine::start()?;
    let begun = run(&["journal", "init", "--journal", &engine.address(journal)]);
    assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
    Some(engine)
}

/// Starts a node that is a member of the journal, with these further arguments. Its data is in a
/// directory of its own within `directory`.
fn begin_node(journal: &str, directory: &TempDir, node: usize, further: &[&str]) -> Server {
    let member = format!("node{node}");
    let arguments = ["--shards", "2", "--journal", journal, "--member", &member];
    let mut command = serve(&directory.path().join(&member), &arguments);
    command.args(further);
    Server::of(command)
}

impl Cluster {
    fn start() -> Option<Self> {
        let (engine, directory) = (engine_with("im")?, TempDir::new().unwrap());
        let mut cluster = Self { nodes: (0..NODES).map(|_| None).collect(), directory, engine };
        (0..NODES).for_each(|node| cluster.begin(node));
        Some(cluster)
    }

    /// Starts a node that is not running.
    fn begin(&mut self, node: usize) {
        let journal = self.engine.address("im");
        self.nodes[node] = Some(begin_node(&journal, &self.directory, node, &[]));
    }

    fn node(&self, node: usize) -> &Server {
        self.nodes[node].as_ref().unwrap()
    }

    fn kill(&mut self, node: usize) {
        self.nodes[node].take().unwrap().kill();
    }

    /// Waits until a node other than `but` serves as the active.
    async fn active_but(&self, but: Option<usize>) -> usize {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for node in (0..NODES).filter(|node| Some(*node) != but) {
                let Some(server) = &self.nodes[node] else { continue };
                if asked(server.address).await.is_some_and(|outcome| outcome.is_ok()) {
                    return node;
                }
            }
            assert!(Instant::now() < deadline, "no node is the active:\n{}", self.messages());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn messages(&self) -> String {
        let running = self.nodes.iter().flatten();
        running.map(Server::messages).collect::<Vec<_>>().join("\n---\n")
    }
}

/// What a node replies to a read; `None` if it does not reply.
async fn asked(address: SocketAddr) -> Option<Outcome> {
    let soon = Duration::from_secs(1);
    let options = ClientOptions { connect_timeout: soon, ..ClientOptions::default() };
    let (mut connection, _) = Connection::connect(address, &options).await.ok()?;
    ask(&mut connection).await
}

async fn ask(connection: &mut Connection) -> Option<Outcome> {
    let user_id = UserId::new("user-1").unwrap();
    let list: Command = List { user_id, limit: None, cursor: None }.into();
    connection.send(&list).unwrap();
    connection.flush().await.ok()?;
    let reply = tokio::time::timeout(Duration::from_secs(1), connection.receive()).await;
    Some(reply.ok()?.ok()?.outcome)
}

/// What happens to the nodes and the engine while clients write.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// `kill -9` of the active.
    Kill,
    /// The active stands still until another one has taken over, and goes on then.
    Pause,
    /// The engine's leader is killed, and then the active.
    EngineLeader,
    /// The engine has no majority until the active has ended a watch: its watcher must look for
    /// another active.
    EngineMajority,
    /// Everything is killed.
    Everything,
}

const EVENTS: [Event; 5] =
    [Event::Kill, Event::Pause, Event::EngineLeader, Event::EngineMajority, Event::Everything];
/// Without a lease for a claim, watches end: 5 s after the engine's last word. A heartbeat, which
/// would let them look too, comes after 10 s.
const WATCHES_END: Duration = Duration::from_secs(8);
/// No standby claims sooner after an entry: `claim` less `beat` of the engine's profile.
const SILENCE: Duration = Duration::from_millis(2500);

async fn happens(event: Event, cluster: &mut Cluster, active: usize, load: &Load) {
    let enough = || tokio::time::timeout(PATIENCE, load.wait_acknowledged(WRITES));
    enough().await.unwrap();
    match event {
        Event::Kill => cluster.kill(active),
        Event::Pause => pause(cluster, active).await,
        Event::EngineLeader => {
            let leader = cluster.engine.leader();
            let since = Instant::now();
            cluster.engine.kill(leader);
            writes_go_on(cluster, active, load, since).await;
            cluster.engine.begin(leader);
            cluster.engine.wait_healthy(leader);
            cluster.kill(active);
        }
        Event::EngineMajority => {
            let mut watching = watch(cluster.node(active).address).await;
            let members = [0, 1];
            let since = Instant::now();
            members.iter().for_each(|member| cluster.engine.signal(*member, Signal::STOP));
            let ended = tokio::time::timeout(PATIENCE, end_of_watch(&mut watching)).await;
            assert_eq!(ended.unwrap().code, ErrorCode::Unavailable);
            println!("a watch has ended after {:?}", since.elapsed());
            assert!(since.elapsed() < WATCHES_END);
            members.iter().for_each(|member| cluster.engine.signal(*member, Signal::CONT));
            writes_go_on(cluster, active, load, since).await;
            cluster.kill(active);
        }
        Event::Everything => {
            (0..NODES).for_each(|node| cluster.kill(node));
            (0..MEMBERS).for_each(|member| cluster.engine.kill(member));
            (0..MEMBERS).for_each(|member| cluster.engine.begin(member));
            (0..MEMBERS).for_each(|member| cluster.engine.wait_healthy(member));
        }
    }
}

/// A connection with a watch.
async fn watch(address: SocketAddr) -> Connection {
    let mut connection = Connection::connect(address, &ClientOptions::default()).await.unwrap().0;
    connection.send(&Watch { from: None }.into()).unwrap();
    connection.flush().await.unwrap();
    connection
}

/// The last frame of the only watch of a connection.
async fn end_of_watch(connection: &mut Connection) -> Error {
    loop {
        if let Err(error) = connection.receive().await.unwrap().outcome {
            return error;
        }
    }
}

/// Waits until the active has acknowledged more writes. The engine lacks members since `since`. On a
/// slow machine its election may take longer than standbys wait: then another node serves, and the
/// writers' connections are ended.
async fn writes_go_on(cluster: &Cluster, active: usize, load: &Load, since: Instant) {
    let more = load.ledger.borrow().acknowledged + WRITES;
    tokio::select! {
        acknowledged = tokio::time::timeout(PATIENCE, load.wait_acknowledged(more)) => {
            acknowledged.unwrap();
            println!("{WRITES} more writes after {:?}", since.elapsed());
        }
        other = cluster.active_but(Some(active)) => {
            let took = since.elapsed();
            println!("node {other} has replaced node {active} after {took:?}");
            assert!(took >= SILENCE, "a standby claims before the silence is over");
        }
    }
}

/// Stops the active until another one serves. When it goes on, it must serve nothing.
async fn pause(cluster: &Cluster, active: usize) {
    let zombie = cluster.node(active);
    let mut known = Connection::connect(zombie.address, &ClientOptions::default()).await.unwrap().0;
    zombie.signal(Signal::STOP);
    cluster.active_but(Some(active)).await;
    zombie.signal(Signal::CONT);
    let outcome = ask(&mut known).await;
    assert!(!outcome.as_ref().is_some_and(Result::is_ok), "a zombie serves: {outcome:?}");
    let outcome = asked(zombie.address).await;
    assert!(!outcome.as_ref().is_some_and(Result::is_ok), "a zombie serves: {outcome:?}");
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[tokio::test]
async fn every_acknowledged_write_survives() {
    let rounds = variable("CHATSHARD_CLUSTER_ROUNDS");
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = variable("CHATSHARD_CLUSTER_SEED");
    let seed = seed.unwrap_or(if rounds.is_some() { since_epoch.as_secs() } else { 1 });
    println!("to play it again: CHATSHARD_CLUSTER_SEED={seed}");
    let Some(mut cluster) = Cluster::start() else { return };
    let load = Load::new(seed);
    let mut active = cluster.active_but(None).await;
    let rounds = rounds.unwrap_or(EVENTS.len() as u64);
    for (round, event) in (0..rounds).zip(EVENTS.into_iter().cycle()) {
        let address = cluster.node(active).address;
        let written = async {
            let writes = load.write_without_snapshots(address);
            let begun = async {
                happens(event, &mut cluster, active, &load).await;
                Instant::now()
            };
            tokio::join!(writes, begun).1
        };
        // A node that is no longer the active ends the connections.
        let written = tokio::time::timeout(3 * PATIENCE, written);
        let begun = LocalSet::new().run_until(written).await.unwrap();
        let (acknowledged, unknown) = {
            let ledger = load.ledger.borrow();
            (ledger.acknowledged, ledger.open.len())
        };
        for node in 0..NODES {
            let runs = cluster.nodes[node].is_some();
            if !runs && matches!(event, Event::Everything) {
                cluster.begin(node);
            }
        }
        active = cluster.active_but(None).await;
        let took = begun.elapsed();
        let things = check(cluster.node(active).address, &load.ledger).await;
        println!(
            "round {round}, {event:?}: {acknowledged} writes, {unknown} under way; node \
            {active} serves after {took:?}, and {things} chats and rows are right"
        );
        // Each of these events ends by itself.
        let messages = cluster.messages();
        let for_operators = messages.lines().filter(|line| line.contains(" ERROR "));
        assert_eq!(for_operators.collect::<Vec<_>>(), [""; 0], "lines that ask for an operator");
        for node in 0..NODES {
            if cluster.nodes[node].is_none() {
                cluster.begin(node);
            }
        }
    }
}
