//! Chapter 11 of `docs/reference/semantics.md`: a write to a chat and many users is there wholly or
//! not at all, wherever a crash cuts the log. The log also holds enough to finish a write that was
//! begun.

use chatshard::command::{Command, Kind};
use serde_json::{Value, json};

use crate::common::{Door, SimNode};

/// Users on all shards of five, and of three.
const USERS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

fn door(node: &mut SimNode) -> &mut dyn Door {
    node
}

/// The node that starts from the first `length` records, at rest.
fn after_crash(node: &SimNode, length: usize, shards: u16) -> SimNode {
    let mut found = SimNode::from_log(shards, 7, &node.log()[..length]);
    found.settle();
    found
}

/// Checks that chats' members and users' rows agree, and that nothing is left to deliver.
#[track_caller]
fn assert_rows_agree(node: &mut SimNode, why: &str) {
    let (_, mut members) = door(node).export(None);
    members.retain(|line| line["removed"] == 0);
    for line in &members {
        assert!(!line["version"].is_null(), "{why}: a member without a row: {line}");
    }
    let verified = door(node).ok("verify", json!({}));
    assert_eq!(verified["differences"], 0, "{why}: {verified}");
    let stats = door(node).ok("stats", json!({}));
    // As many rows as members, each member with a row: the same rows.
    assert_eq!(stats["memberships"], members.len(), "{why}");
    assert_eq!(stats["outbox"], 0, "{why}");
    for user in USERS {
        for row in door(node).list(user) {
            let chat = row["chat_id"].as_str().unwrap();
            assert!(door(node).members(chat).iter().any(|member| member == user), "{why}: {row}");
        }
    }
}

/// Runs a command after earlier ones. Returns the lengths that the log may have after a crash from
/// then on: before the command, after each of its records, and at its end.
fn lengths(node: &mut SimNode, name: &str, arguments: Value) -> std::ops::RangeInclusive<usize> {
    node.settle();
    let before = node.log().len();
    door(node).ok(name, arguments);
    node.settle();
    before..=node.log().len()
}

#[test]
fn a_chat_is_there_for_all_its_members_or_for_none() {
    for shards in [1, 2, 5] {
        let mut node = SimNode::new(shards, 7);
        let create = json!({"id": "chat", "type": 2, "creator_id": "m", "user_ids": USERS});
        let cuts = lengths(&mut node, "create", create);
        assert!(cuts.end() - cuts.start() >= USERS.len(), "one record a row, at least");
        for length in cuts {
            let mut found = after_crash(&node, length, shards % 5 + 1);
            assert_rows_agree(&mut found, "create");
            let expected: &[&str] = if length == 0 { &[] } else { &["chat"] };
            for user in USERS {
                assert_eq!(
                    door(&mut found).listed(user),
                    expected,
                    "{user} after {length} records"
                );
            }
            if length > 0 {
                assert_eq!(door(&mut found).members("chat"), USERS);
            }
        }
    }
}

#[test]
fn members_join_leave_and_lose_the_chat_together() {
    let mut node = SimNode::new(5, 7);
    door(&mut node).group("chat", &["a"]);
    let (joining, leaving) = (&USERS[1..], &USERS[..6]);
    let steps = [
        ("add_members", json!({"chat_id": "chat", "user_ids": joining}), joining, 1),
        ("remove_members", json!({"chat_id": "chat", "user_ids": leaving}), leaving, 0),
        ("dissolve", json!({"chat_id": "chat"}), &USERS[6..], 0),
    ];
    for (name, arguments, users, rows_after) in steps {
        let cuts = lengths(&mut node, name, arguments);
        let before = *cuts.start();
        for length in cuts {
            let mut found = after_crash(&node, length, 3);
            assert_rows_agree(&mut found, name);
            let rows = if length == before { 1 - rows_after } else { rows_after };
            for user in users {
                assert_eq!(
                    door(&mut found).listed(user).len(),
                    rows,
                    "{name}: {user} after {length} records"
                );
            }
        }
    }
}

#[test]
fn a_deleted_chat_comes_back_to_all_or_is_still_deleted_by_all() {
    let mut node = SimNode::new(5, 7);
    door(&mut node).group("chat", &USERS);
    door(&mut node).message("chat", 3);
    for user in USERS {
        door(&mut node).ok("delete", json!({"user_id": user, "ids": ["chat"]}));
    }
    let cuts = lengths(&mut node, "advance", json!({"chat_id": "chat", "to": 4, "time": 1}));
    let before = *cuts.start();
    for length in cuts {
        let mut found = after_crash(&node, length, 2);
        assert_rows_agree(&mut found, "advance");
        for user in USERS {
            let listed = usize::from(length > before);
            assert_eq!(
                door(&mut found).listed(user).len(),
                listed,
                "{user} after {length} records"
            );
            assert_eq!(door(&mut found).unread(user, "chat"), i64::try_from(listed).unwrap());
        }
    }
}

