//! A thousand devices call `sync` now and then, in pages, while users and chats change, deliveries
//! are under way, and the node crashes. Some crashes lose changes that clients know. In the end
//! each device holds exactly the list.

use std::collections::BTreeMap;

use chatshard::command::{Command, Kind};
use serde_json::{Value, json};

use crate::common::random::Random;
use crate::common::{Door, SimNode};

const USERS: u64 = 40;
const DEVICES_A_USER: u64 = 25;
const CHATS: u64 = 50;
const STEPS: u64 = 15_000;

/// Counts that show that each kind of event did happen.
#[derive(Default, Debug)]
struct Seen {
    resets: u64,
    pieces: u64,
    removals: u64,
    losses: u64,
}

/// An app's copy of its user's list.
#[derive(Default)]
struct Device {
    since: Option<(Value, u64)>,
    rows: BTreeMap<String, Value>,
}

impl Device {
    /// Calls `sync` once. Returns whether there is more to read.
    fn sync(
        &mut self,
        node: &mut SimNode,
        user: &str,
        limit: Option<u64>,
        seen: &mut Seen,
    ) -> bool {
        let since =
            self.since.as_ref().map(|(log, version)| json!({"log": log, "version": version}));
        let arguments = json!({"user_id": user, "since": since, "limit": limit});
        let door: &mut dyn Door = node;
        let mut reply = door.ok("sync", arguments.clone());
        let Value::Array(items) = reply["items"].take() else { panic!("no items: {reply}") };
        let (reset, more) = (reply["reset"] == true, reply["more"] == true);
        assert!(limit.is_none_or(|limit| items.len() as u64 <= limit), "{arguments}: {items:?}");
        assert!(!reset || self.since.is_some(), "{arguments}: a reset of nothing");
        if reset {
            self.rows.clear();
            seen.resets += 1;
        }
        let mut version = if reset { 0 } else { self.since.as_ref().map_or(0, |since| since.1) };
        for mut item in items {
            let next = item["version"].as_u64().unwrap();
            assert!(next > version, "{arguments}: version {next} behind {version}");
            version = next;
            let fields = item.as_object_mut().unwrap();
            fields.remove("version");
            fields.remove("marked_unread");
            let chat = fields["chat_id"].as_str().unwrap().to_owned();
            if fields.remove("op").unwrap() == "upsert" {
                self.rows.insert(chat, item);
            } else {
                self.rows.remove(&chat);
                seen.removals += 1;
            }
        }
        let told = reply["version"].as_u64().unwrap();
        assert!(told == version || (!more && told > version), "{arguments}: {told}, {version}");
        seen.pieces += u64::from(more);
        self.since = Some((reply["log"].take(), told));
        more
    }
}

fn user(random: &mut Random) -> String {
    format!("u{}", random.below(USERS))
}

fn chat(random: &mut Random) -> String {
    format!("c{}", random.below(CHATS))
}

fn write(random: &mut Random) -> (&'static str, Value) {
    let (user, chat) = (user(random), chat(random));
    let others = [self::user(random), self::user(random), self::user(random)];
    match random.below(100) {
        0..30 => ("advance", json!({"chat_id": chat, "allocate": 1, "time": 1, "sender_id": user})),
        30..45 => {
            let chats = [chat, self::chat(random), self::chat(random)];
            ("delete", json!({"user_id": user, "ids": chats}))
        }
        45..60 => {
            let flags = [random.below(2), random.below(2)];
            (
                "set_flags",
                json!({"user_id": user, "chat_id": chat, "is_top": flags[0], "is_mute": flags[1]}),
            )
        }
        60..70 => ("clear", json!({"user_id": user, "chat_id": chat})),
        70..82 => ("add_members", json!({"chat_id": chat, "user_ids": others})),
        82..92 => ("remove_members", json!({"chat_id": chat, "user_ids": others})),
        92..98 => {
            // A chat that is gone stays gone: new ones come.
            let id = format!("n{}", random.below(1000));
            ("create", json!({"id": id, "type": 2, "creator_id": user, "user_ids": others}))
        }
        98 => ("dissolve", json!({"chat_id": format!("n{}", random.below(1000))})),
        _ => ("erase_user", json!({"user_id": user})),
    }
}

