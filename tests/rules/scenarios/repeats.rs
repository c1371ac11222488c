//! Chapter 11 of the semantics: a repeat with an idempotency key gets the first reply, and nothing
//! is applied again. The owner of a key is the user that the request names, or else the chat, or
//! else the node. An owner's key is for one request; any other request with it is refused and
//! changes nothing.

use std::collections::BTreeSet;

use chatshard::command::{KeyOwner, Kind};
use serde_json::{Value, json};

use crate::common::Door;

/// The visible state of the store, without what is only remembered.
fn seen(door: &mut dyn Door) -> (Vec<Value>, Vec<Value>) {
    door.export(None)
}

fn with_key(mut arguments: Value, key: &str) -> Value {
    arguments["idempotency_key"] = key.into();
    arguments
}

/// A chat of each kind, and messages in it.
fn begin(door: &mut dyn Door) {
    for chat in ["g", "h"] {
        door.group(chat, &["a", "b"]);
        door.message(chat, 5);
    }
}

/// Each write, on the state of [`begin`]. Without a key, none of them is the same twice.
fn mutations() -> Vec<(&'static str, Value)> {
    vec![
        ("create", json!({"id": "n", "type": 2, "creator_id": "m", "user_ids": ["a"]})),
        ("create", json!({"type": 1, "creator_id": "m", "user_ids": ["a", "b"]})),
        ("create", json!({"type": 2, "creator_id": "m", "user_ids": ["a"]})),
        ("add_members", json!({"chat_id": "g", "user_ids": ["c", "a"]})),
        ("advance", json!({"chat_id": "g", "allocate": 3, "time": 50, "sender_id": "b"})),
        ("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 2})),
        (
            "mark_read_many",
            json!({"user_id": "b", "items": [{"chat_id": "g", "seq": 1}, {"chat_id": "h", "seq": 2}]}),
        ),
        ("set_flags", json!({"user_id": "a", "chat_id": "g", "is_top": 1, "marked_unread": 1})),
        ("touch", json!({"user_id": "a", "time": 70})),
        ("clear", json!({"user_id": "a", "chat_id": "h"})),
        ("delete", json!({"user_id": "a", "ids": ["g", "h"]})),
        ("set_status", json!({"chat_id": "g", "status": 2})),
        ("remove_members", json!({"chat_id": "h", "user_ids": ["b", "c"]})),
        ("dissolve", json!({"chat_id": "h"})),
        (
            "import",
            json!({
                "chats": [{"id": "i", "type": 2, "creator_id": "m"}],
                "members": [{"user_id": "a", "chat_id": "i"}],
            }),
        ),
        ("erase_user", json!({"user_id": "b"})),
    ]
}

pub fn the_first_answer_comes_again(door: &mut dyn Door) {
    let keyed = Kind::ALL.iter().filter(|kind| kind.key_owner() != KeyOwner::NoKey);
    let played = mutations().into_iter().map(|(name, _)| name);
    assert_eq!(
        keyed.map(|kind| kind.name()).collect::<BTreeSet<_>>(),
        played.collect(),
        "left are the commands that take a key"
    );
    begin(door);
    let mut answered = Vec::new();
    for (number, (name, arguments)) in mutations().into_iter().enumerate() {
        let arguments = with_key(arguments, &format!("key {number}"));
        let first = door.ok(name, arguments.clone());
        let after = seen(door);
        assert_eq!(door.ok(name, arguments.clone()), first, "{name}");
        assert_eq!(seen(door), after, "{name}");
        answered.push((name, arguments, first));
    }
    // Also after all other writes, some of which would have made it impossible. Keys of a user who
    // was erased are another case.
    let after = seen(door);
    answered.retain(|(name, ..)| *name != "mark_read_many");
    for (name, arguments, first) in answered {
        assert_eq!(door.ok(name, arguments), first, "{name}");
        assert_eq!(seen(door), after, "{name}");
    }
}

pub fn numbers_are_handed_out_once(door: &mut dyn Door) {
    begin(door);
    let allocate = json!({"chat_id": "g", "allocate": 2, "time": 9});
    let reply =
        |first: u64| json!({"first_sequence": first, "last_sequence": first + 1, "last_time": 9});
    for _ in 0..3 {
        assert_eq!(door.ok("advance", with_key(allocate.clone(), "one")), reply(6));
    }
    assert_eq!(door.ok("advance", with_key(allocate.clone(), "two")), reply(8));
    assert_eq!(door.ok("advance", allocate.clone()), reply(10));
    assert_eq!(door.ok("advance", with_key(allocate, "one")), reply(6));
    // A repeat does not undo what the user did since.
    let read = json!({"user_id": "a", "chat_id": "g", "seq": 3});
    door.ok("mark_read", with_key(read.clone(), "read"));
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 9}));
    let first = json!({"max_read_seq": 3, "unread": 8});
    assert_eq!(door.ok("mark_read", with_key(read, "read")), first);
    assert_eq!(door.row("a", "g")["max_read_seq"], 9);
    let delete = with_key(json!({"user_id": "a", "ids": ["g"]}), "delete");
    door.ok("delete", delete.clone());
    door.message("g", 12);
    door.ok("delete", delete);
    assert_eq!(door.listed("a"), ["h", "g"]);
}

