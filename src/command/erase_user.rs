//! `erase_user`: removes every trace of a user.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::types::{IdempotencyKey, UserId};

/// Arguments of `erase_user`: the user to erase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseUser {
    /// The user, of whom no trace remains.
    pub user_id: UserId,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for EraseUser {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for EraseUser {
    type Reply = EraseUserReply;
    const EXAMPLE: Option<&str> = Some(r#"{"user_id": "bob"}"#);

    fn touch(&self, keys: &mut impl NamedKeys) {
        keys.user(&self.user_id, Use::Write, By::Detour);
    }
}

/// Reply to `erase_user`: how much was removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EraseUserReply {
    /// How many memberships were removed.
    pub memberships: u64,
}

#[cfg(test)]
draw! {
    EraseUser { user_id, idempotency_key }
    EraseUserReply { memberships }
}
