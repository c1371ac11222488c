//! Chapter 9 of the semantics: `dissolve` and `set_status`.

use std::collections::BTreeSet;

use chatshard::command::{By, Command, Kind, NamedKeys, Use};
use chatshard::types::{ChatId, UserId};
use serde_json::{Value, json};

use crate::common::Door;

pub fn it_leaves_every_list_for_good(door: &mut dyn Door) {
    door.group("g", &["a", "b", "c"]);
    door.group("h", &["a"]);
    door.message("g", 3);
    door.ok("delete", json!({"user_id": "b", "ids": ["g"]}));
    door.ok("set_flags", json!({"user_id": "c", "chat_id": "g", "is_top": 1}));
    assert_eq!(door.ok("dissolve", json!({"chat_id": "g"})), json!(null));
    for user in ["b", "c"] {
        assert!(door.listed(user).is_empty(), "{user}");
    }
    assert_eq!(door.listed("a"), ["h"]);
    assert_eq!(door.ok("detail", json!({"ids": ["g"]})), json!({"items": []}));
    let before = door.export(None);
    door.fails("dissolve", json!({"chat_id": "unknown"}), 404);
    door.ok("delete", json!({"user_id": "a", "ids": ["g"]}));
    assert_eq!(
        door.ok("touch", json!({"user_id": "a", "chat_ids": ["g"], "time": 1})),
        json!({"touched": 0})
    );
    assert_eq!(door.export(None), before);
}

pub fn its_id_is_never_used_again(door: &mut dyn Door) {
    let request =
        json!({"id": "g", "type": 2, "creator_id": "maker", "created_at": 5, "user_ids": ["a"]});
    door.ok("create", request.clone());
    door.ok("dissolve", json!({"chat_id": "g"}));
    // Not even a repeat of its `create`.
    door.fails("create", request, 410);
    door.fails("create", json!({"id": "g", "type": 3, "creator_id": "x", "user_ids": []}), 410);
    assert!(door.listed("a").is_empty());
    // Nor an import. Only a line that says again that it is dissolved is accepted.
    let line = |dissolved: u8| json!({"id": "g", "type": 2, "creator_id": "maker", "dissolved": dissolved});
    for merge in [false, true] {
        door.fails("import", json!({"chats": [line(0)], "merge": merge}), 410);
        let member = json!({"user_id": "a", "chat_id": "g"});
        door.fails("import", json!({"members": [member], "merge": merge}), 410);
    }
    door.fails("import", json!({"chats": [line(1)]}), 409);
    door.ok("import", json!({"chats": [line(1)], "merge": true}));
    assert_eq!(door.ok("detail", json!({"ids": ["g"]})), json!({"items": []}));
}

pub fn a_single_chat_is_disabled_instead(door: &mut dyn Door) {
    let single = json!({"id": "s", "type": 1, "creator_id": "a", "user_ids": ["a", "b"]});
    door.ok("create", single);
    door.message("s", 2);
    let before = door.export(None);
    door.fails("dissolve", json!({"chat_id": "s"}), 400);
    assert_eq!(door.export(None), before);
    assert_eq!(door.ok("set_status", json!({"chat_id": "s", "status": 2})), json!({"version": 2}));
    door.fails("advance", json!({"chat_id": "s", "allocate": 1}), 423);
    // Still listed, and a user may delete it. Nothing brings it back while it is disabled.
    assert_eq!((door.listed("a"), door.listed("b")), (vec!["s".to_owned()], vec!["s".to_owned()]));
    door.ok("delete", json!({"user_id": "a", "ids": ["s"]}));
    assert!(door.listed("a").is_empty());
    assert_eq!(door.ok("set_status", json!({"chat_id": "s", "status": 1})), json!({"version": 3}));
    assert!(door.listed("a").is_empty());
    door.message("s", 3);
    assert_eq!(door.listed("a"), ["s"]);
}

