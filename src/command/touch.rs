//! `touch`: a user is online.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::check_ids;
use super::schema::Bound;
use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::limits::IDS_MAX;
use crate::types::{ChatId, IdempotencyKey, TimeMs, UserId};

/// Arguments of `touch`: a user who is online, in some chats or in all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Touch {
    /// The user who is online.
    pub user_id: UserId,
    /// The chats in which the user is online; all of the user's chats if absent.
    #[serde(default)]
    pub chat_ids: Option<Vec<ChatId>>,
    /// When the user was online; the server's time if absent. A row keeps a later time that it has.
    #[serde(default)]
    pub time: Option<TimeMs>,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for Touch {
    fn check(&self) -> Result<(), Error> {
        check_ids("chat_ids", self.chat_ids.as_ref().map_or(0, Vec::len))
    }
}

impl Arguments for Touch {
    type Reply = TouchReply;
    const EXAMPLE: Option<&str> = Some(r#"{"user_id": "USER"}"#);
    const BOUNDS: &[Bound] = &[Bound::list("chat_ids", IDS_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        keys.user(&self.user_id, Use::Write, By::Arrival);
        keys.chats(self.chat_ids.iter().flatten(), Use::Read, By::Arrival);
    }
}

/// Reply to `touch`: how many rows it found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TouchReply {
    /// How many of the named rows the user has.
    pub touched: u64,
}

#[cfg(test)]
draw! {
    Touch { user_id, chat_ids, time, idempotency_key }
    TouchReply { touched }
}
