//! `detail`: asks the chats' shards for the chats, and the user's shard for the floors of the user
//! who looks.

use std::collections::HashSet;

use super::Sent;
use super::scatter::{Gather, Scatter, Scattered, mixed_up};
use super::scatter_plan::ScatterPlan;
use crate::command::detail::{ChatItem, Detail, DetailReply};
use crate::command::{Outcome, Reply};
use crate::shard::op::{Answer, DetailPart, Op, ReplyTo};
use crate::shard::row::RowFacts;
use crate::types::ChatId;

/// A `detail` under way.
pub(super) struct Detailing {
    with_user: bool,
    /// The chats' answers so far, in the order of the request without repeated ids.
    parts: Vec<Option<DetailPart>>,
    facts: Vec<Option<RowFacts>>,
    asked: ScatterPlan,
    missing: usize,
}

impl Scatter {
    pub(super) fn scatter_detail(
        &self,
        entry: u64,
        detail: Detail,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        let mut seen = HashSet::with_capacity(detail.ids.len());
        let ids: Vec<ChatId> =
            detail.ids.into_iter().filter(|id| seen.insert(id.clone())).collect();
        if ids.is_empty() {
            return Scattered::Finished(Ok(Reply::Detail(DetailReply { items: Vec::new() })));
        }
        let (asked, parts) =
            ScatterPlan::cut(ids.iter().cloned().enumerate(), |id| self.shard_of_chat(id));
        let detailing = Detailing {
            with_user: detail.user_id.is_some(),
            parts: vec![None; ids.len()],
            facts: vec![None; ids.len()],
            missing: asked.len() + usize::from(detail.user_id.is_some()),
            asked,
        };
        for (part, shard, ids) in parts {
            let op = Op::Details { ids, user_id: detail.user_id.clone() };
            out.push((shard, self.reply_to(entry, part), op));
        }
        if let Some(user_id) = detail.user_id {
            let shard = self.shard_of_user(&user_id);
            out.push((shard, self.reply_to(entry, 0), Op::Facts { user_id, ids }));
        }
        Scattered::asked(detailing)
    }
}

impl Gather for Detailing {
    fn gather(
        &mut self,
        _: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        _: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        match answer {
            Answer::Details(parts) => {
                self.asked.put(to, parts, &mut self.parts, |place, part| *place = part);
            }
            Answer::Facts(facts) => self.facts = facts,
            Answer::Done(outcome @ Err(_)) => return Some(outcome),
            _ => return Some(mixed_up()),
        }
        self.missing = self.missing.saturating_sub(1);
        (self.missing == 0).then(|| {
            let parts = std::mem::take(&mut self.parts).into_iter();
            let facts = std::mem::take(&mut self.facts).into_iter();
            let items =
                parts.zip(facts).filter_map(|(part, facts)| item(part?, facts, self.with_user));
            Ok(Reply::Detail(DetailReply { items: items.collect() }))
        })
    }
}

/// The reply's item for one chat, with the floor of the user who looks. `None` if that user is not
/// a member.
fn item(part: DetailPart, facts: Option<RowFacts>, with_user: bool) -> Option<ChatItem> {
    if !with_user {
        return Some(part.item);
    }
    let last_read_sequence =
        RowFacts::last_read(facts.as_ref(), part.member?, part.item.last_sequence);
    Some(ChatItem { last_read_sequence, ..part.item })
}
