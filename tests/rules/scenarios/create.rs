//! Chapter 8 of the semantics: `create`.

use serde_json::{Value, json};

use crate::common::Door;

fn made(id: &str, created: bool, version: u64) -> Value {
    json!({"id": id, "created": created, "version": version})
}

pub fn the_same_request_again(door: &mut dyn Door) {
    let request = json!({"id": "g", "type": 2, "creator_id": "a", "is_enc": 1, "created_at": 9, "user_ids": ["a", "b"]});
    assert_eq!(door.ok("create", request.clone()), made("g", true, 1));
    assert_eq!(door.chat_of("a", "g")["is_enc"], 1);
    let once = door.export(None);
    assert_eq!(door.ok("create", request.clone()), made("g", false, 1));
    // The members' order and repetition do not matter.
    let reordered = json!({"id": "g", "type": 2, "creator_id": "a", "is_enc": 1, "created_at": 9, "user_ids": ["b", "a", "b"]});
    assert_eq!(door.ok("create", reordered), made("g", false, 1));
    assert_eq!(door.export(None), once);
    // Later changes of the chat do not matter either.
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["c"]}));
    door.ok("remove_members", json!({"chat_id": "g", "user_ids": ["a"]}));
    door.message("g", 4);
    assert_eq!(door.ok("create", request), made("g", false, 3));
    assert_eq!(door.members("g"), ["b", "c"]);
    assert_eq!(door.listed("a"), [""; 0]);

    // Without a time the server's is used, and the request still counts as the same.
    let request = json!({"id": "h", "type": 3, "creator_id": "a", "user_ids": []});
    let now = door.now();
    assert_eq!(door.ok("create", request.clone()), made("h", true, 1));
    let chat = door.ok("detail", json!({"ids": ["h"]}))["items"][0].take();
    assert!(chat["created_at"].as_u64().unwrap() >= now, "{chat}");
    assert_eq!(door.ok("create", request), made("h", false, 1));
}

pub fn another_request_is_a_conflict(door: &mut dyn Door) {
    let request = json!({"id": "g", "type": 2, "creator_id": "a", "is_enc": 0, "created_at": 9, "user_ids": ["a", "b"]});
    door.ok("create", request.clone());
    let before = door.export(None);
    let others = [
        ("type", json!(1)),
        ("type", json!(3)),
        ("creator_id", json!("b")),
        ("is_enc", json!(1)),
        ("created_at", json!(10)),
        ("created_at", json!(null)),
        ("user_ids", json!(["a"])),
        ("user_ids", json!(["a", "b", "c"])),
    ];
    for (field, value) in others {
        let mut other = request.clone();
        other[field] = value;
        door.fails("create", other, 409);
    }
    assert_eq!(door.export(None), before);
    // An absent field has its default, so the request is the same.
    let mut same = request;
    same.as_object_mut().unwrap().remove("is_enc");
    assert_eq!(door.ok("create", same), made("g", false, 1));
}

pub fn a_single_chats_id_is_derived(door: &mut dyn Door) {
    let single = |users: [&str; 2], creator: &str| json!({"type": 1, "creator_id": creator, "user_ids": users});
    // The first 64 bits of SHA-256 over the sorted ids, each followed by a zero byte.
    let id = "s_8bb490f308f8cb06";
    assert_eq!(door.ok("create", single(["alice", "bob"], "alice")), made(id, true, 1));
    let once = door.export(None);
    for (users, creator) in
        [(["alice", "bob"], "alice"), (["bob", "alice"], "bob"), (["bob", "alice"], "x")]
    {
        assert_eq!(door.ok("create", single(users, creator)), made(id, false, 1));
    }
    assert_eq!(door.export(None), once);
    assert_eq!(
        (door.listed("alice"), door.listed("bob")),
        (vec![id.to_owned()], vec![id.to_owned()])
    );
    // Other ids whose concatenation is the same text are other users.
    let other = door.ok("create", single(["aliceb", "ob"], "ob"));
    assert_eq!((&other["created"], other["id"] == id), (&json!(true), false));
    // A chat that both deleted is still theirs.
    for user in ["alice", "bob"] {
        door.ok("delete", json!({"user_id": user, "ids": [id]}));
    }
    assert_eq!(door.ok("create", single(["bob", "alice"], "bob")), made(id, false, 1));
    assert!(door.listed("alice").is_empty());
}

