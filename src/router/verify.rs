//! `verify`: compares, slot by slot, what chats and users hold about memberships.
//!
//! Chat and user are read one after the other, and a delivery may arrive in between. So a pair that
//! differs is read again: the chat, then the row, then the chat. If the chat is equal both times
//! and has no delivery under way, the row did not change either. Then the difference is real.

use std::collections::VecDeque;

use super::Sent;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use crate::command::verify::VerifyReply;
use crate::command::{Outcome, Reply};
use crate::limits::{DIFFERENCES_MAX, SCAN_ROWS};
use crate::shard::op::{Answer, ChatSide, Op, Pair, ReplyTo, RowSide, SlotsView};
use crate::types::{ChatId, ShardId, UserId, wide};

/// Most pairs of user and chat in one operation for a shard.
const PAIRS_A_STEP: usize = SCAN_ROWS;

/// A `verify` under way.
pub(super) struct Verifying {
    /// The shard and the index of its slot that are read next; `None` after the last one.
    next: Option<(ShardId, usize)>,
    /// Operations still to be sent about the slots that were read.
    left: VecDeque<Ask>,
    /// What to compare the next answer with.
    against: Against,
    reply: VerifyReply,
}

/// An operation for a shard, and what to compare its answer with.
struct Ask {
    shard: ShardId,
    op: Op,
    against: Against,
}

enum Against {
    /// No comparison yet: the answer has the members and rows of some slots.
    Slots,
    /// No comparison yet: the answer has a page of this chat's members.
    Members(ChatId),
    /// No comparison yet: the answer has a page of this user's rows.
    RowsOf(UserId),
    /// The answer has the rows of these pairs, to compare with these chats.
    Chats(Vec<(Pair, ChatSide)>),
    /// The answer has the chats of these pairs, to compare with these rows.
    Rows(Vec<(Pair, RowSide)>),
    /// First step of the second look at a pair that differs: the answer has its chat.
    Chat(Pair),
    /// Second step of the second look: the answer has the pair's row.
    Row(Pair, ChatSide),
    /// Third step of the second look: the answer has the chat again, which must equal the first
    /// answer.
    Again(Pair, ChatSide, Option<RowSide>),
}

impl Scatter {
    pub(super) fn scatter_verify(&self, entry: u64, out: &mut Vec<Sent>) -> Scattered {
        out.push((ShardId(0), self.reply_to(entry, 0), Op::VerifySlots(0)));
        Scattered::asked(Verifying {
            next: Some((ShardId(0), 0)),
            left: VecDeque::new(),
            against: Against::Slots,
            reply: VerifyReply::default(),
        })
    }

    /// Queues what must be compared for some slots, or for a page. Comparisons come before
    /// operations that bring more, so that little is held.
    fn take_slots(&self, verifying: &mut Verifying, view: SlotsView) {
        verifying.reply.chats += view.chats;
        view.differences.into_iter().for_each(|text| verifying.note(text));
        for members in self.grouped(view.members, |pair| self.shard_of_user(&pair.0)) {
            let (shard, members) = members;
            let op = Op::VerifyRows(members.iter().map(|(pair, _)| pair.clone()).collect());
            verifying.left.push_front(Ask { shard, op, against: Against::Chats(members) });
        }
        for rows in self.grouped(view.rows, |pair| self.shard_of_chat(&pair.1)) {
            let (shard, rows) = rows;
            let op = Op::VerifyChats(rows.iter().map(|(pair, _)| pair.clone()).collect());
            verifying.left.push_front(Ask { shard, op, against: Against::Rows(rows) });
        }
        let members = view.long_chats.into_iter().map(|id| self.members_of(id, 0));
        verifying.left.extend(members);
        let rows = view.long_users.into_iter().map(|id| self.rows_of(id, 0));
        verifying.left.extend(rows);
    }

    fn members_of(&self, id: ChatId, after: u64) -> Ask {
        let op = Op::VerifyMembers(id.clone(), after);
        Ask { shard: self.shard_of_chat(&id), op, against: Against::Members(id) }
    }

    fn rows_of(&self, id: UserId, after: u64) -> Ask {
        let op = Op::VerifyRowsOf(id.clone(), after);
        Ask { shard: self.shard_of_user(&id), op, against: Against::RowsOf(id) }
    }

    /// Groups pairs by shard, at most [`PAIRS_A_STEP`] in a group.
    fn grouped<S>(
        &self,
        pairs: Vec<(Pair, S)>,
        shard_of: impl Fn(&Pair) -> ShardId,
    ) -> Vec<(ShardId, Vec<(Pair, S)>)> {
        let mut groups: Vec<(ShardId, Vec<(Pair, S)>)> = Vec::new();
        for (pair, side) in pairs {
            let shard = shard_of(&pair);
            let open = groups
                .iter_mut()
                .rev()
                .find(|(other, group)| *other == shard && group.len() < PAIRS_A_STEP);
            match open {
                Some((_, group)) => group.push((pair, side)),
                None => groups.push((shard, vec![(pair, side)])),
            }
        }
        groups
    }

