//! The bound on what a shard remembers of users: removals that `sync` reports, and users without
//! rows.
//!
//! Above the bound, the users at the front of a queue forget something. A user with rows forgets
//! the older half of the removals. A user without rows is forgotten entirely. An event records
//! this, so replay leads to the same state with any number of shards. A client that asks from a
//! forgotten version gets `reset`, which costs nothing without rows.
//!
//! Invariants:
//! - A user with something to forget is in the queue once, and then [`UserHead::fades`] is set.
//! - `weight` and `memberships` are sums over the counts of the slots.
//!
//! [`UserHead::fades`]: crate::shard::state::UserHead::fades

use std::collections::VecDeque;

use super::{Shard, Slots};
use crate::limits::{REMOVALS_MAX, ROWS_PER_REMOVAL};
use crate::shard::counts::Counts;
use crate::shard::events::{Decision, Forgotten};
use crate::shard::op::Output;
use crate::types::{Slot, UserId, wide};

/// How many users may forget in one step.
const USERS_A_STEP: usize = 32;

/// The users with something to forget, and the numbers that the bound compares.
#[derive(Debug)]
pub(super) struct Fading {
    /// Users with something to forget. The one who entered first forgets first.
    queue: VecDeque<UserId>,
    weight: u64,
    memberships: u64,
    /// How much the shard may always remember, even with few rows. [`Counts::remembered_weight`]
    /// measures it.
    least: u64,
}

impl Fading {
    pub(super) fn new(shards: u16) -> Self {
        let least = wide(REMOVALS_MAX) / u64::from(shards.max(1));
        Self { queue: VecDeque::new(), weight: 0, memberships: 0, least }
    }

    fn is_over(&self) -> bool {
        self.weight > self.least.max(self.memberships / ROWS_PER_REMOVAL)
    }

    /// Finds all users with something to forget. The owner calls this once, before work begins.
    pub(super) fn gather(&mut self, slots: &mut Slots) {
        for slot in &mut slots.states {
            self.note(Counts::default(), slot.counts);
            for user in slot.users_mut().filter(|user| user.has_to_forget()) {
                user.head.fades = true;
                self.queue.push_back(user.head.id.clone());
            }
        }
    }

    /// Puts a user at the end of the queue, if the user has something to forget and is not in the
    /// queue.
    fn enqueue(&mut self, user_id: &UserId, slots: &mut Slots) {
        if let Some(user) = slots.find_user_mut(user_id)
            && user.has_to_forget()
            && !std::mem::replace(&mut user.head.fades, true)
        {
            self.queue.push_back(user_id.clone());
        }
    }

    /// Takes the first user of the queue, with the version up to which the user forgets. None if
    /// this user now has nothing to forget.
    fn next(&mut self, slots: &mut Slots) -> Option<(UserId, u64)> {
        let user_id = self.queue.pop_front()?;
        // A user may be erased, or may have joined again, after entering the queue.
        let user = slots.find_user_mut(&user_id)?;
        user.head.fades = false;
        let to = user.forgets_to()?;
        Some((user_id, to))
    }

    fn note(&mut self, before: Counts, after: Counts) {
        self.weight =
            (self.weight + after.remembered_weight()).saturating_sub(before.remembered_weight());
        self.memberships =
            (self.memberships + after.memberships).saturating_sub(before.memberships);
    }
}

impl Shard {
    /// Sets the weight that the shard may always remember. A removal weighs 1, a user without rows
    /// 8.
    #[cfg(feature = "internals")]
    pub fn remember_at_least(&mut self, weight: u64) {
        self.fading.least = weight;
    }

    /// Whether the shard remembers more than its bound.
    pub fn has_to_forget(&self) -> bool {
        self.fading.is_over()
    }

    /// Commits an event that may change what a user has to forget, and updates the queue and its
    /// weight.
    pub(in crate::shard) fn commit_of_user(
        &mut self,
        slot: Slot,
        user_id: &UserId,
        event: impl Decision,
        out: &mut Output,
    ) {
        let counts =
            |slots: &Slots| slots.slot(slot).map_or_else(|_| Counts::default(), |s| s.counts);
        let before = counts(&self.slots);
        self.commit(slot, event, out);
        let after = counts(&self.slots);
        self.fading.note(before, after);
        if after.remembered_weight() > before.remembered_weight() {
            self.fading.enqueue(user_id, &mut self.slots);
        }
    }

    /// Lets up to `USERS_A_STEP` users forget, while the shard remembers more than its bound.
    pub fn forget_some(&mut self, out: &mut Output) {
        for _ in 0..USERS_A_STEP {
            if !self.fading.is_over() || self.fading.queue.is_empty() {
                return;
            }
            let Some((user_id, to)) = self.fading.next(&mut self.slots) else { continue };
            let slot = self.slots.slot_of_user(&user_id);
            let event = Forgotten { user_id: user_id.clone(), to };
            self.commit_of_user(slot, &user_id, event, out);
            self.fading.enqueue(&user_id, &mut self.slots);
        }
    }
}
