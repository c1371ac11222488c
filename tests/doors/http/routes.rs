//! Both HTTP doors without a socket. A fake store answers from a closure, and each test looks at
//! the exact bytes that a client would get.

use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use hyper::body::Frame;
use serde_json::{Value, json};

use chatshard::access::{Authenticator, JwtFile, JwtRules, JwtVerifier, Tokens};
use chatshard::command::error::Moved;
use chatshard::command::list::ListReply;
use chatshard::command::stats::{ShardStats, StatsReply};
use chatshard::command::{Class, Command, Error, ErrorCode, Kind, Reply};
use chatshard::http::{Admin, UserAuth, admin_router};
use chatshard::limits::{HTTP_BODY_BYTES_MAX, IDS_MAX};
use chatshard::metrics::{Meter, MetricsInput, SharedMeter};

use super::*;

// ---- the API's three ----

#[tokio::test]
async fn the_examples_of_the_api_come_back_byte_for_byte() {
    let store = Fake::examples();
    let router = app(&store);
    let ids = r#"{"ids": ["s_a7be32fecc0b2015"]}"#;
    let routes = [
        ("/chat/mine-list", "", LIST_EXAMPLE),
        ("/chat/detail", ids, DETAIL_EXAMPLE),
        ("/chat/delete", ids, DELETE_EXAMPLE),
    ];
    for (path, body, example) in routes {
        let answer = post(&router, path, ALICE, body).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.body, wire(example), "{path}");
    }

    // Each command to the store is about the caller.
    let asked = store.asked();
    assert!(matches!(&asked[0], Command::List(list) if list.user_id == user("alice")
        && list.limit.is_none() && list.cursor.is_none()));
    assert!(matches!(&asked[1], Command::Detail(detail) if detail.user_id == Some(user("alice"))
        && detail.ids == [chat("s_a7be32fecc0b2015")]));
    assert!(matches!(&asked[2], Command::Delete(delete) if delete.user_id == user("alice")
        && delete.ids == [chat("s_a7be32fecc0b2015")] && delete.up_to.is_none()));
}

