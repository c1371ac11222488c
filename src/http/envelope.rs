//! The one shape of every answer: `{"code":200,"data":...,"msg":""}`.
//!
//! Invariants:
//! - `code` is the HTTP status; on a failure `data` is null and `msg` says why.
//! - A failure's message is made by this program: it holds no secret and no framework's words.
//! - Answers are never cached: they are one user's, and of this moment.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::command::{Error, ErrorCode};
use crate::limits::COMPRESSED_BYTES_MIN;
use crate::metrics::doors::Refused;

/// What a JSON answer is labelled with.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The label of answers that must not be kept.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// The value of `Vary` where another client might get the body in another encoding.
pub(super) const BY_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");

/// What is before the data of an answer with status 200.
pub(super) const DATA_BEGINS: &[u8] = br#"{"code":200,"data":"#;
/// What is behind it.
pub(super) const DATA_ENDS: &[u8] = br#","msg":""}"#;

#[derive(Serialize)]
struct Envelope<'a, T> {
    code: u16,
    data: T,
    msg: &'a str,
}

/// `data` with status 200. `bytes_expected` sizes the buffer, so that a long list is written
/// without moving it over and over.
pub(super) fn success<T: Serialize>(data: T, bytes_expected: usize) -> Response {
    respond(StatusCode::OK, data, "", bytes_expected)
}

/// The same, where the caller writes `data`.
pub(super) fn success_written(
    bytes_expected: usize,
    write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
) -> Response {
    let mut bytes = Vec::with_capacity(bytes_expected);
    bytes.extend_from_slice(DATA_BEGINS);
    let written = write(&mut bytes);
    bytes.extend_from_slice(DATA_ENDS);
    finish(StatusCode::OK, bytes, written)
}

/// An error as the bytes of a whole answer, for a connection that is closed before it has a request.
pub fn last_words(error: &Error) -> Vec<u8> {
    whole_answer(&error.clone().into())
}

/// A failure as the bytes of a whole answer, the last one of its connection.
pub(super) fn whole_answer(failure: &Failure) -> Vec<u8> {
    let status = failure.status;
    let envelope = Envelope { code: status.as_u16(), data: (), msg: &failure.message };
    let body = serde_json::to_string(&envelope).unwrap_or_default();
    format!(
        "HTTP/1.1 {} {}\r\ncontent-type: application/json\r\ncache-control: no-store\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        status.as_u16(),
        status.canonical_reason().unwrap_or_default(),
        body.len()
    )
    .into_bytes()
}

fn respond<T: Serialize>(
    status: StatusCode,
    data: T,
    msg: &str,
    bytes_expected: usize,
) -> Response {
    let mut bytes = Vec::with_capacity(bytes_expected);
    let envelope = Envelope { code: status.as_u16(), data, msg };
    let written = serde_json::to_writer(&mut bytes, &envelope);
    finish(status, bytes, written)
}

fn finish(status: StatusCode, bytes: Vec<u8>, written: serde_json::Result<()>) -> Response {
    match written {
        Ok(()) => {
            let varies = bytes.len() >= COMPRESSED_BYTES_MIN;
            let mut response = with_body(status, JSON, Body::from(bytes));
            if varies {
                response.headers_mut().insert(VARY, BY_ENCODING);
            }
            response
        }
        // Writing to memory does not fail, and no reply has a map with keys that are not strings.
        Err(error) => {
            Failure::internal(format!("the answer could not be encoded: {error}")).into_response()
        }
    }
}

/// A response with the headers that every answer has.
pub(super) fn with_body(status: StatusCode, content_type: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Why a request has no data: becomes the envelope with `data` null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    message: Cow<'static, str>,
    /// Why a credential was refused, if that is the failure.
    refused: Option<Refused>,
}

impl Failure {
    /// A failure that may have a status no command has (405, 408).
    pub(super) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), refused: None }
    }

    /// 401.
    pub(super) fn unauthenticated(reason: Refused, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message).refused_as(reason)
    }

    /// Notes why a credential was refused, for the door's counters.
    #[must_use]
    pub(super) fn refused_as(self, reason: Refused) -> Self {
        Self { refused: Some(reason), ..self }
    }

    /// Why a credential was refused, if that is the failure.
    pub(super) const fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// 500: the program is wrong, not the request.
    pub(super) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// The same, if it is one of `expected`, without what only members of a chat may know.
    pub(super) fn told_to_anybody(self, expected: &[ErrorCode]) -> Self {
        let missing = ErrorCode::NotFound;
        if self.status.as_u16() == missing.status() && expected.contains(&missing) {
            return Self::new(self.status, "there is no such chat, or you are no member of it");
        }
        self
    }

    /// The HTTP status.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// What the client is told.
    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status =
            StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, error.message)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = respond(self.status, (), &self.message, 64 + self.message.len());
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The answer to a path that no route has.
pub(super) async fn unknown_route(uri: Uri) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, format!("there is no route {}", uri.path()))
}

/// The answer to a path that has a route, by another method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

/// A header that may be there once at most: two of them are two opinions, and choosing one is how
/// a gateway's word gets replaced by a client's.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, MoreThanOne> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(MoreThanOne) } else { Ok(first) }
}

/// A header was there twice.
#[derive(Debug)]
pub(super) struct MoreThanOne;
