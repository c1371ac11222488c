//! The active gives its place away on purpose: to whom, with which errors, and without a request
//! whose outcome is unknown.

use std::time::{Duration, Instant};

use chatshard::client::{ClientOptions, ClusterClient};
use chatshard::command::{Call, Command, Error, ErrorCode, Kind, Reply};
use chatshard::journal::entry::{ControlBody, JournalEntry};
use serde_json::{Value, json};
use tokio::sync::oneshot::error::TryRecvError;

use super::cluster::{Cluster, Member, until};
use super::failover::{advance, create, last_sequence};
use super::history::Client;
use super::world::{Asked, Fault, MEMBERS, World, quiet};

/// Steps between two handovers, about.
const PAUSE: u64 = 1500;

/// Asks for handovers, to a member or to any, of whoever is the active.
#[derive(Default)]
pub struct Operator {
    open: Option<Asked>,
    /// Handovers with a reply.
    pub done: u64,
    /// Those that may or may not have happened.
    unknown: u64,
}

impl Operator {
    pub fn turn(&mut self, world: &mut World, at: usize) {
        match self.open.take() {
            Some(mut asked) => match asked.try_recv() {
                Err(TryRecvError::Empty) => self.open = Some(asked),
                Ok(Ok(_)) => self.done += 1,
                Ok(Err(error)) => self.unknown += u64::from(error.is_outcome_unknown()),
                Err(TryRecvError::Closed) => self.unknown += 1,
            },
            None if world.one_in(PAUSE / 3) => {
                let to = usize::try_from(world.random.below(MEMBERS as u64 + 1)).unwrap();
                let to = (to < MEMBERS).then(|| format!("m{to}"));
                self.open = world.ask(at, Kind::Handover, json!({"to": to}));
            }
            None => {}
        }
    }
}

/// Who released the journal, whom the release names, and who claimed next, in order.
fn handovers(world: &World) -> Vec<(String, Option<String>, String)> {
    let (mut active, mut released, mut found) = (String::new(), None, Vec::new());
    for entry in world.server.engine.history() {
        let entry = JournalEntry::decode(&entry.bytes).unwrap();
        match ControlBody::decode(entry.header.kind, entry.body).unwrap() {
            Some(ControlBody::Release(to)) => released = Some(to),
            Some(ControlBody::Claim(facts)) => {
                if let Some(to) = released.take() {
                    found.push((active, to, facts.member.clone()));
                }
                active = facts.member;
            }
            _ => {}
        }
    }
    found
}

/// Three members on a network without faults, with clients that write, and many handovers.
pub fn hand_over_often(seed: u64) -> Result<u64, Fault> {
    hand_over_in(quiet(seed))
}

/// Like [`hand_over_often`], in this world.
pub fn hand_over_in(mut world: World) -> Result<u64, Fault> {
    let mut clients: Vec<Client> = (0..3).map(Client::new).collect();
    let mut operator = Operator::default();
    for _ in 0..20_000 {
        world.step()?;
        let client = usize::try_from(world.random.below(3)).unwrap();
        let at = usize::try_from(world.random.below(MEMBERS as u64)).unwrap();
        clients[client].turn(&mut world, at)?;
        operator.turn(&mut world, at);
    }
    let unknown: u64 = clients.iter().map(|client| client.unknown).sum();
    let replied: u64 = clients.iter().map(|client| client.replied).sum();
    if unknown > 0 || operator.unknown > 0 {
        return Err(format!("{unknown} writes, {} handovers are unknown", operator.unknown));
    }
    assert!(replied > 200, "{replied} replies");
    let found = handovers(&world);
    assert!(found.len() as u64 + 1 >= operator.done, "{found:?}");
    for (from, to, next) in found {
        if to.as_ref().is_some_and(|to| *to != next) || next == from {
            return Err(format!("{from} handed over to {to:?}, and {next} claimed"));
        }
    }
    Ok(operator.done)
}

