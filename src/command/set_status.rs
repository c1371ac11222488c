//! `set_status`: enables or disables a chat.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::types::{ChatId, ChatStatus, IdempotencyKey};

/// Arguments of `set_status`: a chat and its new status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetStatus {
    /// The chat's id.
    pub chat_id: ChatId,
    /// The new status: 1 normal, 2 disabled.
    pub status: ChatStatus,
    /// Makes a retry safe: the same request with this key gets the first reply.
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

impl Arguments for SetStatus {
    type Reply = SetStatusReply;
    const EXAMPLE: Option<&str> = Some(r#"{"chat_id": "o_0c4e8b7d21f96a35", "status": 2}"#);

    fn touch(&self, keys: &mut impl NamedKeys) {
        keys.chat(&self.chat_id, Use::Write, By::Arrival);
    }
}

/// Reply to `set_status`: the chat's version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SetStatusReply {
    /// The version that the chat has now.
    pub version: u64,
}

#[cfg(test)]
draw! {
    SetStatus { chat_id, status, idempotency_key, if_version }
    SetStatusReply { version }
}
