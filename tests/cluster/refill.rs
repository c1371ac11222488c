//! A real engine loses its newest entries while everything is down, and `journal refill` writes them
//! again from the members' logs.

use std::time::{Duration, Instant};

use etcd_client::{Client, GetOptions, SortOrder, SortTarget};
use serde_json::Value;
use tokio::task::LocalSet;

use super::common::served::{Files, Served, client};
use super::engine::Engine;
use super::process::check::check;
use super::process::load::Load;
use super::{NODES, PATIENCE, WRITES, asked};

const NAME: &str = "lost";

fn start(files: &[Files], journal: &str, node: usize) -> Served {
    let member = format!("node{node}");
    Served::start(&files[node], &["--journal", journal, "--member", &member, "--init"])
}

/// The nodes that run, and the active among them.
async fn active(nodes: &mut [Served]) -> usize {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for (node, served) in nodes.iter().enumerate() {
            let reply = asked(served.tcp.parse().unwrap()).await;
            if reply.is_some_and(|outcome| outcome.is_ok()) {
                return node;
            }
        }
        if Instant::now() > deadline {
            nodes.iter_mut().for_each(|node| println!("{:#?}", node.lines_with("")));
            panic!("no node is the active");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Removes the newest third of all entries, as no etcd does that keeps its promises.
async fn lose_end(engine: &Engine) {
    let mut etcd = Client::connect(engine.hosts(), None).await.unwrap();
    let entries = format!("{NAME}/e/");
    let newest = GetOptions::new().with_prefix().with_limit(1).with_keys_only();
    let newest = newest.with_sort(SortTarget::Key, SortOrder::Descend);
    let newest = etcd.get(entries.clone(), Some(newest)).await.unwrap();
    let newest = newest.kvs()[0].key_str().unwrap();
    let tail: u64 = newest.strip_prefix(&entries).unwrap().parse().unwrap();
    for seq in tail - tail / 3..=tail {
        let removed = etcd.delete(format!("{entries}{seq:020}"), None).await.unwrap();
        assert_eq!(removed.deleted(), 1);
    }
}

/// Runs the program without blocking the tasks of the test.
async fn program(arguments: Vec<String>) -> Result<String, String> {
    let run = move || client(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn a_refill_brings_back_what_a_real_engine_lost() {
    let Some(engine) = Engine::start() else { return };
    let journal = engine.address(NAME);
    client(&["journal", "init", "--journal", &journal]).unwrap();
    let files: Vec<Files> = (0..NODES).map(|_| Files::new()).collect();
    let mut nodes: Vec<Served> = (0..NODES).map(|node| start(&files, &journal, node)).collect();
    let first = active(&mut nodes).await;
    let address = nodes[first].tcp.parse().unwrap();
    let load = Load::new(1);
    let written = async {
        let writes = load.write_without_snapshots(address);
        let ended = async {
            tokio::time::timeout(PATIENCE, load.wait_acknowledged(WRITES)).await.unwrap();
            nodes.iter().for_each(|node| node.signal("KILL"));
        };
        tokio::join!(writes, ended);
    };
    LocalSet::new().run_until(written).await;
    lose_end(&engine).await;

    let mut nodes: Vec<Served> = (0..NODES).map(|node| start(&files, &journal, node)).collect();
    for node in &mut nodes {
        let line = node.wait_for("waits for an operator");
        assert!(line.contains("the engine lost its end"), "{line}");
    }
    let members = nodes.iter().map(|node| node.admin.as_str()).collect::<Vec<_>>().join(",");
    let arguments = |more: &[&str]| -> Vec<String> {
        let all = ["journal", "refill", "--journal", &journal, "--members", &members];
        all.iter().chain(more).map(|text| (*text).to_owned()).collect()
    };
    let planned = program(arguments(&["--dry-run", "--json"])).await.unwrap();
    let planned: Value = serde_json::from_str(&planned).unwrap();
    assert!(planned["records"].as_u64().is_some_and(|records| records > 0), "{planned}");
    println!("{}", program(arguments(&["--dry-run"])).await.unwrap());
    println!("{}", program(arguments(&[])).await.unwrap());

    drop(nodes);
    let mut nodes: Vec<Served> = (0..NODES).map(|node| start(&files, &journal, node)).collect();
    let next = active(&mut nodes).await;
    let acknowledged = load.ledger.borrow().acknowledged;
    let things = check(nodes[next].tcp.parse().unwrap(), &load.ledger).await;
    println!("{acknowledged} writes, and {things} chats and rows are right");
    for node in &mut nodes {
        let failed = node.lines_with("waits for an operator");
        assert!(failed.is_empty(), "{failed:?}");
    }
}
