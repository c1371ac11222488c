//! Reads, streams and snapshots on standbys, while clients write and the active is killed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use chatshard::client::{Changes, Client, ClientOptions, ClusterClient};
use chatshard::command::watch::WatchOp;
use chatshard::command::{Call, Command, ErrorCode, Kind, Reply};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::process::{PATIENCE, run};
use super::{Cluster, NODES};

const WRITES: u64 = 300;
/// Age that the reader allows.
const STALE: Duration = Duration::from_millis(800);
/// Writes from one node to the next of the watcher.
const HOP: u64 = 20;

fn command(kind: Kind, arguments: Value) -> Command {
    Command::from_json(kind, arguments).unwrap()
}

/// Hands out sequences with keys, and says when each is acknowledged.
async fn write(addresses: Vec<String>, said: watch::Sender<Vec<Instant>>) {
    let client = ClusterClient::connect(addresses, ClientOptions::default()).await.unwrap();
    for number in 1..=WRITES {
        let key = format!("w{number}");
        let allocate = json!({"chat_id": "c", "allocate": 1, "idempotency_key": key});
        client.call(command(Kind::Advance, allocate)).await.unwrap();
        said.send_modify(|acknowledged| acknowledged.push(Instant::now()));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Reads on one connection to a standby, until it shows all writes. Returns the number of reads.
async fn read(address: SocketAddr, said: watch::Receiver<Vec<Instant>>) -> u64 {
    let options = ClientOptions { stale: Some(STALE), ..ClientOptions::default() };
    let client = Client::connect(address, options).await.unwrap();
    let (mut last, mut reads) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    while last < WRITES {
        assert!(Instant::now() < deadline, "the standby stays at {last}");
        tokio::time::sleep(Duration::from_millis(5)).await;
        let asked = Instant::now();
        let promised = said.borrow().partition_point(|at| *at + STALE <= asked) as u64;
        match client.call(command(Kind::Detail, json!({"ids": ["c"]}))).await {
            Ok(Reply::Detail(reply)) => {
                let reply = serde_json::to_value(&reply).unwrap();
                let now = reply["items"][0]["last_sequence"].as_u64().unwrap_or(0);
                assert!(now >= last, "from {last} back to {now}");
                assert!(now >= promised, "{now}, and {promised} was acknowledged {STALE:?} before");
                (last, reads) = (now, reads + 1);
            }
            Ok(other) => panic!("{other:?}"),
            // Its state is too old, or it is about to be the active.
            Err(error) => {
                assert!(matches!(error.code, ErrorCode::Moved | ErrorCode::Unavailable), "{error}");
            }
        }
    }
    assert!(!client.is_closed());
    reads
}

/// Watches on one node after the other. Each sequence must come once, in order.
async fn follow(addresses: Vec<String>, mut offset: String) -> usize {
    let options = ClientOptions { connect_timeout: Duration::from_secs(1), ..Default::default() };
    let (mut last, mut hops) = (0, 0);
    let deadline = Instant::now() + PATIENCE;
    while last < WRITES {
        assert!(Instant::now() < deadline, "the watcher stays at {last}");
        let address = addresses[hops % addresses.len()].as_str();
        hops += 1;
        let Ok(mut changes) = Changes::open(address, &options, Some(offset.clone())).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let until = (last + HOP).min(WRITES);
        while last < until {
            let Ok(Ok(change)) = tokio::time::timeout(PATIENCE, changes.next()).await else {
                break;
            };
            if change.op == WatchOp::Advance {
                last += 1;
                assert_eq!(change.last_sequence.unwrap().get(), last, "from {address}");
            }
            offset = change.offset;
        }
    }
    hops
}

#[tokio::test]
async fn standbys_serve_readers_and_watchers_through_a_takeover() {
    let Some(mut cluster) = Cluster::start() else { return };
    let active = cluster.active_but(None).await;
    let standby = (active + 1) % NODES;
    let addresses: Vec<String> =
        (0..NODES).map(|node| cluster.node(node).address.to_string()).collect();
    let client = ClusterClient::connect(addresses.clone(), ClientOptions::default()).await.unwrap();
    let create = json!({"id": "c", "type": 2, "creator_id": "ann", "user_ids": ["ann", "bob"]});
    client.call(command(Kind::Create, create)).await.unwrap();
    let mut changes =
        Changes::open(&addresses[active], &ClientOptions::default(), None).await.unwrap();
    let offset = changes.next().await.unwrap().offset;

    let (said, acknowledged) = watch::channel(Vec::new());
    let writer = tokio::spawn(write(addresses.clone(), said));
    let reader = tokio::spawn(read(cluster.node(standby).address, acknowledged.clone()));
    let watcher = tokio::spawn(follow(addresses.clone(), offset));
    let half = usize::try_from(WRITES / 2).unwrap();
    acknowledged.clone().wait_for(|said| said.len() >= half).await.unwrap();
    cluster.kill(active);
    cluster.begin(active);
    let (written, reads, hops) = tokio::join!(writer, reader, watcher);
    written.unwrap();
    println!("{} reads of one connection, {} hops of a watcher", reads.unwrap(), hops.unwrap());

    let next = cluster.active_but(None).await;
    let other = (0..NODES).find(|node| *node != next && *node != active).unwrap();
    let list = || command(Kind::List, json!({"user_id": "bob"}));
    for (stale, is_served) in [(Some(PATIENCE), true), (None, false)] {
        let options = ClientOptions { stale, ..ClientOptions::default() };
        let client = Client::connect(&addresses[other], options).await.unwrap();
        assert_eq!(client.hello().role, "standby");
        let refused = client.call(list()).await.err().map(|error| error.code);
        assert_eq!(refused, (!is_served).then_some(ErrorCode::Moved), "with {stale:?}");
    }
    // The program follows 421 to the active, so the path of the snapshot says who has taken it.
    let address = addresses[other].clone();
    let asked = tokio::task::spawn_blocking(move || {
        let stale = ["--stale-ms", "5000", "--addr", &address];
        let list = run(&[&["list", "bob"][..], &stale].concat());
        let snapshot = run(&["call", "snapshot", "{}", "--addr", &address]);
        [list, snapshot].map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    });
    let [list, snapshot] = asked.await.unwrap();
    assert!(list.contains("\"c\""), "{list}");
    assert!(snapshot.contains(&format!("/node{other}/")), "{snapshot}: {}", cluster.messages());
}
