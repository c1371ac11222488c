//! Journals that begin with the data of another node.

use std::collections::BTreeMap;
use std::path::Path;

use chatshard::command::Kind;
use chatshard::journal::kept::TrimLimits;
use chatshard::node::first_member::{self, FirstMember};
use chatshard::node::identity::{IDENTITY_FILE, Identity};
use chatshard::node::{restore, store};
use serde_json::json;
use snapshot::{Lsn, RealDisk};

use super::cluster::{Cluster, NOBODY};
use super::failover::{advance, create, last_sequence};
use super::rejoin::takes_over;

/// Every file of a directory with its bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    files
        .map(|file| {
            let name = file.file_name().into_string().unwrap();
            (name, std::fs::read(file.path()).unwrap())
        })
        .collect()
}

/// Makes the directory of a first member out of another one.
fn made(cluster: &Cluster, from: &Path) -> FirstMember {
    let (identity, _) = Identity::read(&RealDisk, &from.join(IDENTITY_FILE)).unwrap();
    let scan = snapshot::scan(&RealDisk, from, identity.known()).unwrap();
    first_member::make(from, &scan, &cluster.path("member-1")).unwrap()
}

/// Makes the directory of a first member, as `journal init --from` does, and begins its journal.
fn begin_from(cluster: &Cluster, from: &Path) {
    let (identity, _) = Identity::read(&RealDisk, &from.join(IDENTITY_FILE)).unwrap();
    let made = made(cluster, from);
    assert_ne!(made.identity.node_id, identity.node_id);
    assert_ne!(made.identity.incarnation, identity.incarnation);
    made.begin(&cluster.client(NOBODY), 1).unwrap();
}

#[tokio::test]
async fn a_journal_begins_with_the_data_of_a_node_without_one() {
    for has_snapshot in [true, false] {
        let cluster = Cluster::without_journal(TrimLimits::default());
        let alone = cluster.alone("alone");
        create(&alone, "c").await;
        advance(&alone, "c", 20).await;
        if has_snapshot {
            alone.ask(Kind::Snapshot, json!({})).await.unwrap();
        }
        advance(&alone, "c", 30).await;
        alone.stop();
        let before = files(&cluster.path("alone"));
        begin_from(&cluster, &cluster.path("alone"));
        assert_eq!(files(&cluster.path("alone")), before, "the source is only read");
        // An empty member must not claim: it lacks what came before the journal.
        let second = cluster.member(2);
        let first = cluster.member(1);
        first.until_active().await;
        assert_eq!(last_sequence(&first, "c").await, 30);
        advance(&first, "c", 31).await;
        takes_over(first, &second, 31).await;
    }
}

#[tokio::test]
async fn a_journal_begins_with_the_data_of_a_member_whose_engine_is_lost() {
    let lost = Cluster::start();
    let member = lost.member(1);
    member.until_active().await;
    create(&member, "c").await;
    advance(&member, "c", 5).await;
    member.stop();
    let cluster = Cluster::without_journal(TrimLimits::default());
    begin_from(&cluster, &lost.path("member-1"));
    let first = cluster.member(1);
    first.until_active().await;
    assert_eq!(last_sequence(&first, "c").await, 5);
    advance(&first, "c", 6).await;
}

#[tokio::test]
async fn of_two_that_begin_a_journal_the_second_one_leaves_nothing() {
    let cluster = Cluster::without_journal(TrimLimits::default());
    let alone = cluster.alone("alone");
    create(&alone, "c").await;
    alone.ask(Kind::Snapshot, json!({})).await.unwrap();
    advance(&alone, "c", 5).await;
    alone.stop();
    let late = made(&cluster, &cluster.path("alone"));
    let locked = store::lock(&cluster.path("member-1"));
    assert!(locked.is_err(), "nobody uses it before the journal has begun");
    cluster.begin(&Identity::draw(&cluster.path("journal")).unwrap(), Lsn(1));
    let refused = late.begin(&cluster.client(NOBODY), 1).unwrap_err().to_string();
    assert!(refused.contains("another `journal init` was first"), "{refused}");
    assert!(refused.contains("Nothing is left"), "{refused}");
    let left = files(&cluster.path("member-1"));
    assert!(left.keys().all(|name| name == "lock"), "{:?}", left.keys());
    made(&cluster, &cluster.path("alone"));
}

#[tokio::test]
async fn a_genesis_that_arrives_twice_begins_the_journal() {
    let cluster = Cluster::without_journal(TrimLimits::default());
    let identity = Identity::draw(&cluster.path("journal")).unwrap();
    for _ in 0..2 {
        cluster.begin(&identity, Lsn(1));
    }
}

/// `journal init` would begin a journal without data, and all members would refuse it.
#[test]
fn a_member_whose_engine_lost_everything_says_what_it_has() {
    let cluster = Cluster::start();
    cluster.member(1).stop();
    let empty = Cluster::without_journal(TrimLimits::default());
    let mut config = empty.config(1, "m1");
    config.data_dir = cluster.path("member-1");
    let refused = chatshard::server::run_until(config, std::future::pending::<()>, |_| {});
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("the engine has nothing of the journal"), "{refused}");
    assert!(refused.contains("`chatshard journal init --from`"), "{refused}");
}

#[test]
fn a_directory_with_files_is_no_place_for_a_first_member() {
    let files = tempfile::tempdir().unwrap();
    let (from, into) = (files.path().join("from"), files.path().join("into"));
    let identity = Identity::draw(&from).unwrap();
    std::fs::create_dir(&from).unwrap();
    identity.write(&RealDisk, &from.join(IDENTITY_FILE)).unwrap();
    std::fs::create_dir(&into).unwrap();
    std::fs::write(into.join("mine"), "").unwrap();
    let scan = snapshot::scan(&RealDisk, &from, identity.known()).unwrap();
    let refused = first_member::make(&from, &scan, &into).unwrap_err().to_string();
    assert!(refused.contains("the directory is not empty"), "{refused}");
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 1);

    let before = self::files(&from);
    for within in ["new", "lost/new", "../from/new"] {
        let within = from.join(within);
        for made in [
            first_member::make(&from, &scan, &within).map(drop),
            restore::copy(&from, &scan, &within).map(drop),
        ] {
            let refused = made.unwrap_err().to_string();
            assert!(refused.contains("which is only read"), "{refused}");
        }
    }
    assert_eq!(self::files(&from), before);
}
