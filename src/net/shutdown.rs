//! The server's stop, as a connection waits for it.
//!
//! A connection waits for the stop in each of its waits, thousands of times a second. So it keeps
//! its registration from one wait to the next, and waiting again costs next to nothing.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::sync::watch;

/// Tells one connection that the server stops.
pub struct Shutdown {
    seen: watch::Receiver<bool>,
    /// Completes with the stop, or when the sender is gone. `None` after that.
    wait: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Shutdown {
    /// Begins to wait until `stop` becomes true.
    pub fn new(stop: &watch::Receiver<bool>) -> Self {
        let mut waiting = stop.clone();
        Self {
            seen: stop.clone(),
            wait: Some(Box::pin(async move { drop(waiting.wait_for(|stop| *stop).await) })),
        }
    }

    /// Whether the server has begun to stop.
    pub fn has_come(&self) -> bool {
        // A version is compared without a lock. Only if it changed is the value read, whose lock
        // all workers share.
        self.seen.has_changed().unwrap_or(true) && *self.seen.borrow()
    }

    /// Completes once when the server stops or the sender is gone, and never again after that.
    pub async fn come(&mut self) {
        poll_fn(|context| {
            let Some(wait) = &mut self.wait else { return Poll::Pending };
            let polled = wait.as_mut().poll(context);
            if polled.is_ready() {
                self.wait = None;
            }
            polled
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_seen_before_and_while_it_is_waited_for() {
        let (sender, receiver) = watch::channel(false);
        let mut stop = Shutdown::new(&receiver);
        assert!(!stop.has_come());
        // The wait is dropped unfinished, as if another event had come first.
        tokio::select! {
            biased;
            () = stop.come() => panic!("it has not come"),
            () = std::future::ready(()) => {}
        }
        sender.send(true).unwrap();
        assert!(stop.has_come());
        stop.come().await;
        // A receiver that is made after the stop sees it too.
        let late = Shutdown::new(&receiver);
        assert!(stop.has_come() && late.has_come());
    }

    #[tokio::test]
    async fn who_can_tell_of_it_may_be_gone() {
        let (sender, receiver) = watch::channel(false);
        let mut stop = Shutdown::new(&receiver);
        drop(sender);
        stop.come().await;
        assert!(!stop.has_come());
    }
}
