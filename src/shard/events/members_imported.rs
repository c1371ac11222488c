//! `MembersImported`: an import added members to a chat, or changed members.

use serde::{Deserialize, Serialize};

use super::applier::misfit;
use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::decode::BadRecord;
use crate::shard::deliveries::{Deliveries, Effect};
use crate::shard::member::{Member, MemberFacts};
use crate::types::ChatId;

/// An import added members to a chat, or changed members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MembersImported {
    /// The chat of the members.
    pub chat_id: ChatId,
    /// Each member, with the effect on the member's row. In this event `deleted_in` is a flag: not
    /// 0 if the member deleted the chat. Applying the event replaces it by a number of the chat's
    /// returns.
    pub members: Vec<(Member, Effect)>,
}

impl Decision for MembersImported {
    const CODE: u8 = 10;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let hasher = applier.hasher;
        let (chat, interner) = applier.chat_and_interner(&self.chat_id)?;
        let mut deliveries = Vec::with_capacity(self.members.len());
        let mut new = Vec::with_capacity(self.members.len());
        for (mut member, effect) in self.members {
            interner.share(&mut member.user_id);
            if member.facts().deleted_in != 0 {
                member.update(|member| member.deleted_in = chat.head.returns + 1);
            }
            deliveries.push((member.user_id.to_user_id(), effect));
            if chat.is_deleted_by(&member) {
                chat.add_deleters([member.user_id.to_user_id()]);
            }
            let hash = hasher.hash(member.user_id.as_str());
            let facts = member.facts();
            chat.head.next_order = chat.head.next_order.max(facts.order.saturating_add(1));
            chat.note_sent(hash, facts.sent_seq);
            if let Some(stored) = chat.members.get_mut(member.user_id.as_str(), hash) {
                stored.update(|stored| *stored = MemberFacts { order: stored.order, ..facts });
            } else {
                new.push(member);
            }
        }
        if !chat.members.try_append(new, hasher) {
            return Err(misfit("imported member of", &self.chat_id));
        }
        chat.post(Deliveries::Each(deliveries));
        applier.slot.counts.outbox += 1;
        Ok(())
    }
}

impl Logged for MembersImported {
    fn key(&self) -> Option<&str> {
        Some(self.chat_id.as_str())
    }

    /// None, because `watch` reports each imported row with the `RowChanged` of the row.
    fn watched(self) -> Option<WatchEvent> {
        None
    }
}
