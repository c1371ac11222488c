//! The connection behind a request: whether it is still a stranger, and which budgets it uses.
//!
//! Invariants:
//! - A connection is a stranger until the credentials of one of its requests were accepted.
//!   Requests that need no credentials (health, the API's document) leave it a stranger.
//! - A stranger is closed when its time limit ends without a request of it, or when its place is
//!   needed for another connection.

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{Extensions, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::envelope::Failure;
use crate::admission::{Budget, Guest};
use crate::command::{Class, Error};
use crate::limits::GREETING_TIMEOUT_MS;
use crate::metrics::doors::{Dropped, Refused};
use crate::throttle::throttled;

/// The connection behind a request. Handlers find it in the request's extensions.
#[derive(Debug, Clone)]
pub struct Visitor(Arc<State>);

#[derive(Debug)]
struct State {
    place: Mutex<DoorPlace>,
    /// The node's budget for incomplete requests.
    incomplete: Arc<Budget>,
    reads: Arc<Semaphore>,
}

#[derive(Debug)]
struct DoorPlace {
    guest: Guest,
    deadline: Instant,
}

impl Visitor {
    /// Makes the visitor of a new connection, which is a stranger. Each read holds a permit of
    /// `reads` while it runs.
    pub fn new(guest: Guest, incomplete: Arc<Budget>, reads: Arc<Semaphore>) -> Self {
        let place = Mutex::new(DoorPlace { deadline: guest.deadline(), guest });
        Self(Arc::new(State { place, incomplete, reads }))
    }

    /// Finds the connection behind a request. `None` if the router was called without a connection.
    pub(super) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions.get()
    }

    /// Moves the connection from its stranger's place to a place of its own, after its credentials
    /// were accepted.
    ///
    /// # Errors
    /// 429 if all of these places are taken.
    pub(super) fn let_in(&self) -> Result<(), Failure> {
        let mut place = self.lock();
        if place.guest.let_in() {
            return Ok(());
        }
        place.guest.meter().count_dropped(Dropped::NoRoom);
        Err(Error::no_room().into())
    }

    /// Counts and logs a rejected credential. No message contains the credential.
    pub(super) fn note_refused(&self, reason: Refused) {
        let place = self.lock();
        let (peer, meter) = (place.guest.peer(), place.guest.meter());
        meter.count_refused(reason);
        throttled!(of 10, warn, %peer, door = meter.name(), reason = reason.name(),
            "a credential was refused");
    }

    /// Counts and logs a connection that the server closes, with the reason.
    pub(super) fn note_dropped(&self, reason: Dropped) {
        let place = self.lock();
        let (peer, meter) = (place.guest.peer(), place.guest.meter());
        meter.count_dropped(reason);
        throttled!(of 10, info, %peer, door = meter.name(), reason = reason.name(),
            "an HTTP connection was dropped");
    }

    /// Counts a long answer that was replaced by an error, because the budget had no room for it.
    pub(super) fn note_withheld(&self) {
        self.lock().guest.meter().count_withheld();
    }

    /// Restarts the time limit of a stranger, because a request arrived or was answered.
    pub(super) fn renew(&self) {
        let mut place = self.lock();
        if place.guest.is_stranger() {
            place.deadline = Instant::now() + Duration::from_millis(GREETING_TIMEOUT_MS);
        }
    }

    /// The node's budget for incomplete requests.
    pub(super) fn incomplete(&self) -> &Arc<Budget> {
        &self.0.incomplete
    }

    /// Completes with the reason when the stranger must be closed. Never completes once the
    /// connection has a place of its own.
    pub(super) async fn overdue(&self) -> Dropped {
        loop {
            let deadline = self.lock().deadline;
            let is_late = tokio::select! {
                () = self.evicted() => false,
                () = tokio::time::sleep_until(deadline.into()) => true,
            };
            let place = self.lock();
            if !place.guest.is_stranger() {
                break;
            }
            if !is_late {
                return Dropped::NotAuthenticatedEvicted;
            }
            if place.deadline <= Instant::now() {
                return Dropped::NotAuthenticated;
            }
        }
        pending().await
    }

    async fn evicted(&self) {
        poll_fn(|context| self.lock().guest.poll_evicted(context)).await;
    }

    fn lock(&self) -> MutexGuard<'_, DoorPlace> {
        // No panic can leave a change half done, so a poisoned lock is usable.
        self.0.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until a request of this class may run. The caller holds the permit until the answer is
/// made.
///
/// Only a read needs a permit, so that few long answers are made at a time. A write has a short
/// answer.
pub(super) async fn turn(visitor: Option<&Visitor>, class: Class) -> Option<OwnedSemaphorePermit> {
    let reads = visitor.filter(|_| class == Class::Read)?.0.reads.clone();
    // This cannot fail: nothing closes the semaphore.
    reads.acquire_owned().await.ok()
}

/// Passes on the result of a check of credentials. If they were accepted, the connection gets its
/// place; if not, that is counted.
pub(super) fn admit<T>(
    visitor: Option<&Visitor>,
    credentials: Result<T, Failure>,
) -> Result<T, Failure> {
    let Some(visitor) = visitor else { return credentials };
    match &credentials {
        Ok(_) => visitor.let_in()?,
        Err(failure) => {
            if let Some(reason) = failure.refused() {
                visitor.note_refused(reason);
            }
        }
    }
    credentials
}

/// The failure in place of an answer for which the budget of unread answers has no room.
pub(super) fn unread() -> Failure {
    let message = "too many answers are unread; try again later";
    Failure::new(StatusCode::TOO_MANY_REQUESTS, message)
}
