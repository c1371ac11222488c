//! A member whose data is wrong, though every byte of it is whole, replaces it by that of the active.

use std::path::{Path, PathBuf};

use chatshard::command::{Kind, Reply};
use chatshard::node::identity::Identity;
use chatshard::shard::Shard;
use chatshard::shard::events::{self, Event};
use chatshard::types::{KeyHasher, ShardCount, ShardId};
use serde_json::{Value, json};
use snapshot::{Lsn, RealDisk, SnapshotWriter};

use super::cluster::{Cluster, Member, until};
use super::failover::{advance, create};

/// Writes a snapshot of what a member has, with one time that is wrong. Returns its path.
fn spoil(dir: &Path) -> PathBuf {
    let (identity, _) = Identity::read(&RealDisk, &dir.join("node")).unwrap();
    let (hasher, one) = (KeyHasher::new(identity.hash_seed), ShardCount::new(1).unwrap());
    let (mut shard, mut last) = (Shard::new(ShardId(0), one, hasher), Lsn(0));
    snapshot::scan_with(&RealDisk, dir, identity.known(), |lsn, record| {
        let (slot, seq, event) = events::decode(record).unwrap();
        let mut record = record.to_vec();
        if let Event::Advanced(mut advanced) = event {
            advanced.time = advanced.time.saturating_add(1);
            record.clear();
            events::encode(slot, seq, &advanced, &mut record).unwrap();
        }
        shard.replay(&record).unwrap();
        last = lsn;
        Ok(())
    })
    .unwrap();
    let mut writer = SnapshotWriter::create(&RealDisk, dir, identity.node_id, last).unwrap();
    shard.begin_snapshot(1);
    for capture in shard.next_captures(usize::MAX) {
        capture.encode(&mut |block: &[u8]| writer.block(block)).unwrap();
    }
    writer.publish(last).unwrap().path
}

async fn chat(member: &Member) -> Option<Value> {
    match member.ask(Kind::Detail, json!({"ids": ["c"]})).await {
        Ok(Reply::Detail(detail)) => Some(serde_json::to_value(&detail).unwrap()),
        _ => None,
    }
}

#[tokio::test]
async fn a_member_whose_data_is_wrong_copies_that_of_the_active() {
    let cluster = Cluster::start();
    let first = cluster.member(1);
    first.until_active().await;
    let (second, _third) = (cluster.member(2), cluster.member(3));
    create(&first, "c").await;
    for to in 1..=5 {
        advance(&first, "c", to).await;
    }
    let right = chat(&first).await.unwrap();
    let last = async |member: &Member| {
        let Ok(Reply::Stats(stats)) = member.ask(Kind::Stats, json!({})).await else { return 0 };
        stats.log.durable_lsn
    };
    let all = last(&first).await;
    until("the second to have all", async || last(&second).await >= all).await;
    second.stop();
    let spoiled = spoil(&cluster.path("member-2"));

    let second = cluster.member(2);
    until("the copy", async || !spoiled.exists()).await;
    let hands_over = async || {
        let asked = first.ask(Kind::Handover, json!({"to": "m2"})).await;
        asked.is_ok()
    };
    until("the second to be well", hands_over).await;
    second.until_active().await;
    assert_eq!(chat(&second).await.unwrap(), right);
}