#[test]
fn an_imported_chat_has_its_members() {
    let mut node = SimNode::new(5, 7);
    let members: Vec<Value> = USERS
        .iter()
        .map(|user| json!({"user_id": user, "chat_id": "chat", "max_read_seq": 2, "is_top": 1}))
        .collect();
    let chat = json!({"id": "chat", "type": 2, "creator_id": "m", "last_sequence": 9});
    lengths(&mut node, "import", json!({"chats": [chat], "members": members}));
    // Here the log is cut as a crash cuts it: the records of one step are one batch.
    for &length in node.cuts() {
        let mut found = after_crash(&node, length, 3);
        assert_rows_agree(&mut found, "import");
        let rows = usize::from(length > 0);
        for user in USERS {
            assert_eq!(door(&mut found).listed(user).len(), rows, "{user} after {length} records");
        }
    }
}

/// A life with most kinds of events, in random order between the shards.
fn life(seed: u64) -> SimNode {
    let mut node = SimNode::new(4, 7);
    node.shuffle(seed);
    let door = door(&mut node);
    door.group("g1", &USERS);
    door.group("g2", &USERS[2..7]);
    door.ok("create", json!({"type": 1, "creator_id": "a", "user_ids": ["a", "b"]}));
    door.ok("advance", json!({"chat_id": "g1", "to": 5, "time": 1, "sender_id": "c"}));
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g1", "seq": 2}));
    for user in &USERS[..5] {
        door.ok("delete", json!({"user_id": user, "ids": ["g1", "g2"]}));
    }
    door.ok("remove_members", json!({"chat_id": "g1", "user_ids": ["b", "i"]}));
    door.ok("advance", json!({"chat_id": "g1", "allocate": 2, "time": 1}));
    door.ok("add_members", json!({"chat_id": "g1", "user_ids": ["b"]}));
    door.ok("clear", json!({"user_id": "b", "chat_id": "g1"}));
    door.ok("set_flags", json!({"user_id": "f", "chat_id": "g2", "is_top": 1}));
    door.ok("touch", json!({"user_id": "f", "time": 9}));
    door.ok("advance", json!({"chat_id": "g2", "to": 3, "time": 1}));
    door.ok("set_status", json!({"chat_id": "g2", "status": 2}));
    door.ok("delete", json!({"user_id": "h", "ids": ["g1"], "up_to": 6}));
    door.ok("dissolve", json!({"chat_id": "g2"}));
    node
}

/// All chats and members without the versions of rows: events of different chats reach a user's
/// rows in no promised order.
fn contents(node: &mut SimNode) -> (Vec<Value>, Vec<Value>) {
    let (chats, mut members) = door(node).export(None);
    members.iter_mut().for_each(|line| line["version"] = Value::Null);
    members.sort_by_key(Value::to_string);
    (chats, members)
}

#[test]
fn any_prefix_of_the_log_is_a_state_to_start_from() {
    for seed in 0..3 {
        let node = life(seed);
        for length in 0..=node.log().len() {
            let mut found = after_crash(&node, length, 1 + u16::try_from(length % 5).unwrap());
            assert_rows_agree(&mut found, &format!("seed {seed}, {length} records"));
        }
    }
}

#[test]
fn a_second_crash_while_the_first_is_being_mended() {
    let node = life(1);
    for length in 0..=node.log().len() {
        let mut mended = after_crash(&node, length, 3);
        for steps in [1, 2, 5, 9] {
            let mut found = SimNode::from_log(5, 7, &node.log()[..length]);
            found.shuffle(length as u64);
            for _ in 0..steps {
                found.step();
            }
            found.restart(2);
            assert_eq!(
                contents(&mut found),
                contents(&mut mended),
                "{length} records, {steps} steps"
            );
        }
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash() {
    let mut node = SimNode::new(5, 7);
    node.shuffle(5);
    door(&mut node).group("g", &USERS);
    // No settling between: each crash comes the moment after the answer.
    for round in 1..8_u64 {
        let advanced =
            door(&mut node).ok("advance", json!({"chat_id": "g", "allocate": 2, "time": round}));
        node.restart(1 + u16::try_from(round % 5).unwrap());
        assert_eq!(advanced["last_sequence"], round * 2);
        let told = door(&mut node).ok("detail", json!({"ids": ["g"]}));
        assert_eq!(told["items"][0]["last_sequence"], round * 2);

        let user = USERS[usize::try_from(round).unwrap()];
        door(&mut node).ok("delete", json!({"user_id": user, "ids": ["g"]}));
        node.restart(2);
        assert!(door(&mut node).listed(user).is_empty(), "{user}");

        door(&mut node).ok("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": round}));
        node.restart(3);
        assert_eq!(door(&mut node).row("a", "g")["max_read_seq"], round);
    }
}

