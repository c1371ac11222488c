//! A request's body, as bytes and as JSON.
//!
//! Invariants:
//! - At most [`HTTP_BODY_BYTES_MAX`] bytes are held, whatever the length header says.
//! - A body that does not arrive within [`FRAME_TIMEOUT_MS`] is given up.
//! - The `Content-Type` is not asked for: `curl -d` labels JSON as a form.
//! - A body is a JSON object; its nesting is bounded by serde_json (128).
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;
use serde::de::DeserializeOwned;

use super::envelope::Failure;
use crate::command::Error;
use crate::limits::{FRAME_TIMEOUT_MS, HTTP_BODY_BYTES_MAX};

/// The whole body, in time and within the limit.
pub(super) async fn read(body: Body) -> Result<Bytes, Failure> {
    read_within(body, Duration::from_millis(FRAME_TIMEOUT_MS)).await
}

async fn read_within(body: Body, timeout: Duration) -> Result<Bytes, Failure> {
    match tokio::time::timeout(timeout, collect(body)).await {
        Ok(read) => read,
        Err(_) => Err(Failure::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body did not arrive within {} s", timeout.as_secs()),
        )),
    }
}

async fn collect(mut body: Body) -> Result<Bytes, Failure> {
    // A length that is announced is refused before it is sent.
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |bytes| bytes > HTTP_BODY_BYTES_MAX) {
        return Err(too_large());
    }
    let mut whole = Bytes::new();
    let mut parts = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| {
            Failure::new(StatusCode::BAD_REQUEST, "the body could not be read to its end")
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + parts.len() + data.len() > HTTP_BODY_BYTES_MAX {
            return Err(too_large());
        }
        // Nearly every body is one frame, which is then taken as it is.
        if whole.is_empty() && parts.is_empty() {
            whole = data;
        } else {
            if parts.is_empty() {
                parts.extend_from_slice(&std::mem::take(&mut whole));
            }
            parts.extend_from_slice(&data);
        }
    }
    Ok(if parts.is_empty() { whole } else { Bytes::from(parts) })
}

fn too_large() -> Failure {
    Error::too_large(format!("the body must be at most {HTTP_BODY_BYTES_MAX} bytes")).into()
}

/// What to make of a body that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It stands for `{}`.
    Empty,
    /// It is an error.
    Refuse,
}

/// The body as a JSON object with `T`'s fields; unknown fields are up to `T`.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8], missing: Missing) -> Result<T, Failure> {
    // Serde reads a struct from an array too, by position, which nobody means here.
    let text = match body.trim_ascii() {
        [] if missing == Missing::Empty => b"{}",
        text @ [b'{', ..] => text,
        _ => return Err(Error::invalid("the body must be a JSON object").into()),
    };
    serde_json::from_slice(text).map_err(|error| wrong_field::<T>(text, &error).into())
}

/// Which field of a body is wrong, and why. The body is read once more to find out: keeping track
/// of the place costs time, and nearly every body is right.
fn wrong_field<T: DeserializeOwned>(text: &[u8], error: &serde_json::Error) -> Error {
    let again: Result<T, _> =
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_slice(text));
    match again {
        Err(placed) if placed.path().iter().len() > 0 => {
            Error::invalid(format!("{}: {}", placed.path(), placed.inner()))
        }
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
        let read = read_within(Body::new(Never), Duration::from_millis(1)).await;
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
        for wrong in ["[]", "null", "1", "\"{}\"", "{", "{} {}", "{\"a\":1,}", "\u{feff}{}"] {
            assert!(object(wrong, Missing::Empty).is_err(), "{wrong}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(100_000));
        assert!(object(&deep, Missing::Refuse).unwrap_err().message().contains("recursion"));
    }
}
