//! How each system is spoken to: requests straight into the output buffer, replies only cut.
//!
//! # Layout
//! - [`framed`]: chatshard's own protocol, which `canned` speaks too
//! - [`http`]: the app's door
//! - [`valkey`]: the same questions as Valkey's users would ask them
//! - [`resp`]: RESP, Valkey's protocol

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::unreachable)]

pub mod framed;
pub mod http;
pub mod resp;
pub mod valkey;

use std::io::Read;
use std::net::TcpStream;

use bytes::BytesMut;

use super::work::LoadRequest;

/// The number of an open request on its connection: 1 to the depth.
pub type RequestSlot = u16;

/// A whole reply at the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    /// Its bytes.
    pub bytes: usize,
    /// The request that it answers.
    pub slot: RequestSlot,
    /// What is wrong with it, if it is no success.
    pub fault: Option<String>,
}

/// One connection's side of a system's protocol.
pub trait Wire: Sized {
    /// What must be said before the first request. Its reply has the slot [`GREETING`].
    fn greeting(&mut self, out: &mut BytesMut);

    /// Appends a request.
    fn encode(&mut self, ask: LoadRequest, slot: RequestSlot, out: &mut BytesMut);

    /// Finds the first reply of `input`; none while it is incomplete.
    ///
    /// # Errors
    /// If it is no reply: the connection cannot be used further.
    fn cut(&mut self, input: &[u8]) -> Result<Option<Cut>, String>;
}

/// Reads until a whole reply is at the front of `input`, where it stays.
///
/// # Errors
/// If the connection ends, or what comes is no reply.
pub fn read_reply<W: Wire>(
    wire: &mut W,
    stream: &mut TcpStream,
    input: &mut BytesMut,
) -> Result<Cut, String> {
    let mut more = [0; 4096];
    loop {
        if let Some(cut) = wire.cut(input)? {
            return Ok(cut);
        }
        let bytes = stream.read(&mut more).map_err(|error| error.to_string())?;
        if bytes == 0 {
            return Err("the server closed the connection".to_owned());
        }
        input.extend_from_slice(more.get(..bytes).unwrap_or_default());
    }
}

/// The slot of the greeting. No request has it.
pub const GREETING: RequestSlot = RequestSlot::MAX;

/// How closely replies are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Whether it is a success.
    Status,
    /// Decoded, and whether all that was asked for is there.
    Check {
        /// Rows may be missing from a list, because some are deleted meanwhile.
        with_deletes: bool,
    },
}

impl Look {
    /// What is wrong with the number of items in a reply.
    fn count(self, ask: LoadRequest, found: usize) -> Option<String> {
        let Self::Check { with_deletes } = self else { return None };
        let (wanted, may_lack) = match ask {
            LoadRequest::List { .. } => (super::data::CHATS_A_USER, with_deletes),
            LoadRequest::Detail { count, .. } => (count, false),
            _ => return None,
        };
        let found = crate::types::wide(found);
        let is_good = found == wanted || (may_lack && found < wanted);
        (!is_good).then(|| format!("{found} items instead of {wanted}"))
    }
}
