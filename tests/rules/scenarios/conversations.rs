//! `conversations`: rows with their chats, in the order of a conversation list, page by page.

use serde_json::{Value, json};

use crate::common::Door;

fn conversations(door: &mut dyn Door, user: &str, more: Value) -> Value {
    let mut arguments = json!({"user_id": user});
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    door.ok("conversations", arguments)
}

fn ids_of(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|item| item["chat_id"].as_str().unwrap().to_owned()).collect()
}

/// The ids of the whole reply, which must be one page.
fn ids(door: &mut dyn Door, user: &str, more: Value) -> Vec<String> {
    let page = conversations(door, user, more);
    assert_eq!((&page["next_cursor"], &page["moved"]), (&Value::Null, &json!(false)));
    ids_of(&page)
}

fn advance(door: &mut dyn Door, chat: &str, time: u64) {
    door.ok("advance", json!({"chat_id": chat, "allocate": 1, "time": time}));
    door.settle();
}

fn flag(door: &mut dyn Door, chat: &str, name: &str, value: u8) {
    let mut set = json!({"user_id": "a", "chat_id": chat});
    set[name] = value.into();
    door.ok("set_flags", set);
}

/// Groups of these names with `a` as the only member, each with a message at its time.
fn groups(door: &mut dyn Door, chats: &[(&str, u64)]) {
    for (chat, time) in chats {
        door.group(chat, &["a"]);
        advance(door, chat, *time);
    }
}

pub fn an_item_is_the_row_and_the_chat(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 9);
    door.ok("advance", json!({"chat_id": "g", "to": 3, "sender_id": "a", "time": 1}));
    door.ok("touch", json!({"user_id": "a", "time": 44}));
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 2}));
    flag(door, "g", "is_mute", 1);
    flag(door, "g", "marked_unread", 1);
    let item = json!({
        "id": "g", "chat_id": "g", "is_top": 0, "is_mute": 1, "is_show": 1, "is_hide": 0,
        "max_read_seq": 2, "last_online_time": 44, "creator_id": "maker", "type": 2, "status": 1,
        "is_enc": 0, "last_read_sequence": 3, "last_sequence": 9, "last_time": 1009, "created_at": 5,
        "unread": 6, "marked_unread": 1,
    });
    assert_eq!(
        conversations(door, "a", json!({})),
        json!({"items": [item], "next_cursor": null, "moved": false})
    );
    // It agrees with `list` and `detail`.
    let (row, chat) = (door.row("a", "g"), door.chat_of("a", "g"));
    for (name, value) in row.as_object().unwrap().iter().chain(chat.as_object().unwrap()) {
        assert_eq!(&item[name], value, "{name}");
    }
}

pub fn an_unknown_user_has_none(door: &mut dyn Door) {
    let nothing = json!({"items": [], "next_cursor": null, "moved": false});
    assert_eq!(conversations(door, "nobody", json!({})), nothing);
    assert_eq!(conversations(door, "nobody", json!({"limit": 1, "unread_only": true})), nothing);
}

pub fn pinned_first_then_newest_then_by_id(door: &mut dyn Door) {
    groups(door, &[("c", 70), ("b", 70), ("a", 50), ("é", 70), ("z", 90)]);
    door.group("never", &["a"]);
    assert_eq!(ids(door, "a", json!({})), ["z", "b", "c", "é", "a", "never"]);
    flag(door, "never", "is_top", 1);
    flag(door, "c", "is_top", 1);
    assert_eq!(ids(door, "a", json!({})), ["c", "never", "z", "b", "é", "a"]);
    // A message moves a chat to the front of its part.
    advance(door, "never", 60);
    assert_eq!(ids(door, "a", json!({})), ["c", "never", "z", "b", "é", "a"]);
    advance(door, "never", 71);
    advance(door, "a", 91);
    assert_eq!(ids(door, "a", json!({})), ["never", "c", "a", "z", "b", "é"]);
    // The time is that of the newest sequence: a message with an older time moves the chat back.
    advance(door, "a", 10);
    assert_eq!(ids(door, "a", json!({})), ["never", "c", "z", "b", "é", "a"]);
    flag(door, "never", "is_top", 0);
    flag(door, "c", "is_top", 0);
    assert_eq!(ids(door, "a", json!({})), ["z", "never", "b", "c", "é", "a"]);
}

