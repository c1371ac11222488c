//! Reads a request's body as bytes, and parses it as JSON.
//!
//! Invariants:
//! - At most [`HTTP_BODY_BYTES_MAX`] bytes are held, whatever `Content-Length` says.
//! - A body that does not arrive within [`FRAME_TIMEOUT_MS`] gets 408.
//! - `Content-Type` is ignored, because `curl -d` labels JSON as a form.
//! - A body is a JSON object in UTF-8; serde_json bounds its nesting (128).
//! - No field may occur twice. Otherwise a check might read the first value, and the command use
//!   the second.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::future::{pending, poll_fn};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer};
use serde_path_to_error::Track;

use super::envelope::Failure;
use super::visitor::Visitor;
use crate::admission::{Budget, BudgetHold};
use crate::command::{Command, Error, Kind};
use crate::limits::{FRAME_TIMEOUT_MS, HTTP_BODY_BYTES_MAX, INCOMPLETE_BYTES_FREE};
use crate::metrics::doors::Dropped;

/// Most bytes of a body that the worker decodes itself. A longer one goes to the offload thread,
/// because other connections would wait.
pub(super) const WORKER_DECODES_MAX: usize = 32 << 10;
/// Time limit for the arrival of the whole body.
const TIMEOUT: Duration = Duration::from_millis(FRAME_TIMEOUT_MS);

/// Deserializes the arguments of a command from a JSON object.
#[derive(Debug, Clone, Copy)]
struct Arguments(Kind);

impl<'de> DeserializeSeed<'de> for Arguments {
    type Value = Command;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Command, D::Error> {
        Command::deserialize_arguments(self.0, deserializer)
    }
}

/// Reads the whole body of a request, within the limits of time and size.
pub(super) async fn read(request: Request) -> Result<Bytes, Failure> {
    let visitor = Visitor::of(request.extensions()).cloned();
    let body = request.into_body();
    let read = read_within(body, Share::of(visitor.as_ref()), TIMEOUT).await;
    if let (Err(failure), Some(visitor)) = (&read, &visitor) {
        match failure.status() {
            StatusCode::REQUEST_TIMEOUT => visitor.note_dropped(Dropped::Incomplete),
            StatusCode::TOO_MANY_REQUESTS => visitor.note_dropped(Dropped::IncompleteEvicted),
            _ => {}
        }
    }
    read
}

/// What one body holds of the node's budget for incomplete requests.
struct Share<'a> {
    budget: Option<&'a Arc<Budget>>,
    hold: Option<BudgetHold>,
}

impl<'a> Share<'a> {
    fn of(visitor: Option<&'a Visitor>) -> Self {
        Self { budget: visitor.map(Visitor::incomplete), hold: None }
    }

    /// Counts `bytes` bytes of this body in the budget. Fails with 429 if there is no room for
    /// them.
    fn hold(&mut self, bytes: usize) -> Result<(), Failure> {
        let Some(budget) = self.budget.filter(|_| bytes > INCOMPLETE_BYTES_FREE) else {
            return Ok(());
        };
        let has_room = match &mut self.hold {
            Some(hold) => hold.resize(bytes),
            None => {
                self.hold = budget.hold(bytes);
                self.hold.is_some()
            }
        };
        if has_room { Ok(()) } else { Err(used_up()) }
    }

    /// Completes when the memory of this body is needed for another request.
    async fn evicted(&self) {
        match &self.hold {
            Some(hold) => hold.evicted().await,
            None => pending().await,
        }
    }
}

fn used_up() -> Failure {
    let message = "too many requests are incomplete; send a request as a whole, or try again later";
    Failure::new(StatusCode::TOO_MANY_REQUESTS, message)
}

async fn read_within(body: Body, share: Share<'_>, timeout: Duration) -> Result<Bytes, Failure> {
    match tokio::time::timeout(timeout, collect(body, share)).await {
        Ok(read) => read,
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} s", timeout.as_secs()),
        )),
    }
}

