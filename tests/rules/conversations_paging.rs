//! Pages of `conversations` while messages arrive. A chat without new messages is neither skipped
//! nor repeated, and a page reports when rows before it have moved.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use chatshard::client::{Client, ClientOptions};
use chatshard::command::{Call, Command, Kind, Outcome};
use serde_json::{Value, json};

use crate::common::random::Random;
use crate::common::{SimNode, TestServer};

fn command(name: &str, arguments: Value) -> Command {
    Command::from_json(Kind::from_name(name).unwrap(), arguments).unwrap()
}

fn body(outcome: Outcome) -> Value {
    serde_json::to_value(outcome.unwrap()).unwrap()
}

fn id(number: u64) -> String {
    format!("c{number:05}")
}

/// Chats of one user, each with a last message, some of them pinned.
fn import(numbers: std::ops::Range<u64>) -> Command {
    let chat = |number: u64| {
        json!({
            "id": id(number), "type": 2, "creator_id": "m", "last_sequence": 1,
            // Several chats have the same time.
            "last_time": 1_000_000 + number * 7919 % 20_011,
        })
    };
    let member = |number: u64| {
        let is_top = u8::from(number.is_multiple_of(50));
        json!({"user_id": "u", "chat_id": id(number), "is_top": is_top})
    };
    let chats: Vec<Value> = numbers.clone().map(chat).collect();
    let members: Vec<Value> = numbers.map(member).collect();
    command("import", json!({"chats": chats, "members": members}))
}

fn page(limit: u64, cursor: &Value) -> Command {
    command("conversations", json!({"user_id": "u", "limit": limit, "cursor": cursor}))
}

/// Position of a conversation, from an item.
type ConversationPlace = (bool, Reverse<u64>, String);

fn place(item: &Value) -> ConversationPlace {
    let id = item["chat_id"].as_str().unwrap().to_owned();
    (item["is_top"] == 0, Reverse(item["last_time"].as_u64().unwrap()), id)
}

/// How often each chat was returned, and the checks of every page.
#[derive(Default)]
struct Walk {
    told: BTreeMap<String, u64>,
    end: Option<ConversationPlace>,
    pages: u64,
    moved: u64,
}

impl Walk {
    /// Takes a page, and returns the next cursor.
    fn take(&mut self, mut page: Value) -> Value {
        for item in page["items"].as_array().unwrap() {
            let place = place(item);
            assert!(
                self.end.as_ref().is_none_or(|end| *end < place),
                "{place:?} behind {:?}",
                self.end
            );
            *self.told.entry(place.2.clone()).or_default() += 1;
            self.end = Some(place);
        }
        self.pages += 1;
        self.moved += u64::from(page["moved"] == true);
        page["next_cursor"].take()
    }

    /// Checks at the end that each chat without new messages came once.
    fn check(&self, chats: u64, moving: &BTreeSet<u64>) {
        for number in (0..chats).filter(|number| !moving.contains(number)) {
            assert_eq!(self.told.get(&id(number)), Some(&1), "{} stood still", id(number));
        }
    }
}

/// Between two pages chats move to any position. Each page is compared with a sorted set.
#[test]
fn each_page_says_whether_what_is_before_it_moved() {
    const CHATS: u64 = 400;
    let mut moves = [0, 0];
    for seed in 0..6 {
        let mut random = Random::new(seed);
        let mut node = SimNode::new(u16::try_from(1 + seed % 4).unwrap(), seed);
        node.shuffle(seed);
        node.run(import(0..CHATS)).unwrap();
        let whole = node.run(command("conversations", json!({"user_id": "u", "limit": 200})));
        let second = page(200, &body(whole.clone())["next_cursor"]);
        let second = body(node.run(second));
        let mut places: BTreeMap<String, ConversationPlace> = [body(whole), second]
            .iter()
            .flat_map(|page| {
                page["items"].as_array().unwrap().iter().map(place).collect::<Vec<_>>()
            })
            .map(|place| (place.2.clone(), place))
            .collect();
        assert_eq!(places.len(), 400);

        let (mut walk, mut moving) = (Walk::default(), BTreeSet::new());
        let mut cursor = Value::Null;
        let mut before = BTreeSet::new();
        loop {
            let told = body(node.run(page(7, &cursor)));
            let up_to = |end: &ConversationPlace| -> BTreeSet<ConversationPlace> {
                places.values().filter(|place| *place <= end).cloned().collect()
            };
            if let Some(end) = &walk.end {
                let expected = up_to(end) != before;
                assert_eq!(told["moved"], expected, "seed {seed}, page {}", walk.pages);
                moves[usize::from(expected)] += 1;
            }
            cursor = walk.take(told);
            if cursor.is_null() {
                break;
            }
            before = up_to(walk.end.as_ref().unwrap());
            for _ in 0..random.below(3) {
                let number = random.below(CHATS);
                let time = 1_000_000 + random.below(25_000);
                let advance = json!({"chat_id": id(number), "allocate": 1, "time": time});
                node.run(command("advance", advance)).unwrap();
                places.get_mut(&id(number)).unwrap().1 = Reverse(time);
                moving.insert(number);
            }
            if random.below(20) == 0 {
                node.restart(u16::try_from(1 + random.below(5)).unwrap());
            }
        }
        assert!(walk.pages > 50 && moving.len() > 20, "seed {seed}");
        walk.check(CHATS, &moving);
    }
    assert!(moves.iter().all(|count| *count > 20), "{moves:?}");
}

