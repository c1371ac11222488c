//! The app's own routes beside the API's three: their commands to the store, and their answers.

use serde_json::{Value, json};

use chatshard::command::clear::Clear;
use chatshard::command::conversations::Conversations;
use chatshard::command::delete::Delete;
use chatshard::command::mark_read::MarkRead;
use chatshard::command::set_flags::SetFlags;
use chatshard::command::sync::{Since, Sync};
use chatshard::command::unread::{Unread, UnreadReply};
use chatshard::command::{Command, Error, ErrorCode, Reply};
use chatshard::types::{ChatType, Flag, IdempotencyKey};

use super::*;

/// Every route, with the smallest body that it accepts.
const LEAST: &[(&str, &str)] = &[
    ("/chat/mine-list", ""),
    ("/chat/detail", r#"{"ids":["g_1"]}"#),
    ("/chat/delete", r#"{"ids":["g_1"]}"#),
    ("/chat/conversations", ""),
    ("/chat/sync", ""),
    ("/chat/unread", ""),
    ("/chat/read", r#"{"chat_id":"g_1","seq":7}"#),
    ("/chat/flags", r#"{"chat_id":"g_1"}"#),
    ("/chat/clear", r#"{"chat_id":"g_1"}"#),
];

/// The routes that accept a key.
const CHANGES: &[&str] = &["/chat/delete", "/chat/read", "/chat/flags", "/chat/clear"];

fn conversations() -> Conversations {
    Conversations {
        user_id: user("alice"),
        limit: None,
        cursor: None,
        unread_only: None,
        chat_type: None,
        hidden: None,
        active_since: None,
    }
}

fn set_flags() -> SetFlags {
    SetFlags {
        user_id: user("alice"),
        chat_id: chat("g_1"),
        is_top: None,
        is_mute: None,
        is_hide: None,
        marked_unread: None,
        idempotency_key: None,
        if_version: None,
    }
}

fn mark_read() -> MarkRead {
    MarkRead {
        user_id: user("alice"),
        chat_id: chat("g_1"),
        seq: sequence(7),
        idempotency_key: None,
        if_version: None,
    }
}

fn clear() -> Clear {
    Clear { user_id: user("alice"), chat_id: chat("g_1"), idempotency_key: None, if_version: None }
}

/// Sends one request, checks that it succeeded, and returns the only command that the store got.
async fn asked(path: &str, headers: Headers<'_>, body: &str) -> (Command, Answer) {
    let store = Fake::examples();
    let answer = post(&app(&store), path, headers, body.to_owned()).await;
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let mut asked = store.asked();
    assert_eq!(asked.len(), 1, "{path} {body}");
    (asked.remove(0), answer)
}

#[tokio::test]
async fn each_route_asks_for_what_the_body_says_and_shows_the_reply() {
    let since = Since { log: "l1".into(), version: 4 };
    let row = r#"{"id":"s_a7be32fecc0b2015","chat_id":"s_a7be32fecc0b2015","is_top":0,"is_mute":0,"is_show":1,"is_hide":0,"max_read_seq":0,"last_online_time":0}"#;
    let cases: Vec<(&str, &str, Command, String)> = vec![
        (
            "/chat/conversations",
            r#"{"limit":20,"cursor":"c1","unread_only":true,"type":2,"hidden":0,"active_since":99}"#,
            Conversations {
                limit: Some(20),
                cursor: Some("c1".into()),
                unread_only: Some(true),
                chat_type: Some(ChatType::Group),
                hidden: Some(Flag::NO),
                active_since: Some(time(99)),
                ..conversations()
            }
            .into(),
            r#"{"items":[{"id":"g_1","chat_id":"g_1","is_top":1,"is_mute":0,"is_show":1,"is_hide":0,"max_read_seq":7,"last_online_time":1,"creator_id":"bob","type":2,"status":2,"is_enc":1,"last_read_sequence":8,"last_sequence":10,"last_time":1700000000000,"created_at":2,"unread":2,"marked_unread":0}],"next_cursor":"c2","moved":true}"#.into(),
        ),
        (
            "/chat/sync",
            r#"{"since":{"log":"l1","version":4},"limit":2}"#,
            Sync { user_id: user("alice"), since: Some(since), limit: Some(2) }.into(),
            r#"{"log":"l2","version":6,"reset":true,"reason":"of another log","more":false,"items":[{"op":"upsert","id":"g_1","chat_id":"g_1","is_top":0,"is_mute":1,"is_show":1,"is_hide":0,"max_read_seq":3,"last_online_time":4,"marked_unread":1,"version":5},{"op":"remove","id":"g_2","chat_id":"g_2","is_top":0,"is_mute":1,"is_show":0,"is_hide":0,"max_read_seq":3,"last_online_time":4,"marked_unread":1,"version":6}]}"#.into(),
        ),
        (
            "/chat/unread",
            "{}",
            Unread { user_ids: vec![user("alice")] }.into(),
            r#"{"messages":5,"chats":2,"muted_messages":40,"muted_chats":1}"#.into(),
        ),
        (
            "/chat/read",
            r#"{"chat_id":"g_1","seq":7,"if_version":3}"#,
            MarkRead { if_version: Some(3), ..mark_read() }.into(),
            r#"{"max_read_seq":7,"unread":3}"#.into(),
        ),
        (
            "/chat/flags",
            r#"{"chat_id":"g_1","is_top":1,"is_mute":0,"is_hide":1,"marked_unread":1,"if_version":11}"#,
            SetFlags {
                is_top: Some(Flag::YES),
                is_mute: Some(Flag::NO),
                is_hide: Some(Flag::YES),
                marked_unread: Some(Flag::YES),
                if_version: Some(11),
                ..set_flags()
            }
            .into(),
            format!(r#"{{"row":{row},"version":12}}"#),
        ),
        (
            "/chat/clear",
            r#"{"chat_id":"g_1","if_version":0}"#,
            Clear { if_version: Some(0), ..clear() }.into(),
            r#"{"deleted_to_seq":9}"#.into(),
        ),
    ];
    for (path, body, command, data) in cases {
        let (asked, answer) = asked(path, ALICE, body).await;
        assert_eq!(asked, command, "{path}");
        assert_eq!(answer.body, format!(r#"{{"code":200,"data":{data},"msg":""}}"#), "{path}");
    }
}

#[tokio::test]
async fn what_is_absent_or_null_is_left_to_the_store() {
    let sync = Sync { user_id: user("alice"), since: None, limit: None };
    for body in [
        "",
        " ",
        "{}",
        r#"{"limit":null,"cursor":null,"unread_only":null,"type":null,"hidden":null,"active_since":null}"#,
    ] {
        assert_eq!(asked("/chat/conversations", ALICE, body).await.0, conversations().into());
    }
    for body in ["", "{}", r#"{"since":null,"limit":null}"#] {
        assert_eq!(asked("/chat/sync", ALICE, body).await.0, sync.clone().into(), "{body}");
    }
    for body in [
        r#"{"chat_id":"g_1"}"#,
        r#"{"chat_id":"g_1","is_top":null,"is_mute":null,"is_hide":null,"marked_unread":null,"if_version":null}"#,
    ] {
        assert_eq!(asked("/chat/flags", ALICE, body).await.0, set_flags().into(), "{body}");
    }
    let read = r#"{"chat_id":"g_1","seq":7,"if_version":null}"#;
    assert_eq!(asked("/chat/read", ALICE, read).await.0, mark_read().into());
    let (asked, _) = asked("/chat/clear", ALICE, r#"{"chat_id":"g_1"}"#).await;
    assert_eq!(asked, clear().into());
}

#[tokio::test]
async fn a_wrong_field_is_named() {
    let cases: &[(&str, &str, &str)] = &[
        ("/chat/detail", r#"{"ids":"x"}"#, "ids: "),
        ("/chat/detail", r#"{"ids":["x",7]}"#, "ids[1]: "),
        ("/chat/detail", "{}", "body: missing field `ids`"),
        ("/chat/delete", r#"{"ids":[],"up_to":"7"}"#, "up_to: "),
        ("/chat/mine-list", r#"{"user_id":7}"#, "user_id: "),
        ("/chat/conversations", r#"{"limit":"20"}"#, "limit: "),
        ("/chat/conversations", r#"{"limit":-1}"#, "limit: "),
        ("/chat/conversations", r#"{"limit":0}"#, "limit: "),
        ("/chat/conversations", r#"{"limit":201}"#, "limit: "),
        ("/chat/conversations", r#"{"cursor":7}"#, "cursor: "),
        ("/chat/conversations", r#"{"unread_only":1}"#, "unread_only: "),
        ("/chat/conversations", r#"{"type":4}"#, "type: "),
        ("/chat/conversations", r#"{"type":"group"}"#, "type: "),
        ("/chat/conversations", r#"{"hidden":2}"#, "hidden: "),
        ("/chat/conversations", r#"{"hidden":true}"#, "hidden: "),
        ("/chat/conversations", r#"{"active_since":-1}"#, "active_since: "),
        ("/chat/conversations", r#"{"active_since":9007199254740992}"#, "active_since: "),
        ("/chat/sync", r#"{"since":"l1"}"#, "since: "),
        ("/chat/sync", r#"{"since":{"log":"l1"}}"#, "since: missing field `version`"),
        ("/chat/sync", r#"{"since":{"log":1,"version":1}}"#, "since.log: "),
        ("/chat/sync", r#"{"since":{"log":"l1","version":"1"}}"#, "since.version: "),
        ("/chat/sync", r#"{"limit":1.5}"#, "limit: "),
        ("/chat/sync", r#"{"limit":1001}"#, "limit: "),
        ("/chat/unread", "[]", "the body "),
        ("/chat/read", "", "the body "),
        ("/chat/read", r#"{"chat_id":"g_1"}"#, "body: missing field `seq`"),
        ("/chat/read", r#"{"seq":1}"#, "body: missing field `chat_id`"),
        ("/chat/read", r#"{"chat_id":["g_1"],"seq":1}"#, "chat_id: "),
        ("/chat/read", r#"{"chat_id":"","seq":1}"#, "chat_id: "),
        ("/chat/read", r#"{"chat_id":"g_1","seq":"1"}"#, "seq: "),
        ("/chat/read", r#"{"chat_id":"g_1","seq":null}"#, "seq: "),
        ("/chat/read", r#"{"chat_id":"g_1","seq":1,"if_version":-1}"#, "if_version: "),
        ("/chat/flags", "{}", "body: missing field `chat_id`"),
        ("/chat/flags", r#"{"chat_id":7}"#, "chat_id: "),
        ("/chat/flags", r#"{"chat_id":"g_1","is_top":true}"#, "is_top: "),
        ("/chat/flags", r#"{"chat_id":"g_1","is_mute":2}"#, "is_mute: "),
        ("/chat/flags", r#"{"chat_id":"g_1","is_hide":"1"}"#, "is_hide: "),
        ("/chat/flags", r#"{"chat_id":"g_1","marked_unread":[]}"#, "marked_unread: "),
        ("/chat/flags", r#"{"chat_id":"g_1","if_version":"x"}"#, "if_version: "),
        ("/chat/clear", "{}", "body: missing field `chat_id`"),
        ("/chat/clear", r#"{"chat_id":null}"#, "chat_id: "),
        ("/chat/clear", r#"{"chat_id":"g_1","if_version":{}}"#, "if_version: "),
    ];
    let store = Fake::examples();
    let router = app(&store);
    for (path, body, named) in cases {
        let message = post(&router, path, ALICE, *body).await.failure(400);
        assert!(message.starts_with(named), "{path} {body}: {message}");
    }
    assert!(store.asked().is_empty());
}

#[tokio::test]
async fn every_route_is_for_the_caller_alone() {
    let store = Fake::examples();
    let router = app(&store);
    for (path, body) in LEAST {
        let mut fields: Value =
            serde_json::from_str(if body.is_empty() { "{}" } else { body }).unwrap();
        fields["user_id"] = "bob".into();
        let message = post(&router, path, ALICE, fields.to_string()).await.failure(403);
        assert!(message.starts_with("user_id: "), "{path}: {message}");
        post(&router, path, &[], *body).await.failure(401);
    }
    assert!(store.asked().is_empty());
}

/// The routes whose clients may send fields that the API does not name.
const OF_THE_API: &[&str] = &["/chat/mine-list", "/chat/detail", "/chat/delete"];

#[tokio::test]
async fn unknown_fields_are_passed_over_by_the_apis_three_and_refused_elsewhere() {
    for (path, body) in LEAST {
        let (plain, _) = asked(path, ALICE, body).await;
        let mut fields: Value =
            serde_json::from_str(if body.is_empty() { "{}" } else { body }).unwrap();
        // The caller may be named, by every route.
        for user_id in [Value::Null, "alice".into()] {
            fields["user_id"] = user_id;
            assert_eq!(asked(path, ALICE, &fields.to_string()).await.0, plain, "{path}");
        }
        for unknown in ["later", "idempotency_key"] {
            let mut fields = fields.clone();
            fields[unknown] = json!([{"a": null}]);
            if OF_THE_API.contains(path) {
                assert_eq!(asked(path, ALICE, &fields.to_string()).await.0, plain, "{path}");
                continue;
            }
            let store = Fake::examples();
            let answer = post(&app(&store), path, ALICE, fields.to_string()).await;
            let message = answer.failure(400);
            assert!(message.contains(unknown), "{path}: {message}");
            assert!(store.asked().is_empty(), "{path}");
        }
    }
    let router = app(&Fake::examples());
    let misspelt = r#"{"chat_id":"g_1","is_pinned":1}"#;
    let message = post(&router, "/chat/flags", ALICE, misspelt).await.failure(400);
    assert!(message.contains("is_pinned") && message.contains("`is_top`"), "{message}");
    let in_the_body = r#"{"chat_id":"g_1","seq":7,"idempotency_key":"k"}"#;
    let message = post(&router, "/chat/read", ALICE, in_the_body).await.failure(400);
    assert!(message.contains("the header Idempotency-Key"), "{message}");
    let inside = r#"{"since":{"log":"l1","version":4,"later":1}}"#;
    let message = post(&router, "/chat/sync", ALICE, inside).await.failure(400);
    assert!(message.starts_with("since.later: "), "{message}");
}

#[tokio::test]
async fn other_methods_are_told_in_the_envelope() {
    let router = app(&Fake::examples());
    for (path, _) in LEAST {
        for method in ["GET", "DELETE"] {
            let answer = send(&router, method, path, ALICE, "").await;
            assert!(answer.failure(405).contains(method), "{path}");
            assert_eq!(answer.headers["allow"], "POST");
        }
    }
}

// ---- Idempotency-Key ----

fn key(command: &Command) -> Option<&IdempotencyKey> {
    match command {
        Command::Delete(Delete { idempotency_key, .. })
        | Command::MarkRead(MarkRead { idempotency_key, .. })
        | Command::SetFlags(SetFlags { idempotency_key, .. })
        | Command::Clear(Clear { idempotency_key, .. }) => idempotency_key.as_ref(),
        _ => None,
    }
}

#[tokio::test]
async fn the_key_of_a_change_is_passed_on() {
    let longest = "k".repeat(128);
    for (path, body) in LEAST {
        let (plain, _) = asked(path, ALICE, body).await;
        assert_eq!(key(&plain), None, "{path}");
        for given in ["a b", "会话-7", &longest] {
            let headers = [("x-user-id", "alice"), ("Idempotency-Key", given)];
            let (asked, _) = asked(path, &headers, body).await;
            let expected = CHANGES.contains(path).then(|| IdempotencyKey::new(given).unwrap());
            assert_eq!(key(&asked), expected.as_ref(), "{path}");
        }
    }
}

#[tokio::test]
async fn a_bad_key_is_refused_where_there_is_a_change() {
    let longer = "k".repeat(129);
    let bad: [Headers<'_>; 5] = [
        &[("x-user-id", "alice"), ("idempotency-key", "")],
        &[("x-user-id", "alice"), ("idempotency-key", &longer)],
        &[("x-user-id", "alice"), ("idempotency-key", "a\tb")],
        &[("x-user-id", "alice"), ("idempotency-key", "a"), ("Idempotency-Key", "a")],
        &[("x-user-id", "alice"), ("idempotency-key", "a"), ("idempotency-key", "b")],
    ];
    let store = Fake::examples();
    let router = app(&store);
    for (path, body) in LEAST {
        for headers in bad {
            let answer = post(&router, path, headers, *body).await;
            if CHANGES.contains(path) {
                let message = answer.failure(400);
                assert!(message.starts_with("Idempotency-Key: "), "{path}: {message}");
            } else {
                assert_eq!(answer.status, 200, "{path}");
            }
        }
        let latin1 = Request::post(*path)
            .header("x-user-id", "alice")
            .header("idempotency-key", &b"caf\xe9"[..])
            .body(Body::from(*body))
            .unwrap();
        let status = ask(&router, latin1).await.status;
        assert_eq!(status, if CHANGES.contains(path) { 400 } else { 200 }, "{path}");
    }
    assert!(store.asked().iter().all(|command| key(command).is_none()));
    // A caller without credentials gets that error first.
    post(&router, "/chat/clear", &[("idempotency-key", "")], "{}").await.failure(401);
}

// ---- the store's word ----

#[tokio::test]
async fn a_refusal_of_the_store_is_told_as_it_is() {
    for (path, body) in LEAST {
        for code in [ErrorCode::NotFound, ErrorCode::Conflict, ErrorCode::Gone] {
            let store = Fake::new(move |_| Err(Error::new(code, "why")));
            let answer = post(&app(&store), path, ALICE, *body).await;
            // But only members learn whether a chat exists.
            let of_a_row = matches!(*path, "/chat/read" | "/chat/flags" | "/chat/clear");
            let told = match code {
                ErrorCode::NotFound if of_a_row => {
                    "there is no such chat, or you are no member of it"
                }
                _ => "why",
            };
            assert_eq!(answer.failure(code.status()), told, "{path}");
        }
    }
}

#[tokio::test]
async fn a_reply_to_something_else_is_our_own_mistake() {
    let store = Fake::new(|_| Ok(Reply::Dissolve(())));
    let router = app(&store);
    for (path, body) in LEAST {
        assert!(
            post(&router, path, ALICE, *body).await.failure(500).contains("dissolve"),
            "{path}"
        );
    }
    // Nor does an empty reply belong to the caller.
    let store = Fake::new(|_| Ok(Reply::Unread(UnreadReply { items: Vec::new() })));
    post(&app(&store), "/chat/unread", ALICE, "").await.failure(500);
}
