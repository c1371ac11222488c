//! Races: commands of several connections, and messages between shards in any order that the links
//! allow. Afterwards nothing is half done.
//!
//! `PROPTEST_CASES` sets the number of cases and draws new ones. Without it the same cases are run.

use std::collections::BTreeSet;

use chatshard::command::{Command, Kind};
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value, json};

use crate::common::random::Random;
use crate::common::{Door, SimNode};

const USERS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A request of one of several connections about one chat.
#[derive(Debug, Clone)]
enum Ask {
    Delete(usize, Option<u64>),
    Allocate(Option<usize>),
    Late(usize),
    Read(usize, u64),
    Clear(usize),
    Pin(usize),
    Leave(usize),
    Join(usize),
    Look(usize),
}

impl Ask {
    fn command(&self) -> Command {
        let (name, arguments) = match *self {
            Self::Delete(user, up_to) => {
                ("delete", json!({"user_id": USERS[user], "ids": ["g"], "up_to": up_to}))
            }
            Self::Allocate(sender) => {
                let sender = sender.map(|user| USERS[user]);
                ("advance", json!({"chat_id": "g", "allocate": 1, "time": 1, "sender_id": sender}))
            }
            Self::Late(user) => {
                ("advance", json!({"chat_id": "g", "to": 1, "time": 1, "sender_id": USERS[user]}))
            }
            Self::Read(user, seq) => {
                ("mark_read", json!({"user_id": USERS[user], "chat_id": "g", "seq": seq}))
            }
            Self::Clear(user) => ("clear", json!({"user_id": USERS[user], "chat_id": "g"})),
            Self::Pin(user) => {
                ("set_flags", json!({"user_id": USERS[user], "chat_id": "g", "is_top": 1}))
            }
            Self::Leave(user) => {
                ("remove_members", json!({"chat_id": "g", "user_ids": [USERS[user]]}))
            }
            Self::Join(user) => ("add_members", json!({"chat_id": "g", "user_ids": [USERS[user]]})),
            Self::Look(user) => ("detail", json!({"ids": ["g"], "user_id": USERS[user]})),
        };
        Command::from_json(Kind::from_name(name).unwrap(), arguments).unwrap()
    }
}

fn ask() -> impl Strategy<Value = Ask> {
    let user = || 0..USERS.len();
    prop_oneof![
        6 => (user(), prop::option::of(0..8_u64)).prop_map(|(user, up_to)| Ask::Delete(user, up_to)),
        6 => prop::option::of(user()).prop_map(Ask::Allocate),
        1 => user().prop_map(Ask::Late),
        2 => (user(), 0..8_u64).prop_map(|(user, seq)| Ask::Read(user, seq)),
        1 => user().prop_map(Ask::Clear),
        1 => user().prop_map(Ask::Pin),
        1 => user().prop_map(Ask::Leave),
        1 => user().prop_map(Ask::Join),
        2 => user().prop_map(Ask::Look),
    ]
}

/// What happens between two requests.
#[derive(Debug, Clone)]
enum Pause {
    /// This many messages are delivered.
    Steps(usize),
    /// The node crashes and starts from its log.
    Crash(u16),
    /// The node starts from its log and a snapshot, which was begun on one shard `steps` steps
    /// before.
    Snapshot { at: u16, captured: usize, steps: usize, shards: u16 },
}

fn pause() -> impl Strategy<Value = Pause> {
    prop_oneof![
        20 => (0..8_usize).prop_map(Pause::Steps),
        1 => (1..5_u16).prop_map(Pause::Crash),
        1 => (0..4_u16, 0..3000_usize, 0..12_usize, 1..5_u16)
            .prop_map(|(at, captured, steps, shards)| Pause::Snapshot { at, captured, steps, shards }),
    ]
}

