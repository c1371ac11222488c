//! Planned handovers between real processes, while clients write.

use std::time::{Duration, Instant};

use chatshard::client::{ClientOptions, ClusterClient};
use chatshard::command::{Call, Command, Kind, Reply};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::process::{PATIENCE, run};
use super::{Cluster, NODES};

const WRITERS: u64 = 4;
const HANDOVERS: usize = 5;
/// Silence after which a standby claims without a release.
const CLAIM: Duration = Duration::from_secs(3);

fn command(kind: Kind, arguments: Value) -> Command {
    Command::from_json(kind, arguments).unwrap()
}

/// Writes without a key until it is told to stop: only what was surely not applied is sent again.
/// Returns how many writes there were, and the longest time between two replies.
async fn write(
    addresses: Vec<String>,
    number: u64,
    stop: watch::Receiver<bool>,
) -> (u64, Duration) {
    let client = ClusterClient::connect(addresses, ClientOptions::default()).await.unwrap();
    let chat = format!("chat-{number}");
    let create = json!({"id": chat, "type": 2, "creator_id": "user-1", "user_ids": ["user-1"]});
    client.call(command(Kind::Create, create)).await.unwrap();
    let (mut writes, mut longest, mut last) = (0, Duration::ZERO, Instant::now());
    while !*stop.borrow() {
        let allocate = json!({"chat_id": chat, "allocate": 1});
        client.call(command(Kind::Advance, allocate)).await.unwrap();
        (writes, longest) = (writes + 1, longest.max(last.elapsed()));
        last = Instant::now();
    }
    (writes, longest)
}

/// Asks for a handover with the program, until the active knows who could follow.
async fn hand_over(addresses: &str, to: Option<usize>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut arguments = vec!["handover".to_owned(), "--addr".to_owned(), addresses.to_owned()];
        if let Some(to) = to {
            arguments.extend(["--to".to_owned(), format!("node{to}")]);
        }
        let handed_over = tokio::task::spawn_blocking(move || {
            run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        });
        let output = handed_over.await.unwrap();
        if output.status.success() {
            return;
        }
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        let is_early =
            why.contains("has reported to this one") || why.contains("can take over now");
        assert!(is_early && Instant::now() < deadline, "{why}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn handovers_under_load_keep_every_write_and_are_short() {
    let Some(cluster) = Cluster::start() else { return };
    let mut active = cluster.active_but(None).await;
    let addresses: Vec<String> =
        (0..NODES).map(|node| cluster.node(node).address.to_string()).collect();
    let (stop, stopped) = watch::channel(false);
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(write(addresses.clone(), number, stopped.clone())))
        .collect();
    for round in 0..HANDOVERS {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let named = (round % 2 == 0).then_some((active + 1) % NODES);
        hand_over(&addresses.join(","), named).await;
        let begun = Instant::now();
        let next = cluster.active_but(Some(active)).await;
        println!("node {next} follows node {active}, {:?} after the reply", begun.elapsed());
        assert!(named.is_none_or(|named| named == next), "{named:?}: {}", cluster.messages());
        active = next;
    }
    stop.send(true).unwrap();
    let client = ClusterClient::connect(addresses, ClientOptions::default()).await.unwrap();
    for (number, writer) in (0..WRITERS).zip(writers) {
        let (writes, longest) = writer.await.unwrap();
        println!("{writes} writes, at most {longest:?} between two replies");
        assert!(longest < CLAIM, "{}", cluster.messages());
        let detail = command(Kind::Detail, json!({"ids": [format!("chat-{number}")]}));
        let Ok(Reply::Detail(reply)) = client.call(detail).await else { panic!() };
        let last = serde_json::to_value(&reply).unwrap()["items"][0]["last_sequence"].as_u64();
        assert_eq!(last, Some(writes));
    }
}
