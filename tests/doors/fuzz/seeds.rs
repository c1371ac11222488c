//! The first inputs of fuzzing: vectors of the protocol, golden files, and inputs of each form.

use bytes::BytesMut;
use chatshard::command::{Command, Kind};
use chatshard::config::settings::SETTINGS;
use chatshard::protocol::encode_request;
use serde_json::{Value, json};

use super::targets::bytes::of_pieces;
use super::targets::http::{SECRET, TOKEN};
use crate::common::golden::{RECORDS_1, RECORDS_2, RECORDS_3, SNAPSHOT_1, SNAPSHOT_2, SNAPSHOT_3};
use crate::common::vectors::{Vector, all};

/// The seeds of a target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    match target {
        "frame" => frames(),
        "request" => payloads(true).map(|(_, payload)| payload).collect(),
        "reply" => replies(),
        "fast_path" => stories(),
        "http" => http(),
        "records" => [RECORDS_1, RECORDS_2, RECORDS_3].map(records).into(),
        "snapshot" => {
            [SNAPSHOT_1, SNAPSHOT_2, SNAPSHOT_3].map(|text| of_pieces(&lines_of_hex(text))).into()
        }
        "files" => edits(),
        "config" => configs(),
        "lines" => lines(),
        other => panic!("no seeds for {other}"),
    }
}

/// Names and payloads of the vectors: of requests or of replies.
fn payloads(is_request: bool) -> impl Iterator<Item = (String, Vec<u8>)> {
    let chosen = all().into_iter().filter(move |vector| vector.is_request == is_request);
    chosen.map(|vector: Vector| (vector.name.clone(), vector.payload(usize::MAX)))
}

fn frames() -> Vec<Vec<u8>> {
    let frames: Vec<Vec<u8>> = all().into_iter().map(|vector| vector.bytes).collect();
    let streams = frames.chunks(4).take(4).map(<[_]>::concat);
    [[255, 1], [64, 5], [16, 200]]
        .iter()
        .flat_map(|head| streams.clone().map(move |stream| [&head[..], &stream].concat()))
        .collect()
}

fn replies() -> Vec<Vec<u8>> {
    let kind = |name: &str| Kind::from_name(name).map_or(0, Kind::index);
    payloads(false)
        .map(|(name, payload)| [&[u8::try_from(kind(&name)).unwrap()], &payload[..]].concat())
        .collect()
}