/// At rest, each delete covers all messages, or its row is back.
fn check_quiet(node: &mut SimNode) -> Result<(), TestCaseError> {
    node.settle();
    let door: &mut dyn Door = node;
    let (chats, mut members) = door.export(None);
    members.retain(|line| line["removed"] == 0);
    let last = chats[0]["last_sequence"].as_u64().unwrap();
    for line in &members {
        let user = line["user_id"].as_str().unwrap();
        prop_assert!(!line["version"].is_null(), "no row: {}", line);
        let deleted_to = line["deleted_to_seq"].as_u64().unwrap();
        if line["is_show"] == 0 {
            prop_assert_eq!(deleted_to, last, "gone, and not covered: {}", line);
            prop_assert_eq!(door.unread(user, "g"), 0);
        }
        prop_assert_eq!(door.listed(user).len(), usize::from(line["is_show"] == 1), "{}", user);
        let read = line["max_read_seq"].as_u64().unwrap();
        prop_assert!(deleted_to <= read && read <= last, "{}", line);
        prop_assert!(door.unread(user, "g") >= 0);
    }
    let rows: usize = USERS.iter().map(|user| door.listed(user).len()).sum();
    let shown = members.iter().filter(|line| line["is_show"] == 1).count();
    prop_assert_eq!(rows, shown, "a row without a member");
    prop_assert_eq!(&door.ok("stats", json!({}))["outbox"], &json!(0));
    let verified = door.ok("verify", json!({}));
    prop_assert_eq!(&verified["differences"], &json!(0), "{}", verified);
    // A message brings every row back, whatever was under way before.
    door.message("g", last + 1);
    for line in &members {
        let user = line["user_id"].as_str().unwrap();
        prop_assert_eq!(door.listed(user), ["g"]);
        prop_assert!(door.unread(user, "g") >= 1);
    }
    Ok(())
}

fn race(asks: &[(Ask, u16, Pause)], seed: u64) -> Result<(), TestCaseError> {
    let mut node = SimNode::new(4, seed);
    node.shuffle(seed);
    door(&mut node).group("g", &USERS);
    door(&mut node).message("g", 2);
    let mut open: Vec<(u64, &Ask)> = Vec::new();
    let mut handed_out = BTreeSet::new();
    for (ask, core, pause) in asks {
        open.push((node.submit(*core, ask.command()), ask));
        match *pause {
            Pause::Steps(steps) => (0..steps).for_each(|_| _ = node.step()),
            Pause::Crash(shards) => node.restart(shards),
            Pause::Snapshot { at, captured, steps, shards } => {
                node.begin_snapshot(at);
                node.capture(at, captured);
                (0..steps).for_each(|_| _ = node.step());
                let snapshot = node.finish_snapshot();
                // The snapshot alone is a state to start from too.
                check_quiet(&mut node.crashed_without_log(shards, &snapshot))?;
                node = node.crashed_with_snapshot(shards, &snapshot);
            }
        }
        let mut answered = |node: &mut SimNode| {
            open.retain(|(ticket, ask)| match node.take(*ticket) {
                None => true,
                Some(outcome) => {
                    if let (Ask::Allocate(_), Ok(reply)) = (ask, &outcome) {
                        let reply = serde_json::to_value(reply).unwrap();
                        let first = reply["first_sequence"].as_u64().unwrap();
                        assert!(handed_out.insert(first), "{first} was handed out twice");
                    }
                    if let (Ask::Look(user), Ok(reply)) = (ask, &outcome) {
                        check_look(*user, &serde_json::to_value(reply).unwrap());
                    }
                    false
                }
            });
        };
        answered(&mut node);
        if matches!(pause, Pause::Crash(_) | Pause::Snapshot { .. }) {
            // No request gets a reply from a node that crashed.
            open.clear();
        }
    }
    check_quiet(&mut node)
}

/// An app subtracts the positions, so the result must not be negative.
fn check_look(user: usize, reply: &Value) {
    for item in reply["items"].as_array().unwrap() {
        let (read, last) = (item["last_read_sequence"].as_u64(), item["last_sequence"].as_u64());
        assert!(read <= last, "{} has read more than there is: {item}", USERS[user]);
    }
}

fn door(node: &mut SimNode) -> &mut dyn Door {
    node
}

fn runner(cases: u32) -> TestRunner {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    TestRunner::new(ProptestConfig {
        cases: asked.unwrap_or(cases),
        failure_persistence: None,
        rng_seed: if asked.is_some() { RngSeed::Random } else { RngSeed::Fixed(20_261_123) },
        ..ProptestConfig::default()
    })
}

