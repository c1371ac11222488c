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

use super::Core;
use crate::limits::{GONE_MAX, GONE_SHARE};
use crate::shard::counts::Counts;
use crate::shard::events::{Decision, Forgotten};
use crate::shard::op::Output;
use crate::shard::state::User;
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

    fn note(&mut self, before: Counts, after: Counts) {
        self.weight = (self.weight + after.gone_weight()).saturating_sub(before.gone_weight());
        self.memberships =
            (self.memberships + after.memberships).saturating_sub(before.memberships);
    }
}

impl Core {
    /// Sets the weight that is always remembered, however few rows there are. A removal weighs 1, a
    /// user without rows weighs 8.
    pub fn remember_at_least(&mut self, weight: u64) {
        self.fading.least = weight;
    }

    /// Finds the users with something to forget. Must be called once, before work begins.
    pub(super) fn gather_fading(&mut self) {
        let Self { slots, fading, .. } = self;
        for slot in slots {
            fading.note(Counts::default(), slot.counts);
            for user in slot.users_mut().filter(|user| user.has_to_forget()) {
                user.head.fades = true;
                fading.queue.push_back(user.head.id.clone());
            }
        }
    }

    /// Commits an event that may change how much a user has to forget.
    pub(super) fn commit_of_user(
        &mut self,
        slot: Slot,
        user_id: &UserId,
        event: impl Decision,
        out: &mut Output,
    ) {
        let before = self.slot(slot).map_or_else(|_| Counts::default(), |state| state.counts);
        self.commit(slot, event, out);
        let after = self.slot(slot).map_or_else(|_| Counts::default(), |state| state.counts);
        self.fading.note(before, after);
        if after.gone_weight() > before.gone_weight() {
            self.let_fade(user_id);
        }
    }

    /// Puts a user into the queue, unless they are in it or have nothing to forget.
    fn let_fade(&mut self, user_id: &UserId) {
        if let Some(user) = self.find_user_mut(user_id)
            && user.has_to_forget()
            && !std::mem::replace(&mut user.head.fades, true)
        {
            self.fading.queue.push_back(user_id.clone());
        }
    }

    fn find_user_mut(&mut self, id: &UserId) -> Option<&mut User> {
        let hash = self.hash_of(id.as_str());
        let index = self.slot_index(self.slot_of_user(id)).ok()?;
        self.slots.get_mut(index)?.user_mut(id.as_str(), hash)
    }

    /// Whether the shard remembers more than its bound.
    pub fn has_to_forget(&self) -> bool {
        self.fading.is_over()
    }

    /// Drops a part of the delivered events, and ids of users that no chat names any more, if there
    /// are many. Returns true if there is more to do.
    pub fn sweep_some(&mut self) -> bool {
        self.interner.drop_some() | self.interner.sweep_some()
    }

    /// Lets some users forget, as long as the shard remembers more than its bound.
    pub fn forget_some(&mut self, out: &mut Output) {
        for _ in 0..USERS_A_STEP {
            if !self.fading.is_over() {
                return;
            }
            let Some(user_id) = self.fading.queue.pop_front() else { return };
            // A user who was erased or joined again since has nothing to forget.
            let Some(user) = self.find_user_mut(&user_id) else { continue };
            user.head.fades = false;
            let Some(to) = user.forgets_to() else { continue };
            let slot = self.slot_of_user(&user_id);
            let event = Forgotten { user_id: user_id.clone(), to };
            self.commit_of_user(slot, &user_id, event, out);
            self.let_fade(&user_id);
        }
    }
}
