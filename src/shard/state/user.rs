//! A user: the rows, and the removals that `sync` reports.
//!
//! Invariants:
//! - A row's `event` is the number of the last event of its chat that changed the row.
//! - A user without rows stays for a while, because `sync` still reports the user's removals. A
//!   user who was forgotten and joins again is a new user with another [`UserHead::born`].
//! - Each change of a row except by `touch` gives the row the user's next version. So a client can
//!   ask for all rows that changed after a version.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::USER_REMOVALS_MAX;
use crate::shard::counts::UserCounts;
use crate::shard::decode::counter;
use crate::shard::roster::Roster;
use crate::shard::row::Row;
use crate::types::{ChatId, UserId, wide};

/// A user's own facts, without the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserHead {
    /// The user's id, which decides the slot.
    pub id: UserId,
    /// The highest version that a change of the user's rows has got.
    #[serde(deserialize_with = "counter")]
    pub version: u64,
    /// Join order that the user's next row gets.
    #[serde(deserialize_with = "counter")]
    pub next_order: u64,
    /// Whether only imports have changed the user so far. Only then the user takes over versions
    /// that an import names.
    #[serde(default)]
    pub imported: bool,
    /// The slot sequence at which the user was created. A user who was erased and joins again gets
    /// a new one. Versions that clients have from before then do not count.
    #[serde(default)]
    pub born: u64,
    /// Whether the user is in the queue of `src/shard/machine/forgetting.rs`.
    #[serde(skip)]
    pub fades: bool,
}

impl UserHead {
    /// Takes the user's next version for a change that no import made.
    pub fn next_version(&mut self) -> u64 {
        self.imported = false;
        self.version += 1;
        self.version
    }

    /// The version of a change by import. The version `named` by the import counts only while all
    /// changes of the user came by import. Later it could be older than what clients have seen, and
    /// they would miss the change.
    pub fn import_version(&mut self, named: Option<u64>) -> u64 {
        match named {
            Some(version) if self.imported => {
                self.version = self.version.max(version);
                version
            }
            None if self.imported => {
                self.version += 1;
                self.version
            }
            _ => self.next_version(),
        }
    }
}

/// The removals of a user: chats whose member the user is no longer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Removals {
    /// Each chat, with the version of its removal, oldest first.
    pub chats: VecDeque<(ChatId, u64)>,
    /// Removals up to this version may be missing, because they were forgotten.
    pub forgotten_to: u64,
}

/// A user with the rows. The first cache line leads to the rows.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct User {
    /// Rows, in join order.
    pub rows: Roster<Row>,
    /// The user's own facts.
    pub head: UserHead,
    /// The user's removals. None if the user never had one.
    pub removals: Option<Arc<Removals>>,
}

impl User {
    /// A user without rows. `born` is the present slot sequence.
    pub fn new(id: UserId, born: u64) -> Self {
        let head = UserHead { id, version: 0, next_order: 1, imported: true, born, fades: false };
        Self { head, rows: Roster::default(), removals: None }
    }

    /// Remembers that the row of a chat was removed with this version. Forgets the oldest removal
    /// if the user has more than [`USER_REMOVALS_MAX`].
    pub fn remember_removal(&mut self, chat_id: ChatId, version: u64) {
        let removals = Arc::make_mut(self.removals.get_or_insert_default());
        let after = removals.chats.partition_point(|(_, other)| *other <= version);
        removals.chats.insert(after, (chat_id, version));
        if removals.chats.len() > USER_REMOVALS_MAX
            && let Some((_, version)) = removals.chats.pop_front()
        {
            // The highest version counts: a later import may bring removals with smaller versions.
            removals.forgotten_to = removals.forgotten_to.max(version);
        }
    }

    /// What the user adds to the counts of the slot.
    pub fn counts(&self) -> UserCounts {
        let (rows, removals) = (wide(self.rows.len()), self.removal_count());
        // A user who was just created and has no change yet counts as nothing.
        let is_new = rows == 0 && self.removals.is_none() && self.head.version == 0;
        UserCounts { rows, removals, idle: u64::from(rows == 0 && !is_new) }
    }

    /// How many removals the user remembers.
    pub fn removal_count(&self) -> u64 {
        self.removals.as_ref().map_or(0, |removals| wide(removals.chats.len()))
    }

    /// Whether the user has no rows, or has removals: then there is something to forget.
    pub fn has_to_forget(&self) -> bool {
        self.rows.is_empty() || self.removal_count() > 0
    }

    /// Up to which version the user forgets removals next. All for a user without rows, the older
    /// half for others. None if there are no removals.
    pub fn forgets_to(&self) -> Option<u64> {
        if self.rows.is_empty() {
            return Some(self.head.version);
        }
        let removals = &self.removals.as_ref()?.chats;
        let last = removals.len().div_ceil(2).checked_sub(1)?;
        removals.get(last).map(|(_, version)| *version)
    }

    /// Forgets the removals up to `version`, and notes that they are forgotten.
    pub fn forget_to(&mut self, version: u64) {
        let Some(removals) = self.removals.as_mut().map(Arc::make_mut) else { return };
        let forgotten = removals.chats.partition_point(|(_, removed)| *removed <= version);
        removals.chats.drain(..forgotten);
        removals.chats.shrink_to_fit();
        removals.forgotten_to = removals.forgotten_to.max(version);
    }

    /// Forgets the removal of one chat, because the user has a row of it again or a new removal.
    pub fn forget_removal(&mut self, chat_id: &ChatId) {
        if let Some(removals) = &mut self.removals
            && let Some(at) = removals.chats.iter().position(|(id, _)| id == chat_id)
        {
            Arc::make_mut(removals).chats.remove(at);
        }
    }
}