/// Like the test before, with messages between the parts of one page.
#[test]
fn chats_that_stand_still_are_told_once_while_others_move_within_a_page() {
    const CHATS: u64 = 1200;
    let mut moved = 0;
    for seed in 0..4 {
        let mut random = Random::new(seed);
        let mut node = SimNode::new(u16::try_from(2 + seed % 3).unwrap(), seed);
        node.shuffle(seed);
        node.run(import(0..CHATS)).unwrap();
        let (mut walk, mut moving) = (Walk::default(), BTreeSet::new());
        let mut cursor = Value::Null;
        loop {
            let ticket = node.submit(u16::try_from(random.below(4)).unwrap(), page(40, &cursor));
            let told = loop {
                if random.below(4) == 0 {
                    // Only some ever move, to any place.
                    let number = random.below(CHATS / 4) * 4;
                    let time = 1_000_000 + random.below(25_000);
                    let advance = json!({"chat_id": id(number), "allocate": 1, "time": time});
                    node.submit(
                        u16::try_from(random.below(4)).unwrap(),
                        command("advance", advance),
                    );
                    moving.insert(number);
                }
                if let Some(outcome) = node.take(ticket) {
                    break body(outcome);
                }
                node.step();
            };
            cursor = walk.take(told);
            if cursor.is_null() {
                break;
            }
        }
        node.settle();
        assert!(walk.pages >= 20 && moving.len() > 20, "seed {seed}: {} pages", walk.pages);
        moved += walk.moved;
        walk.check(CHATS, &moving);
    }
    assert!(moved > 20, "{moved} pages said that something moved");
}

/// A giant's whole list over TCP, while other connections send messages to some of the chats.
#[test]
fn fifty_thousand_chats_over_tcp() {
    const CHATS: u64 = 50_000;
    let server = TestServer::start(&[("shards", "2")]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Long for any machine: nothing here depends on time.
    let patience = Duration::from_secs(600);
    let options = ClientOptions {
        connect_timeout: patience,
        call_timeout: patience,
        ..ClientOptions::default()
    };
    let connect = || Client::connect(server.tcp(), options.clone());
    let walk = runtime.block_on(async {
        let client = connect().await.unwrap();
        for from in (0..CHATS).step_by(5000) {
            client.call(import(from..from + 5000)).await.unwrap();
        }
        let (done, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut senders = Vec::new();
        for seed in 0..2 {
            let (client, done, sent) =
                (connect().await.unwrap(), Arc::clone(&done), Arc::clone(&sent));
            senders.push(tokio::spawn(async move {
                let mut random = Random::new(seed);
                while !done.load(Ordering::Relaxed) {
                    let chat = id(random.below(CHATS / 10) * 10);
                    let time = 1_000_000 + random.below(25_000);
                    let advance = json!({"chat_id": chat, "allocate": 1, "time": time});
                    client.call(command("advance", advance)).await.unwrap();
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let mut walk = Walk::default();
        let mut cursor = Value::Null;
        loop {
            // There are messages between any two pages.
            let before = sent.load(Ordering::Relaxed);
            while sent.load(Ordering::Relaxed) == before {
                tokio::task::yield_now().await;
            }
            let told = body(client.call(page(200, &cursor)).await);
            cursor = walk.take(told);
            if cursor.is_null() {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.await.unwrap();
        }
        walk
    });
    drop(runtime);
    server.stop();
    let moving: BTreeSet<u64> = (0..CHATS).step_by(10).collect();
    walk.check(CHATS, &moving);
    assert!(walk.pages >= 225, "{} pages", walk.pages);
    assert!(walk.moved > 0, "no page said that earlier ones moved");
}
