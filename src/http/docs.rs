//! Serves the API's document, and a page that shows it and lets a reader try the routes.
//!
//! Invariants:
//! - Document and page are the same for everyone, so no credentials are required.
//! - All addresses are relative to the page. So it also works behind a gateway that serves this
//!   listener below some path.
//! - A reader can try the routes only at the app's own door, as a page may send requests only to
//!   its own site.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::sync::LazyLock;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa::openapi::server::{Server, ServerBuilder, ServerVariableBuilder};

use super::app;
use super::envelope::{Failure, JSON, with_body, wrong_method};

#[cfg(feature = "docs")]
mod page;

/// The listener that serves the document and the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocsDoor {
    /// The HTTP door, which also serves the routes.
    App,
    /// The admin listener, from which the routes cannot be tried.
    Admin,
}

/// The routes of the document, the page and its files. A program without the feature `docs` has only
/// the document.
pub fn docs_router(door: DocsDoor) -> Router {
    let routes = Router::new().route("/openapi.json", get(move || async move { door.document() }));
    #[cfg(feature = "docs")]
    let routes = routes.merge(page::routes(door));
    routes.method_not_allowed_fallback(wrong_method)
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
}
