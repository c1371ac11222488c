//! The Rust client: many calls share one connection, and each reply finds its caller by the request
//! id.
//!
//! Invariants:
//! - Calls are sent in the order in which they were made, so calls for one key keep their order.
//! - At most as many requests are in flight as the server accepts. Further calls wait, in order.
//! - A call ends with the server's reply, or with an error 503 that says what is known. It is "not
//!   applied" if the request was never sent or changes nothing. It is "outcome unknown" if the
//!   request was sent and no reply came.
//! - The connection ends when the last [`Client`] is dropped. The client does not reconnect: the
//!   caller decides what to do with calls of unknown outcome. A [`ClusterClient`] does.
//!
//! # Layout
//! - [`connection`]: one connection without tasks, for tools that send many requests before they
//!   read
//! - [`cluster`]: a client of the members of one journal, which finds the active; and a stream of
//!   changes that continues over lost connections and failovers
//! - [`changes`]: the stream of changes of one connection
//! - `download`: reads a long answer of an admin listener
//! - [`address`]: TCP and unix addresses of a server
//! - [`tls`]: which certificates and which name of a server the client trusts
//! - `codec`: frames of what the server sends
//! - `stream`: the bytes of a connection, plain or in TLS
//! - `task`: the task behind a [`Client`]

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::unreachable)]

pub mod address;
pub mod changes;
pub mod cluster;
mod codec;
pub mod connection;
pub(crate) mod download;
mod stream;
mod task;
pub mod tls;

use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

pub use address::Address;
pub use changes::Changes;
pub use cluster::{ClusterChanges, ClusterClient, KnownActive};
pub use connection::Connection;
pub use stream::{ClientStream, connect};
pub use tls::ClientTls;

use crate::command::hello::{Hello, HelloReply};
use crate::command::{Call, Class, Command, Error, Outcome, RunsAt};
use crate::limits::IN_FLIGHT_MAX;
pub use crate::protocol::{BadReply, DecodedReply, FrameError};
use task::Outgoing;

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The credentials, TLS settings and time-outs with which a client connects.
#[derive(Clone)]
pub struct ClientOptions {
    /// The secret, if the server requires one.
    pub token: Option<String>,
    /// Name and version of the program, for the server's log.
    pub name: Option<String>,
    /// The shard whose worker should serve the connection; any worker if absent.
    pub shard: Option<u16>,
    /// How old the state may be that a standby of a journal replies to reads from. `None`: only the
    /// active replies. The server takes whole ms, from 1 ms to 10 minutes.
    pub stale: Option<Duration>,
    /// The certificates to trust for TLS; `None` for a plain connection.
    pub tls: Option<ClientTls>,
    /// How long connecting and `hello` may take together.
    pub connect_timeout: Duration,
    /// How long a call may take, including its wait until fewer requests are in flight.
    pub call_timeout: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            token: None,
            name: Some(concat!("chatshard-rust/", env!("CARGO_PKG_VERSION")).to_owned()),
            shard: None,
            stale: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for ClientOptions {
    /// Shows whether there is a secret, and never the secret itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("token", &self.token.as_ref().map(|_| "(secret)"))
            .field("name", &self.name)
            .field("shard", &self.shard)
            .field("stale", &self.stale)
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("call_timeout", &self.call_timeout)
            .finish()
    }
}

