//! `protocol.md` and the vectors of the protocol agree with the code: the vectors are decoded and
//! encoded again, and the page's examples and tables are compared with them and with the types.
//!
//! If a vector no longer has the bytes that the code writes, the failure shows the hex of both.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::BytesMut;
use chatshard::command::error::Moved;
use chatshard::command::hello::{Limits, PROTOCOL_VERSION};
use chatshard::command::{Class, Command, Error, ErrorCode, KeyOwner, Kind, Outcome, Reply};
use chatshard::limits::{REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use chatshard::protocol::{
    self, DecodedReply, decode_reply, decode_request, encode_reply, encode_request,
};
use chatshard::types::{KeyHasher, ShardCount};

use crate::common::vectors::{Case, Vector, all, asked, conversation, hex, vectors};

/// The text of the page.
const PAGE: &str = include_str!("../../protocol.md");

fn assert_encodes_as(vector: &Vector, encoded: &[u8]) {
    let plain = |bytes: &[u8]| hex(bytes).replace(' ', "");
    assert_eq!(plain(encoded), plain(&vector.bytes), "{}: left is the code's", vector.place);
}

fn decode(vector: &Vector) -> DecodedReply {
    // An error has the same form for every command.
    let kind = Kind::from_name(&vector.name).unwrap_or(Kind::Ping);
    decode_reply(&vector.payload(REPLY_BYTES_MAX), |_| Some(kind))
        .unwrap_or_else(|error| panic!("{}: {error}", vector.place))
}

/// The outcome that a vector has in JSON, as the codec has it.
fn outcome(vector: &Vector, decoded: &Outcome) -> Outcome {
    let body = &vector.json["body"];
    let status = u16::try_from(vector.json["status"].as_u64().unwrap()).unwrap();
    if status == protocol::reply::STATUS_OK {
        let reply = Reply::deserialize_body(vector.kind(), body.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", vector.place));
        // No field of the JSON is unknown, and none is missing.
        if let Ok(decoded) = decoded {
            assert_eq!(&serde_json::to_value(decoded).unwrap(), body, "{}", vector.place);
        }
        return Ok(reply);
    }
    let (name, message) = (body["error"].as_str().unwrap(), body["message"].as_str().unwrap());
    Err(match ErrorCode::from_status(status) {
        Some(code) => {
            assert_eq!(name, code.name(), "{}", vector.place);
            let moved = body["address"].as_str().map(|address| {
                let epoch = body["epoch"].as_u64().unwrap();
                Box::new(Moved { address: address.to_owned(), epoch })
            });
            Error { moved, ..Error::new(code, message.to_owned()) }
        }
        None if status < 500 => Error::invalid(format!("{status} {name}: {message}")),
        None => Error::outcome_unknown(&format!("{status} {name}: {message}")),
    })
}

#[test]
fn every_request_means_what_it_says() {
    for vector in all().iter().filter(|vector| vector.is_request) {
        let request = decode_request(&vector.payload(REQUEST_BYTES_MAX))
            .unwrap_or_else(|refused| panic!("{}: {refused}", vector.place));
        let meant = Command::from_json(vector.kind(), vector.json.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", vector.place));
        assert_eq!((request.id, &request.command), (vector.id, &meant), "{}", vector.place);
        let mut encoded = BytesMut::new();
        encode_request(request.id, &meant, &mut encoded).unwrap();
        assert_encodes_as(vector, &encoded);
    }
}

#[test]
fn every_reply_means_what_it_says() {
    for vector in all().iter().filter(|vector| !vector.is_request) {
        let answer = decode(vector);
        assert_eq!(answer.id, vector.id, "{}", vector.place);
        assert_eq!(answer.outcome, outcome(vector, &answer.outcome), "{}", vector.place);
        let status = vector.json["status"].as_u64().unwrap();
        let is_known =
            status == 200 || ErrorCode::ALL.iter().any(|c| u64::from(c.status()) == status);
        if is_known {
            let mut encoded = BytesMut::new();
            encode_reply(answer.id, &answer.outcome, &mut encoded);
            assert_encodes_as(vector, &encoded);
        }
    }
}

/// A client reads what a newer server adds, and integers, texts and arrays of any width.
#[test]
fn every_other_form_is_read() {
    let forms: Vec<Vector> = vectors().forms.iter().map(Case::to_reply).collect();
    assert!(!forms.is_empty());
    for vector in forms {
        let answer = decode(&vector);
        assert_eq!(answer.id, vector.id, "{}", vector.place);
        assert_eq!(answer.outcome, outcome(&vector, &answer.outcome), "{}", vector.place);
        let mut encoded = BytesMut::new();
        encode_reply(answer.id, &answer.outcome, &mut encoded);
        assert_ne!(hex(&encoded), hex(&vector.bytes), "{}: no other form", vector.place);
    }
}

#[test]
fn every_command_error_and_event_has_a_vector() {
    let has = |of: &dyn Fn(&Vector) -> bool| all().iter().any(|v| !v.is_request && of(v));
    for kind in Kind::ALL {
        let is_its = |v: &Vector| v.name == kind.name() && v.json["status"] == 200;
        assert!(has(&is_its), "{} has no vector", kind.name());
    }
    for code in ErrorCode::ALL {
        assert!(has(&|v| v.json["status"] == code.status()), "{} has no vector", code.name());
    }
    let ops = table(section("### `watch`"), &["op", "what happened"]);
    assert!(!ops.is_empty());
    for row in ops {
        assert!(has(&|v| v.json["body"]["op"] == row[0]), "the event {} has no vector", row[0]);
    }
}

#[test]
fn the_file_is_of_this_protocol() {
    let file = vectors();
    assert_eq!(file.protocol, PROTOCOL_VERSION);
    let parts = [&file.conversation, &file.members, &file.errors, &file.events, &file.forms];
    let mut names = HashSet::new();
    for case in parts.into_iter().flatten() {
        assert!(names.insert(&case.name), "two cases are named {:?}", case.name);
    }
}

#[test]
fn the_conversation_has_each_reply_behind_its_request() {
    let conversation = conversation();
    let mut last_id = 0;
    for pair in conversation.chunks(2) {
        let [request, reply] = pair else { panic!("{}: no reply", pair[0].place) };
        assert!(request.is_request && !reply.is_request, "{}", request.place);
        assert_eq!((request.id, reply.id), (last_id + 1, last_id + 1), "{}", reply.place);
        last_id = reply.id;
    }
    assert_eq!(conversation[0].name, "hello", "hello comes first");
}

/// The blocks of bytes on the page: the words behind `hex`, and the lines.
fn page_examples() -> Vec<(&'static str, Vec<&'static str>)> {
    let blocks = PAGE.split("\n```hex ").skip(1);
    blocks
        .map(|block| {
            let (words, rest) = block.split_once('\n').unwrap();
            let (lines, _) = rest.split_once("\n```").unwrap();
            (words, lines.lines().filter(|line| !line.starts_with('#')).collect())
        })
        .collect()
}

fn bytes_of(line: &str) -> Vec<u8> {
    let hex = line.split('#').next().unwrap().split_whitespace();
    hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_examples_of_the_page_are_vectors() {
    let known: Vec<(String, Vec<u8>)> = all()
        .into_iter()
        .map(|vector| {
            let direction = if vector.is_request { "request" } else { "reply" };
            (format!("{direction} {}", vector.name), vector.bytes)
        })
        .collect();
    let examples = page_examples();
    assert_eq!(examples.len(), 10, "ten frames; the others are in the file");
    for (words, lines) in examples {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| bytes_of(line)).collect();
        let is_it = |(known, other): &(String, Vec<u8>)| {
            words.starts_with(known.as_str()) && *other == bytes
        };
        assert!(known.iter().any(is_it), "{words}: {} is no vector", hex(&bytes));
    }
}

/// The bytes that a comment of an example promises.
fn promised(comment: &str) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(length) = comment.strip_prefix("frame length ") {
        out.extend(length.parse::<u32>().unwrap().to_be_bytes());
    } else if let Some((_, length)) = comment.split_once("array of ") {
        rmp::encode::write_array_len(&mut out, length.parse().unwrap()).unwrap();
    } else if ["request", "reply"].contains(&comment) {
        rmp::encode::write_array_len(&mut out, 3).unwrap();
    } else if comment == "body: error" {
        rmp::encode::write_array_len(&mut out, 2).unwrap();
    } else {
        let (_, value) = comment.split_once(": ").unwrap();
        match value {
            "nil" => rmp::encode::write_nil(&mut out).unwrap(),
            "true" | "false" => rmp::encode::write_bool(&mut out, value == "true").unwrap(),
            text if text.starts_with('"') => {
                rmp::encode::write_str(&mut out, text.trim_matches('"')).unwrap();
            }
            number => {
                let number = number.split(", ").next().unwrap();
                _ = rmp::encode::write_uint(&mut out, number.parse().unwrap()).unwrap();
            }
        }
    }
    out
}

#[test]
fn the_comments_of_examples_say_what_their_bytes_are() {
    for (words, lines) in page_examples() {
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            let mut bytes = bytes_of(line);
            while let Some(more) = lines.next_if(|line| !line.contains('#')) {
                bytes.extend(bytes_of(more));
            }
            let comment = line.split_once("# ").unwrap().1.trim();
            assert_eq!(hex(&bytes), hex(&promised(comment)), "{words}: {comment}");
        }
    }
}

/// The cells of the rows of every table whose head is `| head... |`, without backquotes.
pub fn table<'a>(text: &'a str, head: &[&str]) -> Vec<Vec<&'a str>> {
    let cells = |line: &'a str| -> Vec<&'a str> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()
    };
    let mut rows = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('|') && cells(line).starts_with(head) {
            rows.extend(lines.by_ref().take_while(|line| line.starts_with('|')).skip(1).map(cells));
        }
    }
    rows
}

