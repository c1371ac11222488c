//! No user reaches the rows of another one through the app's door. Every route of the OpenAPI
//! document is tried with another user's ids, in every field that takes one. A new route is in the
//! document, and so it is tested here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::common::served::Files;
use crate::common::{HttpConnection, TestServer};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// A chat of bob and carol, one that was dissolved, and one that never existed.
const THEIRS: &str = "g_theirs";
const DISSOLVED: &str = "g_gone";
const NOBODYS: &str = "g_none";

/// How the door authenticates its user.
#[derive(Clone, Copy, PartialEq)]
enum Auth {
    Header,
    Jwt,
}

impl Auth {
    fn headers(self, user: &str) -> Vec<(&'static str, String)> {
        match self {
            Self::Header => vec![("x-user-id", user.to_owned())],
            Self::Jwt => {
                let claims = json!({"sub": user, "exp": 9_999_999_999_u64});
                let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
                let token = jsonwebtoken::encode(&Default::default(), &claims, &key).unwrap();
                vec![("authorization", format!("Bearer {token}"))]
            }
        }
    }
}

struct Asking {
    server: TestServer,
    app: HttpConnection,
    admin: HttpConnection,
    auth: Auth,
    document: Value,
}

impl Asking {
    fn post(&mut self, headers: &[(&str, String)], path: &str, body: &Value) -> (u16, String) {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.app.post(path, &headers, &body.to_string())
    }

    fn ask_as(&mut self, user: &str, path: &str, body: &Value) -> (u16, String) {
        let headers = self.auth.headers(user);
        self.post(&headers, path, body)
    }

    fn backend(&mut self, command: &str, arguments: &Value) -> Value {
        let (status, body) =
            self.admin.post(&format!("/call/{command}"), &[], &arguments.to_string());
        assert_eq!(status, 200, "{command}: {body}");
        serde_json::from_str::<Value>(&body).unwrap()["data"].take()
    }

    /// Everything in the store, and all replies to bob.
    fn state(&mut self) -> Vec<Value> {
        while self.backend("stats", &json!({}))["outbox"] != 0 {
            std::thread::yield_now();
        }
        let mut state = vec![self.backend("export", &json!({}))];
        for user in ["bob", "carol"] {
            for command in ["list", "conversations", "sync"] {
                state.push(self.backend(command, &json!({"user_id": user})));
            }
        }
        state
    }

    /// A body for a schema of the document, with another user's ids in it.
    fn body(&self, schema: &Value, whole: bool, others: &BTreeMap<&str, Value>) -> Value {
        if let Some(place) = schema["$ref"].as_str() {
            let name = place.rsplit('/').next().unwrap();
            if let Some(value) = others.get(name) {
                return value.clone();
            }
            let found = self.document.pointer(place.trim_start_matches('#')).unwrap();
            return self.body(found, whole, others);
        }
        if let Some(one) = schema["oneOf"].as_array() {
            let some = one.iter().find(|one| one["type"] != "null").unwrap();
            return self.body(some, whole, others);
        }
        let kind = match &schema["type"] {
            Value::String(kind) => kind.as_str(),
            several => several[0].as_str().unwrap(),
        };
        match kind {
            "object" => {
                let required = schema["required"].as_array().cloned().unwrap_or_default();
                let fields = schema["properties"].as_object().cloned().unwrap_or_default();
                let wanted = fields
                    .iter()
                    .filter(|(name, _)| whole || required.contains(&json!(name)))
                    .map(|(name, schema)| {
                        let given = others.get(name.as_str()).cloned();
                        (name.clone(), given.unwrap_or_else(|| self.body(schema, whole, others)))
                    });
                Value::Object(wanted.collect::<Map<_, _>>())
            }
            "array" => json!([self.body(&schema["items"], whole, others)]),
            "integer" => {
                schema["enum"][0].as_u64().or(schema["minimum"].as_u64()).unwrap_or(1).into()
            }
            "boolean" => json!(false),
            "string" => json!("x"),
            other => panic!("{other}"),
        }
    }
}