pub fn another_request_is_a_conflict(door: &mut dyn Door) {
    begin(door);
    let row = |more: Value| {
        let mut row = json!({"user_id": "a", "chat_id": "g"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let chat = |more: Value| {
        let mut chat = json!({"chat_id": "g"});
        chat.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        chat
    };
    let new = |creator: &str| json!({"type": 2, "creator_id": creator, "user_ids": ["a"]});
    for (key, (name, first), others) in [
        (
            "chat",
            ("advance", chat(json!({"to": 7, "time": 1}))),
            vec![
                ("advance", chat(json!({"to": 8, "time": 1}))),
                ("advance", chat(json!({"to": 7, "time": 2}))),
                ("advance", chat(json!({"to": 7, "time": 1, "sender_id": "a"}))),
                ("advance", chat(json!({"allocate": 2, "time": 1}))),
                ("advance", chat(json!({"to": 7, "time": 1, "if_version": 1}))),
                ("add_members", chat(json!({"user_ids": ["c"]}))),
                ("remove_members", chat(json!({"user_ids": ["b"]}))),
                ("set_status", chat(json!({"status": 2}))),
                ("dissolve", chat(json!({}))),
            ],
        ),
        (
            "row",
            ("set_flags", row(json!({"is_top": 1}))),
            vec![
                ("set_flags", row(json!({"is_top": 0}))),
                ("set_flags", row(json!({"is_top": 1, "is_mute": 1}))),
                ("mark_read", row(json!({"seq": 1}))),
                ("clear", row(json!({}))),
            ],
        ),
        (
            "read",
            ("mark_read", row(json!({"seq": 2}))),
            vec![
                ("mark_read", row(json!({"seq": 3}))),
                ("mark_read", row(json!({"seq": 2, "if_version": 3}))),
                ("mark_read_many", json!({"user_id": "a", "items": [{"chat_id": "g", "seq": 2}]})),
                ("mark_read", json!({"user_id": "a", "chat_id": "h", "seq": 2})),
                ("delete", json!({"user_id": "a", "ids": ["g"]})),
                ("erase_user", json!({"user_id": "a"})),
            ],
        ),
        (
            "many",
            ("mark_read_many", json!({"user_id": "a", "items": [{"chat_id": "g", "seq": 2}]})),
            vec![
                ("mark_read_many", json!({"user_id": "a", "items": []})),
                ("mark_read_many", json!({"user_id": "a", "items": [{"chat_id": "g", "seq": 3}]})),
                ("mark_read", row(json!({"seq": 2}))),
            ],
        ),
        (
            "touch",
            ("touch", json!({"user_id": "a", "time": 5})),
            vec![
                ("touch", json!({"user_id": "a", "time": 6})),
                ("touch", json!({"user_id": "a", "chat_ids": ["g"], "time": 5})),
            ],
        ),
        (
            "delete",
            ("delete", json!({"user_id": "b", "ids": ["g"], "up_to": 5})),
            vec![
                ("delete", json!({"user_id": "b", "ids": ["g"], "up_to": 4})),
                ("delete", json!({"user_id": "b", "ids": ["g"]})),
                ("delete", json!({"user_id": "b", "ids": ["g", "h"], "up_to": 5})),
                ("delete", json!({"user_id": "b", "ids": [], "up_to": 5})),
                ("mark_read", json!({"user_id": "b", "chat_id": "g", "seq": 5})),
                ("erase_user", json!({"user_id": "b"})),
            ],
        ),
        (
            "nothing",
            ("delete", json!({"user_id": "b", "ids": []})),
            vec![("delete", json!({"user_id": "b", "ids": ["h"]}))],
        ),
        (
            "erase",
            ("erase_user", json!({"user_id": "nobody"})),
            vec![
                ("touch", json!({"user_id": "nobody"})),
                ("delete", json!({"user_id": "nobody", "ids": []})),
            ],
        ),
        (
            "new",
            ("create", new("m")),
            vec![
                ("create", new("n")),
                ("create", json!({"type": 3, "creator_id": "m", "user_ids": ["a"]})),
                ("create", json!({"type": 1, "creator_id": "m", "user_ids": ["a", "b"]})),
            ],
        ),
    ] {
        door.ok(name, with_key(first, key));
        door.settle();
        let before = seen(door);
        for (other, arguments) in others {
            let message = door.fails(other, with_key(arguments, key), 409);
            assert!(message.contains("idempotency_key"), "{message}");
        }
        assert_eq!(seen(door), before, "{key}");
    }
}

pub fn each_owner_has_its_own_keys(door: &mut dyn Door) {
    begin(door);
    for chat in ["g", "h"] {
        let allocate = json!({"chat_id": chat, "allocate": 1, "time": 1});
        assert_eq!(door.ok("advance", with_key(allocate, "k"))["last_sequence"], 6);
    }
    for user in ["a", "b"] {
        let read = json!({"user_id": user, "chat_id": "g", "seq": 3});
        assert_eq!(
            door.ok("mark_read", with_key(read, "k")),
            json!({"max_read_seq": 3, "unread": 3})
        );
    }
    for kind in [2, 1] {
        let create = json!({"type": kind, "creator_id": "m", "user_ids": ["a", "b"]});
        let key = format!("of the node, {kind}");
        let made = door.ok("create", with_key(create.clone(), &key));
        // The new chat has its own keys too, and its creators have theirs.
        let allocate = json!({"chat_id": made["id"], "allocate": 1, "time": 1});
        assert_eq!(door.ok("advance", with_key(allocate, &key))["last_sequence"], 1);
        let delete = json!({"user_id": "a", "ids": [made["id"]]});
        door.ok("delete", with_key(delete, &key));
        assert_eq!(door.ok("create", with_key(create, &key)), made);
    }
    let create = json!({"id": "new", "type": 2, "creator_id": "m", "user_ids": ["a"]});
    assert_eq!(door.ok("create", with_key(create, "k"))["created"], true);
}

pub fn errors_are_not_remembered(door: &mut dyn Door) {
    begin(door);
    let read = with_key(json!({"user_id": "a", "chat_id": "g", "seq": 7}), "k");
    door.fails("mark_read", read.clone(), 400);
    let advance = with_key(json!({"chat_id": "new", "allocate": 1, "time": 1}), "k");
    door.fails("advance", advance.clone(), 404);
    let flags = with_key(json!({"user_id": "c", "chat_id": "g", "is_top": 1}), "k");
    door.fails("set_flags", flags.clone(), 404);
    let wrong = json!({"user_id": "a", "chat_id": "g", "is_top": 1, "if_version": 9});
    door.fails("set_flags", with_key(wrong, "k2"), 409);
    // The missing messages, chat and member come, and the same requests succeed.
    door.message("g", 7);
    door.group("new", &["a"]);
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["c"]}));
    assert_eq!(door.ok("mark_read", read), json!({"max_read_seq": 7, "unread": 0}));
    assert_eq!(door.ok("advance", advance)["last_sequence"], 1);
    assert_eq!(door.ok("set_flags", flags)["row"]["is_top"], 1);
    // The key of a failed request is free for another one.
    let right = json!({"user_id": "a", "chat_id": "g", "is_mute": 1});
    assert_eq!(door.ok("set_flags", with_key(right, "k2"))["row"]["is_mute"], 1);
}

