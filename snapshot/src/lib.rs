//! The contract with the disk of chatshard: a log of records, images of the whole state, and how both are read again
//! after a stop or a crash.
//!
//! The crate knows only bytes. What a record or a block means is for the caller; `format.md` beside this crate draws
//! every byte of every file.
//!
//! ```text
//!   append, sync                    create, block, publish
//!        |                                  |
//!    LogWriter  --> log-*.seg          ImageWriter --> image-*.img
//!                   /    \                 /
//!     LogFollower <-      \               /
//!                         scan   (reads, decides, changes nothing)
//!                           |
//!                         open   (loads, replays, then cuts the torn tail)      repair (only when told)
//! ```
//!
//! # Layout
//! - [`disk`]: what is asked of a file system; the real one, and a faulty one for tests and simulation
//! - [`record`]: the frame around one record, and a batch of them
//! - [`log`]: segments, the writer, the removal of old ones beside it, the walk through a segment, the follower of a log
//!   that is being written
//! - [`image`]: writer, reader and pruning of images
//! - [`floor`]: what the next start must find
//! - [`version`]: format versions, and files of newer ones
//! - [`planted`]: faults for the tests of the tests
//! - [`mod@replace`]: the durable replace, and small sealed files
//! - [`recover`]: scan, open, repair
//!
//! # Invariants
//! - Reading never repairs: everything is looked at first, then decided, then changed.
//! - Bytes from the disk never panic, never make a loop endless, and never size an allocation before they are checked.
//! - What a successful [`LogWriter::sync`] reported durable is returned by the next [`open`], or `open` refuses.
//! - No threads, no async, no clock, no random numbers: the caller brings all of them.

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

mod bytes;
pub mod disk;
mod error;
pub mod floor;
pub mod image;
pub mod log;
pub mod planted;
pub mod record;
pub mod recover;
pub mod replace;
pub mod version;

pub use disk::{
    Disk, DiskFile, FILE_MODE, FaultyDisk, FileIdentity, HeldDirectory, RealDisk, open_regular,
    read_regular,
};
pub use error::{Damage, OpenError, ReadError};
pub use floor::{Floor, KeepFloor, Known};
pub use image::{ImageInfo, ImageReader, ImageWriter, prune};
pub use log::{
    AppendError, FollowError, LogFollower, LogTrimmer, LogWriter, Poisoned,
    SEGMENT_BYTES_MAX_DEFAULT,
};
pub use planted::{Planted, is_planted};
pub use record::{BATCH_BYTES_MAX, Batch, RECORD_BYTES_MAX, RecordError};
pub use recover::{
    ImageReport, Loss, OpenOptions, Opened, Repaired, Scan, SegmentReport, Tail, open,
    open_with_verdict, repair, scan, scan_with,
};
pub use replace::{
    IDENTITY_FILE, SEALED_BYTES_MAX, read_sealed, read_sealed_with, replace, write_sealed,
    write_sealed_with,
};
pub use version::Newer;

/// Log sequence number: the number of one record. The first record ever is 1; `Lsn(0)` means "nothing yet".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The largest number that the name of a file may have: no log comes so far. A file whose name says more
    /// was not written here, and a log that went on behind it would run out of numbers.
    pub const NAMED_MAX: Lsn = Lsn((1 << 53) - 1);

    /// The number after this one. It stays at the largest number, which no log lives to see.
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
