//! Export and import: after an import elsewhere, the same requests get the same replies.

use chatshard::command::Outcome;
use serde_json::{Value, json};

use crate::common::Door;

const USERS: [&str; 6] = ["a", "b", "c", "d", "e", "nobody"];
const CHATS: [&str; 8] = ["g1", "g2", "g3", "g4", "o1", "gone", "empty", "unknown"];
/// A chat's `create`, for its retry.
const OFFICIAL: &str =
    r#"{"id": "o1", "type": 3, "creator_id": "bank", "is_enc": 1, "user_ids": ["a", "e"]}"#;

/// A store with all kinds of events in it, and the derived id of its single chat.
fn fill(door: &mut dyn Door) -> String {
    door.group("g1", &["a", "b", "c"]);
    door.group("g2", &["c", "b", "a"]);
    let single = door.ok("create", json!({"type": 1, "creator_id": "d", "user_ids": ["d", "a"]}));
    let single = single["id"].as_str().unwrap().to_owned();
    door.group("g3", &["a", "d"]);
    door.ok("create", serde_json::from_str(OFFICIAL).unwrap());
    door.group("empty", &[]);
    door.group("gone", &["a", "b", "c"]);
    door.group("g4", &["a", "b", "c"]);
    for (chat, to) in
        [("g1", 10), ("g2", 20), ("g3", 5), ("g4", 7), ("o1", 1), (single.as_str(), 3)]
    {
        door.message(chat, to);
    }
    door.ok("add_members", json!({"chat_id": "g1", "user_ids": ["e"]}));
    door.ok("advance", json!({"chat_id": "g1", "to": 12, "sender_id": "b", "time": 99}));
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g1", "seq": 4}));
    door.ok("set_flags", json!({"user_id": "a", "chat_id": "g1", "is_top": 1, "is_mute": 1}));
    door.ok(
        "set_flags",
        json!({"user_id": "b", "chat_id": "g1", "is_hide": 1, "marked_unread": 1}),
    );
    door.ok("delete", json!({"user_id": "a", "ids": ["g2", "g3"]}));
    door.message("g3", 6);
    door.ok("delete", json!({"user_id": "b", "ids": ["g2"], "up_to": 11}));
    door.ok("clear", json!({"user_id": "c", "chat_id": "g2"}));
    door.ok("touch", json!({"user_id": "c", "time": 1234}));
    door.ok("set_status", json!({"chat_id": "g4", "status": 2}));
    door.ok("dissolve", json!({"chat_id": "gone"}));
    door.settle();
    single
}