pub fn an_id_is_derived_from_the_key(door: &mut dyn Door) {
    let create =
        |kind: u8, user: &str| json!({"type": kind, "creator_id": "m", "user_ids": [user]});
    let mut ids = Vec::new();
    for (kind, prefix) in [(2, "g_"), (3, "o_")] {
        for key in ["k1", "k2"] {
            let first = door.ok("create", with_key(create(kind, "a"), &format!("{prefix}{key}")));
            assert_eq!((&first["created"], &first["version"]), (&json!(true), &json!(1)));
            let id = first["id"].as_str().unwrap().to_owned();
            let digits = id.strip_prefix(prefix).unwrap();
            assert!(
                digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{id}"
            );
            assert!(!ids.contains(&id));
            assert_eq!(
                door.ok("create", with_key(create(kind, "a"), &format!("{prefix}{key}"))),
                first
            );
            ids.push(id);
        }
    }
    assert_eq!(door.listed("a").len(), 4);
    door.fails("create", with_key(create(2, "b"), "g_k1"), 409);
    assert!(door.listed("b").is_empty());
    // Members in another order, or repeated, are the same members.
    let two = |users: [&str; 3]| json!({"type": 2, "creator_id": "m", "user_ids": users});
    let first = door.ok("create", with_key(two(["x", "y", "x"]), "order"));
    assert_eq!(door.ok("create", with_key(two(["y", "y", "x"]), "order")), first);
    // Without a key each request creates another chat.
    let (one, other) = (door.ok("create", create(2, "c")), door.ok("create", create(2, "c")));
    assert_ne!(one["id"], other["id"]);
}

