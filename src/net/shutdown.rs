//! The server's stop, as a connection waits for it: with each of its waits, thousands of times a second, so that
//! waiting again costs next to nothing. It stays registered from one wait to the next.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use tokio::sync::watch;

/// See the module's documentation.
pub struct Shutdown {
    seen: watch::Receiver<bool>,
    /// Ends with the stop, or with who could tell of it; none after that.
    wait: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Shutdown {
    /// Of what turns true.
    pub fn new(stop: &watch::Receiver<bool>) -> Self {
        let mut waiting = stop.clone();
        Self {
            seen: stop.clone(),
            wait: Some(Box::pin(async move { drop(waiting.wait_for(|stop| *stop).await) })),
        }
    }

    /// Whether it has come.
    pub fn has_come(&self) -> bool {
        // The version is looked at first: the value has a lock that all cores share.
        self.seen.has_changed().unwrap_or(true) && *self.seen.borrow()
    }

    /// Waits until it comes; told once.
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
        // Given up, as where something else came first.
        tokio::select! {
            biased;
            () = stop.come() => panic!("it has not come"),
            () = std::future::ready(()) => {}
        }
        sender.send(true).unwrap();
        assert!(stop.has_come());
        stop.come().await;
        // Those that begin later know it, too.
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
