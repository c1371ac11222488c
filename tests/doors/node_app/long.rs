//! Long answers by HTTP, at the app's door and by `/call`: whole, in pages, compressed, and too
//! long.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::backend;
use crate::common::{HttpConnection, TestServer};

/// Gives a user this many rows, of chats whose ids have `id_bytes` bytes.
fn fill(server: &TestServer, user: &str, rows: usize, id_bytes: usize) {
    let ids: Vec<String> =
        (0..rows).map(|n| format!("{user}{n:_>width$}", width = id_bytes - user.len())).collect();
    for ids in ids.chunks(1500) {
        let chats: Vec<Value> =
            ids.iter().map(|id| json!({"id": id, "type": 2, "creator_id": "m"})).collect();
        let members: Vec<Value> =
            ids.iter().map(|id| json!({"user_id": user, "chat_id": id})).collect();
        backend(server, "import", &json!({"chats": chats, "members": members}));
    }
}

/// A way to request a user's list.
struct Asking {
    door: HttpConnection,
    path: &'static str,
    user: &'static str,
}

impl Asking {
    /// Each connection is opened when it is its turn: a door drops one that does not ask for 10 s.
    fn both(server: &TestServer, user: &'static str) -> impl Iterator<Item = Self> {
        [(server.http(), "/chat/mine-list"), (server.admin(), "/call/list")]
            .into_iter()
            .map(move |(door, path)| Self { door: HttpConnection::open(door), path, user })
    }

    /// Sends the list's arguments. Returns the text of the answer, and whether it was compressed.
    fn ask(&mut self, accept: Option<&str>, arguments: &Value) -> (u16, String, bool) {
        let mut arguments = arguments.clone();
        // The app's door lets a body name the caller.
        arguments["user_id"] = json!(self.user);
        let mut headers = vec![("x-user-id", self.user)];
        headers.extend(accept.map(|accept| ("accept-encoding", accept)));
        let (status, told, body) =
            self.door.post_for_all(self.path, &headers, &arguments.to_string());
        let is_compressed = told.get("content-encoding").is_some_and(|coding| coding == "gzip");
        let mut text = String::new();
        match is_compressed {
            true => GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap(),
            false => (&body[..]).read_to_string(&mut text).unwrap(),
        };
        // Caches must know that the answer depends on `accept-encoding`, even if it is not
        // compressed.
        let varies = told.get("vary").is_some_and(|vary| vary == "accept-encoding");
        assert_eq!(varies, text.len() >= 16 << 10, "{} bytes {told:?}", text.len());
        assert!(!is_compressed || 8 * body.len() < text.len(), "{} bytes", body.len());
        (status, text, is_compressed)
    }

    /// The data of a successful answer.
    fn data(&mut self, arguments: &Value) -> Value {
        let (status, text, _) = self.ask(None, arguments);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str::<Value>(&text).unwrap()["data"].take()
    }
}

#[test]
fn a_list_is_the_same_whole_in_pages_and_compressed() {
    let server = TestServer::start(&[("shards", "2")]);
    // Few rows, about as many as one step writes, and more than one step writes.
    for (user, rows) in [("few", 3), ("some", 300), ("many", 5000)] {
        fill(&server, user, rows, 24);
        let mut lists = Vec::new();
        for mut asking in Asking::both(&server, user) {
            let (status, plain, is_compressed) = asking.ask(None, &json!({}));
            assert!(status == 200 && !is_compressed);
            for (accept, takes_gzip) in [("br, GZIP;q=0.2", true), ("*, gzip;q=0", false)] {
                let (status, text, is_compressed) = asking.ask(Some(accept), &json!({}));
                assert!(status == 200 && text == plain, "{accept}");
                assert_eq!(is_compressed, takes_gzip && rows > 3, "{accept} {rows}");
            }
            let whole = asking.data(&json!({}));
            let items = whole["items"].as_array().unwrap().clone();
            assert_eq!(items.len(), rows);

            let (mut cursor, mut paged) = (Value::Null, Vec::new());
            for limit in [1, 2, 100, 256, 257, 600].into_iter().cycle() {
                let mut page = asking.data(&json!({"limit": limit, "cursor": cursor}));
                assert!(page["items"].as_array().unwrap().len() <= limit);
                paged.append(page["items"].as_array_mut().unwrap());
                cursor = page.as_object_mut().unwrap().remove("next_cursor").expect("a page");
                if cursor.is_null() {
                    break;
                }
            }
            assert!(paged == items, "{} rows in pages, {rows} in all", paged.len());
            let first = asking.data(&json!({"limit": 1}));
            let rest = asking.data(&json!({"cursor": first["next_cursor"]}));
            assert!(rest["next_cursor"].is_null() && rest.get("next_cursor").is_some());
            assert!(rest["items"].as_array().unwrap()[..] == items[1..]);

            for wrong in [json!({"limit": 0}), json!({"limit": "1"}), json!({"cursor": "?"})] {
                assert_eq!(asking.ask(None, &wrong).0, 400, "{wrong}");
            }
            lists.push((whole, items));
        }
        let [(of_app, app_items), (_, call_items)] = &lists[..] else { panic!("two doors") };
        assert_eq!(of_app, &json!({"items": app_items}), "the API's envelope is the seed's");
        assert!(app_items == call_items);
    }
    server.stop();
}

#[test]
fn a_list_that_is_too_long_is_asked_for_in_pages() {
    let server = TestServer::start(&[("shards", "2")]);
    fill(&server, "giant", 48_000, 128);
    for mut asking in Asking::both(&server, "giant") {
        for accept in [None, Some("gzip")] {
            let (status, text, _) = asking.ask(accept, &json!({}));
            assert_eq!(status, 413, "{}", &text[..200]);
            let told = "the answer has more than 16777216 bytes; use limit and cursor";
            assert_eq!(text, json!({"code": 413, "data": null, "msg": told}).to_string());
            // The connection continues.
            let (status, text, _) = asking.ask(accept, &json!({"limit": 42_000}));
            assert!(status == 200 && text.len() > 14 << 20, "{} bytes", text.len());
        }
    }
    server.stop();
}
