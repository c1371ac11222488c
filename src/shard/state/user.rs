//! A user: their rows, and the removals that `sync` reports.
//!
//! Invariants:
//! - A row's `event` is the number of the last chat event that it applied.
//! - A user without rows stays for a while, so that `sync` can report what they lost. A user who is
//!   forgotten and joins again is a new user, see [`UserHead::born`].
//! - Each change of a user's rows except `touch` takes the user's next version, so versions say
//!   what changed since.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::TOMBSTONES_MAX;
use crate::shard::counts::UserCounts;
use crate::shard::decode::counter;
use crate::shard::roster::Roster;
use crate::shard::row::Row;
use crate::types::{ChatId, UserId, wide};

/// A user's own facts, without their rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserHead {
    /// The user's id, which decides the slot.
    pub id: UserId,
    /// Counts the changes of the user's rows.
    #[serde(deserialize_with = "counter")]
    pub version: u64,
    /// Join order of the next row.
    #[serde(deserialize_with = "counter")]
    pub next_order: u64,
    /// Whether all changes so far came by import. Only then a version that an import names is taken
    /// as it is.
    #[serde(default)]
    pub imported: bool,
    /// The slot's sequence when the user was created. A user who was erased and joins again is a
    /// new user, and versions that clients kept from before do not count.
    #[serde(default)]
    pub born: u64,
    /// Whether the user is in the shard's queue of users with something to forget.
    #[serde(skip)]
    pub fades: bool,
}

impl UserHead {
    /// Takes the next version, for a change that does not come by import.
    pub fn next_version(&mut self) -> u64 {
        self.imported = false;
        self.version += 1;
        self.version
    }

    /// The version of an imported change. A version that the import names counts only as long as
    /// all changes of the user were imported. Otherwise a client that follows the user's changes
    /// would not see an older one.
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

/// Removals of a user: the chats that they are no longer a member of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gone {
    /// Each chat with the version of its removal, oldest first.
    pub chats: VecDeque<(ChatId, u64)>,
    /// Removals up to this version may be forgotten.
    pub forgotten_to: u64,
}

/// A user with their rows. The first cache line leads to the rows.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct User {
    /// Rows, in join order.
    pub rows: Roster<Row>,
    /// The user's own facts.
    pub head: UserHead,
    /// Removals; None if there was never one.
    pub gone: Option<Arc<Gone>>,
}

impl User {
    /// A user without rows; `born` is the sequence of the slot.
    pub fn new(id: UserId, born: u64) -> Self {
        let head = UserHead { id, version: 0, next_order: 1, imported: true, born, fades: false };
        Self { head, rows: Roster::default(), gone: None }
    }

    /// Remembers the removal of a chat with this version. Forgets the oldest removals beyond
    /// [`TOMBSTONES_MAX`].
    pub fn bury(&mut self, chat_id: ChatId, version: u64) {
        let gone = Arc::make_mut(self.gone.get_or_insert_default());
        let after = gone.chats.partition_point(|(_, other)| *other <= version);
        gone.chats.insert(after, (chat_id, version));
        if gone.chats.len() > TOMBSTONES_MAX
            && let Some((_, version)) = gone.chats.pop_front()
        {
            // An import may bring older removals later.
            gone.forgotten_to = gone.forgotten_to.max(version);
        }
    }

    /// The user's numbers, as the slot counts them.
    pub fn counts(&self) -> UserCounts {
        let (rows, gone) = (wide(self.rows.len()), self.gone_count());
        // A user who was just created does not count yet.
        let is_new = rows == 0 && self.gone.is_none() && self.head.version == 0;
        UserCounts { rows, gone, idle: u64::from(rows == 0 && !is_new) }
    }

    /// Number of removals that are remembered.
    pub fn gone_count(&self) -> u64 {
        self.gone.as_ref().map_or(0, |gone| wide(gone.chats.len()))
    }

    /// Whether the user has no rows, or removals to forget.
    pub fn has_to_forget(&self) -> bool {
        self.rows.is_empty() || self.gone_count() > 0
    }

    /// The version up to which the user forgets at their turn; None if there is nothing to forget.
    pub fn forgets_to(&self) -> Option<u64> {
        if self.rows.is_empty() {
            return Some(self.head.version);
        }
        let gone = &self.gone.as_ref()?.chats;
        let last = gone.len().div_ceil(2).checked_sub(1)?;
        gone.get(last).map(|(_, version)| *version)
    }

    /// Forgets removals up to a version, and notes that version.
    pub fn forget_to(&mut self, version: u64) {
        let Some(gone) = self.gone.as_mut().map(Arc::make_mut) else { return };
        let forgotten = gone.chats.partition_point(|(_, removed)| *removed <= version);
        gone.chats.drain(..forgotten);
        gone.chats.shrink_to_fit();
        gone.forgotten_to = gone.forgotten_to.max(version);
    }

    /// Forgets the removal of a chat that the user has joined again.
    pub fn unbury(&mut self, chat_id: &ChatId) {
        if let Some(gone) = &mut self.gone
            && let Some(at) = gone.chats.iter().position(|(id, _)| id == chat_id)
        {
            Arc::make_mut(gone).chats.remove(at);
        }
    }
}
