//! `UserErased`: the last traces of a user are gone.

use serde::{Deserialize, Serialize};

use super::applier::misfit;
use super::{Applier, Decision, Logged, blank};
use crate::command::watch::{WatchEvent, WatchOp};
use crate::shard::counts::UserCounts;
use crate::shard::decode::BadRecord;
use crate::types::UserId;

/// The last traces of a user are gone: versions, orders, removals and answers under idempotency
/// keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserErased {
    /// The erased user. Earlier events have removed all rows of this user.
    pub user_id: UserId,
}

impl Decision for UserErased {
    const CODE: u8 = 37;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let hasher = applier.hasher;
        let hash = hasher.hash(self.user_id.as_str());
        let slot = &mut applier.slot;
        let scopes: Vec<_> = slot.answers_of(hash).map(|answer| answer.scope.clone()).collect();
        for scope in scopes {
            slot.answers.remove(&scope, hasher.hash(&scope));
        }
        if let Some(user) = slot.remove_user(&self.user_id, hash, hasher) {
            if !user.rows.is_empty() {
                return Err(misfit("erased user", &self.user_id));
            }
            applier.recount_user(user.counts(), UserCounts::default());
        }
        Ok(())
    }
}

impl Logged for UserErased {
    fn key(&self) -> Option<&str> {
        Some(self.user_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        Some(WatchEvent { user_id: Some(self.user_id), ..blank(WatchOp::Erase) })
    }
}
