//! `ChatImported`: an import added a chat, or changed one that existed.

use serde::{Deserialize, Serialize};

use super::applier::misfit;
use super::{Applier, Decision, Logged, blank};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::decode::BadRecord;
use crate::shard::state::{Chat, ChatHead};

/// An import added a chat, or changed one that existed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChatImported {
    /// The chat's head after the import.
    pub head: ChatHead,
}

impl Decision for ChatImported {
    const CODE: u8 = 9;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let hash = applier.hasher.hash(self.head.id.as_str());
        let mut head = self.head;
        if applier.is_retired(&head.id) {
            // An imported chat that is dissolved adds nothing to one that is already retired.
            return if head.dissolved { Ok(()) } else { Err(misfit("imported chat", &head.id)) };
        }
        applier.interner.share(&mut head.creator_id);
        if let Some(chat) = applier.slot.chat_mut(head.id.as_str(), hash) {
            let (old, new) = (&chat.head, &head);
            if old.dissolved != new.dissolved
                || (old.event, old.returns, old.next_order)
                    != (new.event, new.returns, new.next_order)
            {
                return Err(misfit("imported chat", &head.id));
            }
            chat.head = head;
            return Ok(());
        }
        if head.dissolved {
            applier.slot.counts.dissolved += 1;
        } else {
            applier.slot.counts.chats += 1;
        }
        let id = head.id.clone();
        applier.slot.insert_chat(Chat::new(head), applier.hasher);
        applier.retire(&id)
    }
}

impl Logged for ChatImported {
    fn key(&self) -> Option<&str> {
        Some(self.head.id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        let head = self.head;
        Some(match head.dissolved {
            true => WatchEvent { chat_id: Some(head.id), ..blank(WatchOp::Dissolve) },
            false => WatchEvent {
                chat_id: Some(head.id),
                user_id: Some(head.creator_id.to_user_id()),
                last_sequence: Some(head.last_sequence),
                last_time: Some(head.last_time),
                status: Some(head.status),
                ..blank(WatchOp::Create)
            },
        })
    }
}
