//! A bound on what many holders use together. The caller chooses the unit: bytes, or places.
//!
//! Invariants:
//! - The amounts of all holders never exceed the bound, except after [`Budget::hold_anyway`] and
//!   [`BudgetHold::resize_anyway`], which account for memory that exists already.
//! - If what a holder asks for does not fit, the oldest holders are evicted first, but only those
//!   that are at least `patience` old. If even that leaves too little room, the request for room
//!   fails and nobody is evicted.
//! - What an evicted holder held counts no more. Its task is woken once.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// A bound, and the holders that share it. The caller chooses the unit of the amounts.
pub struct Budget {
    max: usize,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: usize,
    /// The number of the next holder. Numbers only rise, so the first holder in the map is the
    /// oldest.
    next: u64,
    holders: BTreeMap<u64, Holder>,
}

struct Holder {
    amount: usize,
    since: Instant,
    /// The task to wake when the holder is evicted.
    waker: Option<Waker>,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("max", &self.max).finish_non_exhaustive()
    }
}

impl Budget {
    /// A budget with the bound `max`. No holder is evicted before it is `patience` old.
    pub fn new(max: usize, patience: Duration) -> Arc<Self> {
        Arc::new(Self { max, patience, state: Mutex::default() })
    }

    /// The sum of what all holders of this budget use. It may exceed the bound; see the module's
    /// invariants.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.lock().held
    }

    /// The largest sum that [`Budget::hold`] and [`BudgetHold::resize`] allow.
    pub fn max(&self) -> usize {
        self.max
    }

    /// Holds `amount`, and evicts the oldest holders to make room. If that does not make enough
    /// room, evicts nobody and returns `None`.
    pub fn hold(self: &Arc<Self>, amount: usize) -> Option<BudgetHold> {
        let mut state = self.lock();
        state.make_room(amount, self, None).then(|| self.admit(&mut state, amount))
    }

    /// Holds `amount` of something that exists already. If it does not fit, evicts all holders
    /// that may be evicted. Exceeds the bound if that is not enough.
    pub fn hold_anyway(self: &Arc<Self>, amount: usize) -> BudgetHold {
        let mut state = self.lock();
        if !state.make_room(amount, self, None) {
            state.evict_all(self, None);
        }
        self.admit(&mut state, amount)
    }

    fn admit(self: &Arc<Self>, state: &mut State, amount: usize) -> BudgetHold {
        let place = state.insert(Holder { amount, since: Instant::now(), waker: None });
        BudgetHold { budget: Arc::clone(self), place }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of another thread cannot leave a change half done, so a poisoned lock is usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, holder: Holder) -> u64 {
        let place = self.next;
        self.next += 1;
        self.held += holder.amount;
        self.holders.insert(place, holder);
        place
    }

    fn remove(&mut self, place: u64) -> Option<Holder> {
        let holder = self.holders.remove(&place)?;
        self.held = self.held.saturating_sub(holder.amount);
        Some(holder)
    }

    /// The holders that may be evicted, the oldest first. The holder that asks for room is never
    /// among them.
    fn victims(&self, budget: &Budget, asking: Option<u64>) -> impl Iterator<Item = (u64, usize)> {
        let patience = budget.patience;
        self.holders
            .iter()
            .filter(move |(place, holder)| {
                Some(**place) != asking && holder.since.elapsed() >= patience
            })
            .map(|(place, holder)| (*place, holder.amount))
    }

    /// Evicts the oldest holders until `more` fits. If it cannot fit, evicts nobody and returns
    /// false.
    fn make_room(&mut self, more: usize, budget: &Budget, asking: Option<u64>) -> bool {
        let wanted = self.held.saturating_add(more);
        let mut excess = wanted.saturating_sub(budget.max);
        let mut evicted = Vec::new();
        if excess > 0 {
            for (place, amount) in self.victims(budget, asking) {
                evicted.push(place);
                excess = excess.saturating_sub(amount);
                if excess == 0 {
                    break;
                }
            }
        }
        if excess > 0 {
            return false;
        }
        evicted.into_iter().for_each(|place| self.evict(place));
        true
    }

    fn evict_all(&mut self, budget: &Budget, asking: Option<u64>) {
        let victims: Vec<_> = self.victims(budget, asking).map(|(place, _)| place).collect();
        victims.into_iter().for_each(|place| self.evict(place));
    }

    fn evict(&mut self, place: u64) {
        if let Some(Holder { waker: Some(waker), .. }) = self.remove(place) {
            waker.wake();
        }
    }
}

/// A holder's part of a budget. Dropping it gives the amount back.
#[derive(Debug)]
pub struct BudgetHold {
    budget: Arc<Budget>,
    place: u64,
}