    fn second_look(&self, pair: Pair) -> Ask {
        let op = Op::VerifyChats(vec![pair.clone()]);
        Ask { shard: self.shard_of_chat(&pair.1), op, against: Against::Chat(pair) }
    }
}

impl Gather for Verifying {
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        let against = std::mem::replace(&mut self.against, Against::Slots);
        match (against, answer) {
            (Against::Slots, Answer::VerifySlots(view)) => {
                self.next = match view.next {
                    Some(next) => self.next.map(|(shard, _)| (shard, next)),
                    None => self
                        .next
                        .map(|(shard, _)| (ShardId(shard.0 + 1), 0))
                        .filter(|(shard, _)| shard.0 < scatter.shards.get()),
                };
                scatter.take_slots(self, *view);
            }
            (Against::Members(chat_id), Answer::VerifyPage(view, more)) => {
                if let Some(after) = more {
                    self.left.push_front(scatter.members_of(chat_id, after));
                }
                scatter.take_slots(self, *view);
            }
            (Against::RowsOf(user_id), Answer::VerifyPage(view, more)) => {
                if let Some(after) = more {
                    self.left.push_front(scatter.rows_of(user_id, after));
                }
                scatter.take_slots(self, *view);
            }
            (Against::Chats(chats), Answer::VerifyRows(rows)) => {
                self.reply.members += wide(chats.len());
                for ((pair, chat), row) in chats.into_iter().zip(rows) {
                    if difference(&pair, &chat, row.as_ref()).is_some() {
                        self.left.push_front(scatter.second_look(pair));
                    }
                }
            }
            (Against::Rows(rows), Answer::VerifyChats(chats)) => {
                self.reply.rows += wide(rows.len());
                for ((pair, row), chat) in rows.into_iter().zip(chats) {
                    if difference(&pair, &chat, Some(&row)).is_some() {
                        self.left.push_front(scatter.second_look(pair));
                    }
                }
            }
            (Against::Chat(pair), Answer::VerifyChats(mut chats)) => {
                if let Some(chat) = chats.pop() {
                    let op = Op::VerifyRows(vec![pair.clone()]);
                    let shard = scatter.shard_of_user(&pair.0);
                    let against = Against::Row(pair, chat);
                    self.left.push_front(Ask { shard, op, against });
                }
            }
            (Against::Row(pair, chat), Answer::VerifyRows(mut rows)) => {
                let op = Op::VerifyChats(vec![pair.clone()]);
                let shard = scatter.shard_of_chat(&pair.1);
                let against = Against::Again(pair, chat, rows.pop().flatten());
                self.left.push_front(Ask { shard, op, against });
            }
            (Against::Again(pair, before, row), Answer::VerifyChats(mut chats)) => {
                let stood_still = chats.pop().is_some_and(|chat| chat == before && !chat.is_busy);
                if stood_still && let Some(text) = difference(&pair, &before, row.as_ref()) {
                    self.note(text);
                }
            }
            (_, Answer::Done(outcome @ Err(_))) => return Some(outcome),
            _ => return Some(mixed_up()),
        }
        let slots = self.next.map(|(shard, from)| Ask {
            shard,
            op: Op::VerifySlots(from),
            against: Against::Slots,
        });
        let Some(next) = self.left.pop_front().or(slots) else {
            return Some(Ok(Reply::Verify(std::mem::take(&mut self.reply))));
        };
        self.against = next.against;
        out.push((next.shard, scatter.reply_to(to.entry, 0), next.op));
        None
    }
}

impl Verifying {
    fn note(&mut self, text: String) {
        self.reply.differences += 1;
        if self.reply.items.len() < DIFFERENCES_MAX {
            self.reply.items.push(text);
        }
    }
}

/// Says how the chat and the row of a pair disagree; `None` if they agree.
fn difference((user_id, chat_id): &Pair, chat: &ChatSide, row: Option<&RowSide>) -> Option<String> {
    let what = match (&chat.member, row) {
        (None, None) => return None,
        (Some(_), None) => "the chat has the member, the user has no row".into(),
        (None, Some(_)) => "the user has a row, the chat has no such member".into(),
        (Some((join_seq, _)), Some(row)) if *join_seq != row.join_seq => {
            format!("join_seq is {join_seq} for the chat and {} for the user", row.join_seq)
        }
        (Some((_, true)), Some(RowSide { is_deleted: false, .. })) => {
            "deleted for the chat, listed for the user".into()
        }
        (Some((_, false)), Some(RowSide { is_deleted: true, .. })) => {
            "deleted for the user, not for the chat".into()
        }
        (Some(_), Some(row)) if row.event > chat.event => {
            format!("the row has event {} of {} that the chat had", row.event, chat.event)
        }
        _ => return None,
    };
    Some(format!("user {user_id} in chat {chat_id}: {what}"))
}
