//! Cuts of the network between clients, nodes and the engine's members: one way or both, slow and
//! lossy links, groups that do not see each other.
//!
//! Writers and readers go on all the time, and check each reply: [`clients`]. A case begins when all
//! is well, cuts, asserts what holds meanwhile, heals, and waits until all is well again without
//! help. `CHATSHARD_NETWORK_ROUNDS` plays every case so many times; the short form plays some once.

mod clients;
mod wires;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chatshard::client::Connection;
use chatshard::command::cluster::{Cluster, ClusterMember};
use chatshard::command::{Command, Reply};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use self::clients::{Clients, Seen, options};
use self::wires::{CLIENT, Network, isolated};
use super::common::program::chatshard;
use super::engine::{Engine, MEMBERS, Seat};
use super::process::{PATIENCE, Server, run};
use super::{NODES, variable};

const TOKEN: &str = "secret";
const ENGINE: [&str; MEMBERS] = ["engine0", "engine1", "engine2"];
const NODE: [&str; NODES] = ["node0", "node1", "node2"];
const ADMIN_PORT: u16 = 7790;
const WRITERS: usize = 3;
/// Acknowledged writes before a cut, and behind the time at which all is well.
const WRITES: u64 = 30;
/// How long a cut lasts: longer than an election of the engine, a claim, and the stall of an append.
const HOLD: Duration = Duration::from_secs(7);
/// While most of the machines see each other, writes go on after an election of the engine and a
/// claim: 6 s, and the rest for a busy machine.
const GAP_MAX: Duration = Duration::from_secs(20);
/// Longest time until all is well, behind a cut.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// A node without the engine is not ready after `serve` of the engine's profile, and a look.
const READY_MAX: Duration = Duration::from_secs(5);
const FLAP: Duration = Duration::from_secs(2);
const FLAPS: usize = 5;
const LOOK: Duration = Duration::from_millis(100);
/// A standby reports once a second.
const HEARD_MS_MAX: u64 = 3000;
const LAG_MAX: u64 = 200;

/// Which machines do not see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Case {
    ActiveFromEngine,
    ActiveFromClients,
    ActiveFromStandbys,
    /// What the active sends arrives, and it gets nothing.
    ActiveHearsNothing,
    /// The active gets everything, and nothing that it sends arrives.
    ActiveIsNotHeard,
    /// Two members of the engine, with the active, without its leader before.
    MostWithActive,
    /// One member of the engine with the active.
    FewWithActive,
    /// The engine's leader with the active.
    LeaderWithActive,
    StandbyAlone,
    Everything,
    /// Whoever is the active sees the engine for 2 s and not for 2 s, in turn.
    ActiveFlaps,
    ActiveSlow,
    ActiveLossy,
    StandbySlow,
    StandbyLossy,
    LeaderSlow,
    LeaderLossy,
}

const ALL: [Case; 17] = [
    Case::ActiveFromEngine,
    Case::ActiveFromClients,
    Case::ActiveFromStandbys,
    Case::ActiveHearsNothing,
    Case::ActiveIsNotHeard,
    Case::MostWithActive,
    Case::FewWithActive,
    Case::LeaderWithActive,
    Case::StandbyAlone,
    Case::Everything,
    Case::ActiveFlaps,
    Case::ActiveSlow,
    Case::ActiveLossy,
    Case::StandbySlow,
    Case::StandbyLossy,
    Case::LeaderSlow,
    Case::LeaderLossy,
];
const SHORT: [Case; 4] =
    [Case::ActiveFromEngine, Case::ActiveHearsNothing, Case::FewWithActive, Case::ActiveLossy];

/// Who does what when a case begins.
struct Roles {
    active: usize,
    leader: usize,
}

impl Roles {
    fn active(&self) -> &'static str {
        NODE[self.active]
    }

    fn leader(&self) -> &'static str {
        ENGINE[self.leader]
    }

    fn standbys(&self) -> Vec<&'static str> {
        NODE.into_iter().filter(|node| *node != self.active()).collect()
    }

    fn followers(&self) -> Vec<&'static str> {
        ENGINE.into_iter().filter(|member| *member != self.leader()).collect()
    }
}