/// The requests of the vectors one after the other, and a story of requests on the fast path.
fn stories() -> Vec<Vec<u8>> {
    let requests = all().into_iter().filter(|vector| vector.is_request);
    let document = requests.map(|vector| vector.bytes).collect::<Vec<_>>().concat();
    let row = |more: Value| {
        let mut row = json!({"user_id": "a", "chat_id": "g"});
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    let story = [
        ("create", json!({"id": "g", "type": 2, "creator_id": "a", "user_ids": ["a", "b"]})),
        ("create", json!({"id": "h", "type": 3, "creator_id": "b", "user_ids": ["a"]})),
        ("advance", json!({"chat_id": "g", "allocate": 5, "sender_id": "b"})),
        ("advance", json!({"chat_id": "g", "to": 7, "time": 70})),
        ("list", json!({"user_id": "a"})),
        ("detail", json!({"ids": ["g", "h", "none"], "user_id": "a"})),
        ("mark_read", row(json!({"seq": 6}))),
        ("mark_read", row(json!({"seq": 9}))),
        ("set_flags", row(json!({"is_top": 1, "marked_unread": 1}))),
        ("delete", json!({"user_id": "a", "ids": ["g"]})),
        ("list", json!({"user_id": "a"})),
        ("advance", json!({"chat_id": "g", "allocate": 1})),
        ("mark_read", row(json!({"seq": 8}))),
        ("set_status", json!({"chat_id": "g", "status": 2})),
        ("advance", json!({"chat_id": "g", "allocate": 1})),
        ("dissolve", json!({"chat_id": "h"})),
        ("detail", json!({"ids": ["h", "g"]})),
        ("list", json!({"user_id": "a"})),
    ];
    vec![
        document,
        story.into_iter().flat_map(|(name, arguments)| request(name, arguments)).collect(),
    ]
}

fn request(name: &str, arguments: Value) -> BytesMut {
    let command = Command::from_json(Kind::from_name(name).unwrap(), arguments).unwrap();
    let mut out = BytesMut::new();
    encode_request(7, &command, &mut out).unwrap();
    out
}

/// Every route and every command, at the doors that have them.
fn http() -> Vec<Vec<u8>> {
    let routes = [
        ("mine-list", "{}"),
        ("detail", r#"{"ids":["g","s"]}"#),
        ("delete", r#"{"ids":["g"],"up_to":5}"#),
        ("conversations", r#"{"limit":1,"filter":"unread"}"#),
        ("sync", r#"{"since":{"log":"0","version":0}}"#),
        ("unread", ""),
        ("read", r#"{"chat_id":"g","seq":5,"if_version":1}"#),
        ("flags", r#"{"chat_id":"g","is_top":1,"is_mute":0,"marked_unread":1}"#),
        ("clear", r#"{"chat_id":"g"}"#),
    ];
    let jwt = user_token();
    let mut inputs = Vec::new();
    for (route, body) in routes {
        let path = format!("/chat/{route}");
        inputs.push(post(0, &path, "X-User-Id: ann\r\nIdempotency-Key: k\r\n", body));
        inputs.push(post(1, &path, &format!("Authorization: Bearer {jwt}\r\n"), body));
    }
    for vector in all().into_iter().filter(|vector| vector.is_request) {
        let path = format!("/call/{}", vector.name);
        inputs.push(post(2, &path, "", &vector.json.to_string()));
    }
    inputs.push(post(3, "/call/ping", &format!("Authorization: Bearer {TOKEN}\r\n"), ""));
    let page = |door: u8, path: &str, more: &str| {
        [&[door], format!("GET {path} HTTP/1.1\r\nHost: a\r\n{more}\r\n").as_bytes()].concat()
    };
    inputs.push(page(2, "/metrics", ""));
    inputs.push(page(2, "/readyz", "Connection: close\r\n"));
    inputs.push(page(0, "/openapi.json", "Origin: https://app.example\r\n"));
    let chunked = "POST /chat/detail HTTP/1.1\r\nHost: a\r\nX-User-Id: ann\r\n\
                   Transfer-Encoding: chunked\r\n\r\n6\r\n{\"ids\"\r\n5\r\n:[]} \r\n0\r\n\r\n";
    inputs.push([&[0], chunked.as_bytes(), chunked.as_bytes()].concat());
    inputs
}

fn post(door: u8, path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    [&[door], text.as_bytes()].concat()
}

fn user_token() -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let claims = json!({"sub": "ann", "exp": 9_000_000_000_u64});
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

fn lines_of_hex(text: &str) -> Vec<Vec<u8>> {
    let bytes = |line: &str| {
        line.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    };
    text.lines().map(bytes).collect()
}

/// Records without the sequences of their slots.
fn records(text: &str) -> Vec<u8> {
    let records = lines_of_hex(text);
    of_pieces(
        &records.iter().map(|record| [&record[..2], &record[10..]].concat()).collect::<Vec<_>>(),
    )
}

/// Each kind of edit in each file, sealed and not.
fn edits() -> Vec<Vec<u8>> {
    let mut inputs = vec![vec![0], vec![1], vec![7], vec![0b11_1110]];
    for what in [0b1, 0b11_0110, 0b1111] {
        for code in 0..7 {
            for file in 0..3 {
                let mut input = vec![what, code, file, 0, 50 + code, 20, b'x'];
                if code == 6 {
                    let name = b"image-00000000000000000009-0000000001.img";
                    input.splice(5.., [&[u8::try_from(name.len()).unwrap()], &name[..]].concat());
                }
                inputs.push([&input[..], &[7, file]].concat());
                inputs.push(input);
            }
        }
    }
    inputs
}

fn configs() -> Vec<Vec<u8>> {
    let line = |(name, value): &(&str, &str)| format!("{name} = \"{value}\"\n");
    let all: String = SETTINGS.iter().map(line).collect();
    let jwks = r#"{"keys":[{"kty":"oct","kid":"a","k":"aHVzaC1odXNoLWh1c2gtaHVzaC1odXNoLWh1c2gtaHVzaC0"}]}"#;
    let with_secrets = "http_auth = \"jwt\"\njwt_secret_file = \"DIR/secret\"\n\
                        token_file = \"DIR/tokens\"\njwt_audience = \"a, b\"\n";
    let tokens = "# of the backend\nhush-0123456789abcdef\nread hush-456789abcdef0123\n";
    let secret = "hush-0123456789abcdef0123456789abcdef";
    let open = "listen = \"0.0.0.0:1\"\nhttp = \"unix:DIR/http\"\nadmin = \"off\"\nshards = 3\n\
                log = false\npin = false\ncors_origins = \"https://a.example\"\n";
    let input = |pieces: &[&str]| of_pieces(pieces);
    vec![
        input(&[&all]),
        input(&[with_secrets, tokens, secret, ""]),
        input(&["http_auth = \"jwt\"\njwt_jwks_file = \"DIR/keys\"\n", "", "", jwks]),
        input(&[open, tokens, "", "", "CHATSHARD_TOKEN_FILE=DIR/tokens", "CHATSHARD_FSYNC=never"]),
        input(&[
            open,
            "",
            "",
            "",
            "CHATSHARD_LISTEN=[::1]:0",
            "CHATSHARD_LOG_LEVEL=info,a::b=trace",
        ]),
        input(&["", "", "", "", "CHATSHARD_SNAPSHOT_INTERVAL_S=0", "CHATSHARD_SOCKET_MODE=0660"]),
    ]
}

fn lines() -> Vec<Vec<u8>> {
    let few = r#"{"chat":{"id":"g","type":2,"creator_id":"a"}}
{"member":{"user_id":"a","chat_id":"g"}}
"#;
    let full = r#"{"chat":{"id":"g","creator_id":"a","type":2,"status":2,"is_enc":1,"last_sequence":9,"last_time":99,"created_at":5,"version":4,"dissolved":0,"request_digest":"00000000000000ff"}}

{"chat":{"id":"old","creator_id":"a","type":3,"dissolved":1}}
{"member":{"user_id":"a","chat_id":"g","id":"g","is_top":1,"is_mute":1,"is_show":0,"is_hide":1,"max_read_seq":3,"last_online_time":9,"join_seq":2,"deleted_to_seq":4,"sent_seq":5,"marked_unread":1,"join_order":7,"version":8}}
{"member":{"user_id":"b","chat_id":"g","is_show":0}}
{"member":{"user_id":"b","chat_id":"gone","version":3,"removed":1}}
"#;
    let single = r#"{"chat":{"id":"s","type":1,"creator_id":"a","last_sequence":9007199254740991}}
{"member":{"user_id":"a","chat_id":"s","join_order":9007199254740991,"version":9007199254740991}}
{"member":{"user_id":"b","chat_id":"s","join_seq":9007199254740991}}"#;
    let texts =
        [few.to_owned(), full.to_owned(), single.to_owned(), few.repeat(2), format!("{few}{full}")];
    texts.iter().flat_map(|text| [0, 1].map(|merge| [&[merge], text.as_bytes()].concat())).collect()
}
