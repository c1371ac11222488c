//! A request that comes in parts, and its share of the node's memory for such.

use std::future::pending;
use std::sync::Arc;

use bytes::BytesMut;

use crate::admission::{Budget, BudgetClaim};
use crate::command::{Error, ErrorCode};
use crate::limits::REQUEST_BYTES_MAX;
use crate::protocol::frame;

/// A part of the budget, held while the rest is waited for.
pub struct Incomplete(BudgetClaim);

impl Incomplete {
    /// Accounts for what has come of a request; `None` if the first one is whole.
    ///
    /// # Errors
    /// 429 if others hold all of the budget, and none of them for long.
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
            None => budget.claim(bytes).map(Self),
        }
        .map_or_else(|| Err(used_up()), |held| Ok(Some(held)))
    }
}

/// Ends with the client's error, when the memory is needed for another request; never if nothing is
/// held.
pub async fn evicted(held: Option<&Incomplete>) -> Error {
    match held {
        Some(Incomplete(claim)) => claim.evicted().await,
        None => pending().await,
    }
    used_up()
}

fn used_up() -> Error {
    let message = "too many requests are incomplete; send a request as a whole, or try again later";
    Error::new(ErrorCode::Busy, message)
}