/// The part of the page below this heading, up to the next heading of any level.
pub fn section(heading: &str) -> &'static str {
    let start = PAGE
        .find(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("the page has no {heading:?}"));
    let text = &PAGE[start + heading.len() + 2..];
    &text[..text.find("\n#").unwrap_or(text.len())]
}

#[test]
fn the_table_of_commands_is_complete() {
    let written: Vec<(u8, &str, &str)> = table(section("## Commands"), &["code", "name"])
        .iter()
        .map(|row| {
            let name = row[1].trim_start_matches("[`").split('`').next().unwrap();
            (row[0].parse().unwrap(), name, row[2])
        })
        .collect();
    let real: Vec<(u8, &str, &str)> = Kind::ALL
        .iter()
        .map(|kind| {
            let class = match kind.class() {
                Class::Read => "read",
                Class::Write => "write",
                Class::Operate => "operate",
            };
            (kind.code(), kind.name(), class)
        })
        .collect();
    assert_eq!(written, real);
    // The first sentence of a section is its row in the table, and ends on its line: the manual of
    // `call` shows it.
    for (row, (code, name, class)) in table(section("## Commands"), &["code"]).iter().zip(real) {
        let opening = format!("\nCode {code}, {class}. {}.", row[3]).replace('`', "");
        let text = section(&format!("### `{name}`")).replace('`', "");
        assert!(text.starts_with(&opening), "{name}: {opening}");
    }
}