/// Chats on every shard, each with messages, with `a` and `b` in them.
fn spread(door: &mut dyn Door) -> Vec<String> {
    let ids: Vec<String> = (1..=7).map(|number| format!("c{number}")).collect();
    for id in &ids {
        door.group(id, &["a", "b"]);
        door.message(id, 5);
    }
    ids
}

pub fn a_refused_request_of_several_chats_applies_nothing(door: &mut dyn Door) {
    let ids = spread(door);
    let delete = |ids: &[String]| with_key(json!({"user_id": "a", "ids": ids}), "d");
    let mut first = delete(&ids[..1]);
    first["up_to"] = 2.into();
    door.ok("delete", first.clone());
    let item = |id: &String, seq: u64| json!({"chat_id": id, "seq": seq});
    let read = |items: Vec<Value>| with_key(json!({"user_id": "b", "items": items}), "r");
    let first_read = read(vec![item(&ids[0], 2)]);
    let told = door.ok("mark_read_many", first_read.clone());
    let before = seen(door);
    for some in [&ids[..], &ids[..1], &ids[3..]] {
        door.fails("delete", delete(some), 409);
        door.fails("mark_read_many", read(some.iter().map(|id| item(id, 4)).collect()), 409);
        assert_eq!(seen(door), before);
    }
    // The keys still belong to the first requests, also after others changed the same chats.
    door.ok("mark_read_many", json!({"user_id": "b", "items": [item(&ids[0], 5)]}));
    door.ok("delete", json!({"user_id": "a", "ids": ids}));
    door.message(&ids[0], 6);
    let before = seen(door);
    door.ok("delete", first);
    assert_eq!(door.ok("mark_read_many", first_read), told);
    assert_eq!(seen(door), before);
}

pub fn a_request_of_several_chats_is_applied_once(door: &mut dyn Door) {
    let ids = spread(door);
    let delete = with_key(json!({"user_id": "a", "ids": ids}), "d");
    let mut items: Vec<Value> = ids.iter().map(|id| json!({"chat_id": id, "seq": 3})).collect();
    items.push(json!({"chat_id": "none", "seq": 1}));
    let read = with_key(json!({"user_id": "b", "items": items}), "r");
    door.ok("delete", delete.clone());
    let told = door.ok("mark_read_many", read.clone());
    assert_eq!(told["items"][7]["status"], 404);
    door.group("none", &["a", "b"]);
    door.message("none", 1);
    for id in &ids {
        door.message(id, 7);
    }
    door.settle();
    let before = seen(door);
    door.ok("delete", delete);
    // The reply for each chat is the first one.
    assert_eq!(door.ok("mark_read_many", read), told);
    assert_eq!(seen(door), before);
}

