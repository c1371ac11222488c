//! Cuts what a server sends into frames, for [`FramedRead`](tokio_util::codec::FramedRead).

use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::ClientError;
use crate::command::Kind;
use crate::command::hello::Limits;
use crate::limits::{HELLO_BYTES_MAX, REPLY_BYTES_MAX};
use crate::protocol::{CONNECTION_ID, DecodedReply, decode_reply, frame};

/// Free space reserved before each read, in bytes.
const READ_BYTES: usize = 64 << 10;

/// The largest frames in bytes, as the server reports them in its reply to `hello`.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameSizes {
    pub(super) request: usize,
    pub(super) reply: usize,
}

impl FrameSizes {
    /// The sizes that the protocol guarantees, used until the reply to `hello` names the server's.
    pub(super) const FIRST: Self = Self { request: HELLO_BYTES_MAX, reply: REPLY_BYTES_MAX };

    pub(super) fn of(limits: &Limits) -> Self {
        let told = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self { request: told(limits.request_bytes), reply: told(limits.reply_bytes) }
    }
}

/// Yields the payload of each frame. After an error the stream ends, because it is unknown where
/// the next frame begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameDecoder {
    pub(super) sizes: FrameSizes,
}

impl Decoder for FrameDecoder {
    type Item = Bytes;
    type Error = ClientError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, ClientError> {
        match frame::next(input, self.sizes.reply) {
            Ok(Some(payload)) => Ok(Some(payload)),
            Ok(None) => {
                input.reserve(READ_BYTES);
                Ok(None)
            }
            Err(error) => Err(foreign(input).map_or(error.into(), ClientError::Foreign)),
        }
    }

    /// Half a frame at the end is ignored: the closed connection is the error to report.
    fn decode_eof(&mut self, input: &mut BytesMut) -> Result<Option<Bytes>, ClientError> {
        self.decode(input)
    }
}

/// What the user may do if the server's first bytes belong to another protocol.
fn foreign(input: &[u8]) -> Option<&'static str> {
    match input {
        [b'H', b'T', b'T', b'P', ..] => Some(
            "an HTTP server listens there; name the address of the TCP door, whose port is 7700 \
             unless it was changed",
        ),
        [0x15, 3, ..] => Some("the door speaks TLS; name a certificate with --tls-ca FILE"),
        _ => None,
    }
}

/// Decodes the reply in a payload. An error that belongs to no request is [`ClientError::Refused`].
pub(super) fn decode_payload(
    payload: &[u8],
    kind: impl FnOnce(u64) -> Option<Kind>,
) -> Result<DecodedReply, ClientError> {
    match decode_reply(payload, kind)? {
        DecodedReply { id: CONNECTION_ID, outcome: Err(error) } => Err(ClientError::Refused(error)),
        reply => Ok(reply),
    }
}