#[test]
fn every_write_says_its_errors_effect_and_repeat() {
    for kind in Kind::ALL {
        let text = section(&format!("### `{}`", kind.name()));
        let parts = ["\n- Errors: ", "\n- Effect: ", "\n- Repeat: "].map(|part| text.find(part));
        if kind.class() == Class::Write {
            assert!(parts.is_sorted() && parts[0].is_some(), "{}: {parts:?}", kind.name());
        }
        let Some(from) = parts[0] else { continue };
        let errors = text[from..].split("\n- Effect: ").next().unwrap();
        let words = errors.split([' ', '.', '\n']);
        let numbers = words.filter(|word| word.len() == 3).filter_map(|word| word.parse().ok());
        for status in numbers {
            assert!(ErrorCode::from_status(status).is_some(), "{}: {status}", kind.name());
        }
    }
}

#[test]
fn the_table_of_errors_is_complete() {
    let written: HashSet<(String, String)> = table(section("## Errors"), &["status", "error"])
        .iter()
        .map(|row| (row[0].to_owned(), row[1].to_owned()))
        .collect();
    let real: HashSet<(String, String)> = ErrorCode::ALL
        .iter()
        .map(|code| (code.status().to_string(), code.name().to_owned()))
        .collect();
    assert_eq!(written, real);
}

