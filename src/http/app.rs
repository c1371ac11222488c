//! The routes of the HTTP door, for the caller's own rows: the three core routes, lists, and
//! changes of single rows.
//!
//! Invariants:
//! - The user of every command is the caller. A body that names another user is rejected.
//! - To a caller who is no member, a chat looks as if it had never existed. Anybody can compute the
//!   ids of single chats, which would reveal who talks with whom.
//! - `data` of the three core routes has exactly the API's fields, in the API's order. One
//!   exception: a page of a list also has `next_cursor`.
//! - The three core routes accept bodies with unknown fields, as their clients may send more. All
//!   other routes reject an unknown field, so that no option is silently ignored.
//! - Routes that change something accept the header `Idempotency-Key`. Other routes ignore it.
//! - A body accepts the conditions and bounds of its command (`if_version`, `up_to`). To ignore one
//!   would silently do more than the caller asked for.
//!
//! A new route is a type that implements `Route`, in the file of its family, and a line in
//! `each_route`.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

mod core_routes;
mod list;
mod mark;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use axum::routing::post;
use serde::Deserialize;
use utoipa::openapi::Server;

use super::auth::UserAuth;
use super::body::{self, WORKER_DECODES_MAX};
use super::encoding::Encoding;
use super::envelope::{Failure, single, unknown_route, wrong_method};
use super::long;
use super::openapi::Document;
use super::route::{Caller, Route, Visit};
use super::visitor::{self, Visitor};
use super::{ask, metered};
use crate::command::{Call, Class, Error, ErrorCode};
use crate::metrics::SharedMeter;
use crate::types::{IdempotencyKey, UserId};

/// The header with the idempotency key of a request.
pub(super) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// What all routes of the HTTP door share.
#[derive(Debug, Clone)]
pub struct App<C> {
    /// Runs the commands: the node, or what stands for it in a test.
    pub store: C,
    /// How callers are identified.
    pub auth: UserAuth,
    /// Records each request's status and time. Each worker has a meter of its own, so that workers
    /// do not wait for each other.
    pub meter: SharedMeter,
}

/// The routes for end users' apps, to be served by any listener.
pub fn app_router<C: Call>(state: App<C>) -> Router {
    let Served(router) = each_route(Served(Router::new()));
    router.method_not_allowed_fallback(wrong_method).fallback(unknown_route).with_state(state)
}

/// Visits every route, in the order in which the API's document shows them.
fn each_route<V: Visit>(visitor: V) -> V {
    visitor
        .route::<core_routes::MineList>()
        .route::<core_routes::Detail>()
        .route::<core_routes::Delete>()
        .route::<list::Conversations>()
        .route::<list::Sync>()
        .route::<list::Unread>()
        .route::<mark::Read>()
        .route::<mark::Flags>()
        .route::<mark::Clear>()
}

/// A visitor that adds each route to a router.
struct Served<C>(Router<App<C>>);

impl<C: Call> Visit for Served<C> {
    fn route<R: Route>(self) -> Self {
        Self(self.0.route(R::PATH, post(answer::<R, C>)))
    }
}

async fn answer<R: Route, C: Call>(State(app): State<App<C>>, request: Request) -> Response {
    metered(&app.meter, R::KIND, async {
        let visitor = Visitor::of(request.extensions()).cloned();
        let encoding = Encoding::accepted(request.headers());
        let (caller, body) = app.caller::<R>(request).await?;
        if let Some(response) = body.fast_path(&app.store, &caller, encoding) {
            return Ok(response);
        }
        let is_page = body.is_page();
        let _turn = visitor::turn(visitor.as_ref(), R::KIND.class()).await;
        let reply = ask(&app.store, body.command(caller)).await;
        let reply = reply.map_err(|failure| failure.without_moved().told_to_anybody(R::ERRORS))?;
        let kind = reply.kind();
        let data = R::data(reply).ok_or_else(|| {
            Failure::internal(format!("the store answered as to {}", kind.name()))
        })?;
        let bytes = R::bytes_expected(&data);
        long::answer(&app.store, encoding, bytes, R::parts(data, is_page)).await
    })
    .await
}

/// The API's document as JSON. `servers` names the address at which readers reach the routes.
pub(super) fn document(servers: Server) -> Result<Bytes, String> {
    each_route(Document::default()).into_json(servers)
}

/// The one field that a body of any route may have: the user whose rows it is about.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    user_id: Option<UserId>,
}

impl<C: Call> App<C> {
    /// Identifies the caller, and then parses the body. A stranger's body is not even read.
    async fn caller<R: Route>(&self, request: Request) -> Result<(Caller, R), Failure> {
        let visitor = Visitor::of(request.extensions());
        let user_id = visitor::admit(visitor, self.auth.user(request.headers()))?;
        let idempotency_key = match R::KIND.class() {
            Class::Read | Class::Operate => None,
            Class::Write => idempotency_key(request.headers())?,
        };
        let bytes = body::read(request).await?;
        let caller = Caller { user_id, idempotency_key };
        let is_long = bytes.len() > WORKER_DECODES_MAX;
        self.work(is_long, move || own(&bytes, &caller.user_id).map(|body| (caller, body))).await?
    }

    /// Runs `work`, on the offload thread if `is_long`, so that the worker keeps serving.
    async fn work<T: Send + 'static>(
        &self,
        is_long: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        if !is_long {
            return Ok(work());
        }
        let done = self.store.offload(work).await;
        done.ok_or_else(|| Failure::internal("the work for this request broke off"))
    }
}

/// Parses a body, and rejects it if its `user_id` is not the caller.
fn own<R: Route>(bytes: &[u8], user_id: &UserId) -> Result<R, Failure> {
    let named: Named = body::parse(bytes, R::MISSING)?;
    if named.user_id.is_some_and(|named| named != *user_id) {
        let message = "user_id: the caller's own rows only; leave it out";
        return Err(Error::new(ErrorCode::PermissionDenied, message).into());
    }
    body::parse(bytes, R::MISSING).map_err(|failure| {
        let is_key = failure.message().contains("unknown field `idempotency_key`");
        let why = "idempotency_key: no field of a body; send it as the header Idempotency-Key";
        if is_key { Error::invalid(why).into() } else { failure }
    })
}

/// The value of the header `Idempotency-Key`; `None` if it is absent.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Failure> {
    let refused = |why: &dyn std::fmt::Display| Error::invalid(format!("Idempotency-Key: {why}"));
    let value = single(headers, &KEY_HEADER).map_err(|_| refused(&"it is there more than once"))?;
    let Some(value) = value else {
        return Ok(None);
    };
    // Read as bytes: an idempotency key may be any UTF-8, but `to_str` accepts only ASCII.
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| refused(&"it must be UTF-8"))?;
    Ok(Some(IdempotencyKey::new(text).map_err(|why| refused(&why))?))
}
