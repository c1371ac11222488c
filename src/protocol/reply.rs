//! Encodes and decodes replies: `[request_id, status, body]`.
//!
//! Invariants:
//! - Every outcome gets a reply that fits into a frame: a reply that is too large is replaced by an
//!   error 413.
//! - A client skips elements that a newer server added at the end of any array of fields.

use std::io;

use bytes::{BufMut, BytesMut};
use rmp::encode::ValueWriteError;

use super::CONNECTION_ID;
use super::frame::{FrameError, OpenFrame};
use super::msgpack::{Head, Malformed, ValueReader};
use super::value::{Manner, Value};
use crate::command::error::Moved;
use crate::command::{Error, ErrorCode, Kind, Outcome, Reply};
use crate::limits::{REPLY_BYTES_MAX, TEXT_BYTES_MAX};

/// The status of a successful reply.
pub const STATUS_OK: u16 = 200;

/// Appends the frame of a reply to `out`. If the reply is over the limit, an error 413 takes its
/// place.
pub fn encode_reply(id: u64, outcome: &Outcome, out: &mut BytesMut) {
    let problem = match outcome {
        Ok(reply) => match encode_success(id, reply, out) {
            Ok(()) => return,
            Err(problem) => problem,
        },
        Err(error) => error.clone(),
    };
    encode_error(id, &problem, out);
}

/// Appends the frame of a successful reply. On an error `out` stays as it was.
///
/// Replies of the fast path are written by [`super::fast_path`].
fn encode_success(id: u64, reply: &Reply, out: &mut BytesMut) -> Result<(), Error> {
    let open = OpenFrame::begin(out);
    write_head(id, STATUS_OK, out);
    let body = serde::Serialize::serialize(reply, &mut rmp_serde::Serializer::new(out.writer()));
    if let Err(error) = body {
        // No reply of this program fails to encode. If one did, the caller would get an error.
        open.abandon(out);
        return Err(not_encoded(&error));
    }
    open.finish(out, REPLY_BYTES_MAX).map_err(|error| too_large(reply.kind(), error))
}

pub(super) fn too_large(kind: Kind, error: FrameError) -> Error {
    let name = kind.name();
    Error::too_large(format!("{name}: the reply is too large: {error}; use limit and cursor"))
}

fn not_encoded(error: &rmp_serde::encode::Error) -> Error {
    Error::outcome_unknown(&format!("the reply cannot be encoded: {error}"))
}

/// Encodes the body of a reply without its frame, for [`encode_body`].
///
/// # Errors
/// If a field cannot be encoded, which happens with no reply of this program.
pub fn body_of(reply: &Reply) -> Result<Vec<u8>, Error> {
    rmp_serde::to_vec(reply).map_err(|error| not_encoded(&error))
}

/// Appends a successful reply whose body is encoded already. Several watches send one body with
/// their own request ids.
pub fn encode_body(id: u64, body: &[u8], out: &mut BytesMut) {
    let open = OpenFrame::begin(out);
    write_head(id, STATUS_OK, out);
    out.extend_from_slice(body);
    let finished = open.finish(out, REPLY_BYTES_MAX);
    debug_assert!(finished.is_ok(), "what a stream tells is small");
}

/// Appends an error reply, with its message cut to [`TEXT_BYTES_MAX`] bytes.
pub fn encode_error(id: u64, error: &Error, out: &mut BytesMut) {
    // A message is for people, who can do without the end of a long one.
    let cut = error.message.floor_char_boundary(TEXT_BYTES_MAX);
    let message = error.message.get(..cut).unwrap_or_default();
    let open = OpenFrame::begin(out);
    write_head(id, error.code.status(), out);
    let mut writer = out.writer();
    let elements = if error.moved.is_some() { 5 } else { 2 };
    let written = rmp::encode::write_array_len(&mut writer, elements)
        .and_then(|_| rmp::encode::write_str(&mut writer, error.code.name()))
        .and_then(|()| rmp::encode::write_str(&mut writer, message))
        .and_then(|()| {
            error.moved.as_ref().map_or(Ok(()), |moved| write_moved(moved, &mut writer))
        });
    // Neither write fails: memory takes every byte, and the message was cut.
    debug_assert!(written.is_ok());
    let finished = open.finish(out, REPLY_BYTES_MAX);
    debug_assert!(finished.is_ok());
}