#[test]
fn a_delete_covers_the_message_or_the_row_is_back() {
    let stories = (prop::collection::vec((ask(), 0..4_u16, pause()), 1..=25), any::<u64>());
    let outcome = runner(400).run(&stories, |(asks, seed)| race(&asks, seed));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn a_detail_never_tells_more_read_than_there_is() {
    for seed in 0..300 {
        let mut node = SimNode::new(4, seed);
        node.shuffle(seed);
        door(&mut node).group("g", &["a"]);
        door(&mut node).message("g", 2);
        let look = node.submit(0, Ask::Look(0).command());
        node.step();
        node.step();
        // Between the chat's part of the answer and the row's, a message comes and is read.
        node.submit(1, Ask::Allocate(None).command());
        node.submit(1, Ask::Read(0, 3).command());
        node.settle();
        check_look(0, &serde_json::to_value(node.take(look).unwrap().unwrap()).unwrap());
    }
}

#[test]
fn two_creates_of_one_chat_make_it_once() {
    let create = json!({"type": 1, "creator_id": "a", "user_ids": ["a", "b"]});
    for seed in 0..200 {
        let mut node = SimNode::new(4, seed);
        node.shuffle(seed);
        let command = || Command::from_json(Kind::Create, create.clone()).unwrap();
        let tickets: Vec<u64> = (0..4).map(|core| node.submit(core, command())).collect();
        node.settle();
        let replies: Vec<Value> = tickets
            .iter()
            .map(|ticket| serde_json::to_value(node.take(*ticket).unwrap().unwrap()).unwrap())
            .collect();
        assert_eq!(replies.iter().filter(|reply| reply["created"] == true).count(), 1);
        assert!(replies.iter().all(|reply| reply["id"] == replies[0]["id"]));
        let id = replies[0]["id"].as_str().unwrap().to_owned();
        for user in ["a", "b"] {
            assert_eq!(door(&mut node).listed(user), [id.as_str()]);
        }
    }
}

#[test]
fn an_answer_to_create_finds_every_row() {
    for seed in 0..200 {
        let mut node = SimNode::new(5, seed);
        node.shuffle(seed);
        let users: Vec<String> = (0..20).map(|number| format!("u{number}")).collect();
        let create = json!({"id": "g", "type": 2, "creator_id": "m", "user_ids": users});
        door(&mut node).ok("create", create);
        // No settling: the answer itself promises the rows.
        for user in &users {
            assert_eq!(door(&mut node).listed(user), ["g"], "seed {seed}: {user}");
            assert_eq!(
                door(&mut node).ok("mark_read", json!({"user_id": user, "chat_id": "g", "seq": 0}))
                    ["unread"],
                0
            );
        }
        door(&mut node).ok("delete", json!({"user_id": "u3", "ids": ["g"]}));
        assert!(door(&mut node).listed("u3").is_empty(), "seed {seed}");
        door(&mut node).ok("dissolve", json!({"chat_id": "g"}));
        for user in &users {
            assert!(door(&mut node).listed(user).is_empty(), "seed {seed}: {user}");
        }
    }
}

#[test]
fn requests_for_a_chat_are_applied_in_the_order_sent() {
    for seed in 0..200 {
        let mut node = SimNode::new(4, seed);
        node.shuffle(seed);
        door(&mut node).group("g", &USERS);
        // One connection, nothing awaited.
        let send = |node: &mut SimNode, name: &str, arguments: Value| {
            let command = Command::from_json(Kind::from_name(name).unwrap(), arguments).unwrap();
            node.submit(1, command)
        };
        let tickets = [
            send(&mut node, "advance", json!({"chat_id": "g", "allocate": 3, "time": 1})),
            send(&mut node, "advance", json!({"chat_id": "g", "allocate": 2, "time": 1})),
            send(&mut node, "mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 5})),
            send(&mut node, "delete", json!({"user_id": "a", "ids": ["g"]})),
            send(&mut node, "advance", json!({"chat_id": "g", "to": 6, "time": 1})),
            send(&mut node, "clear", json!({"user_id": "b", "chat_id": "g"})),
            send(&mut node, "set_status", json!({"chat_id": "g", "status": 2})),
            send(&mut node, "advance", json!({"chat_id": "g", "allocate": 1, "time": 1})),
        ];
        node.settle();
        let outcomes: Vec<Value> = tickets
            .iter()
            .map(|ticket| match node.take(*ticket).unwrap() {
                Ok(reply) => serde_json::to_value(reply).unwrap(),
                Err(error) => json!(error.code.status()),
            })
            .collect();
        assert_eq!(outcomes[0]["first_sequence"], 1);
        assert_eq!(outcomes[1]["first_sequence"], 4);
        assert_eq!(outcomes[2], json!({"max_read_seq": 5, "unread": 0}));
        assert_eq!(outcomes[4]["last_sequence"], 6);
        assert_eq!(outcomes[5], json!({"deleted_to_seq": 6}));
        assert_eq!(outcomes[7], 423);
        let row = door(&mut node).row("a", "g");
        assert_eq!((&row["is_show"], &row["max_read_seq"]), (&json!(1), &json!(5)));
    }
}

/// The requests of one import follow each other without waiting; members may come behind their
/// chats.
#[test]
fn imports_in_a_row_build_on_each_other() {
    for seed in 0..100 {
        let mut node = SimNode::new(3, seed);
        node.shuffle(seed);
        let import = |arguments: Value| Command::from_json(Kind::Import, arguments).unwrap();
        let ids: Vec<String> = (0..9).map(|number| format!("chat{number}")).collect();
        let mut tickets = Vec::new();
        // Many chats, then members of one (a single shard), then members of all. An import in
        // between is refused.
        let chat = |id: &String| json!({"id": id, "type": 2, "creator_id": "m"});
        let member = |user: &str, id: &String| json!({"user_id": user, "chat_id": id});
        let chats: Vec<Value> = ids.iter().map(chat).collect();
        tickets.push((node.submit(0, import(json!({"chats": chats}))), true));
        tickets.push((node.submit(0, import(json!({"members": [member("a", &ids[3])]}))), true));
        tickets.push((node.submit(0, import(json!({"chats": chats}))), false));
        let members: Vec<Value> = ids.iter().map(|id| member("b", id)).collect();
        tickets.push((node.submit(0, import(json!({"members": members}))), true));
        node.settle();
        for (ticket, taken) in tickets {
            let outcome = node.take(ticket).expect("an answer");
            assert_eq!(outcome.is_ok(), taken, "seed {seed}: {outcome:?}");
        }
    }
}

/// Another request creates a chat between the two checks of an import, so that a part is refused.
/// The error says how much was accepted.
#[test]
fn an_import_that_is_taken_in_part_says_how_much() {
    let (mut whole, mut refused, mut parts) = (0, 0, 0);
    for seed in 0..300 {
        let mut node = SimNode::new(3, seed);
        node.shuffle(seed);
        let ids: Vec<String> = (0..9).map(|number| format!("chat{number}")).collect();
        let chat = |id: &String| json!({"id": id, "type": 2, "creator_id": "m"});
        let member = |id: &String| json!({"user_id": "u", "chat_id": id});
        let lines = json!({"chats": ids.iter().map(chat).collect::<Vec<Value>>(),
            "members": ids.iter().map(member).collect::<Vec<Value>>()});
        let import = node.submit(0, Command::from_json(Kind::Import, lines).unwrap());
        (0..seed % 30).for_each(|_| _ = node.step());
        let other = json!({"id": "chat4", "type": 2, "creator_id": "other", "user_ids": []});
        let create = node.submit(1, Command::from_json(Kind::Create, other).unwrap());
        node.settle();
        drop(node.take(create));
        let outcome = node.take(import).unwrap();
        let (chats, members) = door(&mut node).export(None);
        let taken = chats.iter().filter(|line| line["creator_id"] == "m").count();
        assert_eq!(members.len(), taken, "seed {seed}");
        let told = format!("; {taken} chats and {taken} members of the request were taken");
        match outcome {
            Ok(_) => whole += usize::from(taken == 9),
            Err(error) if taken == 0 => {
                refused += 1;
                assert!(!error.message.contains("taken"), "seed {seed}: {error}");
            }
            Err(error) => {
                parts += 1;
                assert!(error.message.ends_with(&told), "seed {seed}: {error}, not {told}");
            }
        }
    }
    assert!(whole > 0 && refused > 0 && parts > 0, "{whole} {refused} {parts}");
}

/// Rows without an order come in the order in which their lines were sent. That holds whatever
/// deliveries overtake each other, whether or not earlier imports got their replies, and across a
/// crash.
#[test]
fn imported_rows_arrive_in_the_order_sent() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut node = SimNode::new(3, seed);
        node.shuffle(seed);
        let mut ids: Vec<String> = (0..24).map(|number| format!("c{number}")).collect();
        for at in (1..ids.len()).rev() {
            ids.swap(at, usize::try_from(random.below(at as u64 + 1)).unwrap());
        }
        let mut tickets = Vec::new();
        let mut left = &ids[..];
        while !left.is_empty() {
            let count = 1 + usize::try_from(random.below(8)).unwrap();
            let (now, later) = left.split_at(count.min(left.len()));
            left = later;
            let chat = |id: &String| json!({"id": id, "type": 2, "creator_id": "m"});
            let members = now
                .iter()
                .flat_map(|id| ["u", "v", "w"].map(|user| json!({"user_id": user, "chat_id": id})));
            let lines = json!({
                "chats": now.iter().map(chat).collect::<Vec<Value>>(),
                "members": members.collect::<Vec<Value>>(),
            });
            tickets.push(node.submit(0, Command::from_json(Kind::Import, lines).unwrap()));
            (0..random.below(60)).for_each(|_| _ = node.step());
        }
        node.settle();
        for ticket in tickets {
            assert!(node.take(ticket).unwrap().is_ok(), "seed {seed}");
        }
        let newest_first: Vec<String> = ids.iter().rev().cloned().collect();
        let mut restarted = node.crashed(2);
        for user in ["u", "v", "w"] {
            assert_eq!(door(&mut node).listed(user), newest_first, "seed {seed}");
            assert_eq!(door(&mut restarted).listed(user), newest_first, "seed {seed}");
        }
    }
}