impl BudgetHold {
    /// Changes the amount of this holder, and evicts older holders to make room for more. If there
    /// is no room, or if this holder was evicted, changes nothing and returns false.
    pub fn resize(&mut self, amount: usize) -> bool {
        self.change(amount, false)
    }

    /// Sets the amount to what this holder uses already, even beyond the bound. Returns false only
    /// if this holder was evicted.
    pub fn resize_anyway(&mut self, amount: usize) -> bool {
        self.change(amount, true)
    }

    fn change(&mut self, amount: usize, anyway: bool) -> bool {
        let mut state = self.budget.lock();
        let Some(before) = state.holders.get(&self.place).map(|holder| holder.amount) else {
            return false;
        };
        if let Some(more) = amount.checked_sub(before).filter(|more| *more > 0)
            && !state.make_room(more, &self.budget, Some(self.place))
        {
            if !anyway {
                return false;
            }
            state.evict_all(&self.budget, Some(self.place));
        }
        if let Some(holder) = state.holders.get_mut(&self.place) {
            holder.amount = amount;
        }
        state.held = state.held.saturating_sub(before).saturating_add(amount);
        true
    }

    /// Makes this holder the youngest, so that it is evicted last. An evicted holder stays evicted.
    pub fn renew(&mut self) {
        let mut state = self.budget.lock();
        if let Some(mut holder) = state.remove(self.place) {
            holder.since = Instant::now();
            self.place = state.insert(holder);
        }
    }

    /// Ready if this holder was evicted. Otherwise the task of `context` is woken when that
    /// happens; only the task that polled last is remembered.
    pub fn poll_evicted(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.budget.lock().holders.get_mut(&self.place) {
            None => Poll::Ready(()),
            Some(holder) => {
                if !holder.waker.as_ref().is_some_and(|old| old.will_wake(context.waker())) {
                    holder.waker = Some(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }

    /// Completes when this holder is evicted.
    pub async fn evicted(&self) {
        poll_fn(|context| self.poll_evicted(context)).await;
    }

    /// Whether this holder was evicted, without waiting.
    #[cfg(test)]
    pub(crate) fn is_evicted(&self) -> bool {
        !self.budget.lock().holders.contains_key(&self.place)
    }
}

impl Drop for BudgetHold {
    fn drop(&mut self) {
        drop(self.budget.lock().remove(self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn the_oldest_is_evicted_for_what_does_not_fit() {
        let budget = Budget::new(10, Duration::ZERO);
        let mut first = budget.hold(4).unwrap();
        let second = budget.hold(4).unwrap();
        first.renew();
        let third = budget.hold(6).unwrap();
        assert!(second.is_evicted() && !first.is_evicted() && !third.is_evicted());
        assert_eq!(budget.held(), 10);
        drop(second);
        assert_eq!(budget.held(), 10, "an evicted holder counts no more");
        drop((first, third));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn what_can_never_fit_evicts_nobody() {
        let budget = Budget::new(10, Duration::ZERO);
        let mut first = budget.hold(10).unwrap();
        assert!(budget.hold(11).is_none() && !first.is_evicted());
        assert!(!first.resize(11) && first.resize(3));
        assert_eq!(budget.held(), 3);
    }

    #[test]
    fn nobody_is_evicted_before_its_time() {
        let budget = Budget::new(10, LONG);
        let mut first = budget.hold(6).unwrap();
        assert!(budget.hold(6).is_none());
        let over = budget.hold_anyway(6);
        assert_eq!(budget.held(), 12);
        assert!(!first.resize(7) && first.resize_anyway(7) && !first.is_evicted());
        drop(over);
        assert_eq!(budget.held(), 7);
    }

    #[test]
    fn what_is_in_use_already_evicts_the_others() {
        let budget = Budget::new(10, Duration::ZERO);
        let first = budget.hold(5).unwrap();
        let mut second = budget.hold(5).unwrap();
        assert!(second.resize_anyway(20) && first.is_evicted() && !second.is_evicted());
        assert_eq!(budget.held(), 20);
        assert!(budget.hold(1).is_some(), "the one that is over is evicted next");
        assert!(second.is_evicted() && !second.resize(1));
    }

    #[tokio::test]
    async fn the_evicted_holder_is_woken() {
        let budget = Budget::new(1, Duration::ZERO);
        let first = budget.hold(1).unwrap();
        let waiting = tokio::spawn(async move { first.evicted().await });
        tokio::task::yield_now().await;
        let _second = budget.hold(1).unwrap();
        waiting.await.unwrap();
    }
}
