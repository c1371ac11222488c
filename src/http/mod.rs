//! The HTTP door and the admin listener: JSON becomes a [`crate::command::Command`] for the store,
//! and each reply an envelope.
//!
//! There are two routers, which share no route. The app's router is for end users behind a gateway:
//! it knows who calls and only ever touches the caller's own rows. The admin's router is for
//! backends and operators: it has every command, health, metrics and a page.
//!
//! **Architecture invariant**: nothing here listens, accepts or spawns. A router is a plain
//! service, and the server gives it connections. No route creates a chat, a member or a message for
//! an end user.
//!
//! **Architecture invariant**: every answer of the app's router is the envelope, whatever went
//! wrong. No message of a framework reaches a client. There are two exceptions: a CORS preflight
//! gets an answer without a body, and the API's document and the files of its page are sent as they
//! are.
//!
//! # Layout
//! - [`envelope`]: the form of every answer, and how a failure becomes one
//! - [`auth`]: identifies the caller by a trusted gateway's header, or by a JWT
//! - `body`: reads a request's body as JSON, within its limits of size and time
//! - `route`: what defines a route of the app
//! - [`app`]: the app's routes: the three core routes, and others for the caller's own rows
//! - [`cors`]: which pages of other sites may read the app's answers
//! - `openapi`: the app's routes as an OpenAPI document
//! - [`docs`]: serves the document, and a page that shows it
//! - `rows`: encodes the rows of a list as JSON
//! - `long`: writes the body of a long answer on the offload thread, in parts, and compressed
//! - `encoding`: whether a client accepts a compressed body
//! - [`admin`]: health, metrics, any command, the operators' page
//! - [`member_data`]: what a member of a journal gives to one that copies its data
//! - `page`: the headers of every page for browsers
//! - [`serve`]: serves one connection with hyper
//! - [`head`]: checks a request's head: it names one host, and its length is clear
//! - `unreadable_head`: the answer to a head that hyper cannot parse
//! - `visitor`: the connection behind a request, and whether it is still a stranger
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
pub mod member_data;
mod openapi;
mod page;
mod route;
mod rows;
pub mod serve;
mod unreadable_head;
mod visitor;

pub use admin::{Admin, admin_router};
pub use app::{App, app_router};
pub use auth::UserAuth;
pub use cors::with_cors;
pub use docs::{DocsDoor, docs_router};
pub use member_data::member_router;

use std::time::Instant;

use axum::response::{IntoResponse, Response};

use crate::command::{Call, Command, Kind, Reply};
use crate::metrics::SharedMeter;
use envelope::Failure;

/// Runs one request of a known command, and records its status and time. A request that fails
/// before it reaches the store, for instance by bad credentials, counts too.
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

/// Checks a command against its limits and runs it on the store.
async fn ask<C: Call>(store: &C, command: impl Into<Command>) -> Result<Reply, Failure> {
    let command = command.into();
    command.check()?;
    Ok(store.call(command).await?)
}
