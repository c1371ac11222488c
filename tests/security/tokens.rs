//! Tokens with their roles, and how they change while connections are open.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use chatshard::client::{ClientError, ClientOptions, Connection};
use chatshard::command::ping::Ping;
use chatshard::command::{Class, Command, ErrorCode, Kind, Outcome};
use chatshard::protocol::{self, CONNECTION_ID, frame};
use serde_json::json;

use crate::common::raw::Raw;
use crate::common::served::*;
use crate::common::vectors::asked;
use crate::common::{HttpConnection, TestServer};

const CREATE: &str = r#"{"id":"g_1","type":2,"creator_id":"a","user_ids":["a"]}"#;

fn options(token: &str) -> ClientOptions {
    ClientOptions { token: Some(token.to_owned()), ..Default::default() }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn ask(connection: &mut Connection, command: impl Into<Command>) -> Outcome {
    connection.send(&command.into()).unwrap();
    connection.flush().await.unwrap();
    connection.receive().await.unwrap().outcome
}

/// Every command, with the bytes of its vector.
#[test]
fn a_token_that_only_reads_gets_403_for_every_change() {
    let files = Files::new();
    let tokens = files.write("tokens", "the-full-one\nread the-reader\n");
    let server = TestServer::start(&[("token_file", &tokens)]);
    let mut stream = TcpStream::connect(server.tcp()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut out = BytesMut::new();
    let hello = Command::from_json(Kind::Hello, json!({"token": "the-reader"})).unwrap();
    protocol::encode_request(1, &hello, &mut out).unwrap();
    let mut kinds = vec![];
    for vector in asked().iter().filter(|vector| vector.is_request) {
        let kind = vector.kind();
        if kind.class() != Class::Read {
            kinds.push((u64::try_from(kinds.len()).unwrap() + 2, kind));
            let request = protocol::decode_request(&vector.payload(1 << 20)).unwrap();
            protocol::encode_request(kinds.last().unwrap().0, &request.command, &mut out).unwrap();
        }
    }
    for kind in Kind::ALL.iter().filter(|kind| kind.class() != Class::Read) {
        assert!(kinds.iter().any(|(_, other)| other == kind), "no vector of {}", kind.name());
    }
    stream.write_all(&out).unwrap();
    let mut input = BytesMut::new();
    let mut left = kinds.len() + 1;
    while left > 0 {
        while let Some(payload) = frame::next(&mut input, 16 << 20).unwrap() {
            let kind_of = |id| kinds.iter().find(|(of, _)| *of == id).map(|(_, kind)| *kind);
            let kind_of = |id| if id == 1 { Some(Kind::Hello) } else { kind_of(id) };
            let answer = protocol::decode_reply(&payload, kind_of).unwrap();
            left -= 1;
            if answer.id > 1 {
                let error = answer.outcome.unwrap_err();
                assert_eq!(error.code, ErrorCode::PermissionDenied, "{error}");
                assert!(error.message.starts_with(kind_of(answer.id).unwrap().name()), "{error}");
            }
        }
        let mut bytes = [0; 4096];
        let count = if left > 0 { stream.read(&mut bytes).unwrap() } else { break };
        assert!(count > 0, "the server closed");
        input.extend_from_slice(&bytes[..count]);
    }
    server.stop();
}

/// The rest of a change is not checked first: arguments, limits, whether a chat exists. At both
/// doors.
#[test]
fn a_token_that_only_reads_gets_403_before_anything_else() {
    let files = Files::new();
    let tokens = files.write("tokens", "the-full-one\nread the-reader\n");
    let server = TestServer::start(&[("token_file", &tokens)]);
    let mut raw = Raw::open(server.tcp());
    assert!(raw.call(1, Kind::Hello, json!({"token": "the-reader"})).is_ok());
    // No arguments, arguments of no possible form, an unknown one, bytes that are no value, too
    // many ids, and a request that is decoded on the offload thread.
    let ids: Vec<u8> =
        [&[0x92, 0xa1, b'u', 0xdc, 0x03, 0xe9][..], &[0xa1, b'c'].repeat(1001)].concat();
    let long = [&[0x91, 0xda, 0xff, 0xff][..], &[b'x'; 0xffff]].concat();
    let arguments: [&[u8]; 7] = [&[0x90], &[5], &[0x91, 5], &[0xc1], &[], &ids, &long];
    let mut id = 10;
    for &kind in Kind::ALL {
        for arguments in arguments {
            if kind == Kind::Hello || kind == Kind::Watch {
                continue;
            }
            id += 1;
            let mut payload = vec![0x93, 0xcd];
            payload.extend(u16::to_be_bytes(id));
            payload.push(kind.code());
            payload.extend(arguments);
            raw.kinds.insert(id.into(), kind);
            raw.stream.write_all(&u32::try_from(payload.len()).unwrap().to_be_bytes()).unwrap();
            raw.stream.write_all(&payload).unwrap();
            let (answered, outcome) = raw.receive().unwrap();
            assert_eq!(answered, u64::from(id));
            match outcome {
                Ok(_) => assert_eq!(kind.class(), Class::Read),
                Err(error) => {
                    let is_forbidden = error.code == ErrorCode::PermissionDenied;
                    assert_eq!(is_forbidden, kind.class() != Class::Read, "{error}");
                }
            }
        }
    }
    let bearer = ("authorization", "Bearer the-reader");
    let bodies = ["", "{", "[]", "{\"x\":1}", r#"{"chat_id":"none"}"#];
    for &kind in Kind::ALL {
        let path = format!("/call/{}", kind.name());
        let open = || HttpConnection::open(server.admin());
        let answers = bodies.map(|body| open().post(&path, &[bearer], body));
        let too_long = open().announce(&path, &[bearer], (1 << 20) + 1);
        for (status, answer) in answers.into_iter().chain([too_long]) {
            assert_eq!(status == 403, kind.class() != Class::Read, "{path} {answer}");
        }
    }
    server.stop();
}

#[test]
fn tokens_are_replaced_while_connections_are_open() {
    let files = Files::new();
    let path = files.path("tokens");
    let tokens = files.write("tokens", "token-one\ntoken-two\nread token-three\n");
    let mut server = Served::start(&files, &["--token-file", &tokens]);
    let (tcp, admin) = (server.tcp.clone(), server.admin.clone());
    call(&tcp, "token-one", "create", CREATE).unwrap();
    call(&tcp, "token-three", "list", r#"{"user_id":"a"}"#).unwrap();
    let refused = call(&tcp, "token-three", "create", CREATE).unwrap_err();
    assert!(refused.contains("permission_denied: create: the token may only read"), "{refused}");

    let runtime = runtime();
    runtime.block_on(async {
        let (mut one, _) = Connection::connect(&tcp, &options("token-one")).await.unwrap();
        let (mut two, _) = Connection::connect(&tcp, &options("token-two")).await.unwrap();
        let (mut watching, _) = Connection::connect(&tcp, &options("token-two")).await.unwrap();
        let watch = Command::from_json(Kind::Watch, json!({})).unwrap();
        watching.send(&watch).unwrap();
        watching.flush().await.unwrap();

        // A bad file changes nothing, and the error does not show its contents.
        replace(&path, "token-four\nwrite token-five\n");
        server.signal("HUP");
        let told = server.wait_for("the old tokens stay");
        assert!(told.contains("line 2") && !told.contains("token-five"), "{told}");
        assert!(ask(&mut two, Ping {}).await.is_ok());
        call(&tcp, "token-two", "ping", "{}").unwrap();
        assert!(call(&tcp, "token-four", "ping", "{}").is_err());

        replace(&path, "read token-one\ntoken-four\n");
        server.signal("HUP");
        server.wait_for("was read again");
        // Fewer rights take effect on the open connection.
        assert!(ask(&mut one, Ping {}).await.is_ok());
        let create = || serde_json::from_str(CREATE).unwrap();
        let create = Command::from_json(Kind::Create, create()).unwrap();
        let error = ask(&mut one, create.clone()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::PermissionDenied);
        // So does another token, shown on it.
        let hello = Command::from_json(Kind::Hello, json!({"token": "token-four"})).unwrap();
        assert!(ask(&mut one, hello).await.is_ok());
        assert!(ask(&mut one, create).await.is_ok());
        // A token that is gone ends its connection, at the next request.
        two.send(&Ping {}.into()).unwrap();
        two.flush().await.unwrap();
        let ended = two.receive().await;
        assert!(
            matches!(&ended, Err(ClientError::Refused(error))
            if error.code == ErrorCode::Unauthenticated),
            "{ended:?}"
        );
        // A watch ends without a request.
        let code = loop {
            match watching.receive().await {
                Ok(answer) if answer.id == CONNECTION_ID => unreachable!("an error of receive"),
                Ok(answer) => match answer.outcome {
                    Ok(_) => {}
                    Err(error) => break error.code,
                },
                Err(ClientError::Refused(error)) => break error.code,
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(code, ErrorCode::Unauthenticated);
    });

    // The admin listener checks each request.
    let mut http = HttpConnection::open(admin.parse().unwrap());
    let mut status = |token: &str| {
        let bearer = format!("Bearer {token}");
        http.post("/call/create", &[("authorization", &bearer)], CREATE).0
    };
    assert_eq!(["token-two", "token-one", "token-four"].map(&mut status), [401, 403, 200]);
    drop(http);

    let told = server.stop();
    assert!(!told.contains("token-"), "{told}");
}
