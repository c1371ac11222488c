//! "Anything else is a clear error and changes nothing", and the commands that no chapter
//! describes.

use serde_json::{Value, json};

use crate::common::Door;

pub fn wrong_arguments_change_nothing(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 3);
    let before = door.export(None);
    let too_long = "x".repeat(129);
    for id in [
        json!(""),
        json!("a\u{0}b"),
        json!("a\nb"),
        json!("a\u{85}"),
        json!(too_long),
        json!(7),
        json!(null),
        json!(["a"]),
    ] {
        door.fails("list", json!({"user_id": id}), 400);
        door.fails("detail", json!({"ids": [id]}), 400);
        door.fails("delete", json!({"user_id": "a", "ids": ["g", id]}), 400);
        door.fails("create", json!({"type": 2, "creator_id": id, "user_ids": []}), 400);
        door.fails(
            "create",
            json!({"id": "n", "type": 2, "creator_id": "m", "user_ids": ["a", id]}),
            400,
        );
        door.fails("add_members", json!({"chat_id": "g", "user_ids": ["n", id]}), 400);
        door.fails("remove_members", json!({"chat_id": "g", "user_ids": ["a", id]}), 400);
        door.fails("advance", json!({"chat_id": id, "allocate": 1}), 400);
        door.fails("mark_read", json!({"user_id": id, "chat_id": "g", "seq": 1}), 400);
        door.fails("clear", json!({"user_id": "a", "chat_id": id}), 400);
        door.fails("dissolve", json!({"chat_id": id}), 400);
    }
    for number in [json!(-1), json!(1_u64 << 53), json!(1.5), json!("1"), json!([1]), json!(true)] {
        door.fails("advance", json!({"chat_id": "g", "to": number, "force": true}), 400);
        door.fails("advance", json!({"chat_id": "g", "allocate": number}), 400);
        door.fails("advance", json!({"chat_id": "g", "to": 4, "time": number}), 400);
        door.fails("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": number}), 400);
        door.fails("delete", json!({"user_id": "a", "ids": ["g"], "up_to": number}), 400);
        door.fails("touch", json!({"user_id": "a", "time": number}), 400);
    }
    for flag in [json!(2), json!(-1), json!(true), json!("1")] {
        for name in ["is_top", "is_mute", "is_hide", "marked_unread"] {
            let mut set = json!({"user_id": "a", "chat_id": "g"});
            set[name] = flag.clone();
            door.fails("set_flags", set, 400);
        }
    }
    for code in [0, 3, 4] {
        door.fails("set_status", json!({"chat_id": "g", "status": code}), 400);
    }
    for code in [0, 4] {
        door.fails(
            "create",
            json!({"id": "n", "type": code, "creator_id": "m", "user_ids": []}),
            400,
        );
    }
    // Missing and unknown fields, and arguments that are no object.
    for (name, arguments) in [
        ("list", json!({})),
        ("delete", json!({"user_id": "a"})),
        ("delete", json!({"ids": ["g"]})),
        ("create", json!({"id": "n", "type": 2, "user_ids": []})),
        ("mark_read", json!({"user_id": "a", "chat_id": "g"})),
        ("set_status", json!({"chat_id": "g"})),
        ("delete", json!({"user_id": "a", "ids": ["g"], "upto": 1})),
        ("dissolve", json!({"chat_id": "g", "really": true})),
    ] {
        door.fails(name, arguments, 400);
    }
    assert_eq!(door.export(None), before);
}

pub fn refused_commands_change_nothing(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 3);
    door.ok("create", json!({"id": "s", "type": 1, "creator_id": "a", "user_ids": ["a", "b"]}));
    door.group("gone", &["a"]);
    door.ok("dissolve", json!({"chat_id": "gone"}));
    let before = door.export(None);
    for (name, arguments, status) in [
        ("set_flags", json!({"user_id": "a", "chat_id": "unknown", "is_top": 1}), 404),
        ("set_flags", json!({"user_id": "nobody", "chat_id": "g", "is_top": 1}), 404),
        ("mark_read", json!({"user_id": "nobody", "chat_id": "g", "seq": 1}), 404),
        ("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 4}), 400),
        ("clear", json!({"user_id": "nobody", "chat_id": "g"}), 404),
        ("advance", json!({"chat_id": "unknown", "to": 1}), 404),
        ("advance", json!({"chat_id": "g", "to": 2_000_000}), 400),
        ("set_status", json!({"chat_id": "unknown", "status": 2}), 404),
        ("set_status", json!({"chat_id": "gone", "status": 2}), 410),
        ("dissolve", json!({"chat_id": "s"}), 400),
        ("add_members", json!({"chat_id": "s", "user_ids": ["c"]}), 400),
        ("create", json!({"id": "g", "type": 2, "creator_id": "x", "user_ids": ["c"]}), 409),
        ("create", json!({"id": "gone", "type": 2, "creator_id": "x", "user_ids": ["c"]}), 410),
    ] {
        door.fails(name, arguments, status);
    }
    assert_eq!(door.export(None), before);
}

