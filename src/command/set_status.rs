//! `set_status`: enables or disables a chat.

use serde::{Deserialize, Serialize};

use super::{Check, Error};
use crate::types::{ChatId, ChatStatus, IdempotencyKey};

/// Arguments of `set_status`: a chat and its new status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetStatus {
    /// The chat's id.
    pub chat_id: ChatId,
    /// The new status: 1 normal, 2 disabled.
    pub status: ChatStatus,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the chat to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for SetStatus {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Reply to `set_status`: the chat's version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetStatusReply {
    /// The version that the chat has now.
    pub version: u64,
}
