//! `set_flags`: pins, mutes, hides or marks a row.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::list::ListRow;
use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::types::{ChatId, Flag, IdempotencyKey, UserId};

/// Arguments of `set_flags`. An absent flag keeps its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetFlags {
    /// The user whose row changes.
    pub user_id: UserId,
    /// The chat of the row.
    pub chat_id: ChatId,
    /// Pins the row (1) or unpins it (0).
    #[serde(default)]
    pub is_top: Option<Flag>,
    /// Mutes the row (1) or unmutes it (0).
    #[serde(default)]
    pub is_mute: Option<Flag>,
    /// Hides the row (1) or shows it (0).
    #[serde(default)]
    pub is_hide: Option<Flag>,
    /// Marks the chat as unread (1) or takes the mark away (0); the read position stays.
    #[serde(default)]
    pub marked_unread: Option<Flag>,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the row to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for SetFlags {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for SetFlags {
    type Reply = SetFlagsReply;
    const EXAMPLE: Option<&str> = Some(r#"{"user_id": "USER", "chat_id": "GROUP", "is_top": 1}"#);

    fn touch(&self, keys: &mut impl NamedKeys) {
        // If the user has no row, the chat is asked afterwards for the reason.
        keys.user(&self.user_id, Use::Write, By::Arrival);
        keys.chat(&self.chat_id, Use::Read, By::Detour);
    }
}

/// Reply to `set_flags`: the row after the change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = FlagsSet)]
pub struct SetFlagsReply {
    /// The row with its new flags.
    pub row: ListRow,
    /// The row's version after the change.
    pub version: u64,
}

#[cfg(test)]
draw! {
    SetFlags {
        user_id, chat_id, is_top, is_mute, is_hide, marked_unread, idempotency_key, if_version,
    }
    SetFlagsReply { row, version }
}