pub fn what_is_deleted_dissolved_or_left_is_not_there(door: &mut dyn Door) {
    groups(door, &[("deleted", 1), ("gone", 2), ("left", 3), ("hidden", 4), ("disabled", 5)]);
    door.ok("delete", json!({"user_id": "a", "ids": ["deleted"]}));
    door.ok("dissolve", json!({"chat_id": "gone"}));
    door.ok("remove_members", json!({"chat_id": "left", "user_ids": ["a"]}));
    flag(door, "hidden", "is_hide", 1);
    door.ok("set_status", json!({"chat_id": "disabled", "status": 2}));
    assert_eq!(ids(door, "a", json!({})), ["disabled", "hidden"]);
    advance(door, "deleted", 6);
    assert_eq!(ids(door, "a", json!({})), ["deleted", "disabled", "hidden"]);
    // Cleared, it stays, and nothing is unread.
    door.ok("clear", json!({"user_id": "a", "chat_id": "deleted"}));
    let page = conversations(door, "a", json!({"limit": 1}));
    assert_eq!(
        (&page["items"][0]["chat_id"], &page["items"][0]["unread"]),
        (&json!("deleted"), &json!(0))
    );
}

pub fn filters_leave_out(door: &mut dyn Door) {
    groups(door, &[("g1", 10), ("g2", 20), ("g3", 30)]);
    for (id, kind, users) in [("o", 3, json!(["a"])), ("s", 1, json!(["a", "b"]))] {
        door.ok("create", json!({"id": id, "type": kind, "creator_id": "m", "user_ids": users}));
    }
    advance(door, "s", 40);
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g2", "seq": 1}));
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "s", "seq": 1}));
    flag(door, "s", "marked_unread", 1);
    flag(door, "g3", "is_hide", 1);
    let all = ["s", "g3", "g2", "g1", "o"];
    for (filter, expected) in [
        (json!({}), &all[..]),
        (json!({"unread_only": false, "type": null, "hidden": null, "active_since": null}), &all),
        // Chats with unread messages, or marked by hand.
        (json!({"unread_only": true}), &["s", "g3", "g1"]),
        (json!({"type": 1}), &["s"]),
        (json!({"type": 2}), &["g3", "g2", "g1"]),
        (json!({"type": 3}), &["o"]),
        (json!({"hidden": 1}), &["g3"]),
        (json!({"hidden": 0}), &["s", "g2", "g1", "o"]),
        (json!({"active_since": 0}), &all),
        (json!({"active_since": 20}), &["s", "g3", "g2"]),
        (json!({"active_since": 41}), &[]),
        (json!({"unread_only": true, "type": 2, "hidden": 0, "active_since": 10}), &["g1"]),
    ] {
        assert_eq!(ids(door, "a", filter.clone()), expected, "{filter}");
    }
}

pub fn pages_make_up_all_of_them(door: &mut dyn Door) {
    let names: Vec<String> = (0..55).map(|number| format!("g{number:02}")).collect();
    let chats: Vec<Value> = names
        .iter()
        .enumerate()
        // Several chats have the same time.
        .map(|(number, id)| {
            json!({"id": id, "type": 2, "creator_id": "m", "last_sequence": 1, "last_time": 10 + number / 4})
        })
        .collect();
    let members: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(number, id)| json!({"user_id": "a", "chat_id": id, "is_top": u8::from(number % 10 == 0)}))
        .collect();
    door.ok("import", json!({"chats": chats, "members": members}));
    door.settle();
    let whole = ids(door, "a", json!({"limit": 200}));
    assert_eq!(whole.len(), 55);
    assert_eq!(ids_of(&conversations(door, "a", json!({}))), whole[..50]);
    // The last page may be full, and still it is the last.
    for limit in [1, 5, 11, 50, 54, 55] {
        let mut found = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let page = conversations(door, "a", json!({"limit": limit, "cursor": cursor}));
            assert_eq!(page["moved"], false, "limit {limit}");
            let some = ids_of(&page);
            assert!(!some.is_empty() && some.len() <= limit, "limit {limit}");
            found.extend(some);
            cursor = page["next_cursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        assert_eq!(found, whole, "limit {limit}");
    }
    // With a filter, pages contain the rows that it leaves.
    let first = conversations(door, "a", json!({"limit": 2, "active_since": 23}));
    let rest = json!({"limit": 1, "active_since": 23, "cursor": first["next_cursor"], "unread_only": null});
    let second = conversations(door, "a", rest);
    assert_eq!(
        (ids_of(&first), ids_of(&second)),
        (vec!["g52".into(), "g53".into()], vec!["g54".into()])
    );
    assert_eq!(second["next_cursor"], Value::Null);
}

