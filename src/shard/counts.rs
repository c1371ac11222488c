//! What a slot counts as it changes, so that nobody counts it anew.

use super::state::User;
use crate::limits::IDLE_USER_WEIGHT;
use crate::types::wide;

/// What a slot holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chats that are not dissolved.
    pub chats: u64,
    /// Dissolved chats.
    pub dissolved: u64,
    /// Users with at least one row.
    pub users: u64,
    /// Rows.
    pub memberships: u64,
    /// Chat events with deliveries under way.
    pub outbox: u64,
    /// Removals that are remembered.
    pub gone: u64,
    /// Users without rows.
    pub idle: u64,
}

impl Counts {
    /// How much is remembered of what users had.
    pub fn gone_weight(&self) -> u64 {
        self.gone + IDLE_USER_WEIGHT * self.idle
    }

    /// Adds what a user has.
    pub fn add_user(&mut self, user: UserCounts) {
        self.users += u64::from(user.rows > 0);
        self.memberships += user.rows;
        self.gone += user.gone;
        self.idle += user.idle;
    }

    /// Takes away what a user had.
    pub fn take_user(&mut self, user: UserCounts) {
        self.users -= u64::from(user.rows > 0);
        self.memberships -= user.rows;
        self.gone -= user.gone;
        self.idle -= user.idle;
    }
}

/// What a slot counts of a user.
#[derive(Debug, Clone, Copy, Default)]
pub struct UserCounts {
    rows: u64,
    gone: u64,
    idle: u64,
}

impl UserCounts {
    /// Of a user as they are.
    pub fn of(user: &User) -> Self {
        let (rows, gone) = (wide(user.rows.len()), user.gone_count());
        // Who was just made is not there yet.
        let is_new = rows == 0 && user.gone.is_none() && user.head.version == 0;
        Self { rows, gone, idle: u64::from(rows == 0 && !is_new) }
    }
}
