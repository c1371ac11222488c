//! `mark_read_many`: each chat's shard checks its part and hands it on to the user's.

use super::parts::Parts;
use super::{Gather, Router, Scattered, Sent, mixed_up};
use crate::command::message::{MarkReadMany, MarkReadManyReply, ReadItem, ReadResult};
use crate::command::{Error, Outcome, Reply};
use crate::shard::op::{Answer, Op, ReplyTo};

/// A `mark_read_many` under way.
pub(super) struct ReadingMany {
    results: Vec<Option<ReadResult>>,
    asked: Parts,
    missing: usize,
    error: Option<Error>,
}

impl<T> Router<T> {
    pub(super) fn scatter_read_many(
        &self,
        entry: u64,
        many: MarkReadMany,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        if many.items.is_empty() {
            let reply = MarkReadManyReply { items: Vec::new() };
            return Scattered::Finished(Ok(Reply::MarkReadMany(reply)));
        }
        let results = vec![None; many.items.len()];
        let items = many.items.into_iter().enumerate();
        let (asked, parts) = Parts::cut(items, |item: &ReadItem| self.shard_of_chat(&item.chat_id));
        let reading = ReadingMany { results, missing: asked.len(), asked, error: None };
        for (part, shard, items) in parts {
            let op = Op::MarkReadMany(MarkReadMany {
                user_id: many.user_id.clone(),
                items,
                idempotency_key: many.idempotency_key.clone(),
            });
            out.push((shard, self.reply_to(entry, part), op));
        }
        Scattered::Asked(Gather::ReadMany(reading))
    }
}

impl ReadingMany {
    pub(super) fn gather(&mut self, to: ReplyTo, answer: Answer) -> Option<Outcome> {
        match answer {
            Answer::MarkReadMany(results) => {
                self.asked.put(to, results, &mut self.results, |place, result| {
                    *place = Some(result);
                });
            }
            Answer::Done(Err(error)) => drop(self.error.get_or_insert(error)),
            _ => return Some(mixed_up()),
        }
        self.missing = self.missing.saturating_sub(1);
        (self.missing == 0).then(|| match self.error.take() {
            Some(error) => Err(error),
            None => {
                let items = std::mem::take(&mut self.results).into_iter().flatten().collect();
                Ok(Reply::MarkReadMany(MarkReadManyReply { items }))
            }
        })
    }
}
