//! The memory of what users had, and its bound: removals that `sync` reports, and users without
//! rows.
//!
//! Beyond the bound, the users who have waited longest must forget. A user with rows forgets the
//! older half of their removals; a user without rows is forgotten entirely. This is decided here
//! and logged as an event, so replay and every number of shards lead to the same state. A `sync`
//! from before gets `reset`, which costs nothing to a user without rows.
//!
//! Invariants:
//! - Each user with something to forget is in the queue once, and [`UserHead::fades`] says so.
//! - `weight` and `memberships` are the sums of the slots' counts.
//!
//! [`UserHead::fades`]: crate::shard::state::UserHead::fades

use std::collections::VecDeque;

use super::{Core, Slots};
use crate::limits::{GONE_MAX, GONE_SHARE};
use crate::shard::counts::Counts;
use crate::shard::events::{Decision, Forgotten};
use crate::shard::op::Output;
use crate::types::{Slot, UserId, wide};

/// Maximum number of users who forget in one step.
const USERS_A_STEP: usize = 32;

/// The users with something to forget, and the bound.
#[derive(Debug)]
pub(super) struct Fading {
    /// Users with something to forget; the user who has waited longest comes first.
    queue: VecDeque<UserId>,
    weight: u64,
    memberships: u64,
    /// The weight that is always remembered, however few rows there are.
    least: u64,
}

impl Fading {
    pub(super) fn new(shards: u16) -> Self {
        let least = wide(GONE_MAX) / u64::from(shards.max(1));
        Self { queue: VecDeque::new(), weight: 0, memberships: 0, least }
    }

    fn is_over(&self) -> bool {
        self.weight > self.least.max(self.memberships / GONE_SHARE)
    }

    /// Finds the users with something to forget. Must be called once, before work begins.
    pub(super) fn gather(&mut self, slots: &mut Slots) {
        for slot in &mut slots.states {
            self.note(Counts::default(), slot.counts);
            for user in slot.users_mut().filter(|user| user.has_to_forget()) {
                user.head.fades = true;
                self.queue.push_back(user.head.id.clone());
            }
        }
    }

    /// Puts a user into the queue, unless they are in it or have nothing to forget.
    fn enqueue(&mut self, user_id: &UserId, slots: &mut Slots) {
        if let Some(user) = slots.find_user_mut(user_id)
            && user.has_to_forget()
            && !std::mem::replace(&mut user.head.fades, true)
        {
            self.queue.push_back(user_id.clone());
        }
    }

    /// Takes the user who has waited longest, with the version up to which they forget; None if
    /// this user has nothing to forget any more.
    fn next(&mut self, slots: &mut Slots) -> Option<(UserId, u64)> {
        let user_id = self.queue.pop_front()?;
        // A user who was erased or joined again since has nothing to forget.
        let user = slots.find_user_mut(&user_id)?;
        user.head.fades = false;
        let to = user.forgets_to()?;
        Some((user_id, to))
    }

    fn note(&mut self, before: Counts, after: Counts) {
        self.weight = (self.weight + after.gone_weight()).saturating_sub(before.gone_weight());
        self.memberships =
            (self.memberships + after.memberships).saturating_sub(before.memberships);
    }
}

impl Core {
    /// Sets the weight that is always remembered, however few rows there are. A removal weighs 1, a
    /// user without rows weighs 8.
    #[cfg(feature = "internals")]
    pub fn remember_at_least(&mut self, weight: u64) {
        self.fading.least = weight;
    }

    /// Whether the shard remembers more than its bound.
    pub fn has_to_forget(&self) -> bool {
        self.fading.is_over()
    }

    /// Commits an event that may change how much a user has to forget.
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
        if after.gone_weight() > before.gone_weight() {
            self.fading.enqueue(user_id, &mut self.slots);
        }
    }

    /// Lets some users forget, as long as the shard remembers more than its bound.
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
