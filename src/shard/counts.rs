//! The counts of a slot, updated with each change, so that no command counts entries.

use crate::limits::IDLE_USER_WEIGHT;

/// The contents of a slot, as numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chats that are not dissolved.
    pub chats: u64,
    /// Dissolved chats, retired ones included.
    pub dissolved: u64,
    /// Users with at least one row.
    pub users: u64,
    /// Rows of all users.
    pub memberships: u64,
    /// Chat events with deliveries under way.
    pub outbox: u64,
    /// Removals that are remembered.
    pub gone: u64,
    /// Users without rows who are still remembered.
    pub idle: u64,
}

impl Counts {
    /// The weight of removals and users without rows. If the sum over all slots exceeds the bound,
    /// users must forget.
    pub fn gone_weight(&self) -> u64 {
        self.gone + IDLE_USER_WEIGHT * self.idle
    }

    /// Adds the numbers of a user after a change.
    pub fn add_user(&mut self, user: UserCounts) {
        self.users += u64::from(user.rows > 0);
        self.memberships += user.rows;
        self.gone += user.gone;
        self.idle += user.idle;
    }

    /// Subtracts the numbers of a user before a change.
    pub fn take_user(&mut self, user: UserCounts) {
        self.users -= u64::from(user.rows > 0);
        self.memberships -= user.rows;
        self.gone -= user.gone;
        self.idle -= user.idle;
    }
}

/// The numbers of one user, as a slot counts them.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserCounts {
    pub rows: u64,
    /// Removals that are remembered.
    pub gone: u64,
    /// 1 for a user without rows who is still remembered, else 0.
    pub idle: u64,
}