impl Case {
    fn begin(self, network: &mut Network, roles: &Roles) {
        let (active, leader) = (roles.active(), roles.leader());
        let (standbys, followers) = (roles.standbys(), roles.followers());
        let everyone = || ENGINE.into_iter().chain(NODE).chain([CLIENT]);
        let all_but = |name: &str| everyone().filter(|other| *other != name).collect::<Vec<_>>();
        let mut divide = |with_active: &[&'static str]| {
            let others: Vec<_> =
                ENGINE.into_iter().filter(|at| !with_active.contains(at)).collect();
            network.cut(&[with_active, &[active]].concat(), &[others, standbys.clone()].concat());
        };
        match self {
            Self::MostWithActive => divide(&followers),
            Self::FewWithActive => divide(&followers[..1]),
            Self::LeaderWithActive => divide(&[leader]),
            Self::ActiveFromEngine | Self::ActiveFlaps => network.cut(&[active], &ENGINE),
            Self::ActiveFromClients => network.cut(&[active], &[CLIENT]),
            Self::ActiveFromStandbys => network.cut(&[active], &standbys),
            Self::ActiveHearsNothing => network.cut_one_way(&all_but(active), &[active]),
            Self::ActiveIsNotHeard => network.cut_one_way(&[active], &all_but(active)),
            Self::StandbyAlone => network.cut(&[standbys[0]], &all_but(standbys[0])),
            Self::Everything => {
                everyone().for_each(|one| network.cut_one_way(&[one], &all_but(one)))
            }
            Self::ActiveSlow => network.slow(active, 200, 0),
            Self::ActiveLossy => network.slow(active, 0, 20),
            Self::StandbySlow => network.slow(standbys[0], 200, 0),
            Self::StandbyLossy => network.slow(standbys[0], 0, 20),
            Self::LeaderSlow => network.slow(leader, 200, 0),
            Self::LeaderLossy => network.slow(leader, 0, 20),
        }
    }

    /// Whether a node, the engine's majority and the clients see each other, with links that are
    /// good enough for the engine.
    const fn lets_writes_go_on(self) -> bool {
        !matches!(self, Self::ActiveFromClients | Self::Everything | Self::LeaderLossy)
    }

    /// Whether clients see the active, and it does not see the engine's majority.
    const fn ends_the_lease(self) -> bool {
        matches!(self, Self::ActiveFromEngine | Self::FewWithActive | Self::LeaderWithActive)
    }
}

/// Three members of the engine and three nodes, each on a machine of its own.
struct World {
    network: Network,
    engine: Engine,
    nodes: Vec<Server>,
    _directory: TempDir,
}

impl World {
    fn start() -> Option<Self> {
        let names: Vec<String> = ENGINE.into_iter().chain(NODE).map(str::to_owned).collect();
        let network = Network::start(&names);
        let seat =
            |name| Seat { host: network.address(name), namespace: Some(Network::namespace(name)) };
        let engine = Engine::at(ENGINE.into_iter().map(seat).collect())?;
        (0..MEMBERS).for_each(|member| engine.wait_healthy(member));
        let journal = engine.address("im");
        let begun = run(&["journal", "init", "--journal", &journal]);
        assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
        let directory = TempDir::new().unwrap();
        let tokens = directory.path().join("tokens");
        std::fs::write(&tokens, format!("full {TOKEN}\n")).unwrap();
        let node = |name: &str| {
            let host = network.address(name);
            let mut command = chatshard();
            command.args(["serve", "--shards", "2", "--pin=false", "--log-format", "json"]);
            command.args(["--http", "off", "--listen", &format!("{host}:0"), "--admin"]);
            command.arg(format!("{host}:{ADMIN_PORT}")).args(["--journal", &journal, "--member"]);
            command.arg(name).arg("--data-dir").arg(directory.path().join(name));
            command.arg("--token-file").arg(&tokens);
            Server::of(Network::on(name, &command))
        };
        let nodes = NODE.into_iter().map(node).collect();
        Some(Self { network, engine, nodes, _directory: directory })
    }

    fn messages(&self) -> String {
        self.nodes.iter().map(Server::messages).collect::<Vec<_>>().join("\n---\n")
    }

    async fn is_ready(&self, node: usize) -> bool {
        let admin = (self.network.address(NODE[node]), ADMIN_PORT).into();
        get(admin, "/readyz").await.is_some_and(|reply| reply.contains(" 200 "))
    }

    /// What a member of the engine replies to a GET.
    async fn of_engine(&self, member: usize, path: &str) -> Result<String, String> {
        let reply = get(self.engine.host(member).parse().unwrap(), path).await;
        reply.ok_or_else(|| format!("{} does not reply", ENGINE[member]))
    }

    /// Waits until all is well: one node is the active, and the others hear from it and keep up.
    async fn wait_well(&self) -> Roles {
        let deadline = Instant::now() + RECOVERY_MAX;
        loop {
            let why = match self.look().await {
                Ok(roles) => return roles,
                Err(why) => why,
            };
            assert!(Instant::now() < deadline, "not well: {why}\n{}", self.messages());
            sleep(LOOK).await;
        }
    }

