//! `stats`: every shard counts what it holds, and the router adds the counts up.

use super::Sent;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use crate::command::stats::StatsReply;
use crate::command::{Outcome, Reply};
use crate::shard::op::{Answer, Op, ReplyTo};

impl Scatter {
    pub(super) fn scatter_stats(&self, entry: u64, out: &mut Vec<Sent>) -> Scattered {
        let to = self.reply_to(entry, 0);
        out.extend(self.shards.all().map(|shard| (shard, to, Op::Stats)));
        Scattered::asked(StatsReply::default())
    }
}

impl Gather for StatsReply {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        _: ReplyTo,
        answer: Answer,
        _: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        let Answer::Stats(shard) = answer else { return Some(mixed_up()) };
        self.add_shard(shard);
        self.shards.sort_unstable_by_key(|shard| shard.shard);
        let is_whole = self.shards.len() == usize::from(scatter.shards.get());
        is_whole.then(|| Ok(Reply::Stats(Box::new(std::mem::take(self)))))
    }
}
