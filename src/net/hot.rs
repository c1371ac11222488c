//! The most frequent requests, answered at once where this core's own shard can: from the bytes of the
//! request to the bytes of the reply, without a command in between. All else takes the way over the router.

use std::time::Instant;

use bytes::BytesMut;

use super::order::Order;
use crate::command::{Kind, Reply};
use crate::node::worker::{Core, Local, Output, Soon, Taken, Ticket};
use crate::protocol::hot::{self, Ask, HotRequest};
use crate::types::KeyHasher;

/// What a connection answers at once, counted.
#[derive(Debug, Default)]
pub struct Hot {
    lists: u64,
    details: u64,
    advances: u64,
    reads: u64,
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
        let answered = match ask {
            Ask::List { user_id } => local.read(|core| {
                hot::write_list(id, core.read_list(user_id, hot::ROWS_MAX)?, out);
                Some(&mut self.lists)
            }),
            Ask::Detail { ids, user_id } => local.read(|core| {
                hot::write_detail(id, core.read_details(ids, user_id)?.into_iter(), out);
                Some(&mut self.details)
            }),
            Ask::Advance(advance) => {
                let advance = |core: &mut Core, out: &mut Output| core.advance_here(advance, out);
                match local.write(advance, Reply::Advance, || ticket(id, Kind::Advance)) {
                    Taken::Now(reply) => {
                        hot::write_advance(id, &reply, out);
                        Some(&mut self.advances)
                    }
                    Taken::Later => return true,
                    Taken::Elsewhere => None,
                }
            }
            Ask::MarkRead(read) => {
                let mark = |core: &mut Core, out: &mut Output| core.mark_read_here(read, out);
                match local.write(mark, Reply::MarkRead, || ticket(id, Kind::MarkRead)) {
                    Taken::Now(reply) => {
                        hot::write_mark_read(id, &reply, out);
                        Some(&mut self.reads)
                    }
                    Taken::Later => return true,
                    Taken::Elsewhere => None,
                }
            }
        };
        answered.map(|count| *count += 1).is_some()
    }

    /// Counts what was answered since `started`.
    pub fn note(&mut self, local: &Local, started: Instant) {
        let Self { lists, details, advances, reads } = std::mem::take(self);
        let counts = [
            (Kind::List, lists),
            (Kind::Detail, details),
            (Kind::Advance, advances),
            (Kind::MarkRead, reads),
        ];
        for (kind, count) in counts {
            if count > 0 {
                local.note_answered(kind, count, started.elapsed());
            }
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
