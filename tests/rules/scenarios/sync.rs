//! Chapter 10 of the semantics: the change log, what `sync` reports to a device, and when the
//! device must start again.

use serde_json::{Value, json};

use crate::common::Door;

/// Calls `sync` with the point of an earlier reply, or from the start.
fn sync(door: &mut dyn Door, user: &str, since: &Value) -> Value {
    let since = match since {
        Value::Null => Value::Null,
        reply => json!({"log": reply["log"], "version": reply["version"]}),
    };
    door.ok("sync", json!({"user_id": user, "since": since}))
}

/// A short form of a reply: op, chat and version.
fn told(reply: &Value) -> Vec<(String, String, u64)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let items = reply["items"].as_array().unwrap();
    items
        .iter()
        .inspect(|item| {
            assert_eq!(item["id"], item["chat_id"]);
            assert_eq!(item["is_show"], u8::from(item["op"] == "upsert"));
        })
        .map(|item| (text(&item["op"]), text(&item["chat_id"]), item["version"].as_u64().unwrap()))
        .collect()
}

fn change(op: &str, chat: &str, version: u64) -> (String, String, u64) {
    (op.into(), chat.into(), version)
}

/// Checks a reply that is complete and needs no reset.
#[track_caller]
fn assert_plain(reply: &Value, version: u64) {
    assert_eq!(reply["reset"], false, "{reply}");
    assert_eq!(reply["reason"], Value::Null);
    assert_eq!(reply["more"], false);
    assert_eq!(reply["version"], version, "{reply}");
}

/// Checks a reply that starts again.
#[track_caller]
fn assert_reset(reply: &Value) {
    assert_eq!(reply["reset"], true, "{reply}");
    assert!(!reply["reason"].as_str().unwrap().is_empty());
}

pub fn the_first_tells_the_list(door: &mut dyn Door) {
    assert_plain(&sync(door, "nobody", &Value::Null), 0);
    for chat in ["g1", "g2"] {
        door.group(chat, &["a", "b"]);
    }
    door.message("g1", 4);
    let flags = json!({"user_id": "a", "chat_id": "g1", "is_top": 1, "is_mute": 1, "is_hide": 1, "marked_unread": 1});
    door.ok("set_flags", flags);
    door.ok("touch", json!({"user_id": "a", "time": 44}));
    let reply = sync(door, "a", &Value::Null);
    assert_plain(&reply, 3);
    let item = |chat: &str, flag: u8, version: u64| {
        json!({
            "op": "upsert", "id": chat, "chat_id": chat, "is_top": flag, "is_mute": flag, "is_show": 1,
            "is_hide": flag, "max_read_seq": 0, "last_online_time": 44, "marked_unread": flag,
            "version": version,
        })
    };
    assert_eq!(reply["items"], json!([item("g2", 0, 2), item("g1", 1, 3)]));
    assert!(!reply["log"].as_str().unwrap().is_empty());
    // After that there is nothing new.
    let again = sync(door, "a", &reply);
    assert_plain(&again, 3);
    assert_eq!((told(&again), &again["log"]), (vec![], &reply["log"]));
}

pub fn each_changed_chat_once_as_it_is_now(door: &mut dyn Door) {
    for chat in ["g1", "g2", "g3"] {
        door.group(chat, &["a", "b"]);
        door.message(chat, 5);
    }
    let start = sync(door, "a", &Value::Null);
    for seq in 1..=4 {
        door.ok("mark_read", json!({"user_id": "a", "chat_id": "g1", "seq": seq}));
    }
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g3", "is_top": 1}));
    door.ok("clear", json!({"user_id": "a", "chat_id": "g1"}));
    let reply = sync(door, "a", &start);
    assert_plain(&reply, 9);
    assert_eq!(told(&reply), [change("upsert", "g3", 8), change("upsert", "g1", 9)]);
    assert_eq!(reply["items"][1]["max_read_seq"], 5);
    // An old point may be used again.
    assert_eq!(sync(door, "a", &start), reply);
    let mut middle = start.clone();
    middle["version"] = 8.into();
    assert_eq!(told(&sync(door, "a", &middle)), [change("upsert", "g1", 9)]);
}