/// Sends the whole export of one store to another, page by page.
fn copy(from: &mut dyn Door, to: &mut dyn Door, limit: u32) {
    from.settle();
    let mut cursor = Value::Null;
    loop {
        let page = from.ok("export", json!({"cursor": cursor, "limit": limit}));
        let (chats, members) = (page["chats"].clone(), page["members"].clone());
        let count = |lines: &Value| lines.as_array().unwrap().len();
        let taken = to.ok("import", json!({"chats": chats, "members": members}));
        assert_eq!(taken, json!({"chats": count(&chats), "members": count(&members)}));
        cursor = page["next_cursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    to.settle();
}

fn ask(door: &mut dyn Door, name: &str, arguments: &Value) -> Outcome {
    let outcome = door.call_json(name, arguments.clone());
    door.settle();
    outcome
}

/// Checks that every read has the same reply on both.
fn assert_same(first: &mut dyn Door, second: &mut dyn Door, single: &str) {
    let both = |first: &mut dyn Door, second: &mut dyn Door, name: &str, arguments: Value| {
        let told = |door: &mut dyn Door| {
            let mut outcome = door
                .call_json(name, arguments.clone())
                .map(|reply| serde_json::to_value(reply).unwrap());
            if let Ok(reply) = &mut outcome
                && let Some(cursor) = reply.get_mut("next_cursor")
            {
                assert!(cursor.is_null());
            }
            outcome
        };
        assert_eq!(told(first), told(second), "{name} {arguments}");
    };
    let chats: Vec<&str> = CHATS.into_iter().chain([single]).collect();
    both(first, second, "detail", json!({"ids": chats}));
    for user in USERS {
        both(first, second, "list", json!({"user_id": user}));
        both(first, second, "detail", json!({"ids": chats, "user_id": user}));
        for chat in &chats {
            // Changes nothing, and returns the row with its version, which `list` does not have.
            both(first, second, "set_flags", json!({"user_id": user, "chat_id": chat}));
        }
    }
    for chat in chats {
        both(first, second, "members", json!({"chat_id": chat}));
    }
    assert_eq!(first.export(None), second.export(None));
}

pub fn imported_elsewhere_it_answers_the_same(first: &mut dyn Door, second: &mut dyn Door) {
    let single = fill(first);
    copy(first, second, 1000);
    assert_same(first, second, &single);
    // A repeat of the `create` of each chat finds it.
    let retries = [
        serde_json::from_str(OFFICIAL).unwrap(),
        json!({"type": 1, "creator_id": "a", "user_ids": ["a", "d"]}),
        json!({"id": "g1", "type": 2, "creator_id": "maker", "created_at": 5, "user_ids": ["a", "b", "c"]}),
        json!({"id": "gone", "type": 2, "creator_id": "maker", "created_at": 5, "user_ids": ["a", "b", "c"]}),
        json!({"id": "g1", "type": 2, "creator_id": "another", "created_at": 5, "user_ids": ["a", "b", "c"]}),
    ];
    for (retry, status) in retries.into_iter().zip([200, 200, 200, 410, 409]) {
        let answers = [ask(first, "create", &retry), ask(second, "create", &retry)];
        assert_eq!(answers[0], answers[1], "{retry}");
        let given = answers[0].as_ref().map_or_else(|error| error.code.status(), |_| 200);
        assert_eq!(given, status, "{retry}");
        if let Ok(reply) = &answers[0] {
            assert_eq!(serde_json::to_value(reply).unwrap()["created"], false);
        }
    }
    assert_same(first, second, &single);
}

pub fn pages_make_up_the_whole_export(first: &mut dyn Door, second: &mut dyn Door) {
    let single = fill(first);
    let whole = first.export(None);
    assert_eq!(whole.0.len(), 8);
    for limit in [1, 2, 3, 5] {
        assert_eq!(first.export(Some(limit)), whole, "limit {limit}");
    }
    copy(first, second, 3);
    assert_same(first, second, &single);
    for cursor in ["x", "4096", "1.2", "1.x.g", "-1", "1.1."] {
        first.fails("export", json!({"cursor": cursor}), 400);
    }
    for limit in [0, 1001] {
        first.fails("export", json!({"limit": limit}), 400);
    }
}

/// A user's next version also counts rows that were removed before the export. So a version that is
/// new after the import is not compared.
fn forget_version(reply: &mut Value) {
    reply["version"] = Value::Null;
}

pub fn life_goes_on_after_import(first: &mut dyn Door, second: &mut dyn Door) {
    let single = fill(first);
    copy(first, second, 1000);
    let next = [
        ("advance", json!({"chat_id": "g2", "allocate": 2, "time": 5000, "sender_id": "b"})),
        ("advance", json!({"chat_id": "g1", "to": 13, "time": 5000})),
        ("mark_read", json!({"user_id": "b", "chat_id": "g1", "seq": 13})),
        ("mark_read", json!({"user_id": "a", "chat_id": "g2", "seq": 0})),
        ("delete", json!({"user_id": "a", "ids": ["g3", "o1"]})),
        ("clear", json!({"user_id": "b", "chat_id": "g2"})),
        ("set_flags", json!({"user_id": "a", "chat_id": "g4", "is_top": 1})),
        ("set_flags", json!({"user_id": "d", "chat_id": "g3", "marked_unread": 1})),
        ("add_members", json!({"chat_id": "g1", "user_ids": ["d", "a"]})),
        ("set_status", json!({"chat_id": "g4", "status": 1})),
        ("touch", json!({"user_id": "a", "time": 9000})),
        (
            "create",
            json!({"id": "new", "type": 2, "creator_id": "a", "created_at": 1, "user_ids": USERS}),
        ),
        ("remove_members", json!({"chat_id": "g1", "user_ids": ["e"]})),
        ("dissolve", json!({"chat_id": "empty"})),
        ("dissolve", json!({"chat_id": "o1"})),
    ];
    for (name, arguments) in next {
        let told = |door: &mut dyn Door| {
            let mut reply = serde_json::to_value(ask(door, name, &arguments).unwrap()).unwrap();
            if name == "set_flags" {
                forget_version(&mut reply);
            }
            reply
        };
        assert_eq!(told(first), told(second), "{name} {arguments}");
    }
    let chats: Vec<&str> = CHATS.into_iter().chain([single.as_str()]).collect();
    for user in USERS {
        assert_eq!(first.list(user), second.list(user), "{user}");
        let detail = json!({"ids": chats, "user_id": user});
        assert_eq!(first.ok("detail", detail.clone()), second.ok("detail", detail), "{user}");
    }
    let told = |door: &mut dyn Door| {
        let (chats, mut members) = door.export(None);
        members.iter_mut().for_each(forget_version);
        members.sort_by_key(Value::to_string);
        (chats, members)
    };
    assert_eq!(told(first), told(second));
}

pub fn what_is_there_is_not_imported_without_merge(door: &mut dyn Door) {
    door.group("g", &["a"]);
    door.message("g", 4);
    let before = door.export(None);
    let chat = json!({"id": "g", "type": 2, "creator_id": "maker", "last_sequence": 9});
    let member = json!({"user_id": "a", "chat_id": "g", "max_read_seq": 3});
    for merge in [json!(null), json!(false)] {
        door.fails("import", json!({"chats": [chat], "merge": merge}), 409);
        door.fails("import", json!({"members": [member], "merge": merge}), 409);
    }
    assert_eq!(door.export(None), before);
    // A new member of an existing chat is no conflict.
    let new = json!({"members": [{"user_id": "b", "chat_id": "g"}]});
    assert_eq!(door.ok("import", new), json!({"chats": 0, "members": 1}));
    assert_eq!(door.listed("b"), ["g"]);
}

pub fn merge_keeps_the_higher(door: &mut dyn Door) {
    let lines = |chat: u64, read: u64, deleted: u64, sent: u64, online: u64| {
        json!({
            "chats": [{"id": "g", "type": 2, "creator_id": "maker", "last_sequence": chat, "last_time": chat * 10}],
            "members": [{
                "user_id": "a", "chat_id": "g", "max_read_seq": read, "deleted_to_seq": deleted,
                "sent_seq": sent, "last_online_time": online,
            }],
            "merge": true,
        })
    };
    let stored = |door: &mut dyn Door| {
        let (chats, members) = door.export(None);
        [
            ("last_sequence", &chats),
            ("last_time", &chats),
            ("max_read_seq", &members),
            ("deleted_to_seq", &members),
            ("sent_seq", &members),
            ("last_online_time", &members),
        ]
        .map(|(field, lines)| lines[0][field].as_u64().unwrap())
    };
    assert_eq!(door.ok("import", lines(10, 5, 2, 7, 100)), json!({"chats": 1, "members": 1}));
    assert_eq!(stored(door), [10, 100, 5, 2, 7, 100]);
    door.ok("import", lines(9, 6, 1, 6, 50));
    assert_eq!(stored(door), [10, 100, 6, 2, 7, 100]);
    door.ok("import", lines(12, 1, 4, 8, 200));
    assert_eq!(stored(door), [12, 120, 6, 4, 8, 200]);
    // The members of both sides stay. A user who joined late keeps the later join sequence.
    door.ok("import", json!({"members": [{"user_id": "b", "chat_id": "g"}], "merge": true}));
    assert_eq!(door.members("g"), ["a", "b"]);
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["c"]}));
    door.ok("import", json!({"members": [{"user_id": "c", "chat_id": "g"}], "merge": true}));
    let members = door.ok("members", json!({"chat_id": "g"}))["items"].take();
    assert_eq!(members[2], json!({"user_id": "c", "join_seq": 13}));
    assert_eq!(door.unread("c", "g"), 0);
    // The `create` of a chat is still known.
    let create = json!({"id": "made", "type": 2, "creator_id": "m", "user_ids": ["a"]});
    door.ok("create", create.clone());
    door.ok("add_members", json!({"chat_id": "made", "user_ids": ["b"]}));
    door.ok(
        "import",
        json!({"chats": [{"id": "made", "type": 2, "creator_id": "m"}], "merge": true}),
    );
    assert_eq!(door.ok("create", create)["created"], false);
    // Lines that cannot be merged are refused.
    let before = door.export(None);
    for chat in [
        json!({"id": "g", "type": 3, "creator_id": "maker"}),
        json!({"id": "g", "type": 2, "creator_id": "maker", "dissolved": 1}),
    ] {
        door.fails("import", json!({"chats": [chat], "merge": true}), 409);
    }
    assert_eq!(door.export(None), before);
}

