//! Chapter 7 of the semantics: members join and leave.

use serde_json::{Value, json};

use crate::common::Door;

pub fn history_is_not_unread(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 7);
    let added = door.ok("add_members", json!({"chat_id": "g", "user_ids": ["b", "c"]}));
    assert_eq!(added, json!({"added": 2, "members": 3}));
    assert_eq!(door.row("b", "g")["max_read_seq"], 7);
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (7, 0));
    let members = json!([
        {"user_id": "a", "join_seq": 1}, {"user_id": "b", "join_seq": 8}, {"user_id": "c", "join_seq": 8},
    ]);
    let reply = door.ok("members", json!({"chat_id": "g"}));
    assert_eq!(reply, json!({"items": members, "next_cursor": null}));
    door.message("g", 9);
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (9, 2));
}

pub fn adding_again_resets_nothing(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 7);
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 3}));
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g", "is_top": 1, "is_mute": 1}));
    door.ok("advance", json!({"chat_id": "g", "to": 7, "sender_id": "b", "time": 1}));
    let before = door.export(None);
    let added = door.ok("add_members", json!({"chat_id": "g", "user_ids": ["b", "a"]}));
    assert_eq!(added, json!({"added": 0, "members": 2}));
    assert_eq!(door.export(None), before);
    let added = door.ok("add_members", json!({"chat_id": "g", "user_ids": ["a", "c", "b", "c"]}));
    assert_eq!(added, json!({"added": 1, "members": 3}));
    assert_eq!(door.members("g"), ["a", "b", "c"]);
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (4, 0));
    assert_eq!(
        door.ok("add_members", json!({"chat_id": "g", "user_ids": []})),
        json!({"added": 0, "members": 3})
    );
}

pub fn removing_takes_the_row_and_rejoining_starts_afresh(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 4);
    door.ok("advance", json!({"chat_id": "g", "to": 5, "sender_id": "a", "time": 1}));
    door.ok("touch", json!({"user_id": "a", "time": 66}));
    door.ok(
        "set_flags",
        json!({"user_id": "a", "chat_id": "g", "is_top": 1, "is_mute": 1, "is_hide": 1}),
    );
    let removed =
        door.ok("remove_members", json!({"chat_id": "g", "user_ids": ["a", "nobody", "a"]}));
    assert_eq!(removed, json!({"removed": 1, "members": 1}));
    assert!(door.listed("a").is_empty());
    assert_eq!(door.members("g"), ["b"]);
    door.fails("set_flags", json!({"user_id": "a", "chat_id": "g", "is_top": 1}), 404);
    let removed = door.ok("remove_members", json!({"chat_id": "g", "user_ids": ["a"]}));
    assert_eq!(removed, json!({"removed": 0, "members": 1}));
    door.message("g", 8);
    assert!(door.listed("a").is_empty());
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["a"]}));
    let row = json!({
        "id": "g", "chat_id": "g", "is_top": 0, "is_mute": 0, "is_show": 1, "is_hide": 0,
        "max_read_seq": 8, "last_online_time": 0,
    });
    assert_eq!(door.row("a", "g"), row);
    assert_eq!(door.unread("a", "g"), 0);
    assert_eq!(door.members("g"), ["b", "a"]);
    let (_, members) = door.export(None);
    let a = members.iter().find(|line| line["user_id"] == "a").unwrap();
    assert_eq!((&a["join_seq"], &a["deleted_to_seq"]), (&json!(9), &json!(0)));
    assert_eq!((&a["sent_seq"], &a["marked_unread"]), (&json!(0), &json!(0)));
    // All may leave.
    let removed = door.ok("remove_members", json!({"chat_id": "g", "user_ids": ["a", "b"]}));
    assert_eq!(removed, json!({"removed": 2, "members": 0}));
    assert!(door.members("g").is_empty());
}

pub fn a_deleter_who_leaves_and_returns(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 4);
    for user in ["a", "b"] {
        door.ok("delete", json!({"user_id": user, "ids": ["g"]}));
    }
    door.ok("remove_members", json!({"chat_id": "g", "user_ids": ["a"]}));
    door.message("g", 5);
    // The message does not reach users who left.
    assert!(door.listed("a").is_empty());
    assert_eq!(door.listed("b"), ["g"]);
    door.ok("delete", json!({"user_id": "b", "ids": ["g"]}));
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["a"]}));
    assert_eq!(door.listed("a"), ["g"]);
    assert!(door.listed("b").is_empty());
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    assert!(door.listed("a").is_empty());
    door.message("g", 6);
    for user in ["a", "b"] {
        assert_eq!((door.listed(user), door.unread(user, "g")), (vec!["g".to_owned()], 1));
    }
}