#[tokio::test]
async fn items_have_the_fields_of_the_api_in_its_order() {
    let router = app(&Fake::examples());
    let list = post(&router, "/chat/mine-list", ALICE, "{}").await;
    let detail = post(&router, "/chat/detail", ALICE, r#"{"ids":["x"]}"#).await;
    let list_fields = [
        "id",
        "chat_id",
        "is_top",
        "is_mute",
        "is_show",
        "is_hide",
        "max_read_seq",
        "last_online_time",
    ];
    let detail_fields = [
        "id",
        "creator_id",
        "type",
        "status",
        "is_enc",
        "last_read_sequence",
        "last_sequence",
        "last_time",
        "created_at",
    ];
    assert_eq!(keys_of_first_item(&list.body), list_fields);
    assert_eq!(keys_of_first_item(&detail.body), detail_fields);
    let list = list.json();
    assert_eq!(list["data"].as_object().unwrap().len(), 1, "the items and nothing else");
    for (name, value) in list["data"]["items"][0].as_object().unwrap() {
        let is_text = matches!(name.as_str(), "id" | "chat_id");
        assert!(if is_text { value.is_string() } else { value.is_u64() }, "{name}");
    }
}

/// The keys in the order of the text; a parsed map may have lost their order.
fn keys_of_first_item(body: &str) -> Vec<&str> {
    let (_, item) = body.split_once("[{").unwrap();
    let (item, _) = item.split_once('}').unwrap();
    item.split(',').map(|field| field.split('"').nth(1).unwrap()).collect()
}

#[tokio::test]
async fn a_users_whole_list_is_one_answer() {
    let rows = 10_000;
    let store = Fake::new(move |_| {
        let items = vec![list_reply().items.remove(0); rows];
        Ok(Reply::List(ListReply { items, next_cursor: None }))
    });
    let answer = post(&app(&store), "/chat/mine-list", ALICE, "").await;
    assert_eq!(answer.json()["data"]["items"].as_array().unwrap().len(), rows);
}

// ---- bodies ----

#[tokio::test]
async fn bodies_are_taken_as_clients_send_them() {
    let store = Fake::examples();
    let router = app(&store);
    for body in ["", " \n", "{}", r#"{"page":1,"later":[{"a":null}]}"#, r#"{"user_id":"alice"}"#] {
        assert_eq!(post(&router, "/chat/mine-list", ALICE, body).await.status, 200, "{body}");
    }
    // The content types of `curl -d`, and of `fetch` with a string.
    for content_type in ["application/x-www-form-urlencoded", "text/plain;charset=UTF-8"] {
        let headers = [("x-user-id", "alice"), ("content-type", content_type)];
        let body = r#"{"ids":[],"extra":{"x":1}}"#;
        assert_eq!(post(&router, "/chat/detail", &headers, body).await.status, 200);
    }
    let body = r#"{"ids":["x"],"up_to":7}"#;
    assert_eq!(post(&router, "/chat/delete", ALICE, body).await.status, 200);
    let asked = store.asked();
    let last = asked.last().unwrap();
    assert!(matches!(last, Command::Delete(delete) if delete.up_to.unwrap().get() == 7));
}

#[tokio::test]
async fn null_is_an_empty_list() {
    // A nil slice of Go is encoded as null.
    let store = Fake::examples();
    let (app, Operated { store: called, router: admin, .. }) = (app(&store), admin(""));
    for path in ["/chat/detail", "/chat/delete"] {
        assert_eq!(post(&app, path, ALICE, r#"{"ids":null}"#).await.status, 200, "{path}");
        assert!(post(&app, path, ALICE, "{}").await.failure(400).contains("ids"), "{path}");
    }
    let asked = store.asked();
    assert!(matches!(&asked[..], [Command::Detail(detail), Command::Delete(delete)]
        if detail.ids.is_empty() && delete.ids.is_empty()));

    let lists = [
        ("detail", r#"{"ids":null}"#),
        ("delete", r#"{"user_id":"u","ids":null}"#),
        ("unread", r#"{"user_ids":null}"#),
        ("mark_read_many", r#"{"user_id":"u","items":null}"#),
        ("create", r#"{"type":2,"creator_id":"u","user_ids":null}"#),
        ("add_members", r#"{"chat_id":"g","user_ids":null}"#),
        ("remove_members", r#"{"chat_id":"g","user_ids":null}"#),
        ("import", r#"{"chats":null,"members":null}"#),
    ];
    for (number, (command, with_null)) in lists.iter().enumerate() {
        let path = format!("/call/{command}");
        assert_ne!(post(&admin, &path, &[], *with_null).await.status, 400, "{command}");
        let empty: Value = serde_json::from_str(&with_null.replace("null", "[]")).unwrap();
        let kind = Kind::from_name(command).unwrap();
        assert_eq!(called.asked()[number], Command::from_json(kind, empty).unwrap());
    }
    // A field that may be absent in a line may be null.
    let lines = r#"{"chats":[{"id":"g","creator_id":"u","type":2,"is_enc":null,"last_sequence":null}],
        "members":[{"user_id":"u","chat_id":"g","is_top":null,"sent_seq":null}]}"#;
    assert_ne!(post(&admin, "/call/import", &[], lines).await.status, 400);
    assert!(matches!(called.asked().last(), Some(Command::Import(import)) if import.lines() == 2));
}

#[tokio::test]
async fn a_body_that_is_no_plain_utf_8_is_told_what_it_is() {
    let store = Fake::examples();
    let (app, admin) = (app(&store), admin("").router);
    let with_mark = "\u{feff}{\"ids\":[]}";
    let utf_16: Vec<u8> =
        "\u{feff}{\"ids\":[]}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (router, path) in
        [(&app, "/chat/detail"), (&app, "/chat/mine-list"), (&admin, "/call/detail")]
    {
        let message = post(router, path, ALICE, with_mark).await.failure(400);
        assert!(message.contains("byte order mark"), "{path}: {message}");
        let message = post(router, path, ALICE, utf_16.clone()).await.failure(400);
        assert!(message.contains("UTF-16"), "{path}: {message}");
    }
    assert!(store.asked().is_empty());
}

#[tokio::test]
async fn wrong_bodies_are_refused_before_the_store() {
    let store = Fake::examples();
    let router = app(&store);
    let long_id = format!(r#"{{"ids":["{}"]}}"#, "x".repeat(129));
    let deep = format!(r#"{{"ids":{}"#, "[".repeat(500_000));
    let wrong = [
        "",
        "{}",
        "null",
        "[[\"x\"]]",
        "ids=x",
        r#"{"ids""#,
        r#"{"ids":"x"}"#,
        r#"{"ids":[7]}"#,
        r#"{"ids":[""]}"#,
        r#"{"ids":["\n"]}"#,
        r#"{"ids":[],"ids":[]}"#,
        r#"{"ids":["x"],}"#,
        r#"{"ids":[]} {}"#,
        long_id.as_str(),
        deep.as_str(),
    ];
    for body in wrong {
        for path in ["/chat/detail", "/chat/delete"] {
            post(&router, path, ALICE, body.to_owned()).await.failure(400);
        }
    }
    post(&router, "/chat/delete", ALICE, r#"{"ids":[],"up_to":-1}"#).await.failure(400);
    post(&router, "/chat/mine-list", ALICE, "[]").await.failure(400);
    post(&router, "/chat/detail", ALICE, &b"{\"ids\":[\"\xff\"]}"[..]).await.failure(400);
    // Another user is never named, not even in vain.
    for (path, body) in [
        ("/chat/mine-list", r#"{"user_id":"bob"}"#),
        ("/chat/detail", r#"{"ids":["x"],"user_id":"bob"}"#),
        ("/chat/delete", r#"{"ids":["x"],"user_id":"bob"}"#),
    ] {
        assert!(post(&router, path, ALICE, body).await.failure(403).contains("user_id"));
    }
    assert!(store.asked().is_empty());
}

#[tokio::test]
async fn too_much_is_413() {
    let store = Fake::examples();
    let router = app(&store);
    let ids = |count: usize| json!({"ids": vec!["x"; count]}).to_string();
    assert_eq!(post(&router, "/chat/detail", ALICE, ids(IDS_MAX)).await.status, 200);
    for path in ["/chat/detail", "/chat/delete"] {
        let message = post(&router, path, ALICE, ids(IDS_MAX + 1)).await.failure(413);
        assert!(message.contains("ids"), "{message}");
    }

    let fits = |bytes: usize| format!("{{\"ids\":[]}}{}", " ".repeat(bytes - 10));
    let most = fits(HTTP_BODY_BYTES_MAX);
    assert_eq!(post(&router, "/chat/detail", ALICE, most.clone()).await.status, 200);
    let over = fits(HTTP_BODY_BYTES_MAX + 1);
    post(&router, "/chat/detail", ALICE, over.clone()).await.failure(413);
    // In pieces, the length is not announced.
    assert_eq!(post(&router, "/chat/detail", ALICE, Body::new(Pieces::of(most))).await.status, 200);
    post(&router, "/chat/detail", ALICE, Body::new(Pieces::of(over))).await.failure(413);
}

/// A body that comes in parts, and may break off.
struct Pieces {
    rest: Bytes,
    broken: bool,
}

impl Pieces {
    fn of(body: String) -> Self {
        Self { rest: body.into(), broken: false }
    }
}

impl axum::body::HttpBody for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        use std::task::Poll;
        if !self.rest.is_empty() {
            let bytes = self.rest.len().min(10_000);
            return Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))));
        }
        let end = self.broken.then(|| Err(std::io::ErrorKind::UnexpectedEof.into()));
        Poll::Ready(end)
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused_even_if_it_would_parse() {
    let store = Fake::examples();
    let body = Body::new(Pieces { rest: "{\"ids\":[]}".into(), broken: true });
    post(&app(&store), "/chat/delete", ALICE, body).await.failure(400);
    assert!(store.asked().is_empty());
}

// ---- routes and errors ----

#[tokio::test]
async fn unknown_routes_and_methods_are_told_in_the_envelope() {
    let router = app(&Fake::examples());
    for path in ["/", "/chat", "/chat/detail/", "/call/list", "/metrics", "/healthz"] {
        assert!(post(&router, path, ALICE, "{}").await.failure(404).contains(path));
    }
    for method in ["GET", "PUT", "OPTIONS"] {
        let answer = send(&router, method, "/chat/detail", ALICE, "").await;
        assert!(answer.failure(405).contains(method));
        assert_eq!(answer.headers["allow"], "POST");
    }
}

#[tokio::test]
async fn an_error_of_the_store_is_the_envelopes() {
    let told = ErrorCode::ALL.iter().filter(|code| **code != ErrorCode::Moved);
    for &code in told {
        let store = Fake::new(move |_| Err(Error::new(code, "why it \"failed\"")));
        let answer = post(&app(&store), "/chat/mine-list", ALICE, "").await;
        assert_eq!(answer.failure(code.status()), "why it \"failed\"");
    }
    // An app has one address: it is told to try again, and a header names the active.
    let store =
        Fake::new(|_| Err(Error::moved(Moved { address: "10.0.0.2:7700".to_owned(), epoch: 3 })));
    let answer = post(&app(&store), "/chat/mine-list", ALICE, "").await;
    assert_eq!(answer.headers["x-chatshard-active"], "10.0.0.2:7700");
    assert!(answer.failure(503).starts_with("not applied: "));
    // A store that gives the wrong kind of reply is an internal error.
    let store = Fake::new(|_| Ok(Reply::Delete(())));
    post(&app(&store), "/chat/mine-list", ALICE, "").await.failure(500);
}

// ---- who calls ----

#[tokio::test]
async fn the_gateways_header_names_exactly_one_user() {
    let store = Fake::examples();
    let router = app(&store);
    let long = "x".repeat(129);
    let cases: [(Headers<'_>, u16); 6] = [
        (&[], 401),
        (&[("x-user-id", "")], 401),
        (&[("x-user-id", "alice"), ("X-User-Id", "alice")], 401),
        (&[("authorization", "Bearer alice")], 401),
        (&[("x-user-id", &long)], 400),
        (&[("x-user-id", "a\tb")], 400),
    ];
    for (headers, status) in cases {
        let answer = post(&router, "/chat/mine-list", headers, "").await;
        let message = answer.failure(status);
        assert!(message.contains("X-User-Id"), "{message}");
    }
    assert!(store.asked().is_empty());
    for encoded in ["%E7%94%A8%E6%88%B7", "a%20b"] {
        let answer = post(&router, "/chat/mine-list", &[("x-user-id", encoded)], "").await;
        assert!(answer.failure(400).contains("percent-encoded"), "{encoded}");
    }
    assert!(store.asked().is_empty());
    let answer = post(&router, "/chat/mine-list", &[("x-user-id", "用户")], "").await;
    assert_eq!(answer.status, 200);
    assert!(matches!(&store.asked()[0], Command::List(list) if list.user_id == user("用户")));
}

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn jwt() -> UserAuth {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(SECRET).unwrap();
    let file = JwtFile::Secret(file.path().to_owned());
    UserAuth::Jwt(JwtVerifier::load(file, JwtRules::default()).unwrap())
}

fn token(header: &jsonwebtoken::Header, claims: &Value, secret: &[u8]) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret);
    jsonwebtoken::encode(header, claims, &key).unwrap()
}

/// A token with any header, signed with HS256 and the right secret, whatever the header says.
fn signed(header: &Value, claims: &Value) -> String {
    let message = format!("{}.{}", part(header), part(claims));
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET);
    let algorithm = jsonwebtoken::Algorithm::HS256;
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
    format!("{message}.{signature}")
}

async fn with_token(router: &Router, token: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    // The other door's header must not count here.
    let headers = [("authorization", bearer.as_str()), ("x-user-id", "mallory")];
    post(router, "/chat/mine-list", &headers, "").await
}

#[tokio::test]
async fn a_good_token_names_the_user() {
    let store = Fake::examples();
    let router = app_with(&store, jwt());
    let header = jsonwebtoken::Header::default();
    let claims = json!({"sub": "alice", "exp": now() + 60, "nbf": now() - 60, "aud": "im"});
    assert_eq!(with_token(&router, &token(&header, &claims, SECRET)).await.status, 200);
    assert!(matches!(&store.asked()[0], Command::List(list) if list.user_id == user("alice")));
}

#[tokio::test]
async fn every_other_token_is_refused() {
    let store = Fake::examples();
    let router = app_with(&store, jwt());
    let header = jsonwebtoken::Header::default();
    let exp = now() + 60;
    let good = token(&header, &json!({"sub": "alice", "exp": exp}), SECRET);

    let mut refused = vec![("no token", String::new()), ("not a token", "a.b.c".into())];
    for (why, claims) in [
        ("expired", json!({"sub": "alice", "exp": now() - 60})),
        ("no exp", json!({"sub": "alice"})),
        ("exp as text", json!({"sub": "alice", "exp": exp.to_string()})),
        ("not yet valid", json!({"sub": "alice", "exp": exp, "nbf": now() + 60})),
        ("nbf as text", json!({"sub": "alice", "exp": exp, "nbf": "0"})),
        ("no sub", json!({"exp": exp})),
        ("sub as number", json!({"sub": 7, "exp": exp})),
        ("empty sub", json!({"sub": "", "exp": exp})),
        ("long sub", json!({"sub": "x".repeat(129), "exp": exp})),
    ] {
        refused.push((why, token(&header, &claims, SECRET)));
    }
    let claims = json!({"sub": "alice", "exp": exp});
    refused.push(("other secret", token(&header, &claims, b"another secret of 32 or more bytes")));
    let hs512 = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS512);
    refused.push(("HS512", token(&hs512, &claims, SECRET)));
    let crit = jsonwebtoken::Header { crit: Some(vec!["exp".into()]), ..header };
    refused.push(("critical extension", token(&crit, &claims, SECRET)));
    // Signed with the right secret, so that only the header is wrong.
    for alg in ["RS256", "ES256", "none", "None", "hs256", ""] {
        refused.push(("other algorithm", signed(&json!({"alg": alg, "typ": "JWT"}), &claims)));
        let unsigned = format!("{}.{}.", part(&json!({"alg": alg})), part(&claims));
        refused.push(("no signature", unsigned));
    }
    refused.push(("no algorithm", signed(&json!({"typ": "JWT"}), &claims)));
    let other_user = part(&json!({"sub": "bob", "exp": exp}));
    let (start, signature) = good.rsplit_once('.').unwrap();
    let header = start.split_once('.').unwrap().0;
    refused.push(("forged claims", format!("{header}.{other_user}.{signature}")));
    refused.push(("signature taken off", format!("{start}.")));

    for (why, token) in &refused {
        let answer = with_token(&router, token).await;
        assert_eq!(answer.status, 401, "{why}: {}", answer.body);
        let message = answer.failure(401);
        assert!(token.is_empty() || !message.contains(token), "{why}: {message}");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
    let twice = format!("Bearer {good}");
    let headers = [("authorization", twice.as_str()), ("authorization", twice.as_str())];
    post(&router, "/chat/mine-list", &headers, "").await.failure(401);
    post(&router, "/chat/mine-list", ALICE, "").await.failure(401);
    assert!(store.asked().is_empty());
    // The tokens above were refused for their contents, not for the way they were made.
    let by_hand = signed(&json!({"alg": "HS256"}), &claims);
    for good in [good, by_hand] {
        assert_eq!(with_token(&router, &good).await.status, 200);
    }
}

// ---- the admin's door ----

struct Operated {
    store: Fake,
    router: Router,
    trouble: Arc<Mutex<Option<&'static str>>>,
}

/// The admin's door with this text of a token file.
fn admin(tokens: &str) -> Operated {
    let store = Fake::examples();
    let trouble = Arc::new(Mutex::new(None::<&'static str>));
    let seen = trouble.clone();
    let meter = SharedMeter::default();
    let counted = meter.clone();
    let router = admin_router(Admin {
        store: store.clone(),
        readiness: Arc::new(move |_| {
            seen.lock().unwrap().map_or(Ok("ready"), |why| Err(why.into()))
        }),
        metrics: Arc::new(move || {
            let mut call = Meter::default();
            counted.merge_into(&mut call);
            let shards = vec![ShardStats::default(), ShardStats { shard: 1, ..Default::default() }];
            let mut stats = StatsReply { shards, chats: 3, ..Default::default() };
            stats.log.state = "ok".into();
            let stats = Some(stats);
            Box::pin(async move { MetricsInput { stats, call, ..MetricsInput::default() } })
        }),
        authenticator: Authenticator::new(Tokens::parse(tokens).unwrap()),
        meter,
    });
    Operated { store, router, trouble }
}

#[tokio::test]
async fn any_command_can_be_called() {
    let Operated { store, router, .. } = admin("");
    let answer = post(&router, "/call/list", &[], r#"{"user_id":"alice","limit":5}"#).await;
    assert_eq!(answer.json()["data"]["next_cursor"], "c");
    assert_eq!(keys_of_first_item(&answer.body).len(), 8);
    assert!(matches!(&store.asked()[0], Command::List(list) if list.limit == Some(5)));

    let answer = post(&router, "/call/ping", &[], "").await;
    assert_eq!(answer.body, r#"{"code":200,"data":{},"msg":""}"#);
    let answer = post(&router, "/call/delete", &[], r#"{"user_id":"a","ids":[]}"#).await;
    assert_eq!(answer.body, wire(DELETE_EXAMPLE));
    post(&router, "/call/dissolve", &[], r#"{"chat_id":"x"}"#).await.failure(410);
    post(&router, "/call/touch", &[], r#"{"user_id":"x"}"#).await.failure(503);
}

#[tokio::test]
async fn wrong_calls_are_told_in_the_envelope() {
    let Operated { store, router, .. } = admin("");
    for path in ["/call/nothing", "/call/List", "/call/%ff"] {
        let message = post(&router, path, &[], "{}").await.failure(404);
        for kind in Kind::ALL {
            assert!(message.contains(kind.name()), "{message}");
        }
    }
    for path in ["/call", "/call/", "/call/list/x", "/chat/mine-list"] {
        post(&router, path, &[], "{}").await.failure(404);
    }
    send(&router, "GET", "/call/list", &[], "").await.failure(405);
    for (body, status) in [
        ("", 400),
        ("[]", 400),
        (r#"{"user_id":"a","limits":1}"#, 400),
        (r#"{"user_id":"a","user_id":"b"}"#, 400),
        (r#"{"user_id":"a","limit":0}"#, 400),
        (r#"{"user_id":7}"#, 400),
    ] {
        post(&router, "/call/list", &[], body).await.failure(status);
    }
    let ids = json!({"ids": vec!["x"; IDS_MAX + 1]}).to_string();
    post(&router, "/call/detail", &[], ids).await.failure(413);
    post(&router, "/call/detail", &[], " ".repeat(HTTP_BODY_BYTES_MAX + 1)).await.failure(413);
    assert!(store.asked().is_empty());
}

#[tokio::test]
async fn what_belongs_to_a_connection_is_refused() {
    let Operated { store, router, .. } = admin("");
    for (path, body) in [("/call/watch", "{}"), ("/call/cancel", r#"{"request_id":1}"#)] {
        let message = post(&router, path, &[], body).await.failure(400);
        let name = path.trim_start_matches("/call/");
        assert!(message.starts_with(name) && message.contains("connection"), "{message}");
    }
    assert!(store.asked().is_empty());
    // `hello` is answered as by the other door, though nothing moves.
    post(&router, "/call/hello", &[], "{}").await;
    assert!(matches!(&store.asked()[..], [Command::Hello(_)]));
}

#[tokio::test]
async fn a_token_is_asked_for_where_there_is_one() {
    let Operated { store, router, .. } = admin("right\nread reader\n");
    for headers in [&[][..], &[("authorization", "Bearer wrong")], &[("x-user-id", "alice")]] {
        post(&router, "/call/ping", headers, "").await.failure(401);
        post(&router, "/call/nothing", headers, "").await.failure(401);
        send(&router, "GET", "/metrics", headers, "").await.failure(401);
    }
    assert!(store.asked().is_empty());
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(send(&router, "GET", path, &[], "").await.status, 200);
    }
    let right: Headers<'_> = &[("authorization", "Bearer right")];
    assert_eq!(post(&router, "/call/ping", right, "").await.status, 200);
    assert_eq!(send(&router, "GET", "/metrics", right, "").await.status, 200);
}

#[tokio::test]
async fn a_token_that_only_reads_changes_nothing() {
    let Operated { store, router, .. } = admin("right\nread reader\n");
    let reader: Headers<'_> = &[("authorization", "Bearer reader")];
    for kind in Kind::ALL {
        // Before the body is read: the right to run a command does not depend on its body.
        let answer = post(&router, &format!("/call/{}", kind.name()), reader, "[]").await;
        let expected = if kind.class() == Class::Read { 400 } else { 403 };
        assert_eq!(answer.status, expected, "{}", kind.name());
    }
    assert!(store.asked().is_empty());
    assert_eq!(post(&router, "/call/ping", reader, "").await.status, 200);
    assert_eq!(send(&router, "GET", "/metrics", reader, "").await.status, 200);
}

#[tokio::test]
async fn pages_of_other_sites_call_nothing() {
    let Operated { store, router, .. } = admin("");
    let own = [("host", "127.0.0.1:7790"), ("origin", "http://127.0.0.1:7790")];
    assert_eq!(post(&router, "/call/ping", &own, "").await.status, 200);
    // A page under its own name for this machine is refused by its host (see `security`).
    let foreign: [Headers<'_>; 3] = [
        &[("host", "127.0.0.1:7790"), ("origin", "https://evil.example")],
        &[("host", "127.0.0.1:7790"), ("origin", "null")],
        &[("origin", "http://127.0.0.1:7790")],
    ];
    for headers in foreign {
        assert!(post(&router, "/call/ping", headers, "").await.failure(403).contains("Origin"));
    }
    assert_eq!(store.asked().len(), 1);
}

#[tokio::test]
async fn health_and_readiness_are_two_things() {
    let Operated { router, trouble, .. } = admin("");
    let health = r#"{"code":200,"data":"ok","msg":""}"#;
    assert_eq!(send(&router, "GET", "/healthz", &[], "").await.body, health);
    assert_eq!(send(&router, "GET", "/readyz", &[], "").await.status, 200);
    *trouble.lock().unwrap() = Some("the log is poisoned");
    assert_eq!(send(&router, "GET", "/healthz", &[], "").await.body, health);
    let answer = send(&router, "GET", "/readyz", &[], "").await;
    assert_eq!(answer.failure(503), "the log is poisoned");
    let wrong = send(&router, "GET", "/readyz?stale_ms=0", &[], "").await;
    assert_eq!(wrong.failure(400), "stale_ms: must be 1 to 600000");
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let answer = send(&admin("").router, "GET", "/", &[], "").await;
    assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!answer.body.contains("http://") && !answer.body.contains("https://"));
    assert!(!answer.body.contains("innerHTML"));
}

#[tokio::test]
async fn metrics_are_whole_and_well_formed() {
    let Operated { router, .. } = admin("");
    post(&router, "/call/ping", &[], "").await;
    post(&router, "/call/list", &[], "{}").await;
    let accept = ("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    let answer = send(&router, "GET", "/metrics", &[accept], "").await;
    let content_type = answer.headers["content-type"].to_str().unwrap();
    assert!(content_type.starts_with("application/openmetrics-text; version=1.0.0"));
    let samples = samples(&answer.body);
    let value = |name: &str| {
        let found = samples.iter().find(|(sample, _)| sample == name);
        found.unwrap_or_else(|| panic!("no {name} in\n{}", answer.body)).1
    };
    let requests = |command: &str, status: &str| {
        format!(
            "chatshard_requests_total{{door=\"call\",command=\"{command}\",status=\"{status}\"}}"
        )
    };
    assert_eq!(value(&requests("ping", "200")), 1.0);
    assert_eq!(value(&requests("list", "400")), 1.0);
    assert_eq!(value("chatshard_chats"), 3.0);
    assert_eq!(value("chatshard_log_state{state=\"ok\"}"), 1.0);
    assert_eq!(value("chatshard_log_state{state=\"poisoned\"}"), 0.0);
    assert_eq!(value("chatshard_log_syncs_total"), 0.0);
    assert_eq!(value("chatshard_shard_commands_total{shard=\"1\"}"), 0.0);
    let last =
        "chatshard_request_duration_seconds_bucket{le=\"+Inf\",door=\"call\",command=\"ping\"}";
    assert_eq!(value(last), 1.0);
}

/// Each sample's name with its labels, and its value. Also checks the form of the text.
fn samples(text: &str) -> Vec<(String, f64)> {
    let body = text.strip_suffix("# EOF\n").expect("the end mark");
    let mut family = "";
    let mut samples = Vec::new();
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            family = comment.split(' ').nth(1).unwrap();
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(name.starts_with(family), "{line} under {family}");
        samples.push((name.to_owned(), value.parse().unwrap()));
    }
    samples
}
