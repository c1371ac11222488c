//! `erase_user`: every trace of a user is removed, in steps that hold no shard for long.
//!
//! First the chats of the user's rows remove the user. Then all chats are searched for the user as
//! their creator. At last the user is forgotten, with all answers under their keys. A crash leaves
//! a part of the work done and the request unanswered; a repeat does the rest.

use super::idempotency::Remembered;
use super::{Core, Step};
use crate::command::Reply;
use crate::command::erase_user::{EraseUser, EraseUserReply};
use crate::shard::events::{MemberErased, UserErased};
use crate::shard::op::{Answer, Output, ReplyTo};
use crate::types::{ChatId, UserId};

/// Number of chats that one step reads, counting each slot as one more.
const CHATS_A_STEP: u64 = 4096;

impl Core {
    /// Answers with the user's rows, whose memberships the router then removes. Takes the key now,
    /// so that no other request of the user can use it before the end.
    pub(super) fn erase_begin(&mut self, erase: EraseUser, out: &mut Output) -> Step {
        if let Some(keyed) = self.keyed_erase(&erase) {
            match self.kept(&keyed) {
                Ok(None) => _ = self.keep_claim(keyed, out),
                Ok(Some(Remembered::Claim(_))) => {}
                Ok(Some(Remembered::Reply(reply))) => return Step::Done(Ok(reply)),
                Err(error) => return Step::Done(Err(error)),
            }
        }
        Step::Part(self.rows(vec![erase.user_id]))
    }

    pub(super) fn erase_member(
        &mut self,
        to: ReplyTo,
        user_id: &UserId,
        ids: &[ChatId],
        out: &mut Output,
    ) -> Step {
        let hash = self.hash_of(user_id.as_str());
        let mut memberships = 0;
        for id in ids {
            let is_member = self
                .find_chat(id)
                .is_some_and(|chat| chat.members.get(user_id.as_str(), hash).is_some());
            if is_member {
                memberships += 1;
                self.erase_from(id.clone(), user_id, out);
            }
        }
        match self.after_deliveries(ids, to, Answer::EraseMember(memberships)) {
            Some(answer) => Step::Part(answer),
            None => Step::Later,
        }
    }

    /// Searches the chats of some slots, from the own slot `from` on.
    pub(super) fn erase_sweep(&mut self, user_id: &UserId, from: usize, out: &mut Output) -> Step {
        let mut looked = 0;
        let mut next = from;
        let mut found = Vec::new();
        while looked < CHATS_A_STEP
            && let Some(slot) = self.slots.get(next)
        {
            let names = slot.chats().filter(|chat| {
                chat.head.creator_id == *user_id || chat.deleters().contains(user_id)
            });
            found.extend(names.map(|chat| chat.head.id.clone()));
            // An empty slot is work too.
            looked = looked.saturating_add(slot.counts.chats + 1);
            next += 1;
        }
        for chat_id in found {
            self.erase_from(chat_id, user_id, out);
        }
        Step::Part(Answer::EraseSweep((next < self.slots.len()).then_some(next)))
    }

    fn erase_from(&mut self, chat_id: ChatId, user_id: &UserId, out: &mut Output) {
        let slot = self.slot_of_chat(&chat_id);
        let event = MemberErased { chat_id: chat_id.clone(), user_id: user_id.clone() };
        self.commit(slot, event, out);
        self.deliver(&chat_id, out);
    }

    /// Forgets the user. If rows were added meanwhile, answers with them instead.
    pub(super) fn erase_end(
        &mut self,
        erase: EraseUser,
        memberships: u64,
        out: &mut Output,
    ) -> Step {
        let keyed = self.keyed_erase(&erase);
        let own = keyed.as_ref().map(|keyed| self.kept(keyed));
        // This request, sent on another connection too, may have ended there first.
        if let Some(Ok(Some(Remembered::Reply(reply)))) = own {
            return Step::Done(Ok(reply));
        }
        // The claim of this request is no trace of the user: alone it leads to no event.
        let own_claims = usize::from(matches!(own, Some(Ok(Some(Remembered::Claim(_))))));
        let user = self.find_user(&erase.user_id);
        if user.is_some_and(|user| !user.rows.is_empty()) {
            return Step::Part(self.rows(vec![erase.user_id]));
        }
        let kept = self.answers_of(&erase.user_id);
        if user.is_some() || kept.count > own_claims {
            let slot = self.slot_of_user(&erase.user_id);
            let user_id = erase.user_id;
            self.commit_of_user(slot, &user_id, UserErased { user_id: user_id.clone() }, out);
            self.answers_went(slot, kept);
        }
        let reply = Reply::EraseUser(EraseUserReply { memberships });
        if let Some(keyed) = keyed {
            self.keep(keyed, &reply, out);
        }
        Step::Done(Ok(reply))
    }
}
