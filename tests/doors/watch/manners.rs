//! Streams beside other requests: `cancel`, limits, moves to another shard, a stop, and the tools
//! that open streams.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;

use bytes::BytesMut;
use chatshard::client::{ClientError, ClientOptions, Connection};
use chatshard::command::cancel::Cancel;
use chatshard::command::watch::{Watch, WatchEvent, WatchOp};
use chatshard::command::{ErrorCode, Kind, Outcome, Reply};
use chatshard::limits::{REPLY_BYTES_MAX, WATCHES_MAX};
use chatshard::protocol::{DecodedReply, decode_reply, encode_request, frame};
use serde_json::{Value, json};

use super::tools::{
    Stream, call, client, command, create, mark, ok, options, prepare, record, soon,
};
use crate::common::{HttpConnection, TestServer};
use crate::process::chatshard;

async fn connect(address: SocketAddr) -> Connection {
    Connection::connect(address, &options()).await.unwrap().0
}

async fn send(connection: &mut Connection, name: &str, arguments: Value) -> u64 {
    let id = connection.send(&command(name, arguments)).unwrap();
    connection.flush().await.unwrap();
    id
}

/// Opens a watch and waits until it has begun.
async fn watch(connection: &mut Connection) -> u64 {
    let id = connection.send(&Watch { from: None }.into()).unwrap();
    connection.flush().await.unwrap();
    let (answered, event) = told(connection).await;
    assert_eq!((answered, event.op), (id, WatchOp::Heartbeat));
    id
}

async fn receive(connection: &mut Connection) -> DecodedReply {
    soon("an answer", connection.receive()).await.unwrap()
}

/// The next reply, which must be a change.
async fn told(connection: &mut Connection) -> (u64, WatchEvent) {
    match receive(connection).await {
        DecodedReply { id, outcome: Ok(Reply::Watch(event)) } => (id, event),
        other => panic!("{other:?}"),
    }
}

/// The reply to a request. Changes that come before it go to `told`.
async fn answer(
    connection: &mut Connection,
    id: u64,
    told: &mut Vec<(u64, WatchEvent)>,
) -> Outcome {
    loop {
        match receive(connection).await {
            DecodedReply { id: watch, outcome: Ok(Reply::Watch(event)) } => {
                told.push((watch, event))
            }
            answer if answer.id == id => return answer.outcome,
            other => panic!("{other:?}"),
        }
    }
}

async fn cancel(connection: &mut Connection, request_id: u64) -> Outcome {
    let id = connection.send(&Cancel { request_id }.into()).unwrap();
    connection.flush().await.unwrap();
    answer(connection, id, &mut Vec::new()).await
}

fn code(outcome: Outcome) -> ErrorCode {
    match outcome {
        Ok(reply) => panic!("{reply:?}"),
        Err(error) => error.code,
    }
}

#[tokio::test]
async fn nothing_comes_behind_the_answer_to_cancel() {
    let server = TestServer::start(&[("shards", "2")]);
    let backend = client(server.tcp()).await;
    prepare(&backend).await;
    let mut connection = connect(server.tcp()).await;
    let (one, other) = (watch(&mut connection).await, watch(&mut connection).await);
    let writer = tokio::spawn({
        let backend = backend.clone();
        async move {
            for number in 1..=300 {
                mark(&backend, number).await;
            }
        }
    });
    // In the middle of the stream.
    while told(&mut connection).await.1.last_sequence.is_none_or(|last| last.get() < 50) {}
    assert!(matches!(cancel(&mut connection, one).await, Ok(Reply::Cancel(()))));
    assert_eq!(code(cancel(&mut connection, one).await), ErrorCode::NotFound);
    writer.await.unwrap();
    mark(&backend, 301).await;
    loop {
        let (id, event) = told(&mut connection).await;
        assert_eq!(id, other, "{event:?}");
        if event.last_sequence.is_some_and(|last| last.get() == 301) {
            break;
        }
    }
    for unknown in [0, 77, u64::MAX] {
        let outcome = cancel(&mut connection, unknown).await;
        assert_eq!(code(outcome), ErrorCode::NotFound, "{unknown}");
    }
    // A request that is no watch, and a watch of another connection.
    let ping = send(&mut connection, "ping", json!({})).await;
    assert!(answer(&mut connection, ping, &mut Vec::new()).await.is_ok());
    assert_eq!(code(cancel(&mut connection, ping).await), ErrorCode::NotFound);
    let mut stranger = connect(server.tcp()).await;
    assert_eq!(code(cancel(&mut stranger, other).await), ErrorCode::NotFound);
    assert!(cancel(&mut connection, other).await.is_ok());
    server.stop();
}

