//! Members report to the active, which trims the journal by what they have.

use std::time::{Duration, Instant};

use chatshard::command::cluster::{ClusterMember, ClusterReply};
use chatshard::command::{Error, ErrorCode, Kind, Reply};
use chatshard::journal::kept::TrimLimits;
use serde_json::json;

use super::cluster::{Cluster, Member, PATIENCE, profile, until};
use super::failover::{advance, create, last_sequence, pair};

/// So little that trims are many.
const LITTLE: TrimLimits = TrimLimits {
    keep_bytes: 2 << 10,
    keep_time: Duration::ZERO,
    bytes_max: 8 << 10,
    copies: 2,
    copies_min: 2,
};

async fn members(of: &Member) -> ClusterReply {
    let Ok(Reply::Cluster(reply)) = of.ask(Kind::Cluster, json!({})).await else { panic!() };
    reply
}

fn find<'a>(reply: &'a ClusterReply, name: &str) -> Option<&'a ClusterMember> {
    reply.members.iter().find(|member| member.member == name)
}

#[tokio::test]
async fn every_member_knows_the_others() {
    let cluster = Cluster::start();
    let first = cluster.member(1);
    first.until_active().await;
    let alone = members(&first).await;
    assert_eq!((alone.members.len(), alone.epoch, alone.age_ms), (1, 1, Some(0)));
    let second = cluster.member(2);
    let third = cluster.member(3);
    create(&first, "c").await;
    advance(&first, "c", 7).await;
    let Ok(Reply::Stats(stats)) = first.ask(Kind::Stats, json!({})).await else { panic!("stats") };
    let written = stats.log.last_lsn;
    for asked in [&first, &second, &third] {
        let knows_all = async || {
            let reply = members(asked).await;
            let lsn = |name: &str| find(&reply, name).and_then(|member| member.durable_lsn);
            // Digests follow behind the writes, one a second.
            ["m1", "m2", "m3"].iter().all(|name| lsn(name) >= Some(written))
        };
        until("a member to know the others", knows_all).await;
    }
    let told = members(&third).await;
    let role = |name: &str| find(&told, name).unwrap().role.as_str();
    assert_eq!((role("m1"), role("m2"), role("m3")), ("active", "standby", "standby"));
    assert_eq!(find(&told, "m1").unwrap().address, first.tcp());
    assert!(told.age_ms.is_some_and(|age| age < 5000), "{told:?}");

    first.stop();
    let is_known = async || {
        let (by_second, by_third) = (members(&second).await, members(&third).await);
        let active = |reply: &ClusterReply| {
            let mut actives = reply.members.iter().filter(|member| member.role == "active");
            actives.next().map(|member| member.member.clone())
        };
        let first_is_none = find(&by_third, "m1").is_none_or(|first| first.role != "active");
        active(&by_second).is_some_and(|name| name != "m1")
            && active(&by_second) == active(&by_third)
            && first_is_none
    };
    until("the new active to be known", is_known).await;
}

#[tokio::test]
async fn a_report_is_for_the_active_of_a_journal() {
    let cluster = Cluster::start();
    let first = cluster.member(1);
    first.until_active().await;
    let second = cluster.member(2);
    let journal = first.client().await.hello().journal;
    let report = |member: &str| {
        json!({"member": member, "address": "a:1", "admin": "", "version": "0", "format": 1,
            "lsn": 0, "durable_lsn": 0, "role": "standby", "journal": journal})
    };
    until("a standby", async || second.role().await == "standby").await;
    let moved = second.ask(Kind::Report, report("m9")).await.unwrap_err();
    assert_eq!(moved.code, ErrorCode::Moved);
    let twice = first.ask(Kind::Report, report("m1")).await.unwrap_err();
    assert!(twice.message.contains("two members have this name"), "{twice:?}");
    let mut foreign = report("m9");
    foreign["journal"] = json!(journal ^ 1);
    let foreign = first.ask(Kind::Report, foreign).await.unwrap_err();
    assert!(foreign.message.contains("another journal"), "{foreign:?}");
    let Ok(Reply::Report(reply)) = first.ask(Kind::Report, report("m9")).await else { panic!() };
    assert!(reply.members.iter().any(|member| member.member == "m9"));
}

