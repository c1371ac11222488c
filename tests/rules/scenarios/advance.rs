//! Chapter 4 of the semantics: `advance`.

use serde_json::{Value, json};

use crate::common::Door;

const LAST: u64 = (1 << 53) - 1;
const DAY: u64 = 24 * 60 * 60 * 1000;

fn reply(first: u64, last: u64, time: u64) -> Value {
    json!({"first_sequence": first, "last_sequence": last, "last_time": time})
}

fn stored(door: &mut dyn Door) -> (u64, u64) {
    let chat = door.ok("detail", json!({"ids": ["g"]}))["items"][0].take();
    (chat["last_sequence"].as_u64().unwrap(), chat["last_time"].as_u64().unwrap())
}

pub fn to_is_monotonic(door: &mut dyn Door) {
    door.group("g", &["a"]);
    let to = |to: u64, time: u64| json!({"chat_id": "g", "to": to, "time": time});
    assert_eq!(door.ok("advance", to(4, 100)), reply(4, 4, 100));
    assert_eq!(door.ok("advance", to(9, 200)), reply(9, 9, 200));
    let before = door.export(None);
    for late in [0, 3, 8, 9] {
        assert_eq!(door.ok("advance", to(late, 300)), reply(9, 9, 200), "{late}");
    }
    assert_eq!(door.export(None), before);
    assert_eq!(door.ok("advance", to(10, 150)), reply(10, 10, 150));
    assert_eq!(stored(door), (10, 150));
}

pub fn allocate_hands_out_each_once(door: &mut dyn Door) {
    door.group("g", &["a"]);
    let allocate = |count: u64| json!({"chat_id": "g", "allocate": count, "time": 7});
    assert_eq!(door.ok("advance", allocate(1)), reply(1, 1, 7));
    assert_eq!(door.ok("advance", allocate(5)), reply(2, 6, 7));
    door.message("g", 10);
    assert_eq!(door.ok("advance", allocate(2)), reply(11, 12, 7));
    assert_eq!(door.ok("advance", allocate(1_000_000)), reply(13, 1_000_012, 7));
    for wrong in [0, 1_000_001] {
        door.fails("advance", allocate(wrong), 400);
    }
    door.fails("advance", json!({"chat_id": "g"}), 400);
    door.fails("advance", json!({"chat_id": "g", "to": 1, "allocate": 1}), 400);
    assert_eq!(stored(door), (1_000_012, 7));
}

pub fn too_far_ahead_is_refused_without_force(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 5);
    let to = |to: u64, force: Value| json!({"chat_id": "g", "to": to, "force": force, "time": 1});
    door.fails("advance", to(1_000_006, json!(null)), 400);
    door.fails("advance", to(1_000_006, json!(false)), 400);
    assert_eq!(stored(door).0, 5);
    assert_eq!(door.ok("advance", to(1_000_005, json!(null))), reply(1_000_005, 1_000_005, 1));
    assert_eq!(door.ok("advance", to(50_000_000, json!(true))), reply(50_000_000, 50_000_000, 1));
    // `force` does not lead backward.
    assert_eq!(door.ok("advance", to(3, json!(true))), reply(50_000_000, 50_000_000, 1));
}

pub fn the_last_sequence_there_is(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.ok("advance", json!({"chat_id": "g", "to": LAST - 1, "force": true, "time": LAST.min(9)}));
    door.fails("advance", json!({"chat_id": "g", "allocate": 2}), 400);
    assert_eq!(
        door.ok("advance", json!({"chat_id": "g", "allocate": 1, "time": 8})),
        reply(LAST, LAST, 8)
    );
    door.fails("advance", json!({"chat_id": "g", "allocate": 1}), 400);
    door.fails("advance", json!({"chat_id": "g", "to": LAST + 1, "force": true}), 400);
    let read = door.ok("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": LAST}));
    assert_eq!(read, json!({"max_read_seq": LAST, "unread": 0}));
    // No user can join behind the end, and a failed attempt changes nothing.
    let before = door.export(None);
    door.fails("add_members", json!({"chat_id": "g", "user_ids": ["b"]}), 400);
    assert_eq!(door.export(None), before);
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    assert!(door.listed("a").is_empty());
}

pub fn time_is_of_the_newest_sequence(door: &mut dyn Door) {
    // A core reads the time before a batch of requests, so only what got a reply is surely over.
    let now = door.now();
    door.group("g", &["a"]);
    assert_eq!(stored(door), (0, 0));
    door.ok("advance", json!({"chat_id": "g", "allocate": 3}));
    let (_, time) = stored(door);
    assert!(time >= now && time <= now + DAY, "the server's time, {now}, not {time}");
    door.ok("advance", json!({"chat_id": "g", "to": 4, "time": 50}));
    assert_eq!(stored(door), (4, 50));
    // A late message has a time too, which is not that of the newest.
    door.ok("advance", json!({"chat_id": "g", "to": 2, "time": 60}));
    door.ok("advance", json!({"chat_id": "g", "to": 4, "time": 60}));
    assert_eq!(stored(door), (4, 50));
    door.ok("advance", json!({"chat_id": "g", "to": 5, "time": 0}));
    assert_eq!(stored(door), (5, 0));
}