pub fn a_page_tells_that_earlier_ones_moved(door: &mut dyn Door) {
    groups(door, &[("a", 50), ("b", 40), ("c", 30), ("d", 20), ("e", 10)]);
    let first = conversations(door, "a", json!({"limit": 2}));
    assert_eq!((ids_of(&first), &first["moved"]), (vec!["a".into(), "b".into()], &json!(false)));
    let next = json!({"limit": 2, "cursor": first["next_cursor"]});
    // Changes that stay behind the cursor do not concern the pages before it.
    advance(door, "e", 25);
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "a", "seq": 1}));
    let second = conversations(door, "a", next.clone());
    assert_eq!((ids_of(&second), &second["moved"]), (vec!["c".into(), "e".into()], &json!(false)));
    // A chat moves to the front: it is not returned again, and the page says that rows moved.
    advance(door, "d", 60);
    let second = conversations(door, "a", next.clone());
    assert_eq!((ids_of(&second), &second["moved"]), (vec!["c".into(), "e".into()], &json!(true)));
    assert_eq!(second["next_cursor"], Value::Null);
    // A chat of the first page is removed.
    let first = conversations(door, "a", json!({"limit": 2}));
    assert_eq!(ids_of(&first), ["d", "a"]);
    let next = json!({"limit": 2, "cursor": first["next_cursor"]});
    door.ok("delete", json!({"user_id": "a", "ids": ["d"]}));
    let second = conversations(door, "a", next.clone());
    assert_eq!((ids_of(&second), &second["moved"]), (vec!["b".into(), "c".into()], &json!(true)));
    // A chat is pinned, and one is created.
    flag(door, "c", "is_top", 1);
    let second = conversations(door, "a", next);
    assert_eq!((ids_of(&second), &second["moved"]), (vec!["b".into(), "e".into()], &json!(true)));
    let first = conversations(door, "a", json!({"limit": 2}));
    assert_eq!(ids_of(&first), ["c", "a"]);
    let next = json!({"limit": 9, "cursor": first["next_cursor"]});
    groups(door, &[("new", 70)]);
    let second = conversations(door, "a", next.clone());
    assert_eq!((ids_of(&second), &second["moved"]), (vec!["b".into(), "e".into()], &json!(true)));
    // A repeated page is the same. In a new listing nothing has moved.
    assert_eq!(conversations(door, "a", next), second);
    let first = conversations(door, "a", json!({"limit": 2}));
    let next = json!({"limit": 2, "cursor": first["next_cursor"]});
    let second = conversations(door, "a", next);
    assert_eq!((ids_of(&second), &second["moved"]), (vec!["a".into(), "b".into()], &json!(false)));
}

pub fn a_cursor_stands_behind_a_chat_that_went(door: &mut dyn Door) {
    groups(door, &[("a", 50), ("b", 40), ("c", 30)]);
    let first = conversations(door, "a", json!({"limit": 2}));
    let next = json!({"limit": 2, "cursor": first["next_cursor"]});
    door.ok("remove_members", json!({"chat_id": "b", "user_ids": ["a"]}));
    let second = conversations(door, "a", next.clone());
    assert_eq!((ids_of(&second), &second["moved"]), (vec!["c".into()], &json!(true)));
    door.ok("dissolve", json!({"chat_id": "c"}));
    let empty = json!({"items": [], "next_cursor": null, "moved": true});
    assert_eq!(conversations(door, "a", next), empty);
}

pub fn wrong_cursors_and_limits_are_refused(door: &mut dyn Door) {
    groups(door, &[("a", 2), ("b", 1)]);
    let cursor = conversations(door, "a", json!({"limit": 1}))["next_cursor"].clone();
    let text = cursor.as_str().unwrap();
    for bad in ["", "x", "p", "p0", "n1.2", "会话", &text[1..], &text[..text.len() / 2]] {
        door.fails("conversations", json!({"user_id": "a", "cursor": bad}), 400);
    }
    for limit in [json!(0), json!(201), json!(-1), json!("5")] {
        door.fails("conversations", json!({"user_id": "a", "limit": limit}), 400);
    }
    for (name, value) in [
        ("type", json!(4)),
        ("hidden", json!(2)),
        ("unread_only", json!(1)),
        ("active_since", json!(-1)),
    ] {
        let mut arguments = json!({"user_id": "a"});
        arguments[name] = value;
        door.fails("conversations", arguments, 400);
    }
    door.fails("conversations", json!({"user_id": "a", "cursor": "x".repeat(4097)}), 413);
    door.fails("conversations", json!({}), 400);
    // A cursor is valid with any limit.
    let page = conversations(door, "a", json!({"limit": 200, "cursor": cursor}));
    assert_eq!(ids_of(&page), ["b"]);
}
