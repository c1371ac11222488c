//! The memory of requests that arrive in parts, and its budget in the node.

use std::future::pending;
use std::sync::Arc;

use bytes::BytesMut;

use crate::admission::{Budget, BudgetHold};
use crate::command::{Error, ErrorCode};
use crate::limits::REQUEST_BYTES_MAX;
use crate::protocol::frame;

/// A part of the budget for incomplete requests, held until the rest of the request has arrived.
pub struct Incomplete(BudgetHold);

impl Incomplete {
    /// Counts the capacity of a connection's input buffer against the budget, because its first
    /// request is incomplete. Returns `None` if that request is whole.
    ///
    /// # Errors
    /// 429 (`Busy`) if this request was evicted, or if the budget is used up and no holder is old
    /// enough to be evicted.
    pub fn note(
        held: Option<Self>,
        input: &BytesMut,
        budget: &Arc<Budget>,
    ) -> Result<Option<Self>, Error> {
        if !matches!(frame::first(input, REQUEST_BYTES_MAX), Ok(None)) {
            return Ok(None);
        }
        let bytes = input.capacity();
        match held {
            Some(mut held) => held.0.resize(bytes).then_some(held),
            None => budget.hold(bytes).map(Self),
        }
        .map_or_else(|| Err(used_up()), |held| Ok(Some(held)))
    }
}

/// Completes when the memory of `held` is needed for another request, with the error for the
/// client. Never completes if `held` is `None`.
pub async fn evicted(held: Option<&Incomplete>) -> Error {
    match held {
        Some(Incomplete(hold)) => hold.evicted().await,
        None => pending().await,
    }
    used_up()
}

fn used_up() -> Error {
    let message = "too many requests are incomplete; send a request as a whole, or try again later";
    Error::new(ErrorCode::Busy, message)
}
