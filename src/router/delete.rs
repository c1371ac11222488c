//! `delete`: each chat's shard decides on its part. With a key, the user's shard takes the key first:
//! another request with it is refused before any chat is asked.

use std::collections::BTreeMap;

use super::{Gather, Missing, Router, Scattered, Sent, mixed_up};
use crate::command::membership::Delete;
use crate::command::{Kind, Outcome, Reply};
use crate::shard::key::{Claim, Claiming, digest};
use crate::shard::op::{Answer, Op, ReplyTo};
use crate::types::{ChatId, ShardId};

/// A `delete` under way.
pub(super) enum Deleting {
    /// Its key is being taken.
    Claiming(Delete),
    /// The chats are asked.
    Parts(Missing),
}

impl<T> Router<T> {
    pub(super) fn scatter_delete(
        &self,
        entry: u64,
        delete: Delete,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        if let Some(key) = delete.idempotency_key.clone() {
            let request = digest(Kind::Delete, &delete, self.hasher);
            let claiming = Claiming { user_id: Some(delete.user_id.clone()), key, request };
            self.send_claim(claiming, entry, out);
            return Scattered::Asked(Gather::Delete(Box::new(Deleting::Claiming(delete))));
        }
        match self.send_deletes(entry, &delete, None, out) {
            0 => Scattered::Finished(Ok(Reply::Delete(()))),
            parts => {
                Scattered::Asked(Gather::Delete(Box::new(Deleting::Parts(Missing::of(parts)))))
            }
        }
    }

    pub(super) fn gather_delete(
        &self,
        deleting: &mut Deleting,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        match (&mut *deleting, answer) {
            (Deleting::Claiming(delete), Answer::Claimed(claim)) => {
                let parts = self.send_deletes(to.entry, delete, Some(claim), out);
                *deleting = Deleting::Parts(Missing::of(parts));
                None
            }
            (Deleting::Claiming(_), Answer::Done(outcome)) => Some(outcome),
            (Deleting::Parts(missing), Answer::Done(outcome)) => {
                missing.note(outcome).map(|ended| ended.map(Reply::Delete))
            }
            _ => Some(mixed_up()),
        }
    }

    /// Asks the chats' shards; how many those are.
    fn send_deletes(
        &self,
        entry: u64,
        delete: &Delete,
        claim: Option<Claim>,
        out: &mut Vec<Sent>,
    ) -> usize {
        let mut parts: BTreeMap<u16, Vec<ChatId>> = BTreeMap::new();
        for id in &delete.ids {
            parts.entry(self.shard_of_chat(id).0).or_default().push(id.clone());
        }
        if parts.is_empty() && claim.is_some() {
            // That the key was taken promises nothing yet; what comes behind it does, also if it is empty.
            parts.insert(self.shard_of_user(&delete.user_id).0, Vec::new());
        }
        let count = parts.len();
        for (shard, ids) in parts {
            let part = Delete {
                user_id: delete.user_id.clone(),
                ids,
                up_to: delete.up_to,
                idempotency_key: None,
            };
            out.push((ShardId(shard), self.reply_to(entry, 0), Op::Delete(part, claim)));
        }
        count
    }
}
