//! Encodes and decodes requests: `[request_id, command, arguments]`.
//!
//! Invariants:
//! - A decoded command passed [`Command::check`], so the router only sees arguments within the
//!   limits.
//! - Encoding writes every argument, and nil for an absent one. Decoding accepts a request whose
//!   last arguments are left out.

use bytes::{BufMut, BytesMut};

use super::CONNECTION_ID;
use super::frame::OpenFrame;
use super::msgpack::{self, Head, ValueReader};
use super::value::{Manner, Value};
use crate::command::{Command, Error, Kind};

/// A decoded request of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The client's number for the request, never 0; the reply repeats it.
    pub id: u64,
    /// The command, with arguments that passed [`Command::check`].
    pub command: Command,
}

/// A request that is rejected because it cannot be decoded or checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct RefusedRequest {
    /// The id that the error reply carries; `None` if no id could be read. Then the error goes to
    /// [`CONNECTION_ID`] and the connection closes, because no request would ever get its reply.
    pub id: Option<u64>,
    /// The command, if it could be read. A client whose role forbids it gets that error, whatever
    /// else is wrong with the request.
    pub kind: Option<Kind>,
    /// The error for the client: 400, or 413 for a list over its limit.
    pub error: Error,
}

const SHAPE: &str = "a request is an array of request_id, command and arguments";

/// Decodes and checks the payload of one frame.
pub fn decode_request(payload: &[u8]) -> Result<Request, RefusedRequest> {
    let mut reader = ValueReader::new(payload);
    let (elements, id) =
        request_id(&mut reader).map_err(|error| RefusedRequest { id: None, kind: None, error })?;
    let refused = |kind| move |error| RefusedRequest { id: Some(id), kind, error };
    let kind = command_code(&mut reader).map_err(refused(None))?;
    let command = command(kind, payload, elements, reader).map_err(refused(Some(kind)))?;
    Ok(Request { id, command })
}

/// Reads the beginning of a request: returns how many elements it has, and its id.
fn request_id(reader: &mut ValueReader<'_>) -> Result<(usize, u64), Error> {
    let Ok(Head::Array(elements)) = reader.head() else {
        return Err(Error::invalid(SHAPE));
    };
    match reader.head() {
        Ok(Head::Unsigned(CONNECTION_ID)) => {
            Err(Error::invalid("request_id: 0 is reserved for errors of the connection"))
        }
        Ok(Head::Unsigned(id)) => Ok((elements, id)),
        _ => Err(Error::invalid("request_id: must be an integer from 1 to 2^64-1")),
    }
}

/// Reads the code of the command.
fn command_code(reader: &mut ValueReader<'_>) -> Result<Kind, Error> {
    let Ok(Head::Unsigned(code)) = reader.head() else {
        return Err(Error::invalid("command: must be an integer, the command's code"));
    };
    let kind = u8::try_from(code).ok().and_then(Kind::from_code);
    kind.ok_or_else(|| Error::invalid("command: this server has no command with this code"))
}

/// Decodes and checks the arguments, which are the next value of `reader`.
fn command(
    kind: Kind,
    payload: &[u8],
    elements: usize,
    mut reader: ValueReader<'_>,
) -> Result<Command, Error> {
    let named = |why: &dyn std::fmt::Display| Error::invalid(format!("{}: {why}", kind.name()));
    if elements != 3 {
        return Err(named(&SHAPE));
    }
    msgpack::check(payload).map_err(|malformed| named(&malformed))?;
    if !matches!(reader.clone().head(), Ok(Head::Array(_))) {
        return Err(named(&"arguments: must be an array"));
    }
    let command = Command::deserialize_arguments(kind, Value::new(&mut reader, Manner::Arguments))
        .map_err(|error| named(&error))?;
    command.check()?;
    Ok(command)
}

/// Like [`encode_request_within`], for a server with the limit of this version.
#[cfg(feature = "internals")]
pub fn encode_request(id: u64, command: &Command, out: &mut BytesMut) -> Result<(), Error> {
    encode_request_within(crate::limits::REQUEST_BYTES_MAX, id, command, out)
}

