//! Faults planted on purpose, for the tests that show that the simulation finds them.
//!
//! They are there only with the feature `planted-faults`, which no program has; and one does something only
//! on a thread that asked for it. Without the feature the question is a constant.

/// A fault that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A reply leaves when its record is written, not when it is synced.
    ReplyBeforeSync,
    /// An image leaves out what is still to be delivered.
    OutboxNotKept,
    /// Messages leave a shard before the records that they depend on.
    EffectBeforeCause,
    /// An image gets its name before its bytes are synced.
    RenameBeforeSync,
    /// A delivery that comes again is applied again.
    DeliveredTwice,
    /// A request for a row may come behind the message of a later one that goes over the chat.
    OvertakesOnTheWay,
    /// Commands go by the wall clock, wherever it is set.
    ClockBelieved,
    /// Idempotency keys age by the wall clock.
    KeysAgeByClock,
    /// A refused clean-up behind a refused new segment poisons the log.
    CleanUpPoisons,
}

#[cfg(feature = "planted-faults")]
std::thread_local! {
    static CHOSEN: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault on this thread, or removes it.
#[cfg(feature = "planted-faults")]
pub fn plant(fault: Option<Planted>) {
    CHOSEN.set(fault);
}

/// Whether this fault is planted on this thread.
#[cfg(feature = "planted-faults")]
#[must_use]
pub fn is_planted(fault: Planted) -> bool {
    CHOSEN.get() == Some(fault)
}

/// Whether this fault is planted: it is not.
#[cfg(not(feature = "planted-faults"))]
#[must_use]
#[inline(always)]
pub const fn is_planted(_: Planted) -> bool {
    false
}
