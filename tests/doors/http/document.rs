//! The OpenAPI document describes what the routes do, and its page needs nothing from elsewhere.

use std::collections::BTreeSet;

use axum::response::Response;
use serde_json::{Map, Value};

use chatshard::command::ErrorCode;
use chatshard::limits::{CONVERSATIONS_PAGE, CONVERSATIONS_PAGE_MAX, IDS_MAX, SYNC_PAGE_MAX};

use super::*;

/// The routes that the document describes, each with a body that has every possible field.
const WHOLE: &[(&str, &str)] = &[
    ("/chat/mine-list", r#"{"limit":1,"cursor":"c"}"#),
    ("/chat/detail", r#"{"ids":["g_1"]}"#),
    ("/chat/delete", r#"{"ids":["g_1"],"up_to":7}"#),
    (
        "/chat/conversations",
        r#"{"limit":1,"cursor":"c","unread_only":false,"type":1,"hidden":1,"active_since":0}"#,
    ),
    ("/chat/sync", r#"{"since":{"log":"l","version":1},"limit":1}"#),
    ("/chat/unread", "{}"),
    ("/chat/read", r#"{"chat_id":"g_1","seq":7,"if_version":1}"#),
    (
        "/chat/flags",
        r#"{"chat_id":"g_1","is_top":1,"is_mute":1,"is_hide":1,"marked_unread":1,"if_version":1}"#,
    ),
    ("/chat/clear", r#"{"chat_id":"g_1","if_version":1}"#),
];

/// The other routes of the router, which do not belong to the API.
const BESIDE: &[&str] = &[
    "/docs",
    "/docs/",
    "/docs/docs.js",
    "/docs/swagger-ui-bundle.js",
    "/docs/swagger-ui.css",
    "/openapi.json",
];

async fn document() -> Value {
    let answer = send(&app(&Fake::examples()), "GET", "/openapi.json", &[], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    answer.json()
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
}

fn texts(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// The target of a schema's reference, or the schema itself.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let Some(place) = schema["$ref"].as_str() else {
        return schema;
    };
    let found = document.pointer(place.strip_prefix('#').unwrap());
    found.unwrap_or_else(|| panic!("{place} is nowhere"))
}

fn body_of<'a>(document: &'a Value, path: &str) -> &'a Value {
    let body = &document["paths"][path]["post"]["requestBody"];
    resolved(document, &body["content"]["application/json"]["schema"])
}

fn answer_of<'a>(document: &'a Value, path: &str, status: &str) -> &'a Value {
    let response = resolved(document, &document["paths"][path]["post"]["responses"][status]);
    let schema = &response["content"]["application/json"]["schema"];
    assert!(schema.is_object(), "{path} {status}");
    schema
}

/// Checks that `value` matches `schema` exactly: its type and its bounds. An object has the
/// described fields and no other, and lacks none that is required.
#[track_caller]
fn check(document: &Value, schema: &Value, value: &Value, place: &str) {
    if let Err(why) = fits(document, schema, value, place) {
        panic!("{why}");
    }
}

fn fits(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let schema = resolved(document, schema);
    let wrong = |why: &str| Err(format!("{place}: {why}: {value} is not as {schema}"));
    if let Some(either) = schema["oneOf"].as_array() {
        let fit = either.iter().filter(|one| fits(document, one, value, place).is_ok()).count();
        return if fit == 1 { Ok(()) } else { wrong("one of several") };
    }
    let types = match &schema["type"] {
        Value::String(one) => BTreeSet::from([one.clone()]),
        several => texts(several),
    };
    let own = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !types.contains(own) {
        return wrong("type");
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return wrong("not in the enum");
    }
    match value {
        Value::Number(number) => {
            let number = number.as_u64().ok_or("negative")?;
            let (min, max) = (schema["minimum"].as_u64(), schema["maximum"].as_u64());
            if min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max) {
                return wrong("range");
            }
        }
        Value::String(text) => {
            let length = text.chars().count() as u64;
            let (min, max) = (schema["minLength"].as_u64(), schema["maxLength"].as_u64());
            if min.is_some_and(|min| length < min) || max.is_some_and(|max| length > max) {
                return wrong("length");
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                fits(document, &schema["items"], item, &format!("{place}[{at}]"))?;
            }
        }
        Value::Object(fields) => {
            if !names(value).is_subset(&names(&schema["properties"])) {
                return wrong("fields");
            }
            if !names(value).is_superset(&texts(&schema["required"])) {
                return wrong("required");
            }
            for (name, value) in fields {
                let schema = &schema["properties"][name];
                fits(document, schema, value, &format!("{place}.{name}"))?;
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
    Ok(())
}

#[tokio::test]
async fn the_document_and_the_router_have_the_same_routes() {
    let document = document().await;
    assert_eq!(document["openapi"], "3.1.0");
    let documented = names(&document["paths"]);
    let expected: BTreeSet<String> = WHOLE.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(documented, expected);
    for path in &documented {
        assert_eq!(names(&document["paths"][path]), BTreeSet::from(["post".to_owned()]));
    }
    // A router has no list of its routes, but its `Debug` form names them all.
    let debug = format!("{:?}", app(&Fake::examples()));
    let served: BTreeSet<String> = debug
        .split('"')
        .filter(|text| text.starts_with('/') && text.len() > 1)
        .filter(|path| !path.contains("axum_fallback") && !BESIDE.contains(path))
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, served);
}

#[tokio::test]
async fn a_reply_has_the_described_fields_and_no_other() {
    let document = document().await;
    let router = app(&Fake::examples());
    // The same replies without the fields that may be absent.
    let sparse = Fake::new(|command| match command {
        Command::Conversations(_) => Ok(Reply::Conversations(ConversationsReply {
            next_cursor: None,
            ..conversations_reply()
        })),
        Command::Sync(_) => Ok(Reply::Sync(SyncReply { reason: None, ..sync_reply() })),
        _ => Err(Error::no_chat()),
    });
    let sparse = app(&sparse);
    for (path, body) in WHOLE {
        let answer = post(&router, path, ALICE, *body).await;
        let schema = answer_of(&document, path, "200");
        check(&document, schema, &answer.json(), path);
        if matches!(*path, "/chat/conversations" | "/chat/sync") {
            let answer = post(&sparse, path, ALICE, *body).await;
            check(&document, schema, &answer.json(), path);
        }
    }
}

/// Every described field is there, except the cursor of a list: only a page has one.
#[tokio::test]
async fn only_a_page_of_a_list_has_a_cursor() {
    let document = document().await;
    let mut optional = Vec::new();
    for (path, _) in WHOLE {
        let data = resolved(&document, &answer_of(&document, path, "200")["properties"]["data"]);
        let required = texts(&data["required"]);
        let absent = names(&data["properties"]).into_iter().filter(|name| !required.contains(name));
        optional.extend(absent.map(|name| (*path, name)));
    }
    assert_eq!(optional, [("/chat/mine-list", "next_cursor".to_owned())]);
    for (body, cursor) in [
        ("", None),
        (r#"{"limit":null,"cursor":null,"more":1}"#, None),
        (r#"{"limit":1}"#, Some(json!("c"))),
        (r#"{"cursor":"b"}"#, Some(json!("c"))),
    ] {
        let answer = post(&app(&Fake::examples()), "/chat/mine-list", ALICE, body).await;
        check(&document, answer_of(&document, "/chat/mine-list", "200"), &answer.json(), body);
        assert_eq!(answer.json()["data"].get("next_cursor"), cursor.as_ref(), "{body}");
    }
}

#[tokio::test]
async fn a_failure_is_as_described_and_only_of_the_described_kinds() {
    let document = document().await;
    for &code in ErrorCode::ALL {
        let store = Fake::new(move |_| Err(Error::new(code, "why")));
        let router = app(&store);
        for (path, body) in WHOLE {
            let answer = post(&router, path, ALICE, *body).await;
            let status = code.status().to_string();
            let told = &document["paths"][path]["post"]["responses"];
            // An error that only some commands have is described only for those.
            let of_a_row = matches!(*path, "/chat/read" | "/chat/flags" | "/chat/clear");
            let may = match code {
                ErrorCode::NotFound | ErrorCode::Gone => of_a_row,
                ErrorCode::Conflict => of_a_row || *path == "/chat/delete",
                // An app gets 503 in place of 421.
                ErrorCode::Disabled | ErrorCode::Moved => false,
                _ => true,
            };
            assert_eq!(told.get(&status).is_some(), may, "{path} {status}");
            if may {
                let failure = answer_of(&document, path, &status);
                check(&document, failure, &answer.json(), path);
                let response = resolved(&document, &told[&status]);
                let example = &response["content"]["application/json"]["example"];
                check(&document, failure, example, path);
                assert_eq!(example["code"], code.status());
            }
        }
    }
    for (path, _) in WHOLE {
        for status in ["408", "500"] {
            let failure = answer_of(&document, path, status);
            check(&document, failure, &json!({"code": 500, "data": null, "msg": "why"}), path);
        }
    }
}

#[tokio::test]
async fn every_described_field_of_a_body_is_read() {
    let document = document().await;
    let router = app(&Fake::examples());
    for (path, body) in WHOLE {
        let whole: Map<String, Value> = serde_json::from_str(body).unwrap();
        let schema = body_of(&document, path);
        assert_eq!(schema["type"], "object");
        assert_eq!(names(&schema["properties"]), whole.keys().cloned().collect(), "{path}");
        let passes_over = matches!(*path, "/chat/mine-list" | "/chat/detail" | "/chat/delete");
        assert_eq!(schema["additionalProperties"] == false, !passes_over, "{path}");
        let required = texts(&schema["required"]);
        for (name, value) in &whole {
            check(&document, &schema["properties"][name], value, name);
            // A value that no field takes: it is refused just where the field is read.
            let mut wrong = whole.clone();
            wrong.insert(name.clone(), json!(1.5));
            let message = post(&router, path, ALICE, json!(wrong).to_string()).await.failure(400);
            assert!(message.starts_with(&format!("{name}: ")), "{path} {name}: {message}");

            let mut without = whole.clone();
            without.remove(name);
            let status = post(&router, path, ALICE, json!(without).to_string()).await.status;
            let expected = if required.contains(name) { 400 } else { 200 };
            assert_eq!(status, expected, "{path} without {name}");

            let mut emptied = whole.clone();
            emptied.insert(name.clone(), Value::Null);
            let taken = post(&router, path, ALICE, json!(emptied).to_string()).await.status == 200;
            let nullable = fits(&document, &schema["properties"][name], &Value::Null, name);
            assert_eq!(taken, nullable.is_ok(), "{path} with {name} null");
        }
        let none = post(&router, path, ALICE, "").await.status;
        let needed = &document["paths"][path]["post"]["requestBody"]["required"];
        assert_eq!(none, if needed.as_bool().unwrap() { 400 } else { 200 }, "{path}");
        for example in schema["examples"].as_array().unwrap() {
            let answer = post(&router, path, ALICE, example.to_string()).await;
            assert_eq!(answer.status, 200, "{path}: {example}");
        }
    }
}

#[tokio::test]
async fn the_described_limits_are_the_program_s() {
    let document = document().await;
    for path in ["/chat/detail", "/chat/delete"] {
        assert_eq!(body_of(&document, path)["properties"]["ids"]["maxItems"], json!(IDS_MAX));
    }
    for (path, most, default) in [
        ("/chat/conversations", CONVERSATIONS_PAGE_MAX, CONVERSATIONS_PAGE),
        ("/chat/sync", SYNC_PAGE_MAX, SYNC_PAGE_MAX),
    ] {
        let limit = &body_of(&document, path)["properties"]["limit"];
        assert_eq!(limit["minimum"], 1, "{path}");
        assert_eq!(limit["maximum"], json!(most), "{path}");
        assert_eq!(limit["default"], json!(default), "{path}");
    }
}

#[tokio::test]
async fn values_are_described_as_they_are() {
    let document = document().await;
    let schemas = &document["components"]["schemas"];
    fn codes<T: serde::de::DeserializeOwned>() -> Value {
        (0..=255).filter(|&code: &u8| serde_json::from_value::<T>(json!(code)).is_ok()).collect()
    }
    assert_eq!(schemas["Flag"]["enum"], codes::<Flag>());
    assert_eq!(schemas["ChatType"]["enum"], codes::<ChatType>());
    assert_eq!(schemas["ChatStatus"]["enum"], codes::<ChatStatus>());
    let ops = [SyncOp::Upsert, SyncOp::Remove];
    assert_eq!(schemas["SyncOp"]["enum"], json!(ops));
    // A new op must be described too, and is added here.
    assert!(ops.iter().all(|op| match op {
        SyncOp::Upsert | SyncOp::Remove => true,
    }));
    for name in ["ChatId", "UserId"] {
        check(&document, &schemas[name], &json!("x".repeat(128)), name);
        for wrong in ["", &"x".repeat(129)] {
            assert!(fits(&document, &schemas[name], &json!(wrong), name).is_err());
        }
    }
    for name in ["Sequence", "TimeMs"] {
        check(&document, &schemas[name], &json!(9_007_199_254_740_991_u64), name);
        assert!(fits(&document, &schemas[name], &json!(9_007_199_254_740_992_u64), name).is_err());
    }
}

#[tokio::test]
async fn callers_and_keys_are_told() {
    let document = document().await;
    let schemes = &document["components"]["securitySchemes"];
    let gateway = &schemes["gateway"];
    assert_eq!((&gateway["type"], &gateway["in"]), (&json!("apiKey"), &json!("header")));
    assert_eq!(gateway["name"], "X-User-Id");
    let token = &schemes["token"];
    assert_eq!((&token["type"], &token["scheme"]), (&json!("http"), &json!("bearer")));
    assert_eq!(token["bearerFormat"], "JWT");
    assert_eq!(document["security"], json!([{"gateway": []}, {"token": []}]));
    for (path, _) in WHOLE {
        let changes =
            matches!(*path, "/chat/delete" | "/chat/read" | "/chat/flags" | "/chat/clear");
        let parameters = &document["paths"][path]["post"]["parameters"];
        assert_eq!(parameters.is_array(), changes, "{path}");
        if changes {
            let [key] = &parameters.as_array().unwrap()[..] else { panic!("{path}: {parameters}") };
            assert_eq!((&key["name"], &key["in"]), (&json!("Idempotency-Key"), &json!("header")));
            assert_eq!(key["required"], false);
            check(&document, &key["schema"], &json!("k"), path);
        }
    }
}

#[tokio::test]
async fn every_name_in_the_document_is_defined_and_used() {
    fn places(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").map(|place| place.as_str().unwrap().to_owned()));
                fields.values().for_each(|value| places(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| places(value, found)),
            _ => {}
        }
    }
    let document = document().await;
    let mut named = BTreeSet::new();
    places(&document, &mut named);
    let mut defined = BTreeSet::new();
    for family in ["schemas", "responses"] {
        let names = names(&document["components"][family]);
        defined.extend(names.iter().map(|name| format!("#/components/{family}/{name}")));
    }
    assert_eq!(named, defined);
}

// ---- the page ----

/// Sends a request without a user, and leaves the body as it is: it may be compressed.
async fn get(path: &str) -> Response {
    let request = Request::get(path).body(Body::empty()).unwrap();
    app(&Fake::examples()).oneshot(request).await.unwrap()
}

#[tokio::test]
async fn the_page_may_load_its_own_files_and_nothing_else() {
    let answer = send(&app(&Fake::examples()), "GET", "/docs", &[], "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers["x-frame-options"], "DENY");
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains('*'), "{policy}");
    assert!(!answer.body.contains("//"), "a place elsewhere");

    let links: Vec<&str> = ["src=\"", "href=\""]
        .iter()
        .flat_map(|link| answer.body.split(link).skip(1))
        .map(|behind| behind.split('"').next().unwrap())
        .filter(|link| !link.starts_with("data:"))
        .collect();
    assert_eq!(links.len(), 4, "{links:?}");
    for link in links {
        assert!(!link.starts_with('/'), "{link} would not stand below another path");
        let file = get(&format!("/{link}")).await;
        assert_eq!(file.status(), 200, "{link}");
        let expected = match link.rsplit('.').next().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "application/json",
        };
        assert_eq!(file.headers()["content-type"], expected, "{link}");
        let compressed = file.headers().contains_key("content-encoding");
        let bytes = axum::body::to_bytes(file.into_body(), usize::MAX).await.unwrap();
        assert_eq!(bytes.starts_with(&[0x1f, 0x8b]), compressed, "{link}: gzip as labelled");
        assert!(!bytes.is_empty());
    }
}

#[tokio::test]
async fn the_admin_listener_tells_the_same_of_routes_that_are_elsewhere() {
    let router = docs_router(DocsDoor::Admin);
    let mut there = send(&router, "GET", "/openapi.json", &[], "").await.json();
    let mut here = document().await;
    assert_eq!(here["servers"][0]["url"], ".");
    assert_eq!(there["servers"][0]["url"], "{door}");
    assert!(there["servers"][0]["variables"]["door"]["default"].is_string());
    (here["servers"], there["servers"]) = (Value::Null, Value::Null);
    assert_eq!(here, there);
    // The page has no button that would send requests to the wrong door.
    for (router, methods) in [(router, "[]"), (app(&Fake::examples()), r#"["get", "post"]"#)] {
        let script = send(&router, "GET", "/docs/docs.js", &[], "").await.body;
        assert!(script.contains(&format!("supportedSubmitMethods: {methods},")), "{script}");
    }
}

#[tokio::test]
async fn what_is_no_page_is_told_in_the_envelope() {
    let router = app(&Fake::examples());
    for path in ["/docs/x", "/docs/index.html", "/docs/../docs.js", "/openapi.yaml"] {
        send(&router, "GET", path, &[], "").await.failure(404);
    }
    for path in BESIDE {
        let answer = post(&router, path, ALICE, "{}").await;
        answer.failure(405);
        assert_eq!(answer.headers["allow"], "GET,HEAD");
    }
    let moved = get("/docs/").await;
    assert_eq!(
        (moved.status().as_u16(), &moved.headers()["location"]),
        (308, &"../docs".parse().unwrap())
    );
}
