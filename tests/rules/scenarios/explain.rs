//! `explain` and `verify`, the commands of operators.

use serde_json::{Value, json};

use crate::common::Door;

/// The reply without the reasons, which are texts for people.
fn explain(door: &mut dyn Door, user: &str, chat: &str) -> Value {
    let mut reply = door.ok("explain", json!({"user_id": user, "chat_id": chat}));
    let reasons = reply.as_object_mut().unwrap().remove("reasons").unwrap();
    let reasons = reasons.as_array().unwrap();
    assert!(!reasons.is_empty());
    assert!(reasons.iter().all(|reason| !reason.as_str().unwrap().is_empty()), "{reasons:?}");
    reply
}

fn told(listed: bool, last: u64, [join, deleted, read, sent]: [u64; 4], unread: u64) -> Value {
    json!({
        "listed": listed, "last_sequence": last, "unread": unread,
        "floors": {"join": join, "deleted": deleted, "read": read, "sent": sent},
    })
}

pub fn each_floor_is_told(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    assert_eq!(explain(door, "a", "g"), told(true, 0, [0, 0, 0, 0], 0));
    door.message("g", 9);
    assert_eq!(explain(door, "a", "g"), told(true, 9, [0, 0, 0, 0], 9));
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 2}));
    door.ok("advance", json!({"chat_id": "g", "to": 4, "sender_id": "a", "time": 1}));
    assert_eq!(explain(door, "a", "g"), told(true, 9, [0, 0, 2, 4], 5));
    door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": 6}));
    assert_eq!(explain(door, "a", "g"), told(true, 9, [0, 6, 6, 4], 3));
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["c"]}));
    assert_eq!(explain(door, "c", "g"), told(true, 9, [9, 0, 9, 0], 0));
    door.message("g", 11);
    assert_eq!(explain(door, "c", "g"), told(true, 11, [9, 0, 9, 0], 2));
    assert_eq!(explain(door, "b", "g"), told(true, 11, [0, 0, 0, 0], 11));
    // Flags do not change what is unread.
    let flags =
        json!({"user_id": "b", "chat_id": "g", "is_hide": 1, "is_mute": 1, "marked_unread": 1});
    door.ok("set_flags", flags);
    assert_eq!(explain(door, "b", "g"), told(true, 11, [0, 0, 0, 0], 11));
}

pub fn what_is_not_listed(door: &mut dyn Door) {
    door.fails("explain", json!({"user_id": "a", "chat_id": "unknown"}), 404);
    door.group("g", &["a", "b"]);
    door.message("g", 5);
    assert_eq!(explain(door, "stranger", "g"), told(false, 5, [0, 0, 0, 0], 0));
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    assert_eq!(explain(door, "a", "g"), told(false, 5, [0, 5, 5, 0], 0));
    door.message("g", 6);
    assert_eq!(explain(door, "a", "g"), told(true, 6, [0, 5, 5, 0], 1));
    door.ok("remove_members", json!({"chat_id": "g", "user_ids": ["a"]}));
    assert_eq!(explain(door, "a", "g"), told(false, 6, [0, 0, 0, 0], 0));
    door.ok("set_status", json!({"chat_id": "g", "status": 2}));
    assert_eq!(explain(door, "b", "g"), told(true, 6, [0, 0, 0, 0], 6));
    door.ok("dissolve", json!({"chat_id": "g"}));
    door.fails("explain", json!({"user_id": "b", "chat_id": "g"}), 410);
    door.fails("explain", json!({"user_id": "a"}), 400);
    door.fails("explain", json!({"user_id": "", "chat_id": "g"}), 400);
}

pub fn reasons_differ_with_the_case(door: &mut dyn Door) {
    let reasons = |door: &mut dyn Door| {
        door.ok("explain", json!({"user_id": "a", "chat_id": "g"}))["reasons"].clone()
    };
    let mut seen: Vec<Value> = Vec::new();
    door.group("g", &["b"]);
    door.message("g", 3);
    seen.push(reasons(door));
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["a"]}));
    seen.push(reasons(door));
    for name in ["is_top", "is_mute", "is_hide", "marked_unread"] {
        let mut set = json!({"user_id": "a", "chat_id": "g"});
        set[name] = 1.into();
        door.ok("set_flags", set);
        seen.push(reasons(door));
    }
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    seen.push(reasons(door));
    door.ok("set_status", json!({"chat_id": "g", "status": 2}));
    seen.push(reasons(door));
    for (number, reasons) in seen.iter().enumerate() {
        assert!(!seen[..number].contains(reasons), "{reasons} twice");
    }
}

pub fn verify_counts_and_finds_nothing(door: &mut dyn Door) {
    let verify = |door: &mut dyn Door, chats: u64, members: u64| {
        door.settle();
        let expected = json!({
            "chats": chats, "members": members, "rows": members, "differences": 0, "items": [],
        });
        assert_eq!(door.ok("verify", json!({})), expected);
    };
    verify(door, 0, 0);
    for chat in ["g1", "g2", "g3"] {
        door.group(chat, &["a", "b", "c"]);
        door.message(chat, 4);
    }
    door.ok("create", json!({"type": 1, "creator_id": "a", "user_ids": ["a", "b"]}));
    verify(door, 4, 11);
    door.ok("delete", json!({"user_id": "a", "ids": ["g1", "g2"]}));
    door.message("g1", 5);
    door.ok("remove_members", json!({"chat_id": "g2", "user_ids": ["a", "c"]}));
    verify(door, 4, 9);
    // Dissolved chats count, because their ids stay.
    door.ok("dissolve", json!({"chat_id": "g3"}));
    verify(door, 4, 6);
    let members = json!([
        {"user_id": "a", "chat_id": "i", "is_show": 0}, {"user_id": "d", "chat_id": "i"},
        {"user_id": "d", "chat_id": "elsewhere", "removed": 1},
    ]);
    let chat = json!({"id": "i", "type": 2, "creator_id": "m", "last_sequence": 9});
    door.ok("import", json!({"chats": [chat], "members": members}));
    door.message("i", 10);
    verify(door, 5, 8);
    door.ok("erase_user", json!({"user_id": "a"}));
    verify(door, 5, 5);
}