#[tokio::test]
async fn a_connection_has_a_limit_of_watches() {
    let server = TestServer::start(&[("shards", "2")]);
    let mut connection = connect(server.tcp()).await;
    let mut open = Vec::new();
    for _ in 0..WATCHES_MAX {
        open.push(watch(&mut connection).await);
    }
    let one_more = send(&mut connection, "watch", json!({})).await;
    let outcome = answer(&mut connection, one_more, &mut Vec::new()).await;
    assert_eq!(code(outcome), ErrorCode::Busy);
    assert!(cancel(&mut connection, open.remove(3)).await.is_ok());
    open.push(watch(&mut connection).await);
    // Another connection has its own limit.
    watch(&mut connect(server.tcp()).await).await;
    prepare(&client(server.tcp()).await).await;
    let mut heard = Vec::new();
    while heard.len() < open.len() {
        let (id, event) = told(&mut connection).await;
        heard.extend((event.op == WatchOp::Create).then_some(id));
    }
    heard.sort_unstable();
    open.sort_unstable();
    assert_eq!(heard, open);
    server.stop();
}

/// A connection on which the test chooses the request ids.
struct Raw {
    stream: TcpStream,
    input: BytesMut,
}

impl Raw {
    fn send(&mut self, id: u64, name: &str, arguments: Value) {
        let mut out = BytesMut::new();
        encode_request(id, &command(name, arguments), &mut out).unwrap();
        std::io::Write::write_all(&mut self.stream, &out).unwrap();
    }

    fn receive(&mut self, kind: Kind) -> DecodedReply {
        loop {
            if let Some(payload) = frame::next(&mut self.input, REPLY_BYTES_MAX).unwrap() {
                return decode_reply(&payload, |_| Some(kind)).unwrap();
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).unwrap();
            assert!(count > 0, "the server closed");
            self.input.extend_from_slice(&bytes[..count]);
        }
    }
}

#[test]
fn a_request_id_is_for_one_watch() {
    let server = TestServer::start(&[("shards", "1")]);
    let stream = TcpStream::connect(server.tcp()).unwrap();
    stream.set_read_timeout(Some(super::tools::PATIENCE)).unwrap();
    let mut raw = Raw { stream, input: BytesMut::new() };
    raw.send(1, "hello", json!({}));
    assert!(raw.receive(Kind::Hello).outcome.is_ok());
    raw.send(7, "watch", json!({}));
    assert!(raw.receive(Kind::Watch).outcome.is_ok());
    raw.send(7, "watch", json!({}));
    let answer = raw.receive(Kind::Watch);
    assert_eq!((answer.id, code(answer.outcome)), (7, ErrorCode::InvalidArgument));
    // The first watch continues.
    raw.send(8, "create", json!({"id": "g", "type": 2, "creator_id": "u", "user_ids": []}));
    let mut told = false;
    while !told {
        let payload = raw.receive_any();
        told = payload == 7;
    }
    raw.send(9, "cancel", json!({"request_id": 7}));
    server.stop();
}

impl Raw {
    /// The request id of the next reply, whatever it is.
    fn receive_any(&mut self) -> u64 {
        loop {
            if let Some(payload) = frame::next(&mut self.input, REPLY_BYTES_MAX).unwrap() {
                let mut id = 0;
                _ = decode_reply(&payload, |answered| {
                    id = answered;
                    None
                });
                return id;
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).unwrap();
            assert!(count > 0, "the server closed");
            self.input.extend_from_slice(&bytes[..count]);
        }
    }
}

