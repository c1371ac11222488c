//! One connection without a task of its own: it gathers requests, flushes them, and returns replies
//! in any order.
//!
//! Invariants:
//! - Requests are only sent in [`Connection::flush`], and bytes only read in
//!   [`Connection::receive`].
//! - The future of either may be dropped at any await: a later call continues where it was.
//!
//! A caller must not send more than `limits.in_flight` requests, or more bytes than the sockets
//! hold, without receiving in between. Otherwise client and server wait for each other.

use std::collections::HashMap;
use std::io;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio_util::codec::{Decoder, FramedRead};

use super::codec::{FrameDecoder, FrameSizes, decode_payload};
use super::stream::{self, ClientStream};
use super::{Address, ClientError, ClientOptions, within};
use crate::command::hello::HelloReply;
use crate::command::{Command, Error, ErrorCode, Kind, Reply};
use crate::protocol::{CONNECTION_ID, DecodedReply, encode_request_within};

/// A connection whose `hello` was accepted.
#[derive(Debug)]
pub struct Connection {
    frames: FramedRead<ClientStream, FrameDecoder>,
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
            let decoder = FrameDecoder { sizes: FrameSizes::FIRST };
            let mut connection = Self {
                frames: FramedRead::new(stream, decoder),
                output: BytesMut::new(),
                last_id: CONNECTION_ID,
                open: HashMap::new(),
            };
            connection.send(&options.hello().into()).map_err(ClientError::Request)?;
            connection.flush().await?;
            match connection.receive().await?.outcome {
                Ok(Reply::Hello(hello)) => {
                    connection.frames.decoder_mut().sizes = FrameSizes::of(&hello.limits);
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

    /// Encodes a request, to be sent by the next flush, and returns its id.
    pub fn send(&mut self, command: &Command) -> Result<u64, Error> {
        let id = self.last_id + 1;
        let bytes_max = self.frames.decoder().sizes.request;
        encode_request_within(bytes_max, id, command, &mut self.output)?;
        self.last_id = id;
        self.open.insert(id, command.kind());
        Ok(id)
    }

    /// How many requests have no reply yet, including those that were not flushed.
    pub fn in_flight(&self) -> usize {
        self.open.len()
    }

    /// Sends all requests that [`Self::send`] gathered.
    pub async fn flush(&mut self) -> io::Result<()> {
        let stream = self.frames.get_mut();
        while self.output.has_remaining() {
            stream.write_buf(&mut self.output).await?;
        }
        stream.flush().await
    }

    /// Waits for the next reply, whichever request it belongs to. An error that belongs to no
    /// request is [`ClientError::Refused`].
    pub async fn receive(&mut self) -> Result<DecodedReply, ClientError> {
        let payload = self.frames.next().await.ok_or(ClientError::Closed)??;
        self.decode(&payload)
    }

    /// Returns a reply whose bytes were read already; `None` if no complete one is there.
    pub fn received(&mut self) -> Result<Option<DecodedReply>, ClientError> {
        let mut decoder = *self.frames.decoder();
        let payload = decoder.decode(self.frames.read_buffer_mut())?;
        payload.map(|payload| self.decode(&payload)).transpose()
    }

    fn decode(&mut self, payload: &Bytes) -> Result<DecodedReply, ClientError> {
        let decoded = decode_payload(payload, |id| self.open.get(&id).copied());
        match &decoded {
            Ok(DecodedReply { outcome: Ok(Reply::Watch(_)), .. }) => {}
            Ok(reply) => drop(self.open.remove(&reply.id)),
            // No request gets its reply after an error: later replies belong to no open request.
            Err(_) => self.open.clear(),
        }
        decoded
    }

    /// Takes the connection apart: the frame sizes, the socket, the bytes read behind the last
    /// reply, and the last id.
    pub(super) fn into_parts(self) -> (FrameSizes, ClientStream, BytesMut, u64) {
        let parts = self.frames.into_parts();
        (parts.codec.sizes, parts.io, parts.read_buf, self.last_id)
    }
}
