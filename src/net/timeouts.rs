//! The time limits of a connection's waits for its client. They end a wait neither early nor late.
//!
//! One timer serves all limits, so that no wait sets a timer of its own. It fires at the deadline
//! of the current wait, but at the latest after the shortest limit. A wait that begins in between
//! cannot end before that. So no limit is missed.
//!
//! ```text
//! wait for                    counted from the last time when                     limit
//! the client to take replies  the client took bytes, or no bytes waited for it    30 s
//! the rest of a frame         bytes came, or the server began to read again       30 s
//! the next request            a request was taken, or the client took bytes       --idle-timeout
//! ```

use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::limits::{FRAME_TIMEOUT_MS, WRITE_TIMEOUT_MS};

const WRITE_TIMEOUT: Duration = Duration::from_millis(WRITE_TIMEOUT_MS);
const FRAME_TIMEOUT: Duration = Duration::from_millis(FRAME_TIMEOUT_MS);

/// When a client was last active. These times go along when the connection moves to another worker.
#[derive(Debug, Clone, Copy)]
pub struct Heard {
    /// When the last request of the client was taken.
    pub asked: Instant,
    /// When bytes of the client last came, or the server began to read again.
    pub read: Instant,
    /// When the client last took bytes, or when no bytes were waiting for it.
    pub written: Instant,
}

/// What a connection waits for from its client. Several may be true at a time, or none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Waits {
    /// The client must take the bytes that wait for it.
    pub to_write: bool,
    /// The client must send the rest of a frame.
    pub for_rest: bool,
    /// The client must send its next request.
    pub for_request: bool,
}

/// The wait that a client let exceed its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// The client did not take its replies in time; see [`Waits::to_write`].
    ToWrite,
    /// The client did not send the rest of a frame in time; see [`Waits::for_rest`].
    ForRest,
    /// The client sent no request in time; see [`Waits::for_request`].
    ForRequest,
}

impl Heard {
    /// The times of a client that was active in every way at `now`.
    pub fn new(now: Instant) -> Self {
        Self { asked: now, read: now, written: now }
    }

    /// The earliest deadline among `waits`, and the wait that it limits. `idle` is the limit for
    /// the next request.
    fn deadline(&self, waits: Waits, idle: Duration) -> Option<(Instant, Late)> {
        let limit = |applies: bool, since: Instant, limit: Duration, late: Late| {
            since.checked_add(limit).filter(|_| applies).map(|deadline| (deadline, late))
        };
        let limits = [
            limit(waits.to_write, self.written, WRITE_TIMEOUT, Late::ToWrite),
            limit(waits.for_rest, self.read, FRAME_TIMEOUT, Late::ForRest),
            limit(waits.for_request, self.asked.max(self.written), idle, Late::ForRequest),
        ];
        limits.into_iter().flatten().min_by_key(|(deadline, _)| *deadline)
    }

    /// When to check the limits next; `Err` with the wait whose limit has passed.
    fn look(&self, waits: Waits, idle: Duration, now: Instant) -> Result<Instant, Late> {
        let shortest = now + shortest(idle);
        match self.deadline(waits, idle) {
            Some((deadline, late)) if deadline <= now => Err(late),
            Some((deadline, _)) => Ok(deadline.min(shortest)),
            None => Ok(shortest),
        }
    }
}

fn shortest(idle: Duration) -> Duration {
    WRITE_TIMEOUT.min(FRAME_TIMEOUT).min(idle)
}

/// The activity of a client, and the timer for its limits.
pub struct Timeouts {
    /// When the client was last active. The connection sets these times.
    pub heard: Heard,
    /// The time limit for the client's next request.
    idle: Duration,
    /// Whether the server reads this connection now. It does not while the client is held back.
    reads: bool,
    look: Pin<Box<Sleep>>,
}

impl Timeouts {
    /// Starts the timer. `idle` is the limit for the client's next request.
    pub fn new(heard: Heard, idle: Duration) -> Self {
        let earliest = heard.asked.min(heard.read).min(heard.written);
        let look = tokio::time::sleep_until((earliest + shortest(idle)).into());
        Self { heard, idle, reads: true, look: Box::pin(look) }
    }

    /// Notes whether the server reads this connection. While it does not, the client need not send,
    /// and its limit for the rest of a frame begins anew after that.
    #[inline]
    pub fn note_reads(&mut self, reads: bool) {
        if reads != self.reads {
            self.change_reads(reads);
        }
    }

    #[cold]
    fn change_reads(&mut self, reads: bool) {
        self.reads = reads;
        if reads {
            self.heard.read = Instant::now();
        }
    }

    /// Waits until the limits must be checked. The caller then calls [`Self::late`].
    pub async fn look(&mut self) {
        self.look.as_mut().await;
    }