pub fn what_is_no_change_is_not_told(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 5);
    let start = sync(door, "a", &Value::Null);
    // Not in the change log: messages, other users, the chat's own facts, values that are set
    // already, and being online.
    door.message("g", 6);
    door.ok("mark_read", json!({"user_id": "b", "chat_id": "g", "seq": 3}));
    door.ok("delete", json!({"user_id": "b", "ids": ["g"]}));
    door.ok("set_status", json!({"chat_id": "g", "status": 2}));
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["a", "c"]}));
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g", "is_top": 0}));
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 0}));
    door.ok("delete", json!({"user_id": "a", "ids": ["unknown"]}));
    door.ok("touch", json!({"user_id": "a", "time": 44}));
    let reply = sync(door, "a", &start);
    assert_plain(&reply, 1);
    assert_eq!(told(&reply), []);
}

pub fn a_deleted_chat_is_removed_and_comes_back(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 5);
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g", "is_top": 1, "is_mute": 1}));
    let start = sync(door, "a", &Value::Null);
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    let reply = sync(door, "a", &start);
    assert_plain(&reply, 3);
    // With the fields of the row: its mute flag stays.
    let removed = json!({
        "op": "remove", "id": "g", "chat_id": "g", "is_top": 0, "is_mute": 1, "is_show": 0,
        "is_hide": 0, "max_read_seq": 5, "last_online_time": 0, "marked_unread": 0, "version": 3,
    });
    assert_eq!(reply["items"], json!([removed]));
    // A device that starts from nothing gets nothing about it.
    let other = sync(door, "a", &Value::Null);
    assert_plain(&other, 3);
    assert_eq!(told(&other), []);
    door.message("g", 6);
    for since in [&start, &reply, &other] {
        let back = sync(door, "a", since);
        assert_plain(&back, 4);
        assert_eq!(told(&back), [change("upsert", "g", 4)]);
        assert_eq!(back["items"][0]["max_read_seq"], 5);
    }
    // One-sided.
    assert_eq!(sync(door, "b", &Value::Null)["version"], 1);
}

pub fn chats_that_were_left_leave_tombstones(door: &mut dyn Door) {
    for chat in ["left", "gone", "stays"] {
        door.group(chat, &["a", "b"]);
        door.message(chat, 3);
    }
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "left", "is_top": 1}));
    let start = sync(door, "a", &Value::Null);
    door.ok("remove_members", json!({"chat_id": "left", "user_ids": ["a"]}));
    door.ok("dissolve", json!({"chat_id": "gone"}));
    let reply = sync(door, "a", &start);
    assert_plain(&reply, 6);
    let zeros = |chat: &str, version: u64| {
        json!({
            "op": "remove", "id": chat, "chat_id": chat, "is_top": 0, "is_mute": 0, "is_show": 0,
            "is_hide": 0, "max_read_seq": 0, "last_online_time": 0, "marked_unread": 0,
            "version": version,
        })
    };
    assert_eq!(reply["items"], json!([zeros("left", 5), zeros("gone", 6)]));
    let whole = sync(door, "a", &Value::Null);
    assert_eq!(told(&whole), [change("upsert", "stays", 3)]);
    // The other members get the end of the chat, and nothing about the user who left.
    assert_eq!(sync(door, "b", &Value::Null)["version"], 4);
    // A user who joins again gets only the row.
    door.ok("add_members", json!({"chat_id": "left", "user_ids": ["a"]}));
    assert_eq!(told(&sync(door, "a", &reply)), [change("upsert", "left", 7)]);
    assert_eq!(
        told(&sync(door, "a", &start)),
        [change("remove", "gone", 6), change("upsert", "left", 7)]
    );
    // If a user leaves a chat with a deleted row, the removal comes once.
    door.ok("delete", json!({"user_id": "a", "ids": ["stays"]}));
    door.ok("remove_members", json!({"chat_id": "stays", "user_ids": ["a"]}));
    assert_eq!(
        told(&sync(door, "a", &reply)),
        [change("upsert", "left", 7), change("remove", "stays", 9)]
    );
}

