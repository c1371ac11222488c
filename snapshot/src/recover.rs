//! Recovery: reads a data directory, decides whether a start can rely on it, and continues from
//! there.
//!
//! # Invariants
//! - [`scan`] changes nothing.
//! - [`open`] changes nothing before it has read all that it needs and found that right. One
//!   exception: with `allow_damage` it first does what [`repair`] does, which keeps a copy of each
//!   file that it changes.
//! - No record is handed on that is behind damage, or in a part that will be cut off.
//! - An LSN that was given to a record is never given again, not even after a repair.
//!
//! `format.md`, "How recovery decides", has the rules.

mod open;
mod repair;
mod scan;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

pub use open::{OpenOptions, Opened, open, open_with_verdict};
pub use repair::{Repaired, repair};
pub use scan::{scan, scan_with};

use crate::disk::Disk;
use crate::error::at;
use crate::file::SnapshotName;
use crate::file::{HEADER_BYTES, HEADER_MAGIC};
use crate::log::segment_first;
use crate::log::{SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, segment_path};
use crate::version::{SEGMENT_VERSION, SNAPSHOT_VERSION, newer_file};
use crate::{Damage, IDENTITY_FILE, Lsn, Newer, SnapshotInfo};

/// What a scan found out about a whole data directory.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The node that the files belong to. `None` if the caller did not name it and no file could be
    /// read.
    pub node_id: Option<u64>,
    /// The snapshots, oldest first.
    pub snapshots: Vec<SnapshotReport>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// How the log ends.
    pub tail: Tail,
    /// All damage; empty if a start would succeed. While there are files of a newer version,
    /// nothing counts as damage.
    pub damage: Vec<Damage>,
    /// Files that a newer program wrote. While there are any, no start and no repair changes
    /// anything.
    pub newer: Vec<Newer>,
    /// The records that a repair, or a start that accepts damage, would lose. It is all records if
    /// nothing whole is left to begin from. `None` if nothing would be lost.
    pub loss: Option<Loss>,
    /// Whether a repair can continue from something that is whole. False if there is no damage.
    pub can_be_repaired: bool,
    /// Unfinished files of this crate, with names that end in `.tmp`, which the next start removes.
    pub leftovers: Vec<PathBuf>,
    /// The last record in the log or in the newest snapshot.
    pub last_lsn: Lsn,
}

impl Scan {
    /// Whether there is neither a snapshot nor a segment: a new store, or the wrong directory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.segments.is_empty()
    }

    /// Whether a start on the scanned directory would succeed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.newer.is_empty()
    }
}

/// Records that are missing, or that are behind damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The first record that is lost.
    pub first: Lsn,
    /// The last lost record that was certainly written.
    pub last: Lsn,
    /// No lost record has a larger number. It may be above `last`, because a missing or broken file
    /// does not show which records it had.
    pub at_most: Lsn,
}

impl Loss {
    /// How many records are certainly lost.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.last.0.saturating_sub(self.first.previous().0)
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first, last, at_most } = self;
        match self.records() {
            0 => write!(f, "perhaps records from LSN {first} on, that were written last")?,
            1 => write!(f, "LSN {first} (1 record)")?,
            records => write!(f, "LSN {first} to {last} ({records} records)")?,
        }
        if at_most > last && self.records() > 0 {
            write!(f, ", and perhaps some that were written after LSN {last}")?;
        }
        Ok(())
    }
}

/// What a scan found out about one snapshot file.
#[derive(Clone, Debug)]
pub struct SnapshotReport {
    /// The path of the snapshot, a file `image-*.img`.
    pub path: PathBuf,
    /// The start LSN in the snapshot's name. All records up to it are in the snapshot.
    pub start_lsn: Lsn,
    /// Header and footer if the snapshot is whole, else its damage.
    pub state: Result<SnapshotInfo, Damage>,
}

