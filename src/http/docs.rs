//! Serves the API's document, and a page that shows it and lets a reader try the routes.
//!
//! Invariants:
//! - Document and page are the same for everyone, so no credentials are required.
//! - All files come from this program. So the page works without a network, and it may load nothing
//!   from elsewhere.
//! - All addresses are relative to the page. So it also works behind a gateway that serves this
//!   listener below some path.
//! - A reader can try the routes only at the app's own door, as a page may send requests only to
//!   its own site.
//! - The library's files are stored compressed and are sent so, whatever the client accepts.
//!   Browsers accept it, and the page is only for them.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_ENCODING;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use utoipa::openapi::server::{Server, ServerBuilder, ServerVariableBuilder};
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::app;
use super::envelope::{Failure, JSON, with_body, wrong_method};
use super::page::{file, html};

const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// The listener that serves the document and the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocsDoor {
    /// The HTTP door, which also serves the routes.
    App,
    /// The admin listener, from which the routes cannot be tried.
    Admin,
}

/// The routes of the document, the page and its files.
pub fn docs_router(door: DocsDoor) -> Router {
    Router::new()
        .route("/openapi.json", get(move || async move { door.document() }))
        .route("/docs", get(|| async { html(include_str!("docs.html"), PAGE_POLICY) }))
        .route("/docs/", get(|| async { Redirect::permanent("../docs") }))
        .route("/docs/docs.js", get(move || async move { file(SCRIPT, door.script().into()) }))
        .route("/docs/swagger-ui.css", get(|| async { library("swagger-ui.css", STYLE) }))
        .route(
            "/docs/swagger-ui-bundle.js",
            get(|| async { library("swagger-ui-bundle.js", SCRIPT) }),
        )
        .method_not_allowed_fallback(wrong_method)
}

impl DocsDoor {
    fn document(self) -> Response {
        static OF_APP: LazyLock<Result<Bytes, String>> =
            LazyLock::new(|| app::document(DocsDoor::App.server()));
        static OF_ADMIN: LazyLock<Result<Bytes, String>> =
            LazyLock::new(|| app::document(DocsDoor::Admin.server()));
        let document = match self {
            Self::App => &OF_APP,
            Self::Admin => &OF_ADMIN,
        };
        match &**document {
            Ok(json) => with_body(StatusCode::OK, JSON, Body::from(json.clone())),
            Err(why) => Failure::internal(format!("the document: {why}")).into_response(),
        }
    }

    /// The address of the routes, as the document names it.
    fn server(self) -> Server {
        match self {
            // Relative to the document: a gateway may serve it below some path.
            Self::App => Server::new("."),
            // Only the reader knows how apps reach the HTTP door.
            Self::Admin => {
                let door = ServerVariableBuilder::new()
                    .default_value("http://127.0.0.1:7780")
                    .description(Some("Where apps reach the HTTP door."));
                ServerBuilder::new().url("{door}").parameter("door", door).build()
            }
        }
    }

    fn script(self) -> String {
        let tried = match self {
            Self::App => r#"["get", "post"]"#,
            Self::Admin => "[]",
        };
        include_str!("docs.js").replace("TRIED_METHODS", tried)
    }
}

/// A file of the library that renders the page.
fn library(name: &str, content_type: &'static str) -> Response {
    // These files do not depend on the settings; the page has its own.
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
