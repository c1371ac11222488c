//! `delete`: chats leave a user's list until their next message.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::check_ids;
use super::schema::Bound;
use super::{Arguments, By, Check, Error, NamedKeys, Use, null_as_default};
use crate::limits::IDS_MAX;
use crate::types::{ChatId, IdempotencyKey, Sequence, UserId};

/// Arguments of `delete`: a user, and the chats to remove from the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Delete {
    /// The user whose list loses the chats.
    pub user_id: UserId,
    /// The chats to remove. Those that the user does not have are ignored.
    #[serde(deserialize_with = "null_as_default")]
    pub ids: Vec<ChatId>,
    /// The newest sequence that the user saw; if absent, the last sequence of each chat.
    #[serde(default)]
    pub up_to: Option<Sequence>,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for Delete {
    fn check(&self) -> Result<(), Error> {
        check_ids("ids", self.ids.len())
    }
}

impl Arguments for Delete {
    type Reply = ();
    const EXAMPLE: Option<&str> = Some(r#"{"user_id": "USER", "ids": ["s_a7be32fecc0b2015"]}"#);
    const BOUNDS: &[Bound] = &[Bound::list("ids", IDS_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        // With an idempotency key or `up_to`, the chats are only changed in a second step.
        let has_steps = self.idempotency_key.is_some() || self.up_to.is_some();
        let by = if has_steps { By::Detour } else { By::Arrival };
        keys.user(&self.user_id, Use::Write, By::Detour);
        keys.chats(&self.ids, Use::Write, by);
    }
}

#[cfg(test)]
draw! {
    Delete { user_id, ids, up_to, idempotency_key }
}
