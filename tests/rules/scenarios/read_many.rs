//! Chapter 5 of the semantics: `mark_read_many`, where each item is a `mark_read` of its own.

use serde_json::{Value, json};

use crate::common::Door;

fn many(door: &mut dyn Door, items: &[(&str, u64)]) -> Vec<Value> {
    let items: Vec<Value> =
        items.iter().map(|(chat, seq)| json!({"chat_id": chat, "seq": seq})).collect();
    let mut reply = door.ok("mark_read_many", json!({"user_id": "a", "items": items}));
    let Value::Array(results) = reply["items"].take() else { panic!("no items") };
    results
}

fn taken(chat: &str, max_read_seq: u64, unread: u64) -> Value {
    json!({"chat_id": chat, "status": 200, "max_read_seq": max_read_seq, "unread": unread})
}

fn refused(chat: &str, status: u16) -> Value {
    json!({"chat_id": chat, "status": status, "max_read_seq": null, "unread": null})
}

pub fn each_item_is_a_mark_read(door: &mut dyn Door) {
    let names: Vec<String> = (0..12).map(|number| format!("g{number:02}")).collect();
    for (number, name) in names.iter().enumerate() {
        door.group(name, &["a", "b"]);
        if number > 0 {
            door.message(name, u64::try_from(number).unwrap());
        }
    }
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g11", "marked_unread": 1}));
    let items: Vec<(&str, u64)> = (0..12)
        .rev()
        .map(|number| (names[usize::try_from(number).unwrap()].as_str(), number / 2))
        .collect();
    // In the order of the request, wherever the chats are.
    let expected: Vec<Value> = items
        .iter()
        .zip((0..12).rev())
        .map(|((chat, seq), last)| taken(chat, *seq, last - seq))
        .collect();
    assert_eq!(many(door, &items), expected);
    for (chat, seq) in &items {
        assert_eq!(door.row("a", chat)["max_read_seq"], *seq);
        assert_eq!(door.row("b", chat)["max_read_seq"], 0);
    }
    // The mark is gone, and a repeat changes nothing.
    let after = door.export(None);
    assert!(after.1.iter().all(|member| member["marked_unread"] == 0));
    assert_eq!(many(door, &items), expected);
    assert_eq!(door.export(None), after);
    // For a lower position the reply has the stored one.
    assert_eq!(many(door, &[("g11", 1)]), [taken("g11", 5, 6)]);
}

pub fn a_refused_item_keeps_no_other_from_being_taken(door: &mut dyn Door) {
    for chat in ["g", "other", "gone", "left"] {
        door.group(chat, if chat == "other" { &["b"] } else { &["a", "b"] });
        door.message(chat, 3);
    }
    door.ok("dissolve", json!({"chat_id": "gone"}));
    door.ok("remove_members", json!({"chat_id": "left", "user_ids": ["a"]}));
    door.group("beyond", &["a"]);
    let results = many(
        door,
        &[("unknown", 0), ("gone", 1), ("other", 1), ("left", 1), ("beyond", 1), ("g", 2)],
    );
    let expected = [
        refused("unknown", 404),
        refused("gone", 410),
        refused("other", 404),
        refused("left", 404),
        refused("beyond", 400),
        taken("g", 2, 1),
    ];
    assert_eq!(results, expected);
    assert_eq!(door.row("a", "g")["max_read_seq"], 2);
    assert_eq!(door.row("a", "beyond")["max_read_seq"], 0);
}

pub fn a_deleted_chat_can_be_read(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 3);
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    assert_eq!(many(door, &[("g", 1)]), [taken("g", 3, 0)]);
    assert!(door.listed("a").is_empty());
}

pub fn wrong_requests_are_refused_whole(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 3);
    let before = door.export(None);
    let item = |chat: &str, seq: Value| json!({"chat_id": chat, "seq": seq});
    for items in [
        json!([item("g", json!(1)), item("g", json!(2))]),
        json!([item("g", json!(1)), item("", json!(2))]),
        json!([item("g", json!(1)), item("h", json!(-1))]),
        json!([{"chat_id": "g"}]),
        json!({}),
    ] {
        door.fails("mark_read_many", json!({"user_id": "a", "items": items}), 400);
    }
    let items: Vec<Value> = (0..1001).map(|number| item(&format!("k{number}"), json!(0))).collect();
    door.fails("mark_read_many", json!({"user_id": "a", "items": items}), 413);
    assert_eq!(door.export(None), before);
    assert_eq!(many(door, &[]), [] as [Value; 0]);
    let reply = door.ok("mark_read_many", json!({"user_id": "a", "items": &items[..1000]}));
    let results = reply["items"].as_array().unwrap();
    assert_eq!(results.len(), 1000);
    assert!(results.iter().all(|result| result["status"] == 404));
}
