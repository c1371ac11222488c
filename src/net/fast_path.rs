//! The most frequent requests, from the bytes of the request to the bytes of the reply, without a command in
//! between: answered at once where this core's own shard can, passed on where another's can. All else
//! takes the way over the router.

use std::time::Instant;

use bytes::BytesMut;

use super::order::{Order, OrderKey};
use crate::command::Kind;
use crate::node::responder::Responder;
use crate::node::worker::{Local, Taken};
use crate::protocol::fast_path::FastRequest;

/// What a connection answers at once, counted.
#[derive(Debug, Default)]
pub struct FastPath {
    answered: Vec<(Kind, u64)>,
}

/// Where a request went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To this core's shard.
    Here,
    /// To another core, as it came.
    Over {
        /// The reply may be large.
        is_large: bool,
    },
    /// It takes the way of all commands.
    Nowhere,
}

impl FastPath {
    /// Takes a request, which came as `payload`, if it may go now. `ticket` makes a ticket for one that is
    /// answered later, of as many bytes as are kept of it, with a mark.
    pub fn take(
        &mut self,
        request: FastRequest<'_>,
        payload: &[u8],
        local: &Local,
        order: &Order,
        ticket: impl Fn(usize, u64) -> Responder,
        out: &mut BytesMut,
    ) -> Destination {
        if !order.is_free(request.ask) {
            return Destination::Nowhere;
        }
        let kind = request.ask.kind();
        match local.answer(request, || ticket(0, 0), out) {
            Taken::Now(()) => {
                self.count(kind);
                Destination::Here
            }
            Taken::Later => Destination::Here,
            Taken::Elsewhere => {
                let is_large = kind == Kind::List;
                let ticket = || ticket(payload.len(), OrderKey::mark(None, is_large));
                match local.pass_on(&request, payload, ticket) {
                    true => Destination::Over { is_large },
                    false => Destination::Nowhere,
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

    /// Counts what was answered since `started`.
    pub fn note(&mut self, local: &Local, started: Instant) {
        for (kind, count) in self.answered.drain(..) {
            local.note_answered(kind, count, started.elapsed());
        }
    }
}
