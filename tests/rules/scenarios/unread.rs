//! Chapter 6 of the semantics: unread totals of users.

use serde_json::{Value, json};

use crate::common::Door;

fn counts(door: &mut dyn Door, user: &str) -> [u64; 4] {
    let reply = door.ok("unread", json!({"user_ids": [user]}));
    let item = &reply["items"][0];
    assert_eq!(item["user_id"], user);
    ["messages", "chats", "muted_messages", "muted_chats"].map(|name| item[name].as_u64().unwrap())
}

fn flag(door: &mut dyn Door, chat: &str, name: &str, value: u8) {
    let mut set = json!({"user_id": "a", "chat_id": chat});
    set[name] = value.into();
    door.ok("set_flags", set);
}

pub fn totals_add_up_the_chats(door: &mut dyn Door) {
    for (chat, last) in [("g1", 3), ("g2", 4), ("g3", 0)] {
        door.group(chat, &["a", "b"]);
        if last > 0 {
            door.message(chat, last);
        }
    }
    assert_eq!(counts(door, "a"), [7, 2, 0, 0]);
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g1", "seq": 1}));
    assert_eq!(counts(door, "a"), [6, 2, 0, 0]);
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g1", "seq": 3}));
    assert_eq!(counts(door, "a"), [4, 1, 0, 0]);
    // Each part of the floor counts: the user's own message, and a clear.
    door.ok("advance", json!({"chat_id": "g2", "to": 6, "sender_id": "a", "time": 1}));
    assert_eq!((counts(door, "a"), counts(door, "b")), ([0, 0, 0, 0], [9, 2, 0, 0]));
    door.ok("clear", json!({"user_id": "b", "chat_id": "g2"}));
    assert_eq!(counts(door, "b"), [3, 1, 0, 0]);
    // Messages from before a user joined do not count.
    door.ok("add_members", json!({"chat_id": "g2", "user_ids": ["c"]}));
    assert_eq!(counts(door, "c"), [0, 0, 0, 0]);
    door.message("g2", 7);
    assert_eq!(counts(door, "c"), [1, 1, 0, 0]);
}

pub fn muted_chats_are_counted_apart(door: &mut dyn Door) {
    for chat in ["g1", "g2"] {
        door.group(chat, &["a"]);
        door.message(chat, 5);
    }
    flag(door, "g1", "is_mute", 1);
    assert_eq!(counts(door, "a"), [5, 1, 5, 1]);
    flag(door, "g2", "is_mute", 1);
    assert_eq!(counts(door, "a"), [0, 0, 10, 2]);
    flag(door, "g1", "is_mute", 0);
    assert_eq!(counts(door, "a"), [5, 1, 5, 1]);
}

pub fn a_mark_counts_a_chat_and_no_message(door: &mut dyn Door) {
    for chat in ["g1", "g2"] {
        door.group(chat, &["a"]);
    }
    door.message("g1", 2);
    flag(door, "g1", "marked_unread", 1);
    flag(door, "g2", "marked_unread", 1);
    assert_eq!(counts(door, "a"), [2, 2, 0, 0]);
    flag(door, "g2", "is_mute", 1);
    assert_eq!(counts(door, "a"), [2, 1, 0, 1]);
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g1", "seq": 2}));
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g2", "seq": 0}));
    assert_eq!(counts(door, "a"), [0, 0, 0, 0]);
}

pub fn hidden_and_deleted_chats_are_not_counted(door: &mut dyn Door) {
    for chat in ["g1", "g2", "g3", "g4"] {
        door.group(chat, &["a"]);
        door.message(chat, 2);
    }
    flag(door, "g1", "is_hide", 1);
    assert_eq!(counts(door, "a"), [6, 3, 0, 0]);
    door.ok("delete", json!({"user_id": "a", "ids": ["g2"]}));
    // A mark on a deleted chat shows nowhere.
    flag(door, "g2", "marked_unread", 1);
    assert_eq!(counts(door, "a"), [4, 2, 0, 0]);
    door.ok("dissolve", json!({"chat_id": "g3"}));
    door.ok("remove_members", json!({"chat_id": "g4", "user_ids": ["a"]}));
    assert_eq!(counts(door, "a"), [0, 0, 0, 0]);
    // A message brings back the deleted chat; the hidden one stays hidden.
    door.message("g1", 3);
    door.message("g2", 3);
    assert_eq!(counts(door, "a"), [1, 1, 0, 0]);
    flag(door, "g1", "is_hide", 0);
    assert_eq!(counts(door, "a"), [4, 2, 0, 0]);
    // A disabled chat counts.
    door.ok("set_status", json!({"chat_id": "g1", "status": 2}));
    assert_eq!(counts(door, "a"), [4, 2, 0, 0]);
}

pub fn many_users_in_the_order_asked_each_once(door: &mut dyn Door) {
    let users: Vec<String> = (0..30).map(|number| format!("u{number:02}")).collect();
    let asked: Vec<&str> = users.iter().map(String::as_str).collect();
    door.group("g", &asked);
    door.message("g", 30);
    for (number, user) in users.iter().enumerate() {
        door.ok("mark_read", json!({"user_id": user, "chat_id": "g", "seq": number}));
    }
    let mut asked: Vec<&str> = asked.into_iter().rev().collect();
    asked.extend(["nobody", "u03", "nobody"]);
    let reply = door.ok("unread", json!({"user_ids": asked}));
    let zeros = |user: &str| json!({"user_id": user, "messages": 0, "chats": 0, "muted_messages": 0, "muted_chats": 0});
    let mut expected: Vec<Value> = (0..30)
        .rev()
        .map(|number| {
            let mut item = zeros(&users[number]);
            (item["messages"], item["chats"]) = ((30 - number).into(), 1.into());
            item
        })
        .collect();
    expected.push(zeros("nobody"));
    assert_eq!(reply, json!({"items": expected}));
    assert_eq!(door.ok("unread", json!({"user_ids": []})), json!({"items": []}));
    let many: Vec<String> = (0..1001).map(|number| format!("k{number}")).collect();
    door.fails("unread", json!({"user_ids": many}), 413);
    assert_eq!(
        door.ok("unread", json!({"user_ids": &many[..1000]}))["items"].as_array().unwrap().len(),
        1000
    );
    door.fails("unread", json!({"user_ids": ["a", ""]}), 400);
}