/// The limits in the reply to `hello`: the constant of `src/limits.rs`, and the field.
const TOLD: &[(&str, &str)] = &[
    ("REQUEST_BYTES_MAX", "request_bytes"),
    ("REPLY_BYTES_MAX", "reply_bytes"),
    ("IDS_MAX", "ids"),
    ("USERS_MAX", "users"),
    ("IMPORT_LINES_MAX", "import_lines"),
    ("IN_FLIGHT_MAX", "in_flight"),
    ("ID_BYTES_MAX", "id_bytes"),
    ("IDLE_TIMEOUT_MS", "idle_ms"),
    ("IDEMPOTENCY_WINDOW_MS", "idempotency_ms"),
    ("IDEMPOTENCY_KEYS_MAX", "idempotency_keys"),
    ("USER_REMOVALS_MAX", "tombstones"),
    ("HELLO_BYTES_MAX", "hello_bytes"),
    ("TEXT_BYTES_MAX", "text_bytes"),
    ("NESTING_MAX", "nesting"),
    ("INTEGER_MAX", "integer_max"),
    ("IMPORT_COUNTER_MAX", "import_counter_max"),
    ("ADVANCE_AHEAD_MAX", "advance_ahead"),
    ("TIME_AHEAD_MS_MAX", "time_ahead_ms"),
    ("EXPORT_LINES_MAX", "export_lines"),
    ("MEMBERS_PAGE_MAX", "members_page"),
    ("SYNC_PAGE_MAX", "sync_page"),
    ("CONVERSATIONS_PAGE_MAX", "conversations_page"),
    ("IN_FLIGHT_BYTES_MAX", "in_flight_bytes"),
    ("LARGE_IN_FLIGHT_MAX", "large_in_flight"),
    ("SMALL_REPLY_ITEMS", "small_reply_items"),
    ("UNSENT_BYTES_MAX", "unsent_bytes"),
    ("WATCHES_MAX", "watches"),
    ("GREETING_TIMEOUT_MS", "greeting_ms"),
    ("FRAME_TIMEOUT_MS", "frame_ms"),
    ("WRITE_TIMEOUT_MS", "write_ms"),
    ("HEARTBEAT_MS", "heartbeat_ms"),
    ("IDEMPOTENCY_ANSWER_BYTES", "idempotency_answer_bytes"),
    ("CONNECTIONS_MAX", "connections"),
    ("STALE_MS_MAX", "stale_ms"),
];