impl ClientOptions {
    fn hello(&self) -> Hello {
        Hello {
            token: self.token.clone(),
            client: self.name.clone(),
            shard: self.shard,
            stale_ms: self.stale.map(|stale| u64::try_from(stale.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

/// Why a connection failed or ended.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The network failed, or the system refused something.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// No connection could be made to the address.
    #[error("cannot connect to {address}: {error}{}", address.advice(error.kind()))]
    Connect {
        /// The address of the server.
        address: Address,
        /// The error of the system.
        error: io::Error,
    },
    /// The server speaks another protocol, which the message names.
    #[error("{0}")]
    Foreign(&'static str),
    /// The handshake failed: the server does not speak TLS, or its certificate is not the expected
    /// one.
    #[error("TLS: {0}")]
    Tls(String),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// Connecting took longer than the options allow.
    #[error("no connection within {0:?}")]
    Timeout(Duration),
    /// The server refused `hello`, or ended the connection with this error.
    #[error("the server refused: {0}")]
    Refused(Error),
    /// No member of the journal knows an active.
    #[error("no member knows an active")]
    NoActive,
    /// The request cannot be encoded within the limits.
    #[error("{0}")]
    Request(Error),
    /// The server sent bytes that are not a frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The server sent a frame that is not a reply to an open request.
    #[error("{0}")]
    Reply(#[from] BadReply),
}

/// A connection that any number of tasks may use concurrently. Clones share it.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    hello: HelloReply,
    call_timeout: Duration,
    /// One permit for each request that the server may have in flight. Calls that hold one wait in
    /// the queue, so it bounds the queue too.
    in_flight: Arc<Semaphore>,
    queue: mpsc::UnboundedSender<Outgoing>,
    /// Why the connection ended; unset while it is open.
    ended: Arc<OnceLock<String>>,
}

impl Client {
    /// Connects, sends `hello`, and starts the task of the connection on the current tokio runtime.
    pub async fn connect(
        address: impl Into<Address>,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let (connection, hello) = Connection::connect(address, &options).await?;
        let permits = usize::try_from(hello.limits.in_flight).unwrap_or(IN_FLIGHT_MAX);
        let in_flight = Arc::new(Semaphore::new(permits.clamp(1, Semaphore::MAX_PERMITS)));
        // Each sender holds a permit, so the queue is bounded although its type is not.
        let (queue, outgoing) = mpsc::unbounded_channel();
        let ended = Arc::new(OnceLock::new());
        let idle = Duration::from_millis(hello.limits.idle_ms);
        tokio::spawn(task::run(connection, outgoing, idle, in_flight.clone(), ended.clone()));
        let call_timeout = options.call_timeout;
        Ok(Self { shared: Arc::new(Shared { hello, call_timeout, in_flight, queue, ended }) })
    }

    /// The server's reply to `hello`: its versions, shards and limits.
    pub fn hello(&self) -> &HelloReply {
        &self.shared.hello
    }

    /// Whether the connection has ended. Every further call then fails with "not applied".
    pub fn is_closed(&self) -> bool {
        self.shared.ended.get().is_some()
    }

    /// Hands a command to the connection's task. If this returns an error, nothing was sent.
    async fn submit(&self, command: Command) -> Result<oneshot::Receiver<Outcome>, Error> {
        let shared = &self.shared;
        // The semaphore is closed only when the connection ends.
        let permit = shared.in_flight.clone().acquire_owned().await.map_err(|_| self.not_sent())?;
        let (answer, answered) = oneshot::channel();
        shared.queue.send(Outgoing { command, answer, permit }).map_err(|_| self.not_sent())?;
        Ok(answered)
    }

    fn not_sent(&self) -> Error {
        Error::not_applied(self.shared.ended.get().map_or("connection lost", String::as_str))
    }
}

impl Call for Client {
    /// Sends the command and waits for its reply. A call that is dropped before it is sent is never
    /// sent. A call that is dropped later still runs on the server.
    async fn call(&self, command: Command) -> Outcome {
        if command.kind().runs_at() == RunsAt::Connection {
            let name = command.kind().name();
            return Err(Error::invalid(format!("{name}: a stream is opened with client::Changes")));
        }
        let class = command.class();
        let patience = self.shared.call_timeout;
        let now = Instant::now();
        // A time-out that the clock cannot represent becomes a year.
        let deadline = now.checked_add(patience).unwrap_or(now + YEAR);
        let answered = match timeout_at(deadline, self.submit(command)).await {
            Ok(submitted) => submitted?,
            Err(_) => {
                return Err(Error::not_applied("too many requests in flight for too long"));
            }
        };
        match timeout_at(deadline, answered).await {
            Ok(Ok(outcome)) => outcome,
            // The reply could not be decoded, or the runtime stopped the task.
            Ok(Err(_)) => Err(unanswered(class, "connection lost")),
            Err(_) => Err(unanswered(class, &format!("no answer within {patience:?}"))),
        }
    }
}

/// The error of a request that may have been sent, and got no reply. A command that changes nothing
/// counts as not applied, so its caller may send it again.
fn unanswered(class: Class, why: &str) -> Error {
    match class {
        Class::Read => Error::not_applied(why),
        Class::Write | Class::Operate => Error::outcome_unknown(why),
    }
}

/// Waits for `future`. Fails with [`ClientError::Timeout`] if it takes longer than `patience`.
async fn within<T>(
    patience: Duration,
    future: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    timeout(patience, future).await.map_err(|_| ClientError::Timeout(patience))?
}

#[cfg(test)]
mod tests;
