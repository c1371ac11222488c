//! The time limits of a connection, and what happens when its client is late.

use std::io;
use std::time::Instant;

use super::Connection;
use crate::command::Error;
use crate::limits::REQUEST_BYTES_MAX;
use crate::metrics::doors::{Dropped, Refused};
use crate::net::greeting::{Greeting, first_frame};
use crate::net::timeouts::{Heard, Late, Waits};
use crate::protocol::{CONNECTION_ID, frame};
use crate::throttle::throttled;

impl Connection {
    /// Waits for the first frame, unless the connection comes from a worker that took its `hello`.
    /// Returns false if the connection has ended.
    pub(super) async fn greet(&mut self) -> io::Result<bool> {
        if self.session.is_some() {
            return Ok(true);
        }
        let Self { stream, input, guest, stop, .. } = &mut *self;
        match first_frame(stream, input, guest, stop).await? {
            Greeting::Whole => self.timeouts.heard = Heard::new(Instant::now()),
            Greeting::Refused(error) => self.refuse(CONNECTION_ID, error),
            Greeting::Foreign(answer) => {
                self.output.end().extend_from_slice(&answer);
                self.input.clear();
                self.closing = true;
            }
            Greeting::Ended => {
                self.stream.say_goodbye();
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Counts and logs a rejected token. No message contains the token.
    pub(super) fn note_refused(&self, reason: Refused) {
        let (peer, meter) = (self.guest.peer(), self.guest.meter());
        meter.count_refused(reason);
        throttled!(of 10, warn, %peer, door = meter.name(), reason = reason.name(),
            "a token was refused");
    }

    /// Ends the connection if its client is late, as the limits of [`crate::net::timeouts`] say.
    pub(super) fn check_time(&mut self) -> io::Result<()> {
        // The timer may be seen before bytes that came in time. They are read first and count.
        if self.may_take() {
            self.read()?;
        }
        self.write()?;
        let Some(late) = self.timeouts.late(self.waits()) else { return Ok(()) };
        let (peer, meter) = (self.guest.peer(), self.guest.meter());
        let why = match late {
            Late::ToWrite => {
                meter.count_dropped(Dropped::Unread);
                throttled!(of 10, info, %peer, "a client that does not read its replies was dropped");
                "the client does not read its replies"
            }
            Late::ForRest => {
                meter.count_dropped(Dropped::Incomplete);
                throttled!(of 10, info, %peer, "a client that sent half a frame was dropped");
                let error = Error::invalid("a part of a frame came, and the rest did not in time");
                self.refuse(CONNECTION_ID, error);
                return Ok(());
            }
            Late::ForRequest => "no request for a long time",
        };
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    }

    fn waits(&self) -> Waits {
        let has_part = !self.input.is_empty()
            && matches!(frame::first(&self.input, REQUEST_BYTES_MAX), Ok(None));
        let is_idle = self.input.is_empty() && self.in_flight() == 0 && self.watches.is_empty();
        let to_write = self.owes();
        Waits {
            to_write,
            for_rest: has_part && self.may_take(),
            for_request: is_idle && !to_write && !self.closing,
        }
    }
}
