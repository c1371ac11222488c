//! Turns bytes into commands and replies into bytes, in the wire form that `protocol.md` fixes.
//!
//! Sans-IO: no sockets, no async, no runtime, no clock. Both ends use it: the server decodes with
//! the structs that the client encodes with.
//!
//! Invariants:
//! - No input panics. None makes the decoder allocate more than a small multiple of its bytes: each
//!   claimed length is compared with the bytes that are left before anything is kept.
//! - A walk that does not recurse bounds the depth before a request is decoded.
//! - A refused request names its id if that can be read. So one bad request costs neither the
//!   connection nor another request.
//! - The server is strict: it rejects an argument that it does not know, so it never ignores an
//!   option in silence. The client is lenient: it skips what a newer server adds at the end.
//!
//! # Layout
//! - [`frame`]: the length prefix
//! - `msgpack`: MessagePack heads, and the bounded walk over a value
//! - `value`: serde over such values, with errors that name the field
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
pub use request::{RefusedRequest, Request, decode_request, encode_request, encode_request_within};

use crate::command::hello::PROTOCOL_VERSION;

/// The protocol's version, as the reply to `hello` has it. It changes when an old client would
/// misread a new server. Fields and commands that are only added do not change it.
pub const VERSION: u16 = PROTOCOL_VERSION;

/// The id of a reply that belongs to no request: an error of the connection, which then closes.
pub const CONNECTION_ID: u64 = 0;