    /// Returns the wait whose limit has passed, for the end of the connection. If there is none,
    /// sets the timer for the next check.
    pub fn late(&mut self, waits: Waits) -> Option<Late> {
        match self.heard.look(waits, self.idle, Instant::now()) {
            Ok(look) => {
                self.look.as_mut().reset(look.into());
                None
            }
            Err(late) => Some(late),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const IDLES: [Duration; 3] =
        [Duration::from_secs(1), Duration::from_secs(31), Duration::from_secs(600)];

    /// An event on a connection.
    #[derive(Debug, Clone, Copy)]
    enum Happens {
        /// A part of a frame arrives.
        Part,
        /// The rest of a frame arrives: a request is under way.
        Request,
        /// A reply leaves at once.
        Reply,
        /// A reply is ready, and the socket takes nothing.
        StuckReply,
        /// The socket takes some of the waiting bytes.
        TakesSome,
        /// The socket takes all of the waiting bytes.
        TakesAll,
        /// The server stops reading, or reads again.
        Holds,
    }

    /// A model of a connection: since when the server waits for what.
    #[derive(Debug)]
    struct Model {
        heard: Heard,
        idle: Duration,
        under_way: usize,
        part_since: Option<Instant>,
        stuck_since: Option<Instant>,
        idle_since: Instant,
        holds: bool,
    }

    impl Model {
        fn new(now: Instant, idle: Duration) -> Self {
            Self {
                heard: Heard::new(now),
                idle,
                under_way: 0,
                part_since: None,
                stuck_since: None,
                idle_since: now,
                holds: false,
            }
        }

        /// What the modeled connection waits for.
        fn waits(&self) -> Waits {
            let to_write = self.stuck_since.is_some();
            let has_part = self.part_since.is_some();
            Waits {
                to_write,
                for_rest: has_part && !self.holds,
                for_request: !to_write && !has_part && self.under_way == 0,
            }
        }

        /// When the modeled client must be dropped if no event happens.
        fn deadline(&self) -> Option<Instant> {
            let half_a_minute = Duration::from_secs(30);
            let unread = self.stuck_since.map(|since| since + half_a_minute);
            let part = self.part_since.filter(|_| !self.holds).map(|since| since + half_a_minute);
            let is_idle = self.waits().for_request;
            let idle = is_idle.then(|| self.idle_since + self.idle);
            [unread, part, idle].into_iter().flatten().min()
        }

        fn happens(&mut self, what: Happens, now: Instant) {
            match what {
                Happens::Part if !self.holds => {
                    self.heard.read = now;
                    self.part_since = Some(now);
                }
                Happens::Request if !self.holds => {
                    (self.heard.read, self.heard.asked) = (now, now);
                    self.part_since = None;
                    self.under_way += 1;
                    self.idle_since = now;
                }
                Happens::Reply if self.under_way > 0 && self.stuck_since.is_none() => {
                    self.heard.written = now;
                    self.under_way -= 1;
                    self.idle_since = now;
                }
                Happens::StuckReply if self.under_way > 0 => {
                    self.under_way -= 1;
                    if self.stuck_since.is_none() {
                        self.heard.written = now;
                        self.stuck_since = Some(now);
                    }
                }
                Happens::TakesSome if self.stuck_since.is_some() => {
                    self.heard.written = now;
                    self.stuck_since = Some(now);
                }
                Happens::TakesAll if self.stuck_since.is_some() => {
                    self.heard.written = now;
                    self.stuck_since = None;
                    self.idle_since = now;
                }
                Happens::Holds => {
                    self.holds = !self.holds;
                    if !self.holds {
                        self.heard.read = now;
                        self.part_since = self.part_since.map(|_| now);
                    }
                }
                _ => {}
            }
        }
    }

    proptest! {
        /// Between two events, the test checks only at the times for which the timer was set.
        #[test]
        fn a_client_is_late_exactly_at_its_limit(
            idle in 0..IDLES.len(),
            happens in proptest::collection::vec((0_u64..40_000, 0_usize..7), 1..40),
        ) {
            let start = Instant::now();
            let idle = IDLES[idle];
            let mut model = Model::new(start, idle);
            let mut look = start;
            let mut now = start;
            let kinds = [
                Happens::Part,
                Happens::Request,
                Happens::Reply,
                Happens::StuckReply,
                Happens::TakesSome,
                Happens::TakesAll,
                Happens::Holds,
            ];
            // Behind the last event comes an hour in which nothing happens.
            let last = (3_600_000, Happens::Part);
            let all = happens.iter().map(|&(gap, kind)| (gap, kinds[kind])).chain([last]);
            for (gap, what) in all {
                let next = now + Duration::from_millis(gap);
                while look < next {
                    now = look;
                    match model.heard.look(model.waits(), idle, now) {
                        Ok(later) => {
                            prop_assert!(later > now);
                            look = later;
                        }
                        Err(_) => {
                            prop_assert_eq!(Some(now), model.deadline());
                            return Ok(());
                        }
                    }
                }
                now = next;
                let is_overdue = model.deadline().is_some_and(|deadline| deadline < now);
                prop_assert!(!is_overdue, "{model:?}");
                model.happens(what, now);
            }
        }
    }

    #[tokio::test]
    async fn a_late_client_is_found_by_the_timer() {
        let long_ago = Instant::now().checked_sub(Duration::from_secs(30)).unwrap();
        let mut patience = Timeouts::new(Heard::new(long_ago), Duration::from_secs(600));
        patience.look().await;
        let (to_write, for_rest) = (true, true);
        assert_eq!(patience.late(Waits { for_request: true, ..Waits::default() }), None);
        assert_eq!(patience.late(Waits { to_write, ..Waits::default() }), Some(Late::ToWrite));
        let for_rest = Waits { for_rest, ..Waits::default() };
        assert_eq!(patience.late(for_rest), Some(Late::ForRest));
        // When the server reads again, the client has the whole limit for the rest of its frame.
        patience.note_reads(false);
        patience.note_reads(true);
        assert_eq!(patience.late(for_rest), None);
    }
}
