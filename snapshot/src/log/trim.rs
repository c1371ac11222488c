//! The list of a log's segments, and the removal of those that are not needed, while the log is
//! written.
//!
//! To remove a file of 64 MiB takes tens of milliseconds, because the system frees its pages and
//! blocks one by one. So another thread than the writer's does it: all writes wait for the writer.
//!
//! # Invariants
//! - The last segment, which is being written, is never removed.
//! - Segments are removed oldest first, and each removal is durable before the next begins.
//!   Otherwise a crash could keep an older segment and lose a newer one. That would look like a
//!   missing segment.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::format::segment_path;
use crate::Lsn;
use crate::disk::Disk;
use crate::error::at;

/// The first record of each segment, the oldest first. The last segment is being written. Clones
/// share one list.
#[derive(Clone, Debug)]
pub(super) struct Segments(Arc<Mutex<VecDeque<Lsn>>>);

impl Segments {
    pub(super) fn new(firsts: VecDeque<Lsn>) -> Self {
        Self(Arc::new(Mutex::new(firsts)))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Lsn>> {
        // No code that can panic runs under this lock, so a poisoned lock is usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last(&self) -> Option<Lsn> {
        self.lock().back().copied()
    }

    pub(super) fn begin(&self, first: Lsn) {
        self.lock().push_back(first);
    }

    /// The oldest segment, if all of its records are before `keep_from`.
    fn oldest_before(&self, keep_from: Lsn) -> Option<Lsn> {
        let firsts = self.lock();
        firsts.get(1).filter(|second| **second <= keep_from)?;
        firsts.front().copied()
    }

    fn forget(&self, first: Lsn) {
        self.lock().pop_front_if(|oldest| *oldest == first);
    }
}

/// Removes old segments of a log, which a writer may continue meanwhile.
/// [`LogWriter::trimmer`](super::LogWriter::trimmer) makes it.
#[derive(Debug)]
pub struct LogTrimmer<D: Disk> {
    pub(super) disk: D,
    pub(super) dir: PathBuf,
    pub(super) segments: Segments,
}

impl<D: Disk> LogTrimmer<D> {
    /// Removes the segments whose records are all before `keep_from`, but never the last one.
    /// Returns how many were removed.
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
