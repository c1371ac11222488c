//! `explain`: joins what the chat and the row know of a membership, and gives reasons for it.

use super::Sent;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use crate::command::explain::{Explain, ExplainFloors, ExplainReply};
use crate::command::floors::Floors;
use crate::command::{Error, Outcome, Reply};
use crate::shard::op::{Answer, ChatView, Op, ReplyTo};
use crate::shard::row::RowFacts;
use crate::types::{ChatStatus, Flag, Sequence};

/// An `explain` under way.
pub(super) struct Explaining {
    chat: Option<Result<ChatView, Error>>,
    row: Option<Option<RowFacts>>,
}

impl Scatter {
    pub(super) fn scatter_explain(
        &self,
        entry: u64,
        explain: Explain,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let Explain { user_id, chat_id } = explain.clone();
        let facts = Op::Facts { ids: vec![chat_id.clone()], user_id: user_id.clone() };
        out.push((self.shard_of_user(&user_id), self.reply_to(entry, 0), facts));
        let chat = Op::ExplainChat(explain);
        out.push((self.shard_of_chat(&chat_id), self.reply_to(entry, 1), chat));
        Scattered::asked(Explaining { chat: None, row: None })
    }
}

impl Gather for Explaining {
    fn gather(
        &mut self,
        _: &mut Scatter,
        _: ReplyTo,
        answer: Answer,
        _: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        match answer {
            Answer::Facts(facts) => self.row = Some(facts.into_iter().next().flatten()),
            Answer::ExplainChat(chat) => self.chat = Some(chat),
            Answer::Done(outcome @ Err(_)) => return Some(outcome),
            _ => return Some(mixed_up()),
        }
        let (Some(chat), Some(row)) = (&self.chat, &self.row) else { return None };
        Some(match chat {
            Err(error) => Err(error.clone()),
            Ok(chat) => Ok(Reply::Explain(explain(chat, row.as_ref()))),
        })
    }
}

fn explain(chat: &ChatView, row: Option<&RowFacts>) -> ExplainReply {
    let last_sequence = chat.item.last_sequence;
    let mut reasons = Vec::new();
    let mut say = |reason: String| reasons.push(reason);
    if chat.item.status == ChatStatus::Disabled {
        say("the chat is disabled: it takes no messages".into());
    }
    let (Some(member), Some(row)) = (chat.member, row) else {
        match (chat.member.is_some(), row.is_some()) {
            (true, false) => say("the user just joined: their row is on its way".into()),
            (false, true) => say("the user is no member any more: their row is about to go".into()),
            _ => say("the user is no member of this chat".into()),
        }
        let floors = chat.member.unwrap_or_default();
        let unread = chat.member.map_or(0, |floors| floors.unread(last_sequence));
        return ExplainReply {
            listed: false,
            reasons,
            last_sequence,
            floors: told(&floors),
            unread,
        };
    };
    let floors = row.floors_as(member).held_at(last_sequence);
    let listed = row.is_show == Flag::YES;
    if row.is_show == Flag::NO {
        say(format!(
            "the user deleted it up to {}; its next message brings it back",
            row.deleted_to_seq
        ));
    }
    for (flag, reason) in [
        (row.is_top, "pinned: it stands before the others"),
        (row.is_hide, "hidden: `unread` does not count it"),
        (row.is_mute, "muted: `unread` counts it apart"),
        (row.marked_unread, "marked as unread: it counts among the unread chats"),
    ] {
        if flag == Flag::YES {
            say(reason.into());
        }
    }
    let unread = floors.unread(last_sequence);
    say(why_unread(&floors, last_sequence, unread));
    ExplainReply { listed, reasons, last_sequence, floors: told(&floors), unread }
}

/// Says in words which floor decides the number of unread messages.
fn why_unread(floors: &Floors, last_sequence: Sequence, unread: u64) -> String {
    if last_sequence == Sequence::ZERO {
        return "there is no message yet".into();
    }
    let told = told(floors);
    let floor = floors.floor();
    let names = [
        (told.read, "read up to there"),
        (told.sent, "their own message stands there"),
        (told.deleted, "deleted or cleared up to there"),
        (told.join, "joined behind it"),
    ];
    let which = names.iter().find(|(position, _)| *position == floor && floor > Sequence::ZERO);
    let why = which.map_or("nothing was read, sent or deleted", |(_, why)| *why);
    format!("{unread} unread: the last is {last_sequence}, the floor is {floor} ({why})")
}

fn told(floors: &Floors) -> ExplainFloors {
    let before_join = Floors { join_seq: floors.join_seq, ..Floors::default() };
    ExplainFloors {
        join: before_join.floor(),
        deleted: floors.deleted_to_seq,
        read: floors.max_read_seq,
        sent: floors.sent_seq,
    }
}
