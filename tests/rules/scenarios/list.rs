//! Chapter 1 of the semantics: `list`.

use serde_json::{Value, json};

use crate::common::Door;

pub fn an_unknown_user_has_an_empty_list(door: &mut dyn Door) {
    let reply = door.ok("list", json!({"user_id": "nobody"}));
    assert_eq!(reply, json!({"items": [], "next_cursor": null}));
    let reply = door.ok("list", json!({"user_id": "nobody", "limit": 3}));
    assert_eq!(reply, json!({"items": [], "next_cursor": null}));
}

pub fn a_new_row_has_the_apis_fields(door: &mut dyn Door) {
    door.group("g", &["a"]);
    let row = json!({
        "id": "g", "chat_id": "g", "is_top": 0, "is_mute": 0, "is_show": 1, "is_hide": 0,
        "max_read_seq": 0, "last_online_time": 0,
    });
    assert_eq!(
        door.ok("list", json!({"user_id": "a"})),
        json!({"items": [row], "next_cursor": null})
    );
}

pub fn pinned_first_then_newest_joined(door: &mut dyn Door) {
    for id in ["g1", "g2", "g3", "g4", "g5"] {
        door.group(id, &["a", "b"]);
    }
    assert_eq!(door.listed("a"), ["g5", "g4", "g3", "g2", "g1"]);
    for id in ["g2", "g4"] {
        door.ok("set_flags", json!({"user_id": "a", "chat_id": id, "is_top": 1}));
    }
    // Pinned chats too are ordered newest-joined first, not newest-pinned.
    assert_eq!(door.listed("a"), ["g4", "g2", "g5", "g3", "g1"]);
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g1", "is_top": 1}));
    assert_eq!(door.listed("a"), ["g4", "g2", "g1", "g5", "g3"]);
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g4", "is_top": 0}));
    assert_eq!(door.listed("a"), ["g2", "g1", "g5", "g4", "g3"]);
    // Messages do not change the order, and each user has pins of their own.
    door.message("g3", 1);
    assert_eq!(door.listed("a"), ["g2", "g1", "g5", "g4", "g3"]);
    assert_eq!(door.listed("b"), ["g5", "g4", "g3", "g2", "g1"]);
}

pub fn hidden_rows_are_listed_and_deleted_ones_are_not(door: &mut dyn Door) {
    for id in ["g1", "g2", "g3"] {
        door.group(id, &["a"]);
    }
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g1", "is_hide": 1}));
    door.ok("delete", json!({"user_id": "a", "ids": ["g2"]}));
    assert_eq!(door.listed("a"), ["g3", "g1"]);
    assert_eq!(door.row("a", "g1")["is_hide"], 1);
    assert_eq!(door.row("a", "g1")["is_show"], 1);
}

pub fn pages_make_up_the_whole_list(door: &mut dyn Door) {
    // More rows than one chunk of the store holds.
    let ids: Vec<String> = (0..150).map(|number| format!("g{number:03}")).collect();
    let chats: Vec<Value> =
        ids.iter().map(|id| json!({"id": id, "type": 2, "creator_id": "m"})).collect();
    let members: Vec<Value> = ids.iter().map(|id| json!({"user_id": "a", "chat_id": id})).collect();
    door.ok("import", json!({"chats": chats}));
    for members in members.chunks(40) {
        door.ok("import", json!({"members": members}));
    }
    for id in ["g004", "g140", "g077"] {
        door.ok("set_flags", json!({"user_id": "a", "chat_id": id, "is_top": 1}));
    }
    door.ok("delete", json!({"user_id": "a", "ids": ["g010", "g011", "g140"]}));
    let whole = door.list("a");
    assert_eq!(whole.len(), 147);
    assert_eq!(whole.iter().filter(|row| row["is_top"] == 1).count(), 2);
    for limit in [1, 2, 7, 64, 146, 147, 1000] {
        let (mut pages, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let mut page =
                door.ok("list", json!({"user_id": "a", "limit": limit, "cursor": cursor}));
            let Value::Array(items) = page["items"].take() else { panic!("no items") };
            assert!(!items.is_empty() && items.len() <= limit);
            pages.extend(items);
            cursor = page["next_cursor"].take();
            if cursor.is_null() {
                break;
            }
        }
        assert_eq!(pages, whole, "limit {limit}");
    }
    for cursor in ["", "p", "x7", "n-1", "7", "é"] {
        door.fails("list", json!({"user_id": "a", "cursor": cursor}), 400);
    }
    door.fails("list", json!({"user_id": "a", "limit": 0}), 400);
}

pub fn joining_again_makes_it_the_newest(door: &mut dyn Door) {
    for id in ["g1", "g2", "g3"] {
        door.group(id, &["a", "b"]);
    }
    door.ok("remove_members", json!({"chat_id": "g1", "user_ids": ["a"]}));
    assert_eq!(door.listed("a"), ["g3", "g2"]);
    door.ok("add_members", json!({"chat_id": "g1", "user_ids": ["a", "b"]}));
    assert_eq!(door.listed("a"), ["g1", "g3", "g2"]);
    assert_eq!(door.listed("b"), ["g3", "g2", "g1"]);
}

pub fn a_chat_is_listed_by_all_its_members_and_nobody_else(door: &mut dyn Door) {
    let users = ["a", "b", "c", "d", "e", "f", "g", "h"];
    door.group("chat", &users);
    for user in users {
        assert_eq!(door.listed(user), ["chat"]);
    }
    assert_eq!(door.members("chat"), users);
    assert!(door.listed("maker").is_empty());
}
