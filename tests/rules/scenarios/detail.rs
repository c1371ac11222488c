//! Chapter 2 of the semantics: `detail`.

use serde_json::{Value, json};

use crate::common::Door;

fn ids(door: &mut dyn Door, arguments: Value) -> Vec<String> {
    let reply = door.ok("detail", arguments);
    let items = reply["items"].as_array().unwrap();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

pub fn the_order_asked_each_once(door: &mut dyn Door) {
    for id in ["g1", "g2", "g3", "g4"] {
        door.group(id, &["a"]);
    }
    let asked = json!({"ids": ["g3", "g1", "g3", "g4", "g1", "g2", "g3"]});
    assert_eq!(ids(door, asked), ["g3", "g1", "g4", "g2"]);
    let asked = json!({"ids": ["g2", "g2", "g1"], "user_id": "a"});
    assert_eq!(ids(door, asked), ["g2", "g1"]);
    assert_eq!(door.ok("detail", json!({"ids": []})), json!({"items": []}));
    assert_eq!(door.ok("detail", json!({"ids": [], "user_id": "a"})), json!({"items": []}));

    door.ok("advance", json!({"chat_id": "g1", "to": 9, "time": 77}));
    let chat = json!({
        "id": "g1", "creator_id": "maker", "type": 2, "status": 1, "is_enc": 0,
        "last_read_sequence": 0, "last_sequence": 9, "last_time": 77, "created_at": 5,
    });
    assert_eq!(door.ok("detail", json!({"ids": ["g1"]})), json!({"items": [chat]}));
}

pub fn unknown_and_dissolved_chats_are_left_out(door: &mut dyn Door) {
    for id in ["g1", "g2", "g3"] {
        door.group(id, &["a"]);
    }
    door.ok("dissolve", json!({"chat_id": "g2"}));
    let asked = ["nothing", "g3", "g2", "g1"];
    assert_eq!(ids(door, json!({"ids": asked})), ["g3", "g1"]);
    assert_eq!(ids(door, json!({"ids": asked, "user_id": "a"})), ["g3", "g1"]);
    assert!(ids(door, json!({"ids": ["nothing", "g2"]})).is_empty());
}

pub fn a_user_sees_only_their_own_chats(door: &mut dyn Door) {
    door.group("g1", &["a", "b"]);
    door.group("g2", &["b"]);
    door.group("g3", &["a"]);
    let asked = ["g1", "g2", "g3"];
    assert_eq!(ids(door, json!({"ids": asked, "user_id": "a"})), ["g1", "g3"]);
    assert_eq!(ids(door, json!({"ids": asked, "user_id": "b"})), ["g1", "g2"]);
    assert!(ids(door, json!({"ids": asked, "user_id": "nobody"})).is_empty());
    assert_eq!(ids(door, json!({"ids": asked})), asked);
    // A member may still see the details of a deleted chat; a former member may not.
    door.ok("delete", json!({"user_id": "a", "ids": ["g1"]}));
    door.ok("remove_members", json!({"chat_id": "g3", "user_ids": ["a"]}));
    assert_eq!(ids(door, json!({"ids": asked, "user_id": "a"})), ["g1"]);
}

pub fn the_floor_is_the_highest_of_four(door: &mut dyn Door) {
    let floor =
        |door: &mut dyn Door, user: &str| door.chat_of(user, "g")["last_read_sequence"].clone();
    door.group("g", &["a"]);
    door.message("g", 10);
    assert_eq!(floor(door, "a"), 0);
    // The user joins late.
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["b"]}));
    assert_eq!(floor(door, "b"), 10);
    // The user sends a message.
    door.ok("advance", json!({"chat_id": "g", "to": 12, "sender_id": "b", "time": 1}));
    assert_eq!(floor(door, "b"), 12);
    assert_eq!(floor(door, "a"), 0);
    // The user reads, at first below the floor.
    door.ok("mark_read", json!({"user_id": "b", "chat_id": "g", "seq": 11}));
    assert_eq!(floor(door, "b"), 12);
    door.message("g", 20);
    door.ok("mark_read", json!({"user_id": "b", "chat_id": "g", "seq": 15}));
    assert_eq!(floor(door, "b"), 15);
    // The user deletes up to the last message that was seen.
    door.ok("delete", json!({"user_id": "b", "ids": ["g"], "up_to": 18}));
    assert_eq!(floor(door, "b"), 18);
    assert_eq!(door.row("b", "g")["max_read_seq"], 18);
    assert_eq!(door.chat_of("b", "g")["last_sequence"], 20);
    // Without a user there is no floor.
    assert_eq!(door.ok("detail", json!({"ids": ["g"]}))["items"][0]["last_read_sequence"], 0);
}
