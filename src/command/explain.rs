//! `explain`: why a chat is listed and unread as it is.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::types::{ChatId, Sequence, UserId};

/// Arguments of `explain`: one user's view of one chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// The user whose view is explained.
    pub user_id: UserId,
    /// The chat to explain.
    pub chat_id: ChatId,
}

impl Check for Explain {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for Explain {
    type Reply = ExplainReply;
    const EXAMPLE: Option<&str> = Some(r#"{"user_id": "USER", "chat_id": "GROUP"}"#);

    fn touch(&self, keys: &mut impl NamedKeys) {
        // The answer may report a message that is being delivered to the row, so it reads the user
        // too.
        keys.user(&self.user_id, Use::Read, By::Arrival);
        keys.chat(&self.chat_id, Use::Read, By::Detour);
    }
}

/// Reply to `explain`: the facts behind list and unread count, with reasons in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainReply {
    /// Whether the chat is in the user's list.
    pub listed: bool,
    /// The reasons, each in one sentence for people.
    pub reasons: Vec<String>,
    /// Sequence of the chat's newest message.
    pub last_sequence: Sequence,
    /// The floors that keep messages from being unread.
    pub floors: ExplainFloors,
    /// How many messages of the chat are unread for the user.
    pub unread: u64,
}

/// The four floors of a user in a chat. No message at or below one of them is unread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExplainFloors {
    /// The newest sequence before the user joined.
    pub join: Sequence,
    /// The watermark: the newest sequence that the user deleted or cleared.
    pub deleted: Sequence,
    /// The user's read position.
    pub read: Sequence,
    /// Sequence of the newest message that the user sent.
    pub sent: Sequence,
}

#[cfg(test)]
draw! {
    Explain { user_id, chat_id }
    ExplainReply { listed, reasons, last_sequence, floors, unread }
    ExplainFloors { join, deleted, read, sent }
}
