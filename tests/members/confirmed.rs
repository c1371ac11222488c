//! Members whose replies wait for an append (`--reads confirmed`): no reply is stale, although
//! machines stand still with their clocks. With the lease alone some replies are.

use std::time::{Duration, Instant};

use chatshard::command::{Call, Command, ErrorCode, Kind, Reply};
use serde_json::json;
use tokio::sync::oneshot::error::TryRecvError;

use super::cluster::{Cluster, Member};
use super::crowds::Crowds;
use super::failover::{advance, create, last_sequence};
use super::handover::hand_over_in;
use super::history::{Client, faults, mishap, rest};
use super::plays::active;
use super::readers::Promises;
use super::world::{Asked, Fault, MEMBERS, World, quiet};
use crate::common::random::Random;

const SEEDS: u64 = 10;
/// Seeds within which a lease gives a stale reply.
const SEEDS_OF_LEASES: u64 = 40;
const STEPS: u64 = 20_000;
const LOOKERS: usize = 6;
/// Longest time for which a machine stands still.
const STILL_MS_MAX: u64 = 1500;

/// A client that reads from whichever member replies to it, one read at a time.
#[derive(Default)]
struct Looker {
    open: Option<Open>,
}

struct Open {
    asked: Asked,
    chat: String,
    /// What any client knew of the chat when the read was sent.
    due: u64,
}

impl Looker {
    /// Sends the next read, or looks for the reply to the last one: its chat, and what it shows.
    fn turn(&mut self, world: &mut World, promises: &Promises) -> Result<Option<u64>, Fault> {
        let Some(open) = &mut self.open else {
            let chat = format!("c{}", world.random.below(3));
            let at = usize::try_from(world.random.below(MEMBERS as u64)).unwrap();
            let due = promises.at(world.now(), &chat);
            let asked = world.ask(at, Kind::Detail, json!({"ids": [chat]}));
            self.open = asked.map(|asked| Open { asked, chat, due });
            return Ok(None);
        };
        let outcome = match open.asked.try_recv() {
            Err(TryRecvError::Empty) => return Ok(None),
            Err(TryRecvError::Closed) => None,
            Ok(outcome) => outcome.ok(),
        };
        let Open { chat, due, .. } = self.open.take().expect("it is open");
        let Some(Reply::Detail(reply)) = outcome else { return Ok(None) };
        let reply = serde_json::to_value(&reply).unwrap();
        let last = reply["items"][0]["last_sequence"].as_u64().unwrap_or(0);
        if last < due {
            return Err(format!("{chat} shows {last}, and {due} was promised before"));
        }
        Ok(Some(last))
    }
}

/// Plays one seed of machines that stand still. Returns how many reads got a reply.
pub fn play(seed: u64, confirms_reads: bool) -> Result<u64, Fault> {
    let mut random = Random::new(seed ^ 0x7374_616e_6473);
    let mut world = World::new(seed, faults(&mut random));
    world.confirms_reads = confirms_reads;
    world.may_be_two = true;
    let mut clients: Vec<Client> = (0..3).map(Client::new).collect();
    let mut lookers: Vec<Looker> = (0..LOOKERS).map(|_| Looker::default()).collect();
    let (mut promises, mut replied) = (Promises::default(), 0);
    for _ in 0..STEPS {
        world.step()?;
        if world.one_in(500) {
            let drawn = usize::try_from(world.random.below(MEMBERS as u64)).unwrap();
            let at = active(&world).unwrap_or(drawn);
            let still = Duration::from_millis(world.random.below(STILL_MS_MAX));
            world.stand_still(at, world.now() + still);
        }
        if world.one_in(4000) {
            mishap(&mut world);
        }
        let client = usize::try_from(world.random.below(3)).unwrap();
        let at = usize::try_from(world.random.below(MEMBERS as u64)).unwrap();
        clients[client].turn(&mut world, at)?;
        let (chat, acked) = clients[client].promised();
        promises.note(world.now(), chat, acked);
        let looker = usize::try_from(world.random.below(LOOKERS as u64)).unwrap();
        let looker = &mut lookers[looker];
        let chat = looker.open.as_ref().map(|open| open.chat.clone());
        if let Some(shown) = looker.turn(&mut world, &promises)? {
            replied += 1;
            // What a read has shown, no later read may lack. A lease does not promise that.
            if confirms_reads {
                promises.note(world.now(), &chat.expect("it was open"), shown);
            }
        }
    }
    rest(&mut world, &mut clients, &Crowds::default())?;
    Ok(replied)
}