/// The other limits, with the reason why `hello` does not report them.
const NOT_TOLD: &[(&str, &[&str])] = &[
    ("the reply is cut, with no error", &["CONVERSATIONS_PAGE", "DIFFERENCES_MAX"]),
    ("`hello` tells it beside the limits", &["SLOTS"]),
    (
        "all clients of the node share it, and none can keep below it: 429",
        &[
            "CROSS_CORE_MAX",
            "INCOMPLETE_BYTES_MAX",
            "INCOMPLETE_BYTES_FREE",
            "LOG_QUEUE_BYTES_MAX",
            "TCP_UNSENT_BYTES_MAX",
            "TCP_UNSENT_BYTES_FREE",
            "STRANGERS_MAX",
            "STRANGERS_MIN",
            "GREETING_MS_MIN",
            "EVICTION_MS_MIN",
            "BUDGET_BYTES_MIN",
        ],
    ),
    (
        "only clients of HTTP meet it, which get no `hello`",
        &[
            "HTTP_BODY_BYTES_MAX",
            "HTTP_UNSENT_BYTES_MAX",
            "HTTP_UNSENT_BYTES_FREE",
            "HTTP_READS_MAX",
            "PROGRESS_BYTES",
            "COMPRESSED_BYTES_MIN",
        ],
    ),
    (
        "a client that it meets is told to `reset`, with no error",
        &["REMOVALS_MAX", "ROWS_PER_REMOVAL", "IDLE_USER_WEIGHT"],
    ),
    (
        "the offset that is too old is in the error; the files of the log keep more",
        &["WATCH_RING_BYTES", "WATCH_PAGE_BYTES", "WATCH_PAGE_HELD_BYTES", "WATCH_RETRY_MS"],
    ),
    (
        "a client that is ahead of a standby gets 421 and goes to the active",
        &["LAG_WAIT_MS", "LAG_WAITS_MAX"],
    ),
    (
        "of the disk: no client meets it",
        &["COUNTER_MAX", "SNAPSHOT_BLOCK_BYTES", "CHUNK_ENTRIES_MAX"],
    ),
    (
        "of the journal: no client meets it",
        &[
            "JOURNAL_BACKLOG_BYTES_MAX",
            "JOURNAL_ENTRY_BYTES_MAX",
            "JOURNAL_ENTRY_BYTES_MIN",
            "JOURNAL_TEXT_BYTES_MAX",
            "JOURNAL_LOOK_ENTRIES",
            "JOURNAL_READ_ENTRIES",
            "JOURNAL_FORMAT",
            "PROBED_FORMAT",
            "COMPARED_DIGESTS_MAX",
        ],
    ),
    (
        "a slice of work: no client meets it",
        &[
            "SCAN_ROWS",
            "LOOK_ROWS",
            "IMPORT_SLICE",
            "SCAN_ROWS_AT_ONCE",
            "USERS_A_SCAN",
            "DELIVERY_SLICE",
        ],
    ),
];

/// A constant in neither list is one that was forgotten.
#[test]
fn hello_tells_every_limit_that_a_client_can_meet() {
    let source = include_str!("../../src/limits.rs");
    let constants: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "))
        .map(|line| line.split(':').next().unwrap())
        .collect();
    let told = TOLD.iter().map(|(constant, _)| *constant);
    let not_told = NOT_TOLD.iter().flat_map(|(_, constants)| constants.iter().copied());
    let listed: Vec<&str> = told.chain(not_told).collect();
    assert_eq!(constants, listed.iter().copied().collect(), "left is src/limits.rs");
    assert_eq!(constants.len(), listed.len(), "none is in both lists");
    let limits = serde_json::to_value(Limits::of_this_build()).unwrap();
    let fields: BTreeSet<&str> = limits.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, TOLD.iter().map(|(_, field)| *field).collect(), "left is `Limits`");
    // Each field has the value of its own constant.
    let code = include_str!("../../src/command/hello.rs");
    for (constant, field) in TOLD {
        let line = code.lines().map(str::trim).find(|line| {
            line.strip_prefix(field)
                .is_some_and(|rest| rest.starts_with(": ") && rest.contains("limits::"))
        });
        let line = line.unwrap_or_else(|| panic!("{field} has no value"));
        let is_its_own = |word: &str| word == *constant;
        assert!(line.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(is_its_own), "{line}");
    }
}