#[tokio::test]
async fn a_connection_that_watches_does_not_move() {
    let server = TestServer::start(&[("shards", "2")]);
    let (mut connection, hello) = Connection::connect(server.tcp(), &options()).await.unwrap();
    let other = 1 - hello.shard;
    let mut told = Vec::new();
    {
        // The refused move ends its connection, as each refused `hello` does.
        let options = ClientOptions { shard: Some(hello.shard), ..options() };
        let (mut connection, _) = Connection::connect(server.tcp(), &options).await.unwrap();
        watch(&mut connection).await;
        let id = send(&mut connection, "hello", json!({"shard": other})).await;
        let outcome = answer(&mut connection, id, &mut told).await;
        assert_eq!(code(outcome), ErrorCode::InvalidArgument);
        assert!(connection.receive().await.is_err());
        told.clear();
    }
    let one = watch(&mut connection).await;
    let id = send(&mut connection, "hello", json!({"shard": hello.shard})).await;
    assert!(answer(&mut connection, id, &mut told).await.is_ok(), "that is no move");
    assert!(cancel(&mut connection, one).await.is_ok());
    // A move, and a watch behind it in one packet.
    let id = connection.send(&command("hello", json!({"shard": other}))).unwrap();
    let two = connection.send(&Watch { from: None }.into()).unwrap();
    connection.flush().await.unwrap();
    match answer(&mut connection, id, &mut told).await {
        Ok(Reply::Hello(hello)) => assert_eq!(hello.shard, other),
        outcome => panic!("{outcome:?}"),
    }
    prepare(&client(server.tcp()).await).await;
    while !told.iter().any(|(_, event)| event.op == WatchOp::Create) {
        told.push(self::told(&mut connection).await);
    }
    assert!(told.iter().all(|(id, _)| *id == two), "{told:?}");
    server.stop();
}

#[tokio::test]
async fn a_stop_ends_each_watch_with_503() {
    let server = TestServer::start(&[("shards", "2")]);
    let mut connection = connect(server.tcp()).await;
    let mut open = vec![watch(&mut connection).await, watch(&mut connection).await];
    let stopping = std::thread::spawn(move || server.stop());
    while !open.is_empty() {
        let answer = receive(&mut connection).await;
        let error = answer.outcome.unwrap_err();
        assert_eq!(error.code, ErrorCode::Unavailable);
        assert!(error.message.starts_with("not applied"), "{error}");
        open.retain(|id| *id != answer.id);
    }
    let end = soon("the end of the connection", connection.receive()).await;
    assert!(matches!(end, Err(ClientError::Closed)), "{end:?}");
    stopping.join().unwrap();
}

/// A client that writes on the connection that also watches sees the change at once.
#[tokio::test]
async fn other_requests_go_on_beside_a_watch() {
    for fsync in ["always", "never"] {
        let server = TestServer::start(&[("shards", "2"), ("fsync", fsync)]);
        let mut connection = connect(server.tcp()).await;
        let backend = client(server.tcp()).await;
        create(&backend, "g", "u").await;
        let mut sent = 0;
        for _ in 0..40 {
            let one = watch(&mut connection).await;
            let mut events = Vec::new();
            for _ in 0..5 {
                let message = json!({"chat_id": "g", "allocate": 1});
                let write = send(&mut connection, "advance", message).await;
                sent += 1;
                match answer(&mut connection, write, &mut events).await {
                    Ok(Reply::Advance(reply)) => assert_eq!(reply.last_sequence.get(), sent),
                    outcome => panic!("{outcome:?}"),
                }
                let read = send(&mut connection, "detail", json!({"ids": ["g"]})).await;
                assert!(answer(&mut connection, read, &mut events).await.is_ok());
            }
            while events.len() < 5 {
                events.push(told(&mut connection).await);
            }
            let told = events.iter().map(|(_, event)| event.last_sequence.unwrap().get());
            assert!(told.eq(sent - 4..=sent), "{events:?}");
            assert!(cancel(&mut connection, one).await.is_ok());
        }
        server.stop();
    }
}