/// Writes what 421 has behind its message: address, partition, epoch.
fn write_moved(moved: &Moved, writer: &mut impl io::Write) -> Result<(), ValueWriteError> {
    rmp::encode::write_str(writer, &moved.address)?;
    rmp::encode::write_uint(writer, 0)?;
    rmp::encode::write_uint(writer, moved.epoch).map(drop)
}

/// Appends the beginning of a reply: the array, the request id and the status. The body must
/// follow.
pub(super) fn write_head(id: u64, status: u16, out: &mut BytesMut) {
    let mut writer = out.writer();
    let written = rmp::encode::write_array_len(&mut writer, 3)
        .and_then(|_| rmp::encode::write_uint(&mut writer, id))
        .and_then(|_| rmp::encode::write_uint(&mut writer, status.into()));
    debug_assert!(written.is_ok(), "a buffer in memory takes every write");
}

/// A decoded reply of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedReply {
    /// The id of the request that the reply belongs to; `CONNECTION_ID` for an error of the
    /// connection.
    pub id: u64,
    /// The command's reply, or its error.
    pub outcome: Outcome,
}

/// Why a reply cannot be understood. After it the client must not trust the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReply {
    /// The bytes are not an array `[request_id, status, body]`.
    #[error("a reply is an array of request_id, status and body")]
    Shape,
    /// The bytes are not MessagePack as this protocol allows it.
    #[error("{0}")]
    Malformed(String),
    /// The client has no open request with this id.
    #[error("a reply to request {0}, which is not open")]
    NotOpen(u64),
    /// The body does not have the form that the command's replies have.
    #[error("the reply of {command}: {why}")]
    Body {
        /// The name of the command that the reply belongs to.
        command: &'static str,
        /// The wrong field of the body, and the reason.
        why: String,
    },
}

impl From<Malformed> for BadReply {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed.to_string())
    }
}

/// Decodes the payload of one frame. `kind` returns the command of the open request with an id. It
/// is called at most once, and never for [`CONNECTION_ID`].
pub fn decode_reply(
    payload: &[u8],
    kind: impl FnOnce(u64) -> Option<Kind>,
) -> Result<DecodedReply, BadReply> {
    let mut reader = ValueReader::new(payload);
    let elements = match reader.head()? {
        Head::Array(elements) if elements >= 3 => elements,
        _ => return Err(BadReply::Shape),
    };
    let (Head::Unsigned(id), Head::Unsigned(status)) = (reader.head()?, reader.head()?) else {
        return Err(BadReply::Shape);
    };
    let kind =
        if id == CONNECTION_ID { None } else { Some(kind(id).ok_or(BadReply::NotOpen(id))?) };
    let outcome = match kind {
        Some(kind) if status == u64::from(STATUS_OK) => {
            Ok(Reply::deserialize_body(kind, Value::new(&mut reader, Manner::Reply))
                .map_err(|error| BadReply::Body { command: kind.name(), why: error.to_string() })?)
        }
        _ => Err(error_body(status, &mut reader)?),
    };
    for _ in 3..elements {
        reader.skip()?;
    }
    reader.end()?;
    Ok(DecodedReply { id, outcome })
}

