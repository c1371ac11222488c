//! `Forgotten`: a user's removals up to a version were forgotten.

use serde::{Deserialize, Serialize};

use super::applier::misfit;
use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::counts::UserCounts;
use crate::shard::decode::{BadRecord, counter};
use crate::types::UserId;

/// The shard held more removals and idle users than its bound, and forgot removals of this user. A
/// user who then has neither rows nor removals is forgotten too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forgotten {
    /// The user whose removals are forgotten.
    pub user_id: UserId,
    /// The removals up to this version of the user are forgotten.
    #[serde(deserialize_with = "counter")]
    pub to: u64,
}

impl Decision for Forgotten {
    const CODE: u8 = 39;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let id = &self.user_id;
        let hash = applier.hasher.hash(id.as_str());
        let user = applier.slot.user_mut(id.as_str(), hash).ok_or_else(|| misfit("user", id))?;
        let before = user.counts();
        user.forget_to(self.to);
        let is_there = !user.rows.is_empty() || user.removal_count() > 0;
        let after = if is_there { user.counts() } else { UserCounts::default() };
        applier.recount_user(before, after);
        if !is_there {
            applier.slot.remove_user(id, hash, applier.hasher);
        }
        Ok(())
    }
}

impl Logged for Forgotten {
    fn key(&self) -> Option<&str> {
        Some(self.user_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        None
    }
}
