//! The form of every answer: `{"code":200,"data":...,"msg":""}`.
//!
//! Invariants:
//! - `code` is the HTTP status. On a failure `data` is null and `msg` gives the reason.
//! - No message contains a secret or a text of a framework: this program writes all of them.
//! - No answer may be cached, because it is for one user and one moment.
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

/// The `Content-Type` of a JSON answer.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The `Cache-Control` of answers that must not be stored.
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// The value of `Vary` where the encoding of the body depends on `Accept-Encoding`.
pub(super) const BY_ENCODING: HeaderValue = HeaderValue::from_static("accept-encoding");

/// The header that names the active.
const ACTIVE: HeaderName = HeaderName::from_static("x-chatshard-active");

/// The bytes before the data of an answer with status 200.
pub(super) const DATA_BEGINS: &[u8] = br#"{"code":200,"data":"#;
/// The bytes behind the data of an answer with status 200.
pub(super) const DATA_ENDS: &[u8] = br#","msg":""}"#;

#[derive(Serialize)]
struct Envelope<'a, T> {
    code: u16,
    data: T,
    msg: &'a str,
}

/// An answer with `data` and status 200. `bytes_expected` sizes the buffer, so that a long body is
/// not moved while it is written.
pub(super) fn success<T: Serialize>(data: T, bytes_expected: usize) -> Response {
    respond(StatusCode::OK, data, "", bytes_expected)
}

/// Like [`success`], for a caller that writes the JSON of `data` itself.
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

/// An error as a whole HTTP answer, in bytes, for a connection that is closed before its first
/// request.
pub fn last_words(error: &Error) -> Vec<u8> {
    whole_answer(&error.clone().into())
}

/// A failure as a whole HTTP answer, in bytes, with `Connection: close`.
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
        // Writing to memory does not fail, and every reply can be JSON. So this is a defect.
        Err(error) => {
            Failure::internal(format!("the answer could not be encoded: {error}")).into_response()
        }
    }
}

/// An answer with `body`, and with the headers that every answer has.
pub(super) fn with_body(status: StatusCode, content_type: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// A request that failed. Its answer is the envelope with `data` null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    status: StatusCode,
    message: Cow<'static, str>,
    /// Why a credential was rejected, for the metrics; `None` for any other failure.
    refused: Option<Refused>,
    /// The address of the active, if this node is not; empty if it is not known.
    active: Option<String>,
}

impl Failure {
    /// A failure with any status, also one that no command's error has (405, 408).
    pub(super) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), refused: None, active: None }
    }

    /// A failure with status 401. `reason` says in the metrics why the credential was rejected.
    pub(super) fn unauthenticated(reason: Refused, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message).refused_as(reason)
    }

    /// Says in the metrics that the request failed because a credential was rejected.
    #[must_use]
    pub(super) fn refused_as(self, reason: Refused) -> Self {
        Self { refused: Some(reason), ..self }
    }

    /// Why a credential was rejected, for the metrics; `None` for any other failure.
    pub(super) const fn refused(&self) -> Option<Refused> {
        self.refused
    }

    /// A failure with status 500: a defect of the program, not of the request.
    pub(super) fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// Hides whether a chat exists from users who are no members. If the route's `expected` errors
    /// contain 404, every 404 gets one fixed message.
    pub(super) fn told_to_anybody(self, expected: &[ErrorCode]) -> Self {
        let missing = ErrorCode::NotFound;
        if self.status.as_u16() == missing.status() && expected.contains(&missing) {
            return Self::new(self.status, "there is no such chat, or you are no member of it");
        }
        self
    }

    /// Tells an app 503 in place of 421: it has one address, and whoever balances the load finds the
    /// active in a header.
    pub(super) fn without_moved(self) -> Self {
        match self.status {
            StatusCode::MISDIRECTED_REQUEST => Self {
                status: StatusCode::SERVICE_UNAVAILABLE,
                message: "not applied: this node is not the active; try again".into(),
                ..self
            },
            _ => self,
        }
    }

    /// The HTTP status of the failure's answer.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// The reason that the answer gives in `msg`.
    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status =
            StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let active = error.moved.map(|moved| moved.address);
        Self { active, ..Self::new(status, error.message) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = respond(self.status, (), &self.message, 64 + self.message.len());
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(Ok(address)) = self.active.as_deref().map(HeaderValue::from_str) {
            response.headers_mut().insert(ACTIVE, address);
        }
        response
    }
}

/// The answer to a path without a route.
pub(super) async fn unknown_route(uri: Uri) -> Failure {
    Failure::new(StatusCode::NOT_FOUND, format!("there is no route {}", uri.path()))
}

/// The answer to a path that has a route with another method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

/// The value of a header that may occur only once; `None` if it is absent.
///
/// With two values, a client's could replace that of a gateway in front. So two are an error.
pub(super) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, MoreThanOne> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() { Err(MoreThanOne) } else { Ok(first) }
}

/// The error of [`single`]: the header occurs more than once.
#[derive(Debug)]
pub(super) struct MoreThanOne;