pub fn a_key_of_a_user_is_for_one_command(door: &mut dyn Door) {
    begin(door);
    let rows = json!({"user_id": "a", "chat_id": "g"});
    let row = |more: Value| {
        let mut row = rows.clone();
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let requests = [
        ("mark_read", row(json!({"seq": 2}))),
        ("mark_read_many", json!({"user_id": "a", "items": [{"chat_id": "g", "seq": 2}]})),
        ("delete", json!({"user_id": "a", "ids": ["g"], "up_to": 2})),
        ("delete", json!({"user_id": "a", "ids": ["h"], "up_to": 2})),
        ("clear", row(json!({}))),
        ("set_flags", row(json!({"is_top": 1}))),
        ("touch", json!({"user_id": "a", "time": 9})),
        ("touch", json!({"user_id": "a", "chat_ids": ["g"], "time": 9})),
        ("erase_user", json!({"user_id": "a"})),
    ];
    for (number, (name, first)) in requests.iter().enumerate() {
        let key = format!("key {number}");
        let told = door.ok(name, with_key(first.clone(), &key));
        door.settle();
        let before = seen(door);
        for (other, arguments) in requests.iter().filter(|request| request.1 != *first) {
            door.fails(other, with_key(arguments.clone(), &key), 409);
        }
        assert_eq!(seen(door), before, "{name}");
        assert_eq!(door.ok(name, with_key(first.clone(), &key)), told, "{name}");
    }
}

pub fn a_key_without_an_id_makes_one_chat(door: &mut dyn Door) {
    let create = |kind: u8, users: &[&str]| {
        let create = json!({"type": kind, "creator_id": "m", "user_ids": users});
        with_key(create, "k")
    };
    let first = door.ok("create", create(2, &["a", "b"]));
    let before = seen(door);
    door.fails("create", create(3, &["a", "b"]), 409);
    door.fails("create", create(1, &["a", "b"]), 409);
    door.fails("create", create(2, &["a"]), 409);
    assert_eq!(seen(door), before);
    assert_eq!(door.ok("create", create(2, &["b", "a"])), first);
    assert_eq!(door.listed("a").len(), 1);
    // No other request may use the key of a single chat either.
    let single =
        |users: Value| with_key(json!({"type": 1, "creator_id": "m", "user_ids": users}), "single");
    door.ok("create", single(json!(["a", "b"])));
    door.fails("create", single(json!(["a", "c"])), 409);
    assert!(door.listed("c").is_empty());
}

pub fn an_erased_user_gets_no_first_answer(door: &mut dyn Door) {
    begin(door);
    let join = json!({"chat_id": "g", "user_ids": ["a"]});
    let requests = [
        ("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 2})),
        ("set_flags", json!({"user_id": "a", "chat_id": "g", "is_top": 1})),
        ("clear", json!({"user_id": "a", "chat_id": "g"})),
        ("touch", json!({"user_id": "a", "time": 9})),
        ("mark_read_many", json!({"user_id": "a", "items": [{"chat_id": "g", "seq": 1}]})),
        ("delete", json!({"user_id": "a", "ids": ["g"]})),
    ];
    let keyed =
        |number: usize, arguments: &Value| with_key(arguments.clone(), &format!("key {number}"));
    for (number, (name, arguments)) in requests.iter().enumerate() {
        door.ok(name, keyed(number, arguments));
    }
    door.ok("touch", with_key(json!({"user_id": "b", "time": 9}), "b's"));
    let erase = with_key(json!({"user_id": "a"}), "erase");
    assert_eq!(door.ok("erase_user", erase.clone()), json!({"memberships": 2}));
    // The reply of each request to a user who never existed.
    for (number, (name, arguments)) in requests.iter().enumerate() {
        let (arguments, mut stranger) = (keyed(number, arguments), arguments.clone());
        stranger["user_id"] = "stranger".into();
        assert_eq!(status(door, name, arguments), status(door, name, stranger), "{name}");
    }
    // The keys are free: the next user with that name uses them like a new user.
    assert_eq!(door.ok("erase_user", erase.clone()), json!({"memberships": 2}));
    door.ok("erase_user", json!({"user_id": "a"}));
    door.ok("add_members", join);
    door.message("g", 8);
    assert_eq!(
        door.ok("mark_read", keyed(0, &json!({"user_id": "a", "chat_id": "g", "seq": 7}))),
        json!({"max_read_seq": 7, "unread": 1})
    );
    door.ok("delete", keyed(5, &requests[5].1));
    assert!(door.listed("a").is_empty());
    door.ok("erase_user", json!({"user_id": "a"}));
    // Keys of other users stay.
    door.fails("touch", with_key(json!({"user_id": "b", "time": 8}), "b's"), 409);
}

fn status(door: &mut dyn Door, name: &str, arguments: Value) -> Result<Value, u16> {
    let outcome = door.call_json(name, arguments);
    outcome.map(|reply| serde_json::to_value(reply).unwrap()).map_err(|error| error.code.status())
}

pub fn keys_have_the_form_of_ids(door: &mut dyn Door) {
    begin(door);
    let before = seen(door);
    for key in ["", "a\nb", "a\u{0}", &"x".repeat(129)] {
        let allocate = json!({"chat_id": "g", "allocate": 1});
        door.fails("advance", with_key(allocate, key), 400);
    }
    door.fails("advance", json!({"chat_id": "g", "allocate": 1, "idempotency_key": 7}), 400);
    assert_eq!(seen(door), before);
    for key in ["会话", " ", &"x".repeat(128)] {
        let pin = json!({"user_id": "a", "chat_id": "g", "is_top": 1});
        assert_eq!(door.ok("set_flags", with_key(pin.clone(), key))["version"], 3, "{key}");
    }
    // `null` is no key.
    let allocate = json!({"chat_id": "g", "allocate": 1, "idempotency_key": null});
    assert_eq!(door.ok("advance", allocate.clone())["last_sequence"], 6);
    assert_eq!(door.ok("advance", allocate)["last_sequence"], 7);
    // Reads accept no key.
    door.fails("list", json!({"user_id": "a", "idempotency_key": "k"}), 400);
}
