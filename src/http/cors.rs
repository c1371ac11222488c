//! Which pages of other sites may read the app's answers (CORS).
//!
//! Without a list of origins, a browser lets no other site's page read an answer. With a list it
//! lets pages of these sites, but sends no cookies for them. What identifies the caller is a
//! header, so the page itself must know its value. Other sites cannot change anything either:
//! because of that header, the browser asks first with a preflight.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::time::Duration;

use axum::Router;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::app::KEY_HEADER;

/// How long a browser may cache the answer to a preflight.
const ASKED_FOR: Duration = Duration::from_secs(60 * 60);

/// Lets pages of these origins use the routes. They may not send `X-User-Id`, which only a gateway
/// sets. Without origins, returns the router unchanged.
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
