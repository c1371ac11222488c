//! Rule 9: `dissolve` and `set_status`.

use serde_json::json;

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
    for (command, arguments) in [
        ("dissolve", json!({"chat_id": "g"})),
        ("set_status", json!({"chat_id": "g", "status": 2})),
        ("advance", json!({"chat_id": "g", "allocate": 1})),
        ("members", json!({"chat_id": "g"})),
        ("add_members", json!({"chat_id": "g", "user_ids": ["a"]})),
        ("remove_members", json!({"chat_id": "g", "user_ids": ["a"]})),
        ("mark_read", json!({"user_id": "a", "chat_id": "g", "seq": 1})),
        ("clear", json!({"user_id": "a", "chat_id": "g"})),
    ] {
        door.fails(command, arguments, 410);
    }
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
    // Not even the request that made it.
    door.fails("create", request, 410);
    door.fails("create", json!({"id": "g", "type": 3, "creator_id": "x", "user_ids": []}), 410);
    assert!(door.listed("a").is_empty());
    // Nor by import.
    door.fails("import", json!({"chats": [{"id": "g", "type": 2, "creator_id": "maker"}]}), 409);
    let merged = json!({"chats": [{"id": "g", "type": 2, "creator_id": "maker"}], "merge": true});
    door.fails("import", merged, 409);
    door.fails(
        "import",
        json!({"members": [{"user_id": "a", "chat_id": "g"}], "merge": true}),
        410,
    );
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
    // Still listed, and one may delete it; nothing brings it back while it is disabled.
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
