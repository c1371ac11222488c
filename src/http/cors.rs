//! Which pages of other sites may read the app's answers (CORS).
//!
//! Without a list, browsers let no page of another site read them. With a list, only pages of the
//! listed sites may, and never with cookies: a header identifies the caller, and the page itself
//! must have been given its value. Pages of other sites cannot change anything either, because that
//! header makes the browser send a preflight first.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::time::Duration;

use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::app::KEY_HEADER;

/// How long a browser may cache the answer to a preflight.
const ASKED_FOR: Duration = Duration::from_secs(60 * 60);

/// Allows pages of these origins to use the routes. They may not send `X-User-Id`, which only a
/// gateway sets. Without origins the router is returned unchanged.
pub fn with_cors(router: Router, origins: &[HeaderValue]) -> Router {
    if origins.is_empty() {
        return router;
    }
    router.layer(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins.iter().cloned()))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([AUTHORIZATION, CONTENT_TYPE, KEY_HEADER])
            .max_age(ASKED_FOR),
    )
}
