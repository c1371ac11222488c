//! A reply that a client accepts is the same after it was encoded and decoded again.
//!
//! Input: the command that was sent, then a frame's payload.

use bytes::BytesMut;
use chatshard::command::Kind;
use chatshard::limits::REPLY_BYTES_MAX;
use chatshard::protocol::{decode_reply, encode_reply, frame};

use super::bytes::Bytes;

/// Decodes, encodes and decodes a reply.
pub fn run(input: &[u8]) {
    let mut input = Bytes(input);
    let kind = Kind::ALL[usize::from(input.byte()) % Kind::ALL.len()];
    let Ok(answer) = decode_reply(input.0, |_| Some(kind)) else { return };
    let mut out = BytesMut::new();
    encode_reply(answer.id, &answer.outcome, &mut out);
    let payload = frame::next(&mut out, REPLY_BYTES_MAX).unwrap().unwrap();
    assert!(out.is_empty());
    assert_eq!(decode_reply(&payload, |_| Some(kind)), Ok(answer));
}
