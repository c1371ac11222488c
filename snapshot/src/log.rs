//! The log: records in batches, batches in segments, segments in a directory.
//!
//! # Invariants
//! - A segment's header is safe on the disk before its first batch is written, and the segment before it is synced whole
//!   before that. So only the last segment can be torn, and never in its header once it holds a batch.
//! - Each batch names the checksum of what comes before it, over segments too: nothing can be left out or swapped unseen.
//! - Each batch says which record was durable when it was written. A torn tail is therefore told from damage.
//! - A segment that was followed by another one ends with a mark that demands it.
//! - A failed sync ends the writer for good; after any other failure it goes on as if nothing had been tried.

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
