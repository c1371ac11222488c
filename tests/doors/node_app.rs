//! The examples of the HTTP API through the app's door of a real server: the exact bytes, apart
//! from blanks.

mod long;

use serde_json::{Value, json};

use crate::common::seed::{DELETE_EXAMPLE, DETAIL_EXAMPLE, LIST_EXAMPLE, wire};
use crate::common::{HttpConnection, TestServer};

const EMPTY_LIST: &str = r#"{"code": 200, "data": {"items": []}, "msg": ""}"#;

const CREATOR: &str = "0x4c3f6cb0cd7df2977ea98e006b61bb899637d1ca";
const OTHER: &str = "0xother";
const CHAT: &str = "s_a7be32fecc0b2015";

/// Runs a command of the backend, through the admin's door.
fn backend(server: &TestServer, command: &str, arguments: &Value) -> Value {
    let mut admin = HttpConnection::open(server.admin());
    let (status, body) = admin.post(&format!("/call/{command}"), &[], &arguments.to_string());
    assert_eq!(status, 200, "{command} {arguments}: {body}");
    serde_json::from_str::<Value>(&body).unwrap()["data"].take()
}

#[test]
fn the_apis_examples_are_answered_as_written() {
    let server = TestServer::start(&[("shards", "2")]);
    let create = json!({"id": CHAT, "type": 1, "creator_id": CREATOR, "created_at": 0, "user_ids": [CREATOR, OTHER]});
    assert_eq!(
        backend(&server, "create", &create),
        json!({"id": CHAT, "created": true, "version": 1})
    );

    let mut app = HttpConnection::open(server.http());
    let ids = json!({"ids": [CHAT]}).to_string();
    for user in [CREATOR, OTHER] {
        // No body is needed; an empty object is as good.
        for body in ["", "{}"] {
            assert_eq!(app.post_as(user, "/chat/mine-list", body), (200, wire(LIST_EXAMPLE)));
        }
        assert_eq!(app.post_as(user, "/chat/detail", &ids), (200, wire(DETAIL_EXAMPLE)));
    }
    assert_eq!(app.post_as(CREATOR, "/chat/delete", &ids), (200, wire(DELETE_EXAMPLE)));
    assert_eq!(app.post_as(CREATOR, "/chat/mine-list", ""), (200, wire(EMPTY_LIST)));
    // One-sided.
    assert_eq!(app.post_as(OTHER, "/chat/mine-list", ""), (200, wire(LIST_EXAMPLE)));
    // A stranger's requests are answered, with nothing.
    assert_eq!(app.post_as("stranger", "/chat/mine-list", ""), (200, wire(EMPTY_LIST)));
    assert_eq!(app.post_as("stranger", "/chat/detail", &ids), (200, wire(EMPTY_LIST)));
    assert_eq!(app.post_as("stranger", "/chat/delete", &ids), (200, wire(DELETE_EXAMPLE)));
    drop(app);
    server.stop();
}

#[test]
fn what_an_app_did_survives_a_restart_with_other_shards() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let ids = json!({"ids": ["g1"]}).to_string();
    let told = |server: &TestServer| {
        let mut app = HttpConnection::open(server.http());
        ["a", "b", "c"].map(|user| {
            let asked = json!({"ids": ["g1", "g2", "g3"]}).to_string();
            [app.post_as(user, "/chat/mine-list", ""), app.post_as(user, "/chat/detail", &asked)]
        })
    };

    let server = TestServer::start_in(&data, &[("shards", "2")]);
    for id in ["g1", "g2", "g3"] {
        let create = json!({"id": id, "type": 2, "creator_id": "a", "user_ids": ["a", "b", "c"]});
        backend(&server, "create", &create);
        backend(&server, "advance", &json!({"chat_id": id, "to": 5, "sender_id": "b"}));
    }
    let mut app = HttpConnection::open(server.http());
    assert_eq!(app.post_as("a", "/chat/delete", &ids).0, 200);
    drop(app);
    let first = told(&server);
    server.stop();

    // From the log.
    let server = TestServer::start_in(&data, &[("shards", "3")]);
    assert_eq!(told(&server), first);
    // From a snapshot and the log behind it.
    backend(&server, "snapshot", &json!({}));
    backend(&server, "dissolve", &json!({"chat_id": "g2"}));
    backend(&server, "advance", &json!({"chat_id": "g1", "allocate": 2}));
    while backend(&server, "stats", &json!({}))["outbox"] != 0 {
        std::thread::yield_now();
    }
    let second = told(&server);
    assert_ne!(second, first);
    server.stop();
    for shards in ["1", "4"] {
        let server = TestServer::start_in(&data, &[("shards", shards)]);
        assert_eq!(told(&server), second);
        server.stop();
    }
}
