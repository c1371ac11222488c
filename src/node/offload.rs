//! Work that would hold a core for long and needs nothing of it: a thread aside does it, one piece after the other.
//!
//! Invariant: work that was given is done, aside or, if that thread is gone, by whoever gave it.

use std::sync::mpsc::{Receiver, SendError, Sender, channel};

use tokio::sync::oneshot;

/// A piece of work.
pub type Job = Box<dyn FnOnce() + Send>;

/// The way to the thread.
#[derive(Debug)]
pub struct Offload(Sender<Job>);

impl Offload {
    /// The way to a thread that calls [`serve`].
    pub fn new() -> (Self, Receiver<Job>) {
        let (sender, receiver) = channel();
        (Self(sender), receiver)
    }

    /// Has work done; what comes of it arrives later. Nothing does if the work panics.
    pub fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may be gone.
        let work = Box::new(move || drop(sender.send(work())));
        if let Err(SendError(work)) = self.0.send(work) {
            work();
        }
        receiver
    }
}

/// Does what comes, for as long as there is somebody to ask.
pub fn serve(work: &Receiver<Job>) {
    work.iter().for_each(|work| work());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_aside_or_here() {
        let here = std::thread::current().id();
        let (aside, work) = Offload::new();
        let thread = std::thread::spawn(move || serve(&work));
        let done_by = aside.begin(|| std::thread::current().id()).blocking_recv().unwrap();
        assert_eq!(done_by, thread.thread().id());
        let aside = {
            drop(aside);
            thread.join().unwrap();
            Offload::new().0
        };
        assert_eq!(aside.begin(|| std::thread::current().id()).blocking_recv(), Ok(here));
    }
}
