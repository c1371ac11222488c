//! Clients of every kept release are served: their request frames are sent as they were recorded,
//! and today's replies must mean to them what the recorded replies meant.
//!
//! A set is the file of vectors of its release, in `tests/golden/clients`. It is bytes, and never
//! written again. Nothing here uses today's encoder. A client passes over fields that came later at
//! the end of a record, and nothing else may change.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use chatshard::command::Kind;
use chatshard::protocol::decode_reply;
use serde_json::Value;

use crate::common::TestServer;

/// The sets, each with the name of its release.
fn sets() -> Vec<(String, Value)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clients");
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let sets = paths.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    sets.map(|path| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&fs::read(&path).unwrap()).unwrap())
    })
    .collect()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The payload of a frame as a value: an array of id, code or status, and body.
fn payload(frame: &[u8]) -> Value {
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
    assert_eq!(usize::try_from(length).unwrap(), frame.len() - 4);
    rmp_serde::from_slice(&frame[4..]).unwrap()
}

/// The connection of an old client.
struct Old {
    stream: TcpStream,
    /// The set's name of the change log, and that of this server.
    log: Option<(String, String)>,
}

impl Old {
    fn connect(server: &TestServer) -> Self {
        let stream = TcpStream::connect(server.tcp()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Self { stream, log: None }
    }

    /// Sends a recorded frame. Only the name of the change log becomes that of this server.
    fn send(&mut self, frame: &[u8]) {
        let text = rmp_serde::from_slice::<Value>(&frame[4..]).unwrap().to_string();
        match &self.log {
            Some((kept, own)) if text.contains(kept.as_str()) => {
                let request: Value = serde_json::from_str(&text.replace(kept, own)).unwrap();
                let payload = rmp_serde::to_vec(&request).unwrap();
                let length = u32::try_from(payload.len()).unwrap();
                self.stream.write_all(&[&length.to_be_bytes(), &payload[..]].concat()).unwrap();
            }
            _ => self.stream.write_all(frame).unwrap(),
        }
    }

    /// The next reply to this request. Events of a watch before it are passed over.
    fn reply(&mut self, id: &Value) -> Value {
        loop {
            let mut frame = vec![0; 4];
            self.stream.read_exact(&mut frame).unwrap();
            let length = u32::from_be_bytes(frame[..].try_into().unwrap());
            frame.resize(4 + usize::try_from(length).unwrap(), 0);
            self.stream.read_exact(&mut frame[4..]).unwrap();
            let reply = payload(&frame);
            if &reply[0] == id {
                return reply;
            }
        }
    }
}

/// What must be equal besides the shape, as the vector says.
#[derive(Clone, Copy)]
struct Equal {
    texts: bool,
    figures: bool,
    /// Whether nil may be in the place of a value.
    nils: bool,
}

impl Equal {
    fn of(case: &Value) -> Self {
        match case["compare"].as_str() {
            None | Some("exact") => Self { texts: true, figures: true, nils: false },
            Some("texts" | "message") => Self { texts: false, figures: true, nils: false },
            Some("fields") => Self { texts: false, figures: false, nils: false },
            Some(other) => panic!("{other}"),
        }
    }
}

/// Why a client that knows the kept value misunderstands today's one. `None` if it does not.
fn misunderstood(kept: &Value, now: &Value, equal: Equal) -> Option<String> {
    let differs = |is_same: bool| (!is_same).then(|| format!("{now} instead of {kept}"));
    match (kept, now) {
        (Value::Array(kept), Value::Array(now)) => {
            // How many records a list has is a figure, and so is whether one has an optional value.
            // A record has fields that are no arrays.
            let is_list = !equal.figures && kept.iter().all(Value::is_array);
            if kept.len() > now.len() && !is_list {
                return Some(format!("{} fields instead of {}", now.len(), kept.len()));
            }
            let equal = Equal { nils: equal.nils || is_list, ..equal };
            let mut pairs = kept.iter().zip(now).enumerate();
            pairs.find_map(|(place, (kept, now))| {
                misunderstood(kept, now, equal).map(|why| format!("{place}: {why}"))
            })
        }
        (Value::String(_), Value::String(_)) => differs(kept == now || !equal.texts),
        (Value::Number(_), Value::Number(_)) => differs(kept == now || !equal.figures),
        (Value::Bool(_), Value::Bool(_)) => differs(kept == now || !equal.figures),
        (Value::Null, _) if !equal.figures => None,
        (_, Value::Null) if equal.nils => None,
        _ => differs(kept == now),
    }
}

#[test]
fn a_client_of_each_kept_release_is_served() {
    for (release, set) in sets() {
        let server = TestServer::start(&[("shards", "2")]);
        let mut client = Old::connect(&server);
        let conversation = set["conversation"].as_array().unwrap();
        assert!(conversation.len() > 30, "{release}");
        for case in conversation {
            let place = format!("{release}: {}", case["name"]);
            client.send(&bytes(&case["request"]));
            let (kept, now) = (payload(&bytes(&case["reply"])), client.reply(&case["request_id"]));
            assert_eq!(kept[1], now[1], "{place}: the status");
            let is_error = kept[1] != 200;
            assert!(!is_error || kept[2][0] == now[2][0], "{place}: the name of the error");
            let why = misunderstood(&kept[2], &now[2], Equal::of(case));
            assert_eq!(why, None, "{place}");
            if case["command"] == "sync" && client.log.is_none() {
                let log = |reply: &Value| reply[2][0].as_str().unwrap().to_owned();
                client.log = Some((log(&kept), log(&now)));
            }
        }
        server.stop();
    }
}

#[test]
fn replies_of_each_kept_release_are_read() {
    for (release, set) in sets() {
        for case in ["conversation", "errors", "events", "forms"].map(|part| &set[part]) {
            for case in case.as_array().unwrap() {
                let place = format!("{release}: {}", case["name"]);
                let kind = case["command"].as_str().map(|name| Kind::from_name(name).unwrap());
                let frame = bytes(&case["reply"]);
                let reply = decode_reply(&frame[4..], |_| kind);
                let reply = reply.unwrap_or_else(|error| panic!("{place}: {error}"));
                assert_eq!(Value::from(reply.id), case["request_id"], "{place}");
                assert_eq!(reply.outcome.is_ok(), case["status"] == 200, "{place}");
            }
        }
    }
}

#[test]
fn a_reply_that_lost_moved_or_changed_a_field_is_misunderstood() {
    let equal = Equal { texts: true, figures: true, nils: false };
    let shape = Equal { texts: false, figures: false, nils: false };
    let check = |kept: &str, now: &str, equal: Equal| {
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        misunderstood(&value(kept), &value(now), equal).is_none()
    };
    assert!(check(r#"["g", [1, true]]"#, r#"["g", [1, true, 7], null]"#, equal));
    for now in [r#"["g"]"#, r#"[[1, true], "g"]"#, r#"["g", [true, 1]]"#, r#"["g", null]"#] {
        assert!(!check(r#"["g", [1, true]]"#, now, equal), "{now}");
        assert!(!check(r#"["g", [1, true]]"#, now, shape), "{now}");
    }
    assert!(!check("[1]", "[2]", equal) && check("[1]", "[2]", shape));
    assert!(!check(r#"["a"]"#, r#"["b"]"#, equal) && check(r#"["a"]"#, r#"["b"]"#, shape));
}

#[test]
fn every_release_with_a_directory_has_a_client() {
    let names: Vec<String> = sets().into_iter().map(|(name, _)| name).collect();
    let kept = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/directories"));
    for entry in kept.unwrap().map(Result::unwrap).filter(|entry| entry.path().is_dir()) {
        let name = entry.file_name().into_string().unwrap();
        // Two directories are older than the releases.
        let is_release = !name.starts_with("version-");
        assert!(!is_release || names.contains(&name), "{name} has a directory and no client");
    }
}
