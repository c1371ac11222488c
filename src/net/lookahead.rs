//! The requests at the front of a connection's input, as they lie there.

use smallvec::SmallVec;

use super::offload::is_large;
use crate::limits::REQUEST_BYTES_MAX;
use crate::protocol::fast_path::{self, FastRequest};
use crate::protocol::{FrameError, frame};
use crate::types::KeyHasher;

/// Most requests that are looked at together.
pub const REQUESTS_A_ROUND: usize = 32;

/// A request.
pub struct FrontFrame<'a> {
    /// All of it behind the length.
    pub payload: &'a [u8],
    /// Its plain form, if it has one.
    pub hot: Option<FastRequest<'a>>,
}

/// Requests that are looked at together.
pub type FrontFrames<'a> = SmallVec<[FrontFrame<'a>; REQUESTS_A_ROUND]>;

/// Adds the first whole frames of `input`, up to one that is decoded aside; what is wrong behind them.
pub fn look_ahead<'a>(
    mut input: &'a [u8],
    hasher: KeyHasher,
    frames: &mut FrontFrames<'a>,
) -> Option<FrameError> {
    while frames.len() < REQUESTS_A_ROUND {
        match frame::first(input, REQUEST_BYTES_MAX) {
            Ok(Some(payload)) => {
                let hot = fast_path::read(payload, hasher);
                if is_large(payload, hot.as_ref()) {
                    break;
                }
                frames.push(FrontFrame { payload, hot });
                input = input.get(frame::HEADER_BYTES + payload.len()..).unwrap_or_default();
            }
            Ok(None) => break,
            Err(error) => return Some(error),
        }
    }
    None
}
