//! The counts of a slot. Each change updates them, so that no command must count entries.

use crate::limits::IDLE_USER_WEIGHT;

/// How much a slot holds, as sums over its contents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chats that are not dissolved.
    pub chats: u64,
    /// Dissolved chats, with the retired ones.
    pub dissolved: u64,
    /// Users with at least one row.
    pub users: u64,
    /// Rows of all users.
    pub memberships: u64,
    /// Events in the outboxes of all chats.
    pub outbox: u64,
    /// Removals that users remember.
    pub removals: u64,
    /// Users without rows who are not forgotten yet.
    pub idle: u64,
}

impl Counts {
    /// The weight of all removals and of users without rows. If it exceeds the shard's bound, users
    /// must forget.
    pub fn remembered_weight(&self) -> u64 {
        self.removals + IDLE_USER_WEIGHT * self.idle
    }

    /// Adds the counts of a user, as they are after a change.
    pub fn add_user(&mut self, user: UserCounts) {
        self.users += u64::from(user.rows > 0);
        self.memberships += user.rows;
        self.removals += user.removals;
        self.idle += user.idle;
    }

    /// Subtracts the counts of a user, as they were before a change.
    pub fn take_user(&mut self, user: UserCounts) {
        self.users -= u64::from(user.rows > 0);
        self.memberships -= user.rows;
        self.removals -= user.removals;
        self.idle -= user.idle;
    }
}

/// What one user adds to the counts of the slot.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserCounts {
    pub rows: u64,
    /// Removals that the user remembers.
    pub removals: u64,
    /// 1 if the user has no rows and is not forgotten yet, else 0.
    pub idle: u64,
}
