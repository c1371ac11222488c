//! Plain reads, answered at once: from the bytes of the request to the bytes of the reply, without a
//! command in between, where this core's own shard can tell. All else takes the way over the router.

use std::time::Instant;

use bytes::BytesMut;

use super::order::Order;
use crate::command::Kind;
use crate::node::worker::Local;
use crate::protocol::hot::{self, Ask, HotRead};
use crate::types::KeyHasher;

/// What one connection reads in a turn.
#[derive(Debug, Default)]
pub struct Reads {
    lists: u64,
    details: u64,
}

impl Reads {
    /// Answers a request, if it is a plain read that may go now; whether it was.
    pub fn answer(
        &mut self,
        payload: &[u8],
        local: &Local,
        order: &Order,
        hasher: KeyHasher,
        out: &mut BytesMut,
    ) -> bool {
        let Some(read) = hot::read(payload) else { return false };
        if !read.ask.user_id().is_none_or(|user_id| order.may_read(user_id, hasher)) {
            return false;
        }
        match run(read, local, out) {
            None => return false,
            Some(Kind::List) => self.lists += 1,
            Some(_) => self.details += 1,
        }
        true
    }

    /// Counts what was answered since `started`.
    pub fn note(&mut self, local: &Local, started: Instant) {
        let Self { lists, details } = std::mem::take(self);
        for (kind, count) in [(Kind::List, lists), (Kind::Detail, details)] {
            if count > 0 {
                local.note_reads(kind, count, started.elapsed());
            }
        }
    }
}

fn run(HotRead { id, ask }: HotRead<'_>, local: &Local, out: &mut BytesMut) -> Option<Kind> {
    local.read(|core| match ask {
        Ask::List { user_id } => {
            hot::write_list(id, core.read_list(user_id, hot::ROWS_MAX)?, out);
            Some(Kind::List)
        }
        Ask::Detail { ids, user_id } => {
            hot::write_detail(id, core.read_details(ids, user_id)?.into_iter(), out);
            Some(Kind::Detail)
        }
    })
}
