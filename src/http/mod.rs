//! The HTTP doors: JSON in, a [`crate::command::Command`] to the store, one envelope out.
//!
//! Two routers that share no route. The app's router is for end users behind a gateway: it knows
//! who calls and only ever touches the caller's own rows. The admin's router is for backends and
//! operators: every command, health, metrics and a page.
//!
//! **Architecture invariant**: nothing here listens, accepts or spawns; a router is a plain service
//! that the server gives connections to. Nothing here creates a chat, a member or a message for an end user.
//!
//! **Architecture invariant**: every answer of the app's router is the envelope, whatever went
//! wrong; no message of a framework reaches a client. (A browser's question whether a page may ask is
//! answered without one; and the API's document and the files of its page are what they are.)
//!
//! # Layout
//! - [`envelope`]: what every answer looks like, and how a failure becomes one
//! - [`auth`]: who calls: a trusted gateway's header, or a JWT
//! - `body`: a request's body as JSON, within its limits of size and time
//! - `route`: what a route of the app is
//! - [`app`]: the app's routes: the API's three, and what else is for the caller's own rows
//! - [`cors`]: which pages of other sites may read the app's answers
//! - `openapi`: the app's routes as an OpenAPI document
//! - [`docs`]: the document, and a page that shows it
//! - `rows`: a list's rows as JSON
//! - `long`: the body of a long answer, written aside, in parts, and compressed
//! - `encoding`: whether a client takes a compressed body
//! - [`admin`]: health, metrics, any command, the operators' page
//! - `page`: what every page for browsers is sent with
//! - [`serve`]: one connection, driven by hyper
//! - [`head`]: what must hold of a request's head: one host, one framing
//! - `last_words`: the answer to a head that hyper cannot read
//! - `visitor`: the connection behind a request: a stranger's, or one with a place
//! - `flow`: the answers that a connection's client has not read yet
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

pub mod admin;
pub mod app;
pub mod auth;
mod body;
pub mod cors;
pub mod docs;
mod encoding;
pub mod envelope;
mod flow;
pub mod head;
mod long;
mod openapi;
mod page;
mod route;
mod rows;
pub mod serve;
mod unreadable_head;
mod visitor;

pub use admin::{Admin, MetricsSource, Readiness, admin_router};
pub use app::{App, app_router};
pub use auth::UserAuth;
pub use cors::with_cors;
pub use docs::{DocsDoor, docs_router};

use std::time::Instant;

use axum::response::{IntoResponse, Response};

use crate::command::{Call, Command, Kind, Reply};
use crate::metrics::SharedMeter;
use envelope::Failure;

/// Runs the work of one request of a known command and records how it went, the failures before
/// the store (credentials, body) included.
async fn metered(
    meter: &SharedMeter,
    kind: Kind,
    work: impl Future<Output = Result<Response, Failure>>,
) -> Response {
    let start = Instant::now();
    let response = work.await.unwrap_or_else(Failure::into_response);
    meter.record(kind, response.status().as_u16(), start.elapsed());
    response
}

/// Checks a command's limits and asks the store.
async fn ask<C: Call>(store: &C, command: impl Into<Command>) -> Result<Reply, Failure> {
    let command = command.into();
    command.check()?;
    Ok(store.call(command).await?)
}
