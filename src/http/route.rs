//! Defines a route of the app as one type: the body of its requests, as serde reads it and as the
//! API's document describes it. The type also makes the command, and selects what the answer shows
//! of the reply.
//!
//! The app's router and the API's document are both made from these types, so neither has a route
//! that the other lacks.
#![deny(clippy::indexing_slicing, clippy::as_conversions)]

use axum::response::Response;
use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::ToSchema;

use super::body::Missing;
use super::encoding::Encoding;
use super::long::{Parts, whole};
use crate::command::{Call, Command, ErrorCode, Kind, Reply};
use crate::types::{IdempotencyKey, UserId};

/// The caller of a request, as its headers identify them.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The user who calls. The route touches only the rows of this user.
    pub(super) user_id: UserId,
    /// The value of the header `Idempotency-Key`. `None` if it is absent, or if the command changes
    /// nothing.
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

/// One route, with the method `POST`. The type itself is the body.
pub(super) trait Route: DeserializeOwned + ToSchema + Send + 'static {
    /// The path of the route.
    const PATH: &'static str;
    /// The command that the route runs.
    const KIND: Kind;
    /// What an empty body means.
    const MISSING: Missing = Missing::Refuse;
    /// The summary of the route in the API's document.
    const SUMMARY: &'static str;
    /// The description of the route in the API's document.
    const ABOUT: &'static str;
    /// The errors that this route may answer with, besides those of every route.
    const ERRORS: &'static [ErrorCode] = &[];

    /// The value of `data` in the answer, as it is encoded.
    type Data: Serialize + ToSchema + Send + 'static;

    /// The answer, if it is short and the store's memory has all that it needs. `None` means that
    /// the command must run.
    fn fast_path(&self, _: &impl Call, _: &Caller, _: Encoding) -> Option<Response> {
        None
    }

    /// Whether the caller asks for a page of a list, not for the whole list.
    fn is_page(&self) -> bool {
        false
    }

    /// Turns the body into its command, with the caller as the user.
    fn command(self, caller: Caller) -> Command;

    /// Selects what the answer shows of the reply. `None` if the reply belongs to another command,
    /// which is a defect.
    fn data(reply: Reply) -> Option<Self::Data>;

    /// Writes the value of `data` as JSON, one part per call.
    fn parts(data: Self::Data, _is_page: bool) -> impl Parts {
        whole(data)
    }

    /// About how many bytes the answer has. It sizes the buffer, and decides whether the worker or
    /// the offload thread writes it.
    fn bytes_expected(_: &Self::Data) -> usize {
        256
    }
}

/// Builds something from all routes, one route at a time.
pub(super) trait Visit: Sized {
    /// Adds the route `R`.
    fn route<R: Route>(self) -> Self;
}
