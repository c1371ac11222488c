//! Turns bytes into commands and replies into bytes, in the wire form that `protocol.md` fixes.
//!
//! Sans-IO: no sockets, no async, no runtime, no clock. Server and client use it, with the same
//! structs.
//!
//! Invariants:
//! - No input panics. None makes the decoder allocate more than a small multiple of its bytes: a
//!   stated length is compared with the bytes that are left before memory is reserved.
//! - Before a request is decoded, a walk without recursion checks that its nesting is not too deep.
//! - The error for a request names the request's id if that can be read. So one bad request costs
//!   neither the connection nor another request.
//! - The server is strict: it rejects an argument that it does not know, so that no option is
//!   silently ignored. The client is lenient: it skips what a newer server adds at the end.
//!
//! # Layout
//! - [`frame`]: the length prefix
//! - `msgpack`: MessagePack heads, and the bounded walk over a value
//! - `value`: decodes such values with serde, with errors that name the field
//! - [`request`]: `[request_id, command, arguments]`
//! - [`reply`]: `[request_id, status, body]`
//! - [`chunked_reply`]: the reply to a long list, one slice at a time
//! - [`fast_path`]: reads the most frequent requests and writes their replies, without serde

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::unreachable)]

pub mod chunked_reply;
pub mod fast_path;
pub mod frame;
mod msgpack;
pub mod reply;
pub mod request;
mod value;

pub use frame::FrameError;
pub use reply::{
    BadReply, DecodedReply, body_of, decode_reply, encode_body, encode_error, encode_reply,
};
#[cfg(feature = "internals")]
pub use request::encode_request;
pub use request::{RefusedRequest, Request, decode_request, encode_request_within};

/// The request id in a reply that belongs to no request. Such a reply is an error of the
/// connection, which then closes.
pub const CONNECTION_ID: u64 = 0;
