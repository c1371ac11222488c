//! The vectors of the protocol agree with the real server: their conversation takes place over a
//! socket, and the replies are those of the file, byte by byte.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use chatshard::command::ping::Ping;
use chatshard::command::{Command, ErrorCode, Kind, Reply};
use chatshard::limits::{ID_BYTES_MAX, IDS_MAX, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use chatshard::protocol::{
    CONNECTION_ID, DecodedReply, decode_reply, decode_request, encode_request,
};
use serde_json::{Value, json};

use crate::common::TestServer;
use crate::common::vectors::{Compare, Vector, conversation, hex, vectors};

/// A connection without a client.
struct Wire(TcpStream);

impl Wire {
    fn open(server: &TestServer) -> Self {
        let stream = TcpStream::connect(server.tcp()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(stream)
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next frame, length included; `None` if the server has closed the connection.
    fn frame(&mut self) -> Option<Vec<u8>> {
        let mut frame = vec![0; 4];
        match self.0.read(&mut frame).unwrap() {
            0 => return None,
            read => self.0.read_exact(&mut frame[read..]).unwrap(),
        }
        let length = u32::from_be_bytes(frame[..].try_into().unwrap());
        frame.resize(4 + usize::try_from(length).unwrap(), 0);
        self.0.read_exact(&mut frame[4..]).unwrap();
        Some(frame)
    }

    fn answer(&mut self, kind: Kind) -> DecodedReply {
        let frame = self.frame().expect("the server answers");
        decode_reply(&frame[4..], |_| Some(kind)).unwrap()
    }
}

fn decode(vector: &Vector, frame: &[u8]) -> DecodedReply {
    assert!(frame.len() <= REPLY_BYTES_MAX);
    decode_reply(&frame[4..], |_| Some(vector.kind())).unwrap()
}

/// The state of a client during the conversation.
#[derive(Default)]
struct Held {
    /// Request ids of watches: more replies follow the first one.
    watches: Vec<u64>,
    /// The file's names of change logs, each with that of this server.
    logs: HashMap<String, String>,
}

impl Held {
    /// The request's frame, with this server's name of the change log.
    fn request(&self, vector: &Vector) -> Vec<u8> {
        let mut arguments = vector.json.clone();
        let Some(log) = arguments.pointer_mut("/since/log") else { return vector.bytes.clone() };
        let Some(own) = self.logs.get(log.as_str().unwrap()) else { return vector.bytes.clone() };
        *log = own.as_str().into();
        let id = decode_request(&vector.payload(REQUEST_BYTES_MAX)).unwrap().id;
        let mut frame = BytesMut::new();
        let command = Command::from_json(vector.kind(), arguments).unwrap();
        encode_request(id, &command, &mut frame).unwrap();
        frame.to_vec()
    }

    /// The next frame that is no further event of a watch.
    fn frame(&self, wire: &mut Wire) -> Option<Vec<u8>> {
        loop {
            let frame = wire.frame()?;
            let mut id = CONNECTION_ID;
            // Of another command, the body may make no sense; the id is read before it.
            let _ = decode_reply(&frame[4..], |answered| {
                id = answered;
                Some(Kind::Watch)
            });
            if !self.watches.contains(&id) {
                return Some(frame);
            }
        }
    }

    fn note(&mut self, answered: &DecodedReply, written: &DecodedReply) {
        match (&answered.outcome, &written.outcome) {
            (Ok(Reply::Watch(_)), _) => self.watches.push(answered.id),
            (Ok(Reply::Sync(own)), Ok(Reply::Sync(file))) => {
                self.logs.insert(file.log.clone(), own.log.clone());
            }
            _ => {}
        }
    }
}

/// A reply without the texts that differ between servers.
fn without_texts(reply: &Reply, varying_texts: &[String]) -> Value {
    let mut json = serde_json::to_value(reply).unwrap();
    for name in varying_texts {
        match json.get_mut(name) {
            Some(Value::String(text)) => text.clear(),
            Some(Value::Array(texts)) => texts.clear(),
            _ => {}
        }
    }
    json
}

#[test]
fn the_conversation_of_the_vectors_takes_place() {
    let server = TestServer::start(&[("shards", "2")]);
    let mut wire = Wire::open(&server);
    let script = conversation();
    let varying_texts = vectors().varying_texts;
    let mut exact = 0;
    let mut held = Held::default();
    for pair in script.chunks(2) {
        let [request, reply] = pair else { panic!("{}: no reply", pair[0].place) };
        wire.send(&held.request(request));
        let frame = held.frame(&mut wire);
        let frame = frame.unwrap_or_else(|| panic!("{}: closed", request.place));
        let (answered, written) = (decode(reply, &frame), decode(reply, &reply.bytes));
        assert_eq!(answered.id, written.id, "{}", reply.place);
        held.note(&answered, &written);
        match (reply.compare, answered.outcome, written.outcome) {
            (Compare::Exact, answered, written) => {
                assert_eq!(answered, written, "{}", reply.place);
                assert_eq!(hex(&frame), hex(&reply.bytes), "{}: left is the server's", reply.place);
                exact += 1;
            }
            (Compare::Message, Err(answered), Err(written)) => {
                assert_eq!(answered.code, written.code, "{}", reply.place);
            }
            (Compare::Texts, Ok(answered), Ok(written)) => {
                let [answered, written] =
                    [answered, written].map(|reply| without_texts(&reply, &varying_texts));
                assert_eq!(answered, written, "{}", reply.place);
            }
            (Compare::Fields, Ok(answered), Ok(written)) => {
                assert_eq!(answered.kind(), written.kind(), "{}", reply.place);
            }
            (_, answered, written) => {
                panic!("{}: {answered:?} instead of {written:?}", reply.place)
            }
        }
    }
    assert!(exact >= 20, "most of the conversation is exact");
    drop(wire);
    server.stop();
}

/// The frame of a command in which one text is replaced by another one of the same length.
fn doctored(command: &str, arguments: Value, from: &str, to: &[u8]) -> Vec<u8> {
    let command = Command::from_json(Kind::from_name(command).unwrap(), arguments).unwrap();
    let mut frame = BytesMut::new();
    encode_request(7, &command, &mut frame).unwrap();
    let at = frame.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
    assert_eq!(from.len(), to.len());
    frame[at..at + to.len()].copy_from_slice(to);
    frame.to_vec()
}

/// Opens a connection and completes a `hello`.
fn introduced(server: &TestServer) -> Wire {
    let mut wire = Wire::open(server);
    let hello = &conversation()[0];
    wire.send(&hello.bytes);
    assert!(wire.answer(Kind::Hello).outcome.is_ok());
    wire
}

#[test]
fn bad_values_fail_their_own_request_only() {
    let server = TestServer::start(&[("shards", "2")]);
    let mut wire = introduced(&server);
    let id = "x".repeat(ID_BYTES_MAX);
    let list = json!({"user_id": "mark"});
    let bad = [
        (Kind::List, doctored("list", list.clone(), "mark", b"m\nrk"), ErrorCode::InvalidArgument),
        (
            Kind::List,
            doctored("list", list.clone(), "mark", b"m\xffrk"),
            ErrorCode::InvalidArgument,
        ),
        (Kind::Detail, too_many_ids(), ErrorCode::TooLarge),
    ];
    for (kind, frame, code) in bad {
        wire.send(&frame);
        let answer = wire.answer(kind);
        assert_eq!(answer.id, 7);
        assert_eq!(answer.outcome.unwrap_err().code, code, "{kind:?}");
    }
    // The longest valid id is accepted.
    wire.send(&doctored("list", json!({"user_id": id}), &id, id.as_bytes()));
    assert!(wire.answer(Kind::List).outcome.is_ok());
    drop(wire);
    server.stop();
}

fn too_many_ids() -> Vec<u8> {
    let ids: Vec<String> = (0..=IDS_MAX).map(|number| format!("c{number}")).collect();
    let arguments = json!({"ids": ids});
    // Not checked here: the server must.
    let command = Command::deserialize_arguments(Kind::Detail, arguments).unwrap();
    let mut frame = BytesMut::new();
    encode_request(7, &command, &mut frame).unwrap();
    frame.to_vec()
}

#[test]
fn a_frame_that_cannot_be_read_ends_its_own_connection_only() {
    let server = TestServer::start(&[("shards", "2")]);
    let mut other = introduced(&server);
    let too_long = u32::try_from(REQUEST_BYTES_MAX + 1).unwrap().to_be_bytes();
    for beginning in [[0, 0, 0, 0], too_long] {
        let mut wire = introduced(&server);
        wire.send(&beginning);
        let answer = wire.answer(Kind::Ping);
        assert_eq!(answer.id, CONNECTION_ID);
        assert!(answer.outcome.is_err());
        assert_eq!(wire.frame(), None, "the connection is closed");
    }
    let mut ping = BytesMut::new();
    encode_request(8, &Ping {}.into(), &mut ping).unwrap();
    other.send(&ping);
    assert!(other.answer(Kind::Ping).outcome.is_ok());
    drop(other);
    server.stop();
}
