//! The admin's routes: health, readiness, metrics, any command, and a page for operators.
//!
//! Invariants:
//! - Each route that shows or changes anything requires the token, unless the authenticator is
//!   open. Health and readiness require none, because a supervisor has no token. Nor does the page:
//!   it is alike for everyone, and asks its user for the token.
//! - A token with the role `read` runs only commands that change nothing.
//! - A script of another site's page cannot run a command here, even where no token is required
//!   (see `refuse_foreign_page`).
//! - Commands that belong to a connection, such as `watch`, are rejected, because each request here
//!   is independent.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, Request, State};
use axum::http::header::{ACCEPT, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::auth::bearer;
use super::body::{self, WORKER_DECODES_MAX};
use super::encoding::Encoding;
use super::envelope::{Failure, single, success, unknown_route, with_body, wrong_method};
use super::long;
use super::page::html;
use super::rows;
use super::visitor::{self, Visitor};
use super::{ask, metered};
use crate::access::{Authenticator, Role};
use crate::command::readiness::ReadyFor;
use crate::command::{Call, Command, Error, ErrorCode, Kind, Reply, ReplySize, RunsAt};
use crate::metrics::doors::Refused;
use crate::metrics::{self, Form, MetricsInput, SharedMeter};

/// The check behind `/readyz`: the answer in a word, or an error with the reason while the node is
/// not ready for what is wanted.
pub type Readiness = Arc<dyn Fn(ReadyFor) -> Result<&'static str, String> + Send + Sync>;
/// Collects the values that `/metrics` shows.
pub type MetricsSource =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = MetricsInput> + Send>> + Send + Sync>;

/// What all routes of the admin listener share.
#[derive(Clone)]
pub struct Admin<C> {
    /// Runs the commands: the node, or what stands for it in a test.
    pub store: C,
    /// Says whether the node is ready, for `/readyz`.
    pub readiness: Readiness,
    /// Collects the figures for `/metrics`.
    pub metrics: MetricsSource,
    /// Checks the tokens. If it is open, every caller may do everything, so the listener must be on
    /// loopback.
    pub authenticator: Arc<Authenticator>,
    /// Records each request's status and time. Each worker has a meter of its own.
    pub meter: SharedMeter,
}

impl<C> fmt::Debug for Admin<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with_token = !self.authenticator.is_open();
        f.debug_struct("Admin").field("with_token", &with_token).finish_non_exhaustive()
    }
}

/// The routes for operators and backends, to be served by any listener.
pub fn admin_router<C: Call>(state: Admin<C>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz::<C>))
        .route("/metrics", get(metrics_text::<C>))
        .route("/call/{command}", post(call::<C>))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_route)
        .with_state(state)
}

/// Says only that the process answers, not that it is ready.
async fn healthz() -> Response {
    success("ok", 64)
}

/// With `?any`, a standby that is well is ready too, and says that it is one. With `?stale_ms=N`, a
/// node is ready that replies to reads from a state which is less than N ms old.
async fn readyz<C: Call>(State(admin): State<Admin<C>>, RawQuery(query): RawQuery) -> Response {
    let wanted = match ReadyFor::of_query(query.as_deref()) {
        Ok(wanted) => wanted,
        Err(error) => return Failure::from(error).into_response(),
    };
    match (admin.readiness)(wanted) {
        Ok(ready) => success(ready, 64),
        Err(why) => Failure::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response(),
    }
}

async fn metrics_text<C: Call>(
    State(admin): State<Admin<C>>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    let visitor = Visitor::of(&extensions);
    if let Err(failure) = visitor::admit(visitor, authenticate(&admin.authenticator, &headers)) {
        return failure.into_response();
    }
    let input = (admin.metrics)().await;
    // Several `Accept` headers form one list. A header that is not ASCII is ignored.
    let accept: Vec<&str> =
        headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let form = Form::accepted(Some(&accept.join(",")));
    let content_type = HeaderValue::from_static(form.content_type());
    with_body(StatusCode::OK, content_type, Body::from(metrics::render(&input, form)))
}

async fn call<C: Call>(
    State(admin): State<Admin<C>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    let name = name.map(|Path(name)| name).unwrap_or_default();
    // The role is checked before the name of the command, so that a caller without it learns no
    // names.
    let visitor = Visitor::of(request.extensions()).cloned();
    let admitted = admit(&admin.authenticator, request.headers());
    let role = match visitor::admit(visitor.as_ref(), admitted) {
        Ok(role) => role,
        Err(failure) => {
            return match Kind::from_name(&name) {
                Some(kind) => metered(&admin.meter, kind, async { Err(failure) }).await,
                None => failure.into_response(),
            };
        }
    };
    let Some(kind) = Kind::from_name(&name) else {
        return unknown_command().into_response();
    };
    metered(&admin.meter, kind, async {
        role.check(kind)?;
        refuse_streams(kind)?;
        let encoding = Encoding::accepted(request.headers());
        let command = admin.command(kind, body::read(request).await?).await?;
        let is_long = command.reply_size() != ReplySize::Small;
        let _turn = visitor::turn(visitor.as_ref(), kind.class()).await;
        let reply = ask(&admin.store, command).await?;
        if !is_long {
            return Ok(success(reply, 1024));
        }
        match reply {
            Reply::List(list) => {
                long::answer_offloaded(&admin.store, encoding, rows::parts(list, true)).await
            }
            reply => long::answer_offloaded(&admin.store, encoding, long::whole(reply)).await,
        }
    })
    .await
}