pub fn limits_are_told_as_too_large(door: &mut dyn Door) {
    door.group("g", &["a"]);
    let before = door.export(None);
    let many =
        |count: usize| -> Vec<String> { (0..count).map(|number| format!("k{number}")).collect() };
    door.fails("detail", json!({"ids": many(1001)}), 413);
    door.fails("delete", json!({"user_id": "a", "ids": many(1001)}), 413);
    door.fails("touch", json!({"user_id": "a", "chat_ids": many(1001)}), 413);
    let users = many(10_001);
    door.fails("create", json!({"id": "n", "type": 2, "creator_id": "m", "user_ids": users}), 413);
    door.fails("add_members", json!({"chat_id": "g", "user_ids": users}), 413);
    door.fails("remove_members", json!({"chat_id": "g", "user_ids": users}), 413);
    let members: Vec<Value> =
        users.iter().map(|user| json!({"user_id": user, "chat_id": "g"})).collect();
    door.fails("import", json!({"members": members}), 413);
    door.fails("list", json!({"user_id": "a", "cursor": "p".repeat(4097)}), 413);
    assert_eq!(door.export(None), before);
    // At the limit they are accepted.
    let ids = many(1000);
    assert_eq!(door.ok("detail", json!({"ids": ids})), json!({"items": []}));
    assert_eq!(door.ok("detail", json!({"ids": ids, "user_id": "a"})), json!({"items": []}));
    door.ok("delete", json!({"user_id": "a", "ids": ids}));
}

pub fn ids_of_every_language(door: &mut dyn Door) {
    let longest = "x".repeat(128);
    let chats = [
        "会话",
        "a b/c?d=%2F&e",
        "0x4c3f6cb0cd7df2977ea98e006b61bb899637d1ca",
        "🙂.🙂",
        "\"\\'",
        &longest,
    ];
    let users = ["用户", "user@example.org", "ж", &longest];
    for chat in chats {
        door.group(chat, &users);
    }
    for user in users {
        assert_eq!(door.listed(user).len(), chats.len());
    }
    let (exported, members) = door.export(Some(3));
    assert_eq!((exported.len(), members.len()), (6, 24));
    // Case and composition make different ids.
    door.group("É", &["É"]);
    door.group("E\u{301}", &["e\u{301}"]);
    assert_eq!(
        (door.listed("É").len(), door.listed("e\u{301}").len(), door.listed("é").len()),
        (1, 1, 0)
    );
}

pub fn flags_are_set_one_by_one(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 2);
    let mut version = 1;
    for (name, value) in [
        ("is_top", 1),
        ("is_mute", 1),
        ("is_hide", 1),
        ("is_mute", 0),
        ("is_hide", 0),
        ("is_top", 0),
    ] {
        let mut expected = door.row("a", "g");
        let mut set = json!({"user_id": "a", "chat_id": "g"});
        set[name] = value.into();
        expected[name] = value.into();
        version += 1;
        // A flag that is set already is no change.
        for _ in 0..2 {
            let reply = door.ok("set_flags", set.clone());
            assert_eq!(reply, json!({"row": expected, "version": version}), "{name}");
        }
        assert_eq!(door.row("a", "g"), expected);
    }
    let reply = door.ok("set_flags", json!({"user_id": "a", "chat_id": "g", "marked_unread": 1}));
    assert_eq!(reply["version"], version + 1);
    // Versions belong to the user, across all chats.
    door.group("h", &["a"]);
    assert_eq!(
        door.ok("set_flags", json!({"user_id": "a", "chat_id": "h"}))["version"],
        version + 2
    );
    assert_eq!(door.ok("set_flags", json!({"user_id": "b", "chat_id": "g"}))["version"], 1);
}

pub fn touch_sets_the_time_online(door: &mut dyn Door) {
    let online =
        |door: &mut dyn Door, chat: &str| door.row("a", chat)["last_online_time"].as_u64().unwrap();
    for id in ["g1", "g2", "g3"] {
        door.group(id, &["a", "b"]);
    }
    assert_eq!(door.ok("touch", json!({"user_id": "a", "time": 50})), json!({"touched": 3}));
    assert_eq!(door.row("b", "g1")["last_online_time"], 0);
    let named = json!({"user_id": "a", "chat_ids": ["g2", "unknown", "g2"], "time": 70});
    assert_eq!(door.ok("touch", named), json!({"touched": 1}));
    assert_eq!([online(door, "g1"), online(door, "g2"), online(door, "g3")], [50, 70, 50]);
    // An older time changes nothing.
    assert_eq!(door.ok("touch", json!({"user_id": "a", "time": 60})), json!({"touched": 3}));
    assert_eq!([online(door, "g1"), online(door, "g2"), online(door, "g3")], [60, 70, 60]);
    // No version: apps that are online all day do not make the change log long.
    assert_eq!(door.ok("set_flags", json!({"user_id": "a", "chat_id": "g2"}))["version"], 2);
    assert_eq!(door.ok("touch", json!({"user_id": "nobody"})), json!({"touched": 0}));
    // A core reads the time before a batch of requests, so only what got a reply is surely over.
    let now = door.now();
    assert_eq!(door.ok("touch", json!({"user_id": "a", "chat_ids": []})), json!({"touched": 0}));
    door.ok("touch", json!({"user_id": "a"}));
    assert!(online(door, "g1") >= now);
}