#[test]
fn no_confirmed_reply_is_stale_although_clocks_stand_still() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = number("CHATSHARD_CONFIRMED_SEEDS").unwrap_or(SEEDS);
    let mut replied = 0;
    for seed in 0..seeds {
        replied += play(seed, true).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
    println!("{replied} reads in {seeds} seeds");
    assert!(replied > 100 * seeds, "hardly any read gets a reply");
}

#[test]
fn a_lease_gives_a_stale_reply_when_its_clock_stands_still() {
    let stale = (0..SEEDS_OF_LEASES).find_map(|seed| Some((seed, play(seed, false).err()?)));
    let (seed, why) = stale.expect("the lease holds, and `--reads confirmed` is of no use");
    println!("seed {seed}: {why}");
    assert!(why.contains("was promised"), "{why}");
}

#[test]
fn a_handover_leaves_no_outcome_unknown_while_replies_wait_for_appends() {
    for seed in 0..4 {
        let mut world = quiet(seed);
        world.confirms_reads = true;
        let done = hand_over_in(world).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert!(done > 0, "seed {seed}");
    }
}

fn entries(cluster: &Cluster) -> u64 {
    cluster.server.lock().unwrap().engine.tail()
}

/// An active whose replies wait for appends, with the chat `c`.
async fn confirming() -> (Cluster, Member) {
    let cluster = Cluster::start();
    let active = cluster.confirming(1);
    active.until_active().await;
    create(&active, "c").await;
    (cluster, active)
}

#[tokio::test]
async fn many_reads_share_an_append() {
    const READS: u64 = 400;
    let (cluster, active) = confirming().await;
    let client = active.client().await;
    let read = |kind, arguments| client.call(Command::from_json(kind, arguments).unwrap());
    let before = entries(&cluster);
    read(Kind::List, json!({"user_id": "v"})).await.unwrap();
    assert!(entries(&cluster) > before, "no append confirms the read");

    let before = entries(&cluster);
    let mut all = Vec::new();
    // It changes nothing. Several of one user would wait for each other.
    all.push(read(Kind::MarkRead, json!({"chat_id": "c", "user_id": "v", "seq": 0})));
    for _ in 0..READS / 4 {
        all.push(read(Kind::List, json!({"user_id": "u"})));
        all.push(read(Kind::Detail, json!({"ids": ["c"]})));
        all.push(read(Kind::Unread, json!({"user_ids": ["u"]})));
        all.push(read(Kind::Sync, json!({"user_id": "u"})));
    }
    for outcome in futures_all(all).await {
        outcome.unwrap();
    }
    let appends = entries(&cluster) - before;
    println!("{appends} appends for {READS} reads at once");
    assert!(appends < READS / 10, "{appends} appends");

    // Errors of the state wait too, and HTTP has no way around.
    let before = entries(&cluster);
    let missing = read(Kind::Members, json!({"chat_id": "none"})).await.unwrap_err();
    assert_eq!(missing.code, ErrorCode::NotFound);
    assert!(entries(&cluster) > before, "no append confirms the error");
    advance(&active, "c", 5).await;
    assert_eq!(last_sequence(&active, "c").await, 5);
}

/// Runs all of them at once.
async fn futures_all<T>(all: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut open: Vec<_> = all.into_iter().map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        for (one, outcome) in &mut open {
            if outcome.is_none()
                && let std::task::Poll::Ready(ended) = one.as_mut().poll(context)
            {
                *outcome = Some(ended);
            }
        }
        match open.iter().all(|(_, outcome)| outcome.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    open.into_iter().filter_map(|(_, outcome)| outcome).collect()
}

#[tokio::test]
async fn without_a_word_of_the_engine_what_waits_is_given_up() {
    let (cluster, active) = confirming().await;
    let client = active.client().await;
    cluster.server.lock().unwrap().engine.cut(1, true, true);
    let asked = Instant::now();
    let detail = Command::from_json(Kind::Detail, json!({"ids": ["c"]})).unwrap();
    let refused = client.call(detail).await.unwrap_err();
    println!("{refused:?} after {:?}", asked.elapsed());
    assert_eq!(refused.code, ErrorCode::Unavailable);
    assert!(refused.message.starts_with("not applied"), "{refused:?}");

    cluster.server.lock().unwrap().engine.cut(1, false, false);
    active.until_active().await;
    assert_eq!(last_sequence(&active, "c").await, 0);
    assert_eq!(active.client().await.hello().epoch, 1, "nobody else has claimed");
}
