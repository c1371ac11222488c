//! A request that is accepted is the same after a round trip through its bytes and its JSON. A
//! refused one gets an error that a client can read. The fast path reads what the decoder reads.
//!
//! Input: a frame's payload.

use bytes::BytesMut;
use chatshard::command::detail::Detail;
use chatshard::command::list::List;
use chatshard::command::mark_read::MarkRead;
use chatshard::command::{Command, ErrorCode};
use chatshard::limits::{REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use chatshard::protocol::fast_path::{self, PlainCommand, PlainRequest};
use chatshard::protocol::{
    CONNECTION_ID, RefusedRequest, Request, decode_reply, decode_request, encode_error,
    encode_request, frame,
};
use chatshard::types::{ChatId, KeyHasher, UserId};

const HASHER: KeyHasher = KeyHasher::new(7);

/// Decodes a request in each way, and compares the results.
pub fn run(payload: &[u8]) {
    let decoded = decode_request(payload);
    if let Some(fast) = fast_path::read(payload, HASHER) {
        let request = decoded.as_ref().expect("what is read in place is no request");
        assert_same(request, fast);
    }
    match decoded {
        Ok(request) => comes_back(request, payload.len()),
        Err(refused) => can_be_told(refused),
    }
}

fn comes_back(request: Request, bytes: usize) {
    let Request { id, command } = &request;
    assert_ne!(*id, CONNECTION_ID);
    let arguments = command.serialize_arguments(serde_json::value::Serializer).unwrap();
    assert_eq!(&Command::from_json(command.kind(), arguments).unwrap(), command);

    let mut out = BytesMut::new();
    if let Err(error) = encode_request(*id, command, &mut out) {
        // Absent arguments at the end of each line of an import may be left out; they are written.
        assert!(error.code == ErrorCode::TooLarge && bytes > REQUEST_BYTES_MAX / 20, "{error}");
        return;
    }
    let payload = frame::next(&mut out, REQUEST_BYTES_MAX).unwrap().unwrap();
    assert_eq!(decode_request(&payload), Ok(request));
}

fn can_be_told(RefusedRequest { id, kind, error }: RefusedRequest) {
    assert!(id.is_some() || kind.is_none(), "a command is read behind the id");
    assert!(matches!(error.code, ErrorCode::InvalidArgument | ErrorCode::TooLarge), "{error:?}");
    assert_ne!(id, Some(CONNECTION_ID));
    let mut out = BytesMut::new();
    encode_error(id.unwrap_or(CONNECTION_ID), &error, &mut out);
    let payload = frame::next(&mut out, REPLY_BYTES_MAX).unwrap().unwrap();
    let answer = decode_reply(&payload, |_| Some(chatshard::command::Kind::Ping)).unwrap();
    assert_eq!(answer.outcome, Err(error));
}

fn assert_same(request: &Request, PlainRequest { id, command: plain }: PlainRequest<'_>) {
    assert_eq!(request.id, id);
    let text = |id| std::str::from_utf8(id).unwrap();
    let user = |id| UserId::new(text(id)).unwrap();
    let chat = |id| ChatId::new(text(id)).unwrap();
    let command: Command = match plain {
        PlainCommand::List { user_id } => {
            List { user_id: user(user_id.id), limit: None, cursor: None }.into()
        }
        PlainCommand::Detail { ids, user_id } => {
            let ids = ids.map(|id| chat(id.id));
            Detail { ids: ids.collect(), user_id: user_id.map(|user_id| user(user_id.id)) }.into()
        }
        PlainCommand::MarkRead(read) => MarkRead {
            user_id: user(read.user_id.id),
            chat_id: chat(read.chat_id.id),
            seq: read.seq,
            idempotency_key: None,
            if_version: None,
        }
        .into(),
        PlainCommand::Advance(read) => {
            let Command::Advance(advance) = &request.command else { panic!("no advance") };
            assert_eq!(advance.as_ref(HASHER), read);
            assert!(advance.idempotency_key.is_none() && advance.if_version.is_none());
            return;
        }
    };
    assert_eq!(request.command, command);
}
