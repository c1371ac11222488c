//! Chapter 3 of the semantics: `delete` and `clear`.

use serde_json::json;

use crate::common::Door;

pub fn one_sided_and_until_the_next_message(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 5);
    let before = door.list("b");
    assert_eq!(door.ok("delete", json!({"user_id": "a", "ids": ["g"]})), json!(null));
    assert!(door.listed("a").is_empty());
    assert_eq!(door.list("b"), before);
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (0, 5));
    // The user is still a member.
    assert_eq!(door.members("g"), ["a", "b"]);
    // The chat comes back, and only newer messages count.
    door.message("g", 7);
    let row = door.row("a", "g");
    assert_eq!((&row["is_show"], &row["max_read_seq"]), (&json!(1), &json!(5)));
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (2, 7));
    assert_eq!(door.row("b", "g"), before[0]);
}

pub fn up_to_an_older_sequence_leaves_the_newer(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 9);
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g", "is_top": 1, "marked_unread": 1}));
    // The user saw 6, and 7 to 9 came meanwhile. The row is covered up to 6 and stays.
    door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": 6}));
    let row = door.row("a", "g");
    assert_eq!((&row["is_top"], &row["is_show"]), (&json!(0), &json!(1)));
    assert_eq!(row["max_read_seq"], 6);
    assert_eq!(door.unread("a", "g"), 3);
    // With `up_to` at the last sequence, the row leaves the list.
    door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": 9}));
    assert!(door.listed("a").is_empty());
    assert_eq!(door.unread("a", "g"), 0);
}

pub fn up_to_beyond_the_last_is_refused(door: &mut dyn Door) {
    let ids: Vec<String> = (0..8).map(|number| format!("g{number}")).collect();
    for id in &ids {
        door.group(id, &["a"]);
        door.message(id, 9);
    }
    door.group("short", &["a"]);
    door.message("short", 4);
    door.group("other", &["b"]);
    let before = door.export(None);
    let message = door.fails("delete", json!({"user_id": "a", "ids": ["short"], "up_to": 5}), 400);
    assert!(message.contains("up_to") && message.contains("short"), "{message}");
    // One chat refuses the whole request, on whatever shards the others are.
    let all = |up_to: u64| {
        let ids: Vec<&str> = ids.iter().map(String::as_str).chain(["short", "other"]).collect();
        json!({"user_id": "a", "ids": ids, "up_to": up_to})
    };
    let with_key = |up_to: u64| {
        let mut arguments = all(up_to);
        arguments["idempotency_key"] = "k".into();
        arguments
    };
    door.fails("delete", all(5), 400);
    door.fails("delete", with_key(5), 400);
    assert_eq!(door.export(None), before);
    // A refused request has taken no key.
    door.ok("delete", with_key(4));
    assert_eq!(door.unread("a", "g0"), 5);
    assert_eq!(door.listed("a").len(), ids.len());
    // Chats that the user is not in are ignored, whatever their last sequence.
    door.ok("delete", json!({"user_id": "a", "ids": ["other", "unknown"], "up_to": 5}));
}

pub fn an_older_up_to_takes_nothing_back(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 9);
    door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": 8}));
    door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": 3}));
    assert_eq!(door.unread("a", "g"), 1);
    assert_eq!(
        door.ok("clear", json!({"user_id": "a", "chat_id": "g"})),
        json!({"deleted_to_seq": 9})
    );
    door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": 0}));
    assert_eq!(door.unread("a", "g"), 0);
    // An older message does not bring back a deleted chat.
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": 3}));
    assert!(door.listed("a").is_empty());
}

pub fn repeating_it_changes_nothing(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 3);
    for up_to in [json!(2), json!(null)] {
        let delete = json!({"user_id": "a", "ids": ["g"], "up_to": up_to});
        door.ok("delete", delete.clone());
        let (once, version) = (door.export(None), version(door));
        door.ok("delete", delete.clone());
        door.ok("delete", delete);
        assert_eq!(door.export(None), once);
        assert_eq!(self::version(door), version);
    }
}