pub fn merged_messages_bring_deleted_rows_back(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 5);
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    let chat = |last: u64| {
        let line = json!({"id": "g", "type": 2, "creator_id": "maker", "last_sequence": last, "last_time": 1});
        json!({"chats": [line], "merge": true})
    };
    door.ok("import", chat(5));
    door.settle();
    assert!(door.listed("a").is_empty());
    door.ok("import", chat(8));
    door.settle();
    assert_eq!((door.listed("a"), door.unread("a", "g")), (vec!["g".to_owned()], 3));
    // A row that was deleted elsewhere at 5 is merged where there are newer messages. Such a row
    // must either be covered by the delete or be back; here it is back.
    let line = json!({"user_id": "b", "chat_id": "g", "is_show": 0, "deleted_to_seq": 5, "max_read_seq": 5});
    door.ok("import", json!({"members": [line], "merge": true}));
    door.settle();
    assert_eq!((door.listed("b"), door.unread("b", "g")), (vec!["g".to_owned()], 3));
    // A row that is deleted here, up to the last sequence, stays deleted.
    door.ok("delete", json!({"user_id": "b", "ids": ["g"]}));
    door.ok("import", json!({"members": [line], "merge": true}));
    door.settle();
    assert!(door.listed("b").is_empty());
    door.message("g", 9);
    assert_eq!((door.listed("b"), door.unread("b", "g")), (vec!["g".to_owned()], 1));
}