/// Changes that a stream does not report still move its offset. A connection that only watches
/// stays open beyond the idle time, and another one does not.
#[tokio::test]
async fn heartbeats_come_and_a_watch_is_not_idle() {
    let server = TestServer::start(&[("shards", "2"), ("idle_timeout_s", "1")]);
    let mut stream = Stream::open(server.tcp(), None).await;
    let backend = client(server.tcp()).await;
    prepare(&backend).await;
    let mut before = stream.next().await;
    while before.op != WatchOp::Join {
        before = stream.next().await;
    }
    ok(&backend, "touch", json!({"user_id": "marker"})).await;
    let heartbeat = soon("a heartbeat", stream.changes.next()).await.unwrap();
    assert_eq!(heartbeat.op, WatchOp::Heartbeat);
    assert!(record(&heartbeat.offset) > record(&before.offset));

    let mut idle = connect(server.tcp()).await;
    let end = soon("the end of an idle connection", idle.receive()).await;
    assert!(end.is_err(), "{end:?}");
    mark(&client(server.tcp()).await, 1).await;
    assert_eq!(stream.until_mark(1).await.len(), 1);
    server.stop();
}

#[tokio::test]
async fn streams_are_for_connections_of_their_own() {
    let server = TestServer::start(&[("shards", "1")]);
    let backend = client(server.tcp()).await;
    for (name, arguments) in [("watch", json!({})), ("cancel", json!({"request_id": 1}))] {
        let error = call(&backend, name, arguments.clone()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains("client::Changes"), "{error}");
        let mut admin = HttpConnection::open(server.admin());
        let (status, body) = admin.post(&format!("/call/{name}"), &[], &arguments.to_string());
        assert_eq!(status, 400, "{body}");
    }
    ok(&backend, "ping", json!({})).await;
    server.stop();
}

#[test]
fn call_watch_prints_a_line_for_each_change() {
    let server = TestServer::start(&[("shards", "1")]);
    let address = server.tcp().to_string();
    let run = |arguments: &[&str]| {
        let mut command = chatshard();
        command.args(arguments).args(["--addr", &address]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut watching = run(&["call", "watch"]);
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    let mut line = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let first = line();
    assert_eq!(first["op"], "heartbeat");

    let group = json!({"id": "g", "type": 2, "creator_id": "u", "user_ids": ["v"]}).to_string();
    let created = run(&["call", "create", &group]).wait_with_output().unwrap();
    assert!(created.status.success());
    let create = line();
    assert_eq!((&create["op"], &create["chat_id"]), (&json!("create"), &json!("g")));
    assert_eq!(line()["op"], "join");

    // A second stream from where the first one began. Its reader goes away, which is no failure.
    let from = json!({"from": first["offset"]}).to_string();
    let mut resumed = run(&["call", "watch", &from]);
    let mut more = BufReader::new(resumed.stdout.take().unwrap()).lines();
    let mut line_of = || -> Value { serde_json::from_str(&more.next().unwrap().unwrap()).unwrap() };
    assert_eq!(line_of()["offset"], first["offset"]);
    assert_eq!(line_of(), create);
    drop(more);
    let advance = run(&["call", "advance", r#"{"chat_id": "g", "allocate": 1}"#]);
    assert!(advance.wait_with_output().unwrap().status.success());
    assert_eq!(line()["op"], "advance");
    let resumed = resumed.wait_with_output().unwrap();
    assert_eq!((resumed.status.code(), resumed.stderr.as_slice()), (Some(0), &b""[..]));

    let wrong = run(&["call", "watch", r#"{"from": "x"}"#]).wait_with_output().unwrap();
    assert_eq!((wrong.status.code(), wrong.stdout.as_slice()), (Some(1), &b""[..]));
    let cancel = run(&["call", "cancel", r#"{"request_id": 1}"#]).wait_with_output().unwrap();
    assert_eq!(cancel.status.code(), Some(1));

    server.stop();
    assert!(lines.next().is_none(), "results alone go to stdout");
    let ended = watching.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("unavailable"), "{told}");
}
