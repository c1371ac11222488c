//! Members that come back when the journal has trimmed what they need next.

use chatshard::client::{Client, ClientOptions};
use chatshard::command::{Call, Command, Kind, Reply};
use serde_json::json;

use super::cluster::{Cluster, Member, until};
use super::failover::{advance, last_sequence, pair};

/// Two members with some data, of which the second one has ended.
async fn left_alone() -> (Cluster, Member) {
    let (cluster, first, second) = pair().await;
    for to in 1..=20 {
        advance(&first, "c", to).await;
    }
    second.stop();
    (cluster, first)
}

/// The last record that a member has; `None` while it recovers.
async fn last_lsn(member: &Member) -> Option<u64> {
    let client = Client::connect(&member.tcp(), ClientOptions::default()).await.ok()?;
    let stats = client.call(Command::from_json(Kind::Stats, json!({})).unwrap()).await.ok()?;
    let Reply::Stats(stats) = stats else { panic!("{stats:?}") };
    Some(stats.log.last_lsn)
}

/// Stops the first member when the second one has all, and expects this sequence there.
pub async fn takes_over(first: Member, second: &Member, expected: u64) {
    let last = last_lsn(&first).await.unwrap();
    let has_all = async || last_lsn(second).await.is_some_and(|has| has >= last);
    until("the second one to have all", has_all).await;
    first.stop();
    second.until_active().await;
    assert_eq!(last_sequence(second, "c").await, expected);
    advance(second, "c", expected + 1).await;
}

#[tokio::test]
async fn a_wiped_member_copies_snapshot_and_log_of_the_active() {
    let (cluster, first) = left_alone().await;
    first.ask(Kind::Snapshot, json!({})).await.unwrap();
    advance(&first, "c", 30).await;
    cluster.trim().await;
    std::fs::remove_dir_all(cluster.path("member-2")).unwrap();
    let second = cluster.member(2);
    let has_snapshot = async || {
        let mut files = std::fs::read_dir(cluster.path("member-2")).unwrap().flatten();
        files.any(|file| file.file_name().to_str().unwrap().starts_with("image-"))
    };
    until("a snapshot to be there", has_snapshot).await;
    advance(&first, "c", 31).await;
    takes_over(first, &second, 31).await;
    assert!(!cluster.path("member-2/joining").exists());
}

#[tokio::test]
async fn a_wiped_member_copies_the_whole_log_if_there_is_no_snapshot() {
    let (cluster, first) = left_alone().await;
    cluster.trim().await;
    std::fs::remove_dir_all(cluster.path("member-2")).unwrap();
    let second = cluster.member(2);
    advance(&first, "c", 21).await;
    takes_over(first, &second, 21).await;
}

#[tokio::test]
async fn a_member_that_was_away_for_long_copies_and_keeps_its_number() {
    let (cluster, first) = left_alone().await;
    let number = || {
        let node = std::fs::read(cluster.path("member-2/node")).unwrap();
        // A number before the text may have the byte of a brace, too.
        let json = &node[node.windows(2).position(|pair| pair == b"{\"").unwrap()..];
        serde_json::from_slice::<serde_json::Value>(json).unwrap()["member"].as_u64().unwrap()
    };
    let before = number();
    first.ask(Kind::Snapshot, json!({})).await.unwrap();
    advance(&first, "c", 40).await;
    cluster.trim().await;
    let second = cluster.member(2);
    takes_over(first, &second, 40).await;
    assert_eq!(number(), before);
}

#[tokio::test]
async fn a_member_whose_active_is_gone_says_so_and_copies_when_it_is_back() {
    let (cluster, first) = left_alone().await;
    cluster.trim().await;
    first.stop();
    std::fs::remove_dir_all(cluster.path("member-2")).unwrap();
    let second = cluster.member(2);
    until("the trouble to be told", async || second.readiness().await.contains("cannot copy"))
        .await;
    // It is back on another port, and names that one in a claim.
    let first = cluster.member(1);
    first.until_active().await;
    advance(&first, "c", 22).await;
    takes_over(first, &second, 22).await;
}