/// Reads the body of an error: `[error, message]`, and with 421 also address, partition and epoch.
fn error_body(status: u64, reader: &mut ValueReader<'_>) -> Result<Error, BadReply> {
    let elements = match reader.head()? {
        Head::Array(elements) if elements >= 2 => elements,
        _ => return Err(BadReply::Shape),
    };
    let (Head::Text(name), Head::Text(message)) = (reader.head()?, reader.head()?) else {
        return Err(BadReply::Shape);
    };
    let known = u16::try_from(status).ok().and_then(ErrorCode::from_status);
    let mut moved = None;
    let mut left = elements - 2;
    if known == Some(ErrorCode::Moved) && left >= 3 {
        let (Head::Text(address), Head::Unsigned(_), Head::Unsigned(epoch)) =
            (reader.head()?, reader.head()?, reader.head()?)
        else {
            return Err(BadReply::Shape);
        };
        let address = String::from_utf8_lossy(address).into_owned();
        moved = Some(Box::new(Moved { address, epoch }));
        left -= 3;
    }
    for _ in 0..left {
        reader.skip()?;
    }
    let message = String::from_utf8_lossy(message);
    Ok(match (known, status) {
        (Some(code), _) => Error { moved, ..Error::new(code, message.into_owned()) },
        // An unknown code of a newer server counts as its class does in HTTP: 4xx or 5xx.
        (None, 400..=499) => {
            let name = String::from_utf8_lossy(name);
            Error::invalid(format!("{status} {name}: {message}"))
        }
        (None, _) => {
            let name = String::from_utf8_lossy(name);
            Error::outcome_unknown(&format!("{status} {name}: {message}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::list::{ListReply, ListRow};
    use crate::command::test_values::Choices;
    use crate::protocol::frame;
    use crate::types::{ChatId, Flag, Sequence, TimeMs};

    fn payload(id: u64, outcome: &Outcome) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode_reply(id, outcome, &mut out);
        let payload = frame::next(&mut out, REPLY_BYTES_MAX).unwrap().unwrap();
        assert!(out.is_empty());
        payload.to_vec()
    }

    /// A value as a tree, which tests can change and encode again.
    enum Node {
        Array(Vec<Node>),
        Raw(Vec<u8>),
    }

    impl Node {
        fn read(reader: &mut ValueReader<'_>) -> Self {
            let before = reader.rest();
            match reader.head().unwrap() {
                Head::Array(n) => Self::Array((0..n).map(|_| Self::read(reader)).collect()),
                _ => Self::Raw(before[..before.len() - reader.rest().len()].to_vec()),
            }
        }

        fn write(&self, out: &mut Vec<u8>) {
            match self {
                Self::Raw(bytes) => out.extend(bytes),
                Self::Array(elements) => {
                    let length = u32::try_from(elements.len()).unwrap();
                    rmp::encode::write_array_len(out, length).unwrap();
                    elements.iter().for_each(|element| element.write(out));
                }
            }
        }

        /// Appends `[nil]` to every array of fields. Lists, whose elements stand at depth `list`,
        /// stay.
        fn grow(&mut self, list: Option<usize>, depth: usize) {
            if let Self::Array(elements) = self {
                elements.iter_mut().for_each(|element| element.grow(list, depth + 1));
                if list != Some(depth) {
                    elements.push(Self::Array(vec![Self::Raw(vec![0xc0])]));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_reply_comes_back(choices: Vec<u64>, id in 1..=u64::MAX) {
            for &kind in Kind::ALL {
                let outcome = Ok(Choices::new(&choices).reply(kind));
                let answer = decode_reply(&payload(id, &outcome), |_| Some(kind));
                prop_assert_eq!(answer, Ok(DecodedReply { id, outcome }));
            }
        }

        #[test]
        fn every_truncation_is_an_error(choices: Vec<u64>) {
            for &kind in Kind::ALL {
                let bytes = payload(9, &Ok(Choices::new(&choices).reply(kind)));
                for length in 0..bytes.len() {
                    prop_assert!(decode_reply(&bytes[..length], |_| Some(kind)).is_err());
                }
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            for &kind in Kind::ALL {
                let _ = decode_reply(&bytes, |_| Some(kind));
                let _ = decode_reply(&[&[0x93, 1, 0xcc, 200][..], &bytes].concat(), |_| Some(kind));
            }
        }

        #[test]
        fn fields_of_a_newer_server_are_passed_over(choices: Vec<u64>) {
            for &kind in Kind::ALL {
                let reply = Choices::new(&choices).reply(kind);
                let bytes = payload(3, &Ok(reply.clone()));
                // At depth 2 of a reply there is a list, except for these commands: there it is a
                // struct.
                let list = match kind {
                    Kind::Hello | Kind::SetFlags => None,
                    Kind::Stats => continue,
                    _ => Some(2),
                };
                let mut tree = Node::read(&mut ValueReader::new(&bytes));
                tree.grow(list, 0);
                let mut longer = Vec::new();
                tree.write(&mut longer);
                let answer = decode_reply(&longer, |_| Some(kind));
                prop_assert_eq!(answer, Ok(DecodedReply { id: 3, outcome: Ok(reply) }));
            }
        }
    }

    #[test]
    fn every_error_comes_back() {
        for &code in ErrorCode::ALL {
            let outcome = Err(Error::new(code, "why 为什么"));
            let answer = decode_reply(&payload(1, &outcome), |_| Some(Kind::Ping)).unwrap();
            assert_eq!(answer, DecodedReply { id: 1, outcome });
        }
    }

    #[test]
    fn errors_of_the_connection_need_no_request() {
        let outcome = Err(Error::new(ErrorCode::Unauthenticated, "hello comes first"));
        let answer = decode_reply(&payload(CONNECTION_ID, &outcome), |_| None).unwrap();
        assert_eq!(answer, DecodedReply { id: CONNECTION_ID, outcome });
        let stray = decode_reply(&payload(5, &Ok(Reply::Ping(Default::default()))), |_| None);
        assert_eq!(stray, Err(BadReply::NotOpen(5)));
    }

    #[test]
    fn unknown_codes_are_taken_by_their_class() {
        let decoded = |status: [u8; 3]| {
            let bytes = [&[0x93, 1][..], &status, &[0x92, 0xa1, b'n', 0xa1, b'm']].concat();
            decode_reply(&bytes, |_| Some(Kind::Ping)).unwrap().outcome.unwrap_err()
        };
        assert_eq!(decoded([0xcd, 0x01, 0x9a]), Error::new(ErrorCode::Gone, "m"));
        assert_eq!(decoded([0xcd, 0x01, 0xc3]), Error::invalid("451 n: m"));
        assert_eq!(decoded([0xcd, 0x01, 0xf8]), Error::outcome_unknown("504 n: m"));
    }

    #[test]
    fn nothing_is_nil_and_an_empty_struct_an_empty_array() {
        assert_eq!(payload(1, &Ok(Reply::Delete(()))), [0x93, 1, 0xcc, 200, 0xc0]);
        assert_eq!(payload(1, &Ok(Reply::Ping(Default::default()))), [0x93, 1, 0xcc, 200, 0x90]);
    }

    #[test]
    fn a_reply_over_the_limit_becomes_an_error() {
        let row = ListRow {
            chat_id: ChatId::new(&"x".repeat(128)).unwrap(),
            is_top: Flag::NO,
            is_mute: Flag::NO,
            is_show: Flag::YES,
            is_hide: Flag::NO,
            max_read_seq: Sequence::ZERO,
            last_online_time: TimeMs::ZERO,
        };
        let items = vec![row; REPLY_BYTES_MAX / 128];
        let mut out = BytesMut::from(&b"before"[..]);
        encode_reply(4, &Ok(Reply::List(ListReply { items, next_cursor: None })), &mut out);
        let mut out = out.split_off(6);
        let reply = frame::next(&mut out, REPLY_BYTES_MAX).unwrap().unwrap();
        let error = decode_reply(&reply, |_| Some(Kind::List)).unwrap().outcome.unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert!(error.message.contains("limit and cursor"), "{}", error.message);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let outcome = Err(Error::invalid("会".repeat(10_000)));
        let error = decode_reply(&payload(1, &outcome), |_| Some(Kind::Ping)).unwrap();
        let message = error.outcome.unwrap_err().message;
        assert_eq!(message.chars().count(), TEXT_BYTES_MAX / 3);
    }
}
