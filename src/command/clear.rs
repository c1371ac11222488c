//! `clear`: a chat's history becomes invisible for a user; the row stays.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::types::{ChatId, IdempotencyKey, Sequence, UserId};

/// Arguments of `clear`: the row whose history becomes invisible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Clear {
    /// The user whose row changes.
    pub user_id: UserId,
    /// The chat of the row.
    pub chat_id: ChatId,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the row to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for Clear {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for Clear {
    type Reply = ClearReply;
    const EXAMPLE: Option<&str> = Some(r#"{"user_id": "USER", "chat_id": "s_93f1c2707be5d84a"}"#);

    fn touch(&self, keys: &mut impl NamedKeys) {
        keys.user(&self.user_id, Use::Write, By::Detour);
        keys.chat(&self.chat_id, Use::Read, By::Arrival);
    }
}

/// Reply to `clear`: the new watermark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Cleared)]
pub struct ClearReply {
    /// The watermark: the user sees no message at or below it.
    pub deleted_to_seq: Sequence,
}

#[cfg(test)]
draw! {
    Clear { user_id, chat_id, idempotency_key, if_version }
    ClearReply { deleted_to_seq }
}