/// Appends the frame of a request to `out`, for a server that accepts payloads of at most
/// `bytes_max` bytes. On an error (413: over that limit) `out` stays as it was.
pub fn encode_request_within(
    bytes_max: usize,
    id: u64,
    command: &Command,
    out: &mut BytesMut,
) -> Result<(), Error> {
    let open = OpenFrame::begin(out);
    if let Err(error) = write_request(id, command, out) {
        open.abandon(out);
        return Err(Error::invalid(format!("{}: {error}", command.kind().name())));
    }
    open.finish(out, bytes_max).map_err(|error| {
        Error::too_large(format!("{}: {error}; send several", command.kind().name()))
    })
}

fn write_request(
    id: u64,
    command: &Command,
    out: &mut BytesMut,
) -> Result<(), rmp_serde::encode::Error> {
    let mut writer = out.writer();
    rmp::encode::write_array_len(&mut writer, 3)?;
    rmp::encode::write_uint(&mut writer, id)?;
    rmp::encode::write_uint(&mut writer, command.kind().code().into())?;
    command.serialize_arguments(&mut rmp_serde::Serializer::new(&mut writer))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::frame;
    use super::*;
    use crate::command::ErrorCode;
    use crate::command::test_values::Choices;
    use crate::limits::REQUEST_BYTES_MAX;

    fn payload(id: u64, command: &Command) -> Vec<u8> {
        let mut out = BytesMut::new();
        encode_request(id, command, &mut out).unwrap();
        let payload = frame::next(&mut out, REQUEST_BYTES_MAX).unwrap().unwrap();
        assert!(out.is_empty());
        payload.to_vec()
    }

    fn refused(payload: &[u8]) -> (Option<u64>, String) {
        let refused = decode_request(payload).unwrap_err();
        assert_eq!(refused.error.code, ErrorCode::InvalidArgument);
        (refused.id, refused.error.message.into_owned())
    }

    /// `[7, code, arguments]`, with `arguments` as encoded bytes.
    fn request(code: u8, arguments: &[u8]) -> Vec<u8> {
        [&[0x93, 7, code][..], arguments].concat()
    }

    proptest! {
        #[test]
        fn every_command_comes_back(choices: Vec<u64>, id in 1..=u64::MAX) {
            for &kind in Kind::ALL {
                let command = Choices::new(&choices).command(kind);
                let bytes = payload(id, &command);
                prop_assert_eq!(decode_request(&bytes), Ok(Request { id, command }));
            }
        }

        #[test]
        fn every_truncation_is_refused(choices: Vec<u64>) {
            for &kind in Kind::ALL {
                let bytes = payload(9, &Choices::new(&choices).command(kind));
                for length in 0..bytes.len() {
                    prop_assert!(decode_request(&bytes[..length]).is_err());
                }
            }
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, at: usize, code: u8) {
            let _ = decode_request(&bytes);
            let _ = decode_request(&request(code, &bytes));
            let mut changed = payload(5, &Choices::new(&[3; 40]).command(Kind::Import));
            for (offset, byte) in bytes.iter().enumerate() {
                let length = changed.len();
                changed[at.wrapping_add(offset) % length] ^= byte;
            }
            let _ = decode_request(&changed);
        }
    }

    #[test]
    fn trailing_arguments_may_be_left_out() {
        let list = decode_request(&request(16, &[0x91, 0xa1, b'u'])).unwrap();
        let full = decode_request(&request(16, &[0x93, 0xa1, b'u', 0xc0, 0xc0])).unwrap();
        assert_eq!(list, full);
        assert!(decode_request(&request(2, &[0x90])).is_ok());
    }

    #[test]
    fn nil_is_absent_also_where_the_default_is_no_option() {
        // import [chats: nil, members: [["u", "c", nil x 13]], merge: nil]
        let mut arguments = vec![0x93, 0xc0, 0x91, 0x9f, 0xa1, b'u', 0xa1, b'c'];
        arguments.extend([0xc0; 13]);
        arguments.push(0xc0);
        let decoded = decode_request(&request(6, &arguments)).unwrap();
        let json = serde_json::json!({"members": [{"user_id": "u", "chat_id": "c"}]});
        assert_eq!(decoded.command, Command::from_json(Kind::Import, json).unwrap());
    }

    #[test]
    fn unknown_arguments_are_refused_unless_nil() {
        assert!(decode_request(&request(2, &[0x92, 0xc0, 0xc0])).is_ok());
        let (id, message) = refused(&request(2, &[0x92, 0xc0, 0x01]));
        assert_eq!(id, Some(7));
        assert_eq!(message, "ping: element 2 is unknown to this server; it takes 0");
    }

    #[test]
    fn errors_name_the_command_and_the_field() {
        let (_, message) = refused(&request(17, &[0x91, 0x92, 0xa1, b'c', 0x05]));
        assert_eq!(message, "detail: ids[1]: expected an id (a string), found 5");
        let (_, message) = refused(&request(37, &[0x91, 0xa1, b'c']));
        assert_eq!(message, "set_status: status: missing");
        let (_, message) = refused(&request(37, &[0x92, 0xc0, 0x01]));
        assert_eq!(message, "set_status: chat_id: missing");
        let (_, message) = refused(&request(37, &[0x92, 0xa1, b'c', 0x03]));
        assert_eq!(
            message,
            "set_status: status: expected a status (1 normal, 2 disabled), found 3"
        );
        let (_, message) = refused(&request(16, &[0x91, 0xa0]));
        assert_eq!(message, "list: user_id: an id must not be empty");
        let (_, message) = refused(&request(16, &[0x91, 0xa1, 0xff]));
        assert_eq!(message, "list: user_id: the text is not UTF-8");
        let (_, message) = refused(&request(6, &[0x92, 0x90, 0x92, 0x90, 0x90]));
        assert_eq!(message, "import: members[0].user_id: missing");
        let (_, message) = refused(&request(6, &[0x91, 0x91, 0x05]));
        assert_eq!(message, "import: chats[0]: expected an array of fields");
    }

    #[test]
    fn a_long_input_is_not_repeated() {
        let mut text = vec![0x92, 0xa1, b'u', 0xda, 0x20, 0x00];
        text.extend([b'x'; 0x2000]);
        let (_, message) = refused(&request(16, &text));
        assert_eq!(message, "list: limit: expected u32, found a string");
    }

    #[test]
    fn the_id_is_told_whenever_it_can_be_read() {
        assert_eq!(refused(&[0x93, 7, 99, 0x90]).0, Some(7));
        assert_eq!(refused(&[0x93, 7, 2, 0x80]).0, Some(7));
        assert_eq!(refused(&[0x93, 7, 2]).0, Some(7));
        assert_eq!(refused(&[0x93, 7, 2, 0x90, 0x90]).0, Some(7));
        assert_eq!(refused(&[0x94, 7, 2, 0x90, 0x90]).0, Some(7));
        assert_eq!(refused(&[0x93, 7, 0xa1, b'x', 0x90]).0, Some(7));
        assert_eq!(refused(&[0x93, 7]).0, Some(7));
        assert_eq!(refused(&[0x93]).0, None);
        assert_eq!(refused(&[0x93, 0, 2, 0x90]).0, None, "0 is the connection's");
        assert_eq!(refused(&[0x93, 0xff, 2, 0x90]).0, None);
        assert_eq!(refused(&[0x83, 7, 2, 0x90]).0, None);
        assert_eq!(refused(b"GET / HTTP/1.1").0, None);
        assert_eq!(refused(&[]).0, None);
    }

    #[test]
    fn limits_are_checked() {
        let mut ids = vec![0x91, 0xdc, 0x03, 0xe9];
        (0..1001).for_each(|_| ids.extend([0xa1, b'c']));
        let refused = decode_request(&request(17, &ids)).unwrap_err();
        assert_eq!(refused.id, Some(7));
        assert_eq!(refused.error.code, ErrorCode::TooLarge);
    }

    #[test]
    fn a_request_over_the_frame_limit_is_not_encoded() {
        let id = "x".repeat(128);
        let user_ids = vec![crate::types::UserId::new(&id).unwrap(); 9000];
        let chat_id = crate::types::ChatId::new("c").unwrap();
        let command = Command::from(crate::command::add_members::AddMembers {
            chat_id,
            user_ids,
            idempotency_key: None,
            if_version: None,
        });
        let mut out = BytesMut::from(&b"before"[..]);
        let error = encode_request(1, &command, &mut out).unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert_eq!(&out[..], b"before");
    }
}