pub fn status_changes_count_once(door: &mut dyn Door) {
    door.group("g", &["a"]);
    for (status, version) in [(1, 1), (2, 2), (2, 2), (1, 3), (1, 3)] {
        let reply = door.ok("set_status", json!({"chat_id": "g", "status": status}));
        assert_eq!(reply, json!({"version": version}));
        assert_eq!(door.chat_of("a", "g")["status"], status);
    }
    door.fails("set_status", json!({"chat_id": "unknown", "status": 2}), 404);
    door.fails("set_status", json!({"chat_id": "g", "status": 3}), 400);
}

/// Commands that leave a dissolved chat out and succeed, with their replies. All others that name
/// one fail with 410.
const LEAVE_OUT: &[(Kind, &str)] = &[
    (Kind::Detail, r#"{"items": []}"#),
    (Kind::Delete, "null"),
    (Kind::Touch, r#"{"touched": 0}"#),
    (
        Kind::MarkReadMany,
        r#"{"items": [{"chat_id": "g", "status": 410, "max_read_seq": null, "unread": null}]}"#,
    ),
];

/// Requests that name `g`: the example of the command, with `g` for each chat, and ways of naming
/// it that no example shows. Empty if the command names no chat.
fn requests(kind: Kind, user: &str) -> Vec<Value> {
    let mut requests = match kind {
        Kind::Touch => vec![json!({"user_id": user, "chat_ids": ["g"]})],
        Kind::Import => vec![json!({"members": [{"user_id": user, "chat_id": "g"}]})],
        _ => Vec::new(),
    };
    if let Some(example) = kind.example() {
        let mut example = serde_json::from_str(&example.replace("USER", user)).unwrap();
        name_g(&mut example);
        let mut named = NamedChats::default();
        Command::from_json(kind, example.clone()).unwrap().touch(&mut named);
        assert!(named.0.iter().all(|chat| chat == "g"), "{}: {example}", kind.name());
        requests.extend((!named.0.is_empty()).then_some(example));
    }
    requests
}

/// Puts `g` into every field that names a chat.
fn name_g(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "id" | "chat_id" => *value = json!("g"),
                    "ids" | "chat_ids" => *value = json!(["g"]),
                    _ => name_g(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(name_g),
        _ => {}
    }
}

/// The chats that a request names.
#[derive(Default)]
struct NamedChats(BTreeSet<String>);

impl NamedKeys for NamedChats {
    fn user(&mut self, _: &UserId, _: Use, _: By) {}

    fn chat(&mut self, id: &ChatId, _: Use, _: By) {
        self.0.insert(id.as_str().to_owned());
    }

    fn all(&mut self, _: Use) {}
}

pub fn every_command_that_names_it_says_so(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 3);
    door.ok("dissolve", json!({"chat_id": "g"}));
    let before = door.export(None);
    let mut asked = BTreeSet::new();
    for &kind in Kind::ALL {
        let left_out = LEAVE_OUT.iter().find(|(of, _)| *of == kind);
        let reply = left_out.map(|(_, reply)| serde_json::from_str::<Value>(reply).unwrap());
        for user in ["a", "stranger"] {
            for arguments in requests(kind, user) {
                asked.insert(kind.name());
                match &reply {
                    Some(reply) => {
                        assert_eq!(door.ok(kind.name(), arguments), *reply, "{}", kind.name());
                    }
                    None => fails_with_gone(door, kind, &arguments),
                }
            }
        }
    }
    assert!(asked.len() >= 16, "{asked:?}");
    assert_eq!(door.export(None), before);
    // A chat that never existed is another case.
    for user in ["a", "stranger"] {
        let flags = json!({"user_id": user, "chat_id": "unknown", "is_top": 1});
        door.fails("set_flags", flags, 404);
    }
}

/// Also with a key, and with a version for commands of one row or chat: 410 comes first.
fn fails_with_gone(door: &mut dyn Door, kind: Kind, arguments: &Value) {
    door.fails(kind.name(), arguments.clone(), 410);
    for (field, value) in [("idempotency_key", json!("k")), ("if_version", json!(9))] {
        let mut more = arguments.clone();
        more[field] = value;
        if Command::from_json(kind, more.clone()).is_ok() {
            door.fails(kind.name(), more, 410);
        }
    }
}