pub fn pages_of_changes(door: &mut dyn Door) {
    let names: Vec<String> = (1..=7).map(|number| format!("g{number}")).collect();
    for name in &names {
        door.group(name, &["a"]);
    }
    let page = |door: &mut dyn Door, since: &Value| {
        let since = json!({"log": since["log"], "version": since["version"]});
        door.ok("sync", json!({"user_id": "a", "since": since, "limit": 3}))
    };
    // A listing from the start.
    let first = door.ok("sync", json!({"user_id": "a", "limit": 3}));
    assert_eq!(
        (&first["more"], &first["version"], &first["reset"]),
        (&json!(true), &json!(3), &json!(false))
    );
    // Meanwhile a chat that was returned is removed, one that was not is removed, and one changes.
    door.ok("remove_members", json!({"chat_id": "g2", "user_ids": ["a"]}));
    door.ok("delete", json!({"user_id": "a", "ids": ["g4"]}));
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g1", "is_top": 1}));
    let second = page(door, &first);
    assert_eq!(
        told(&second),
        [change("upsert", "g5", 5), change("upsert", "g6", 6), change("upsert", "g7", 7)]
    );
    assert_eq!((&second["more"], &second["version"]), (&json!(true), &json!(7)));
    let third = page(door, &second);
    assert_plain(&third, 10);
    assert_eq!(
        told(&third),
        [change("remove", "g2", 8), change("remove", "g4", 9), change("upsert", "g1", 10)]
    );
    // Changes in pages: an exactly full page is the last one.
    for chat in ["g3", "g5", "g6", "g7"] {
        door.ok("set_flags", json!({"user_id": "a", "chat_id": chat, "is_mute": 1}));
    }
    let changed = page(door, &third);
    assert_eq!(
        (told(&changed).len(), &changed["more"], &changed["version"]),
        (3, &json!(true), &json!(13))
    );
    let rest = page(door, &changed);
    assert_plain(&rest, 14);
    assert_eq!(told(&rest), [change("upsert", "g7", 14)]);
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g3", "is_mute": 0}));
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g5", "is_mute": 0}));
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g6", "is_mute": 0}));
    let full = page(door, &rest);
    assert_plain(&full, 17);
    assert_eq!(told(&full).len(), 3);
    for limit in [0, 1001] {
        door.fails("sync", json!({"user_id": "a", "limit": limit}), 400);
    }
}

pub fn a_listing_leaves_out_what_went_before_it(door: &mut dyn Door) {
    for chat in ["g1", "g2", "g3", "g4"] {
        door.group(chat, &["a"]);
    }
    door.ok("remove_members", json!({"chat_id": "g2", "user_ids": ["a"]}));
    door.ok("delete", json!({"user_id": "a", "ids": ["g3"]}));
    // Pages agree with a single reply: a removal between two rows does not matter.
    let mut items = Vec::new();
    let mut reply = door.ok("sync", json!({"user_id": "a", "limit": 1}));
    loop {
        items.extend(told(&reply));
        if reply["more"] == false {
            break;
        }
        let since = json!({"log": reply["log"], "version": reply["version"]});
        reply = door.ok("sync", json!({"user_id": "a", "limit": 1, "since": since}));
        assert_eq!(reply["reset"], false);
    }
    assert_eq!(items, [change("upsert", "g1", 1), change("upsert", "g4", 4)]);
    assert_eq!(reply["version"], 6);
}