pub fn defaults_of_lines(door: &mut dyn Door) {
    let chat = json!({"id": "g", "type": 2, "creator_id": "maker", "last_sequence": 6, "last_time": 60, "created_at": 3});
    let members = json!([
        {"user_id": "a", "chat_id": "g"},
        {"user_id": "b", "chat_id": "g", "is_show": 0},
        {"user_id": "c", "chat_id": "g", "id": "g", "is_top": 1, "join_seq": 4, "sent_seq": 5},
    ]);
    assert_eq!(
        door.ok("import", json!({"chats": [chat], "members": members})),
        json!({"chats": 1, "members": 3})
    );
    assert_eq!(door.members("g"), ["a", "b", "c"]);
    assert_eq!(door.unread("a", "g"), 6);
    // Deleted, up to the last sequence, until the next message.
    assert!(door.listed("b").is_empty());
    assert_eq!(door.unread("b", "g"), 0);
    assert_eq!((door.row("c", "g")["is_top"].clone(), door.unread("c", "g")), (json!(1), 1));
    door.message("g", 7);
    assert_eq!((door.listed("b"), door.unread("b", "g")), (vec!["g".to_owned()], 1));
    // The `create` is recognized by the fields that the import has.
    let create = json!({"id": "g", "type": 2, "creator_id": "maker", "created_at": 3, "user_ids": ["c", "b", "a"]});
    assert_eq!(door.ok("create", create)["created"], false);
    // Rows without an order join in the order of their lines.
    door.ok("import", json!({"chats": [{"id": "h", "type": 2, "creator_id": "m"}], "members": [{"user_id": "a", "chat_id": "h"}]}));
    assert_eq!(door.listed("a"), ["h", "g"]);
}