pub fn repeating_it_leaves_what_was_set_since(door: &mut dyn Door) {
    let pin = json!({"user_id": "a", "chat_id": "g", "is_top": 1, "marked_unread": 1});
    let is_kept = |door: &mut dyn Door, what: &str| {
        let line = &door.export(None).1[0];
        assert_eq!((&line["is_top"], &line["marked_unread"]), (&json!(1), &json!(1)), "{what}");
    };
    door.group("g", &["a"]);
    door.message("g", 3);
    // For a row that stays: with the same watermark, and with an older one.
    door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": 2}));
    door.ok("set_flags", pin.clone());
    for up_to in [2, 1, 0] {
        door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": up_to}));
        is_kept(door, "up_to");
    }
    // For the history.
    door.ok("clear", json!({"user_id": "a", "chat_id": "g"}));
    door.ok("set_flags", pin.clone());
    door.ok("clear", json!({"user_id": "a", "chat_id": "g"}));
    is_kept(door, "clear");
    // For the row, which a clear has left in the list.
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    assert!(door.listed("a").is_empty());
    door.ok("set_flags", pin);
    let version = version(door);
    for up_to in [json!(null), json!(3), json!(1)] {
        door.ok("delete", json!({"user_id": "a", "ids": ["g"], "up_to": up_to}));
        is_kept(door, "delete");
    }
    door.ok("clear", json!({"user_id": "a", "chat_id": "g"}));
    is_kept(door, "clear of a deleted chat");
    assert_eq!(self::version(door), version);
    assert!(door.listed("a").is_empty());
    door.message("g", 4);
    assert_eq!(door.row("a", "g")["is_top"], 1);
    // Behind a new message it counts as a new delete.
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    door.message("g", 5);
    assert_eq!(door.row("a", "g")["is_top"], 0);
}

/// The version of `a`'s row in `g`, read by a `set_flags` without flags.
fn version(door: &mut dyn Door) -> u64 {
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g"}))["version"].as_u64().unwrap()
}

pub fn mute_and_hide_stay_pin_and_mark_go(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 3);
    let all = json!({"user_id": "a", "chat_id": "g", "is_top": 1, "is_mute": 1, "is_hide": 1, "marked_unread": 1});
    door.ok("set_flags", all);
    door.ok("touch", json!({"user_id": "a", "time": 44}));
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    door.message("g", 4);
    let row = json!({
        "id": "g", "chat_id": "g", "is_top": 0, "is_mute": 1, "is_show": 1, "is_hide": 1,
        "max_read_seq": 3, "last_online_time": 44,
    });
    assert_eq!(door.row("a", "g"), row);
    let (_, members) = door.export(None);
    assert_eq!(members[0]["marked_unread"], 0);
}

pub fn a_late_message_does_not_bring_it_back(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 5);
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    for late in [5, 3, 0] {
        door.message("g", late);
        door.ok("advance", json!({"chat_id": "g", "to": late, "sender_id": "b", "time": 1}));
        door.settle();
        assert!(door.listed("a").is_empty(), "{late}");
    }
    // Nor does anything else that is no message.
    door.ok("mark_read", json!({"user_id": "b", "chat_id": "g", "seq": 5}));
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 5}));
    door.ok("touch", json!({"user_id": "a", "time": 9}));
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["a", "c"]}));
    door.ok("set_status", json!({"chat_id": "g", "status": 2}));
    door.ok("set_status", json!({"chat_id": "g", "status": 1}));
    door.settle();
    assert!(door.listed("a").is_empty());
    door.ok("advance", json!({"chat_id": "g", "allocate": 1, "time": 1}));
    door.settle();
    assert_eq!(door.listed("a"), ["g"]);
}

pub fn a_chat_without_messages_can_be_deleted(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    assert!(door.listed("a").is_empty());
    door.message("g", 1);
    assert_eq!((door.listed("a"), door.unread("a", "g")), (vec!["g".to_owned()], 1));
}

