//! One TCP connection and its limits, by protocol.md: `hello`, order, pipelining, wrong bytes.

mod order;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::common::raw::Raw;
use crate::common::{HttpConnection, TestServer};
use bytes::BytesMut;
use chatshard::command::{Command, ErrorCode, Kind, Outcome, Reply};
use chatshard::limits::{HELLO_BYTES_MAX, IN_FLIGHT_MAX, REQUEST_BYTES_MAX, SCAN_ROWS_AT_ONCE};
use chatshard::protocol;
use chatshard::types::{ChatId, KeyHasher, ShardCount};
use serde_json::json;

fn two_shards(settings: &[(&str, &str)]) -> TestServer {
    let mut all = vec![("shards", "2")];
    all.extend(settings);
    TestServer::start(&all)
}

/// A group of one user whose id is on this shard.
fn chat_on(shard: u16, hasher: KeyHasher) -> ChatId {
    (0..)
        .map(|number| ChatId::new(&format!("chat-{number}")).unwrap())
        .find(|id| hasher.slot(id.as_str()).shard(ShardCount::new(2).unwrap()).0 == shard)
        .unwrap()
}

fn long_ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{number:->100}")).collect()
}

fn hasher(raw: &mut Raw) -> KeyHasher {
    match raw.call(2, Kind::Hello, json!({})) {
        Ok(Reply::Hello(hello)) => KeyHasher::new(hello.hash_seed),
        other => panic!("{other:?}"),
    }
}

/// A frame with this payload.
fn framed(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&length.to_be_bytes()[..], payload].concat()
}

/// Sends bytes, and many requests behind them. The error with this `id` must arrive whole, and then
/// the end.
fn assert_bytes_refused(raw: &mut Raw, bytes: &[u8], id: u64, code: ErrorCode) {
    // Bytes that the server no longer reads must not destroy the reply.
    let behind = framed(&[0x93, 9, 2, 0x90]).repeat(20_000);
    raw.kinds.insert(id, Kind::Ping);
    raw.stream.write_all(&[bytes, &behind].concat()).unwrap();
    let (answered, outcome) = raw.receive().expect("an error before the end");
    assert_eq!((answered, outcome.unwrap_err().code), (id, code), "{bytes:x?}");
    assert!(raw.receive().is_none(), "the server closes after {bytes:x?}");
}

/// `[7, code, arguments]`, and other bytes in its place. Each is tried as the first frame.
#[test]
fn a_first_frame_that_is_no_hello_is_401_whatever_it_is() {
    let too_long = u32::try_from(HELLO_BYTES_MAX + 1).unwrap().to_be_bytes();
    let frames: &[(u64, Vec<u8>)] = &[
        // A ping; a list without arguments, with wrong ones, and cut off; no command; no array.
        (7, framed(&[0x93, 7, 2, 0x90])),
        (7, framed(&[0x93, 7, 16, 0x90])),
        (7, framed(&[0x93, 7, 16, 0x91, 7])),
        (7, framed(&[0x93, 7, 16, 0x91, 0xd9, 9])),
        (7, framed(&[0x93, 7, 200, 0x90])),
        (7, framed(&[0x93, 7, 0xa1, b'x', 0x90])),
        (7, framed(&[0x93, 7])),
        (0, framed(&[0x93, 0, 1, 0x90])),
        (0, framed(&[0x93])),
        (0, framed(&[0xc0])),
        (0, framed(&[0xc1])),
        (0, framed(b"hello")),
        (0, framed(&[0x83, 7, 1, 0x90])),
        (0, vec![0, 0, 0, 0]),
        (0, too_long.to_vec()),
        (0, vec![0xff; 4]),
        (0, b"SSH-2.0-x\r\n".to_vec()),
    ];
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "a-token-of-this-test\n").unwrap();
    for settings in [&[][..], &[("token_file", tokens.to_str().unwrap())]] {
        let server = two_shards(settings);
        for (id, bytes) in frames {
            let mut raw = Raw::open(server.tcp());
            assert_bytes_refused(&mut raw, bytes, *id, ErrorCode::Unauthenticated);
        }
        server.stop();
    }
}

