//! `delete`: chats leave a user's list until their next message.

use serde::{Deserialize, Serialize};

use super::check::check_ids;
use super::{Check, Error, null_as_default};
use crate::types::{ChatId, IdempotencyKey, Sequence, UserId};

/// Arguments of `delete`: a user, and the chats to remove from the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// The user whose list loses the chats.
    pub user_id: UserId,
    /// The chats to remove, at most `IDS_MAX`. Those that the user does not have are ignored.
    #[serde(deserialize_with = "null_as_default")]
    pub ids: Vec<ChatId>,
    /// The newest sequence that the user saw; if absent, the last sequence of each chat.
    #[serde(default)]
    pub up_to: Option<Sequence>,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for Delete {
    fn check(&self) -> Result<(), Error> {
        check_ids("ids", self.ids.len())
    }
}