/// Of several requests of one user with one key at once, one takes the key, and the others change
/// nothing.
#[test]
fn one_key_is_for_one_of_the_requests_that_race_for_it() {
    let chats: Vec<String> = (1..=7).map(|number| format!("c{number}")).collect();
    let items = |ids: &[String], seq: u64| -> Vec<Value> {
        ids.iter().map(|id| json!({"chat_id": id, "seq": seq})).collect()
    };
    // Each with the chats and the unread messages that it leaves; there are three in each chat.
    let requests = [
        ("delete", json!({"ids": &chats[..4]}), 3, 9),
        ("delete", json!({"ids": &chats[2..]}), 2, 6),
        ("mark_read_many", json!({"items": items(&chats, 2)}), 7, 7),
        ("mark_read_many", json!({"items": items(&chats, 1)}), 7, 14),
        ("mark_read", json!({"chat_id": "c1", "seq": 3}), 7, 18),
        ("erase_user", json!({}), 0, 0),
    ];
    let mut won = [0; 6];
    for seed in 0..600 {
        let mut node = SimNode::new(4, seed);
        node.shuffle(seed);
        for id in &chats {
            door(&mut node).group(id, &["a", "b"]);
            door(&mut node).message(id, 3);
        }
        let mut open = Vec::new();
        // One of them is sent a little before the others.
        let turn = usize::try_from(seed).unwrap() % requests.len();
        let ahead = seed / 6 % 50;
        for at in (0..requests.len()).map(|at| (at + turn) % requests.len()) {
            let (name, arguments, ..) = &requests[at];
            let mut arguments = arguments.clone();
            (arguments["user_id"], arguments["idempotency_key"]) = ("a".into(), "k".into());
            // Each twice: as its sender repeats it, on another core.
            for core in 0..2 {
                let command =
                    Command::from_json(Kind::from_name(name).unwrap(), arguments.clone()).unwrap();
                open.push((node.submit(core + u16::try_from(at).unwrap(), command), at));
            }
            if at == turn {
                (0..ahead).for_each(|_| _ = node.step());
            }
        }
        node.settle();
        let mut first: Option<(usize, Value)> = None;
        for (ticket, at) in open {
            match node.take(ticket).unwrap() {
                Ok(reply) => {
                    let told = (at, serde_json::to_value(reply).unwrap());
                    assert_eq!(*first.get_or_insert_with(|| told.clone()), told, "seed {seed}");
                }
                Err(error) => assert_eq!(error.code.status(), 409, "seed {seed}: {error}"),
            }
        }
        let (at, _) = first.expect("one of them is taken");
        won[at] += 1;
        let (name, _, listed, unread) = &requests[at];
        let door = door(&mut node);
        assert_eq!(door.listed("a").len(), *listed, "seed {seed}: {name}");
        let total = door.ok("unread", json!({"user_ids": ["a"]}));
        assert_eq!(total["items"][0]["messages"], *unread, "seed {seed}: {name}");
        assert_eq!(door.ok("verify", json!({}))["differences"], 0, "seed {seed}");
    }
    assert!(won.iter().all(|won| *won > 10), "each of them wins at times: {won:?}");
}

#[test]
fn one_key_without_an_id_makes_one_chat() {
    for seed in 0..200 {
        let mut node = SimNode::new(4, seed);
        node.shuffle(seed);
        let create = |kind: u8| {
            let create = json!({
                "type": kind, "creator_id": "m", "user_ids": ["a", "b"], "idempotency_key": "k",
            });
            Command::from_json(Kind::Create, create).unwrap()
        };
        let open = [2, 3, 1, 2, 3, 1].map(|kind| node.submit(u16::from(kind), create(kind)));
        node.settle();
        let taken: BTreeSet<String> = open
            .into_iter()
            .filter_map(|ticket| match node.take(ticket).unwrap() {
                Ok(reply) => Some(serde_json::to_value(reply).unwrap().to_string()),
                Err(error) => {
                    assert_eq!(error.code.status(), 409, "seed {seed}: {error}");
                    None
                }
            })
            .collect();
        assert_eq!(taken.len(), 1, "seed {seed}: {taken:?}");
        assert_eq!(door(&mut node).listed("a").len(), 1, "seed {seed}");
    }
}