#[test]
fn handovers_under_load_leave_no_outcome_unknown_and_go_where_they_should() {
    let mut done = 0;
    for seed in 0..12 {
        done += hand_over_often(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    println!("{done} handovers");
    assert!(done > 60, "{done} handovers");
}

async fn hand_over(from: &Member, arguments: Value) -> Result<Reply, Error> {
    from.ask(Kind::Handover, arguments).await
}

/// Waits until the active has heard of so many others.
pub async fn until_known(active: &Member, others: usize) {
    let knows = async || {
        let Ok(Reply::Cluster(reply)) = active.ask(Kind::Cluster, json!({})).await else {
            return false;
        };
        let standbys = reply.members.iter().filter(|member| member.role == "standby");
        standbys.count() == others
    };
    until("the standbys to report", knows).await;
}

#[tokio::test]
async fn a_handover_leads_to_the_named_standby_and_clients_follow() {
    let cluster = Cluster::start();
    let first = cluster.member(1);
    first.until_active().await;
    let (second, third) = (cluster.member(2), cluster.member(3));
    create(&first, "c").await;
    until_known(&first, 2).await;

    let addresses = [first.tcp(), second.tcp(), third.tcp()];
    let client = ClusterClient::connect(addresses, ClientOptions::default()).await.unwrap();
    let (stop, mut stopped) = tokio::sync::oneshot::channel::<()>();
    // Writes without a key: none is repeated unless it was surely not applied.
    let load = tokio::spawn(async move {
        let (mut writes, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
        while stopped.try_recv().is_err() {
            let allocate = json!({"chat_id": "c", "allocate": 1});
            let write = Command::from_json(Kind::Advance, allocate).unwrap();
            client.call(write).await.unwrap();
            (writes, longest) = (writes + 1, longest.max(last.elapsed()));
            last = Instant::now();
        }
        (writes, longest)
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let reply = hand_over(&first, json!({"to": "m3"})).await;
    let Ok(Reply::Handover(reply)) = reply else { panic!("{reply:?}") };
    assert!(reply.epoch == 1 && reply.last_lsn > 0, "{reply:?}");
    third.until_active().await;
    assert_eq!(third.client().await.hello().epoch, 2);
    until("the first one to be a standby", async || first.role().await == "standby").await;

    until_known(&third, 2).await;
    hand_over(&third, json!({})).await.unwrap();
    let is_next = async |member: &Member| member.role().await == "active";
    until("another active", async || is_next(&first).await || is_next(&second).await).await;
    stop.send(()).unwrap();
    let (writes, longest) = load.await.unwrap();
    println!("{writes} writes; at most {longest:?} between two of them");
    let next = if is_next(&first).await { &first } else { &second };
    next.until_active().await;
    assert_eq!(last_sequence(next, "c").await, writes);
}

#[tokio::test]
async fn a_handover_that_cannot_be_changes_nothing() {
    let cluster = Cluster::start();
    let first = cluster.member(1);
    first.until_active().await;
    let code = async |of: &Member, arguments| match hand_over(of, arguments).await {
        Ok(reply) => panic!("{reply:?}"),
        Err(error) => (error.code, error.message.into_owned()),
    };
    let (refused, why) = code(&first, json!({})).await;
    assert_eq!(refused, ErrorCode::Unavailable);
    assert_eq!(why, "not applied: no standby can take over now");
    create(&first, "c").await;

    let second = cluster.member(2);
    until_known(&first, 1).await;
    for (to, told) in [("m9", "no member with the name m9"), ("m1", "is the active already")] {
        let (refused, why) = code(&first, json!({"to": to})).await;
        assert_eq!(refused, ErrorCode::InvalidArgument);
        assert!(why.contains(told), "{why}");
    }
    assert_eq!(code(&second, json!({})).await.0, ErrorCode::Moved);
    let (refused, why) = code(&first, json!({"epoch": 7})).await;
    assert_eq!(
        (refused, why.as_str()),
        (ErrorCode::Conflict, "epoch: the newest claim has 1, and not 7")
    );
    for (to, refused) in
        [(String::new(), ErrorCode::InvalidArgument), ("m".repeat(256), ErrorCode::TooLarge)]
    {
        let error = Command::from_json(Kind::Handover, json!({"to": to})).unwrap_err();
        assert_eq!(error.code, refused);
    }
    second.stop();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(code(&first, json!({"to": "m2"})).await.0, ErrorCode::Unavailable);
    advance(&first, "c", 3).await;
    assert_eq!((last_sequence(&first, "c").await, first.client().await.hello().epoch), (3, 1));
}
