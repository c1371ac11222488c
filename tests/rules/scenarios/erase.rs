//! `erase_user`: every trace of a user is removed, and the rows of others stay.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::common::Door;

fn erase(door: &mut dyn Door, user: &str) -> Value {
    door.ok("erase_user", json!({"user_id": user}))
}

pub fn all_memberships_go(door: &mut dyn Door) {
    for chat in ["g1", "g2", "deleted", "other"] {
        door.group(chat, if chat == "other" { &["b"] } else { &["a", "b"] });
        door.message(chat, 4);
    }
    let single = door.ok("create", json!({"type": 1, "creator_id": "a", "user_ids": ["a", "b"]}));
    let single = single["id"].as_str().unwrap().to_owned();
    door.ok("delete", json!({"user_id": "a", "ids": ["deleted"]}));
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g1", "is_top": 1}));
    door.ok("add_members", json!({"chat_id": "other", "user_ids": ["a"]}));
    door.ok("remove_members", json!({"chat_id": "other", "user_ids": ["a"]}));
    let (list, unread) = (door.list("b"), door.ok("unread", json!({"user_ids": ["b"]})));
    assert_eq!(erase(door, "a"), json!({"memberships": 4}));
    // Nothing is left of a.
    assert!(door.listed("a").is_empty());
    for chat in ["g1", "g2", "deleted", &single] {
        assert_eq!(door.members(chat), ["b"], "{chat}");
        door.fails("mark_read", json!({"user_id": "a", "chat_id": chat, "seq": 0}), 404);
        door.fails("set_flags", json!({"user_id": "a", "chat_id": chat, "is_top": 1}), 404);
        let detail = json!({"ids": [chat], "user_id": "a"});
        assert_eq!(door.ok("detail", detail), json!({"items": []}));
    }
    let (chats, members) = door.export(None);
    assert!(members.iter().all(|line| line["user_id"] == "b"), "{members:?}");
    assert!(chats.iter().all(|line| line["creator_id"] != "a"), "{chats:?}");
    // `b` keeps everything.
    assert_eq!((door.list("b"), door.ok("unread", json!({"user_ids": ["b"]}))), (list, unread));
    // A message brings nothing back.
    door.message("deleted", 5);
    door.message(&single, 1);
    assert!(door.listed("a").is_empty());
    assert_eq!(door.unread("b", &single), 1);
    assert_eq!(erase(door, "a"), json!({"memberships": 0}));
    assert_eq!(erase(door, "nobody"), json!({"memberships": 0}));
}

/// A user who deleted a chat and was then removed is remembered until its next message. That is
/// erased too, and no reply shows it.
pub fn a_chat_that_was_left_before_keeps_its_version(door: &mut dyn Door) {
    door.group("left", &["a", "b"]);
    door.ok("delete", json!({"user_id": "a", "ids": ["left"]}));
    door.ok("remove_members", json!({"chat_id": "left", "user_ids": ["a"]}));
    assert_eq!(erase(door, "a"), json!({"memberships": 0}));
    let status = |version: u64| json!({"chat_id": "left", "status": 2, "if_version": version});
    door.fails("set_status", status(3), 409);
    assert_eq!(door.ok("set_status", status(2)), json!({"version": 3}));
}