fn start(auth: Auth) -> Asking {
    let files = Files::new();
    let secret = files.write("secret", SECRET);
    let mut settings = vec![("shards", "2")];
    if auth == Auth::Jwt {
        settings.extend([
            ("http_auth", "jwt"),
            ("jwt_secret_file", secret.as_str()),
            ("docs", "app"),
        ]);
    }
    let server = TestServer::start(&settings);
    let mut app = HttpConnection::open(server.http());
    let (status, document) = app.get("/openapi.json");
    assert_eq!(status, 200);
    let admin = HttpConnection::open(server.admin());
    let document = serde_json::from_str(&document).unwrap();
    let mut asking = Asking { server, app, admin, auth, document };
    for id in [THEIRS, "g_second", DISSOLVED] {
        let users = ["bob", "carol"];
        let create = json!({"id": id, "type": 2, "creator_id": "bob", "user_ids": users});
        asking.backend("create", &create);
        asking.backend("advance", &json!({"chat_id": id, "to": 7, "sender_id": "carol"}));
    }
    asking.backend("dissolve", &json!({"chat_id": DISSOLVED}));
    let own = json!({"id": "g_own", "type": 2, "creator_id": "alice", "user_ids": ["alice"]});
    asking.backend("create", &own);
    let flags = json!({"user_id": "bob", "chat_id": THEIRS, "is_top": 1, "is_mute": 1});
    asking.backend("set_flags", &flags);
    asking
}

fn isolated(auth: Auth) {
    let mut asking = start(auth);
    let before = asking.state();
    // A cursor that bob got, and that another user may have found.
    let page = asking.ask_as("bob", "/chat/conversations", &json!({"limit": 1})).1;
    let cursor = serde_json::from_str::<Value>(&page).unwrap()["data"]["next_cursor"].take();
    assert!(cursor.is_string(), "{page}");
    let told = asking.backend("sync", &json!({"user_id": "bob"}));
    let since = json!({"log": told["log"], "version": 0});

    let routes: Vec<String> =
        asking.document["paths"].as_object().unwrap().keys().cloned().collect();
    assert!(routes.len() >= 9);
    let mut tried = 0;
    for path in &routes {
        let media = &asking.document["paths"][path]["post"]["requestBody"]["content"];
        let schema = media["application/json"]["schema"].clone();
        for whole in [false, true] {
            let body_with = |asking: &Asking, chat: &str| {
                let others = BTreeMap::from([
                    ("ChatId", json!(chat)),
                    ("cursor", cursor.clone()),
                    ("since", since.clone()),
                    ("if_version", Value::Null),
                ]);
                asking.body(&schema, whole, &others)
            };
            let of_nobody = body_with(&asking, NOBODYS);
            let (status, expected) = asking.ask_as("alice", path, &of_nobody);
            assert!(matches!(status, 200 | 400 | 404), "{path}: {expected}");
            for chat in [THEIRS, DISSOLVED] {
                let body = body_with(&asking, chat);
                let answer = asking.ask_as("alice", path, &body);
                // Not even whether it exists: the answer equals that for a chat that never existed.
                // Only a dissolved chat is reported as such to every user who knows its id.
                if (answer.0, chat) != (410, DISSOLVED) {
                    assert_eq!(answer, (status, expected.clone()), "{path} {body}");
                }
                for secret in [THEIRS, "g_second", DISSOLVED, "bob", "carol"] {
                    assert!(!answer.1.contains(secret), "{path} {body}: {}", answer.1);
                }
                // With the other user named as the caller: refused, whatever else the body says.
                let mut as_bob = body.clone();
                as_bob["user_id"] = json!("bob");
                let (status, answer) = asking.ask_as("alice", path, &as_bob);
                assert_eq!(status, 403, "{path} {as_bob}: {answer}");
                tried += 1;
            }
            // Two names, or another user's name beside the own token.
            let mut headers = asking.auth.headers("alice");
            headers.push(("x-user-id", "bob".to_owned()));
            let (status, answer) = asking.post(&headers, path, &of_nobody);
            match auth {
                Auth::Header => assert_eq!(status, 401, "{path}: {answer}"),
                Auth::Jwt => assert_eq!(answer, expected, "{path}"),
            }
            let (status, answer) = asking.post(&[], path, &of_nobody);
            assert_eq!(status, 401, "{path}: {answer}");
        }
    }
    assert!(tried >= 4 * 9);
    // The admin's routes are not here.
    for path in ["/call/list", "/call/create", "/metrics"] {
        assert_eq!(asking.ask_as("alice", path, &json!({"user_id": "bob"})).0, 404, "{path}");
    }
    assert_eq!(asking.state(), before);
    let Asking { server, app, admin, .. } = asking;
    drop((app, admin));
    server.stop();
}

#[test]
fn nobody_reaches_anothers_rows_where_a_gateway_names_the_user() {
    isolated(Auth::Header);
}

#[test]
fn nobody_reaches_anothers_rows_with_a_token_of_their_own() {
    isolated(Auth::Jwt);
}
