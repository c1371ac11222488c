//! The server's log lines on their way to stderr.
//!
//! A write to stderr waits if the reader of stderr has stopped reading. So one thread writes, and all
//! other threads hand their lines to it.
//!
//! Invariants:
//! - Who logs never waits for stderr. Lines that find no room are dropped and counted.
//! - The thread holds no lock while it writes, not even that of the standard library.

use std::fs::File;
use std::io::{self, Write};
use std::mem::take;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::warn;

/// Most bytes of lines that wait to be written, beside those that are being written.
const BYTES_MAX: usize = 1 << 20;
/// How long the end of the process waits for a reader of stderr.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where log lines are handed over. Clones share the queue and its thread.
#[derive(Clone, Default)]
pub struct LogLines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Whole lines, in the order in which they came.
    lines: Vec<u8>,
    /// How many lines found no room since the thread last took lines.
    dropped: u64,
    is_writing: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.dropped == 0
    }
}

impl LogLines {
    /// Starts the thread that writes to stderr.
    ///
    /// # Errors
    /// If the system refuses the thread, or another descriptor of stderr.
    pub fn start() -> io::Result<Self> {
        let lines = Self::default();
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let own = lines.clone();
        std::thread::Builder::new().name("log-lines".to_owned()).spawn(move || own.run(stderr))?;
        Ok(lines)
    }

    /// Hands over one line, or several whole ones.
    pub fn push(&self, line: &[u8]) {
        let mut queue = self.lock();
        if queue.lines.len().saturating_add(line.len()) > BYTES_MAX {
            queue.dropped = queue.dropped.saturating_add(1);
        } else {
            queue.lines.extend_from_slice(line);
        }
        self.0.changed.notify_all();
    }

    /// Waits until all lines are written, but not for a reader that does not read.
    pub fn finish(&self) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.is_empty();
        drop(self.0.changed.wait_timeout_while(self.lock(), PATIENCE, is_busy));
    }

    fn run(&self, mut out: impl Write) {
        loop {
            let (lines, dropped) = self.take();
            // A line that cannot be written is lost: its reader has ended, or its disk is full.
            drop(out.write_all(&lines));
            if dropped > 0 {
                warn!(lines = dropped, "log lines were dropped: stderr did not take them");
            }
            self.lock().is_writing = false;
            self.0.changed.notify_all();
        }
    }

    /// Waits for lines, and takes them with the number of those that were dropped behind them.
    fn take(&self) -> (Vec<u8>, u64) {
        let queue = self.0.changed.wait_while(self.lock(), |queue| queue.is_empty());
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        queue.is_writing = true;
        (take(&mut queue.lines), take(&mut queue.dropped))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes bytes only when it is allowed to.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whoever_logs_does_not_wait_and_what_finds_no_room_is_counted() {
        let (allow, allowed) = channel();
        let (sent, written) = channel();
        let lines = LogLines::default();
        lines.push(b"first\n");
        let own = lines.clone();
        std::thread::spawn(move || own.run(Slow(allowed, sent)));
        while !lines.lock().is_writing {
            std::thread::yield_now();
        }
        for _ in 0..BYTES_MAX / 8 + 3 {
            lines.push(b"waiting\n");
        }
        let queue = lines.lock();
        assert_eq!((queue.lines.len(), queue.dropped), (BYTES_MAX, 3));
        drop(queue);
        allow.send(()).unwrap();
        allow.send(()).unwrap();
        assert_eq!(written.recv().unwrap(), b"first\n");
        assert_eq!(written.recv().unwrap().len(), BYTES_MAX);
        lines.finish();
        assert!(lines.lock().is_empty());
    }
}