/// Rejects commands that need a connection to last: a watch sends events as long as its connection
/// is open.
fn refuse_streams(kind: Kind) -> Result<(), Error> {
    if kind.runs_at() != RunsAt::Connection {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{}: a watch belongs to a connection of the TCP door; here, ask sync again and again",
        kind.name()
    )))
}

fn unknown_command() -> Failure {
    let names: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    let message = format!("there is no such command; there are: {}", names.join(", "));
    Failure::new(StatusCode::NOT_FOUND, message)
}

impl<C: Call> Admin<C> {
    /// Parses a command, on the offload thread if the body is long. The current thread also accepts
    /// connections, which must not wait for that.
    async fn command(&self, kind: Kind, bytes: Bytes) -> Result<Command, Failure> {
        if bytes.len() <= WORKER_DECODES_MAX {
            return body::parse_command(kind, &bytes);
        }
        let read = self.store.offload(move || body::parse_command(kind, &bytes)).await;
        read.ok_or_else(|| Failure::internal("the command could not be read"))?
    }
}

/// The role of the caller's token, or the full role if no token is required.
fn authenticate(authenticator: &Authenticator, headers: &HeaderMap) -> Result<Role, Failure> {
    let token = if authenticator.is_open() { None } else { Some(bearer(headers)?) };
    let session = authenticator.enter(token);
    session
        .map(|session| session.role())
        .ok_or_else(|| Failure::unauthenticated(Refused::UnknownToken, "the token is wrong"))
}

/// Like [`authenticate`], for a request that runs a command or gets data: also rejects pages of
/// other sites.
pub(super) fn admit(authenticator: &Authenticator, headers: &HeaderMap) -> Result<Role, Failure> {
    refuse_foreign_page(headers)?;
    authenticate(authenticator, headers)
}

/// Rejects requests from pages of other sites.
///
/// Browsers put the page's own site into `Origin`, and a script cannot change that. Other clients
/// send no `Origin` and pass.
///
/// `Origin` must name the host that the request names. This alone does not stop a site that points
/// its own name at 127.0.0.1 (DNS rebinding), because then both are that name. Where no token is
/// required, [`super::head`] rejects such a name.
fn refuse_foreign_page(headers: &HeaderMap) -> Result<(), Failure> {
    let refused = || {
        let message = "Origin: commands are not taken from a page of another site";
        Failure::from(Error::new(ErrorCode::PermissionDenied, message))
            .refused_as(Refused::ForeignPage)
    };
    let Some(origin) = single(headers, &ORIGIN).map_err(|_| refused())? else {
        return Ok(());
    };
    let host = single(headers, &HOST).map_err(|_| refused())?.ok_or_else(refused)?;
    let origin = origin.to_str().map_err(|_| refused())?;
    let (scheme, origin) = origin.split_once("://").ok_or_else(refused)?;
    let origin: Authority = origin.parse().map_err(|_| refused())?;
    let host = Authority::try_from(host.as_bytes()).map_err(|_| refused())?;
    let default_port = if scheme == "https" { 443 } else { 80 };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
    let same = origin.host().eq_ignore_ascii_case(host.host()) && port(&origin) == port(&host);
    if same { Ok(()) } else { Err(refused()) }
}

/// The content policy of the operators' page. It may load nothing from elsewhere, send requests
/// only to this listener, and not be framed.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

async fn page() -> Response {
    html(include_str!("operator.html"), PAGE_POLICY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(origin: &str, host: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        headers.insert(HOST, host.parse().unwrap());
        refuse_foreign_page(&headers).is_ok()
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        assert!(refuse_foreign_page(&HeaderMap::new()).is_ok());
        assert!(admitted("http://127.0.0.1:7790", "127.0.0.1:7790"));
        assert!(admitted("http://[::1]:7790", "[::1]:7790"));
        assert!(admitted("http://LOCALHOST:7790", "localhost:7790"));
        assert!(admitted("https://ops.example", "ops.example:443"));
        for origin in ["http://evil.example", "null", "", "http://127.0.0.1:80", "127.0.0.1:7790"] {
            assert!(!admitted(origin, "127.0.0.1:7790"), "{origin}");
        }
    }
}
