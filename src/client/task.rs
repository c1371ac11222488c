//! The task behind a client. One future writes and one reads; when one ends, the task ends.
//!
//! Invariants:
//! - A request is in `open` before its first byte can be sent. So when the task ends, a request in
//!   the queue was not sent, and a request in `open` may have been.
//! - A request is not sent if its caller stopped waiting before.
//! - Every caller gets a reply or an error, also when the task ends.

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

/// Bytes of requests after which a write begins, though more requests may wait.
const BATCH_BYTES: usize = 64 << 10;

/// Shortest time between pings. Without it, a server with a tiny idle time-out would keep the
/// client busy.
const PING_EVERY_MIN: Duration = Duration::from_millis(10);

/// A request that waits for its turn on the socket.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) command: Command,
    pub(super) answer: oneshot::Sender<Outcome>,
    pub(super) permit: OwnedSemaphorePermit,
}

/// A request that was sent, or is being sent, and has no reply yet.
struct Open {
    kind: Kind,
    answer: oneshot::Sender<Outcome>,
    /// One of the places for requests in flight. It is freed when the reply comes, even if the
    /// caller stopped waiting: the server has the request until then.
    _permit: OwnedSemaphorePermit,
}

/// The requests without a reply, by id. Reader and writer lock it, each for a moment.
#[derive(Default)]
struct OpenRequests(Mutex<HashMap<u64, Open>>);

impl OpenRequests {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the last client is dropped or the connection breaks. Then each request that is left
/// gets an error.
pub(super) async fn run(
    connection: Connection,
    mut queue: mpsc::UnboundedReceiver<Outgoing>,
    idle: Duration,
    in_flight: Arc<Semaphore>,
    ended: Arc<OnceLock<String>>,
) {
    let (sizes, stream, input, last_id) = connection.into_parts();
    let (reader, writer) = split(stream);
    // Bytes behind the reply to `hello` were read already, and come first.
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
    // After this no request enters the queue, which is then emptied.
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

/// Reads replies and hands each to its caller, until the connection ends. It always returns an
/// error.
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
        // A caller that stopped waiting needs no reply.
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
    /// Writes the queued requests in batches. Returns `Ok` when every client was dropped.
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

    /// Sends a ping, so that the server does not close an idle connection. If every permit is
    /// taken, requests are in flight, and no ping is needed.
    fn put_ping(&mut self, output: &mut BytesMut) {
        if let Ok(permit) = self.in_flight.clone().try_acquire_owned() {
            // The receiver is kept until `put` is done, which sends no request whose caller is
            // gone.
            let (answer, _answered) = oneshot::channel();
            self.put(Outgoing { command: Ping {}.into(), answer, permit }, output);
        }
    }
}