/// A limit that an older server does not report is 0; the others are read.
#[test]
fn limits_of_an_older_server_are_read() {
    let mut limits = serde_json::to_value(Limits::of_this_build()).unwrap();
    limits.as_object_mut().unwrap().remove("watches");
    let older: Limits = serde_json::from_value(limits).unwrap();
    assert_eq!(older, Limits { watches: 0, ..Limits::of_this_build() });
}

#[test]
fn the_table_of_limits_is_this_builds() {
    let limits = serde_json::to_string(&Limits::of_this_build()).unwrap();
    let written: Vec<String> = table(section("## Limits"), &["#", "name", "type", "value"])
        .iter()
        .map(|row| format!("\"{}\":{}", row[1], row[3]))
        .collect();
    assert_eq!(limits, format!("{{{}}}", written.join(",")));
}

#[test]
fn slots_of_keys_are_those_of_the_code() {
    let shards = ShardCount::new(4).unwrap();
    let slots = vectors().slots;
    assert!(!slots.is_empty());
    let mut rows = Vec::new();
    for known in &slots {
        let hasher = KeyHasher::new(known.seed);
        let slot = hasher.slot(&known.key);
        let hash = format!("{:016x}", hasher.hash(&known.key));
        let real = (hash.as_str(), slot.get(), slot.shard(shards).0);
        assert_eq!((known.hash.as_str(), known.slot, known.shard_of_4), real, "{}", known.key);
        rows.push(vec![
            known.key.clone(),
            known.seed.to_string(),
            hash,
            known.slot.to_string(),
            known.shard_of_4.to_string(),
        ]);
    }
    let on_the_page = table(section("## Which shard"), &["key", "seed"]);
    assert!(!on_the_page.is_empty());
    for row in on_the_page {
        assert!(rows.iter().any(|known| *known == row), "{row:?} is no vector");
    }
}

/// Names in the order in which a JSON text has them at the top level of its object.
fn top_level_names(json: &str) -> Vec<String> {
    let mut names = Vec::new();
    let (mut depth, mut in_string, mut start) = (0, false, 0);
    for (index, character) in json.char_indices() {
        match character {
            '"' => {
                in_string = !in_string;
                if in_string {
                    start = index + 1;
                } else if depth == 1 && json[index + 1..].starts_with(':') {
                    names.push(json[start..index].to_owned());
                }
            }
            '{' | '[' if !in_string => depth += 1,
            '}' | ']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    names
}

/// The names in the second column of those rows of a field table whose fourth column `is_wanted`.
/// Their first column counts from 1.
fn fields_where(text: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut rows = table(text, &["#", "name", "type"]);
    rows.retain(|row| is_wanted(row[3]));
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row[0], (index + 1).to_string(), "{row:?}");
    }
    rows.iter().map(|row| row[1].to_owned()).collect()
}

fn fields(text: &str) -> Vec<String> {
    fields_where(text, |_| true)
}

/// A command's arguments as JSON, in their order.
fn arguments_json(command: &Command) -> String {
    let mut json = Vec::new();
    command.serialize_arguments(&mut serde_json::Serializer::new(&mut json)).unwrap();
    String::from_utf8(json).unwrap()
}

#[test]
fn every_field_is_listed_in_its_position() {
    for vector in asked() {
        let section = section(&format!("### `{}`", vector.name));
        let (written, json) = if vector.is_request {
            let command = Command::from_json(vector.kind(), vector.json.clone()).unwrap();
            (fields_where(section, |need| need != "reply"), arguments_json(&command))
        } else {
            let Ok(body) = decode(&vector).outcome else { continue };
            (fields_where(section, |need| need == "reply"), serde_json::to_string(&body).unwrap())
        };
        assert_eq!(top_level_names(&json), written, "{}: {}", vector.name, vector.place);
    }
}

