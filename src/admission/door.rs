//! The places of a door: how many connections it may have, with credentials and without.
//!
//! A *stranger* is a connection that has not shown its credentials. It shows them with its TLS
//! handshake and a valid `hello`, or with the head of an HTTP request.
//!
//! Invariants:
//! - At most `max` connections with credentials are open. At most `strangers` strangers are open
//!   besides them. Neither group uses places of the other.
//! - A stranger has a deadline. If a new connection needs its place, the oldest stranger is
//!   evicted.
//! - A door with [`Door::answering_strangers`] accepts strangers even if all places for connections
//!   with credentials are taken. So it still answers health checks, which need no credentials.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::budget::{Budget, BudgetHold};
use crate::limits::{GREETING_MS_MIN, GREETING_TIMEOUT_MS, STRANGERS_MAX, STRANGERS_MIN};
use crate::metrics::doors::DoorMeter;

/// The client at the other end of a connection, for log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// The IP address and port of a client on the network.
    Network(SocketAddr),
    /// A process on this machine, connected through a unix socket: the id of its user.
    User(u32),
    /// The connection broke before the system was asked who is at the other end.
    Gone,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address) => address.fmt(f),
            Self::User(user) => write!(f, "unix, user {user}"),
            Self::Gone => f.write_str("gone"),
        }
    }
}

/// The connections of one door, and the bounds on their number.
#[derive(Debug)]
pub struct Door {
    max: usize,
    known: AtomicUsize,
    open: AtomicUsize,
    strangers: Arc<Budget>,
    answers_strangers: bool,
    meter: Arc<DoorMeter>,
    full: Vec<u8>,
    sign: String,
}

/// What a door decides about a new connection.
#[derive(Debug)]
pub enum Admission {
    /// The connection has a stranger's place.
    Open(Guest),
    /// The connection is rejected: all places for connections with credentials are taken.
    Full,
    /// All strangers' places are taken, and no stranger is old enough to be evicted. The caller
    /// tries again later.
    Later,
}

impl Door {
    /// A door for `max` connections with credentials. The caller sends `full`, an error, to a
    /// connection that [`Admission::Full`] rejects.
    pub fn new(meter: Arc<DoorMeter>, max: usize, full: Vec<u8>) -> Self {
        let patience = Duration::from_millis(GREETING_MS_MIN);
        Self {
            max,
            known: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            strangers: Budget::new(strangers_max(max), patience),
            answers_strangers: false,
            meter,
            full,
            sign: String::new(),
        }
    }

    /// Sets the text that tells a client of another protocol what this door speaks.
    #[must_use]
    pub fn with_sign(self, sign: String) -> Self {
        Self { sign, ..self }
    }

    /// Makes the door accept strangers even if all places for connections with credentials are
    /// taken.
    #[must_use]
    pub fn answering_strangers(self) -> Self {
        Self { answers_strangers: true, ..self }
    }

    /// Sets how many strangers may be open, for a machine with few file descriptors.
    #[must_use]
    pub fn with_strangers(self, max: usize) -> Self {
        let patience = Duration::from_millis(GREETING_MS_MIN);
        Self { strangers: Budget::new(max, patience), ..self }
    }

    /// How many connections of this door are open, with strangers.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// How many connections with credentials this door allows.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// The error, in bytes, for a connection that is closed because of [`Admission::Full`].
    pub fn full(&self) -> &[u8] {
        &self.full
    }

    /// The metrics of this door. Its users count there what they drop and refuse.
    pub const fn meter(&self) -> &Arc<DoorMeter> {
        &self.meter
    }

    /// Gives a new connection a stranger's place, and starts its deadline. Evicts the oldest
    /// stranger if all of these places are taken.
    pub fn enter(self: &Arc<Self>, peer: Peer) -> Admission {
        if !self.answers_strangers && self.known.load(Ordering::Acquire) >= self.max {
            return Admission::Full;
        }
        let Some(hold) = self.strangers.hold(1) else { return Admission::Later };
        self.open.fetch_add(1, Ordering::AcqRel);
        self.meter.count_opened();
        let deadline = Instant::now() + Duration::from_millis(GREETING_TIMEOUT_MS);
        Admission::Open(Guest { door: Arc::clone(self), peer, deadline, stranger: Some(hold) })
    }
}

