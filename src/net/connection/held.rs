//! The memory of the node that a connection holds while it waits for its client, and its eviction
//! when other connections need that memory.

use std::io;
use std::time::Instant;

use bytes::BytesMut;

use super::Connection;
use crate::command::{Error, Outcome};
use crate::limits::{INCOMPLETE_BYTES_FREE, TCP_UNSENT_BYTES_FREE};
use crate::metrics::doors::Dropped;
use crate::net::incomplete::{self, Incomplete};
use crate::net::unread::{self, UnreadPart};
use crate::node::responder::ReplyBody;
use crate::protocol::chunked_reply::ChunkedReply;
use crate::throttle::throttled;

/// The connection's parts of the node's budgets, held while it waits for its client.
pub(super) struct Held {
    incomplete: Option<Incomplete>,
    unread: Option<UnreadPart>,
}

impl Connection {
    /// Accounts for the memory that the connection holds. Returns `None` if it holds so little that
    /// no budget counts it.
    #[inline]
    pub(super) fn note_held(&mut self) -> Option<Held> {
        let is_little =
            self.input.len() <= INCOMPLETE_BYTES_FREE && self.output.len() <= TCP_UNSENT_BYTES_FREE;
        match is_little && self.incomplete.is_none() && self.unread.is_free() {
            true => None,
            false => self.note_much(),
        }
    }

    fn note_much(&mut self) -> Option<Held> {
        let incomplete = self.note_incomplete();
        self.note_unread();
        let unread = self.unread.take();
        (incomplete.is_some() || unread.is_some()).then_some(Held { incomplete, unread })
    }

    fn note_incomplete(&mut self) -> Option<Incomplete> {
        let held = self.incomplete.take();
        if self.input.len() <= INCOMPLETE_BYTES_FREE || self.closing {
            return None;
        }
        match Incomplete::note(held, &self.input, &self.config.incomplete) {
            Ok(incomplete) => incomplete,
            Err(error) => {
                self.drop_incomplete(error);
                None
            }
        }
    }

    fn note_unread(&mut self) {
        if !self.unread.note(self.held_bytes()) {
            self.withhold_ready();
            self.unread.note_anyway(self.held_bytes());
        }
    }

    /// Waits like `wait`, and ends the connection if its memory is needed. Its client gets an error
    /// if its incomplete request is evicted. It is dropped without one if its unread replies are.
    pub(super) async fn wait_holding(&mut self, held: Held) -> io::Result<Instant> {
        let Held { incomplete, unread } = held;
        let waited = tokio::select! {
            waited = self.wait() => waited,
            error = incomplete::evicted(incomplete.as_ref()) => {
                self.drop_incomplete(error);
                Ok(Instant::now())
            }
            () = unread::evicted(unread.as_ref()) => return Err(self.drop_unread()),
        };
        self.incomplete = incomplete;
        self.unread.put_back(unread);
        waited
    }

    /// About how many bytes of memory wait for the client to read: replies, bytes to send, and
    /// pages for watches.
    pub(super) fn held_bytes(&self) -> usize {
        let mut ready = 0;
        self.replies.for_each_ready(|reply| ready += unread::bytes_of(&reply.body));
        let chunked = self.chunked.as_ref().map_or(0, ChunkedReply::held_bytes);
        self.output.held_bytes() + ready + chunked + self.watches.held_bytes()
    }

    /// Replaces a long reply by an error if the budget has no room for it.
    pub(super) fn admit(&mut self, outcome: &mut Outcome) {
        let bytes = unread::bytes_of_outcome(outcome);
        if bytes > TCP_UNSENT_BYTES_FREE
            && !self.unread.admit(self.held_bytes() + bytes)
            && unread::withhold(outcome)
        {
            self.note_withheld();
        }
    }

    fn withhold_ready(&self) {
        self.replies.for_each_ready(|reply| {
            if let ReplyBody::Outcome { outcome, .. } = &mut reply.body
                && unread::bytes_of_outcome(outcome) > TCP_UNSENT_BYTES_FREE
                && unread::withhold(outcome)
            {
                self.note_withheld();
            }
        });
    }

    fn note_withheld(&self) {
        let (peer, meter) = (self.guest.peer(), self.guest.meter());
        meter.count_withheld();
        throttled!(of 10, info, %peer, "a long reply was not given; too many of others are unread");
    }

    #[cold]
    fn drop_unread(&self) -> io::Error {
        let (peer, meter) = (self.guest.peer(), self.guest.meter());
        meter.count_dropped(Dropped::UnreadEvicted);
        throttled!(of 10, info, %peer,
            "a client that does not read its replies was dropped; too many of them are unread");
        io::Error::new(io::ErrorKind::TimedOut, "the client's unread replies were evicted")
    }

    #[cold]
    fn drop_incomplete(&mut self, error: Error) {
        let (peer, meter) = (self.guest.peer(), self.guest.meter());
        meter.count_dropped(Dropped::IncompleteEvicted);
        throttled!(of 10, info, %peer,
            "a client whose request came in parts was dropped; too many of them are incomplete");
        self.refuse(crate::protocol::CONNECTION_ID, error);
        self.input = BytesMut::new();
    }
}
