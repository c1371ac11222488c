//! Chapter 9 of the semantics: `dissolve` and `set_status`.

use chatshard::command::{Command, Kind};
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

/// The reply of a command that names a dissolved chat.
enum Said {
    /// 410, whatever else the request says.
    Gone(Value),
    /// Success without that chat.
    LeftOut(Value, Value),
    /// The command names no chat.
    NamesNone,
}

/// Requests for every command: of `a`, who was a member of `g`, and of a stranger.
fn said(kind: Kind, user: &str) -> Said {
    let gone = Said::Gone;
    match kind {
        Kind::Detail => Said::LeftOut(json!({"ids": ["g"], "user_id": user}), json!({"items": []})),
        Kind::Delete => Said::LeftOut(json!({"user_id": user, "ids": ["g"]}), json!(null)),
        Kind::Touch => {
            Said::LeftOut(json!({"user_id": user, "chat_ids": ["g"]}), json!({"touched": 0}))
        }
        Kind::MarkReadMany => Said::LeftOut(
            json!({"user_id": user, "items": [{"chat_id": "g", "seq": 0}]}),
            json!({"items": [{"chat_id": "g", "status": 410, "max_read_seq": null, "unread": null}]}),
        ),
        Kind::SetFlags => gone(json!({"user_id": user, "chat_id": "g", "is_top": 1})),
        Kind::Clear => gone(json!({"user_id": user, "chat_id": "g"})),
        Kind::MarkRead => gone(json!({"user_id": user, "chat_id": "g", "seq": 0})),
        Kind::Explain => gone(json!({"user_id": user, "chat_id": "g"})),
        Kind::Advance => gone(json!({"chat_id": "g", "allocate": 1})),
        Kind::Create => {
            gone(json!({"id": "g", "type": 2, "creator_id": "maker", "user_ids": [user]}))
        }
        Kind::AddMembers | Kind::RemoveMembers => gone(json!({"chat_id": "g", "user_ids": [user]})),
        Kind::Members => gone(json!({"chat_id": "g"})),
        Kind::SetStatus => gone(json!({"chat_id": "g", "status": 2})),
        Kind::Dissolve => gone(json!({"chat_id": "g"})),
        Kind::Import => gone(json!({"members": [{"user_id": user, "chat_id": "g"}]})),
        Kind::Hello
        | Kind::Ping
        | Kind::Stats
        | Kind::Snapshot
        | Kind::Export
        | Kind::Verify
        | Kind::List
        | Kind::Conversations
        | Kind::Unread
        | Kind::Sync
        | Kind::EraseUser
        | Kind::Watch
        | Kind::Cancel => Said::NamesNone,
    }
}

pub fn every_command_that_names_it_says_so(door: &mut dyn Door) {
    door.group("g", &["a", "b"]);
    door.message("g", 3);
    door.ok("dissolve", json!({"chat_id": "g"}));
    let before = door.export(None);
    for &kind in Kind::ALL {
        for user in ["a", "stranger"] {
            match said(kind, user) {
                Said::NamesNone => {}
                Said::LeftOut(arguments, reply) => {
                    assert_eq!(door.ok(kind.name(), arguments), reply, "{}", kind.name());
                }
                Said::Gone(arguments) => {
                    door.fails(kind.name(), arguments.clone(), 410);
                    // With a key, and with a version for commands of one row or chat: 410 comes
                    // first.
                    for (field, value) in
                        [("idempotency_key", json!("k")), ("if_version", json!(9))]
                    {
                        let mut more = arguments.clone();
                        more[field] = value;
                        if Command::from_json(kind, more.clone()).is_ok() {
                            door.fails(kind.name(), more, 410);
                        }
                    }
                }
            }
        }
    }
    assert_eq!(door.export(None), before);
    // A chat that never existed is another case.
    for user in ["a", "stranger"] {
        let flags = json!({"user_id": user, "chat_id": "unknown", "is_top": 1});
        door.fails("set_flags", flags, 404);
    }
}
