//! A core as a standby: it applies what another node decided, and decides nothing before its start.
//!
//! Invariants:
//! - Each core gets every batch of the journal, in order, and applies the records of its slots.
//! - What every core has applied is in `applied` of its mailbox.

use std::sync::atomic::Ordering;

use snapshot::{Batch, Lsn};

use super::{Local, Worker};
use crate::command::{Error, Kind};
use crate::shard::events::slot_of;

impl Local {
    /// Begins to decide. The next flush sends the deliveries that the outboxes still hold.
    pub fn start(&self) {
        self.0.borrow_mut().start();
    }

    /// The error for a request of this kind that was read before now. `None` if it may be routed.
    pub fn turned_away(&self, kind: Kind) -> Option<Error> {
        self.0.borrow().node.turned_away(kind)
    }
}

impl Worker {
    fn start(&mut self) {
        // Without a journal, the clock has begun with the newest key.
        if self.node.member.is_some()
            && let Some(newest) = self.core.newest_answer()
        {
            self.node.clock.keys_not_below(newest);
        }
        self.core.start(&mut self.out);
        self.node.clock.doubt(self.core.newest_message());
    }

    /// Applies those records of a batch that belong to this core, as its standby.
    pub(super) fn replay(&mut self, first: Lsn, batch: &Batch) {
        let mut lsn = first;
        for record in batch.payloads() {
            let is_own = slot_of(record).map(|slot| slot.shard(self.node.shards) == self.shard);
            let applied = is_own.and_then(|is_own| match is_own {
                true => self.core.replay(record),
                false => Ok(()),
            });
            if let (Err(error), Some(member)) = (applied, &self.node.member) {
                return member.fail(format!("record {lsn} of the journal: {error}"));
            }
            lsn = lsn.next();
        }
        self.mailbox().applied.store(lsn.previous().0, Ordering::Release);
    }
}
