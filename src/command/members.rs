//! `members`: the members of a chat, in pages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{check_cursor, check_limit};
use super::items::{Items, bytes_of};
use super::schema::Bound;
use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::limits::MEMBERS_PAGE_MAX;
use crate::types::{ChatId, Sequence, UserId};

/// Arguments of `members`: a chat, and optionally a page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// The chat's id.
    pub chat_id: ChatId,
    /// `next_cursor` of the previous page; if absent, the first page comes.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Most members in the reply.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Check for Members {
    fn check(&self) -> Result<(), Error> {
        check_cursor(self.cursor.as_deref())?;
        check_limit(self.limit, MEMBERS_PAGE_MAX)
    }
}

impl Arguments for Members {
    type Reply = MembersReply;
    const EXAMPLE: Option<&str> = Some(r#"{"chat_id": "GROUP"}"#);
    const BOUNDS: &[Bound] = &[Bound::page("limit", MEMBERS_PAGE_MAX, MEMBERS_PAGE_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        keys.chat(&self.chat_id, Use::Read, By::Arrival);
    }
}

/// One member of a chat, as `members` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MemberItem {
    /// The user who is the member.
    pub user_id: UserId,
    /// The join sequence: the first sequence that counts for the member.
    pub join_seq: Sequence,
}

/// Reply to `members`: one page, in join order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MembersReply {
    /// The members of this page.
    pub items: Vec<MemberItem>,
    /// The `cursor` of the next page; absent on the last page.
    pub next_cursor: Option<String>,
}

impl Items for MembersReply {
    fn count(&self) -> usize {
        self.items.len()
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.items, |member| member.user_id.as_str())
    }
}

#[cfg(test)]
draw! {
    Members { chat_id, cursor, limit }
    MemberItem { user_id, join_seq }
    MembersReply { items, next_cursor }
}