async fn collect(mut body: Body, mut share: Share<'_>) -> Result<Bytes, Failure> {
    // If the announced length is too large, the client need not send the body first.
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |bytes| bytes > HTTP_BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let mut whole = Bytes::new();
    let mut parts = Vec::new();
    loop {
        let next = poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let frame = tokio::select! {
            biased;
            frame = next => frame,
            () = share.evicted() => return Err(used_up()),
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| {
            Failure::new(StatusCode::BAD_REQUEST, "the body could not be read to its end")
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + parts.len() + data.len() > HTTP_BODY_BYTES_MAX {
            return Err(too_large());
        }
        // Nearly every body arrives as one frame, which is used without copying.
        if whole.is_empty() && parts.is_empty() {
            whole = data;
        } else {
            if parts.is_empty() {
                parts.extend_from_slice(&std::mem::take(&mut whole));
            }
            parts.extend_from_slice(&data);
            share.hold(parts.capacity())?;
        }
    }
    Ok(if parts.is_empty() { whole } else { Bytes::from(parts) })
}

fn too_large() -> Failure {
    Error::too_large(format!("the body must be at most {HTTP_BODY_BYTES_MAX} bytes")).into()
}

/// What an empty body means for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// An empty body means `{}`.
    Empty,
    /// An empty body is an error.
    Refuse,
}

/// Parses the body as a JSON object into `T`, which decides whether it accepts unknown fields.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8], missing: Missing) -> Result<T, Failure> {
    Ok(parse_as(PhantomData::<T>, body, missing)?)
}

/// Parses the body as the arguments of a command, and checks them against the command's limits.
pub(super) fn parse_command(kind: Kind, body: &[u8]) -> Result<Command, Failure> {
    let command = parse_as(Arguments(kind), body, Missing::Empty)
        .map_err(|error| Error::new(error.code, format!("{}: {}", kind.name(), error.message)))?;
    command.check()?;
    Ok(command)
}

fn parse_as<'b, S>(seed: S, body: &'b [u8], missing: Missing) -> Result<S::Value, Error>
where
    S: DeserializeSeed<'b> + Copy,
{
    let text = match body.trim_ascii() {
        [] if missing == Missing::Empty => b"{}",
        // serde would also read a struct from an array, by position. An API of JSON objects never
        // means that.
        text @ [b'{', ..] => text,
        text => return Err(no_object(text)),
    };
    let mut json = serde_json::Deserializer::from_slice(text);
    let parsed = seed.deserialize(&mut json).and_then(|parsed| json.end().map(|()| parsed));
    parsed.map_err(|error| wrong_field(seed, text, &error))
}

/// The error for a body that does not begin with a brace.
fn no_object(text: &[u8]) -> Error {
    Error::invalid(match text {
        [0xEF, 0xBB, 0xBF, ..] => {
            "body: it begins with a byte order mark (BOM); send JSON in UTF-8 without one"
        }
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => "body: it is UTF-16; send JSON in UTF-8",
        _ => "the body must be a JSON object",
    })
}

/// The error for a body that serde rejected: names the wrong field and the reason.
///
/// The body is parsed again to find the path of the field. To track it in every parse would cost
/// time, and nearly every body is valid.
fn wrong_field<'b, S: DeserializeSeed<'b>>(
    seed: S,
    text: &'b [u8],
    error: &serde_json::Error,
) -> Error {
    let (mut json, mut track) = (serde_json::Deserializer::from_slice(text), Track::new());
    let again = seed.deserialize(serde_path_to_error::Deserializer::new(&mut json, &mut track));
    match (again, track.path()) {
        (Err(why), path) if path.iter().len() > 0 => Error::invalid(format!("{path}: {why}")),
        _ => Error::invalid(format!("body: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value};

    struct Never;

    impl HttpBody for Never {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }

    #[tokio::test]
    async fn a_body_that_does_not_arrive_is_given_up() {
        let read = read_within(Body::new(Never), Share::of(None), Duration::from_millis(1)).await;
        assert!(read.unwrap_err().message().contains("did not arrive"));
    }

    fn object(body: &str, missing: Missing) -> Result<Map<String, Value>, Failure> {
        parse(body.as_bytes(), missing)
    }

    #[test]
    fn only_an_object_is_a_body() {
        assert!(object(" \r\n", Missing::Empty).unwrap().is_empty());
        assert!(object("", Missing::Refuse).is_err());
        assert!(object(" {\"a\": 1} ", Missing::Refuse).unwrap().contains_key("a"));
        for wrong in ["[]", "null", "1", "\"{}\"", "{", "{} {}", "{\"a\":1,}"] {
            assert!(object(wrong, Missing::Empty).is_err(), "{wrong}");
        }
        let with_mark = object("\u{feff}{}", Missing::Empty).unwrap_err();
        assert!(with_mark.message().contains("byte order mark"), "{with_mark:?}");
        let utf_16 = parse::<Map<String, Value>>(b"\xff\xfe{\0}\0", Missing::Empty).unwrap_err();
        assert!(utf_16.message().contains("UTF-16"), "{utf_16:?}");
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert!(object(&deep, Missing::Refuse).unwrap_err().message().contains("recursion"));
    }
}
