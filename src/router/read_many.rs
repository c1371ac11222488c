//! `mark_read_many`: the shard of each chat checks the items of its chats and forwards them to the
//! user's shard.
//!
//! With an idempotency key, the checked items come back here and go to the user's shard together.
//! That shard decides all of them in one step, so it can keep one answer for the key.

use super::Sent;
use super::missing::Missing;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use super::scatter_plan::ScatterPlan;
use crate::command::mark_read_many::{MarkReadMany, MarkReadManyReply, ReadItem, ReadResult};
use crate::command::{Outcome, Reply};
use crate::shard::op::{Answer, CheckedAction, Op, ReplyTo};
use crate::types::{IdempotencyKey, UserId};

/// A `mark_read_many` under way.
pub(super) struct ReadingMany {
    /// The results of the items, by their position. Stays empty with an idempotency key: then
    /// `checked` has the items.
    results: Vec<Option<ReadResult>>,
    checked: Vec<Option<CheckedAction>>,
    /// The user and the idempotency key, until the user's shard is asked.
    keyed: Option<(UserId, IdempotencyKey)>,
    asked: ScatterPlan,
    missing: Missing,
}

impl Scatter {
    pub(super) fn scatter_read_many(
        &self,
        entry: u64,
        many: MarkReadMany,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let MarkReadMany { user_id, items, idempotency_key } = many;
        let count = items.len();
        let keyed = idempotency_key.map(|key| (user_id.clone(), key));
        let items = items.into_iter().enumerate();
        let (asked, parts) =
            ScatterPlan::cut(items, |item: &ReadItem| self.shard_of_chat(&item.chat_id));
        for (part, shard, items) in parts {
            let user_id = user_id.clone();
            let op = match &keyed {
                None => Op::MarkReadMany(MarkReadMany { user_id, items, idempotency_key: None }),
                Some(_) => Op::CheckReads(user_id, items),
            };
            out.push((shard, self.reply_to(entry, part), op));
        }
        let missing = match keyed {
            None => Missing::of(asked.len()),
            Some(_) => Missing::of_checks(asked.len()),
        };
        let mut reading = ReadingMany {
            results: vec![None; count],
            checked: vec![None; if keyed.is_some() { count } else { 0 }],
            missing,
            keyed,
            asked,
        };
        if count == 0 && !self.read_rows(&mut reading, entry, out) {
            let reply = MarkReadManyReply { items: Vec::new() };
            return Scattered::Finished(Ok(Reply::MarkReadMany(reply)));
        }
        Scattered::asked(reading)
    }

    /// If there is an idempotency key that was not used yet, sends the checked items to the user's
    /// shard. Returns whether it did.
    fn read_rows(&self, reading: &mut ReadingMany, entry: u64, out: &mut Vec<Sent>) -> bool {
        let Some((user_id, key)) = reading.keyed.take() else { return false };
        let requests = std::mem::take(&mut reading.checked).into_iter().flatten().collect();
        let shard = self.shard_of_user(&user_id);
        reading.missing = Missing::of(1);
        out.push((shard, self.reply_to(entry, 0), Op::ReadRows(user_id, requests, key)));
        true
    }
}

impl Gather for ReadingMany {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        let part = match answer {
            Answer::MarkReadMany(results) => {
                self.asked.put(to, results, &mut self.results, |place, result| {
                    *place = Some(result);
                });
                Ok(())
            }
            Answer::CheckReads(requests) => {
                self.asked.put(to, requests, &mut self.checked, |place, request| {
                    *place = Some(request);
                });
                Ok(())
            }
            // The user's shard has answered for all items together.
            Answer::Done(Ok(reply)) => return Some(Ok(reply)),
            Answer::Done(Err(error)) => Err(error),
            _ => return Some(mixed_up()),
        };
        if let Err(error) = self.missing.note(part)? {
            return Some(Err(error));
        }
        if scatter.read_rows(self, to.entry, out) {
            return None;
        }
        let items = std::mem::take(&mut self.results).into_iter().flatten().collect();
        Some(Ok(Reply::MarkReadMany(MarkReadManyReply { items })))
    }
}
