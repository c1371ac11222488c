//! `delete`: the shard of each chat decides the part with its chats.
//!
//! With an idempotency key, the user's shard reserves the key before any chat is changed, so that
//! another request with that key is rejected.
//!
//! If the request has an `up_to`, and several parts or an idempotency key, all chats check `up_to`
//! first. So one that is beyond a chat's last sequence changes nothing. What was checked stays
//! true, because a last sequence never falls.

use std::collections::BTreeMap;

use super::Sent;
use super::missing::Missing;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use crate::command::delete::Delete;
use crate::command::{Kind, Outcome, Reply};
use crate::shard::idempotency::{Reservation, Reserving, digest};
use crate::shard::op::{Answer, Op, ReplyTo};
use crate::types::{ChatId, ShardId};

/// A `delete` under way.
pub(super) enum Deleting {
    /// Waits until the chats' shards have checked that `up_to` is not beyond a last sequence.
    Checking(Delete, Missing),
    /// Waits until the user's shard has reserved the idempotency key.
    Reserving(Delete),
    /// Waits until the chats' shards have deleted.
    Asking(Missing),
}

impl Scatter {
    pub(super) fn scatter_delete(
        &self,
        entry: u64,
        delete: Delete,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let parts = self.parts_of(&delete);
        // A shard checks and rejects a single part as a whole, so that needs no step of its own.
        let is_checked_first = parts.len() > 1 || delete.idempotency_key.is_some();
        if delete.up_to.is_some() && is_checked_first && !parts.is_empty() {
            let missing = Missing::of_checks(parts.len());
            let checks = parts
                .into_iter()
                .map(|(shard, part)| (shard, self.reply_to(entry, 0), Op::CheckDelete(part)));
            out.extend(checks);
            return Scattered::asked(Deleting::Checking(delete, missing));
        }
        match self.begin_delete(entry, delete, out) {
            Some(deleting) => Scattered::asked(deleting),
            None => Scattered::Finished(Ok(Reply::Delete(()))),
        }
    }

    /// Asks for the idempotency key if there is one, else asks the chats to delete. Returns `None`
    /// if there is nothing to ask.
    fn begin_delete(&self, entry: u64, delete: Delete, out: &mut Vec<Sent>) -> Option<Deleting> {
        if let Some(key) = delete.idempotency_key.clone() {
            let request = digest(Kind::Delete, &delete, self.hasher);
            let reserving = Reserving { user_id: Some(delete.user_id.clone()), key, request };
            self.send_reservation(reserving, entry, out);
            return Some(Deleting::Reserving(delete));
        }
        match self.send_deletes(entry, &delete, None, out) {
            0 => None,
            parts => Some(Deleting::Asking(Missing::of(parts))),
        }
    }

    /// Sends each chat's shard the part with its chats. Returns the number of parts.
    fn send_deletes(
        &self,
        entry: u64,
        delete: &Delete,
        reservation: Option<Reservation>,
        out: &mut Vec<Sent>,
    ) -> usize {
        let mut parts = self.parts_of(delete);
        if parts.is_empty() && reservation.is_some() {
            // The reply must wait for the log to hold the idempotency key. The answer to a
            // reservation does not wait for it, but that to `Op::Delete` does, even without chats.
            parts.push((self.shard_of_user(&delete.user_id), part_of(delete, Vec::new())));
        }
        let count = parts.len();
        let to = self.reply_to(entry, 0);
        out.extend(
            parts.into_iter().map(|(shard, part)| (shard, to, Op::Delete(part, reservation))),
        );
        count
    }

    /// The chats of the request grouped by shard, in the order of shards.
    fn parts_of(&self, delete: &Delete) -> Vec<(ShardId, Delete)> {
        let mut parts: BTreeMap<u16, Vec<ChatId>> = BTreeMap::new();
        for id in &delete.ids {
            parts.entry(self.shard_of_chat(id).0).or_default().push(id.clone());
        }
        let part = |(shard, ids)| (ShardId(shard), part_of(delete, ids));
        parts.into_iter().map(part).collect()
    }
}

impl Gather for Deleting {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        match (&mut *self, answer) {
            (Deleting::Checking(delete, missing), Answer::Done(outcome)) => {
                if let Err(refused) = missing.note(outcome)? {
                    return Some(Err(refused));
                }
                match scatter.begin_delete(to.entry, delete.clone(), out) {
                    Some(next) => {
                        *self = next;
                        None
                    }
                    None => Some(Ok(Reply::Delete(()))),
                }
            }
            (Deleting::Reserving(delete), Answer::Reserved(reservation)) => {
                let parts = scatter.send_deletes(to.entry, delete, Some(reservation), out);
                *self = Deleting::Asking(Missing::of(parts));
                None
            }
            (Deleting::Reserving(_), Answer::Done(outcome)) => Some(outcome),
            (Deleting::Asking(missing), Answer::Done(outcome)) => {
                missing.note(outcome).map(|ended| ended.map(Reply::Delete))
            }
            _ => Some(mixed_up()),
        }
    }
}

/// The request with only the chats `ids`, and without its idempotency key.
fn part_of(delete: &Delete, ids: Vec<ChatId>) -> Delete {
    let (user_id, up_to) = (delete.user_id.clone(), delete.up_to);
    Delete { user_id, ids, up_to, idempotency_key: None }
}
