//! `remove_members`: users leave a chat.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::check_users;
use super::schema::Bound;
use super::{Arguments, By, Check, Error, NamedKeys, Use, null_as_default};
use crate::limits::USERS_MAX;
use crate::types::{ChatId, IdempotencyKey, UserId};

/// Arguments of `remove_members`: a chat, and the users who leave it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveMembers {
    /// The chat's id.
    pub chat_id: ChatId,
    /// The users who leave. Users who are not members are ignored.
    #[serde(deserialize_with = "null_as_default")]
    pub user_ids: Vec<UserId>,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the chat to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

impl Check for RemoveMembers {
    fn check(&self) -> Result<(), Error> {
        check_users(&self.user_ids)
    }
}

impl Arguments for RemoveMembers {
    type Reply = RemoveMembersReply;
    const EXAMPLE: Option<&str> = Some(r#"{"chat_id": "GROUP", "user_ids": ["carol"]}"#);
    const BOUNDS: &[Bound] = &[Bound::list("user_ids", USERS_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        // The chat changes on arrival. Deliveries then change the rows of these users.
        keys.chat(&self.chat_id, Use::Write, By::Arrival);
        keys.users(&self.user_ids, Use::Write, By::Detour);
    }
}

/// Reply to `remove_members`: how many left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RemoveMembersReply {
    /// How many of the users were members.
    pub removed: u64,
    /// How many members the chat has now.
    pub members: u64,
}

#[cfg(test)]
draw! {
    RemoveMembers { chat_id, user_ids, idempotency_key, if_version }
    RemoveMembersReply { removed, members }
}
