//! The app's routes, for the caller's own rows: the API's three, lists and changes, marks.
//!
//! Invariants:
//! - The user of every command is the caller; a body that names another user is refused.
//! - Who is no member of a chat cannot tell it from one that never was: ids of single chats can be worked out by
//!   anybody, and would tell who talks with whom.
//! - `data` of the API's three holds the API's fields in the API's order, and nothing else; but a page
//!   of a list has `next_cursor`.
//! - Bodies of the API's three may have any further fields: their clients may send more. Elsewhere
//!   a field that a route does not know is refused, so that no option is ignored without a word.
//! - What changes anything takes the header `Idempotency-Key`; elsewhere it is not looked at.
//! - A body may say under which condition or up to where it is meant (`if_version`, `up_to`)
//!   wherever its command can: not passing that on would do more than was asked for, without a word.
//!
//! A new route is a type that is a `Route`, in the file of its family, and a line in `each_route`.
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
use super::body::{self, READ_HERE_MAX};
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

/// The caller's name for a request, so that it is known when it comes again.
pub(super) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

/// What the app's routes need.
#[derive(Debug, Clone)]
pub struct App<C> {
    /// Answers the commands.
    pub store: C,
    /// Tells who calls.
    pub auth: UserAuth,
    /// Counts the requests; one for each core, so that cores do not wait for each other.
    pub meter: SharedMeter,
}

/// The routes that end users' apps reach.
pub fn app_router<C: Call>(state: App<C>) -> Router {
    let Served(router) = each_route(Served(Router::new()));
    router.method_not_allowed_fallback(wrong_method).fallback(unknown_route).with_state(state)
}

/// Every route for the caller's own rows, in the order that the document tells them.
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

/// The routes as a router.
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
        if let Some(response) = body.at_once(&app.store, &caller, encoding) {
            return Ok(response);
        }
        let is_page = body.is_page();
        let _turn = visitor::turn(visitor.as_ref(), R::KIND.class()).await;
        let reply = ask(&app.store, body.command(caller)).await;
        let reply = reply.map_err(|failure| failure.told_to_anybody(R::ERRORS))?;
        let kind = reply.kind();
        let data = R::data(reply).ok_or_else(|| {
            Failure::internal(format!("the store answered as to {}", kind.name()))
        })?;
        let bytes = R::bytes_expected(&data);
        long::answer(&app.store, encoding, bytes, R::parts(data, is_page)).await
    })
    .await
}

/// The API's document as JSON, for readers who find the routes at `servers`.
pub(super) fn document(servers: Server) -> Result<Bytes, String> {
    each_route(Document::default()).into_json(servers)
}

/// The field that any body may have, as long as it names the caller.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    user_id: Option<UserId>,
}

impl<C: Call> App<C> {
    /// Who calls, and with what. The caller comes first: a stranger's body is not even read.
    async fn caller<R: Route>(&self, request: Request) -> Result<(Caller, R), Failure> {
        let visitor = Visitor::of(request.extensions());
        let user_id = visitor::admit(visitor, self.auth.user(request.headers()))?;
        let idempotency_key = match R::KIND.class() {
            Class::Read | Class::Operate => None,
            Class::Write => idempotency_key(request.headers())?,
        };
        let bytes = body::read(request).await?;
        let caller = Caller { user_id, idempotency_key };
        let is_long = bytes.len() > READ_HERE_MAX;
        self.work(is_long, move || own(&bytes, &caller.user_id).map(|body| (caller, body))).await?
    }

    /// Reads a body: aside if it is long.
    async fn work<T: Send + 'static>(
        &self,
        is_long: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        if !is_long {
            return Ok(work());
        }
        let done = self.store.aside(work).await;
        done.ok_or_else(|| Failure::internal("the work for this request broke off"))
    }
}

/// A body, which must not name another user.
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

/// The key of a change, if there is one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Failure> {
    let refused = |why: &dyn std::fmt::Display| Error::invalid(format!("Idempotency-Key: {why}"));
    let value = single(headers, &KEY_HEADER).map_err(|_| refused(&"it is there more than once"))?;
    let Some(value) = value else {
        return Ok(None);
    };
    // As bytes, for the reason of `X-User-Id`.
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| refused(&"it must be UTF-8"))?;
    Ok(Some(IdempotencyKey::new(text).map_err(|why| refused(&why))?))
}
