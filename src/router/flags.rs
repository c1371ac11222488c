//! `set_flags`: the shard of the row decides. If there is no row, the chat's shard says why.

use super::Sent;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use crate::command::explain::Explain;
use crate::command::set_flags::SetFlags;
use crate::command::{Error, ErrorCode, Outcome};
use crate::shard::op::{Answer, Op, ReplyTo};
use crate::types::{ChatId, UserId};

/// A `set_flags` under way.
pub(super) struct Flagging {
    user_id: UserId,
    chat_id: ChatId,
    /// The error of the user's shard, kept while the chat's shard is asked for a better one.
    refusal: Option<Error>,
}

impl Scatter {
    pub(super) fn scatter_flags(
        &self,
        entry: u64,
        set: SetFlags,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let (user_id, chat_id) = (set.user_id.clone(), set.chat_id.clone());
        let shard = self.shard_of_user(&user_id);
        out.push((shard, self.reply_to(entry, 0), Op::SetFlags(set)));
        Scattered::asked(Flagging { user_id, chat_id, refusal: None })
    }
}

impl Gather for Flagging {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        let Flagging { user_id, chat_id, refusal } = self;
        match (answer, refusal.take()) {
            (Answer::Done(Err(no_row)), None) if no_row.code == ErrorCode::NotFound => {
                *refusal = Some(no_row);
                let explain = Explain { user_id: user_id.clone(), chat_id: chat_id.clone() };
                let shard = scatter.shard_of_chat(chat_id);
                out.push((shard, scatter.reply_to(to.entry, 0), Op::ExplainChat(explain)));
                None
            }
            (Answer::Done(outcome), _) => Some(outcome),
            (Answer::ExplainChat(Err(no_chat)), Some(_)) => Some(Err(no_chat)),
            (Answer::ExplainChat(Ok(_)), Some(no_row)) => Some(Err(no_row)),
            _ => Some(mixed_up()),
        }
    }
}
