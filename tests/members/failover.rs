//! Who replies, what is kept, and what clients see when the active ends.

use std::time::{Duration, Instant};

use chatshard::command::{ErrorCode, Kind, Reply};
use chatshard::journal::entry::{EntryKind, JournalEntry};
use chatshard::journal::sim::SimFaults;
use chatshard::node::membership::MemberRole;
use serde_json::json;

use super::cluster::{Cluster, Member, PATIENCE, until};
use super::world::{SimMember, World};

pub async fn create(member: &Member, id: &str) {
    let chat = json!({"id": id, "creator_id": "u", "type": 2, "user_ids": ["v"]});
    member.ask(Kind::Create, chat).await.unwrap();
}

/// An active with the chat `c`, and a standby.
pub async fn pair() -> (Cluster, Member, Member) {
    let cluster = Cluster::start();
    let first = cluster.member(1);
    first.until_active().await;
    let second = cluster.member(2);
    create(&first, "c").await;
    (cluster, first, second)
}

pub async fn advance(member: &Member, id: &str, to: u64) {
    let advance = json!({"chat_id": id, "to": to, "force": true});
    member.ask(Kind::Advance, advance).await.unwrap();
}

pub async fn last_sequence(member: &Member, id: &str) -> u64 {
    let detail = member.ask(Kind::Detail, json!({"ids": [id]})).await.unwrap();
    let Reply::Detail(detail) = detail else { panic!("{detail:?}") };
    serde_json::to_value(&detail).unwrap()["items"][0]["last_sequence"].as_u64().unwrap()
}

#[tokio::test]
async fn a_standby_takes_over_with_every_acknowledged_write() {
    let (cluster, first, second) = pair().await;
    for to in 1..=50 {
        advance(&first, "c", to).await;
    }
    assert_eq!(second.role().await, "standby");
    let refused = second.ask(Kind::Detail, json!({"ids": ["c"]})).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Moved);
    let moved = refused.moved.unwrap();
    assert_eq!((moved.address, moved.epoch), (first.tcp(), 1));

    let stopped = Instant::now();
    first.stop();
    second.until_active().await;
    println!("taken over {:?} after the stop began", stopped.elapsed());
    assert_eq!(last_sequence(&second, "c").await, 50);
    advance(&second, "c", 51).await;
    assert_eq!(second.client().await.hello().epoch, 2);

    let first = cluster.member(1);
    assert_eq!(first.role().await, "standby");
    second.stop();
    first.until_active().await;
    assert_eq!(last_sequence(&first, "c").await, 51);
}

#[test]
fn a_stop_between_a_claim_and_its_stint_releases_the_journal() {
    let delay = Duration::from_millis(1);
    let mut world = World::new(1, SimFaults { delay, ..SimFaults::default() });
    let is_claiming = |member: &SimMember| {
        let life = member.life.as_ref();
        life.is_some_and(|life| life.member.role() == MemberRole::Claiming)
    };
    let claiming = loop {
        world.step().unwrap();
        if let Some(at) = world.members.iter().position(is_claiming) {
            break at;
        }
    };
    assert!(world.stop_claiming(claiming), "the thread waits for cores that have ended");
    world.pass(Duration::from_millis(10));
    let newest = world.server.engine.history().last().unwrap();
    let kind = JournalEntry::decode(&newest.bytes).unwrap().header.kind;
    assert_eq!(kind, EntryKind::Release);
}

#[tokio::test]
async fn an_active_that_is_cut_off_replies_no_more_and_begins_again_as_a_standby() {
    let (cluster, first, second) = pair().await;
    advance(&first, "c", 7).await;

    cluster.server.lock().unwrap().engine.cut(1, true, true);
    let write = first.ask(Kind::Advance, json!({"chat_id": "c", "to": 8})).await.unwrap_err();
    assert!(write.code == ErrorCode::Unavailable, "{write:?}");
    second.until_active().await;
    // The second one was silent for longer than the lease of the first one lasts.
    let read = first.ask(Kind::Detail, json!({"ids": ["c"]})).await.unwrap_err();
    assert_eq!(read.code, ErrorCode::Unavailable, "{read:?}");
    assert!(read.message.starts_with("not applied"), "{read:?}");
    assert_eq!(last_sequence(&second, "c").await, 7);
    advance(&second, "c", 9).await;

    cluster.server.lock().unwrap().engine.cut(1, false, false);
    until("the first one to be a standby", async || first.role().await == "standby").await;
    second.stop();
    first.until_active().await;
    assert_eq!(last_sequence(&first, "c").await, 9);
}

#[tokio::test]
async fn an_active_whose_engine_stands_still_goes_on_when_it_is_back() {
    let cluster = Cluster::start();
    let only = cluster.member(1);
    only.until_active().await;
    create(&only, "c").await;
    cluster.server.lock().unwrap().engine.cut(1, true, true);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = only.ask(Kind::Detail, json!({"ids": ["c"]})).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Unavailable);
    cluster.server.lock().unwrap().engine.cut(1, false, false);
    only.until_active().await;
    advance(&only, "c", 1).await;
    assert_eq!(only.client().await.hello().epoch, 1, "nobody else has claimed");
}

#[tokio::test]
async fn members_that_stop_together_all_end() {
    for pause_ms in [0, 10, 40, 120] {
        let cluster = Cluster::start();
        let first = cluster.member(1);
        first.until_active().await;
        let (second, third) = (cluster.member(2), cluster.member(3));
        create(&first, "c").await;
        let (ended, ends) = std::sync::mpsc::channel();
        for (number, member) in [first, second, third].into_iter().enumerate() {
            let ended = ended.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(pause_ms) * u32::from(number > 0));
                member.stop();
                ended.send(number).unwrap();
            });
        }
        for _ in 0..3 {
            let ends = ends.recv_timeout(PATIENCE);
            assert!(ends.is_ok(), "a member does not end, {pause_ms} ms behind the active");
        }
    }
}