/// An export of a node at work may have a row that is newer than its chat.
pub fn positions_beyond_the_chat_are_held_at_its_last(door: &mut dyn Door) {
    let chat = json!({"id": "g", "type": 2, "creator_id": "m", "last_sequence": 5});
    let member = json!({
        "user_id": "a", "chat_id": "g", "max_read_seq": 39, "sent_seq": 40, "join_seq": 38,
    });
    let gone = json!({"user_id": "b", "chat_id": "g", "is_show": 0, "deleted_to_seq": 39});
    door.ok("import", json!({"chats": [chat], "members": [member, gone]}));
    assert_eq!((door.row("a", "g")["max_read_seq"].clone(), door.unread("a", "g")), (json!(5), 0));
    assert!(door.listed("b").is_empty());
    door.message("g", 6);
    assert_eq!((door.unread("a", "g"), door.unread("b", "g")), (1, 1));
    assert_eq!(door.listed("b"), ["g"]);
}

pub fn wrong_lines_are_refused_whole(door: &mut dyn Door) {
    door.group("s2", &["a"]);
    door.ok("create", json!({"id": "s", "type": 1, "creator_id": "a", "user_ids": ["a", "b"]}));
    let before = door.export(None);
    let chat = |id: &str| json!({"id": id, "type": 2, "creator_id": "m", "last_sequence": 5});
    let beyond = |field: &str, value: u64| {
        let mut member = json!({"user_id": "x", "chat_id": "n0"});
        member[field] = value.into();
        member
    };
    // Beside correct lines, whose chats are on other shards too: none of them may be accepted.
    let good: Vec<Value> = (0..8).map(|number| chat(&format!("n{number}"))).collect();
    let wrong_members = [
        (beyond("version", (1 << 52) + 1), 400),
        (beyond("join_order", (1 << 52) + 1), 400),
        (beyond("version", (1 << 53) - 1), 400),
    ];
    for (member, status) in wrong_members {
        let fine = json!({"user_id": "y", "chat_id": "n0"});
        door.fails("import", json!({"chats": good, "members": [fine, member]}), status);
        assert_eq!(door.export(None), before, "{member}");
    }
    let twice = json!({"user_id": "x", "chat_id": "n0"});
    door.fails("import", json!({"chats": good, "members": [twice, twice]}), 409);
    let other_id = json!({"user_id": "x", "chat_id": "n0", "id": "n1"});
    door.fails("import", json!({"chats": good, "members": [other_id]}), 400);
    for (member, status) in [
        (json!({"user_id": "x", "chat_id": "unknown"}), 404),
        (json!({"user_id": "c", "chat_id": "s"}), 400),
    ] {
        door.fails("import", json!({"members": [member]}), status);
    }
    for (wrong, status) in [
        (json!([{"id": "s2", "type": 2, "creator_id": "m"}]), 409),
        (json!([chat("n0"), chat("n0")]), 400),
        (json!([{"id": "w", "type": 2, "creator_id": "m", "request_digest": "xyz"}]), 400),
        (
            json!([{"id": "w", "type": 2, "creator_id": "m", "request_digest": "+1234567890abcde"}]),
            400,
        ),
        (json!([{"id": "w", "type": 2, "creator_id": "m", "version": (1_u64 << 52) + 1}]), 400),
    ] {
        door.fails("import", json!({"chats": wrong}), status);
    }
    assert_eq!(door.export(None), before);
    assert_eq!(door.ok("import", json!({"chats": good})), json!({"chats": 8, "members": 0}));
    assert_eq!(door.ok("import", json!({})), json!({"chats": 0, "members": 0}));
}

