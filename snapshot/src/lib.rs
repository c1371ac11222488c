//! The contract with the disk of chatshard: a log of records, snapshots of the whole state, and how
//! both are read after a stop or a crash.
//!
//! The crate knows only bytes; its caller knows what a record or a block means. `format.md` beside
//! this crate draws every byte of every file.
//!
//! ```text
//!   append, sync                    create, block, publish
//!        |                                  |
//!    LogWriter  --> log-*.seg          SnapshotWriter --> image-*.img
//!                   /    \                    /
//!     LogFollower <-      \                  /
//!                         scan   (reads, decides, changes nothing)
//!                           |
//!                         open   (loads, replays, then cuts the torn tail)
//!                           |
//!                         repair (only on request)
//! ```
//!
//! # Layout
//! - [`disk`]: the file system as this crate needs it; the real one, and a faulty one for tests and
//!   simulation
//! - [`record`]: the frame around one record, and a batch of them
//! - [`log`]: segments, the writer, the removal of old segments beside it, the walk through a
//!   segment, and the follower of a log that is being written
//! - [`mod@file`]: writer, reader and removal of snapshots
//! - [`baseline`]: the baseline, which is what the next start must find
//! - [`version`]: format versions, and files of newer programs
//! - [`planted`]: faults for the tests of the tests
//! - [`mod@replace`]: the durable replace, and small sealed files
//! - [`recover`]: scan, open, repair
//!
//! # Invariants
//! - Reading never repairs: a start reads everything, then decides, then changes the disk.
//! - Bytes from the disk never cause a panic or an endless loop. They never decide the size of an
//!   allocation before they are checked.
//! - After a [`LogWriter::sync`] that succeeded, the next [`open`] returns everything that it
//!   reported durable, or fails.
//! - The crate has no threads, no async, no clock and no random numbers of its own.

#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::as_conversions
    )
)]

pub mod baseline;
mod bytes;
pub mod disk;
mod error;
pub mod file;
pub mod log;
pub mod planted;
pub mod record;
pub mod recover;
pub mod replace;
pub mod version;

pub use baseline::{Baseline, KeepBaseline, Known};
pub use disk::{
    Disk, DiskFile, FaultyDisk, FileIdentity, HeldDirectory, RealDisk, open_regular, read_regular,
};
pub use error::{Damage, OpenError, ReadError};
pub use file::{SnapshotInfo, SnapshotReader, SnapshotWriter, open_newest, prune, snapshot_path};
pub use log::{
    AppendError, FollowError, LogFollower, LogTrimmer, LogWriter, Poisoned,
    SEGMENT_BYTES_MAX_DEFAULT,
};
pub use planted::{Planted, is_planted};
pub use record::{BATCH_BYTES_MAX, Batch, RECORD_BYTES_MAX, RecordError};
pub use recover::{
    Loss, OpenOptions, Opened, Repaired, Scan, SegmentReport, SnapshotReport, Tail,
    log_and_snapshots, open, open_with_verdict, repair, scan, scan_with,
};
pub use replace::{
    IDENTITY_FILE, SEALED_BYTES_MAX, read_sealed, read_sealed_with, replace, write_sealed,
    write_sealed_with,
};
pub use version::Newer;

/// Log sequence number: the number of one record. The first record ever is 1; `Lsn(0)` means
/// "nothing yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The largest number in a file's name. No log gets there by counting, so this crate writes no
    /// larger one. A log that continued behind a larger one could run out of numbers.
    pub const NAMED_MAX: Lsn = Lsn((1 << 53) - 1);

    /// The number after this one. The largest number returns itself, which no log ever reaches.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0.saturating_add(1))
    }

    /// The number before this one; 0 for 0.
    #[must_use]
    pub fn previous(self) -> Lsn {
        Lsn(self.0.saturating_sub(1))
    }
}

impl std::fmt::Display for Lsn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