/// Addresses tell members apart. Two get one name by mistake.
#[tokio::test]
async fn two_members_of_one_name_see_each_other() {
    let cluster = Cluster::start();
    let first = cluster.member(1);
    first.until_active().await;
    let twin = cluster.named(2, "m1");
    let seen = async || {
        let reply = members(&twin).await.members;
        let row = |member: ClusterMember| (member.member, member.role, member.address);
        reply.into_iter().map(row).collect::<Vec<_>>()
    };
    let row = |role: &str, address: String| ("m1".to_owned(), role.to_owned(), address);
    let mut expected = [row("active", first.tcp()), row("standby", twin.tcp())];
    expected.sort_by(|a, b| a.2.cmp(&b.2));
    until("the twin to see the active", async || seen().await == expected).await;
}

/// Writes until the engine has trimmed entry `seq`.
async fn until_trimmed(cluster: &Cluster, active: &Member, seq: u64) {
    let trimmed = || cluster.server.lock().unwrap().engine.trimmed();
    let writes = async {
        while trimmed() < seq {
            drop(write(active).await);
        }
    };
    tokio::time::timeout(PATIENCE, writes).await.expect("trims");
}

/// Asks for one write, which may be refused: so little is kept that reports come too late.
async fn write(active: &Member) -> Result<Reply, Error> {
    active.ask(Kind::Advance, json!({"chat_id": "c", "allocate": 1})).await
}

#[tokio::test]
async fn a_standby_that_restarts_behind_a_trim_goes_on_and_knows_the_active() {
    let cluster = Cluster::keeping(LITTLE);
    let first = cluster.member(1);
    first.until_active().await;
    let second = cluster.member(2);
    create(&first, "c").await;
    until_trimmed(&cluster, &first, 60).await;
    second.stop();
    let second = cluster.member(2);
    let knows = async || second.client().await.hello().active == first.tcp();
    until("the standby to know the active", knows).await;
    let before = cluster.server.lock().unwrap().engine.trimmed();
    until_trimmed(&cluster, &first, before + 60).await;
    let last = last_sequence(&first, "c").await;
    first.stop();
    second.until_active().await;
    assert_eq!(last_sequence(&second, "c").await, last);
}

#[tokio::test]
async fn without_a_second_copy_writes_are_refused_at_the_maximum() {
    let cluster = Cluster::keeping(LITTLE);
    let first = cluster.member(1);
    first.until_active().await;
    create(&first, "c").await;
    let refused = async {
        loop {
            if let Err(error) = write(&first).await {
                return error;
            }
        }
    };
    let refused = tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(refused.code, ErrorCode::Unavailable, "{refused:?}");
    assert!(refused.message.starts_with("not applied"), "{refused:?}");
    assert!(refused.message.contains("too few standbys"), "{refused:?}");
    assert_eq!(cluster.server.lock().unwrap().engine.trimmed(), 0);
    let second = cluster.member(2);
    until("writes to be taken again", async || write(&first).await.is_ok()).await;
    assert!(cluster.server.lock().unwrap().engine.trimmed() > 0);
    drop(second);
}

#[tokio::test]
async fn a_standby_whose_directory_is_gone_is_no_copy_and_claims_last() {
    let (cluster, first, second) = pair().await;
    advance(&first, "c", 7).await;
    let durable = async || {
        let reply = members(&first).await;
        find(&reply, "m2").and_then(|second| second.durable_lsn)
    };
    until("a copy", async || durable().await.is_some_and(|lsn| lsn > 0)).await;
    let (there, aside) = (cluster.path("member-2"), cluster.path("aside"));
    std::fs::rename(&there, &aside).unwrap();
    until("no copy", async || durable().await == Some(0)).await;
    advance(&first, "c", 8).await;
    let stopped = Instant::now();
    first.stop();
    second.until_active().await;
    let waited = stopped.elapsed();
    assert!(waited >= 2 * profile().times.claim, "it left the others {waited:?}");
    // When the directory is back, all that was missing is written, and it counts again.
    std::fs::rename(&aside, &there).unwrap();
    until("a copy again", async || {
        let reply = second.ask(Kind::Cluster, json!({})).await;
        let Ok(Reply::Cluster(reply)) = reply else { return false };
        find(&reply, "m2").and_then(|own| own.durable_lsn).is_some_and(|lsn| lsn > 0)
    })
    .await;
    assert_eq!(last_sequence(&second, "c").await, 8);
}
