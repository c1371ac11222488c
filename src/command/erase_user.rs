//! `erase_user`: removes every trace of a user.

use serde::{Deserialize, Serialize};

use super::{Check, Error};
use crate::types::{IdempotencyKey, UserId};

/// Arguments of `erase_user`: the user to erase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EraseUser {
    /// The user, of whom no trace remains.
    pub user_id: UserId,
    /// A repeat of the same request with this key gets the first reply and applies nothing.
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
}

impl Check for EraseUser {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Reply to `erase_user`: how much was removed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EraseUserReply {
    /// How many memberships were removed.
    pub memberships: u64,
}