/// Wrong arguments, one of a newer client, an age of 0, no such shard: as the first request, and
/// later.
#[test]
fn each_refused_hello_ends_its_connection() {
    let server = two_shards(&[]);
    let invalid = ErrorCode::InvalidArgument;
    let hellos = [
        vec![0x93, 7, 1, 0x91, 5],
        vec![0x93, 7, 1, 0x95, 0xc0, 0xc0, 0xc0, 0xc0, 1],
        vec![0x93, 7, 1, 0x94, 0xc0, 0xc0, 0xc0, 0],
        vec![0x93, 7, 1, 0x93, 0xc0, 0xc0, 2],
        vec![0x93, 7, 1, 0x80],
        vec![0x93, 7, 1],
    ];
    for hello in &hellos {
        let mut first = Raw::open(server.tcp());
        assert_bytes_refused(&mut first, &framed(hello), 7, invalid);
        let mut later = Raw::greeted(server.tcp());
        assert_bytes_refused(&mut later, &framed(hello), 7, invalid);
    }
    // Requests before it get their replies.
    let mut raw = Raw::greeted(server.tcp());
    let create = json!({"id": "g", "type": 2, "creator_id": "u", "user_ids": ["u"]});
    raw.send(&[(2, Kind::Create, create), (3, Kind::Hello, json!({"shard": 9}))]);
    let replies = raw.receive_all(2);
    assert!(replies[&2].is_ok(), "{replies:?}");
    assert_eq!(replies[&3].as_ref().unwrap_err().code, invalid);
    assert!(raw.receive().is_none());
    server.stop();
}

#[test]
fn a_token_is_asked_for_where_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, "a-token-of-this-test\n").unwrap();
    let server = two_shards(&[("token_file", tokens.to_str().unwrap())]);
    for hello in [json!({}), json!({"token": "another"})] {
        let mut raw = Raw::open(server.tcp());
        raw.send(&[(1, Kind::Hello, hello)]);
        raw.assert_refused(1, ErrorCode::Unauthenticated);
    }
    let mut raw = Raw::open(server.tcp());
    assert!(raw.call(1, Kind::Hello, json!({"token": "a-token-of-this-test"})).is_ok());
    assert!(raw.call(2, Kind::Ping, json!({})).is_ok());
    server.stop();
}

#[test]
fn hello_moves_the_connection_to_a_shard() {
    let server = two_shards(&[]);
    let mut raw = Raw::greeted(server.tcp());
    for round in 0..6u64 {
        let wanted = u16::try_from(round % 2).unwrap();
        // Requests behind the move in the same packet must arrive too.
        let (hello, ping) = (10 + 2 * round, 11 + 2 * round);
        raw.send(&[(hello, Kind::Hello, json!({"shard": wanted})), (ping, Kind::Ping, json!({}))]);
        let mut replies = raw.receive_all(2);
        match replies.remove(&hello) {
            Some(Ok(Reply::Hello(reply))) => assert_eq!(reply.shard, wanted),
            other => panic!("{other:?}"),
        }
        assert!(replies.remove(&ping).unwrap().is_ok());
    }
    server.stop();
}

