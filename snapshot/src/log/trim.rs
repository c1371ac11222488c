//! Which segments there are, and the removal of those that nobody needs, beside the writer.
//!
//! To remove a file of 64 MiB takes tens of milliseconds, since the system gives its pages and blocks back one by one. So it
//! is not for the writer's thread, for which all writes wait.
//!
//! # Invariants
//! - The last segment, which is being written, is never removed.
//! - Segments are removed oldest first, each for good before the next: were two removals in flight, a crash could keep the
//!   older file and lose the newer one, and that looks like a missing segment.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::format::segment_path;
use crate::Lsn;
use crate::disk::Disk;
use crate::error::at;

/// First record of each segment, oldest first; the last one is being written. Its copies are the same list.
#[derive(Clone, Debug)]
pub(super) struct Segments(Arc<Mutex<VecDeque<Lsn>>>);

impl Segments {
    pub(super) fn new(firsts: VecDeque<Lsn>) -> Self {
        Self(Arc::new(Mutex::new(firsts)))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Lsn>> {
        // Nothing that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last(&self) -> Option<Lsn> {
        self.lock().back().copied()
    }

    pub(super) fn begin(&self, first: Lsn) {
        self.lock().push_back(first);
    }

    /// The oldest, if the next one begins at or before `keep_from`.
    fn oldest_before(&self, keep_from: Lsn) -> Option<Lsn> {
        let firsts = self.lock();
        firsts.get(1).filter(|second| **second <= keep_from)?;
        firsts.front().copied()
    }

    fn forget(&self, first: Lsn) {
        self.lock().pop_front_if(|oldest| *oldest == first);
    }
}

/// Removes what is not needed of a log that may be written meanwhile; from [`LogWriter::trimmer`](super::LogWriter::trimmer).
#[derive(Debug)]
pub struct LogTrimmer<D: Disk> {
    pub(super) disk: D,
    pub(super) dir: PathBuf,
    pub(super) segments: Segments,
}

impl<D: Disk> LogTrimmer<D> {
    /// Removes whole segments whose records are all before `keep_from`, never the current one. Returns how many.
    ///
    /// # Errors
    /// Some may be removed already; the log is whole all the same, and it may be tried again.
    pub fn trim(&self, keep_from: Lsn) -> io::Result<u64> {
        let mut removed = 0;
        while let Some(oldest) = self.segments.oldest_before(keep_from) {
            let path = segment_path(&self.dir, oldest);
            match self.disk.remove(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(at(&path)(error));
                }
                _ => {}
            }
            self.disk.sync_dir(&self.dir).map_err(at(&self.dir))?;
            self.segments.forget(oldest);
            removed += 1;
        }
        Ok(removed)
    }
}
