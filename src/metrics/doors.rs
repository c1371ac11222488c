//! The counters of a door: connections that it closed early, and credentials that it rejected.
//!
//! A door has one [`DoorMeter`] for all cores, because such events are rare.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a door closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The connection found all places of the door taken.
    NoRoom,
    /// The client did not show its credentials in time, and was dropped.
    NotAuthenticated,
    /// The client had not shown its credentials, and another connection needed the place.
    NotAuthenticatedEvicted,
    /// The client sent a part of a request, and not the rest in time.
    Incomplete,
    /// The client sent a part of a request, whose memory other connections needed.
    IncompleteEvicted,
    /// The client did not read its replies in time.
    Unread,
    /// The client had not read its replies, and other connections needed their memory.
    UnreadEvicted,
}

impl Dropped {
    /// All reasons; the counters stand in this order.
    pub const ALL: [Self; 7] = [
        Self::NoRoom,
        Self::NotAuthenticated,
        Self::NotAuthenticatedEvicted,
        Self::Incomplete,
        Self::IncompleteEvicted,
        Self::Unread,
        Self::UnreadEvicted,
    ];

    /// The value of the label `reason` in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::NotAuthenticated => "not_authenticated",
            Self::NotAuthenticatedEvicted => "not_authenticated_evicted",
            Self::Incomplete => "incomplete_request",
            Self::IncompleteEvicted => "incomplete_request_evicted",
            Self::Unread => "unread_replies",
            Self::UnreadEvicted => "unread_replies_evicted",
        }
    }
}

/// Why a door rejected a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There was no credential.
    Missing,
    /// The credential has a form that the door cannot read, or the request has two.
    Malformed,
    /// The token is not in the token file.
    UnknownToken,
    /// The token was removed from the token file while its connection was open.
    RevokedToken,
    /// The JWT names an unknown key.
    UnknownKey,
    /// The JWT's signature is wrong, or uses another algorithm.
    Signature,
    /// The JWT has expired, or is not valid yet.
    Time,
    /// The JWT has another audience or issuer.
    Audience,
    /// The request came from a web page of another site.
    ForeignPage,
}

impl Refused {
    /// All reasons; the counters stand in this order.
    pub const ALL: [Self; 9] = [
        Self::Missing,
        Self::Malformed,
        Self::UnknownToken,
        Self::RevokedToken,
        Self::UnknownKey,
        Self::Signature,
        Self::Time,
        Self::Audience,
        Self::ForeignPage,
    ];

    /// The value of the label `reason` in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::UnknownToken => "unknown_token",
            Self::RevokedToken => "revoked_token",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "wrong_signature",
            Self::Time => "expired_or_not_yet_valid",
            Self::Audience => "wrong_audience_or_issuer",
            Self::ForeignPage => "foreign_page",
        }
    }
}

/// The counters of one door, shared by all cores.
#[derive(Debug)]
pub struct DoorMeter {
    name: &'static str,
    open: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
    refused: [AtomicU64; Refused::ALL.len()],
    withheld: AtomicU64,
}

impl DoorMeter {
    /// Makes counters that start at zero. `name` is the value of their label `door`.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            open: AtomicU64::new(0),
            dropped: Default::default(),
            refused: Default::default(),
            withheld: AtomicU64::new(0),
        }
    }

    /// The value of the label `door` in the metrics.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Counts a connection that the door has let in.
    pub fn count_opened(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a connection that the door had let in.
    pub fn count_ended(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many connections of the door are open now.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a connection that the door closed.
    pub fn count_dropped(&self, reason: Dropped) {
        count(&Dropped::ALL, &self.dropped, reason);
    }

    /// Counts a rejected credential.
    pub fn count_refused(&self, reason: Refused) {
        count(&Refused::ALL, &self.refused, reason);
    }

    /// Counts a long answer that an error replaced, because too many answers are unread.
    pub fn count_withheld(&self) {
        self.withheld.fetch_add(1, Ordering::Relaxed);
    }

    /// How many long answers were replaced by an error.
    pub fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::Relaxed)
    }

    /// How many connections the door closed, for each label of a reason.
    pub fn dropped(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Dropped::ALL.iter().map(|reason| reason.name());
        names.zip(self.dropped.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// How many credentials the door rejected, for each label of a reason.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = Refused::ALL.iter().map(|reason| reason.name());
        names.zip(self.refused.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

fn count<T: PartialEq>(all: &[T], counts: &[AtomicU64], reason: T) {
    let index = all.iter().position(|other| *other == reason);
    if let Some(count) = index.and_then(|index| counts.get(index)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_count() {
        let meter = DoorMeter::new("tcp");
        for (times, reason) in Dropped::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| meter.count_dropped(reason));
        }
        for (times, reason) in Refused::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| meter.count_refused(reason));
        }
        for (times, (reason, count)) in (0_u64..).zip(Dropped::ALL.iter().zip(meter.dropped())) {
            assert_eq!(count, (reason.name(), times));
        }
        for (times, (reason, count)) in (0_u64..).zip(Refused::ALL.iter().zip(meter.refused())) {
            assert_eq!(count, (reason.name(), times));
        }
    }
}
