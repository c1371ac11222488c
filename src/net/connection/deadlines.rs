//! How long a connection waits for its client, and what it does when the client is late.

use std::io;

use super::Connection;
use crate::command::Error;
use crate::metrics::doors::{Dropped, Refused};
use crate::net::greeting::{Greeting, first_frame};
use crate::net::patience::Waits;
use crate::protocol::CONNECTION_ID;
use crate::throttle::throttled;

impl Connection {
    /// Waits for the first frame, unless `hello` was answered on another core; whether to go on.
    pub(super) async fn greet(&mut self) -> io::Result<bool> {
        if self.pass.is_some() {
            return Ok(true);
        }
        let Self { stream, input, guest, stop, .. } = self;
        match first_frame(stream, input, guest, stop).await? {
            Greeting::Whole => {}
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

    /// Counts and logs a refused token; the token itself is in no message.
    pub(super) fn note_refused(&self, reason: Refused) {
        let (peer, meter) = (self.guest.peer(), self.guest.meter());
        meter.count_refused(reason);
        throttled!(of 10, warn, %peer, door = meter.name(), reason = reason.name(),
            "a token was refused");
    }

    pub(super) fn check_time(&mut self) -> io::Result<()> {
        let waits = if self.owes() {
            Waits::ToWrite
        } else if self.in_flight() > 0 || self.closing {
            Waits::No
        } else if !self.input.is_empty() {
            Waits::ForRest
        } else if self.watches.is_empty() {
            Waits::ForRequest
        } else {
            Waits::No
        };
        if !self.patience.is_over(waits, self.config.idle) {
            return Ok(());
        }
        let (peer, meter) = (self.guest.peer(), self.guest.meter());
        let why = match waits {
            Waits::ToWrite => {
                meter.count_dropped(Dropped::Unread);
                throttled!(of 10, info, %peer, "a client that does not read its replies was dropped");
                "the client does not read its replies"
            }
            Waits::ForRest => {
                meter.count_dropped(Dropped::Incomplete);
                throttled!(of 10, info, %peer, "a client that sent half a frame was dropped");
                let error = Error::invalid("a part of a frame came, and the rest did not in time");
                self.refuse(CONNECTION_ID, error);
                return Ok(());
            }
            Waits::ForRequest | Waits::No => "no request for a long time",
        };
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    }
}
