//! Commands on a user's own rows.

use std::collections::HashSet;

use super::reads::Listed;
use super::{Core, Step, check_version};
use crate::command::membership::{
    Delete, List, ListReply, SetFlags, SetFlagsReply, Touch, TouchReply,
};
use crate::command::{Error, Outcome, Reply};
use crate::shard::event::{Deleted, FlagsSet, Touched};
use crate::shard::key::Claim;
use crate::shard::op::{Answer, DetailPart, Output};
use crate::shard::row::Row;
use crate::types::{ChatId, Flag, Sequence, TimeMs, UserId};

impl Core {
    pub(super) fn find_row(&self, user_id: &UserId, chat_id: &ChatId) -> Option<&Row> {
        self.find_user(user_id)?.rows.get(chat_id.as_str(), self.hash_of(chat_id.as_str()))
    }

    pub(super) fn list(&self, list: &List) -> Outcome {
        let from = ListPlace::parse(list.cursor.as_deref())?;
        let limit = list.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let Some(user) = self.find_user(&list.user_id) else {
            return Ok(Reply::List(ListReply { items: Vec::new(), next_cursor: None }));
        };
        let listed = Listed::before(&user.rows, from.pinned, from.before);
        let mut page: Vec<&Row> = listed.take(limit.saturating_add(1)).collect();
        let more = page.len() > limit;
        page.truncate(limit);
        let next_cursor = page.last().filter(|_| more).map(|row| ListPlace::of(row).to_string());
        let items = page.into_iter().map(Row::list_row).collect();
        Ok(Reply::List(ListReply { items, next_cursor }))
    }

    pub(super) fn details(&self, ids: &[ChatId], user_id: Option<&UserId>) -> Answer {
        let part = |id: &ChatId| {
            let chat = self.find_chat(id).filter(|chat| !chat.head.dissolved)?;
            let member = user_id.and_then(|user_id| self.floors_of(chat, user_id));
            Some(DetailPart { item: chat.head.item(Sequence::ZERO), member })
        };
        Answer::Details(ids.iter().map(part).collect())
    }

    pub(super) fn facts(&self, user_id: &UserId, ids: &[ChatId]) -> Answer {
        let facts = |id: &ChatId| self.find_row(user_id, id).map(|row| row.facts());
        Answer::Facts(ids.iter().map(facts).collect())
    }

    /// Each chat by itself: a repeat of a request takes the chats that it did not reach before.
    pub(super) fn delete(
        &mut self,
        delete: Delete,
        claim: Option<Claim>,
        out: &mut Output,
    ) -> Step {
        let mut seen = HashSet::with_capacity(delete.ids.len());
        let ids: Vec<ChatId> = delete.ids.iter().filter(|id| seen.insert(*id)).cloned().collect();
        for id in &ids {
            let keyed = claim.map(|claim| self.keyed_part(claim, id));
            match keyed.as_ref().map(|keyed| self.recall(keyed)) {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(_))) => continue,
                Some(Err(lost)) => return Step::Done(Err(lost)),
            }
            if let Some(to) = self.delete_watermark(&delete.user_id, id, delete.up_to) {
                let slot = self.slot_of_chat(id);
                let event = Deleted { chat_id: id.clone(), user_id: delete.user_id.clone(), to };
                self.commit(slot, event, out);
                self.deliver(id, out);
            }
            if let Some(keyed) = keyed {
                self.keep(keyed, &Reply::Delete(()), out);
            }
        }
        Step::AfterDeliveries(ids, Reply::Delete(()))
    }

    /// Up to where the user deletes the chat; none if they are no member. A repeated delete covers
    /// what the first did, also where the user set the row's flags in between.
    fn delete_watermark(
        &self,
        user_id: &UserId,
        id: &ChatId,
        up_to: Option<Sequence>,
    ) -> Option<Sequence> {
        let chat = self.live_chat(id).ok()?;
        let member = chat.members.get(user_id.as_str(), self.hash_of(user_id.as_str()))?;
        let last = chat.head.last_sequence;
        let wanted = up_to.filter(|_| !chat.is_deleted_by(member)).unwrap_or(last);
        Some(wanted.min(last))
    }

    pub(super) fn set_flags(&mut self, set: SetFlags, out: &mut Output) -> Outcome {
        let row = self.find_row(&set.user_id, &set.chat_id).ok_or_else(Error::no_membership)?;
        check_version("row", row.version(), set.if_version)?;
        let differs =
            |wanted: Option<Flag>, stored: Flag| wanted.is_some_and(|wanted| wanted != stored);
        let facts = row.facts();
        if differs(set.is_top, facts.is_top)
            || differs(set.is_mute, facts.is_mute)
            || differs(set.is_hide, facts.is_hide)
            || differs(set.marked_unread, facts.marked_unread)
        {
            let slot = self.slot_of_user(&set.user_id);
            let event = FlagsSet {
                user_id: set.user_id.clone(),
                chat_id: set.chat_id.clone(),
                is_top: set.is_top,
                is_mute: set.is_mute,
                is_hide: set.is_hide,
                marked_unread: set.marked_unread,
            };
            self.commit(slot, event, out);
        }
        let row = self.find_row(&set.user_id, &set.chat_id).ok_or_else(Error::no_membership)?;
        Ok(Reply::SetFlags(SetFlagsReply { row: row.list_row(), version: row.version() }))
    }

    pub(super) fn touch(&mut self, touch: Touch, out: &mut Output) -> Outcome {
        let time = self.time_or_now(touch.time)?;
        let Some(user) = self.find_user(&touch.user_id) else {
            return Ok(Reply::Touch(TouchReply { touched: 0 }));
        };
        let (touched, changes) = match &touch.chat_ids {
            None => (user.rows.len(), user.rows.iter().any(|row| earlier(row, time))),
            Some(ids) => {
                let ids: HashSet<&ChatId> = ids.iter().collect();
                let rows = ids
                    .iter()
                    .filter_map(|id| user.rows.get(id.as_str(), self.hash_of(id.as_str())));
                rows.fold((0, false), |(count, changes), row| {
                    (count + 1, changes || earlier(row, time))
                })
            }
        };
        if changes {
            let slot = self.slot_of_user(&touch.user_id);
            self.commit(
                slot,
                Touched { user_id: touch.user_id, chat_ids: touch.chat_ids, time },
                out,
            );
        }
        let touched = u64::try_from(touched).unwrap_or(u64::MAX);
        Ok(Reply::Touch(TouchReply { touched }))
    }
}

fn earlier(row: &Row, time: TimeMs) -> bool {
    row.facts().last_online_time < time
}

/// A place in a user's list: behind the row of this order, among the pinned or among the others.
#[derive(Debug, Clone, Copy)]
struct ListPlace {
    pinned: Flag,
    before: u64,
}

impl ListPlace {
    fn parse(cursor: Option<&str>) -> Result<Self, Error> {
        let Some(cursor) = cursor else {
            return Ok(Self { pinned: Flag::YES, before: u64::MAX });
        };
        let bad = || Error::invalid("cursor: not one of `list`");
        let (pinned, before) = match cursor.split_at_checked(1) {
            Some(("p", order)) => (Flag::YES, order),
            Some(("n", order)) => (Flag::NO, order),
            _ => return Err(bad()),
        };
        Ok(Self { pinned, before: before.parse().map_err(|_| bad())? })
    }

    fn of(row: &Row) -> Self {
        Self { pinned: row.facts().is_top, before: row.state().order }
    }
}

impl std::fmt::Display for ListPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.pinned == Flag::YES { 'p' } else { 'n' }, self.before)
    }
}
