//! A page that shows the API's document and lets a reader try it.
//!
//! Invariants:
//! - Everything comes from this program: the page works without a network, and may load nothing
//!   from anywhere else.
//! - All places are named from the page's own: it also works behind a gateway that serves this
//!   listener below some path.
//! - The library's files are kept compressed, and are sent so whatever the client says it takes:
//!   browsers do, and the page is for nobody else.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_ENCODING;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::envelope::Failure;
use super::page::{file, html};

const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The page and its files.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/docs", get(|| async { html(include_str!("docs.html"), PAGE_POLICY) }))
        .route("/docs/", get(|| async { Redirect::permanent("../docs") }))
        .route("/docs/docs.js", get(|| async { file(SCRIPT, Body::from(include_str!("docs.js"))) }))
        .route("/docs/swagger-ui.css", get(|| async { library("swagger-ui.css", STYLE) }))
        .route(
            "/docs/swagger-ui-bundle.js",
            get(|| async { library("swagger-ui-bundle.js", SCRIPT) }),
        )
}

/// A file of the library that draws the page.
fn library(name: &str, content_type: &'static str) -> Response {
    // The settings are of no use to these files; the page has its own.
    match utoipa_swagger_ui::serve(name, Arc::new(Config::from(""))) {
        Ok(Some(SwaggerFile { bytes, gzpipped, .. })) => {
            let bytes = match bytes {
                Cow::Borrowed(bytes) => Bytes::from_static(bytes),
                Cow::Owned(bytes) => Bytes::from(bytes),
            };
            let mut response = file(content_type, Body::from(bytes));
            if gzpipped {
                let gzip = HeaderValue::from_static("gzip");
                response.headers_mut().insert(CONTENT_ENCODING, gzip);
            }
            response
        }
        _ => Failure::internal(format!("the page's file {name} is missing")).into_response(),
    }
}
