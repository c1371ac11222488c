//! `if_version`: a change that is meant for one version of a row or a chat.

use serde_json::{Value, json};

use crate::common::Door;

fn version_of_row(door: &mut dyn Door, user: &str, chat: &str) -> u64 {
    door.ok("set_flags", json!({"user_id": user, "chat_id": chat}))["version"].as_u64().unwrap()
}

fn with_version(mut arguments: Value, version: u64) -> Value {
    arguments["if_version"] = version.into();
    arguments
}

pub fn a_rows_version(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.group("h", &["a"]);
    door.message("g", 5);
    let changes = [
        ("set_flags", json!({"user_id": "a", "chat_id": "g", "is_top": 1})),
        ("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 2})),
        ("clear", json!({"user_id": "a", "chat_id": "g"})),
    ];
    for (name, arguments) in changes {
        let version = version_of_row(door, "a", "g");
        let before = door.export(None);
        for wrong in [0, version - 1, version + 1, u64::MAX] {
            let message = door.fails(name, with_version(arguments.clone(), wrong), 409);
            assert!(message.contains("version"), "{message}");
        }
        assert_eq!(door.export(None), before, "{name}");
        door.ok(name, with_version(arguments.clone(), version));
        assert!(version_of_row(door, "a", "g") > version, "{name}");
        // The version has risen, although the change is the same.
        door.fails(name, with_version(arguments, version), 409);
    }
    // The version belongs to the row and not to the user: events in other chats do not matter.
    let version = version_of_row(door, "a", "g");
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "h", "is_top": 1}));
    door.message("g", 6);
    let mute = json!({"user_id": "a", "chat_id": "g", "is_mute": 1});
    let reply = door.ok("set_flags", with_version(mute, version));
    assert_eq!(reply["version"], version + 2);
    assert_eq!(reply["row"]["is_mute"], 1);
}

pub fn a_chats_version(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    let changes = [
        ("advance", json!({"chat_id": "g", "to": 3, "time": 1}), 1),
        ("add_members", json!({"chat_id": "g", "user_ids": ["c"]}), 1),
        ("remove_members", json!({"chat_id": "g", "user_ids": ["b"]}), 2),
        ("set_status", json!({"chat_id": "g", "status": 2}), 3),
        ("dissolve", json!({"chat_id": "g"}), 4),
    ];
    for (name, arguments, version) in changes {
        let before = door.export(None);
        for wrong in [0, version - 1, version + 1] {
            door.fails(name, with_version(arguments.clone(), wrong), 409);
        }
        assert_eq!(door.export(None), before, "{name}");
        door.ok(name, with_version(arguments, version));
    }
    assert!(door.listed("a").is_empty());
    // Messages do not raise it, so several requests may name the same version.
    door.group("h", &["a"]);
    for to in 1..4 {
        door.ok("advance", json!({"chat_id": "h", "to": to, "time": to, "if_version": 1}));
    }
}

pub fn existence_is_looked_at_first(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.group("gone", &["a"]);
    door.ok("dissolve", json!({"chat_id": "gone"}));
    for (name, more, status_gone) in [
        ("advance", json!({"to": 1}), 410),
        ("add_members", json!({"user_ids": ["c"]}), 410),
        ("remove_members", json!({"user_ids": ["a"]}), 410),
        ("set_status", json!({"status": 2}), 410),
        ("dissolve", json!({}), 410),
        ("mark_read", json!({"user_id": "a", "seq": 0}), 410),
        ("clear", json!({"user_id": "a"}), 410),
        ("set_flags", json!({"user_id": "a", "is_top": 1}), 410),
    ] {
        for (chat, status) in [("unknown", 404), ("gone", status_gone), ("g", 409)] {
            let mut arguments = with_version(more.clone(), 77);
            arguments["chat_id"] = chat.into();
            door.fails(name, arguments, status);
        }
    }
    door.fails(
        "mark_read",
        json!({"user_id": "b", "chat_id": "g", "seq": 0, "if_version": 1}),
        404,
    );
    door.fails("set_flags", json!({"user_id": "b", "chat_id": "g", "if_version": 1}), 404);
    // Commands that concern no single row do not have this argument.
    for (name, arguments) in [
        ("delete", json!({"user_id": "a", "ids": ["g"]})),
        ("touch", json!({"user_id": "a"})),
        ("mark_read_many", json!({"user_id": "a", "items": []})),
        ("erase_user", json!({"user_id": "a"})),
        ("create", json!({"id": "n", "type": 2, "creator_id": "m", "user_ids": []})),
    ] {
        door.fails(name, with_version(arguments, 1), 400);
    }
}

pub fn a_repeat_gets_the_first_answer_although_the_version_moved_on(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 5);
    let read = json!({
        "user_id": "a", "chat_id": "g", "seq": 2, "if_version": 1, "idempotency_key": "k",
    });
    let first = door.ok("mark_read", read.clone());
    let add = json!({"chat_id": "g", "user_ids": ["b"], "if_version": 1, "idempotency_key": "k"});
    let added = door.ok("add_members", add.clone());
    for _ in 0..2 {
        assert_eq!(door.ok("mark_read", read.clone()), first);
        assert_eq!(door.ok("add_members", add.clone()), added);
    }
    assert_eq!(version_of_row(door, "a", "g"), 2);
    // A version that was wrong may be right later: nothing of the request was remembered.
    let pin = |version: u64| {
        json!({
            "user_id": "a", "chat_id": "g", "is_top": 1, "if_version": version, "idempotency_key": "p",
        })
    };
    door.fails("set_flags", pin(3), 409);
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g", "is_mute": 1}));
    assert_eq!(door.ok("set_flags", pin(3))["version"], 4);
}
