//! The page that shows the API's document, with the library that renders it.
//!
//! Invariants:
//! - All files come from this program. So the page works without a network, and it may load nothing
//!   from elsewhere.
//! - The library's files are stored and sent with gzip, whatever the client accepts. Only browsers
//!   read them, and browsers accept gzip.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_ENCODING;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::DocsDoor;
use crate::http::envelope::Failure;
use crate::http::page::{file, html};

const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The routes of the page that shows the API's document, and of its files.
pub(super) fn routes(door: DocsDoor) -> Router {
    Router::new()
        .route("/docs", get(|| async { html(include_str!("../docs.html"), PAGE_POLICY) }))
        .route("/docs/", get(|| async { Redirect::permanent("../docs") }))
        .route("/docs/docs.js", get(move || async move { file(SCRIPT, script(door).into()) }))
        .route("/docs/swagger-ui.css", get(|| async { library("swagger-ui.css", STYLE) }))
        .route(
            "/docs/swagger-ui-bundle.js",
            get(|| async { library("swagger-ui-bundle.js", SCRIPT) }),
        )
}

fn script(door: DocsDoor) -> String {
    let tried = match door {
        DocsDoor::App => r#"["get", "post"]"#,
        DocsDoor::Admin => "[]",
    };
    include_str!("../docs.js").replace("TRIED_METHODS", tried)
}

/// A file of the library that renders the page.
fn library(name: &str, content_type: &'static str) -> Response {
    // These files need no settings; the page that loads them has its own.
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
