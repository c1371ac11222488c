//! A route of the app is one type. The type is the body, as serde reads it and as the document
//! describes it. It makes the command and selects what of the reply is shown.
//!
//! Both the app's router and the API's document are made from these types, so neither has a route
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
    /// The user. Only their rows are touched.
    pub(super) user_id: UserId,
    /// The header `Idempotency-Key`; `None` if it is absent, or if the command only reads.
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

/// One route, with the method `POST`. The type itself is the body.
pub(super) trait Route: DeserializeOwned + ToSchema + Send + 'static {
    /// The path of the route.
    const PATH: &'static str;
    /// The command that the route runs.
    const KIND: Kind;
    /// The meaning of an empty body.
    const MISSING: Missing = Missing::Refuse;
    /// The summary in the API's document.
    const SUMMARY: &'static str;
    /// The description in the API's document.
    const ABOUT: &'static str;
    /// The errors of this route, in addition to those of every route.
    const ERRORS: &'static [ErrorCode] = &[];

    /// The value of `data` in the answer.
    type Data: Serialize + Send + 'static;
    /// Describes the fields of [`Self::Data`] for the API's document.
    type Shape: ToSchema;

    /// The whole answer, if it is short and can be written directly from the store's memory. `None`
    /// means that the command must run.
    fn at_once(&self, _: &impl Call, _: &Caller, _: Encoding) -> Option<Response> {
        None
    }

    /// Whether the caller asks for a page of a list, not for the whole list.
    fn is_page(&self) -> bool {
        false
    }

    /// The command of this body, with the caller as its user.
    fn command(self, caller: Caller) -> Command;

    /// The part of the reply that is shown; `None` if the reply is to another command.
    fn data(reply: Reply) -> Option<Self::Data>;

    /// Writes the data as JSON, one part per call.
    fn parts(data: Self::Data, _is_page: bool) -> impl Parts {
        whole(data)
    }

    /// About how many bytes the answer has. It decides where the answer is written, and sizes its
    /// buffer.
    fn bytes_expected(_: &Self::Data) -> usize {
        256
    }
}

/// Something that is built from every route.
pub(super) trait Visit: Sized {
    /// Adds the route `R`.
    fn route<R: Route>(self) -> Self;
}