pub fn a_single_chat_is_fixed(door: &mut dyn Door) {
    let single = json!({"id": "s", "type": 1, "creator_id": "a", "user_ids": ["a", "b"]});
    door.ok("create", single);
    let before = door.export(None);
    for users in [json!(["c"]), json!(["a"]), json!([])] {
        door.fails("add_members", json!({"chat_id": "s", "user_ids": users.clone()}), 400);
        door.fails("remove_members", json!({"chat_id": "s", "user_ids": users}), 400);
    }
    assert_eq!(door.export(None), before);
    // An official chat is not affected.
    door.ok("create", json!({"id": "o", "type": 3, "creator_id": "bank", "user_ids": ["a"]}));
    let added = door.ok("add_members", json!({"chat_id": "o", "user_ids": ["b"]}));
    assert_eq!(added, json!({"added": 1, "members": 2}));
}

pub fn pages_make_up_all_members(door: &mut dyn Door) {
    let users: Vec<String> = (0..200).map(|number| format!("u{number}")).collect();
    let named: Vec<&str> = users.iter().map(String::as_str).collect();
    door.group("g", &named[..120]);
    door.ok("add_members", json!({"chat_id": "g", "user_ids": &users[100..]}));
    door.ok("remove_members", json!({"chat_id": "g", "user_ids": &users[30..90]}));
    let whole = door.members("g");
    let left: Vec<String> = users[..30].iter().chain(&users[90..]).cloned().collect();
    assert_eq!(whole, left);
    for limit in [1, 13, 139, 140, 10_000] {
        let (mut pages, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let mut page =
                door.ok("members", json!({"chat_id": "g", "limit": limit, "cursor": cursor}));
            let items = page["items"].as_array().unwrap();
            assert!(!items.is_empty() && items.len() <= limit);
            pages.extend(items.iter().map(|item| item["user_id"].as_str().unwrap().to_owned()));
            cursor = page["next_cursor"].take();
            if cursor.is_null() {
                break;
            }
        }
        assert_eq!(pages, whole, "limit {limit}");
    }
    for limit in [0, 10_001] {
        door.fails("members", json!({"chat_id": "g", "limit": limit}), 400);
    }
    door.fails("members", json!({"chat_id": "g", "cursor": "first"}), 400);
}

pub fn a_large_group_in_slices(door: &mut dyn Door) {
    let users: Vec<String> = (0..1000).map(|number| format!("u{number}")).collect();
    let named: Vec<&str> = users.iter().map(String::as_str).collect();
    door.group("g", &named);
    for user in ["u0", "u255", "u256", "u257", "u511", "u512", "u999"] {
        assert_eq!(door.listed(user), ["g"], "{user}");
    }
    let stats = door.ok("stats", json!({}));
    assert_eq!((&stats["chats"], &stats["users"]), (&json!(1), &json!(1000)));
    assert_eq!((&stats["memberships"], &stats["outbox"]), (&json!(1000), &json!(0)));
    let removed = door.ok("remove_members", json!({"chat_id": "g", "user_ids": &users[200..800]}));
    assert_eq!(removed, json!({"removed": 600, "members": 400}));
    for (user, listed) in [("u199", 1), ("u200", 0), ("u500", 0), ("u799", 0), ("u800", 1)] {
        assert_eq!(door.listed(user).len(), listed, "{user}");
    }
    door.ok("dissolve", json!({"chat_id": "g"}));
    let stats = door.ok("stats", json!({}));
    assert_eq!((&stats["chats"], &stats["dissolved"]), (&json!(0), &json!(1)));
    assert_eq!((&stats["users"], &stats["memberships"]), (&json!(0), &json!(0)));
}

pub fn only_chats_that_are_there_have_members(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.ok("dissolve", json!({"chat_id": "g"}));
    for (chat, status) in [("g", 410), ("unknown", 404)] {
        door.fails("members", json!({"chat_id": chat}), status);
        for command in ["add_members", "remove_members"] {
            door.fails(command, json!({"chat_id": chat, "user_ids": ["a"]}), status);
        }
    }
}
