//! Runs long work that needs no shard on the offload thread, one job after the other.
//!
//! Invariant: every job that is submitted runs. If the offload thread has ended, the submitting
//! thread runs the job.

use crossbeam::channel::{Receiver, SendError, Sender, unbounded};
use tokio::sync::oneshot;

/// Work that any thread can run.
pub type Job = Box<dyn FnOnce() + Send>;

/// Submits jobs to the offload thread.
#[derive(Debug)]
pub struct Offload(Sender<Job>);

impl Offload {
    /// The side that submits jobs, and the receiver for the thread that calls [`serve`].
    pub fn new() -> (Self, Receiver<Job>) {
        let (sender, receiver) = unbounded();
        (Self(sender), receiver)
    }

    /// Runs `work` on the offload thread. The returned receiver gets the result, or an error if
    /// `work` panics.
    pub fn begin<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        // Sending fails if the caller has gone.
        let work = Box::new(move || drop(sender.send(work())));
        if let Err(SendError(work)) = self.0.send(work) {
            work();
        }
        receiver
    }
}

/// Runs jobs until the [`Offload`] of this receiver is dropped.
pub fn serve(work: &Receiver<Job>) {
    work.iter().for_each(|work| work());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_on_the_offload_thread_or_by_the_caller() {
        let caller = std::thread::current().id();
        let (offload, work) = Offload::new();
        let thread = std::thread::spawn(move || serve(&work));
        let done_by = offload.begin(|| std::thread::current().id()).blocking_recv().unwrap();
        assert_eq!(done_by, thread.thread().id());
        let offload = {
            drop(offload);
            thread.join().unwrap();
            Offload::new().0
        };
        assert_eq!(offload.begin(|| std::thread::current().id()).blocking_recv(), Ok(caller));
    }
}
