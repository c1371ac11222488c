//! Accepts the connections of every door. `serve` decides where each runs: the TCP door gives it to
//! the worker with the fewest connections.
//!
//! Invariants:
//! - A connection holds a place of its door (see [`crate::admission::door`]) from the moment it is
//!   accepted. If there is no place, the client gets an error and is disconnected at once.
//! - A flood of connections writes a log line now and then, not one line per connection.
//! - A TLS handshake runs on the accepting thread, so that it costs no worker any time. Meanwhile
//!   the connection is a stranger: it has a deadline and can be evicted.
//! - If file descriptors run out, accepting pauses and continues later.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::timeout_at;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use super::listener::Listener;
use super::stream::{Movable, Parked, Stream};
use super::wrong_protocol::Spoken;
use crate::access::Tls;
use crate::admission::{Admission, Door, Guest};
use crate::command::Error;
use crate::metrics::doors::Dropped;
use crate::protocol::{self, CONNECTION_ID};
use crate::throttle::{Throttle, throttled};

/// Pause before the next accept after one failed.
const PAUSE: Duration = Duration::from_millis(50);
/// Pause before the next attempt to get a stranger's place for a new connection.
const ENTRY_PAUSE: Duration = Duration::from_millis(5);

/// The error frame for a client of the TCP door that finds the door full.
pub fn no_room() -> Vec<u8> {
    let mut told = BytesMut::new();
    protocol::encode_reply(CONNECTION_ID, &Err(Error::no_room()), &mut told);
    told.to_vec()
}

/// Accepts connections until the server stops. With `tls`, connections from the network make a TLS
/// handshake first; unix sockets do not. `serve` gets each connection in a form that may move to
/// another thread.
///
/// # Errors
/// If the listener cannot be used at all. An accept that fails is logged and tried again.
pub async fn accept(
    listener: Listener,
    door: Arc<Door>,
    tls: Option<Arc<Tls>>,
    mut stop: watch::Receiver<bool>,
    serve: impl Fn(Parked, Guest) + 'static,
) -> io::Result<()> {
    let listener = listener.arrive()?;
    let serve = Rc::new(serve);
    let (errors, turned_away) = (Throttle::new(), Throttle::new());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                // The client has disconnected already, or descriptors ran out. The door keeps
                // accepting.
                throttled!(by errors, warn, %error, door = door.meter().name(),
                    "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let entered = tokio::select! {
            entered = enter(&door, &stream) => entered,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        let Some(guest) = entered else {
            turn_away(&door, stream, tls.is_some(), &turned_away);
            continue;
        };
        let (serve, stop) = (Rc::clone(&serve), stop.clone());
        match (stream, &tls) {
            (Stream::Tcp(stream), Some(tls)) => {
                let acceptor = tls.acceptor();
                spawn_local(async move {
                    if let Some(stream) = shake_hands(acceptor, stream, &guest, stop).await {
                        hand_over(stream, guest, &*serve);
                    }
                });
            }
            (stream, _) => hand_over(stream, guest, &*serve),
        }
    }
}

/// Gets a place for a new connection; `None` if the door is full. If all strangers are too young to
/// be evicted, it waits. Meanwhile the operating system queues further connections.
async fn enter(door: &Arc<Door>, stream: &Stream) -> Option<Guest> {
    loop {
        match door.enter(stream.peer()) {
            Admission::Open(guest) => return Some(guest),
            Admission::Full => return None,
            Admission::Later => tokio::time::sleep(ENTRY_PAUSE).await,
        }
    }
}

/// Sends a client that spoke clear text to a door with TLS an answer in its own protocol. Returns
/// the error that ends the connection.
fn say(stream: TcpStream, spoken: Spoken, guest: &Guest) -> io::Error {
    let sign = format!("this door speaks TLS (chatshard: --tls-ca FILE); {}", guest.sign());
    let mut request = [0; 4096];
    // Reads what the client sent: closing a socket with unread bytes resets it, and the answer
    // could be lost.
    _ = stream.try_read(&mut request);
    _ = stream.try_write(&spoken.answer(&sign));
    io::Error::new(io::ErrorKind::InvalidData, format!("the client speaks {}", spoken.name()))
}

/// Closes a connection that got no place, with an error where it can read one.
fn turn_away(door: &Door, stream: Stream, is_tls: bool, limit: &Throttle) {
    door.meter().count_dropped(Dropped::NoRoom);
    throttled!(by limit, warn, peer = %stream.peer(), door = door.meter().name(), max = door.max(),
        "too many connections; a new one was closed");
    let is_plain = !is_tls || matches!(stream, Stream::Unix(_));
    // Before its handshake, a TLS client cannot read an error, so it gets none.
    if is_plain && let Ok(stream) = stream.park() {
        stream.say_last(door.full());
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
    guest: &Guest,
    mut stop: watch::Receiver<bool>,
) -> Option<Stream> {
    let (peer, meter) = (guest.peer(), guest.meter());
    let shaking = async {
        let mut first = [0; 8];
        let count = stream.peek(&mut first).await?;
        match first.get(..count).and_then(Spoken::of) {
            Some(spoken @ (Spoken::Http | Spoken::Frames)) => Err(say(stream, spoken, guest)),
            Some(Spoken::Tls) | None => acceptor.accept(Movable::new(stream)).await,
        }
    };
    let shaking = timeout_at(guest.deadline().into(), shaking);
    let shaken = tokio::select! {
        shaken = shaking => shaken,
        () = poll_fn(|context| guest.poll_evicted(context)) => {
            meter.count_dropped(Dropped::NotAuthenticatedEvicted);
            throttled!(of 10, info, %peer, "a TLS handshake was given up for another connection");
            return None;
        }
        _ = stop.wait_for(|stop| *stop) => return None,
    };
    match shaken {
        Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            throttled!(of 10, info, %error, %peer, "a TLS handshake failed");
            None
        }
        Err(_) => {
            meter.count_dropped(Dropped::NotAuthenticated);
            throttled!(of 10, info, %peer, "a TLS handshake took too long");
            None
        }
    }
}