pub fn ids_that_the_user_has_not_are_ignored(door: &mut dyn Door) {
    door.group("mine", &["a"]);
    door.group("other", &["b"]);
    door.group("gone", &["a"]);
    door.ok("dissolve", json!({"chat_id": "gone"}));
    let before = door.export(None);
    door.ok("delete", json!({"user_id": "a", "ids": ["unknown", "other", "gone"]}));
    door.ok("delete", json!({"user_id": "nobody", "ids": ["mine", "other"]}));
    door.ok("delete", json!({"user_id": "a", "ids": []}));
    assert_eq!(door.export(None), before);
    // Beside a chat that the user has.
    door.ok("delete", json!({"user_id": "a", "ids": ["unknown", "mine", "other", "mine"]}));
    assert!(door.listed("a").is_empty());
    assert_eq!(door.listed("b"), ["other"]);
}

pub fn several_chats_at_once(door: &mut dyn Door) {
    let ids: Vec<String> = (0..20).map(|number| format!("g{number:02}")).collect();
    for id in &ids {
        door.group(id, &["a", "b"]);
    }
    door.ok("delete", json!({"user_id": "a", "ids": &ids[..15]}));
    assert_eq!(door.listed("a"), ["g19", "g18", "g17", "g16", "g15"]);
    assert_eq!(door.listed("b").len(), 20);
    door.message("g07", 1);
    assert_eq!(door.listed("a"), ["g19", "g18", "g17", "g16", "g15", "g07"]);
}

pub fn again_and_again(door: &mut dyn Door) {
    door.group("g", &["a", "b", "c"]);
    for round in 1..6 {
        for user in ["a", "b"] {
            door.ok("delete", json!({"user_id": user, "ids": ["g"]}));
            assert!(door.listed(user).is_empty(), "round {round}");
        }
        door.message("g", round * 2);
        for user in ["a", "b"] {
            assert_eq!(door.listed(user), ["g"], "round {round}");
            assert_eq!(door.unread(user, "g"), 2, "round {round}");
        }
        assert_eq!(door.unread("c", "g"), i64::try_from(round).unwrap() * 2);
    }
}

pub fn clear_sets_the_watermark_and_leaves_the_row(door: &mut dyn Door) {
    door.group("g1", &["a", "b"]);
    door.group("g2", &["a"]);
    door.message("g1", 6);
    let flags =
        json!({"user_id": "a", "chat_id": "g1", "is_top": 1, "is_mute": 1, "marked_unread": 1});
    door.ok("set_flags", flags);
    assert_eq!(
        door.ok("clear", json!({"user_id": "a", "chat_id": "g1"})),
        json!({"deleted_to_seq": 6})
    );
    assert_eq!(door.listed("a"), ["g1", "g2"]);
    let row = door.row("a", "g1");
    assert_eq!((&row["is_top"], &row["is_mute"]), (&json!(1), &json!(1)));
    assert_eq!((&row["is_show"], &row["max_read_seq"]), (&json!(1), &json!(6)));
    assert_eq!((door.unread("a", "g1"), door.unread("b", "g1")), (0, 6));
    let once = door.export(None);
    assert_eq!(
        door.ok("clear", json!({"user_id": "a", "chat_id": "g1"})),
        json!({"deleted_to_seq": 6})
    );
    assert_eq!(door.export(None), once);
    door.message("g1", 8);
    assert_eq!(door.unread("a", "g1"), 2);
    // A deleted chat that is cleared stays deleted until its next message.
    door.ok("delete", json!({"user_id": "a", "ids": ["g1"]}));
    door.ok("clear", json!({"user_id": "a", "chat_id": "g1"}));
    assert_eq!(door.listed("a"), ["g2"]);
    door.message("g1", 9);
    assert_eq!(door.unread("a", "g1"), 1);

    door.ok("dissolve", json!({"chat_id": "g2"}));
    door.fails("clear", json!({"user_id": "b", "chat_id": "unknown"}), 404);
    door.fails("clear", json!({"user_id": "nobody", "chat_id": "g1"}), 404);
    door.fails("clear", json!({"user_id": "a", "chat_id": "g2"}), 410);
}
