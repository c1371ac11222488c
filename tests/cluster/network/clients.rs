//! Clients that write and read while the network fails, and check each reply.
//!
//! A writer takes the sequences of its chat one by one, each with an idempotency key, and repeats a
//! write until it is acknowledged. So a lost or doubled write brings a wrong sequence. A reader asks
//! one node alone: whatever that replies has all that was acknowledged before the question. So two
//! nodes that both reply as the active are found out.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use chatshard::client::{ClientOptions, ClusterClient, Connection};
use chatshard::command::{Call, Command, ErrorCode, Kind, Reply};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::TOKEN;

/// Time between two writes of a writer, and between two reads of a reader.
const PAUSE: Duration = Duration::from_millis(20);
/// A reader that waits longer for a reply connects again.
const PATIENCE: Duration = Duration::from_secs(1);

/// What writers and readers have seen.
#[derive(Default)]
pub struct Seen {
    /// The newest acknowledged sequence of each writer's chat.
    acknowledged: RefCell<Vec<u64>>,
    newest: Cell<Option<Instant>>,
    longest: Cell<Duration>,
    /// Replies of nodes with data, and replies that refuse.
    pub served: Cell<u64>,
    pub refused: Cell<u64>,
    is_over: Cell<bool>,
}

impl Seen {
    /// Acknowledged writes of all writers.
    pub fn writes(&self) -> u64 {
        self.acknowledged.borrow().iter().sum()
    }

    /// The longest time without an acknowledged write since the last call.
    pub fn take_longest_gap(&self) -> Duration {
        self.longest.replace(Duration::ZERO)
    }

    fn acknowledge(&self, writer: usize, sequence: u64) {
        self.acknowledged.borrow_mut()[writer] = sequence;
        let now = Instant::now();
        if let Some(before) = self.newest.replace(Some(now)) {
            self.longest.set(self.longest.get().max(now - before));
        }
    }
}

pub fn options() -> ClientOptions {
    ClientOptions { token: Some(TOKEN.to_owned()), ..ClientOptions::default() }
}

fn command(kind: Kind, arguments: Value) -> Command {
    Command::from_json(kind, arguments).unwrap()
}

fn chat(writer: usize) -> String {
    format!("chat-{writer}")
}

/// Writers and readers, until they are told to end.
pub struct Clients {
    pub seen: Rc<Seen>,
    writers: Vec<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
}

impl Clients {
    /// So many writers, and a reader for each node.
    pub async fn start(writers: usize, nodes: &[SocketAddr]) -> Self {
        let seen = Rc::new(Seen::default());
        *seen.acknowledged.borrow_mut() = vec![0; writers];
        let names: Vec<String> = nodes.iter().map(SocketAddr::to_string).collect();
        let mut writing = Vec::new();
        for writer in 0..writers {
            let client = ClusterClient::connect(names.clone(), options()).await.unwrap();
            let create = json!({"id": chat(writer), "type": 2, "creator_id": "u", "user_ids": ["u"],
                "idempotency_key": chat(writer)});
            client.call(command(Kind::Create, create)).await.unwrap();
            writing.push(tokio::task::spawn_local(write(Rc::clone(&seen), client, writer)));
        }
        let read = |node: &SocketAddr| tokio::task::spawn_local(read(Rc::clone(&seen), *node));
        let readers = nodes.iter().map(read).collect();
        Self { seen, writers: writing, readers }
    }

    /// Ends all. Every write is acknowledged then.
    pub async fn end(self) -> Rc<Seen> {
        self.seen.is_over.set(true);
        for task in self.writers.into_iter().chain(self.readers) {
            task.await.unwrap();
        }
        self.seen
    }
}

async fn write(seen: Rc<Seen>, client: ClusterClient, writer: usize) {
    let mut next = 1;
    while !seen.is_over.get() {
        let advance = json!({"chat_id": chat(writer), "allocate": 1,
            "idempotency_key": format!("{writer}-{next}")});
        match client.call(command(Kind::Advance, advance)).await {
            Ok(Reply::Advance(reply)) => {
                assert_eq!(reply.last_sequence.get(), next, "of {}", chat(writer));
                seen.acknowledge(writer, next);
                next += 1;
            }
            Ok(other) => panic!("{other:?}"),
            // The client has repeated it until its time-out.
            Err(error) => assert_eq!(error.code, ErrorCode::Unavailable, "{error}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn read(seen: Rc<Seen>, node: SocketAddr) {
    let mut connection = None;
    while !seen.is_over.get() {
        tokio::time::sleep(PAUSE).await;
        if connection.is_none() {
            let options = ClientOptions { connect_timeout: PATIENCE, ..options() };
            connection = Connection::connect(node, &options).await.ok().map(|(open, _)| open);
        }
        let Some(open) = &mut connection else { continue };
        let acknowledged = seen.acknowledged.borrow().clone();
        let ids: Vec<String> = (0..acknowledged.len()).map(chat).collect();
        open.send(&command(Kind::Detail, json!({"ids": ids}))).unwrap();
        let reply = timeout(PATIENCE, async {
            open.flush().await.ok()?;
            open.receive().await.ok()
        });
        match reply.await.ok().flatten().map(|reply| reply.outcome) {
            Some(Ok(Reply::Detail(reply))) => {
                let reply = serde_json::to_value(&reply).unwrap();
                let items = reply["items"].as_array().unwrap();
                assert_eq!(items.len(), acknowledged.len());
                for (item, least) in items.iter().zip(acknowledged) {
                    let shown = item["last_sequence"].as_u64().unwrap();
                    assert!(shown >= least, "{node} shows {shown}, and {least} was acknowledged");
                }
                seen.served.set(seen.served.get() + 1);
            }
            Some(Err(_)) => seen.refused.set(seen.refused.get() + 1),
            Some(Ok(other)) => panic!("{other:?}"),
            None => connection = None,
        }
    }
}
