//! Serves the API's document, and a page that shows it and lets a reader try the routes.
//!
//! Invariants:
//! - The document and the page are alike for everyone, so they require no credentials.
//! - All addresses are relative to the page. So the page also works behind a gateway that serves
//!   this listener below some path.
//! - A reader can try the routes only at the HTTP door, because a page may send requests only to
//!   the site that served it.
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
    /// The HTTP door, which also serves the routes of the document.
    App,
    /// The admin listener, from whose page the routes cannot be tried.
    Admin,
}

/// The routes of the API's document, and of the page that shows it. Without the feature `docs`
/// there is no page.
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

    /// The server that the document names: where the routes are.
    fn server(self) -> Server {
        match self {
            // The address is relative to the document, because a gateway may serve it below some
            // path.
            Self::App => Server::new("."),
            // The address of the HTTP door is unknown here: it depends on how apps reach it.
            Self::Admin => {
                let door = ServerVariableBuilder::new()
                    .default_value("http://127.0.0.1:7780")
                    .description(Some("Where apps reach the HTTP door."));
                ServerBuilder::new().url("{door}").parameter("door", door).build()
            }
        }
    }
}