#[test]
fn a_delivery_that_comes_again_undoes_nothing() {
    let command = |name: &str, arguments: Value| {
        Command::from_json(Kind::from_name(name).unwrap(), arguments).unwrap()
    };
    let (mut joining, mut deleting) = (0, 0);
    for seed in 0..300 {
        let mut node = SimNode::new(5, seed);
        node.shuffle(seed);
        let pin = json!({"user_id": "a", "chat_id": "g", "is_top": 1});
        let create = json!({"id": "g", "type": 2, "creator_id": "m", "user_ids": USERS});
        let created = node.submit(0, command("create", create));
        // The row is there and its user pins it, while others' rows are still on their way.
        while node.run(command("set_flags", pin.clone())).is_err() {}
        joining += usize::from(node.take(created).is_none());
        node.restart(3);
        node.settle();
        assert_eq!(door(&mut node).row("a", "g")["is_top"], 1, "seed {seed}: joined again");

        let mut node = SimNode::new(5, seed);
        node.shuffle(seed);
        door(&mut node).group("g", &USERS);
        door(&mut node).message("g", 3);
        let delete = json!({"user_id": "a", "ids": ["g"], "up_to": 2});
        let deleted = node.submit(0, command("delete", delete));
        while door(&mut node).row("a", "g")["max_read_seq"] == 0 {}
        node.run(command("set_flags", pin)).unwrap();
        deleting += usize::from(node.take(deleted).is_none());
        node.restart(3);
        node.settle();
        assert_eq!(door(&mut node).row("a", "g")["is_top"], 1, "seed {seed}: deleted again");
    }
    assert!(joining > 10 && deleting > 10, "the crash came in time: {joining}, {deleting}");
}

#[test]
fn a_repeat_after_a_crash_takes_what_is_left_once() {
    let chats: Vec<String> = (1..=7).map(|number| format!("c{number}")).collect();
    let keyed = |arguments: Value| {
        let mut arguments = arguments;
        (arguments["user_id"], arguments["idempotency_key"]) = ("a".into(), "k".into());
        arguments
    };
    let items: Vec<Value> = chats.iter().map(|id| json!({"chat_id": id, "seq": 2})).collect();
    let requests = [
        ("delete", json!({"ids": chats}), json!({"ids": ["c1"]})),
        ("mark_read_many", json!({"items": items}), json!({"items": items[1..]})),
    ];
    for (name, arguments, other) in requests {
        let mut node = SimNode::new(5, 7);
        for id in &chats {
            door(&mut node).group(id, &["a", "b"]);
            door(&mut node).message(id, 3);
        }
        let cuts = lengths(&mut node, name, keyed(arguments.clone()));
        let (before, cut_inside) = (*cuts.start(), node.cuts().to_vec());
        let told = door(&mut node).ok(name, keyed(arguments.clone()));
        let whole = contents(&mut node);
        for length in cut_inside.into_iter().filter(|length| cuts.contains(length)) {
            let mut found = after_crash(&node, length, 3);
            // The key is taken with the first record, before any chat gets its part.
            if length > before {
                let as_found = contents(&mut found);
                door(&mut found).fails(name, keyed(other.clone()), 409);
                assert_eq!(contents(&mut found), as_found, "{name}, {length} records");
            }
            for _ in 0..2 {
                assert_eq!(door(&mut found).ok(name, keyed(arguments.clone())), told);
                found.settle();
                assert_eq!(contents(&mut found), whole, "{name}, {length} records");
            }
            assert_rows_agree(&mut found, name);
            // A repeat does not cover messages that came since.
            for id in &chats {
                door(&mut found).message(id, 4);
            }
            found.settle();
            let since = contents(&mut found);
            door(&mut found).ok(name, keyed(arguments.clone()));
            found.settle();
            assert_eq!(contents(&mut found), since, "{name}, {length} records");
        }
    }
}

#[test]
fn nothing_that_is_kept_names_an_erased_user() {
    let mut node = SimNode::new(4, 7);
    let user = "somebody";
    for chat in ["g", "h", "i"] {
        door(&mut node).group(chat, &[user, "b"]);
        door(&mut node).message(chat, 5);
    }
    let requests = [
        ("mark_read", json!({"chat_id": "g", "seq": 2})),
        ("mark_read_many", json!({"items": [{"chat_id": "h", "seq": 2}]})),
        ("set_flags", json!({"chat_id": "g", "is_top": 1})),
        ("touch", json!({"time": 9})),
        ("clear", json!({"chat_id": "g"})),
        ("delete", json!({"ids": ["g", "h", "i"]})),
        ("erase_user", json!({})),
    ];
    let names = |node: &mut SimNode| -> Vec<String> {
        node.state().into_iter().filter(|item| item.contains(user)).collect()
    };
    let answers =
        |node: &mut SimNode| node.state().into_iter().filter(|item| item.contains(": 8 ")).count();
    for (number, (name, mut arguments)) in requests.into_iter().enumerate() {
        assert!(!names(&mut node).is_empty());
        (arguments["user_id"], arguments["idempotency_key"]) =
            (user.into(), format!("key {number}").into());
        door(&mut node).ok(name, arguments);
        node.settle();
    }
    // These are left: the erasure's own answer, and the answers of three chats, which no longer
    // name the user.
    assert_eq!(answers(&mut node), 4);
    assert_eq!(names(&mut node), Vec::<String>::new());
    let mut found = after_crash(&node, node.log().len(), 3);
    assert_eq!(names(&mut found), Vec::<String>::new());
    found.assert_same_state(&mut node, "the log forgets as the node did");
}