pub fn an_unknown_log_or_version_starts_again(door: &mut dyn Door) {
    for chat in ["g1", "g2"] {
        door.group(chat, &["a"]);
    }
    door.ok("remove_members", json!({"chat_id": "g2", "user_ids": ["a"]}));
    let start = sync(door, "a", &Value::Null);
    let log = start["log"].clone();
    for since in [
        json!({"log": "elsewhere", "version": 3}),
        json!({"log": "", "version": 0}),
        json!({"log": format!("{}0", log.as_str().unwrap()), "version": 1}),
        json!({"log": log, "version": 4}),
        json!({"log": log, "version": 1_u64 << 60}),
    ] {
        let reply = door.ok("sync", json!({"user_id": "a", "since": since}));
        assert_reset(&reply);
        assert_eq!(told(&reply), [change("upsert", "g1", 1)], "{since}");
        assert_eq!((&reply["log"], &reply["version"]), (&log, &json!(3)));
    }
    // In pages only the first one reports the reset.
    door.group("g3", &["a"]);
    let elsewhere = json!({"log": "elsewhere", "version": 3});
    let first = door.ok("sync", json!({"user_id": "a", "since": elsewhere, "limit": 1}));
    assert_reset(&first);
    assert_eq!((told(&first), &first["more"]), (vec![change("upsert", "g1", 1)], &json!(true)));
    let rest = sync(door, "a", &first);
    assert_plain(&rest, 4);
    assert_eq!(told(&rest), [change("upsert", "g3", 4)]);
}

pub fn an_old_point_starts_again_when_tombstones_are_forgotten(door: &mut dyn Door) {
    // One more than the node keeps.
    let members: Vec<Value> = (1..=1001)
        .map(|number| json!({"user_id": "a", "chat_id": format!("g{number}"), "removed": 1, "version": number + 1}))
        .collect();
    let chat = json!({"id": "stays", "type": 2, "creator_id": "m"});
    let stays = json!({"user_id": "a", "chat_id": "stays", "version": 1});
    door.ok("import", json!({"chats": [chat], "members": [stays]}));
    let start = sync(door, "a", &Value::Null);
    assert_plain(&start, 1);
    for some in members.chunks(500) {
        door.ok("import", json!({"members": some}));
    }
    door.settle();
    let reply = sync(door, "a", &start);
    assert_reset(&reply);
    assert_eq!(
        (told(&reply), &reply["version"]),
        (vec![change("upsert", "stays", 1)], &json!(1002))
    );
    // The oldest valid point gets all removals that are kept.
    let mut known = start.clone();
    known["version"] = 2.into();
    let reply = sync(door, "a", &known);
    assert_eq!((&reply["reset"], &reply["more"]), (&json!(false), &json!(false)));
    let items = told(&reply);
    assert_eq!((items.len(), &items[0]), (1000, &change("remove", "g2", 3)));
    // After one more removal it is too old as well.
    door.ok("remove_members", json!({"chat_id": "stays", "user_ids": ["a"]}));
    assert_reset(&sync(door, "a", &known));
    known["version"] = 3.into();
    assert_eq!(told(&sync(door, "a", &known)).last(), Some(&change("remove", "stays", 1003)));
}

pub fn an_erased_user_starts_again(door: &mut dyn Door) {
    for chat in ["g1", "g2"] {
        door.group(chat, &["a", "b"]);
    }
    let start = sync(door, "a", &Value::Null);
    let first = door.ok("sync", json!({"user_id": "a", "limit": 1}));
    door.ok("erase_user", json!({"user_id": "a"}));
    for since in [&start, &first] {
        let reply = sync(door, "a", since);
        assert_reset(&reply);
        assert_eq!((told(&reply), &reply["version"]), (vec![], &json!(0)));
    }
    // A user who joins again after that is a new user, also when the versions have reached the
    // earlier ones.
    for chat in ["g2", "g3", "g4"] {
        if chat != "g2" {
            door.group(chat, &["b"]);
        }
        door.ok("add_members", json!({"chat_id": chat, "user_ids": ["a"]}));
        for since in [&start, &first] {
            assert_reset(&sync(door, "a", since));
        }
    }
    let reply = sync(door, "a", &start);
    assert_eq!(
        told(&reply),
        [change("upsert", "g2", 1), change("upsert", "g3", 2), change("upsert", "g4", 3)]
    );
    assert_eq!(told(&sync(door, "a", &reply)), []);
    // Other users notice nothing.
    assert_plain(&sync(door, "b", &Value::Null), 4);
}
