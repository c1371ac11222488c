//! How the load tool speaks to each system. Requests are written straight into the output buffer,
//! without a command in between. Of a reply it finds only where it ends, and whether it is a
//! success.
//!
//! # Layout
//! - [`framed`]: chatshard's own protocol, which `canned` uses too
//! - [`http`]: the HTTP door for apps
//! - [`valkey`]: equivalent commands of Valkey, as its users would send them
//! - [`resp`]: RESP, the protocol of Valkey

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::unreachable)]

pub mod framed;
pub mod http;
pub mod resp;
pub mod valkey;

use std::io::Read;
use std::net::TcpStream;

use bytes::BytesMut;

use super::work::LoadRequest;

/// The number of a request that has no reply yet, on its connection: 1 to the depth.
pub type RequestSlot = u16;

/// A complete reply at the front of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Cut {
    /// The length of the reply in bytes.
    pub bytes: usize,
    /// The slot of the request that the reply belongs to.
    pub slot: RequestSlot,
    /// What is wrong with the reply; `None` if it is a success.
    pub fault: Option<String>,
}

/// The client side of a protocol, with the state of one connection.
pub trait Wire: Sized {
    /// Appends the message that must come before the first request, if the protocol has one. The
    /// slot of its reply is [`GREETING`].
    fn greeting(&mut self, out: &mut BytesMut);

    /// Appends the request `ask` to `out`. `slot` is its number until its reply is cut.
    fn encode(&mut self, ask: LoadRequest, slot: RequestSlot, out: &mut BytesMut);

    /// Finds the reply at the beginning of `input`; `None` while it is incomplete.
    ///
    /// # Errors
    /// If the bytes are not a reply. The connection then cannot be used any more.
    fn cut(&mut self, input: &[u8]) -> Result<Option<Cut>, String>;
}

/// Reads until a complete reply is at the front of `input`, and leaves it there.
///
/// # Errors
/// If the connection ends, or its bytes are not a reply.
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

/// The slot of the greeting's reply. No request gets it.
pub const GREETING: RequestSlot = RequestSlot::MAX;

/// How closely the load side checks replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Checks only that the reply is a success.
    Status,
    /// Decodes the reply, and checks that all requested items are in it.
    Check {
        /// Whether the run deletes rows. Then rows may be missing from a list.
        with_deletes: bool,
    },
}

impl Look {
    /// Says that a reply has a wrong number of items; `None` if the number `found` is right.
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
