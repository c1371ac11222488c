//! Members whose disk takes nothing: full, moved away, or with a sync that fails. The active hands
//! over, a standby says so and claims last, and nobody goes back and forth.

use std::time::Duration;

use chatshard::command::{ErrorCode, Kind, Reply};
use chatshard::node::membership::MemberRole;
use serde_json::json;

use super::cluster::{Cluster, Member, until};
use super::failover::{advance, last_sequence, pair};
use super::handover::until_known;
use super::plays::{Play, STEPS, active};
use super::world::{Fault, MEMBERS, World};

/// The disk of the active takes nothing: another member is the active soon, and no outcome is
/// unknown.
pub fn full_active(seed: u64) -> Result<(), Fault> {
    let (mut play, first) = Play::begin(seed)?;
    let room = play.world.random.below(2000);
    match seed % 3 {
        0 => play.world.disk(first).displace(true),
        _ => play.world.disk(first).full_after(room),
    }
    play.world.members[first].is_disk_bad = true;
    let full_at = play.world.now();
    play.until("another active", |world| {
        (0..MEMBERS).any(|at| at != first && world.may_reply(at))
    })?;
    let took = play.world.now() - full_at;
    println!("seed {seed}: {took:?}");
    let (unknown, replied) = (play.unknown(), play.replied());
    if unknown > 0 {
        return Err(format!("{unknown} writes are unknown"));
    }
    for _ in 0..10_000 {
        play.step()?;
    }
    if play.replied() < replied + 50 {
        return Err(format!("{} replies, and before {replied}", play.replied()));
    }
    let epoch = play.world.newest_epoch();
    if epoch > 2 {
        return Err(format!("the members claimed {epoch} times"));
    }
    play.rest()
}

/// The disk of a standby takes nothing: it is the last to claim when the active dies.
pub fn full_standby(seed: u64) -> Result<(), Fault> {
    let (mut play, first) = Play::begin(seed)?;
    let full = (first + 1) % MEMBERS;
    play.world.disk(full).full_after(0);
    play.world.members[full].is_disk_bad = true;
    play.until("trouble", |world| {
        let life = world.members[full].life.as_ref();
        life.is_some_and(|life| life.member.disk_trouble().is_some())
    })?;
    let later = play.world.now() + Duration::from_secs(60);
    play.world.kill(first, false, later);
    let mut next = None;
    play.until("another active", |world| {
        next = active(world);
        next.is_some()
    })?;
    if next == Some(full) {
        return Err(format!("m{full} claimed with a disk that takes nothing"));
    }
    // When there is no other, it claims.
    let later = play.world.now() + Duration::from_secs(60);
    play.world.kill(next.expect("there is one"), false, later);
    play.until("the last active", |world| world.may_reply(full))?;
    play.rest()
}