/// Chapter 12 of the semantics: requests of one connection for one user are applied in order. That
/// holds for those that go by way of chats on the other shard, and while the log is slow.
#[test]
fn requests_for_one_user_keep_their_order() {
    for fsync in ["always", "never"] {
        let server = two_shards(&[("fsync", fsync)]);
        let mut raw = Raw::greeted(server.tcp());
        let hasher = hasher(&mut raw);
        let mut id = 100;
        let mut next = || {
            id += 1;
            id
        };
        for shard in [0, 1] {
            let chat = chat_on(shard, hasher);
            let create = json!({"id": chat, "type": 2, "creator_id": "u", "user_ids": ["u"]});
            assert!(raw.call(next(), Kind::Create, create).is_ok());
            for round in 1..=30u64 {
                let row = json!({"user_id": "u", "chat_id": chat});
                let ids: Vec<u64> = (0..8).map(|_| next()).collect();
                raw.send(&[
                    (ids[0], Kind::Advance, json!({"chat_id": chat, "allocate": 2})),
                    (
                        ids[1],
                        Kind::MarkRead,
                        json!({"user_id": "u", "chat_id": chat, "seq": 2 * round - 1}),
                    ),
                    (ids[2], Kind::List, json!({"user_id": "u"})),
                    (ids[3], Kind::Delete, json!({"user_id": "u", "ids": [chat]})),
                    (ids[4], Kind::List, json!({"user_id": "u"})),
                    (ids[5], Kind::Clear, row),
                    (ids[6], Kind::Detail, json!({"ids": [chat], "user_id": "u"})),
                    (ids[7], Kind::Advance, json!({"chat_id": chat, "to": 2 * round})),
                ]);
                let replies = raw.receive_all(8);
                let read = |id: u64| match &replies[&id] {
                    Ok(Reply::List(list)) => list
                        .items
                        .iter()
                        .find(|row| row.chat_id == chat)
                        .map(|row| row.max_read_seq.get()),
                    other => panic!("{other:?}"),
                };
                assert_eq!(read(ids[2]), Some(2 * round - 1), "the list sees the read before it");
                assert_eq!(read(ids[4]), None, "the list sees the delete before it");
                match &replies[&ids[6]] {
                    Ok(Reply::Detail(detail)) => {
                        assert_eq!(detail.items[0].last_read_sequence.get(), 2 * round);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        server.stop();
    }
}

/// Requests on the fast path for keys of the other core are passed on as bytes. Both cores give the
/// same replies: for short and long lists, for keys that exist or not, with a log and without.
#[test]
fn what_is_passed_on_is_answered_as_at_home() {
    for settings in [("fsync", "always"), ("fsync", "never"), ("log", "false")] {
        let server = two_shards(&[settings]);
        let mut cores: Vec<Raw> = (0..2).map(|_| Raw::greeted(server.tcp())).collect();
        for (shard, raw) in cores.iter_mut().enumerate() {
            assert!(raw.call(3, Kind::Hello, json!({"shard": shard})).is_ok());
        }
        // Users of both shards with few rows, and with more rows than one step reads.
        let chats: Vec<String> = (0..SCAN_ROWS_AT_ONCE + 22).map(|at| format!("g{at}")).collect();
        for (at, chat) in (10..).zip(&chats) {
            let mut users: Vec<String> = (0..4).map(|user| format!("many-{user}")).collect();
            users.extend((0..4).map(|user| format!("few-{user}")).filter(|_| at < 13));
            let create = json!({"id": chat, "type": 2, "creator_id": users[0], "user_ids": users});
            assert!(cores[0].call(at, Kind::Create, create).is_ok());
        }
        let list = |user: &str| (Kind::List, json!({"user_id": user}));
        let mut asked: Vec<_> = (0..4).map(|user| list(&format!("many-{user}"))).collect();
        asked.extend((0..4).map(|user| list(&format!("few-{user}"))));
        asked.push(list("nobody"));
        for chat in chats.iter().take(20).map(String::as_str).chain(["missing"]) {
            asked.push((Kind::Detail, json!({"ids": [chat]})));
            asked.push((Kind::Detail, json!({"ids": [chat], "user_id": "many-1"})));
            asked.push((Kind::Advance, json!({"chat_id": chat, "to": 7})));
        }
        asked.push((Kind::Advance, json!({"chat_id": "missing 2", "allocate": 1})));
        let requests: Vec<_> =
            (1000..).zip(asked).map(|(id, (kind, arguments))| (id, kind, arguments)).collect();
        // The first time, messages arrive and details change.
        cores[0].send(&requests);
        cores[0].receive_all(requests.len());
        let told = cores.iter_mut().map(|raw| {
            raw.send(&requests);
            raw.receive_all(requests.len())
        });
        let told: Vec<_> = told.collect();
        assert!(told[0] == told[1], "{:#?}\nfrom the other core {:#?}", told[0], told[1]);
        let rows = |at: u64| match &told[0][&(1000 + at)] {
            Ok(Reply::List(list)) => list.items.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!((0..9).map(rows).collect::<Vec<_>>(), [150, 150, 150, 150, 3, 3, 3, 3, 0]);
        let missing = told[0][&(1000 + requests.len() as u64 - 1)].as_ref().unwrap_err();
        assert_eq!(missing.code, ErrorCode::NotFound);
        for (to, raw) in (8..).zip(cores.iter_mut().chain([&mut Raw::greeted(server.tcp())])) {
            match raw.call(9000, Kind::Advance, json!({"chat_id": "g0", "allocate": 1})) {
                Ok(Reply::Advance(reply)) => assert_eq!(reply.last_sequence.get(), to),
                other => panic!("{other:?}"),
            }
        }
        server.stop();
    }
}

/// More requests than may be in flight, all sent before a reply is read: none is lost or refused.
#[test]
fn pipelining_past_the_limit_is_held_back_and_answered() {
    let server = two_shards(&[("fsync", "always")]);
    let mut raw = Raw::greeted(server.tcp());
    let create = json!({"id": "g", "type": 2, "creator_id": "u", "user_ids": ["u"]});
    assert!(raw.call(2, Kind::Create, create).is_ok());
    let count = 4 * IN_FLIGHT_MAX;
    let requests: Vec<_> = (0..count)
        .map(|at| {
            let id = 1000 + u64::try_from(at).unwrap();
            (id, Kind::Advance, json!({"chat_id": "g", "allocate": 1}))
        })
        .collect();
    raw.send(&requests);
    let mut handed_out: Vec<(u64, u64)> = raw
        .receive_all(count)
        .into_iter()
        .map(|(id, outcome)| match outcome {
            Ok(Reply::Advance(reply)) => (id, reply.last_sequence.get()),
            other => panic!("{other:?}"),
        })
        .collect();
    handed_out.sort_unstable();
    // In the order sent, each once.
    let expected: Vec<(u64, u64)> =
        (0..count).map(|at| u64::try_from(at).unwrap()).map(|at| (1000 + at, 1 + at)).collect();
    assert_eq!(handed_out, expected);
    server.stop();
}

/// Replies that fill the connection repeatedly, to requests that came at once. No later byte of the
/// client could wake the connection.
#[test]
fn large_replies_to_pipelined_requests_follow_each_other() {
    let server = two_shards(&[]);
    let mut raw = Raw::greeted(server.tcp());
    let users = long_ids(2000);
    let create = json!({"id": "g", "type": 2, "creator_id": "u", "user_ids": users});
    assert!(raw.call(2, Kind::Create, create).is_ok());
    // Shorter than the interval after which a connection checks its time limits, and so everything.
    raw.stream.set_read_timeout(Some(Duration::from_secs(12))).unwrap();
    let requests: Vec<_> =
        (100..250).map(|id| (id, Kind::Members, json!({"chat_id": "g"}))).collect();
    raw.send(&requests);
    let replies = raw.receive_all(requests.len());
    for outcome in replies.values() {
        match outcome {
            Ok(Reply::Members(members)) => assert_eq!(members.items.len(), 2000),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(replies.len(), requests.len());
    server.stop();
}

/// Large requests are decoded on the offload thread. Requests behind them on the connection still
/// get their replies in order.
#[test]
fn large_requests_keep_their_place() {
    let server = two_shards(&[]);
    let chats = |count: usize| -> Vec<_> {
        let chat = |id| json!({"id": id, "type": 2, "creator_id": "u"});
        long_ids(count).into_iter().map(chat).collect()
    };
    let first = chats(1)[0]["id"].clone();
    // An unknown command code in a request of a megabyte that is otherwise right.
    let mut unknown = BytesMut::new();
    let import = Command::from_json(Kind::Import, json!({"chats": chats(5000)})).unwrap();
    protocol::encode_request(4, &import, &mut unknown).unwrap();
    let code = unknown.iter().position(|&byte| byte == Kind::Import.code()).unwrap();
    unknown[code] = 0x7f;
    let mut raw = Raw::greeted(server.tcp());
    let users = long_ids(5000);
    let Ok(Reply::Import(taken)) = raw.call(2, Kind::Import, json!({"chats": chats(5000)})) else {
        panic!("no import")
    };
    assert_eq!(taken.chats, 5000);
    raw.kinds.insert(4, Kind::Import);
    raw.stream.write_all(&unknown).unwrap();
    raw.send(&[
        (5, Kind::AddMembers, json!({"chat_id": first, "user_ids": users})),
        (6, Kind::Members, json!({"chat_id": first, "limit": 1})),
        (7, Kind::Import, json!({"chats": chats(5000)})),
    ]);
    raw.stream.shutdown(Shutdown::Write).unwrap();
    let mut replies = raw.receive_all(4);
    let mut take = |id| replies.remove(&id).unwrap();
    assert_eq!(take(4).unwrap_err().code, ErrorCode::InvalidArgument);
    assert!(take(5).is_ok());
    let Ok(Reply::Members(members)) = take(6) else { panic!("no members") };
    assert_eq!(members.items.len(), 1, "it was asked behind those who were added");
    assert_eq!(take(7).unwrap_err().code, ErrorCode::Conflict);
    assert!(raw.receive().is_none());
    server.stop();
}

/// Both doors make a long list in slices or on the offload thread, each in its own way.
#[test]
fn a_long_list_is_the_same_at_both_doors() {
    let server = two_shards(&[]);
    let mut raw = Raw::greeted(server.tcp());
    let ids: Vec<String> = (0..3000).map(|number| format!("chat-{number}")).collect();
    let chats: Vec<_> =
        ids.iter().map(|id| json!({"id": id, "type": 2, "creator_id": "m"})).collect();
    let members: Vec<_> =
        ids.iter().map(|id| json!({"user_id": "u", "chat_id": id, "is_mute": 1})).collect();
    assert!(raw.call(2, Kind::Import, json!({"chats": chats, "members": members})).is_ok());
    let Ok(Reply::List(list)) = raw.call(3, Kind::List, json!({"user_id": "u"})) else {
        panic!("no list")
    };
    assert_eq!(list.items.len(), ids.len());
    let mut app = HttpConnection::open(server.http());
    let (status, body) = app.post_as("u", "/chat/mine-list", "");
    assert_eq!(status, 200);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    let shown = answer["data"]["items"].as_array().unwrap();
    let rows = shown.iter().map(|row| (row["chat_id"].as_str().unwrap(), row["is_mute"] == 1));
    assert!(rows.eq(list.items.iter().map(|row| (row.chat_id.as_str(), row.is_mute.0))));
    // Long bodies are decoded there too.
    let long = |body: &str| format!("{}{body}", " ".repeat(40 << 10));
    let (status, body) = app.post_as("u", "/chat/detail", &long(r#"{"ids": ["chat-7"]}"#));
    assert!(status == 200 && body.contains("chat-7"), "{status} {body}");
    let (status, _) = app.post_as("u", "/chat/mine-list", &long(r#"{"user_id": "v"}"#));
    assert_eq!(status, 403, "another's rows");
    assert_eq!(app.post_as("u", "/chat/detail", &long(r#"{"ids": 7}"#)).0, 400);
    drop(app);
    server.stop();
}

#[test]
fn a_large_request_of_nobody_ends_its_connection() {
    let server = two_shards(&[]);
    let mut raw = Raw::open(server.tcp());
    let users = long_ids(5000);
    raw.send(&[(9, Kind::AddMembers, json!({"chat_id": "g", "user_ids": users}))]);
    raw.assert_refused(0, ErrorCode::Unauthenticated);
    server.stop();
}

#[test]
fn an_error_of_a_request_ends_nothing() {
    let server = two_shards(&[]);
    let mut raw = Raw::greeted(server.tcp());
    // [5, 200, []]: no such command. [6, 16, [7]]: a list of user 7.
    for payload in [&[0x93, 5, 0xcc, 200, 0x90][..], &[0x93, 6, 16, 0x91, 7][..]] {
        let length = u32::try_from(payload.len()).unwrap();
        raw.stream.write_all(&length.to_be_bytes()).unwrap();
        raw.stream.write_all(payload).unwrap();
        raw.kinds.insert(u64::from(payload[1]), Kind::Ping);
        let (id, outcome) = raw.receive().unwrap();
        assert_eq!(
            (id, outcome.unwrap_err().code),
            (u64::from(payload[1]), ErrorCode::InvalidArgument)
        );
    }
    assert!(raw.call(9, Kind::Ping, json!({})).is_ok());
    server.stop();
}

#[test]
fn an_error_of_the_framing_is_told_and_ends_the_connection() {
    let server = two_shards(&[]);
    let too_large = u32::try_from(REQUEST_BYTES_MAX + 1).unwrap();
    for (header, code) in [
        (u32::MAX, ErrorCode::TooLarge),
        (too_large, ErrorCode::TooLarge),
        (0, ErrorCode::InvalidArgument),
    ] {
        let mut raw = Raw::greeted(server.tcp());
        raw.stream.write_all(&header.to_be_bytes()).unwrap();
        raw.assert_refused(0, code);
    }
    let mut other = Raw::greeted(server.tcp());
    assert!(other.call(2, Kind::Ping, json!({})).is_ok(), "others go on");
    server.stop();
}

#[test]
fn what_was_sent_before_a_half_close_is_answered() {
    let server = two_shards(&[("fsync", "always")]);
    let mut raw = Raw::greeted(server.tcp());
    raw.send(&[
        (2, Kind::Create, json!({"id": "g", "type": 2, "creator_id": "u", "user_ids": ["u"]})),
        (3, Kind::Advance, json!({"chat_id": "g", "allocate": 1})),
    ]);
    raw.stream.shutdown(Shutdown::Write).unwrap();
    let replies = raw.receive_all(2);
    assert!(replies.values().all(Result::is_ok), "{replies:?}");
    assert!(raw.receive().is_none());
    server.stop();
}

#[test]
fn one_connection_too_many_is_told_and_closed_and_makes_room_again() {
    let server = two_shards(&[("connections_max", "2")]);
    let first = Raw::greeted(server.tcp());
    let mut second = Raw::greeted(server.tcp());
    let mut third = Raw::open(server.tcp());
    third.assert_refused(0, ErrorCode::Busy);
    drop(first);
    // The server notices the end of the first connection within its next turn.
    let entered = (0..1000).any(|_| {
        let mut raw = Raw::open(server.tcp());
        let sent = raw.try_send(&[(1, Kind::Hello, json!({}))]).is_ok();
        let entered = sent && raw.receive().is_some_and(|(_, outcome)| outcome.is_ok());
        if !entered {
            std::thread::sleep(Duration::from_millis(5));
        }
        entered
    });
    assert!(entered, "a place that was left is free");
    assert!(second.call(2, Kind::Ping, json!({})).is_ok());
    drop(second);
    server.stop();
}

#[test]
fn one_http_connection_too_many_is_told_so() {
    let server = two_shards(&[("connections_max", "1")]);
    let mut first = HttpConnection::open(server.http());
    assert_eq!(first.post_as("u", "/chat/mine-list", "").0, 200);
    let mut second = TcpStream::connect(server.http()).unwrap();
    second.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut told = String::new();
    second.read_to_string(&mut told).unwrap();
    let (head, body) = told.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{told}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{told}");
    let answer: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&answer["code"], &answer["data"]), (&json!(429), &json!(null)));
    assert_eq!(first.post_as("u", "/chat/mine-list", "").0, 200, "who was there is served");
    drop(first);
    server.stop();
}

/// Sends a request with these arguments as bytes, and returns its outcome.
fn ask_in_bytes(raw: &mut Raw, kind: Kind, arguments: &[u8]) -> Outcome {
    raw.kinds.insert(7, kind);
    let payload = [&[0x93, 7, kind.code()][..], arguments].concat();
    raw.stream.write_all(&framed(&payload)).unwrap();
    let (id, outcome) = raw.receive().unwrap();
    assert_eq!(id, 7);
    outcome
}

/// protocol.md, "The same request": by TCP, by `/call`, and by the app's routes.
#[test]
fn the_same_request_is_the_same_through_every_door() {
    let server = two_shards(&[]);
    let mut raw = Raw::greeted(server.tcp());
    let group = json!({"id": "g", "type": 2, "creator_id": "u", "user_ids": ["u", "v"]});
    assert!(raw.call(2, Kind::Create, group).is_ok());
    // Each key's first request as positional arguments. Trailing ones are left out, absent ones are
    // nil, and some integers and texts have a wider form.
    let k = |name: &str| -> Vec<u8> { [&[0xa2][..], name.as_bytes()].concat() };
    let g = [0xa1, b'g'];
    let u = [0xa1, b'u'];
    let nil = [0xc0];
    let first: [(Kind, Vec<u8>); 4] = [
        // advance [g, nil, 2, nil, nil, nil, k1]
        (Kind::Advance, [&[0x97][..], &g, &nil, &[2], &nil, &nil, &nil, &k("k1")].concat()),
        // set_flags [u, g, 1, nil, nil, nil, k2, nil], the 1 in nine bytes, the g in three
        (
            Kind::SetFlags,
            [
                &[0x98][..],
                &u,
                &[0xd9, 1, b'g', 0xcf, 0, 0, 0, 0, 0, 0, 0, 1],
                &nil.repeat(3),
                &k("k2"),
                &nil,
            ]
            .concat(),
        ),
        // import [[], [[u, g, ...]], nil, k3]: a line of two fields
        (Kind::Import, [&[0x94, 0xc0, 0x91, 0x92, 0xa1, b'w'][..], &g, &nil, &k("k3")].concat()),
        // mark_read [u, g, 1, k4]
        (Kind::MarkRead, [&[0x94][..], &u, &g, &[1], &k("k4")].concat()),
    ];
    let told: Vec<serde_json::Value> = first
        .iter()
        .map(|(kind, arguments)| {
            let reply = ask_in_bytes(&mut raw, *kind, arguments).unwrap();
            assert_eq!(ask_in_bytes(&mut raw, *kind, arguments).as_ref(), Ok(&reply));
            serde_json::to_value(reply).unwrap()
        })
        .collect();
    // Other requests in between show whether a repeat applies anything.
    assert!(raw.call(3, Kind::Advance, json!({"chat_id": "g", "allocate": 5})).is_ok());
    let flags = json!({"user_id": "u", "chat_id": "g", "is_top": 0});
    assert!(raw.call(4, Kind::SetFlags, flags).is_ok());
    let mut admin = HttpConnection::open(server.admin());
    let same: [(usize, Kind, &str); 9] = [
        (0, Kind::Advance, r#"{"idempotency_key":"k1","allocate":2,"chat_id":"g"}"#),
        (
            0,
            Kind::Advance,
            r#"{"chat_id":"g","to":null,"allocate":2,"force":false,"idempotency_key":"k1"}"#,
        ),
        (
            0,
            Kind::Advance,
            r#"{"chat_id":"g","allocate":2,"if_version":null,"idempotency_key":"k1"}"#,
        ),
        (1, Kind::SetFlags, r#"{"is_top":1,"chat_id":"g","user_id":"u","idempotency_key":"k2"}"#),
        (
            1,
            Kind::SetFlags,
            r#"{"is_top":1,"is_mute":null,"chat_id":"g","user_id":"u","idempotency_key":"k2"}"#,
        ),
        (2, Kind::Import, r#"{"members":[{"chat_id":"g","user_id":"w"}],"idempotency_key":"k3"}"#),
        (
            2,
            Kind::Import,
            r#"{"chats":null,"members":[{"chat_id":"g","user_id":"w","is_top":0,"sent_seq":0,"join_seq":null}],"merge":false,"idempotency_key":"k3"}"#,
        ),
        (3, Kind::MarkRead, r#"{"seq":1,"user_id":"u","chat_id":"g","idempotency_key":"k4"}"#),
        (
            3,
            Kind::MarkRead,
            r#"{"seq":1,"user_id":"u","chat_id":"g","if_version":null,"idempotency_key":"k4"}"#,
        ),
    ];
    for (at, kind, body) in same {
        let (status, answer) = admin.post(&format!("/call/{}", kind.name()), &[], body);
        assert_eq!(status, 200, "{body} {answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["data"], told[at], "{body}");
    }
    // Nil is a value of its own, order in a list counts, and so does every other argument.
    let others: [(Kind, &str); 9] = [
        (Kind::Advance, r#"{"chat_id":"g","allocate":3,"idempotency_key":"k1"}"#),
        (Kind::Advance, r#"{"chat_id":"g","allocate":2,"force":true,"idempotency_key":"k1"}"#),
        (Kind::Advance, r#"{"chat_id":"g","allocate":2,"if_version":1,"idempotency_key":"k1"}"#),
        (Kind::Advance, r#"{"chat_id":"g","allocate":2,"time":5,"idempotency_key":"k1"}"#),
        (
            Kind::SetFlags,
            r#"{"is_top":1,"is_mute":0,"chat_id":"g","user_id":"u","idempotency_key":"k2"}"#,
        ),
        (Kind::Clear, r#"{"chat_id":"g","user_id":"u","idempotency_key":"k2"}"#),
        (
            Kind::Import,
            r#"{"members":[{"chat_id":"g","user_id":"w"}],"merge":true,"idempotency_key":"k3"}"#,
        ),
        (
            Kind::Import,
            r#"{"members":[{"chat_id":"g","user_id":"w","is_show":1}],"idempotency_key":"k3"}"#,
        ),
        (Kind::MarkRead, r#"{"seq":2,"user_id":"u","chat_id":"g","idempotency_key":"k4"}"#),
    ];
    for (kind, body) in others {
        let (status, answer) = admin.post(&format!("/call/{}", kind.name()), &[], body);
        assert_eq!(status, 409, "{} {body} {answer}", kind.name());
    }
    let users = |list: &str, key: &str| {
        format!(r#"{{"chat_id":"g","user_ids":{list},"idempotency_key":"{key}"}}"#)
    };
    let create = |list: &str| {
        format!(r#"{{"type":2,"creator_id":"u","user_ids":{list},"idempotency_key":"k6"}}"#)
    };
    for (path, body, status) in [
        ("/call/add_members", users(r#"["x","y"]"#, "k5"), 200),
        ("/call/add_members", users(r#"["x","y"]"#, "k5"), 200),
        ("/call/add_members", users(r#"["y","x"]"#, "k5"), 409),
        ("/call/create", create(r#"["x","y"]"#), 200),
        ("/call/create", create(r#"["y","x","x"]"#), 200),
        ("/call/create", create(r#"["y","x"]"#).replace("}", r#","is_enc":0}"#), 200),
        ("/call/create", create(r#"["y"]"#), 409),
    ] {
        let (answered, answer) = admin.post(path, &[], &body);
        assert_eq!(answered, status, "{body} {answer}");
    }
    // The app's routes run the same commands.
    let mut app = HttpConnection::open(server.http());
    let mut ask = |path: &str, key: &str, body: &str| {
        app.post(path, &[("x-user-id", "u"), ("idempotency-key", key)], body).0
    };
    assert_eq!(ask("/chat/flags", "k2", r#"{"chat_id":"g","is_top":1}"#), 200);
    assert_eq!(ask("/chat/flags", "k2", r#"{"chat_id":"g","is_top":0}"#), 409);
    assert_eq!(ask("/chat/read", "k4", r#"{"chat_id":"g","seq":1}"#), 200);
    assert_eq!(ask("/chat/read", "k4", r#"{"chat_id":"g","seq":2}"#), 409);
    let Ok(Reply::List(list)) = raw.call(5, Kind::List, json!({"user_id": "u"})) else {
        panic!("no list")
    };
    assert!(list.items.iter().all(|row| !row.is_top.0), "no repeat applied anything");
    drop((admin, app));
    server.stop();
}

#[test]
fn hello_tells_the_limits_of_this_server() {
    let server = two_shards(&[("connections_max", "9"), ("idle_timeout_s", "77")]);
    let mut raw = Raw::open(server.tcp());
    let Ok(Reply::Hello(hello)) = raw.call(1, Kind::Hello, json!({})) else { panic!("no hello") };
    let limits = hello.limits;
    assert_eq!((limits.connections, limits.idle_ms, limits.watches), (9, 77_000, 16));
    server.stop();
}