/// Counters that continue from an import stay numbers that every client reads exactly.
pub fn the_highest_imported_counters_go_on(door: &mut dyn Door) {
    const MOST: u64 = 1 << 52;
    let chat = json!({"id": "g", "type": 2, "creator_id": "m", "version": MOST});
    let member = json!({"user_id": "a", "chat_id": "g", "version": MOST, "join_order": MOST});
    let gone = json!({"user_id": "a", "chat_id": "left", "version": MOST, "removed": 1});
    door.ok("import", json!({"chats": [chat], "members": [member, gone]}));
    door.group("later", &["a"]);
    assert_eq!(door.listed("a"), ["later", "g"]);
    let flags = json!({"user_id": "a", "chat_id": "g", "is_mute": 1});
    assert_eq!(door.ok("set_flags", flags)["version"], MOST + 2);
    let status = door.ok("set_status", json!({"chat_id": "g", "status": 2}));
    assert_eq!(status["version"], MOST + 1);
    let told = door.ok("sync", json!({"user_id": "a"}));
    assert_eq!(told["version"], MOST + 2);
    // An export has no line that an import would refuse.
    let (_, lines) = door.export(None);
    let counters =
        lines.iter().flat_map(|line| [line["join_order"].as_u64(), line["version"].as_u64()]);
    assert!(counters.flatten().all(|counter| counter == MOST), "{lines:?}");
    for (field, line) in [
        ("version", json!({"user_id": "b", "chat_id": "g", "version": MOST + 1})),
        ("join_order", json!({"user_id": "b", "chat_id": "g", "join_order": MOST + 1})),
        ("version", json!({"user_id": "b", "chat_id": "g", "version": MOST + 1, "removed": 1})),
    ] {
        let told = door.fails("import", json!({"members": [line]}), 400);
        let why = format!("g: {field}: at most 2^52, so that it can be counted up");
        assert!(told.contains(&why), "{told}");
    }
}

/// A large import is cut into parts, and still all of it is applied or nothing.
pub fn a_large_import_is_taken_whole_or_not_at_all(door: &mut dyn Door) {
    let id = |number: u64| format!("c{number}");
    let chat = |number| json!({"id": id(number), "type": 2, "creator_id": "m"});
    let member = |number| json!({"user_id": "u", "chat_id": id(number)});
    let lines = |chats: std::ops::Range<u64>| {
        let members: Vec<Value> = chats.clone().map(member).collect();
        json!({"chats": chats.map(chat).collect::<Vec<_>>(), "members": members})
    };
    door.group(&id(450), &[]);
    door.fails("import", lines(0..500), 409);
    door.settle();
    assert_eq!(door.export(None).0.len(), 1);
    assert!(door.listed("u").is_empty());
    door.ok("dissolve", json!({"chat_id": id(450)}));
    let taken = door.ok("import", lines(500..1000));
    assert_eq!(taken, json!({"chats": 500, "members": 500}));
    door.settle();
    assert_eq!(door.listed("u").len(), 500);
    // The lines of one import build on those of the one before.
    let members = (500..1000).map(|number| json!({"user_id": "v", "chat_id": id(number)}));
    let taken = door.ok("import", json!({"members": members.collect::<Vec<_>>()}));
    assert_eq!(taken, json!({"chats": 0, "members": 500}));
    door.settle();
    assert_eq!(door.listed("v").len(), 500);
}

pub fn removed_lines_remove(door: &mut dyn Door) {
    let removed = |user: &str, chat: &str| json!({"user_id": user, "chat_id": chat, "removed": 1});
    door.group("g", &["a", "b", "c"]);
    door.ok("create", json!({"id": "s", "type": 1, "creator_id": "a", "user_ids": ["a", "b"]}));
    door.settle();
    let since = door.ok("sync", json!({"user_id": "b"}));
    let keyed = json!({"members": [removed("b", "g"), removed("b", "s")], "idempotency_key": "k"});
    let taken = json!({"chats": 0, "members": 2});
    assert_eq!(door.ok("import", keyed.clone()), taken);
    assert_eq!((door.members("g"), door.members("s")), (vec_of(&["a", "c"]), vec_of(&["a"])));
    assert!(door.listed("b").is_empty());
    let since = json!({"log": since["log"], "version": since["version"]});
    let told = door.ok("sync", json!({"user_id": "b", "since": since}));
    let ops = told["items"].as_array().unwrap().iter().map(|item| item["op"].clone());
    assert_eq!(ops.collect::<Vec<_>>(), ["remove", "remove"]);
    // A repeat with the key removes no user who was added since; a repeat without it does.
    door.ok("add_members", json!({"chat_id": "g", "user_ids": ["b"]}));
    assert_eq!(door.ok("import", keyed), taken);
    assert_eq!(door.listed("b"), ["g"]);
    let merged = json!({"members": [removed("b", "g")], "merge": true});
    assert_eq!(door.ok("import", merged), json!({"chats": 0, "members": 1}));
    assert!(door.listed("b").is_empty());
    // Without a membership nothing is removed: no member, a chat that does not exist, or one that
    // was dissolved.
    door.ok("dissolve", json!({"chat_id": "g"}));
    door.settle();
    let members = ["s", "unknown", "g"].map(|chat| removed("stranger", chat));
    let (chats, before) = door.export(None);
    assert_eq!(door.ok("import", json!({"members": members})), json!({"chats": 0, "members": 3}));
    let (chats_after, after) = door.export(None);
    assert_eq!((chats_after, after.len()), (chats, before.len() + 3));
    assert_eq!(door.ok("verify", json!({}))["differences"], 0);
}