/// The default number of strangers' places next to `max` connections: a quarter of `max`, within
/// [`STRANGERS_MIN`] and [`STRANGERS_MAX`].
pub fn strangers_max(max: usize) -> usize {
    (max / 4).clamp(STRANGERS_MIN, STRANGERS_MAX)
}

/// A connection's place at its door. Dropping it frees the place and counts the connection as
/// ended.
#[derive(Debug)]
pub struct Guest {
    door: Arc<Door>,
    peer: Peer,
    deadline: Instant,
    /// The stranger's place; `None` once the connection has shown its credentials.
    stranger: Option<BudgetHold>,
}

impl Guest {
    /// Moves a connection whose credentials were accepted from its stranger's place to a place of
    /// its own. If all of those are taken, returns false, and the connection stays a stranger.
    pub fn let_in(&mut self) -> bool {
        if self.stranger.is_none() {
            return true;
        }
        let known = self.door.known.fetch_update(Ordering::AcqRel, Ordering::Acquire, |known| {
            (known < self.door.max).then_some(known + 1)
        });
        if known.is_ok() {
            self.stranger = None;
        }
        known.is_ok()
    }

    /// Whether the connection still has a stranger's place, because [`Self::let_in`] has not
    /// succeeded yet.
    pub const fn is_stranger(&self) -> bool {
        self.stranger.is_some()
    }

    /// When a stranger is closed if it has not shown its credentials.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ready once the place of this stranger was given to another connection. Never ready after
    /// [`Self::let_in`] succeeded.
    pub fn poll_evicted(&self, context: &mut Context<'_>) -> Poll<()> {
        self.stranger.as_ref().map_or(Poll::Pending, |hold| hold.poll_evicted(context))
    }

    /// The client at the other end of the connection, as it was when the connection entered.
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// How many places the door has, as `hello` reports it to clients.
    pub fn places(&self) -> usize {
        self.door.max()
    }

    /// The text that tells a client of another protocol what this door speaks.
    pub fn sign(&self) -> &str {
        &self.door.sign
    }

    /// The metrics of the connection's door.
    pub fn meter(&self) -> &Arc<DoorMeter> {
        &self.door.meter
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.stranger.is_none() {
            self.door.known.fetch_sub(1, Ordering::AcqRel);
        }
        self.door.open.fetch_sub(1, Ordering::AcqRel);
        self.door.meter.count_ended();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(max: usize) -> Door {
        Door::new(Arc::new(DoorMeter::new("tcp")), max, Vec::new())
    }

    fn enter(door: &Arc<Door>) -> Option<Guest> {
        match door.enter(Peer::Gone) {
            Admission::Open(guest) => Some(guest),
            Admission::Full | Admission::Later => None,
        }
    }

    #[test]
    fn strangers_take_no_place_of_those_who_are_known() {
        let door = Arc::new(door(2));
        let mut strangers: Vec<Guest> = (0..STRANGERS_MIN).map(|_| enter(&door).unwrap()).collect();
        assert!(
            matches!(door.enter(Peer::Gone), Admission::Later),
            "none is old enough to be evicted"
        );
        assert!(strangers[0].let_in() && strangers[1].let_in());
        assert!(!strangers[2].let_in() && strangers[2].is_stranger(), "all places are taken");
        assert!(matches!(door.enter(Peer::Gone), Admission::Full));
        strangers.remove(0);
        assert!(strangers[1].let_in());
        assert_eq!(door.open(), STRANGERS_MIN - 1);
        drop(strangers);
        assert_eq!((door.open(), door.known.load(Ordering::Acquire)), (0, 0));
    }

    #[test]
    fn a_full_door_may_still_answer_strangers() {
        let door = Arc::new(door(1).answering_strangers());
        let mut known = enter(&door).unwrap();
        assert!(known.let_in());
        let mut stranger = enter(&door).unwrap();
        assert!(!stranger.let_in());
    }
}