/// A command either changes nothing when it comes again, or takes a key.
#[test]
fn every_write_takes_a_key_and_says_what_a_repeat_does() {
    for kind in Kind::ALL {
        let section = section(&format!("### `{}`", kind.name()));
        let arguments = fields_where(section, |need| need != "reply");
        let has = |name: &str| arguments.iter().any(|field| field == name);
        let is_write = kind.class() == Class::Write;
        assert_eq!(has("idempotency_key"), is_write, "{}", kind.name());
        assert_eq!(section.contains("\n- Repeat: "), is_write, "{}", kind.name());
        let owner = match (is_write, has("user_id"), has("chat_id")) {
            (false, ..) => KeyOwner::NoKey,
            (true, true, _) => KeyOwner::User,
            (true, false, true) => KeyOwner::Chat,
            (true, false, false) if has("members") => KeyOwner::EachChat,
            (true, false, false) => KeyOwner::ChatOrNode,
        };
        assert_eq!(kind.key_owner(), owner, "{}", kind.name());
    }
}

#[test]
fn every_record_lists_its_fields_in_their_position() {
    // Where a vector of each record is found: the command, and the field of its reply.
    let in_replies: HashMap<&str, (&str, &str)> = HashMap::from([
        ("row", ("set_flags", "row")),
        ("chat", ("detail", "items")),
        ("cluster_member", ("cluster", "members")),
        ("member", ("members", "items")),
        ("conversation", ("conversations", "items")),
        ("unread_item", ("unread", "items")),
        ("read_result", ("mark_read_many", "items")),
        ("sync_item", ("sync", "items")),
        ("explain_floors", ("explain", "floors")),
        ("chat_line", ("export", "chats")),
        ("member_line", ("export", "members")),
        ("limits", ("hello", "limits")),
        ("log_stats", ("stats", "log")),
        ("snapshot_stats", ("stats", "snapshot")),
        ("shard_stats", ("stats", "shards")),
    ]);
    // The same for those that only requests have.
    let in_requests: HashMap<&str, (&str, &str)> = HashMap::from([
        ("since", ("sync", "since")),
        ("read_item", ("mark_read_many", "items")),
        ("compared_digest", ("report", "digests")),
    ]);
    // The record `limits` has its fields in the section of the limits.
    let records = PAGE.matches("\n### Record `").count() + 1;
    assert_eq!(records, in_replies.len() + in_requests.len());
    let asked = asked();
    let find = |is_request: bool, name: &str, field: &str| {
        let of_the_command = |v: &&Vector| v.is_request == is_request && v.name == name;
        let has_the_field = |v: &&Vector| match is_request {
            true => !v.json[field].is_null(),
            false => v.json["status"] == 200,
        };
        asked.iter().filter(of_the_command).find(has_the_field).unwrap()
    };
    let replies = in_replies.into_iter().map(|(record, (name, field))| {
        let body = decode(find(false, name, field)).outcome.unwrap();
        (record, field, serde_json::to_string(&body).unwrap())
    });
    let requests = in_requests.into_iter().map(|(record, (name, field))| {
        let vector = find(true, name, field);
        let command = decode_request(&vector.payload(REQUEST_BYTES_MAX)).unwrap().command;
        (record, field, arguments_json(&command))
    });
    for (record, field, json) in replies.chain(requests) {
        let start = json.find(&format!("\"{field}\":")).unwrap() + field.len() + 3;
        let object = &json[start..];
        let object = &object[object.find('{').unwrap()..=object.find('}').unwrap()];
        let mut names = top_level_names(object);
        if record == "row" {
            assert_eq!(names.remove(0), "id", "JSON alone has the id twice");
        }
        let heading = match record {
            "limits" => "## Limits".to_owned(),
            record => format!("### Record `{record}`"),
        };
        assert_eq!(names, fields(section(&heading)), "{record}");
    }
}

#[test]
fn the_version_is_the_codes() {
    assert!(PAGE.starts_with(&format!("# The chatshard protocol, version {}\n", PROTOCOL_VERSION)));
}
