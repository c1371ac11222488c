//! The vectors of the protocol, from `docs/reference/protocol-vectors.json`.

use bytes::BytesMut;
use chatshard::command::Kind;
use chatshard::protocol::frame;
use serde::Deserialize;
use serde_json::{Value, json};

/// The text of the file.
pub const FILE: &str = include_str!("../../docs/reference/protocol-vectors.json");

/// How exactly a server's reply must equal a vector.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// Byte for byte.
    #[default]
    Exact,
    /// The text of an error message may differ.
    Message,
    /// The texts in [`Vectors::varying_texts`] may differ.
    Texts,
    /// Figures and texts may differ; the fields are the same.
    Fields,
}

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vectors {
    /// How to read the file.
    pub about: Vec<String>,
    /// The version of the protocol.
    pub protocol: u16,
    /// Fields of replies whose texts differ between servers.
    pub varying_texts: Vec<String>,
    /// Requests to a fresh server, each with its reply, in the order in which they are sent.
    pub conversation: Vec<Case>,
    /// Requests to a member of a journal, each with its reply.
    pub members: Vec<Case>,
    /// Replies with an error.
    pub errors: Vec<Case>,
    /// Events of a watch.
    pub events: Vec<Case>,
    /// Replies in forms that this server does not write and a client reads.
    pub forms: Vec<Case>,
    /// Keys with their slots.
    pub slots: Vec<Slot>,
}

/// A request with its reply, or a reply alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What the case shows.
    pub name: String,
    command: Option<String>,
    request_id: u64,
    #[serde(default)]
    arguments: Value,
    #[serde(default)]
    request: String,
    status: u16,
    body: Value,
    #[serde(default)]
    compare: Compare,
    reply: String,
}

/// A key with its hash, slot and shard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    pub key: String,
    pub seed: u64,
    pub hash: String,
    pub slot: u16,
    pub shard_of_4: u16,
}

/// A request or a reply, in JSON and in bytes.
#[derive(Debug)]
pub struct Vector {
    /// What the vector shows, for error messages.
    pub place: String,
    /// False for a reply.
    pub is_request: bool,
    /// Name of the command, or `connection`.
    pub name: String,
    /// The id of the request.
    pub id: u64,
    /// How exactly a reply must equal the vector.
    pub compare: Compare,
    /// A request's arguments, or a reply's status and body.
    pub json: Value,
    /// The whole frame.
    pub bytes: Vec<u8>,
}

/// Reads the file.
pub fn vectors() -> Vectors {
    serde_json::from_str(FILE).unwrap()
}

/// The requests and replies of the conversation, in turn.
pub fn conversation() -> Vec<Vector> {
    vectors()
        .conversation
        .into_iter()
        .flat_map(|case| [case.to_request(), case.to_reply()])
        .collect()
}

/// The requests and replies of the conversation, and those of a member of a journal.
pub fn asked() -> Vec<Vector> {
    let of_member = vectors().members.into_iter();
    let of_member = of_member.flat_map(|case| [case.to_request(), case.to_reply()]);
    conversation().into_iter().chain(of_member).collect()
}

/// All vectors that this build encodes in the same bytes.
pub fn all() -> Vec<Vector> {
    let replies = vectors().errors.into_iter().chain(vectors().events);
    asked().into_iter().chain(replies.map(|case| case.to_reply())).collect()
}

impl Case {
    /// The request of the case, which must have one.
    pub fn to_request(&self) -> Vector {
        assert!(!self.request.is_empty(), "{}: no request", self.name);
        self.part(true, self.arguments.clone(), &self.request)
    }

    /// The reply of the case.
    pub fn to_reply(&self) -> Vector {
        let json = json!({"status": self.status, "body": self.body});
        self.part(false, json, &self.reply)
    }

    fn part(&self, is_request: bool, json: Value, hex: &str) -> Vector {
        Vector {
            place: self.name.clone(),
            is_request,
            name: self.command.clone().unwrap_or_else(|| "connection".to_owned()),
            id: self.request_id,
            compare: self.compare,
            json,
            bytes: from_hex(hex),
        }
    }
}

impl Vector {
    /// The command of the vector.
    pub fn kind(&self) -> Kind {
        Kind::from_name(&self.name).unwrap_or_else(|| panic!("{}: no such command", self.place))
    }

    /// Payload of the frame. Nothing may follow the frame.
    pub fn payload(&self, bytes_max: usize) -> Vec<u8> {
        let mut buffer = BytesMut::from(&self.bytes[..]);
        let payload = frame::next(&mut buffer, bytes_max).unwrap();
        let payload = payload.unwrap_or_else(|| panic!("{}: frame too short", self.place));
        assert!(buffer.is_empty(), "{}: bytes behind the frame", self.place);
        payload.to_vec()
    }
}

/// Bytes in hex, with a space between them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
