//! The headers that every file for a browser gets.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use axum::body::Body;
use axum::http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};
use axum::http::header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::envelope::with_body;

/// An HTML page that may load and do what `policy` allows. No other page may frame it, and its
/// links do not say where their reader came from.
pub(super) fn html(text: &'static str, policy: HeaderValue) -> Response {
    let mut response = file("text/html; charset=utf-8", Body::from(text));
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A file that a page loads. The browser must take it as `content_type` and not guess another type.
pub(super) fn file(content_type: &'static str, body: Body) -> Response {
    let mut response = with_body(StatusCode::OK, HeaderValue::from_static(content_type), body);
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
