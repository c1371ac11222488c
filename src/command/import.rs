//! `import`: stores chats and members in the form that `export` gives them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::lines::{ChatLine, MemberLine};
use super::schema::Bound;
use super::{Arguments, Check, Error, NamedKeys, Use, null_as_default};
use crate::limits::IMPORT_LINES_MAX;
use crate::types::IdempotencyKey;

/// Arguments of `import`. The node stores the chats before the members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The chats to store.
    #[serde(default, deserialize_with = "null_as_default")]
    pub chats: Vec<ChatLine>,
    /// The memberships to store, of chats in this request or of chats that exist already.
    #[serde(default, deserialize_with = "null_as_default")]
    pub members: Vec<MemberLine>,
    /// Whether to accept lines for chats and memberships that exist; the larger sequence of both
    /// stays.
    #[serde(default)]
    pub merge: Option<bool>,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Import {
    /// How many lines the request has: chats and members together.
    pub fn lines(&self) -> usize {
        self.chats.len().saturating_add(self.members.len())
    }
}

impl Check for Import {
    fn check(&self) -> Result<(), Error> {
        let lines = self.lines();
        if lines > IMPORT_LINES_MAX {
            return Err(Error::too_large(format!(
                "at most {IMPORT_LINES_MAX} lines in one request, this one has {lines}"
            )));
        }
        self.chats.iter().try_for_each(Check::check)?;
        self.members.iter().try_for_each(Check::check)
    }
}

impl Arguments for Import {
    type Reply = ImportReply;
    const EXAMPLE: Option<&str> =
        Some(r#"{"chats": [{"id": "g_old", "type": 2, "creator_id": "carol"}], "merge": true}"#);
    const BOUNDS: &[Bound] =
        &[Bound::list("chats", IMPORT_LINES_MAX), Bound::list("members", IMPORT_LINES_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        keys.all(Use::Import);
    }
}

/// Reply to `import`: how much was stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImportReply {
    /// How many chats were stored.
    pub chats: u64,
    /// How many memberships were stored.
    pub members: u64,
}

#[cfg(test)]
draw! {
    Import { chats, members, merge, idempotency_key }
    ImportReply { chats, members }
}
