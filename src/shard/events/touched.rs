//! `Touched`: a user was online, in some chats or in all.

use serde::{Deserialize, Serialize};

use super::applier::misfit;
use super::{Applier, Decision, Logged};
use crate::command::watch::WatchEvent;
use crate::shard::decode::BadRecord;
use crate::shard::row::Row;
use crate::types::{ChatId, TimeMs, UserId};

/// A user was online, in some chats or in all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Touched {
    /// The user who was online.
    pub user_id: UserId,
    /// The chats that the user was online in; None means all chats of the user.
    pub chat_ids: Option<Vec<ChatId>>,
    /// When the user was online. A row that has a later time keeps its time.
    pub time: TimeMs,
}

impl Decision for Touched {
    const CODE: u8 = 35;

    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
        let hasher = applier.hasher;
        let user = applier
            .slot
            .user_mut(self.user_id.as_str(), hasher.hash(self.user_id.as_str()))
            .ok_or_else(|| misfit("user", &self.user_id))?;
        let later = |row: &Row| row.facts().last_online_time < self.time;
        let touch = |row: &mut Row| row.update(|row| row.facts.last_online_time = self.time);
        match self.chat_ids {
            None => user.rows.update_all(later, touch),
            Some(chat_ids) => {
                for chat_id in chat_ids {
                    let hash = hasher.hash(chat_id.as_str());
                    if user.rows.get(chat_id.as_str(), hash).is_some_and(later)
                        && let Some(row) = user.rows.get_mut(chat_id.as_str(), hash)
                    {
                        touch(row);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Logged for Touched {
    fn key(&self) -> Option<&str> {
        Some(self.user_id.as_str())
    }

    fn watched(self) -> Option<WatchEvent> {
        None
    }
}