pub fn a_time_over_a_day_ahead_is_refused(door: &mut dyn Door) {
    door.group("g", &["a"]);
    let (now, hour) = (door.now(), DAY / 24);
    let at = |time: u64| json!({"chat_id": "g", "allocate": 1, "time": time});
    for wrong in [now + DAY + hour, LAST] {
        door.fails("advance", at(wrong), 400);
        door.fails("touch", json!({"user_id": "a", "time": wrong}), 400);
        // A late message too.
        door.fails("advance", json!({"chat_id": "g", "to": 0, "time": wrong}), 400);
    }
    assert_eq!(stored(door), (0, 0));
    door.ok("advance", at(now + DAY - hour));
    assert_eq!(stored(door), (1, now + DAY - hour));
}

pub fn the_sender_has_read_their_own(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    let sent = |to: u64| json!({"chat_id": "g", "to": to, "sender_id": "a", "time": to});
    door.ok("advance", sent(5));
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (0, 5));
    // The read position itself does not move.
    assert_eq!(door.row("a", "g")["max_read_seq"], 0);
    door.ok("advance", json!({"chat_id": "g", "to": 9, "sender_id": "b", "time": 9}));
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (4, 0));
    // The sender's message arrives late: no sequence changes, and still it is the sender's.
    assert_eq!(door.ok("advance", sent(7)), reply(9, 9, 9));
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (2, 0));
    // An even older one changes nothing.
    let before = door.export(None);
    door.ok("advance", sent(6));
    assert_eq!(door.export(None), before);
    door.ok("advance", json!({"chat_id": "g", "allocate": 3, "sender_id": "a", "time": 10}));
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (0, 3));
}

pub fn a_stranger_may_send(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.ok("advance", json!({"chat_id": "g", "to": 3, "sender_id": "robot", "time": 3}));
    assert_eq!(door.unread("a", "g"), 3);
    assert_eq!(door.members("g"), ["a"]);
    assert!(door.listed("robot").is_empty());
    // Nor does it count as a sender once it is a member.
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["robot"]}));
    let (_, members) = door.export(None);
    let robot = members.iter().find(|line| line["user_id"] == "robot").unwrap();
    assert_eq!(robot["sent_seq"], 0);
}

pub fn disabled_dissolved_unknown(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 2);
    let advances = |chat: &str| {
        [
            json!({"chat_id": chat, "to": 3}),
            json!({"chat_id": chat, "to": 1, "sender_id": "a"}),
            json!({"chat_id": chat, "allocate": 1}),
        ]
    };
    door.ok("set_status", json!({"chat_id": "g", "status": 2}));
    let before = door.export(None);
    for advance in advances("g") {
        door.fails("advance", advance, 423);
    }
    assert_eq!(door.export(None), before);
    // Everything else works on a disabled chat.
    assert_eq!(door.listed("a"), ["g"]);
    assert_eq!(door.chat_of("a", "g")["status"], 2);
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 1}));
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["b"]}));
    door.ok("set_status", json!({"chat_id": "g", "status": 1}));
    door.message("g", 3);
    door.ok("dissolve", json!({"chat_id": "g"}));
    for advance in advances("g") {
        door.fails("advance", advance, 410);
    }
    for advance in advances("unknown") {
        door.fails("advance", advance, 404);
    }
}

pub fn it_brings_back_all_who_deleted(door: &mut dyn Door) {
    // More than one slice of deliveries.
    let users: Vec<String> = (0..600).map(|number| format!("u{number}")).collect();
    let named: Vec<&str> = users.iter().map(String::as_str).collect();
    door.group("g", &named);
    door.message("g", 1);
    let deleters: Vec<&String> = users.iter().step_by(2).collect();
    // Deleting 300 times through a door takes long; the lines of an import say the same.
    let lines: Vec<Value> = deleters
        .iter()
        .map(|user| json!({"user_id": user, "chat_id": "g", "is_show": 0}))
        .collect();
    door.ok("import", json!({"members": lines, "merge": true}));
    door.settle();
    for user in ["u0", "u298", "u598"] {
        assert!(door.listed(user).is_empty(), "{user}");
    }
    door.message("g", 2);
    for user in ["u0", "u1", "u298", "u299", "u598", "u599"] {
        assert_eq!(door.listed(user), ["g"], "{user}");
    }
    let (_, members) = door.export(None);
    assert_eq!(members.iter().filter(|line| line["is_show"] == 1).count(), 600);
}
