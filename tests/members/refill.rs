//! The engine lost entries that members have, and `journal refill` writes them again.

use chatshard::cli::Failure;
use chatshard::cli::refill::peers::AskedMembers;
use chatshard::cli::refill::{Filled, fill};
use chatshard::client::Address;
use chatshard::command::{Kind, Reply};
use serde_json::json;

use super::cluster::{Cluster, Member, NOBODY, until};
use super::failover::{advance, create, last_sequence};

fn asked(members: &[&Member]) -> AskedMembers {
    let admin = |member: &&Member| member.addresses.admin.as_ref().unwrap().to_string();
    let members = members.iter().map(|member| Address::from(admin(member).as_str())).collect();
    AskedMembers { members, without: Vec::new(), token: None, tls: None }
}

fn or_why<T>(result: Result<T, Failure>) -> Result<T, String> {
    match result {
        Ok(done) => Ok(done),
        Err(Failure::Message(why)) => Err(why),
        Err(other) => panic!("{other:?}"),
    }
}

async fn refill(cluster: &Cluster, members: &[&Member], dry_run: bool) -> Result<Filled, String> {
    or_why(fill(&cluster.client(NOBODY), &asked(members), dry_run).await)
}

#[tokio::test]
async fn one_member_names_the_others() {
    let cluster = Cluster::start();
    let first = cluster.member(1);
    first.until_active().await;
    let (second, third) = (cluster.member(2), cluster.member(3));
    for member in [&first, &second, &third] {
        until_known(member).await;
    }
    let sorted = |asked: AskedMembers| {
        let mut all: Vec<String> = asked.members.iter().map(Address::to_string).collect();
        all.sort();
        all
    };
    let all = sorted(asked(&[&first, &second, &third]));
    for one in [&first, &second, &third] {
        assert_eq!(sorted(asked(&[one]).with_known().await.unwrap()), all);
    }
    let without = AskedMembers { without: vec!["m2".into()], ..asked(&[&first]) };
    let two = sorted(asked(&[&first, &third]));
    assert_eq!(sorted(without.with_known().await.unwrap()), two);
    let with_token = || AskedMembers { token: Some("secret".into()), ..asked(&[&second]) };
    let refused = or_why(with_token().with_known().await).unwrap_err();
    let named = refused.strip_prefix("without TLS a token goes only to addresses that you name");
    assert!(named.is_some_and(|rest| all.iter().all(|one| rest.contains(one))), "{refused}");
}

async fn until_known(member: &Member) {
    let knows_all = async || {
        let reply = member.ask(Kind::Cluster, json!({})).await;
        matches!(reply, Ok(Reply::Cluster(reply)) if reply.members.len() == 3)
    };
    until("a member to know the others", knows_all).await;
}

/// Waits until a member has accepted all that the engine has.
async fn until_level(cluster: &Cluster, member: &Member) {
    let has_all = async || {
        let tail = cluster.server.lock().unwrap().engine.tail();
        match member.ask(Kind::Cluster, json!({})).await {
            Ok(Reply::Cluster(reply)) => reply.seq.is_some_and(|seq| seq >= tail),
            _ => false,
        }
    };
    until("a member to have all", has_all).await;
}

#[tokio::test]
async fn a_refill_writes_what_the_engine_lost_and_all_members_continue() {
    let cluster = Cluster::start();
    let first = cluster.member(1);
    first.until_active().await;
    let (second, third) = (cluster.member(2), cluster.member(3));
    create(&first, "c").await;
    for member in [&first, &second, &third] {
        until_known(member).await;
    }
    let all = [&first, &second, &third];
    let refused = refill(&cluster, &all, false).await.unwrap_err();
    assert!(refused.contains("m1 is the active"), "{refused}");

    for to in 1..=4 {
        advance(&first, "c", to).await;
    }
    let end = cluster.server.lock().unwrap().engine.tail();
    for to in 5..=10 {
        advance(&first, "c", to).await;
    }
    until_level(&cluster, &second).await;
    until_level(&cluster, &third).await;
    cluster.server.lock().unwrap().engine.lose_end(end);
    for member in all {
        let says_so = async || {
            let readiness = member.readiness().await;
            readiness.contains("lost its end") || readiness.contains("the engine ends with entry")
        };
        until("a member to say what the engine lost", says_so).await;
    }

    let refused = refill(&cluster, &[&first, &second], false).await.unwrap_err();
    assert!(refused.contains("knows a member m3"), "{refused}");
    let planned = refill(&cluster, &all, true).await.unwrap();
    // The active may have written digests too.
    assert!(planned.records >= 6, "{planned:?}");
    assert_eq!((planned.epoch, planned.is_whole), (None, false));
    assert_eq!(cluster.server.lock().unwrap().engine.tail(), end, "a dry run writes nothing");
    let filled = refill(&cluster, &all, false).await.unwrap();
    assert_eq!((filled.records, filled.last_lsn), (planned.records, planned.last_lsn));
    assert_eq!(filled.epoch, Some(2));
    let tail = cluster.server.lock().unwrap().engine.tail();
    assert_eq!(filled.entries, Some(tail));
    let again = refill(&cluster, &all, false).await.unwrap();
    assert_eq!((again.is_whole, again.epoch), (true, None));

    for member in [first, second, third] {
        member.stop();
    }
    let first = cluster.member(1);
    first.until_active().await;
    assert_eq!(last_sequence(&first, "c").await, 10);
    let (second, third) = (cluster.member(2), cluster.member(3));
    advance(&first, "c", 11).await;
    for member in [&second, &third] {
        until_level(&cluster, member).await;
        assert_eq!(member.role().await, "standby");
    }
    assert_eq!(first.client().await.hello().epoch, 3);
}