/// What a scan found out about one segment.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// The path of the segment, a file `log-*.seg`.
    pub path: PathBuf,
    /// The LSN in the segment's name: its first record, or the one that would come first.
    pub first_lsn: Lsn,
    /// The last whole record; `first_lsn - 1` if the segment has none.
    pub last_lsn: Lsn,
    /// How many whole batches the segment has, without marks.
    pub batches: u64,
    /// How many whole records the segment has.
    pub records: u64,
    /// Length of the segment in bytes.
    pub bytes: u64,
    /// Bytes up to the end of the last whole batch, or of the mark behind it.
    pub whole_bytes: u64,
    /// Whether the segment ends with an end mark.
    pub end_mark: bool,
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// The directory has no log.
    Empty,
    /// The log ends with an end mark: the process stopped cleanly.
    EndMark,
    /// The log ends behind a whole batch, without an end mark: the process did not stop cleanly.
    Open,
    /// With bytes that are no whole batch: the process stopped during a write. The next start cuts
    /// them off.
    Torn {
        /// The file that ends in the torn bytes.
        path: PathBuf,
        /// Byte offset of the cut. If it is 0, the file does not even have a header and is removed.
        offset: u64,
        /// Number of bytes that are cut off.
        bytes: u64,
        /// What is wrong with the bytes, in words for the operator.
        what: String,
    },
}

/// Whether this is a name that this crate gives to files, or that of the identity file.
fn is_own(name: &str) -> bool {
    let is_segment = matches!(segment_first(name), Some(Some(_)));
    let is_snapshot = matches!(SnapshotName::parse(name), Some(Some(_)));
    is_segment || is_snapshot || name == IDENTITY_FILE
}

/// The paths of all segments and snapshots in a directory, with the unfinished ones. The identity
/// file is not among them.
///
/// # Errors
/// Those of the file system.
pub fn log_and_snapshots<D: Disk>(disk: &D, dir: &Path) -> io::Result<Vec<PathBuf>> {
    let names = disk.list(dir).map_err(at(dir))?;
    let is_one = |name: &String| {
        let name = name.strip_suffix(".tmp").unwrap_or(name);
        is_own(name) && name != IDENTITY_FILE
    };
    Ok(names.into_iter().filter(is_one).map(|name| dir.join(name)).collect())
}

/// The names in a data directory that this crate gave.
#[derive(Clone, Debug, Default)]
struct Names {
    /// The snapshots, the oldest first.
    snapshots: Vec<SnapshotName>,
    /// The first record of each segment, the oldest first.
    segments: Vec<Lsn>,
    leftovers: Vec<PathBuf>,
    /// Names that look like those of this crate, but have a form that it never writes.
    wrong: Vec<Damage>,
}

impl Names {
    fn read<D: Disk>(disk: &D, dir: &Path) -> io::Result<Self> {
        let mut names = Self::default();
        for name in disk.list(dir).map_err(at(dir))? {
            let path = dir.join(&name);
            if let Some(finished) = name.strip_suffix(".tmp") {
                // Other programs, such as an editor or a backup, put `.tmp` files here too. Those
                // stay.
                if is_own(finished) {
                    names.leftovers.push(path);
                }
                continue;
            }
            match (segment_first(&name), SnapshotName::parse(&name)) {
                (Some(Some(first)), _) => names.segments.push(first),
                (_, Some(Some(snapshot))) => names.snapshots.push(snapshot),
                (Some(None), _) | (_, Some(None)) => {
                    names.wrong.push(Damage::new(&path, 0, "no file of ours has such a name"));
                }
                (None, None) => {}
            }
        }
        names.segments.sort_unstable();
        names.snapshots.sort_unstable();
        names.leftovers.sort_unstable();
        Ok(names)
    }

    /// The files among these names that a newer program wrote.
    fn newer<D: Disk>(&self, disk: &D, dir: &Path) -> io::Result<Vec<Newer>> {
        let mut newer = Vec::new();
        for snapshot in &self.snapshots {
            let path = snapshot.path(dir);
            newer.extend(newer_file(disk, &path, HEADER_MAGIC, HEADER_BYTES, SNAPSHOT_VERSION)?);
        }
        for &first in &self.segments {
            let path = segment_path(dir, first);
            let (magic, bytes) = (SEGMENT_MAGIC, SEGMENT_HEADER_BYTES);
            newer.extend(newer_file(disk, &path, magic, bytes, SEGMENT_VERSION)?);
        }
        Ok(newer)
    }
}
