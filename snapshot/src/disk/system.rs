//! Calls that only some systems have, each with a fallback for the others.

use std::fs::File;
use std::ops::Range;

/// Begins to write bytes of a file to the disk, without waiting. It is a hint: if writing fails,
/// the next sync reports that.
#[cfg(target_os = "linux")]
pub(super) fn begin_writing(file: &File, bytes: Range<u64>) {
    use std::num::NonZeroU64;

    use rustix::fs::{Advice, fadvise};

    // If pages are not on the disk yet, this advice ("not needed") begins to write them, and drops
    // nothing.
    let length = NonZeroU64::new(bytes.end.saturating_sub(bytes.start));
    if length.is_some() {
        _ = fadvise(file, bytes.start, length, Advice::DontNeed);
    }
}

/// Does nothing on this system: the next sync writes the bytes.
#[cfg(not(target_os = "linux"))]
pub(super) fn begin_writing(_: &File, _: Range<u64>) {}