/// The node after a crash of a random kind.
fn crash(node: &SimNode, random: &mut Random, seen: &mut Seen) -> SimNode {
    let shards = u16::try_from(1 + random.below(5)).unwrap();
    if random.below(4) > 0 {
        return node.crashed(shards);
    }
    // The last records are lost, although clients know them.
    seen.losses += 1;
    let cuts = node.cuts();
    let back = usize::try_from(random.below(40)).unwrap();
    let kept = cuts[cuts.len().saturating_sub(1 + back)];
    node.crashed_with_loss(shards, kept)
}

fn play(seed: u64) -> Seen {
    let mut random = Random::new(seed);
    let mut node = SimNode::new(3, seed);
    // A device that comes back late finds that the removals that it missed are forgotten.
    node.remember_at_least(seed % 30);
    node.shuffle(seed);
    let mut seen = Seen::default();
    for number in 0..CHATS {
        let users: Vec<String> = (0..8).map(|_| user(&mut random)).collect();
        let door: &mut dyn Door = &mut node;
        door.ok(
            "create",
            json!({"id": format!("c{number}"), "type": 2, "creator_id": "m", "user_ids": users}),
        );
    }
    let mut devices: Vec<(String, Device)> = (0..USERS)
        .flat_map(|user| (0..DEVICES_A_USER).map(move |_| (format!("u{user}"), Device::default())))
        .collect();
    assert_eq!(devices.len(), 1000);
    for _ in 0..STEPS {
        match random.below(1000) {
            0..500 => {
                let (name, arguments) = write(&mut random);
                let command =
                    Command::from_json(Kind::from_name(name).unwrap(), arguments).unwrap();
                // The test does not wait for it, and some of its deliveries stay under way.
                node.submit(u16::try_from(random.below(5)).unwrap(), command);
                for _ in 0..random.below(12) {
                    node.step();
                }
            }
            500..997 => {
                let index = usize::try_from(random.below(1000)).unwrap();
                let limit = Some(1 + random.below(6)).filter(|limit| *limit < 6);
                let (user, device) = &mut devices[index];
                device.sync(&mut node, user, limit, &mut seen);
            }
            _ => node = crash(&node, &mut random, &mut seen),
        }
    }
    node.settle();
    for (user, device) in &mut devices {
        while device.sync(&mut node, user, Some(4), &mut seen) {}
        let list = listed(&mut node, user);
        assert_eq!(device.rows, list, "seed {seed}: a device of {user}");
    }
    let door: &mut dyn Door = &mut node;
    assert_eq!(door.ok("verify", json!({}))["differences"], 0, "seed {seed}");
    seen
}

fn listed(node: &mut SimNode, user: &str) -> BTreeMap<String, Value> {
    let door: &mut dyn Door = node;
    let rows = door.list(user).into_iter();
    rows.map(|row| (row["chat_id"].as_str().unwrap().to_owned(), row)).collect()
}

#[test]
fn a_thousand_devices_end_with_the_list() {
    for seed in [1, 2] {
        let seen = play(seed);
        // Each way to fall behind did occur.
        assert!(seen.resets > 100 && seen.pieces > 1000, "seed {seed}: {seen:?}");
        assert!(seen.removals > 100 && seen.losses > 3, "seed {seed}: {seen:?}");
    }
}

/// The erasure is not repeated: the user stays without some of the chats, and devices get that.
#[test]
fn an_erasure_that_a_crash_cut_short_is_told() {
    let mut left = Vec::new();
    for steps in 0.. {
        let mut node = SimNode::new(3, 7);
        let door: &mut dyn Door = &mut node;
        for chat in ["g1", "g2", "g3", "g4"] {
            door.group(chat, &["a", "b"]);
        }
        let (mut device, mut seen) = (Device::default(), Seen::default());
        assert!(!device.sync(&mut node, "a", None, &mut seen));
        assert_eq!(device.rows.len(), 4);
        let erase = Command::from_json(Kind::EraseUser, json!({"user_id": "a"})).unwrap();
        let ticket = node.submit(0, erase);
        for _ in 0..steps {
            node.step();
        }
        let is_done = node.take(ticket).is_some();
        node.restart(2);
        node.settle();
        assert!(!device.sync(&mut node, "a", None, &mut seen));
        assert_eq!(device.rows, listed(&mut node, "a"), "{steps} steps");
        left.push(device.rows.len());
        if is_done {
            break;
        }
    }
    // All, a part, none.
    assert_eq!((left.first(), left.last()), (Some(&4), Some(&0)));
    assert!(left.iter().any(|rows| (1..4).contains(rows)), "{left:?}");
}