pub fn a_derived_id_that_is_taken(door: &mut dyn Door) {
    let single = json!({"type": 1, "creator_id": "alice", "user_ids": ["alice", "bob"]});
    // Another chat may already have this id, and the id of a dissolved chat is never used again.
    door.group("s_8bb490f308f8cb06", &["c"]);
    door.ok("dissolve", json!({"chat_id": "s_8bb490f308f8cb06"}));
    let reply = door.ok("create", single.clone());
    let id = reply["id"].as_str().unwrap().to_owned();
    assert_eq!(reply, made(&id, true, 1));
    assert!(is_generated(&id, 's') && id != "s_8bb490f308f8cb06", "{id}");
    assert_eq!(door.members(&id), ["alice", "bob"]);
    assert_eq!(door.ok("create", single), made(&id, false, 1));
}

/// The reason why protocol.md calls ids that the server derives opaque: two users do not always
/// lead to one id.
pub fn a_single_chat_with_an_id_of_its_own_is_not_found(door: &mut dyn Door) {
    let single = json!({"type": 1, "creator_id": "alice", "user_ids": ["alice", "bob"]});
    let chat = json!({"id": "older", "type": 1, "creator_id": "alice"});
    let members = ["alice", "bob"].map(|user| json!({"user_id": user, "chat_id": "older"}));
    door.ok("import", json!({"chats": [chat], "members": members}));
    let made = door.ok("create", single);
    assert_eq!(made["created"], true);
    assert_eq!(door.listed("bob").len(), 2);
}

fn is_generated(id: &str, prefix: char) -> bool {
    let digits = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    })
}

pub fn other_ids_are_random(door: &mut dyn Door) {
    let mut ids = std::collections::HashSet::new();
    for (chat_type, prefix) in [(2, 'g'), (3, 'o')] {
        for _ in 0..20 {
            let request = json!({"type": chat_type, "creator_id": "a", "user_ids": ["a", "b"]});
            let reply = door.ok("create", request);
            let id = reply["id"].as_str().unwrap().to_owned();
            assert_eq!(reply, made(&id, true, 1));
            assert!(is_generated(&id, prefix), "{id}");
            assert!(ids.insert(id), "twice");
        }
    }
    assert_eq!(door.listed("b").len(), 40);
}

pub fn the_creator_is_a_member_only_if_named(door: &mut dyn Door) {
    door.ok("create", json!({"id": "g", "type": 2, "creator_id": "boss", "user_ids": ["a"]}));
    door.ok(
        "create",
        json!({"id": "h", "type": 2, "creator_id": "boss", "user_ids": ["a", "boss"]}),
    );
    door.ok("create", json!({"id": "i", "type": 2, "creator_id": "boss", "user_ids": []}));
    assert_eq!(door.listed("boss"), ["h"]);
    assert_eq!(door.listed("a"), ["h", "g"]);
    assert!(door.members("i").is_empty());
    assert_eq!(door.chat_of("a", "g")["creator_id"], "boss");
}

pub fn a_single_chat_has_two_users(door: &mut dyn Door) {
    for users in
        [json!([]), json!(["a"]), json!(["a", "a"]), json!(["a", "b", "c"]), json!(["a", "b", "a"])]
    {
        for id in [json!(null), json!("s")] {
            let request = json!({"id": id, "type": 1, "creator_id": "a", "user_ids": users});
            door.fails("create", request, 400);
        }
    }
    assert_eq!(door.export(None), (vec![], vec![]));
}

pub fn members_are_each_once_in_order(door: &mut dyn Door) {
    door.group("g", &["c", "a", "c", "b", "a"]);
    assert_eq!(door.members("g"), ["c", "a", "b"]);
    for user in ["a", "b", "c"] {
        assert_eq!(door.listed(user), ["g"]);
    }
}