pub fn the_makers_name_goes(door: &mut dyn Door) {
    let create =
        |id: &str, users: Value| json!({"id": id, "type": 2, "creator_id": "a", "user_ids": users});
    door.ok("create", create("with", json!(["a", "b"])));
    door.ok("create", create("without", json!(["b"])));
    door.ok("create", create("empty", json!([])));
    door.group("others", &["a", "b"]);
    assert_eq!(erase(door, "a"), json!({"memberships": 2}));
    let creators = |door: &mut dyn Door| -> Vec<String> {
        let reply = door.ok("detail", json!({"ids": ["with", "without", "empty", "others"]}));
        let items = reply["items"].as_array().unwrap();
        items.iter().map(|item| item["creator_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(creators(door), ["erased", "erased", "erased", "maker"]);
    assert_eq!(erase(door, "a"), json!({"memberships": 0}));
    // A new user with that name is like any other.
    door.group("made", &["erased"]);
    assert_eq!(erase(door, "erased"), json!({"memberships": 1}));
    assert_eq!(creators(door), ["erased", "erased", "erased", "maker"]);
}

pub fn who_joins_again_is_a_new_user(door: &mut dyn Door) {
    for chat in ["g1", "g2"] {
        door.group(chat, &["a", "b"]);
        door.message(chat, 4);
    }
    let flags = json!({"user_id": "a", "chat_id": "g1", "is_top": 1, "is_mute": 1, "is_hide": 1});
    door.ok("set_flags", flags);
    door.ok("advance", json!({"chat_id": "g1", "to": 4, "sender_id": "a", "time": 1}));
    door.ok("touch", json!({"user_id": "a", "time": 44}));
    erase(door, "a");
    door.message("g1", 6);
    for chat in ["g2", "g1"] {
        door.ok("add_members", json!({"chat_id": chat, "user_ids": ["a"]}));
    }
    assert_eq!(door.listed("a"), ["g1", "g2"]);
    let row = json!({
        "id": "g1", "chat_id": "g1", "is_top": 0, "is_mute": 0, "is_show": 1, "is_hide": 0,
        "max_read_seq": 6, "last_online_time": 0,
    });
    assert_eq!(door.row("a", "g1"), row);
    let (_, members) = door.export(None);
    let lines: Vec<&Value> = members.iter().filter(|line| line["user_id"] == "a").collect();
    for (line, (chat, order)) in lines.iter().zip([("g1", 2), ("g2", 1)]) {
        assert_eq!(line["chat_id"], chat);
        // Orders and versions begin again.
        assert_eq!((&line["join_order"], &line["version"]), (&json!(order), &json!(order)));
        assert_eq!(line["sent_seq"], 0);
    }
    assert_eq!(lines.len(), 2);
}

pub fn a_single_chat_stays_with_the_other(door: &mut dyn Door) {
    let create = json!({"type": 1, "creator_id": "b", "created_at": 5, "user_ids": ["a", "b"]});
    let first = door.ok("create", create.clone());
    let id = first["id"].as_str().unwrap().to_owned();
    door.message(&id, 3);
    assert_eq!(erase(door, "a"), json!({"memberships": 1}));
    assert_eq!((door.listed("b"), door.members(&id)), (vec![id.clone()], vec!["b".to_owned()]));
    door.message(&id, 4);
    assert_eq!(door.unread("b", &id), 4);
    // Its members still cannot change.
    door.fails("add_members", json!({"chat_id": id, "user_ids": ["a"]}), 400);
    // The two users begin a new chat.
    let second = door.ok("create", create.clone());
    assert_eq!(second["created"], true);
    assert_ne!(second["id"], first["id"]);
    assert_eq!(door.ok("create", create)["id"], second["id"]);
    assert_eq!(door.listed("a"), [second["id"].as_str().unwrap()]);
    // The last member leaves too, and the chat stays without members.
    assert_eq!(erase(door, "b"), json!({"memberships": 2}));
    assert!(door.members(&id).is_empty());
}

pub fn a_user_of_many_chats(door: &mut dyn Door) {
    let ids: Vec<String> = (0..300).map(|number| format!("g{number:03}")).collect();
    let chats: Vec<Value> =
        ids.iter().map(|id| json!({"id": id, "type": 2, "creator_id": "a"})).collect();
    let members: Vec<Value> = ids
        .iter()
        .flat_map(|id| ["a", "b"].map(|user| json!({"user_id": user, "chat_id": id})))
        .collect();
    door.ok("import", json!({"chats": chats, "members": members}));
    assert_eq!(erase(door, "a"), json!({"memberships": 300}));
    assert_eq!((door.listed("a").len(), door.listed("b").len()), (0, 300));
    let reply = door.ok("detail", json!({"ids": ids}));
    let items = reply["items"].as_array().unwrap();
    assert!(items.iter().all(|item| item["creator_id"] == "erased"));
    assert_eq!(items.len(), 300);
}

/// No id is used twice, and none is ever missing: the next one of the chain is taken, however many
/// there are.
pub fn the_two_begin_a_new_chat_each_time(door: &mut dyn Door) {
    let create = json!({"type": 1, "creator_id": "b", "created_at": 5, "user_ids": ["a", "b"]});
    let ids = derived_ids(&["a", "b"]);
    for id in ids.take(20) {
        for is_new in [true, false] {
            let reply = json!({"id": id, "created": is_new, "version": 1});
            assert_eq!(door.ok("create", create.clone()), reply);
        }
        assert_eq!(door.listed("a"), [id]);
        assert_eq!(erase(door, "a"), json!({"memberships": 1}));
    }
    assert_eq!(door.listed("b").len(), 20);
}

/// SHA-256 of the sorted users, each followed by a zero byte; then of each hash.
fn derived_ids(users: &[&str]) -> impl Iterator<Item = String> {
    let text: String = users.iter().map(|user| format!("{user}\0")).collect();
    let hashes =
        std::iter::successors(Some(Sha256::digest(text)), |hash| Some(Sha256::digest(hash)));
    hashes.map(|hash| {
        let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("s_{hex}")
    })
}
