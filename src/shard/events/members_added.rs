//! `MembersAdded`: users joined a chat.

use serde::{Deserialize, Serialize};

use super::applier::misfit;
use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::decode::BadRecord;
use crate::shard::deliveries::{Deliveries, Effect};
use crate::shard::interner::Interner;
use crate::shard::member::{Member, MemberFacts};
use crate::shard::state::Chat;
use crate::types::{ChatId, KeyHasher, Sequence, UserId, wide};

/// Users joined a chat. None of them was a member before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MembersAdded {
    /// The chat that the users joined.
    pub chat_id: ChatId,
    /// New members, each once, in join order.
    pub user_ids: Vec<UserId>,
}

impl Decision for MembersAdded {
    const CODE: u8 = 2;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let hasher = applier.hasher;
        let (chat, interner) = applier.chat_and_interner(&self.chat_id)?;
        chat.head.version += 1;
        let posted = join(chat, self.user_ids, interner, hasher)?;
        applier.slot.counts.outbox += posted;
        Ok(())
    }
}

impl Logged for MembersAdded {
    fn key(&self) -> Option<&str> {
        Some(self.chat_id.as_str())
    }

    /// None, because `watch` reports each join with the `RowChanged` of the row.
    fn watched(self) -> Option<WatchEvent> {
        None
    }
}

/// Adds members to a chat, and puts one event into its outbox, which brings them their rows.
/// Returns the number of these events: 1, or 0 without users.
pub(super) fn join(
    chat: &mut Chat,
    user_ids: Vec<UserId>,
    interner: &mut Interner,
    hasher: KeyHasher,
) -> Result<u64, BadRecord> {
    if user_ids.is_empty() {
        return Ok(0);
    }
    let join_seq =
        chat.head.last_sequence.checked_add(1).map_err(|_| misfit("join of", &chat.head.id))?;
    let first = chat.head.next_order;
    chat.head.next_order += wide(user_ids.len());
    let member = |(order, user_id)| {
        let facts = MemberFacts { order, join_seq, sent_seq: Sequence::ZERO, deleted_in: 0 };
        Member::new(interner.intern(user_id), facts)
    };
    if !chat.members.try_append((first..).zip(&user_ids).map(member).collect(), hasher) {
        return Err(misfit("new member of", &chat.head.id));
    }
    chat.post(Deliveries::Same(Effect::Join { join_seq }, user_ids));
    Ok(1)
}
