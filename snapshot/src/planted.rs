//! Faults that tests plant on purpose, to show that the simulation finds them.
//!
//! They exist only with the feature `planted-faults`, which no program enables. A fault acts only
//! on a thread that planted it. Without the feature [`is_planted`] is always false.

/// A fault that a test can plant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A reply is sent when its record is written, although it should wait for the sync.
    ReplyBeforeSync,
    /// A snapshot omits the deliveries that are still to be made.
    OutboxNotKept,
    /// Messages leave a shard before the records that they depend on.
    EffectBeforeCause,
    /// A snapshot gets its final name before its bytes are synced.
    RenameBeforeSync,
    /// A delivery that arrives a second time is applied a second time.
    DeliveredTwice,
    /// A request for a row may overtake an earlier request of the same connection that goes through
    /// the chat.
    OvertakesOnTheWay,
    /// Commands use the time of the wall clock, however wrong it is set.
    ClockBelieved,
    /// Idempotency keys are forgotten by the wall clock.
    KeysAgeByClock,
    /// If both a new segment and the removal of its half-created file are refused, the log is
    /// poisoned.
    CleanUpPoisons,
    /// A reader of a journal accepts entries whatever index they name.
    JournalIndexUnchecked,
    /// The lease of an active counts from the reply to its append, not from the request.
    LeaseFromReply,
    /// An append that was sent before a read was there confirms the reply to it.
    ConfirmedBefore,
    /// A standby claims although it did not see that the active is silent.
    ClaimWithoutWait,
    /// A standby claims without asking the other members.
    ClaimWithoutAsking,
    /// A reply of an active leaves before the journal has its record.
    ReplyBeforeJournal,
    /// A member that becomes the active does not send what its outboxes hold.
    OutboxNotStarted,
    /// An active trims what is durable on itself alone.
    TrimOnOwnWord,
    /// The state of a standby counts as new as the reply to a look, not as its sending.
    FreshFromReply,
    /// A member that becomes the active decides at the time of its own clock, although the one before
    /// has decided at a later time.
    ClockBackOnPromotion,
    /// An active whose disk takes nothing stays the active.
    BadDiskStays,
    /// A standby whose disk takes nothing claims as soon as any other.
    BadDiskClaims,
    /// A member that returns passes over entries without comparing them with its log.
    ReturnUncompared,
    /// An active that hands over does not wait until its cores have finished.
    ReleaseUndrained,
    /// An active raises the journal's format although a member does not read it.
    FormatUnread,
    /// A replay sets another time of the newest message than the record has.
    ReplayAlters,
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

/// Always false: without the feature `planted-faults` there are no faults.
#[cfg(not(feature = "planted-faults"))]
#[must_use]
#[inline(always)]
pub const fn is_planted(_: Planted) -> bool {
    false
}
