//! The list of segments, and the removal of those that are not needed, beside the writer.
//!
//! Removing a file of 64 MiB takes tens of milliseconds, because the system frees its pages and
//! blocks one by one. So the writer's thread does not do it: all writes wait for that thread.
//!
//! # Invariants
//! - The last segment, which is being written, is never removed.
//! - Segments are removed oldest first, and each removal is durable before the next. Otherwise a
//!   crash could keep the older file and lose the newer one, and that looks like a missing segment.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::format::segment_path;
use crate::Lsn;
use crate::disk::Disk;
use crate::error::at;

/// First record of each segment, oldest first; the last one is being written. Clones share one
/// list.
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

    /// The oldest segment, if the next one begins at or before `keep_from`.
    fn oldest_before(&self, keep_from: Lsn) -> Option<Lsn> {
        let firsts = self.lock();
        firsts.get(1).filter(|second| **second <= keep_from)?;
        firsts.front().copied()
    }

    fn forget(&self, first: Lsn) {
        self.lock().pop_front_if(|oldest| *oldest == first);
    }
}

/// Removes segments of a log that may be written meanwhile.
/// [`LogWriter::trimmer`](super::LogWriter::trimmer) makes it.
#[derive(Debug)]
pub struct LogTrimmer<D: Disk> {
    pub(super) disk: D,
    pub(super) dir: PathBuf,
    pub(super) segments: Segments,
}

impl<D: Disk> LogTrimmer<D> {
    /// Removes whole segments whose records are all before `keep_from`, and never the current one.
    /// Returns their number.
    ///
    /// # Errors
    /// The file system returned an error. Some segments may be removed already; the log is still
    /// whole, and the caller may try again.
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
