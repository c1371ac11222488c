//! The log: records in batches, batches in segments, segments in a directory.
//!
//! # Invariants
//! - A segment's header is durable before its first batch is written, and the segment before it is
//!   synced whole before that. So only the last segment can be torn, and never in its header once
//!   it holds a batch.
//! - Each batch names the checksum of what comes before it, across segments too. So nothing can be
//!   left out or swapped unseen.
//! - Each batch names the record that was durable when it was written. So recovery can distinguish
//!   a torn tail from damage.
//! - A segment that another one follows ends with a mark that demands the next one.
//! - A failed sync ends the writer for good. After any other failure it continues as if nothing had
//!   been tried.

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
