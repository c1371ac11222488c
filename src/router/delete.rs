//! `delete`: each chat's shard decides its part.
//!
//! With an idempotency key, the user's shard grants the key first: another request with that key is
//! rejected before any chat is asked. An `up_to` is checked by all chats before that, so that one
//! beyond a chat's last sequence changes nothing. A last sequence never falls, so what was checked
//! stays true.

use std::collections::BTreeMap;

use super::Sent;
use super::missing::Missing;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use crate::command::delete::Delete;
use crate::command::{Kind, Outcome, Reply};
use crate::shard::idempotency::{Claim, Claiming, digest};
use crate::shard::op::{Answer, Op, ReplyTo};
use crate::types::{ChatId, ShardId};

/// A `delete` under way.
pub(super) enum Deleting {
    /// The chats' shards check its `up_to`.
    Checking(Delete, Missing),
    /// The user's shard is asked for the key.
    Claiming(Delete),
    /// The chats' shards are asked to delete.
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
        // A single part is checked and rejected as a whole by its shard.
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

    /// Claims the key, or asks the chats; `None` if there is nothing to ask.
    fn begin_delete(&self, entry: u64, delete: Delete, out: &mut Vec<Sent>) -> Option<Deleting> {
        if let Some(key) = delete.idempotency_key.clone() {
            let request = digest(Kind::Delete, &delete, self.hasher);
            let claiming = Claiming { user_id: Some(delete.user_id.clone()), key, request };
            self.send_claim(claiming, entry, out);
            return Some(Deleting::Claiming(delete));
        }
        match self.send_deletes(entry, &delete, None, out) {
            0 => None,
            parts => Some(Deleting::Asking(Missing::of(parts))),
        }
    }

    /// Sends each chat's shard its part. Returns the number of parts.
    fn send_deletes(
        &self,
        entry: u64,
        delete: &Delete,
        claim: Option<Claim>,
        out: &mut Vec<Sent>,
    ) -> usize {
        let mut parts = self.parts_of(delete);
        if parts.is_empty() && claim.is_some() {
            // A claim alone has no reply that depends on the log; the operation after it has, even
            // if it is empty.
            parts.push((self.shard_of_user(&delete.user_id), part_of(delete, Vec::new())));
        }
        let count = parts.len();
        let to = self.reply_to(entry, 0);
        out.extend(parts.into_iter().map(|(shard, part)| (shard, to, Op::Delete(part, claim))));
        count
    }

    /// The chats grouped by shard, in the order of shards.
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
            (Deleting::Claiming(delete), Answer::Claimed(claim)) => {
                let parts = scatter.send_deletes(to.entry, delete, Some(claim), out);
                *self = Deleting::Asking(Missing::of(parts));
                None
            }
            (Deleting::Claiming(_), Answer::Done(outcome)) => Some(outcome),
            (Deleting::Asking(missing), Answer::Done(outcome)) => {
                missing.note(outcome).map(|ended| ended.map(Reply::Delete))
            }
            _ => Some(mixed_up()),
        }
    }
}

/// The request for some of its chats, without its key.
fn part_of(delete: &Delete, ids: Vec<ChatId>) -> Delete {
    let (user_id, up_to) = (delete.user_id.clone(), delete.up_to);
    Delete { user_id, ids, up_to, idempotency_key: None }
}
