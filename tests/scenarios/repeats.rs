//! Rule 11: a request with an idempotency key that comes again gets the first answer, and nothing is
//! applied again.

use serde_json::{Value, json};

use crate::common::Door;

/// What can be seen of the store, without what is only remembered.
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

/// Each mutation, on what [`begin`] made; none of them is the same twice without a key.
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
    // Also after all the others, some of which would have made it impossible.
    let after = seen(door);
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
    // What the user did since is not undone by a repeat.
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
                ("mark_read_many", json!({"user_id": "a", "items": [{"chat_id": "g", "seq": 3}]})),
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
                ("delete", json!({"user_id": "b", "ids": ["g"], "up_to": 7})),
                ("delete", json!({"user_id": "b", "ids": ["g"]})),
            ],
        ),
        ("new", ("create", new("m")), vec![("create", new("n"))]),
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

pub fn a_key_is_for_one_target(door: &mut dyn Door) {
    begin(door);
    for chat in ["g", "h"] {
        let allocate = json!({"chat_id": chat, "allocate": 1, "time": 1});
        assert_eq!(door.ok("advance", with_key(allocate, "k"))["last_sequence"], 6);
        for user in ["a", "b"] {
            let read = json!({"user_id": user, "chat_id": chat, "seq": 3});
            assert_eq!(
                door.ok("mark_read", with_key(read, "k")),
                json!({"max_read_seq": 3, "unread": 3})
            );
        }
    }
    for user in ["a", "b"] {
        let touch = json!({"user_id": user, "time": 9});
        assert_eq!(door.ok("touch", with_key(touch, "k")), json!({"touched": 2}));
    }
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
    // What was missing comes, and the same requests succeed.
    door.message("g", 7);
    door.group("new", &["a"]);
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["c"]}));
    assert_eq!(door.ok("mark_read", read), json!({"max_read_seq": 7, "unread": 0}));
    assert_eq!(door.ok("advance", advance)["last_sequence"], 1);
    assert_eq!(door.ok("set_flags", flags)["row"]["is_top"], 1);
    // The key of what failed is free for another request.
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
    // Members in another order, or twice, are the same members.
    let two = |users: [&str; 3]| json!({"type": 2, "creator_id": "m", "user_ids": users});
    let first = door.ok("create", with_key(two(["x", "y", "x"]), "order"));
    assert_eq!(door.ok("create", with_key(two(["y", "y", "x"]), "order")), first);
    // Without a key each is another chat.
    let (one, other) = (door.ok("create", create(2, "c")), door.ok("create", create(2, "c")));
    assert_ne!(one["id"], other["id"]);
}

pub fn each_chat_of_a_delete_is_remembered_apart(door: &mut dyn Door) {
    begin(door);
    door.group("third", &["a"]);
    let delete = |ids: Value| with_key(json!({"user_id": "a", "ids": ids}), "k");
    door.ok("delete", delete(json!(["g"])));
    door.message("g", 6);
    // g was taken before, the others were not.
    door.ok("delete", delete(json!(["third", "g", "h"])));
    assert_eq!(door.listed("a"), ["g"]);
    let read = |items: Value| with_key(json!({"user_id": "b", "items": items}), "k");
    let item = |chat: &str, seq: u64| json!({"chat_id": chat, "seq": seq});
    let told = |chat: &str, seq: u64, unread: u64| json!({"chat_id": chat, "status": 200, "max_read_seq": seq, "unread": unread});
    let first = door.ok("mark_read_many", read(json!([item("g", 2)])));
    assert_eq!(first, json!({"items": [told("g", 2, 4)]}));
    door.ok("mark_read", json!({"user_id": "b", "chat_id": "g", "seq": 5}));
    let more = door.ok("mark_read_many", read(json!([item("h", 1), item("g", 2)])));
    assert_eq!(more, json!({"items": [told("h", 1, 4), told("g", 2, 4)]}));
    assert_eq!(door.row("b", "g")["max_read_seq"], 5);
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
    // null is none.
    let allocate = json!({"chat_id": "g", "allocate": 1, "idempotency_key": null});
    assert_eq!(door.ok("advance", allocate.clone())["last_sequence"], 6);
    assert_eq!(door.ok("advance", allocate)["last_sequence"], 7);
    // Reads take none.
    door.fails("list", json!({"user_id": "a", "idempotency_key": "k"}), 400);
}
