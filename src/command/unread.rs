//! `unread`: unread totals of many users.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::check_ids;
use super::items::{Items, bytes_of};
use super::schema::Bound;
use super::{Arguments, By, Check, Error, NamedKeys, Use, null_as_default};
use crate::limits::IDS_MAX;
use crate::types::UserId;

/// Arguments of `unread`: the users to count for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Unread {
    /// The users; a repeated user counts once.
    #[serde(deserialize_with = "null_as_default")]
    pub user_ids: Vec<UserId>,
}

impl Check for Unread {
    fn check(&self) -> Result<(), Error> {
        check_ids("user_ids", self.user_ids.len())
    }
}

impl Arguments for Unread {
    type Reply = UnreadReply;
    const EXAMPLE: Option<&str> = Some(r#"{"user_ids": ["USER", "alice"]}"#);
    const BOUNDS: &[Bound] = &[Bound::list("user_ids", IDS_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        // The router first asks for the rows of some users, and then for the chats of these rows.
        keys.users(&self.user_ids, Use::Read, By::Detour);
    }
}

/// Reply to `unread`: one item per user, in the order of the request, each user once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnreadReply {
    /// The counts of each user.
    pub items: Vec<UnreadItem>,
}

impl Items for UnreadReply {
    fn count(&self) -> usize {
        self.items.len()
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.items, |item| item.user_id.as_str())
    }
}

/// The counts of one user. They leave out hidden and deleted chats.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UnreadItem {
    /// The user whom the counts are for.
    pub user_id: UserId,
    /// Unread messages in chats that are not muted.
    pub messages: u64,
    /// Chats that have unread messages or an unread mark, and are not muted.
    pub chats: u64,
    /// Unread messages in muted chats.
    pub muted_messages: u64,
    /// Muted chats that have unread messages or an unread mark.
    pub muted_chats: u64,
}

#[cfg(test)]
draw! {
    Unread { user_ids }
    UnreadReply { items }
    UnreadItem { user_id, messages, chats, muted_messages, muted_chats }
}
