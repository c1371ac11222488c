//! The whole requests at the front of a connection's input, read without moving them.

use smallvec::SmallVec;

use super::offload::is_large;
use crate::command::Class;
use crate::limits::REQUEST_BYTES_MAX;
use crate::protocol::fast_path::{self, PlainRequest};
use crate::protocol::{FrameError, frame};
use crate::types::KeyHasher;

/// Most requests that a connection reads and prefetches together, before it runs them.
pub const REQUESTS_A_ROUND: usize = 32;

/// One whole request in the input.
pub struct FrontFrame<'a> {
    /// The request's bytes: the frame without its length prefix.
    pub payload: &'a [u8],
    /// The request in the form of the fast path; `None` if it must become a command.
    pub request: Option<PlainRequest<'a>>,
}

impl FrontFrame<'_> {
    /// Whether this is a plain request that changes nothing.
    pub fn is_read(&self) -> bool {
        let class = self.request.as_ref().map(|request| request.command.kind().class());
        class == Some(Class::Read)
    }
}

/// The requests that a connection reads and prefetches together.
pub type FrontFrames<'a> = SmallVec<[FrontFrame<'a>; REQUESTS_A_ROUND]>;

/// Appends the whole frames at the front of `input` to `frames`, but stops before a large one,
/// which the offload thread decodes. Returns the framing error behind the frames, if there is one.
pub fn look_ahead<'a>(
    mut input: &'a [u8],
    hasher: KeyHasher,
    frames: &mut FrontFrames<'a>,
) -> Option<FrameError> {
    while frames.len() < REQUESTS_A_ROUND {
        match frame::first(input, REQUEST_BYTES_MAX) {
            Ok(Some(payload)) => {
                let request = fast_path::read(payload, hasher);
                if is_large(payload, request.as_ref()) {
                    break;
                }
                frames.push(FrontFrame { payload, request });
                input = input.get(frame::HEADER_BYTES + payload.len()..).unwrap_or_default();
            }
            Ok(None) => break,
            Err(error) => return Some(error),
        }
    }
    None
}
