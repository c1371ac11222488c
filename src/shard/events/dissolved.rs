//! `Dissolved`: a chat ended for good.

use serde::{Deserialize, Serialize};

use super::applier::misfit;
use super::{Applier, Decision, Logged, blank};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::BadRecord;
use crate::shard::deliveries::{Deliveries, Effect};
use crate::types::ChatId;

/// A chat ended for good; its id is never used again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dissolved {
    /// The chat that ended.
    pub chat_id: ChatId,
}

impl Decision for Dissolved {
    const CODE: u8 = 7;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let chat = applier.chat(&self.chat_id)?;
        if chat.head.dissolved {
            return Err(misfit("dissolved chat", &self.chat_id));
        }
        chat.head.dissolved = true;
        chat.head.version += 1;
        chat.deleters = None;
        let members = std::mem::take(&mut chat.members);
        let posted = !members.is_empty();
        if posted {
            chat.post(Deliveries::Members(Effect::Remove, members.into_chunks()));
        }
        let counts = &mut applier.slot.counts;
        counts.outbox += u64::from(posted);
        counts.chats -= 1;
        counts.dissolved += 1;
        applier.retire(&self.chat_id)
    }
}

impl Logged for Dissolved {
    fn key(&self) -> Option<&str> {
        Some(self.chat_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        Some(WatchEvent { chat_id: Some(self.chat_id), ..blank(WatchOp::Dissolve) })
    }
}
