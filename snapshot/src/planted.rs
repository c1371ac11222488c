//! Faults planted on purpose, for the tests that show that the simulation finds them.
//!
//! They exist only with the feature `planted-faults`, which no program enables. A fault acts only
//! on a thread that asked for it. Without the feature [`is_planted`] is a constant.

/// A fault that a test can plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A reply leaves when its record is written, not when it is synced.
    ReplyBeforeSync,
    /// A snapshot omits the deliveries that are still to be made.
    OutboxNotKept,
    /// Messages leave a shard before the records that they depend on.
    EffectBeforeCause,
    /// A snapshot gets its final name before its bytes are synced.
    RenameBeforeSync,
    /// A delivery that comes a second time is applied a second time.
    DeliveredTwice,
    /// A request for a row may arrive after the message of a later request that goes by way of the
    /// chat.
    OvertakesOnTheWay,
    /// Commands use the wall clock, wherever it is set.
    ClockBelieved,
    /// Idempotency keys age by the wall clock.
    KeysAgeByClock,
    /// If a new segment and the removal of its half-made file are both refused, the log is
    /// poisoned.
    CleanUpPoisons,
    /// A reader of a journal believes entries whatever their index.
    JournalIndexUnchecked,
    /// The lease of an active begins with the reply to its append, not with the request.
    LeaseFromReply,
}

#[cfg(feature = "planted-faults")]
std::thread_local! {
    static CHOSEN: std::cell::Cell<Option<Planted>> = const { std::cell::Cell::new(None) };
}

/// Plants a fault on this thread; `None` removes it.
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

/// Always false, as no fault exists without the feature `planted-faults`.
#[cfg(not(feature = "planted-faults"))]
#[must_use]
#[inline(always)]
pub const fn is_planted(_: Planted) -> bool {
    false
}
