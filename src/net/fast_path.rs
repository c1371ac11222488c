//! The fast path of a connection: it takes frequent requests from their bytes to the bytes of the
//! reply, without a command in between.
//!
//! If this core owns the keys of a request, its shard replies. If another core owns all of them,
//! the bytes of the request go there. Each other request becomes a command for the router.

use std::time::Duration;

use bytes::BytesMut;

use super::order::{Order, OrderKey};
use crate::command::Kind;
use crate::node::responder::Responder;
use crate::node::worker::{LocalWorker, Taken};
use crate::protocol::fast_path::PlainRequest;

/// Counts the requests that the fast path answered, for the metrics.
#[derive(Debug, Default)]
pub struct FastPath {
    answered: Vec<(Kind, u64)>,
}

/// The destination of a request that was given to [`FastPath::take`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The shard of this core has replied, or replies once the log has its records.
    OwnShard,
    /// The bytes of the request went to another core.
    OtherCore {
        /// Whether the reply may be large.
        is_large: bool,
    },
    /// The fast path did not take the request: it must become a command for the router.
    Router,
}

impl FastPath {
    /// Takes a request with the bytes `payload`, unless it must wait for an earlier request. A
    /// reply that is ready is appended to `out`.
    ///
    /// For a reply that comes later, `responder` makes the responder. Its arguments are how many
    /// bytes of the request stay in memory, and the mark of [`OrderKey::mark`].
    pub fn take(
        &mut self,
        request: PlainRequest<'_>,
        payload: &[u8],
        local: &LocalWorker,
        order: &Order,
        responder: impl Fn(usize, u64) -> Responder,
        out: &mut BytesMut,
    ) -> Destination {
        if !order.is_free(request.command) {
            return Destination::Router;
        }
        let kind = request.command.kind();
        match local.answer(request, || responder(0, 0), out) {
            Taken::Now(()) => {
                self.count(kind);
                Destination::OwnShard
            }
            Taken::Later => Destination::OwnShard,
            Taken::Elsewhere => {
                let is_large = kind == Kind::List;
                let responder = || responder(payload.len(), OrderKey::mark(None, is_large));
                match local.forward(&request, payload, responder) {
                    true => Destination::OtherCore { is_large },
                    false => Destination::Router,
                }
            }
        }
    }

    fn count(&mut self, kind: Kind) {
        match self.answered.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, count)) => *count += 1,
            None => self.answered.push((kind, 1)),
        }
    }

    /// Reports the requests answered since the last call to the metrics, all with the time
    /// `latency`.
    pub fn note(&mut self, local: &LocalWorker, latency: Duration) {
        for (kind, count) in self.answered.drain(..) {
            local.note_answered(kind, count, latency);
        }
    }
}
