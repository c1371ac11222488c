//! How long a connection waits for its client.

use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::time::Sleep;

use crate::limits::{FRAME_TIMEOUT_MS, WRITE_TIMEOUT_MS};

/// A connection looks at its time limits this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// When a client was last heard of.
pub struct Patience {
    /// It asked something.
    pub asked: Instant,
    /// Bytes of it came.
    pub read: Instant,
    /// It took bytes, or nothing waited for it.
    pub written: Instant,
    /// When the limits are looked at next.
    look: Pin<Box<Sleep>>,
}

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// That the client takes what is there for it.
    ToWrite,
    /// The rest of a frame.
    ForRest,
    /// The next request.
    ForRequest,
    /// The server itself.
    No,
}

impl Patience {
    /// All of it happens now.
    pub fn new(now: Instant) -> Self {
        let look = Box::pin(tokio::time::sleep(LOOK_INTERVAL));
        Self { asked: now, read: now, written: now, look }
    }

    /// Waits until it is time to look at the limits.
    pub async fn look(&mut self) {
        self.look.as_mut().await;
        self.look.as_mut().reset(tokio::time::Instant::now() + LOOK_INTERVAL);
    }

    /// Whether this was waited for too long; `idle` is for the next request.
    pub fn is_over(&self, waits: Waits, idle: Duration) -> bool {
        match waits {
            Waits::ToWrite => self.written.elapsed() > Duration::from_millis(WRITE_TIMEOUT_MS),
            Waits::ForRest => self.read.elapsed() > Duration::from_millis(FRAME_TIMEOUT_MS),
            Waits::ForRequest => self.asked.elapsed() > idle,
            Waits::No => false,
        }
    }
}
