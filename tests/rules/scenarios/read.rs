//! Chapters 5 and 6 of the semantics: `mark_read`, and the unread count.

use serde_json::{Value, json};

use crate::common::Door;

fn read(user: &str, seq: u64) -> Value {
    json!({"user_id": user, "chat_id": "g", "seq": seq})
}

fn reply(max_read_seq: u64, unread: u64) -> Value {
    json!({"max_read_seq": max_read_seq, "unread": unread})
}

pub fn the_position_never_goes_back(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 10);
    assert_eq!(door.ok("mark_read", read("a", 4)), reply(4, 6));
    assert_eq!(door.ok("mark_read", read("a", 7)), reply(7, 3));
    let before = door.export(None);
    for old in [0, 4, 7] {
        assert_eq!(door.ok("mark_read", read("a", old)), reply(7, 3), "{old}");
    }
    assert_eq!(door.export(None), before);
    assert_eq!(door.row("a", "g")["max_read_seq"], 7);
    assert_eq!(door.row("b", "g")["max_read_seq"], 0);
    assert_eq!(door.ok("mark_read", read("a", 10)), reply(10, 0));
}

pub fn beyond_the_last_is_an_error(door: &mut dyn Door) {
    door.group("g", &["a"]);
    assert_eq!(door.ok("mark_read", read("a", 0)), reply(0, 0));
    door.fails("mark_read", read("a", 1), 400);
    door.message("g", 3);
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g", "marked_unread": 1}));
    let before = door.export(None);
    let message = door.fails("mark_read", read("a", 4), 400);
    assert!(message.contains("seq"), "{message}");
    assert_eq!(door.export(None), before);
}

pub fn reading_takes_the_mark_away(door: &mut dyn Door) {
    let marked = |door: &mut dyn Door| door.export(None).1[0]["marked_unread"].clone();
    let mark = json!({"user_id": "a", "chat_id": "g", "marked_unread": 1});
    door.group("g", &["a"]);
    door.message("g", 3);
    door.ok("mark_read", read("a", 3));
    door.ok("set_flags", mark.clone());
    assert_eq!(marked(door), 1);
    // The mark moves no position and counts no message.
    assert_eq!(door.unread("a", "g"), 0);
    assert_eq!(door.row("a", "g")["max_read_seq"], 3);
    // A request with an older position is late, and changes nothing at all.
    let before = door.export(None);
    assert_eq!(door.ok("mark_read", read("a", 1)), reply(3, 0));
    let many = json!({"user_id": "a", "items": [{"chat_id": "g", "seq": 2}]});
    let told = door.ok("mark_read_many", many);
    assert_eq!(told["items"][0]["max_read_seq"], 3);
    assert_eq!(door.export(None), before);
    assert_eq!(marked(door), 1);
    // The same position means that the user opens the chat.
    assert_eq!(door.ok("mark_read", read("a", 3)), reply(3, 0));
    assert_eq!(marked(door), 0);
    door.ok("set_flags", mark.clone());
    door.ok("mark_read_many", json!({"user_id": "a", "items": [{"chat_id": "g", "seq": 3}]}));
    assert_eq!(marked(door), 0);
    door.ok("set_flags", mark);
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g", "marked_unread": 0}));
    assert_eq!(marked(door), 0);
}

pub fn only_members_read(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 3);
    door.fails("mark_read", read("b", 1), 404);
    door.fails("mark_read", json!({"user_id": "a", "chat_id": "unknown", "seq": 0}), 404);
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["b"]}));
    assert_eq!(door.ok("mark_read", read("b", 1)), reply(3, 0));
    door.ok("remove_members", json!({"chat_id": "g", "user_ids": ["b"]}));
    door.fails("mark_read", read("b", 1), 404);
    door.ok("dissolve", json!({"chat_id": "g"}));
    door.fails("mark_read", read("a", 1), 410);
}

pub fn unread_by_each_floor(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 10);
    // By reading.
    assert_eq!(door.ok("mark_read", read("a", 1)), reply(1, 9));
    // By joining.
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["b"]}));
    assert_eq!(door.ok("mark_read", read("b", 0)), reply(10, 0));
    door.message("g", 12);
    assert_eq!(door.ok("mark_read", read("b", 0)), reply(10, 2));
    // By deleting and by clearing.
    door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": 6}));
    assert_eq!(door.ok("mark_read", read("a", 0)), reply(6, 6));
    door.ok("clear", json!({"user_id": "a", "chat_id": "g"}));
    assert_eq!(door.ok("mark_read", read("a", 0)), reply(12, 0));
    // By sending.
    door.ok("advance", json!({"chat_id": "g", "to": 15, "sender_id": "b", "time": 1}));
    assert_eq!(door.ok("mark_read", read("b", 0)), reply(10, 0));
    assert_eq!(door.ok("mark_read", read("a", 13)), reply(13, 2));
    // `detail` leads to the same counts.
    for (user, unread) in [("a", 2), ("b", 0)] {
        assert_eq!(door.unread(user, "g"), unread);
    }
    // Hidden and muted, the count is the same.
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g", "is_hide": 1, "is_mute": 1}));
    assert_eq!(door.ok("mark_read", read("a", 0)), reply(13, 2));
}

pub fn own_messages_are_read_by_sending(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    for to in 1..=6 {
        let sender = if to % 2 == 0 { "a" } else { "b" };
        door.ok("advance", json!({"chat_id": "g", "to": to, "sender_id": sender, "time": to}));
    }
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (0, 1));
    assert_eq!(door.ok("mark_read", read("b", 2)), reply(2, 1));
}
