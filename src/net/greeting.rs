//! The wait for the first frame of a connection, which should be `hello`.
//!
//! Invariants:
//! - Before its first frame is whole, a connection holds a few KiB. That frame has at most
//!   [`HELLO_BYTES_MAX`] bytes, and nothing behind it is read.
//! - The wait ends at the stranger's deadline, or when its place is needed for another connection
//!   (see [`Guest`]).

use std::future::poll_fn;
use std::io;

use bytes::BytesMut;

use super::shutdown::Shutdown;
use super::stream::Stream;
use super::wrong_protocol::Spoken;
use crate::admission::Guest;
use crate::command::{Error, ErrorCode};
use crate::limits::{GREETING_TIMEOUT_MS, HELLO_BYTES_MAX};
use crate::metrics::doors::Dropped;
use crate::protocol::{FrameError, frame};
use crate::throttle::throttled;

/// Free space reserved before each read, in bytes.
const READ_BYTES: usize = 1 << 10;

/// The result of the wait for the first frame.
pub enum Greeting {
    /// The first frame is whole and in the input. The caller checks whether it is a `hello`.
    Whole,
    /// The first frame is rejected. The client gets this error, and then the connection ends.
    Refused(Error),
    /// The client speaks another protocol. It gets these bytes, and then the connection ends.
    Foreign(Vec<u8>),
    /// The wait ended without a frame: the client has disconnected, or the server stops.
    Ended,
}

enum Woken {
    Input,
    Evicted,
    Late,
    Stopped,
}

/// Reads into `input` until the first frame is whole, the stranger must go, or the server stops.
///
/// # Errors
/// Those of the socket.
pub async fn first_frame(
    stream: &mut Stream,
    input: &mut BytesMut,
    guest: &Guest,
    stop: &mut Shutdown,
) -> io::Result<Greeting> {
    let late = tokio::time::sleep_until(guest.deadline().into());
    tokio::pin!(late);
    loop {
        match frame::first(input, HELLO_BYTES_MAX) {
            Ok(Some(_)) => return Ok(Greeting::Whole),
            Ok(None) => {}
            Err(error) => return Ok(refused(error, input, guest)),
        }
        let woken = tokio::select! {
            readable = stream.readable() => {
                readable?;
                Woken::Input
            }
            () = poll_fn(|context| guest.poll_evicted(context)) => Woken::Evicted,
            () = late.as_mut() => Woken::Late,
            () = stop.come() => Woken::Stopped,
        };
        match woken {
            Woken::Input => {
                input.reserve(READ_BYTES);
                match stream.try_read_buf(input) {
                    Ok(0) => return Ok(Greeting::Ended),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
            Woken::Evicted => return Ok(Greeting::Refused(evicted(guest))),
            Woken::Late => return Ok(Greeting::Refused(late_hello(guest))),
            Woken::Stopped => return Ok(Greeting::Ended),
        }
    }
}

fn refused(error: FrameError, input: &[u8], guest: &Guest) -> Greeting {
    match Spoken::of(input) {
        Some(spoken @ (Spoken::Http | Spoken::Tls)) => {
            throttled!(of 10, info, peer = %guest.peer(), spoken = spoken.name(),
                "a client of another protocol came to the TCP door");
            Greeting::Foreign(spoken.answer(guest.sign()))
        }
        _ => Greeting::Refused(no_hello(error)),
    }
}

fn no_hello(error: FrameError) -> Error {
    let of = match error {
        FrameError::TooLarge { bytes, .. } => format!("this frame has {bytes}"),
        FrameError::Empty => "this frame is empty".to_owned(),
    };
    let message =
        format!("the first frame must be hello, of at most {HELLO_BYTES_MAX} bytes; {of}");
    Error::new(ErrorCode::Unauthenticated, message)
}

fn evicted(guest: &Guest) -> Error {
    guest.meter().count_dropped(Dropped::NotAuthenticatedEvicted);
    throttled!(of 10, info, peer = %guest.peer(),
        "a connection without hello was closed for another one");
    Error::new(ErrorCode::Busy, "many new connections wait for a place; send hello at once")
}

fn late_hello(guest: &Guest) -> Error {
    guest.meter().count_dropped(Dropped::NotAuthenticated);
    throttled!(of 10, info, peer = %guest.peer(), "a connection without hello was closed");
    let message = format!("hello must come within {} s", GREETING_TIMEOUT_MS / 1000);
    Error::new(ErrorCode::Unauthenticated, message)
}
