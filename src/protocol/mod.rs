//! Bytes to commands and replies to bytes: the wire form that `protocol.md` fixes.
//!
//! Sans-IO: no sockets, no async, no runtime, no clock. Both ends use it: the server decodes what
//! the client encodes with the same structs.
//!
//! Invariants:
//! - No input panics, and none makes the decoder allocate more than a small multiple of its bytes:
//!   every claimed length is held against the bytes that are there before anything is kept.
//! - Depth is bounded before a request is decoded, by a walk that does not recurse.
//! - A refused request names its id whenever that can be read, so that one bad request costs
//!   neither the connection nor another request.
//! - The server is strict (an argument that it does not know is refused, so that an option is never
//!   silently ignored); the client is lenient (what a newer server adds at the end is passed over).
//!
//! # Layout
//! - [`frame`]: the length prefix
//! - `walk`: MessagePack heads, the bounded walk over a value
//! - `value`: serde over such values, with errors that name the field
//! - [`request`]: `[request_id, command, arguments]`
//! - [`reply`]: `[request_id, status, body]`
//! - [`chunked_reply`]: the reply of a long list, a slice at a time
//! - [`fast_path`]: the most frequent requests, both ways, without serde

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::unreachable)]

pub mod chunked_reply;
pub mod fast_path;
pub mod frame;
mod msgpack;
pub mod reply;
pub mod request;
mod value;

#[cfg(test)]
mod test_values;

pub use frame::FrameError;
pub use reply::{
    BadReply, DecodedReply, body_of, decode_reply, encode_body, encode_error, encode_reply,
};
pub use request::{RefusedRequest, Request, decode_request, encode_request, encode_request_within};

use crate::command::node::PROTOCOL_VERSION;

/// The protocol's version, as `hello` tells it. It changes when an old client would misread a new
/// server; fields and commands that are only added do not change it.
pub const VERSION: u16 = PROTOCOL_VERSION;

/// The id of replies that answer no request: an error of the connection, which then closes.
pub const CONNECTION_ID: u64 = 0;
