//! Accepting: each new connection goes to the core with the fewest.
//!
//! Invariants:
//! - At most `connections_max` connections are open; one more is told so and closed at once.
//! - A flood of them is a line in the log now and then, not a flood of lines.
//! - A TLS handshake is made here, so that no core waits for one or works for it. Handshakes are bounded in time and
//!   number, and if there are too many it is the oldest that goes: one of an honest client is over long before.
//! - Running out of file descriptors pauses accepting; it does not end it.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::listener::Listener;
use super::stream::{Movable, Parked, Stream};
use crate::access::Tls;
use crate::command::Error;
use crate::limits::{HANDSHAKE_TIMEOUT_MS, HANDSHAKES_MAX};
use crate::protocol::{self, CONNECTION_ID};
use crate::throttle::{Throttle, throttled};

/// Pause after an accept that failed.
const PAUSE: Duration = Duration::from_millis(50);

/// Open connections of a door, and how many there may be.
#[derive(Debug)]
pub struct Door {
    open: AtomicUsize,
    max: usize,
    name: &'static str,
    /// What a connection that finds no room is told.
    full: Vec<u8>,
}

impl Door {
    /// A door for at most `max` connections; `full` is sent to one that finds no room.
    pub fn new(name: &'static str, max: usize, full: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), max, name, full })
    }

    /// Connections that are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Lets one more in, as long as the guard lives; none if it is full.
    pub fn enter(self: &Arc<Self>) -> Option<Guest> {
        let entered = self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, |open| {
            (open < self.max).then_some(open + 1)
        });
        entered.is_ok().then(|| Guest(Arc::clone(self)))
    }
}

/// What a connection of this protocol that finds no room is told.
pub fn no_room() -> Vec<u8> {
    let mut told = BytesMut::new();
    protocol::encode_reply(CONNECTION_ID, &Err(Error::no_room()), &mut told);
    told.to_vec()
}

/// A connection's place in its door; leaving it makes room.
#[derive(Debug)]
pub struct Guest(Arc<Door>);

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Accepts until told to stop; the network's connections in TLS, if there is a certificate. `serve`
/// gets each connection, ready to be moved to a core.
///
/// # Errors
/// If the listener cannot be used at all.
pub async fn accept(
    listener: Listener,
    door: Arc<Door>,
    tls: Option<Arc<Tls>>,
    mut stop: watch::Receiver<bool>,
    serve: impl Fn(Parked, Guest) + 'static,
) -> io::Result<()> {
    let listener = listener.arrive()?;
    let serve = Rc::new(serve);
    let mut handshakes = Handshakes::new(door.max);
    let (errors, turned_away) = (Throttle::new(), Throttle::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        match accepted {
            Ok(stream) => match door.enter() {
                Some(guest) => {
                    let (serve, stop) = (Rc::clone(&serve), stop.clone());
                    match (stream, &tls) {
                        (Stream::Tcp(stream), Some(tls)) => {
                            let acceptor = tls.acceptor();
                            handshakes.begin(async move {
                                if let Some(stream) = shake_hands(acceptor, stream, stop).await {
                                    hand_over(stream, guest, &*serve);
                                }
                            });
                        }
                        (stream, _) => hand_over(stream, guest, &*serve),
                    }
                }
                None => turn_away(&door, stream, tls.is_some(), &turned_away),
            },
            Err(error) => {
                // The caller went away, or there are no descriptors left: neither ends the door.
                throttled!(by errors, warn, %error, door = door.name,
                    "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Closes a connection that found no room.
fn turn_away(door: &Door, stream: Stream, is_tls: bool, limit: &Throttle) {
    throttled!(by limit, warn, peer = stream.peer(), door = door.name, max = door.max,
        "too many connections; a new one was closed");
    let is_plain = !is_tls || matches!(stream, Stream::Unix(_));
    // Without its handshake it could not be told anything in TLS.
    if is_plain && let Ok(stream) = stream.park() {
        stream.say_last(&door.full);
    }
}

fn hand_over(stream: Stream, guest: Guest, serve: &impl Fn(Parked, Guest)) {
    match stream.set_nodelay().and_then(|()| stream.park()) {
        Ok(stream) => serve(stream, guest),
        Err(error) => debug!(%error, "a connection broke while it was accepted"),
    }
}

async fn shake_hands(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    mut stop: watch::Receiver<bool>,
) -> Option<Stream> {
    let peer = stream.peer_addr().map_or_else(|_| "gone".to_owned(), |peer| peer.to_string());
    let shaking = acceptor.accept(Movable::new(stream));
    let shaken = tokio::select! {
        shaken = timeout(Duration::from_millis(HANDSHAKE_TIMEOUT_MS), shaking) => shaken,
        _ = stop.wait_for(|stop| *stop) => return None,
    };
    match shaken {
        Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            throttled!(of 10, info, %error, peer, "a TLS handshake failed");
            None
        }
        Err(_) => {
            throttled!(of 10, info, peer, "a TLS handshake took too long");
            None
        }
    }
}

/// The handshakes under way, the oldest first.
struct Handshakes {
    open: VecDeque<AbortHandle>,
    max: usize,
}

impl Handshakes {
    /// They take at most half of a door's places.
    fn new(connections_max: usize) -> Self {
        Self { open: VecDeque::new(), max: HANDSHAKES_MAX.min(connections_max.div_ceil(2)) }
    }

    fn begin(&mut self, handshake: impl Future<Output = ()> + 'static) {
        if self.open.len() >= self.max {
            self.open.retain(|handshake| !handshake.is_finished());
        }
        if self.open.len() >= self.max
            && let Some(oldest) = self.open.pop_front()
        {
            oldest.abort();
        }
        self.open.push_back(spawn_local(handshake).abort_handle());
    }
}