    /// Who does what, if all is well; else why not.
    async fn look(&self) -> Result<Roles, String> {
        let mut leader = None;
        for (member, name) in ENGINE.into_iter().enumerate() {
            if !self.of_engine(member, "/health").await?.contains(r#""health":"true""#) {
                return Err(format!("{name} is not healthy"));
            }
            if self.of_engine(member, "/metrics").await?.contains("\netcd_server_is_leader 1") {
                leader = Some(member);
            }
        }
        let leader = leader.ok_or("the engine has no leader")?;
        let mut actives = Vec::new();
        for node in 0..NODES {
            if self.is_ready(node).await {
                actives.push(node);
            }
        }
        let [active] = actives[..] else { return Err(format!("actives: {actives:?}")) };
        let address = self.nodes[active].address;
        let members = timeout(Duration::from_secs(2), members(address)).await;
        let members = members.ok().flatten().ok_or("the active does not reply")?;
        let is_well = |member: &ClusterMember| {
            matches!(member.role.as_str(), "active" | "standby")
                && member.heard_ms.unwrap_or(0) <= HEARD_MS_MAX
                && member.lag.unwrap_or(0) <= LAG_MAX
        };
        match members.len() == NODES && members.iter().all(is_well) {
            true => Ok(Roles { active, leader }),
            false => Err(format!("{members:?}")),
        }
    }
}

/// The reply to a plain GET; `None` if there is none within a second.
async fn get(address: SocketAddr, path: &str) -> Option<String> {
    let reply = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        io::Result::Ok(String::from_utf8_lossy(&reply).into_owned())
    };
    timeout(Duration::from_secs(1), reply).await.ok()?.ok()
}

async fn members(address: SocketAddr) -> Option<Vec<ClusterMember>> {
    let mut connection = Connection::connect(address, &options()).await.ok()?.0;
    connection.send(&Command::from(Cluster {})).ok()?;
    connection.flush().await.ok()?;
    match connection.receive().await.ok()?.outcome {
        Ok(Reply::Cluster(reply)) => Some(reply.members),
        _ => None,
    }
}

async fn more_writes(seen: &Seen) {
    let enough = seen.writes() + WRITES;
    let wait = async {
        while seen.writes() < enough {
            sleep(LOOK).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

/// What a case did to clients.
struct Figures {
    /// The longest time without an acknowledged write.
    gap: Duration,
    /// From the end of the cut until all was well.
    recovery: Duration,
}

async fn play(case: Case, world: &mut World, seen: &Seen) -> Figures {
    let roles = world.wait_well().await;
    more_writes(seen).await;
    seen.take_longest_gap();
    let begun = Instant::now();
    case.begin(&mut world.network, &roles);
    if case.ends_the_lease() {
        while world.is_ready(roles.active).await {
            assert!(begun.elapsed() < READY_MAX, "{case:?}: ready without the engine");
            sleep(LOOK).await;
        }
    }
    for _ in 0..if case == Case::ActiveFlaps { FLAPS } else { 0 } {
        sleep(FLAP).await;
        world.network.heal();
        sleep(FLAP).await;
        for (node, name) in NODE.into_iter().enumerate() {
            if world.is_ready(node).await {
                world.network.cut(&[name], &ENGINE);
            }
        }
    }
    if case.lets_writes_go_on() {
        sleep(HOLD.saturating_sub(begun.elapsed())).await;
        more_writes(seen).await;
    } else {
        sleep(HOLD).await;
    }
    world.network.heal();
    let healed = Instant::now();
    world.wait_well().await;
    let recovery = healed.elapsed();
    more_writes(seen).await;
    let gap = seen.take_longest_gap();
    println!(
        "{case:?}: {} writes, at most {gap:.1?} between two; all is well {recovery:.1?} later",
        seen.writes()
    );
    assert!(!case.lets_writes_go_on() || gap < GAP_MAX, "{case:?}: {gap:?}\n{}", world.messages());
    Figures { gap, recovery }
}

async fn play_all(cases: &[Case], rounds: u64) {
    let Some(mut world) = World::start() else { return };
    world.wait_well().await;
    let addresses: Vec<SocketAddr> = world.nodes.iter().map(|node| node.address).collect();
    let clients = Clients::start(WRITERS, &addresses).await;
    let mut figures: BTreeMap<Case, Vec<Figures>> = BTreeMap::new();
    for _ in 0..rounds {
        for case in cases {
            let found = play(*case, &mut world, &clients.seen).await;
            figures.entry(*case).or_default().push(found);
        }
    }
    let seen = clients.end().await;
    println!(
        "{} writes, each there once and in order; {} reads served and {} refused",
        seen.writes(),
        seen.served.get(),
        seen.refused.get()
    );
    for (case, figures) in figures {
        let most = |of: fn(&Figures) -> Duration| figures.iter().map(of).max().unwrap();
        let (gap, recovery) = (most(|figures| figures.gap), most(|figures| figures.recovery));
        println!(
            "{case:?}, {} times: {gap:.1?} without a write, {recovery:.1?} until all is well",
            figures.len()
        );
    }
}

#[test]
fn cuts_of_the_network_lose_and_double_nothing() {
    let rounds = variable("CHATSHARD_NETWORK_ROUNDS");
    isolated("network::cuts_of_the_network_lose_and_double_nothing", rounds.is_some(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let cases = if rounds.is_some() { &ALL[..] } else { &SHORT[..] };
        runtime.block_on(LocalSet::new().run_until(play_all(cases, rounds.unwrap_or(1))));
    });
}
