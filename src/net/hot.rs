//! The most frequent requests, answered at once where this core's own shard can: from the bytes of the
//! request to the bytes of the reply, without a command in between. All else takes the way over the router.

use std::time::Instant;

use bytes::BytesMut;

use super::order::Order;
use crate::command::{Kind, Reply};
use crate::node::ticket::Ticket;
use crate::node::worker::{Core, Local, Output, Soon, Taken};
use crate::protocol::hot::{self, Ask, HotRequest};
use crate::types::KeyHasher;

/// What a connection answers at once, counted.
#[derive(Debug, Default)]
pub struct Hot {
    answered: Vec<(Kind, u64)>,
}

impl Hot {
    /// Takes a request, if it may go now; whether it was taken. `ticket` makes a ticket for a request
    /// that is answered later.
    pub fn take(
        &mut self,
        HotRequest { id, ask }: HotRequest<'_>,
        local: &Local,
        order: &Order,
        hasher: KeyHasher,
        ticket: impl FnOnce(u64, Kind) -> Ticket,
        out: &mut BytesMut,
    ) -> bool {
        if !ask.user_id().is_none_or(|user_id| order.may_read(user_id, hasher)) {
            return false;
        }
        let kind = ask.kind();
        let ticket = || ticket(id, kind);
        let taken = match ask {
            Ask::List { user_id } => local.read(|core| {
                hot::write_list(id, core.read_list(user_id, hot::ROWS_MAX)?, out);
                Some(())
            }),
            Ask::Detail { ids, user_id } => local.read(|core| {
                hot::write_detail(id, core.read_details(ids, user_id)?.into_iter(), out);
                Some(())
            }),
            Ask::Advance(advance) => {
                let advance = |core: &mut Core, out: &mut Output| core.advance_here(advance, out);
                let taken = local.write(advance, Reply::Advance, ticket);
                taken.map(|reply| hot::write_advance(id, &reply, out))
            }
            Ask::MarkRead(read) => {
                let mark = |core: &mut Core, out: &mut Output| core.mark_read_here(read, out);
                let taken = local.write(mark, Reply::MarkRead, ticket);
                taken.map(|reply| hot::write_mark_read(id, &reply, out))
            }
        };
        if matches!(taken, Taken::Now(())) {
            self.count(kind);
        }
        !matches!(taken, Taken::Elsewhere)
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

/// What a request will look at first.
pub fn soon<'a>(request: &HotRequest<'a>) -> Soon<'a> {
    match request.ask {
        Ask::List { user_id } => Soon { user_id: Some(user_id), chat_id: None },
        Ask::Detail { mut ids, user_id } => Soon { user_id, chat_id: ids.next() },
        Ask::Advance(advance) => Soon { user_id: None, chat_id: Some(advance.chat_id) },
        Ask::MarkRead(read) => Soon { user_id: Some(read.user_id), chat_id: Some(read.chat_id) },
    }
}
