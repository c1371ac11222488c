//! The schema of the protocol, `docs/reference/protocol.json`: it is that of the code, and agrees
//! with `protocol.md`, with the vectors, and with the checks of arguments.

use chatshard::command::schema::{Field, Protocol};
use chatshard::command::{Command, ErrorCode, Kind};
use chatshard::limits::{REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use serde_json::{Map, Value, json};

use super::protocol_examples::{section, table};
use crate::common::vectors::{Vector, all, asked};

const FILE: &str = include_str!("../../docs/reference/protocol.json");

#[test]
fn the_file_is_the_schema_of_this_build() {
    let mut text = serde_json::to_string_pretty(&Protocol::of_this_build()).unwrap();
    text.push('\n');
    assert!(text == FILE, "run: cargo run -- schema >docs/reference/protocol.json");
}

#[test]
fn every_type_of_the_schema_is_known() {
    let protocol = Protocol::of_this_build();
    let is_known = |field: &Field| {
        let name = field.value_type.trim_matches(['[', ']']);
        protocol.types.iter().any(|known| known.name == name)
            || protocol.records.iter().any(|known| known.name == name)
    };
    for command in &protocol.commands {
        for field in command.arguments.iter().chain(command.reply.iter().flatten()) {
            assert!(is_known(field), "{}: {field:?}", command.name);
            assert!(!field.about.is_empty(), "{}: {field:?}", command.name);
        }
        assert!(!command.about.is_empty(), "{}", command.name);
    }
    for record in &protocol.records {
        for field in &record.fields {
            assert!(is_known(field), "{}: {field:?}", record.name);
            assert!(!field.about.is_empty(), "{}: {field:?}", record.name);
        }
    }
}

/// The value of these fields as JSON, from what the wire has in their places.
fn object(protocol: &Protocol, fields: &[Field], array: &Value) -> Value {
    let array = array.as_array().unwrap();
    let values = fields.iter().zip(array);
    let object: Map<String, Value> = values
        .map(|(field, wire)| (field.name.clone(), value(protocol, &field.value_type, wire)))
        .collect();
    Value::Object(object)
}

fn value(protocol: &Protocol, value_type: &str, wire: &Value) -> Value {
    if wire.is_null() {
        return Value::Null;
    }
    if let Some(item) = value_type.strip_prefix('[') {
        let item = item.trim_end_matches(']');
        return wire.as_array().unwrap().iter().map(|wire| value(protocol, item, wire)).collect();
    }
    match protocol.records.iter().find(|record| record.name == value_type) {
        Some(record) => object(protocol, &record.fields, wire),
        None => wire.clone(),
    }
}

/// What the wire has in this place of `[id, command or status, body]`.
fn part(vector: &Vector, bytes_max: usize, at: usize) -> Value {
    let payload: Value = rmp_serde::from_slice(&vector.payload(bytes_max)).unwrap();
    payload.as_array().unwrap()[at].clone()
}

/// JSON without what it says twice, and without arguments that are not given.
fn plain(mut json: Value) -> Value {
    match &mut json {
        Value::Object(fields) => {
            let is_row = fields.len() == 8 && fields.contains_key("is_show");
            fields.retain(|name, value| !(value.is_null() || is_row && name == "id"));
            for value in fields.values_mut() {
                *value = plain(value.take());
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = plain(item.take());
            }
        }
        _ => {}
    }
    json
}

#[test]
fn the_schema_alone_decodes_every_vector() {
    let protocol = Protocol::of_this_build();
    let mut decoded = 0;
    for vector in all() {
        let Some(command) = protocol.commands.iter().find(|known| known.name == vector.name) else {
            continue;
        };
        let (shown, meant) = if vector.is_request {
            let arguments = part(&vector, REQUEST_BYTES_MAX, 2);
            (object(&protocol, &command.arguments, &arguments), vector.json.clone())
        } else if vector.json["status"] == 200 {
            let body = part(&vector, REPLY_BYTES_MAX, 2);
            let shown = match &command.reply {
                Some(fields) => object(&protocol, fields, &body),
                None => body,
            };
            (shown, vector.json["body"].clone())
        } else {
            continue;
        };
        assert_eq!(plain(shown), plain(meant), "{}", vector.place);
        decoded += 1;
    }
    assert!(decoded > 2 * Kind::ALL.len(), "{decoded} vectors");
}

#[test]
fn the_page_has_the_types_of_the_schema() {
    let protocol = Protocol::of_this_build();
    let written = |heading: &str| -> Vec<Vec<String>> {
        let rows = table(section(heading), &["#", "name", "type"]);
        rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect()
    };
    let type_of = |field: &Field| match field.value_type.as_str() {
        "bits64" => "u64".to_owned(),
        other => other.to_owned(),
    };
    for command in &protocol.commands {
        let mut real = Vec::new();
        for field in &command.arguments {
            real.push((field.name.clone(), type_of(field), field.required, false));
        }
        for field in command.reply.iter().flatten() {
            let or_nil = if field.nullable { " or nil" } else { "" };
            real.push((field.name.clone(), type_of(field) + or_nil, false, true));
        }
        let shown = written(&format!("### `{}`", command.name));
        let shown = shown
            .iter()
            .map(|row| (row[1].clone(), row[2].clone(), row[3] == "required", row[3] == "reply"));
        assert_eq!(shown.collect::<Vec<_>>(), real, "{}", command.name);
    }
    for record in protocol.records.iter().filter(|record| record.name != "limits") {
        let shown = written(&format!("### Record `{}`", record.name));
        let shown =
            shown.iter().map(|row| (row[1].clone(), row[2].trim_end_matches(" or nil").to_owned()));
        let real = record.fields.iter().map(|field| (field.name.clone(), type_of(field)));
        assert_eq!(shown.collect::<Vec<_>>(), real.collect::<Vec<_>>(), "{}", record.name);
    }
}

/// The argument with the value at a bound.
fn at_bound(field: &Field, bound: u64) -> Value {
    let texts = |prefix: &str| -> Value {
        (0..bound).map(|number| json!(format!("{prefix}{number}"))).collect()
    };
    match field.value_type.as_str() {
        "text" => json!("x".repeat(usize::try_from(bound).unwrap())),
        "[id]" => texts("i"),
        "[read_item]" => {
            (0..bound).map(|number| json!({"chat_id": format!("c{number}"), "seq": 0})).collect()
        }
        "[compared_digest]" => {
            (0..bound).map(|number| json!({"lsn": number, "own": 1, "active": 1})).collect()
        }
        "[chat_line]" => (0..bound)
            .map(|number| json!({"id": format!("c{number}"), "creator_id": "u", "type": 2}))
            .collect(),
        "[member_line]" => (0..bound)
            .map(|number| json!({"user_id": format!("u{number}"), "chat_id": "c"}))
            .collect(),
        _ => json!(bound),
    }
}

#[test]
fn the_bounds_of_the_schema_are_those_of_the_checks() {
    let protocol = Protocol::of_this_build();
    let requests = asked();
    let mut bounds = 0;
    for command in &protocol.commands {
        let kind = Kind::from_name(command.name).unwrap();
        for field in &command.arguments {
            let Some((min, max)) = field.min.zip(field.max) else { continue };
            bounds += 1;
            let request =
                requests.iter().find(|vector| vector.is_request && vector.name == command.name);
            let base = request.unwrap_or_else(|| panic!("{} has no request", command.name));
            let with = |bound: u64| {
                let mut arguments = base.json.clone();
                let given = arguments.as_object_mut().unwrap();
                given.insert(field.name.clone(), at_bound(field, bound));
                // What excludes the argument, or would have to fit to it.
                for (name, value) in [("allocate", Value::Null), ("to", Value::Null)] {
                    if command.name == "advance" && field.name != name {
                        given.insert(name.to_owned(), value);
                    }
                }
                if command.name == "create" {
                    given.insert("type".to_owned(), json!(2));
                }
                if command.name == "import" {
                    let other = if field.name == "chats" { "members" } else { "chats" };
                    given.insert(other.to_owned(), json!([]));
                }
                Command::from_json(kind, arguments).map(drop).map_err(|error| error.code)
            };
            let place = format!("{} {}", command.name, field.name);
            assert_eq!(with(max), Ok(()), "{place}: {max}");
            assert_eq!(with(min), Ok(()), "{place}: {min}");
            let is_refused = |bound: u64| {
                matches!(with(bound), Err(ErrorCode::InvalidArgument | ErrorCode::TooLarge))
            };
            assert!(is_refused(max + 1), "{place}: {max} is no bound");
            assert!(min == 0 || is_refused(min - 1), "{place}: {min} is no bound");
        }
    }
    assert!(bounds > 20, "{bounds} bounds");
}
