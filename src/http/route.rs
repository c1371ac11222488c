//! What a route of the app is. One type is one route: it is the body as serde reads it and as the
//! document describes it, it makes the command, and it says what of the reply is shown.
//!
//! The app's router and the API's document are both made from these types, so that neither has a
//! route that the other lacks.
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

/// Who asks, as far as headers tell.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The user, whose rows alone are touched.
    pub(super) user_id: UserId,
    /// The header `Idempotency-Key`; none where the command only reads.
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

/// One route, by `POST`. The type itself is the body.
pub(super) trait Route: DeserializeOwned + ToSchema + Send + 'static {
    /// Where it is.
    const PATH: &'static str;
    /// The command behind it.
    const KIND: Kind;
    /// Whether it may be asked without a body.
    const MISSING: Missing = Missing::Refuse;
    /// What it does, in a few words.
    const SUMMARY: &'static str;
    /// What else its caller must know.
    const ABOUT: &'static str;
    /// What it may fail with, beside what every route may.
    const ERRORS: &'static [ErrorCode] = &[];

    /// `data` of the answer.
    type Data: Serialize + Send + 'static;
    /// The same fields, described.
    type Shape: ToSchema;

    /// The whole answer, where it is short and can be written straight from what the store holds;
    /// else the command is asked.
    fn at_once(&self, _: &impl Call, _: &Caller, _: Encoding) -> Option<Response> {
        None
    }

    /// Whether a page of a list is asked for, and not all of it.
    fn is_page(&self) -> bool {
        false
    }

    /// The command for this caller.
    fn command(self, caller: Caller) -> Command;

    /// What is shown of the reply; none of a reply that is not to this command.
    fn data(reply: Reply) -> Option<Self::Data>;

    /// Writes it as JSON, a part a call, and says whether there is another.
    fn parts(data: Self::Data, _is_page: bool) -> impl Parts {
        whole(data)
    }

    /// About how long the answer is: sizes its buffer, no more.
    fn bytes_expected(_: &Self::Data) -> usize {
        256
    }
}

/// Something that is made from every route.
pub(super) trait Visit: Sized {
    /// Takes one in.
    fn route<R: Route>(self) -> Self;
}
