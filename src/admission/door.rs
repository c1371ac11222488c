//! The places of a door. A *stranger* is a connection that has not shown yet who it is: by its TLS
//! handshake and then a good `hello`, or by a request head with good credentials.
//!
//! Invariants:
//! - At most `max` connections that the door knows are open, and beside them at most `strangers`
//!   strangers. Neither takes the other's places.
//! - A stranger has a deadline. If a newcomer needs its place, the oldest stranger is evicted.
//! - A door with [`Door::answering_strangers`] lets strangers in even if all other places are taken,
//!   so that it can still answer what nobody needs credentials for, as health.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::budget::{Budget, BudgetClaim};
use crate::limits::{GREETING_MS_MIN, GREETING_TIMEOUT_MS, STRANGERS_MAX, STRANGERS_MIN};
use crate::metrics::doors::DoorMeter;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An address of the network.
    Network(SocketAddr),
    /// A user of this machine, at a unix socket.
    User(u32),
    /// The connection broke before anybody asked.
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

/// Open connections of a door, and how many there may be.
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

/// What becomes of a new connection.
#[derive(Debug)]
pub enum Admission {
    /// It has a place.
    Open(Guest),
    /// The door knows as many connections as it may.
    Full,
    /// All strangers' places are taken, by strangers that came just now.
    Later,
}

impl Door {
    /// A door for `max` connections; one that finds no room is sent the bytes of `full`.
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

    /// Hangs out a sentence for clients that speak another protocol.
    #[must_use]
    pub fn with_sign(self, sign: String) -> Self {
        Self { sign, ..self }
    }

    /// The sentence for clients that speak another protocol.
    pub fn sign(&self) -> &str {
        &self.sign
    }

    /// Lets strangers in even if all other places are taken.
    #[must_use]
    pub fn answering_strangers(self) -> Self {
        Self { answers_strangers: true, ..self }
    }

    /// Lets at most so many strangers in, where descriptors are few.
    #[must_use]
    pub fn with_strangers(self, max: usize) -> Self {
        let patience = Duration::from_millis(GREETING_MS_MIN);
        Self { strangers: Budget::new(max, patience), ..self }
    }

    /// Connections that are open, strangers included.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// How many connections the door may know.
    pub const fn max(&self) -> usize {
        self.max
    }

    /// The bytes for a connection that finds no room.
    pub fn full(&self) -> &[u8] {
        &self.full
    }

    /// The door's counters.
    pub const fn meter(&self) -> &Arc<DoorMeter> {
        &self.meter
    }

    /// Gives a new connection a stranger's place.
    pub fn enter(self: &Arc<Self>, peer: Peer) -> Admission {
        if !self.answers_strangers && self.known.load(Ordering::Acquire) >= self.max {
            return Admission::Full;
        }
        let Some(claim) = self.strangers.claim(1) else { return Admission::Later };
        self.open.fetch_add(1, Ordering::AcqRel);
        self.meter.count_opened();
        let deadline = Instant::now() + Duration::from_millis(GREETING_TIMEOUT_MS);
        Admission::Open(Guest { door: Arc::clone(self), peer, deadline, stranger: Some(claim) })
    }
}

/// How many strangers a door of `max` connections lets in beside them.
pub fn strangers_max(max: usize) -> usize {
    (max / 4).clamp(STRANGERS_MIN, STRANGERS_MAX)
}

/// A connection's place in its door; dropping it makes room.
#[derive(Debug)]
pub struct Guest {
    door: Arc<Door>,
    peer: Peer,
    deadline: Instant,
    /// The stranger's place; `None` once the door knows the connection.
    stranger: Option<BudgetClaim>,
}

impl Guest {
    /// Gives a connection that has shown who it is a place of its own; `false` if there is none.
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

    /// Whether the connection has not shown yet who it is.
    pub const fn is_stranger(&self) -> bool {
        self.stranger.is_some()
    }

    /// When a stranger must have shown who it is.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ready once a stranger's place was given to another; never for one that the door knows.
    pub fn poll_evicted(&self, context: &mut Context<'_>) -> Poll<()> {
        self.stranger.as_ref().map_or(Poll::Pending, |claim| claim.poll_evicted(context))
    }

    /// Who is at the other end.
    pub const fn peer(&self) -> Peer {
        self.peer
    }

    /// How many connections its door may know.
    pub fn places(&self) -> usize {
        self.door.max()
    }

    /// The door's sentence for clients that speak another protocol.
    pub fn sign(&self) -> &str {
        &self.door.sign
    }

    /// The door's counters.
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
