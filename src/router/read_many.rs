//! `mark_read_many`: each chat's shard checks its part and hands it on to the user's.

use std::collections::BTreeMap;

use super::{Gather, Router, Scattered, Sent, mixed_up};
use crate::command::message::{MarkReadMany, MarkReadManyReply, ReadItem, ReadResult};
use crate::command::{Error, Outcome, Reply};
use crate::shard::op::{Answer, Op, ReplyTo};
use crate::types::ShardId;

/// A `mark_read_many` under way.
pub(super) struct ReadingMany {
    results: Vec<Option<ReadResult>>,
    /// For each part: the positions that it asked for.
    positions: Vec<Vec<usize>>,
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
        let mut parts: BTreeMap<u16, (Vec<usize>, Vec<ReadItem>)> = BTreeMap::new();
        let count = many.items.len();
        for (position, item) in many.items.into_iter().enumerate() {
            let (positions, items) = parts.entry(self.shard_of_chat(&item.chat_id).0).or_default();
            positions.push(position);
            items.push(item);
        }
        if parts.is_empty() {
            let reply = MarkReadManyReply { items: Vec::new() };
            return Scattered::Finished(Ok(Reply::MarkReadMany(reply)));
        }
        let mut reading = ReadingMany {
            results: vec![None; count],
            positions: Vec::with_capacity(parts.len()),
            missing: parts.len(),
            error: None,
        };
        for (part, (shard, (positions, items))) in (0u32..).zip(parts) {
            reading.positions.push(positions);
            let op = Op::MarkReadMany(MarkReadMany {
                user_id: many.user_id.clone(),
                items,
                idempotency_key: many.idempotency_key.clone(),
            });
            out.push((ShardId(shard), self.reply_to(entry, part), op));
        }
        Scattered::Asked(Gather::ReadMany(reading))
    }
}

impl ReadingMany {
    pub(super) fn gather(&mut self, to: ReplyTo, answer: Answer) -> Option<Outcome> {
        match answer {
            Answer::MarkReadMany(results) => {
                let positions =
                    usize::try_from(to.part).ok().and_then(|part| self.positions.get(part));
                for (result, &position) in results.into_iter().zip(positions.into_iter().flatten())
                {
                    if let Some(place) = self.results.get_mut(position) {
                        *place = Some(result);
                    }
                }
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
