//! `export`: pages of all chats and members, in the form that `import` takes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::{check_cursor, check_limit};
use super::items::{Items, bytes_of};
use super::lines::{ChatLine, MemberLine};
use super::schema::Bound;
use super::{Arguments, Check, Error, NamedKeys};
use crate::limits::EXPORT_LINES_MAX;

/// Arguments of `export`: which page to return.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// `next_cursor` of the previous page; if absent, the first page comes.
    #[serde(default)]
    pub cursor: Option<String>,
    /// Most lines in the reply.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Check for Export {
    fn check(&self) -> Result<(), Error> {
        check_cursor(self.cursor.as_deref())?;
        check_limit(self.limit, EXPORT_LINES_MAX)
    }
}

impl Arguments for Export {
    type Reply = ExportReply;
    const EXAMPLE: Option<&str> = Some(r#"{"limit": 10}"#);
    const BOUNDS: &[Bound] = &[Bound::page("limit", EXPORT_LINES_MAX, EXPORT_LINES_MAX)];

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// Reply to `export`. A chat's line is on the same page as its members' lines, or on an earlier
/// one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExportReply {
    /// The chats of this page.
    pub chats: Vec<ChatLine>,
    /// The memberships of this page.
    pub members: Vec<MemberLine>,
    /// The `cursor` of the next page; absent on the last page.
    pub next_cursor: Option<String>,
}

impl Items for ExportReply {
    fn count(&self) -> usize {
        self.chats.len() + self.members.len()
    }

    fn bytes(&self) -> usize {
        bytes_of(&self.chats, |line| line.id.as_str())
            + bytes_of(&self.members, |line| line.user_id.as_str())
    }
}

#[cfg(test)]
draw! {
    Export { cursor, limit }
    ExportReply { chats, members, next_cursor }
}