fn vec_of(users: &[&str]) -> Vec<String> {
    users.iter().map(|&user| user.to_owned()).collect()
}

/// A page of a node at work may have a member, and later a line that they left.
pub fn lines_of_one_membership_are_taken_in_their_order(door: &mut dyn Door) {
    let removed = json!({"user_id": "a", "chat_id": "g", "removed": 1});
    let member = json!({"user_id": "a", "chat_id": "g", "is_top": 1});
    let chat = json!({"id": "g", "type": 2, "creator_id": "m", "last_sequence": 3});
    let both = json!({"chats": [chat], "members": [member, removed]});
    assert_eq!(door.ok("import", both), json!({"chats": 1, "members": 2}));
    assert!(door.members("g").is_empty() && door.listed("a").is_empty());
    for merge in [false, true] {
        let back = json!({"members": [removed, member], "merge": merge});
        assert_eq!(door.ok("import", back), json!({"chats": 0, "members": 2}));
        assert_eq!((door.members("g"), door.listed("a")), (vec_of(&["a"]), vec_of(&["g"])));
    }
    // The row that they had is gone for good.
    door.ok("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 3}));
    door.ok("import", json!({"members": [removed, member]}));
    assert_eq!(door.row("a", "g")["max_read_seq"], 0);
    door.ok("import", json!({"members": [member, removed], "merge": true}));
    assert!(door.members("g").is_empty() && door.listed("a").is_empty());
    for twice in [json!([member, removed, member]), json!([member, member, removed])] {
        door.fails("import", json!({"members": twice}), 409);
    }
    assert_eq!(door.ok("verify", json!({}))["differences"], 0);
}

/// Imported removals may share a version, and a page may end between them.
pub fn removals_of_one_version_are_all_exported(door: &mut dyn Door) {
    let line = |number: u64| json!({"user_id": "u.1", "chat_id": format!("c.{number}"), "removed": 1, "version": number / 5 * 7});
    let lines: Vec<Value> = (0..10).map(line).collect();
    door.ok("import", json!({"members": lines}));
    let (_, whole) = door.export(None);
    assert_eq!(whole.len(), 10);
    for limit in 1..6 {
        assert_eq!(door.export(Some(limit)).1, whole, "limit {limit}");
    }
    for cursor in ["1.u7.3.u.1", "1.u7.9.u.1c", "1.u7.x.u.1c", "1.ux.3.u.1c", "1.u7.u"] {
        door.fails("export", json!({"cursor": cursor}), 400);
    }
}

/// The longest possible lines, in the encodings with the most bytes.
pub fn the_longest_page_is_one_request(first: &mut dyn Door, second: &mut dyn Door) {
    const LAST: u64 = (1 << 53) - 1;
    const MOST: u64 = 1 << 52;
    let id = |number: usize| format!("{number:04}{}", "\\".repeat(124));
    let chat = |number| {
        json!({"id": id(number), "creator_id": id(1), "type": 2, "last_sequence": LAST,
        "last_time": LAST, "created_at": LAST, "version": MOST, "request_digest": "ffffffffffffffff"})
    };
    let member = |number| {
        json!({"user_id": id(number), "chat_id": id(0), "max_read_seq": LAST,
        "last_online_time": LAST, "join_seq": LAST, "deleted_to_seq": LAST, "sent_seq": LAST,
        "join_order": MOST, "version": MOST})
    };
    first.ok("import", json!({"chats": [chat(0), chat(1)]}));
    for numbers in [0..499, 499..998] {
        first.ok("import", json!({"members": numbers.map(member).collect::<Vec<_>>()}));
    }
    first.settle();
    let mut page = first.ok("export", json!({}));
    let lines = json!({"chats": page["chats"].take(), "members": page["members"].take()});
    assert_eq!(second.ok("import", lines), json!({"chats": 2, "members": 998}));
    assert_eq!(first.export(None), second.export(None));
}

pub fn rows_without_an_order_come_in_the_order_of_lines(
    first: &mut dyn Door,
    second: &mut dyn Door,
) {
    // In an order that neither ids nor shards have.
    let ids: Vec<String> = (0..80).map(|number| format!("c{}", number * 37 % 80)).collect();
    let chat = |id: &String| json!({"id": id, "type": 2, "creator_id": "m"});
    let members = |ids: &[String]| {
        let line = |id: &String| ["a", "b"].map(|user| json!({"user_id": user, "chat_id": id}));
        ids.iter().flat_map(line).collect::<Vec<Value>>()
    };
    let newest_first = |ids: &[String]| ids.iter().rev().cloned().collect::<Vec<_>>();
    let chats: Vec<Value> = ids.iter().map(chat).collect();
    first.ok("import", json!({"chats": chats, "members": members(&ids[..40])}));
    assert_eq!(first.listed("a"), newest_first(&ids[..40]));
    // A user who joined in between stays in between.
    first.group("between", &["a"]);
    first.ok("import", json!({"members": members(&ids[40..])}));
    let mut all = ids.clone();
    all.insert(40, "between".to_owned());
    assert_eq!((first.listed("a"), first.listed("b")), (newest_first(&all), newest_first(&ids)));
    // Merged rows keep their order. A row that is removed and comes again is the newest.
    first.ok("import", json!({"members": members(&ids[10..20]), "merge": true}));
    assert_eq!(first.listed("a"), newest_first(&all));
    let again = &ids[15];
    let removed = json!({"user_id": "a", "chat_id": again, "removed": 1});
    first.ok("import", json!({"members": [removed, {"user_id": "a", "chat_id": again}]}));
    all.retain(|id| id != again);
    all.push(again.clone());
    assert_eq!(first.listed("a"), newest_first(&all));
    copy(first, second, 7);
    assert_eq!((second.listed("a"), second.listed("b")), (newest_first(&all), newest_first(&ids)));
}

pub fn of_equal_orders_the_later_line_is_joined_later(first: &mut dyn Door, second: &mut dyn Door) {
    let ids: Vec<String> = (0..12).map(|number| format!("c{number}")).collect();
    let chat = |id: &String| json!({"id": id, "type": 2, "creator_id": "m"});
    let line = |number: usize, order: Value| json!({"user_id": "a", "chat_id": ids[number], "join_order": order});
    let oldest_first = |door: &mut dyn Door| {
        let listed = door.listed("a");
        let numbers = listed.iter().rev().map(|id| id[1..].parse::<usize>().unwrap());
        numbers.collect::<Vec<_>>()
    };
    let chats: Vec<Value> = ids.iter().map(chat).collect();
    let orders = [7, 5, 5, 9, 5, 3, 5].into_iter().enumerate();
    let members: Vec<Value> = orders.map(|(number, order)| line(number, json!(order))).collect();
    first.ok("import", json!({"chats": chats, "members": members}));
    assert_eq!(oldest_first(first), [5, 1, 2, 4, 6, 0, 3]);
    // No line takes the order of an existing row.
    let members = [line(7, json!(3)), line(8, Value::Null), line(9, json!(4)), line(10, json!(3))];
    first.ok("import", json!({"members": members}));
    assert_eq!(oldest_first(first), [5, 7, 1, 2, 4, 6, 0, 3, 10, 9, 8]);
    first.ok("import", json!({"members": [line(11, json!(1_u64 << 52))]}));
    assert_eq!(oldest_first(first).last(), Some(&11));
    copy(first, second, 3);
    assert_eq!(oldest_first(second), oldest_first(first));
}
