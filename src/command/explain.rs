//! `explain`: why a chat is listed and unread as it is.

use serde::{Deserialize, Serialize};

use super::{Check, Error};
use crate::types::{ChatId, Sequence, UserId};

/// Arguments of `explain`: one user's view of one chat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

/// Reply to `explain`: the facts behind list and unread count, with reasons in words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
