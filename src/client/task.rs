//! The task behind a client: one future writes, one reads, and the first to end ends both.
//!
//! Invariants:
//! - A request is in `open` before its first byte can leave. So at the end, a request in the queue
//!   was not sent, and a request in `open` may have been.
//! - A request whose caller is gone before its turn is not sent.
//! - Every caller gets a reply or an error, also at the end.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::codec::FramedRead;

use super::codec::{FrameDecoder, FrameSizes, decode_payload};
use super::stream::{StreamWriter, split};
use super::{ClientError, Connection, unanswered};
use crate::command::ping::Ping;
use crate::command::{Command, Error, Kind, Outcome};
use crate::protocol::encode_request_within;

/// Encoded requests that are gathered for one write, in bytes.
const BATCH_BYTES: usize = 64 << 10;

/// Shortest time between pings, so that a server with a short idle time-out does not make the
/// client spin.
const PING_EVERY_MIN: Duration = Duration::from_millis(10);

/// A request that waits for its turn on the socket.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Outcome>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// A request that the server may hold.
struct Open {
    kind: Kind,
    answer: oneshot::Sender<Outcome>,
    /// Released when the reply comes, not when the caller stops waiting: until then the server
    /// holds the request.
    _permit: OwnedSemaphorePermit,
}

/// The open requests by id. The two halves of the task lock it, each only briefly.
#[derive(Default)]
struct OpenRequests(Mutex<HashMap<u64, Open>>);

impl OpenRequests {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the last client is dropped or the connection breaks. Then it fails the requests that
/// are left.
pub(super) async fn run(
    connection: Connection,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
    idle: Duration,
    in_flight: Arc<Semaphore>,
    ended: Arc<OnceLock<String>>,
) {
    let (sizes, stream, input, last_id) = connection.into_parts();
    let (reader, writer) = split(stream);
    // What was read behind the reply to `hello` comes first.
    let frames =
        FramedRead::new(AsyncReadExt::chain(Cursor::new(input), reader), FrameDecoder { sizes });
    let open = OpenRequests::default();
    let end = {
        let mut writing =
            Writing { sizes, writer, next_id: last_id + 1, open: &open, in_flight: &in_flight };
        tokio::select! {
            end = read_all(frames, &open) => end,
            end = writing.write_all(&mut queue, (idle / 2).max(PING_EVERY_MIN)) => end,
        }
    };
    let why = match end {
        Ok(()) => "the client is gone".to_owned(),
        Err(error) => format!("connection lost: {error}"),
    };
    tracing::debug!(why, "a client's connection ended");
    // From here on no request enters the queue; then it is emptied.
    let _ = ended.set(why.clone());
    in_flight.close();
    queue.close();
    while let Some(request) = queue.recv().await {
        let _ = request.answer.send(Err(Error::not_applied(&why)));
    }
    for (_, request) in open.lock().drain() {
        let _ = request.answer.send(Err(unanswered(request.kind.class(), &why)));
    }
}

/// Reads replies and hands each to its caller. Returns only with an error.
async fn read_all(
    mut frames: FramedRead<impl AsyncRead + Unpin, FrameDecoder>,
    open: &OpenRequests,
) -> Result<(), ClientError> {
    while let Some(payload) = frames.next().await {
        let mut request = None;
        let reply = decode_payload(&payload?, |id| {
            request = open.lock().remove(&id);
            request.as_ref().map(|request| request.kind)
        })?;
        // A caller that is gone needs no reply.
        if let Some(request) = request {
            let _ = request.answer.send(reply.outcome);
        }
    }
    Err(ClientError::Closed)
}

struct Writing<'a> {
    sizes: FrameSizes,
    writer: StreamWriter,
    next_id: u64,
    open: &'a OpenRequests,
    in_flight: &'a Arc<Semaphore>,
}

impl Writing<'_> {
    /// Writes the requests of the queue in batches. Returns without error when every client is
    /// dropped.
    async fn write_all(
        &mut self,
        queue: &mut mpsc::UnboundedReceiver<Outgoing>,
        idle: Duration,
    ) -> Result<(), ClientError> {
        let mut output = BytesMut::with_capacity(BATCH_BYTES);
        loop {
            match tokio::time::timeout(idle, queue.recv()).await {
                Ok(Some(request)) => self.put(request, &mut output),
                Ok(None) => return Ok(()),
                Err(_) => self.put_ping(&mut output),
            }
            while output.len() < BATCH_BYTES
                && let Ok(request) = queue.try_recv()
            {
                self.put(request, &mut output);
            }
            while output.has_remaining() {
                self.writer.write_buf(&mut output).await?;
            }
            self.writer.flush().await?;
        }
    }

    fn put(&mut self, request: Outgoing, output: &mut BytesMut) {
        let Outgoing { command, answer, permit } = request;
        if answer.is_closed() {
            return;
        }
        if let Err(error) =
            encode_request_within(self.sizes.request, self.next_id, &command, output)
        {
            let _ = answer.send(Err(error));
            return;
        }
        let open = Open { kind: command.kind(), answer, _permit: permit };
        self.open.lock().insert(self.next_id, open);
        self.next_id += 1;
    }

    /// Keeps the server from closing a connection that is only quiet. With every permit taken the
    /// connection is not quiet, and needs no ping.
    fn put_ping(&mut self, output: &mut BytesMut) {
        if let Ok(permit) = self.in_flight.clone().try_acquire_owned() {
            // Kept until `put` has looked at it: a request whose caller is gone is not sent.
            let (answer, _answered) = oneshot::channel();
            self.put(Outgoing { command: Ping {}.into(), answer, permit }, output);
        }
    }
}
