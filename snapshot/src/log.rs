//! The log: records in batches, batches in segments, segments in a directory.
//!
//! # Invariants
//! - A segment's header is durable before its first batch is written. The segment before it is
//!   synced as a whole before that. So only the last segment can be torn, and a header only in a
//!   segment without batches.
//! - Each batch names the checksum of the batch or segment header before it, and each header that
//!   of the segment before it. So recovery notices if anything is left out or swapped.
//! - Each batch names the record that was durable when it was written. So recovery can distinguish
//!   a torn tail from damage.
//! - A segment that is not the last one ends with a mark, which demands the next segment.
//! - A failed sync ends the writer for good. After any other failure the writer continues, as if
//!   nothing had been tried.

mod follow;
mod format;
mod read;
mod trim;
mod write;

pub use follow::{FollowError, LogFollower};
pub use trim::LogTrimmer;
pub use write::{AppendError, LogWriter, Poisoned, SEGMENT_BYTES_MAX_DEFAULT};

pub(crate) use format::{
    BATCH_HEADER_BYTES, Kind, SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, SegmentHeader, segment_first,
    segment_path,
};
pub(crate) use read::{Body, End, Header, RecordFn, Segment};
pub(crate) use write::{CreateError, Resume, create_segment, mark_again};
