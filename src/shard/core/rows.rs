//! Commands on a user's own rows, and the chats' side of `detail` and `delete`.

use std::collections::HashSet;

use super::{Core, Step, check_version};
use crate::command::delete::Delete;
use crate::command::list::List;
use crate::command::set_flags::{SetFlags, SetFlagsReply};
use crate::command::touch::{Touch, TouchReply};
use crate::command::{Error, Outcome, Reply};
use crate::limits::SCAN_ROWS;
use crate::shard::events::{Deleted, FlagsSet, Touched};
use crate::shard::idempotency::Claim;
use crate::shard::member::Member;
use crate::shard::op::{Answer, DetailPart, Output};
use crate::shard::page::ListPage;
use crate::shard::row::Row;
use crate::shard::state::Chat;
use crate::types::{ChatId, Flag, Sequence, TimeMs, UserId};

impl Core {
    pub(super) fn find_row(&self, user_id: &UserId, chat_id: &ChatId) -> Option<&Row> {
        self.find_user(user_id)?.rows.get(chat_id.as_str(), self.hash_of(chat_id.as_str()))
    }

    /// A page of a list, or the beginning of a page that takes several slices.
    pub(super) fn list(&self, list: &List) -> Step {
        let rows = self.find_user(&list.user_id).map(|user| &user.rows);
        match ListPage::begin(list, rows) {
            // To share the chunks of many rows is enough work for one step.
            Ok(page) if rows.is_some_and(|rows| rows.len() > SCAN_ROWS) => {
                Step::Part(Answer::List(Box::new(page)))
            }
            Ok(page) => go_on(page),
            Err(error) => Step::Done(Err(error)),
        }
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

    /// Checks whether [`Self::delete`] would accept these chats.
    pub(super) fn check_delete(&self, delete: &Delete) -> Answer {
        Answer::Done(self.check_up_to(delete).map(Reply::Delete))
    }

    /// Decides each chat by itself: a repeat of a request deletes the chats that it did not reach
    /// before.
    pub(super) fn delete(
        &mut self,
        delete: Delete,
        claim: Option<Claim>,
        out: &mut Output,
    ) -> Step {
        if let Err(beyond) = self.check_up_to(&delete) {
            return Step::Done(Err(beyond));
        }
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

    /// Refuses an `up_to` beyond the last sequence of a chat of the user, because nobody has seen
    /// that message.
    fn check_up_to(&self, delete: &Delete) -> Result<(), Error> {
        let Some(up_to) = delete.up_to else { return Ok(()) };
        for id in &delete.ids {
            if let Some((chat, _)) = self.chat_of_member(&delete.user_id, id)
                && up_to > chat.head.last_sequence
            {
                return Err(Error::invalid(format!(
                    "up_to: {up_to} is beyond the last_sequence {} of chat {id}",
                    chat.head.last_sequence
                )));
            }
        }
        Ok(())
    }

    /// The watermark of a delete. None if the user is no member, or has deleted the whole chat
    /// already. Only the row knows whether a lower watermark is covered already.
    fn delete_watermark(
        &self,
        user_id: &UserId,
        id: &ChatId,
        up_to: Option<Sequence>,
    ) -> Option<Sequence> {
        let (chat, member) = self.chat_of_member(user_id, id)?;
        let last = chat.head.last_sequence;
        (!chat.is_deleted_by(member)).then(|| up_to.unwrap_or(last).min(last))
    }

    /// A chat that is not dissolved, with the user as its member.
    fn chat_of_member(&self, user_id: &UserId, id: &ChatId) -> Option<(&Chat, &Member)> {
        let chat = self.live_chat(id).ok()?;
        let member = chat.members.get(user_id.as_str(), self.hash_of(user_id.as_str()))?;
        Some((chat, member))
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

/// Makes the next slice of a list. The step is the reply, or the page to continue after other
/// requests had their turn.
pub(super) fn go_on(mut page: ListPage) -> Step {
    match page.go_on() {
        Some(reply) => Step::Done(Ok(Reply::List(reply))),
        None => Step::Part(Answer::List(Box::new(page))),
    }
}

fn earlier(row: &Row, time: TimeMs) -> bool {
    row.facts().last_online_time < time
}
