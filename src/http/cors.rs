//! Which pages of other sites may read the app's answers (CORS).
//!
//! Without a list no browser lets a page of another site do so. With one, pages of the listed sites
//! alone may, and never with cookies: who calls is told by a header that the page itself must have
//! been given. Pages of other sites cannot change anything either, because that header makes their
//! browser ask first.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::time::Duration;

use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::app::KEY_HEADER;

/// How long a browser need not ask again.
const ASKED_FOR: Duration = Duration::from_secs(60 * 60);

/// The same routes for pages of these origins too. `X-User-Id` is not among the headers that a page
/// may send: it is a gateway's to set.
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