#[test]
fn an_active_whose_disk_takes_nothing_hands_over() {
    for seed in 0..4 {
        full_active(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_standby_whose_disk_takes_nothing_claims_last() {
    for seed in 0..4 {
        full_standby(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn an_active_stays_if_no_standby_has_a_better_disk() {
    for seed in 0..4 {
        let (mut play, first) = Play::begin(seed).unwrap();
        for at in 0..MEMBERS {
            play.world.disk(at).full_after(0);
            play.world.members[at].is_disk_bad = true;
        }
        let until = play.world.now() + Duration::from_secs(10);
        while play.world.now() < until {
            play.step().unwrap();
        }
        // Reports of the trouble may come after the first handover.
        assert!(play.world.newest_epoch() <= 2, "seed {seed}: {}", play.world.newest_epoch());
        let actives = (0..MEMBERS).filter(|at| play.world.may_reply(*at)).count();
        assert_eq!(actives, 1, "seed {seed}, first m{first}");
        play.rest().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_member_whose_sync_failed_recovers_and_loses_nothing() {
    for seed in 0..4 {
        let (mut play, first) = Play::begin(seed).unwrap();
        let failing = (first + usize::try_from(seed % 2).unwrap()) % MEMBERS;
        let is_active = failing == first;
        play.world.members[failing].is_disk_bad = true;
        let ended = |world: &World| world.members[failing].life.is_none();
        while !ended(&play.world) {
            // The first sync may be that of another file.
            play.world.disk(failing).fail_sync(1);
            play.step().unwrap();
        }
        // As long as its disk is bad, another member is the active. Behind a good sync any may be.
        let other = |world: &World| (0..MEMBERS).any(|at| at != failing && world.may_reply(at));
        let mut steps = 0;
        while is_active && !other(&play.world) {
            play.world.disk(failing).fail_sync(1);
            play.step().unwrap();
            steps += 1;
            assert!(steps < STEPS, "seed {seed}: another active does not come");
        }
        play.world.heal_disk(failing);
        play.until("the next life", |world| !ended(world)).unwrap();
        assert!(play.world.members[failing].life.as_ref().unwrap().member.failure().is_none());
        play.rest().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_disk_with_room_again_is_written_and_counts() {
    for seed in 0..4 {
        let (mut play, first) = Play::begin(seed).unwrap();
        let full = (first + 1) % MEMBERS;
        play.world.disk(full).full_after(0);
        let trouble = |world: &World| {
            let life = world.members[full].life.as_ref();
            life.is_some_and(|life| life.member.disk_trouble().is_some())
        };
        play.until("trouble", trouble).unwrap();
        play.world.heal_disk(full);
        play.until("the end of the trouble", |world| !trouble(world)).unwrap();
        let life = |world: &World| world.members[full].life.as_ref().unwrap().member.role();
        assert_eq!(life(&play.world), MemberRole::Standby);
        play.rest().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[tokio::test]
async fn an_active_whose_directory_is_gone_hands_over() {
    let (cluster, first, second) = pair().await;
    advance(&first, "c", 7).await;
    until_known(&first, 1).await;
    std::fs::rename(cluster.path("member-1"), cluster.path("aside")).unwrap();
    second.until_active().await;
    assert_eq!(last_sequence(&second, "c").await, 7);
    advance(&second, "c", 8).await;
    // It begins again with an empty directory, and gets everything from the journal.
    until("the first one to be a standby", async || first.role().await == "standby").await;
    until_known(&second, 1).await;
    assert_eq!(second.client().await.hello().epoch, 2);
    assert!(metrics(&first).await.contains("chatshard_handovers_total{why=\"disk\"} 1"));
}

async fn metrics(of: &Member) -> String {
    of.get("/metrics").await
}

#[tokio::test]
async fn an_active_alone_says_what_is_wrong_and_serves_reads() {
    let cluster = Cluster::start();
    let only = cluster.member(1);
    only.until_active().await;
    // On a busy machine its lease may be over now and then.
    let create = async || {
        let chat = json!({"id": "c", "creator_id": "u", "type": 2, "user_ids": ["v"]});
        only.ask(Kind::Create, chat).await.is_ok()
    };
    until("a chat", create).await;
    let (there, aside) = (cluster.path("member-1"), cluster.path("aside"));
    std::fs::rename(&there, &aside).unwrap();
    let why = async || only.readiness().await;
    until("the reason", async || why().await.contains("not in its place")).await;
    until("its role", async || why().await.contains("active, and refuses writes")).await;
    let refused = async || {
        let write = json!({"chat_id": "c", "to": 9, "force": true});
        let refused = only.ask(Kind::Advance, write).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unavailable);
        refused.message.starts_with("not applied: the disk of this node")
    };
    until("the refusal", refused).await;
    let reads = async || only.ask(Kind::Detail, json!({"ids": ["c"]})).await.is_ok();
    until("a read", reads).await;
    let is_told = async || {
        let Ok(Reply::Cluster(reply)) = only.ask(Kind::Cluster, json!({})).await else { panic!() };
        reply.members[0].disk.is_some() && reply.members[0].durable_lsn == Some(0)
    };
    until("a cluster that shows the disk", is_told).await;
    assert!(metrics(&only).await.contains("chatshard_log_state{state=\"stalled\"} 1"));
    std::fs::rename(&aside, &there).unwrap();
    until("writes again", async || why().await.contains("200 OK")).await;
    let writes = async || {
        only.ask(Kind::Advance, json!({"chat_id": "c", "to": 9, "force": true})).await.is_ok()
    };
    until("a write", writes).await;
    assert_eq!(only.client().await.hello().epoch, 1);
}
