//! The help of commands: its examples work, and `call` names the place of wrong JSON.

use std::time::Duration;

use chatshard::command::Kind;

use crate::common::program::chatshard;
use crate::common::served::{Served, client};

/// The demo, on ports of its own.
fn demo() -> Served {
    let mut command = chatshard();
    command.args(["serve", "--demo", "--listen=127.0.0.1:0", "--http=127.0.0.1:0"]);
    command.args(["--admin=127.0.0.1:0", "--log-format=json", "--shards=2"]);
    let mut demo = Served::of(&mut command);
    demo.wait_for("a client connected");
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while !client(&["call", "stats", "--addr", &demo.tcp]).unwrap().contains("\"chats\":5") {
        assert!(std::time::Instant::now() < end, "the demo loads its data");
    }
    demo
}

#[test]
fn the_example_of_each_command_works_against_the_demo() {
    let demo = demo();
    for kind in Kind::ALL {
        let help = client(&["call", kind.name(), "--help"]).unwrap();
        let Some((_, example)) = help.split_once("Example:") else {
            // One ends a stream of its connection, the others are for members of a journal.
            let has_none =
                matches!(kind, Kind::Cancel | Kind::Handover | Kind::RaiseFormat | Kind::Report);
            assert!(has_none, "{help}");
            continue;
        };
        let begin = format!("chatshard call {} '", kind.name());
        let json = example.trim().strip_prefix(&begin).unwrap().split_once('\'').unwrap().0;
        if *kind != Kind::Watch {
            let answer = client(&["call", kind.name(), json, "--addr", &demo.tcp]);
            answer.unwrap_or_else(|error| panic!("{} {json}: {error}", kind.name()));
        }
    }
    let all = client(&["call", "--help"]).unwrap();
    for kind in Kind::ALL {
        assert!(all.contains(&format!("\n  {} ", kind.name())), "{all}");
    }
    assert_eq!(chatshard().arg("call").output().unwrap().status.code(), Some(2));
    let error = client(&["call", "advanse", "--help"]).unwrap_err();
    assert!(error.contains("did you mean `advance`?"), "{error}");
}

#[test]
fn wrong_json_names_its_place() {
    let refused = |name: &str, json: &str| client(&["call", name, json]).unwrap_err();
    let said =
        refused("mark_read_many", r#"{"user_id": "u", "items": [{"chat_id": "c", "seq": -1}]}"#);
    assert!(said.contains("mark_read_many: items[0].seq: "), "{said}");
    let said = refused("list", "{\"user_id\": \"u\",\n nonsense}");
    assert!(said.contains("line 2 column 2"), "{said}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        file.path(),
        "{\"chat\": {\"id\": \"c\", \"type\": 9, \"creator_id\": \"u\"}}\n",
    )
    .unwrap();
    let demo = demo();
    let path = file.path().to_str().unwrap();
    let said = client(&["import", path, "--addr", &demo.tcp]).unwrap_err();
    assert!(said.contains("chat.type: "), "{said}");
}

#[test]
fn ids_that_turn_text_around_are_escaped_in_json_and_in_log_lines() {
    let mut demo = demo();
    let id = "g_\u{202e}evil\u{2066}";
    let json = serde_json::json!({"id": id, "type": 2, "creator_id": id, "user_ids": [id]});
    client(&["call", "create", &json.to_string(), "--addr", &demo.tcp]).unwrap();
    let list = client(&["list", id, "--addr", &demo.tcp]).unwrap();
    assert!(list.contains("g_\\u202eevil\\u2066") && !list.contains('\u{202e}'), "{list}");
    let parsed: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!(parsed["items"][0]["id"], id);
    let error = client(&["call", "dissolve", "{}", "--addr", &format!("unix:/{id}")]).unwrap_err();
    assert!(!error.contains('\u{202e}'), "{error}");
    let hello = serde_json::json!({"client": id});
    client(&["call", "hello", &hello.to_string(), "--addr", &demo.tcp]).unwrap();
    demo.signal("TERM");
    demo.wait_for("stopped cleanly");
    assert!(!demo.messages.join("").contains('\u{202e}'), "{:#?}", demo.messages);
}
