//! One connection without tasks: it gathers requests, flushes them, and reads replies in any order.
//!
//! Invariants:
//! - Nothing is sent before [`Connection::flush`], and nothing is read outside
//!   [`Connection::receive`].
//! - Both may be dropped at any await: a later call continues where they were.
//!
//! A caller may send more than `limits.in_flight` requests, or more bytes than the sockets hold,
//! without receiving in between. Then it waits for a server that waits for the caller.

use std::collections::HashMap;
use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stream::{self, ClientStream};
use super::{Address, ClientError, ClientOptions, within};
use crate::command::hello::{HelloReply, Limits};
use crate::command::{Command, Error, ErrorCode, Kind, Reply};
use crate::limits::{HELLO_BYTES_MAX, REPLY_BYTES_MAX};
use crate::protocol::{CONNECTION_ID, DecodedReply, decode_reply, encode_request_within, frame};

/// Room that is made before each read, in bytes.
const READ_BYTES: usize = 64 << 10;

/// The largest frames in bytes, as the server reports them in its reply to `hello`.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameSizes {
    pub(super) request: usize,
    pub(super) reply: usize,
}

impl FrameSizes {
    /// The sizes of the protocol, used until the reply to `hello` comes.
    const FIRST: Self = Self { request: HELLO_BYTES_MAX, reply: REPLY_BYTES_MAX };

    fn of(limits: &Limits) -> Self {
        let told = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self { request: told(limits.request_bytes), reply: told(limits.reply_bytes) }
    }
}

/// A connection whose `hello` was accepted.
#[derive(Debug)]
pub struct Connection {
    sizes: FrameSizes,
    stream: ClientStream,
    input: BytesMut,
    output: BytesMut,
    last_id: u64,
    open: HashMap<u64, Kind>,
}

impl Connection {
    /// Connects, sends `hello` and waits for its reply.
    pub async fn connect(
        address: impl Into<Address>,
        options: &ClientOptions,
    ) -> Result<(Self, HelloReply), ClientError> {
        let address = address.into();
        within(options.connect_timeout, async {
            let stream = stream::connect(&address, options.tls.as_ref()).await?;
            let mut connection = Self {
                sizes: FrameSizes::FIRST,
                stream,
                input: BytesMut::new(),
                output: BytesMut::new(),
                last_id: CONNECTION_ID,
                open: HashMap::new(),
            };
            connection.send(&options.hello().into()).map_err(ClientError::Request)?;
            connection.flush().await?;
            match connection.receive().await?.outcome {
                Ok(Reply::Hello(hello)) => {
                    connection.sizes = FrameSizes::of(&hello.limits);
                    Ok((connection, *hello))
                }
                Ok(_) => Err(ClientError::Refused(Error::new(
                    ErrorCode::Unavailable,
                    "the answer to hello is no answer to hello",
                ))),
                Err(error) => Err(ClientError::Refused(error)),
            }
        })
        .await
    }

    /// Encodes a request for the next flush, and returns its id.
    pub fn send(&mut self, command: &Command) -> Result<u64, Error> {
        let id = self.last_id + 1;
        encode_request_within(self.sizes.request, id, command, &mut self.output)?;
        self.last_id = id;
        self.open.insert(id, command.kind());
        Ok(id)
    }

    /// How many requests have no reply yet, including those that wait for the next flush.
    pub fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// Sends all requests that were gathered.
    pub async fn flush(&mut self) -> io::Result<()> {
        while self.output.has_remaining() {
            self.stream.write_buf(&mut self.output).await?;
        }
        self.stream.flush().await
    }

    /// Waits for the next reply, to any request. An error of the connection itself is
    /// [`ClientError::Refused`].
    pub async fn receive(&mut self) -> Result<DecodedReply, ClientError> {
        loop {
            if let Some(answer) = self.received()? {
                return Ok(answer);
            }
            self.input.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(ClientError::Closed);
            }
        }
    }

    /// Returns a reply that was read already; `None` if it is not complete.
    pub fn received(&mut self) -> Result<Option<DecodedReply>, ClientError> {
        let open = &mut self.open;
        let answer = next_answer(&mut self.input, self.sizes, |id| open.get(&id).copied())?;
        if let Some(answer) = &answer {
            let goes_on = matches!(answer.outcome, Ok(Reply::Watch(_)));
            if !goes_on {
                self.open.remove(&answer.id);
            }
        }
        Ok(answer)
    }

    /// The frame sizes, the socket, the bytes that were read behind the last reply, and the last
    /// id.
    pub(super) fn into_parts(self) -> (FrameSizes, ClientStream, BytesMut, u64) {
        (self.sizes, self.stream, self.input, self.last_id)
    }
}

/// Advice if the first bytes of the server belong to another protocol.
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

/// Splits the first whole frame off `input` and decodes it; `None` while it is incomplete.
pub(super) fn next_answer(
    input: &mut BytesMut,
    sizes: FrameSizes,
    kind: impl FnOnce(u64) -> Option<Kind>,
) -> Result<Option<DecodedReply>, ClientError> {
    let payload = match frame::first(input, sizes.reply) {
        Ok(Some(payload)) => payload,
        Ok(None) => return Ok(None),
        Err(error) => return Err(foreign(input).map_or(error.into(), ClientError::Foreign)),
    };
    let bytes = payload.len();
    let answer = decode_reply(payload, kind)?;
    input.advance(frame::HEADER_BYTES + bytes);
    match answer {
        DecodedReply { id: CONNECTION_ID, outcome: Err(error) } => Err(ClientError::Refused(error)),
        answer => Ok(Some(answer)),
    }
}
