//! One connection without tasks: requests are gathered, flushed, and answered in any order.
//!
//! Invariants:
//! - Nothing is sent before [`Connection::flush`], and nothing read outside
//!   [`Connection::receive`].
//! - Both may be dropped at any await: a later call goes on where they were.
//!
//! Whoever sends more than `limits.in_flight` requests (or more bytes than the sockets hold)
//! without receiving in between waits for a server that waits for them.

use std::collections::HashMap;
use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::stream::{self, ClientStream};
use super::{Address, ClientError, ClientOptions, within};
use crate::command::node::{HelloReply, Limits};
use crate::command::{Command, Error, ErrorCode, Kind, Reply};
use crate::limits::{HELLO_BYTES_MAX, REPLY_BYTES_MAX};
use crate::protocol::{CONNECTION_ID, DecodedReply, decode_reply, encode_request_within, frame};

/// Bytes to make room for before each read.
const READ_BYTES: usize = 64 << 10;

/// Largest frames: the server's, once `hello` told them.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameSizes {
    pub(super) request: usize,
    pub(super) reply: usize,
}

impl FrameSizes {
    /// Those of the protocol, before `hello` is answered.
    const FIRST: Self = Self { request: HELLO_BYTES_MAX, reply: REPLY_BYTES_MAX };

    fn of(limits: &Limits) -> Self {
        let told = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self { request: told(limits.request_bytes), reply: told(limits.reply_bytes) }
    }
}

/// A connection that has said `hello`.
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
    /// Connects and introduces itself.
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

    /// Adds a request to what the next flush sends, and returns its id.
    pub fn send(&mut self, command: &Command) -> Result<u64, Error> {
        let id = self.last_id + 1;
        encode_request_within(self.sizes.request, id, command, &mut self.output)?;
        self.last_id = id;
        self.open.insert(id, command.kind());
        Ok(id)
    }

    /// Requests that were sent, or will be with the next flush, and have no answer yet.
    pub fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// Sends what was gathered.
    pub async fn flush(&mut self) -> io::Result<()> {
        while self.output.has_remaining() {
            self.stream.write_buf(&mut self.output).await?;
        }
        self.stream.flush().await
    }

    /// Waits for the next answer, of whichever request. An error of the connection itself is
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

    /// An answer that is here already, if there is one.
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

    /// The largest frames, the socket, what was read from it beyond the last answer, and the last id.
    pub(super) fn into_parts(self) -> (FrameSizes, ClientStream, BytesMut, u64) {
        (self.sizes, self.stream, self.input, self.last_id)
    }
}

/// Which other protocol an answer is of.
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

/// Takes the first whole frame of `input` apart.
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
