//! The engine loses the newest entries while the member that would claim was away. Who has more
//! forbids every claim, until the engine shows the entries again.

use std::time::Duration;

use chatshard::command::{Kind, Reply};
use chatshard::journal::engine::StoredEntry;
use chatshard::journal::sim::SimFaults;
use chatshard::node::claim_check::ClaimObstacle;
use serde_json::json;

use super::cluster::{Cluster, Member, until};
use super::failover::{advance, create, last_sequence};
use super::plays::{SECOND, active, ask, run_until};
use super::world::{Fault, MEMBERS, World};

const SEEDS: u64 = 20;

fn reach(world: &World, at: usize) -> u64 {
    world.members[at].life.as_ref().map_or(0, |life| life.member.claim_check.reach().seq)
}

/// Plays one seed: writes, the death of the active, and an engine that lost its end.
pub fn play(seed: u64) -> Result<(), Fault> {
    let delay = Duration::from_millis(1);
    let mut world = World::new(seed, SimFaults { delay, ..SimFaults::default() });
    world.loses_questions = false;
    run_until(&mut world, 20 * SECOND, "an active whom all know", |world| {
        active(world).is_some()
            && world.members.iter().all(|member| {
                member.life.as_ref().is_some_and(|life| life.member.others().len() == MEMBERS - 1)
            })
    })?;
    // So long that everybody has kept whom it knows.
    let now = world.now();
    run_until(&mut world, 4 * SECOND, "time", |world| world.now() >= now + 3 * SECOND)?;
    let chat = json!({"id": "c", "creator_id": "a", "type": 2, "user_ids": ["b"]});
    ask(&mut world, Kind::Create, &chat)?;

    let first = active(&world).ok_or("nobody is the active")?;
    let late = (first + 1) % MEMBERS;
    let third = (first + 2) % MEMBERS;
    let crash = world.one_in(2);
    let end_of_late = world.server.engine.tail();
    world.kill(late, crash, 1000 * SECOND);
    let writes = 1 + world.random.below(5);
    for to in 1..=writes {
        ask(&mut world, Kind::Advance, &json!({"chat_id": "c", "to": to}))?;
    }
    run_until(&mut world, SECOND, "the third to have all", |world| {
        reach(world, third) == world.server.engine.tail()
    })?;

    world.kill(first, true, 1000 * SECOND);
    let whole: Vec<StoredEntry> = world.server.engine.history().collect();
    world.server.engine.lose_end(end_of_late);
    world.members[late].until = world.now();
    let takeovers = world.takeovers;
    let now = world.now();
    run_until(&mut world, 10 * SECOND, "time", |world| world.now() >= now + 5 * SECOND)?;
    if world.takeovers > takeovers {
        return Err("a member claimed on an engine that lost its end".into());
    }
    let life = world.members[late].life.as_ref().ok_or("the late one is down")?;
    let obstacle = life.member.claim_check.forbidding().ok_or("nothing forbids the claim")?;
    let ClaimObstacle::Lost(lost) = obstacle else { return Err(format!("it says {obstacle}")) };
    if (lost.member.as_str(), lost.shown.seq) != (&*format!("m{third}"), end_of_late) {
        return Err(format!("it says {lost}"));
    }

    // Who told of it dies, and the late one restarts: what was said still counts.
    world.kill(third, true, 1000 * SECOND);
    let now = world.now();
    world.kill(late, true, now);
    run_until(&mut world, 10 * SECOND, "time", |world| world.now() >= now + 5 * SECOND)?;
    if world.takeovers > takeovers {
        return Err("a restart forgot what the engine lost".into());
    }

    // The right state of the engine comes back, and all goes on by itself.
    world.server.engine.bring_back(whole);
    run_until(&mut world, 10 * SECOND, "a claim", |world| active(world) == Some(late))?;
    let life = world.members[late].life.as_ref().ok_or("the late one is down")?;
    assert_eq!(life.member.claim_check.forbidding(), None);
    let detail = ask(&mut world, Kind::Detail, &json!({"ids": ["c"]}))?;
    let last = serde_json::to_value(detail).unwrap()["items"][0]["last_sequence"].clone();
    match last == writes {
        true => Ok(()),
        false => Err(format!("the chat ends at {last}, and {writes} was promised")),
    }
}

#[test]
fn nobody_claims_on_an_engine_that_lost_what_another_member_accepted() {
    for seed in 0..SEEDS {
        play(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[tokio::test]
async fn a_member_that_may_not_ask_the_only_other_one_does_not_claim() {
    let cluster = Cluster::start();
    let first = cluster.guarded(1, "one-full-token-of-members");
    let is_ready = async |member: &Member| member.readiness().await.starts_with("HTTP/1.1 200");
    until("an active", async || is_ready(&first).await).await;
    let second = cluster.guarded(2, "another-full-token-of-one");
    until("a standby", async || second.readiness().await.contains("standby")).await;

    cluster.server.lock().unwrap().engine.cut(1, true, true);
    let waits = async || second.readiness().await.contains("it cannot ask m1");
    until("a standby that waits", waits).await;
    assert!(!is_ready(&second).await);

    cluster.server.lock().unwrap().engine.cut(1, false, false);
    until("the same active", async || is_ready(&first).await).await;
    let waits_no_more = async || second.readiness().await.ends_with("\"standby\"}");
    until("a standby that waits for nobody", waits_no_more).await;
}

#[tokio::test]
async fn a_member_asks_the_others_over_their_doors_before_it_claims() {
    let cluster = Cluster::start();
    let first = cluster.member(1);
    first.until_active().await;
    let (second, third) = (cluster.member(2), cluster.member(3));
    create(&first, "c").await;
    let told = async |member: &Member| {
        let Ok(Reply::Cluster(reply)) = member.ask(Kind::Cluster, json!({})).await else {
            panic!("every role replies")
        };
        reply
    };
    let knows_all = async || told(&second).await.members.len() == 3;
    until("the second to know the others", knows_all).await;
    second.stop();
    let end = cluster.server.lock().unwrap().engine.tail();
    for to in 1..=5 {
        advance(&first, "c", to).await;
    }
    let has_all = async || {
        let tail = cluster.server.lock().unwrap().engine.tail();
        told(&third).await.seq.is_some_and(|seq| seq >= tail)
    };
    until("the third to have all", has_all).await;

    // As if all machines had stopped, and an older state of the engine was restored.
    let whole: Vec<StoredEntry> = {
        let engine = &mut cluster.server.lock().unwrap().engine;
        engine.cut(1, true, true);
        let whole = engine.history().collect();
        engine.lose_end(end);
        whole
    };
    let second = cluster.member(2);
    let waits = async || told(&second).await.no_claim.is_some();
    until("the second to wait", waits).await;
    let why = told(&second).await.no_claim.unwrap();
    assert!(why.contains("has accepted entry") && why.contains(&format!("entry {end} ")), "{why}");
    let readiness = second.readiness().await;
    assert!(readiness.contains("does not claim"), "{readiness}");
    assert_eq!(second.role().await, "standby");

    cluster.server.lock().unwrap().engine.bring_back(whole);
    second.until_active().await;
    assert_eq!(told(&second).await.no_claim, None);
    assert_eq!(last_sequence(&second, "c").await, 5);
    cluster.server.lock().unwrap().engine.cut(1, false, false);
}
