//! Recovery: what is in a data directory, whether it can be relied on, and how a start continues
//! from there.
//!
//! # Invariants
//! - [`scan`] changes nothing.
//! - [`open`] changes nothing before it has read all that it needs and found it right. With
//!   `allow_damage` it first does what [`repair`] does, and that keeps a copy of each file that it
//!   changes.
//! - No record is handed on that is behind damage, or in a part that will be cut.
//! - An LSN that was ever given is not given again, not even after a repair.
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

/// A complete description of a data directory.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The node that the files belong to; `None` if the caller did not name it and no file could be
    /// read.
    pub node_id: Option<u64>,
    /// The snapshots, oldest first.
    pub snapshots: Vec<SnapshotReport>,
    /// The segments, oldest first.
    pub segments: Vec<SegmentReport>,
    /// How the log ends.
    pub tail: Tail,
    /// Empty if a start would succeed. Nothing counts as damage while there are newer files.
    pub damage: Vec<Damage>,
    /// Files that a newer program wrote. No start and no repair changes anything while there are
    /// any.
    pub newer: Vec<Newer>,
    /// Records that a repair, or a start that accepts damage, would lose: all, if there is nothing
    /// whole to begin from. `None` without damage, or if nothing would be lost.
    pub loss: Option<Loss>,
    /// Whether damage leaves something whole to begin from, so that a repair can continue from
    /// there. False without damage.
    pub can_be_repaired: bool,
    /// Unfinished files of this crate (its names with `.tmp`) that the next start removes.
    pub leftovers: Vec<PathBuf>,
    /// The last record that exists, in the log or in the newest snapshot.
    pub last_lsn: Lsn,
}

impl Scan {
    /// Whether there is neither a snapshot nor a segment: a new store, or the wrong directory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty() && self.segments.is_empty()
    }

    /// Whether a start would succeed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.newer.is_empty()
    }
}

/// Records that are missing, or are behind damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The first lost record.
    pub first: Lsn,
    /// The last one that was certainly written.
    pub last: Lsn,
    /// Upper bound of the numbers that lost records may have had. It may be above `last`, because a
    /// missing or broken file does not show which records it held.
    pub at_most: Lsn,
}

impl Loss {
    /// Number of records that are certainly lost.
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

/// One snapshot file.
#[derive(Clone, Debug)]
pub struct SnapshotReport {
    /// The file `image-*.img`.
    pub path: PathBuf,
    /// As in its name: all records up to this one are in the snapshot.
    pub start_lsn: Lsn,
    /// Header and footer if the snapshot is whole; otherwise the damage.
    pub state: Result<SnapshotInfo, Damage>,
}

/// One segment file.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// The file `log-*.seg`.
    pub path: PathBuf,
    /// As in its name: the first record, or the one that would come first.
    pub first_lsn: Lsn,
    /// Last whole record; `first_lsn - 1` if the segment holds none.
    pub last_lsn: Lsn,
    /// Number of whole batches, marks not counted.
    pub batches: u64,
    /// Number of whole records.
    pub records: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Bytes up to the end of the last whole batch or mark.
    pub whole_bytes: u64,
    /// Whether it ends with an end mark.
    pub end_mark: bool,
}

/// How a log ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// There is no log.
    Empty,
    /// With an end mark: a clean stop.
    EndMark,
    /// After a whole batch, without an end mark: an unclean stop.
    Open,
    /// With bytes that are no whole batch: an unclean stop during a write. The next start cuts them
    /// off.
    Torn {
        /// The file that ends in the torn bytes.
        path: PathBuf,
        /// Byte offset of the cut. With 0 the file has not even a header and is removed.
        offset: u64,
        /// Number of bytes that are cut off.
        bytes: u64,
        /// Cause in words, for the operator.
        what: String,
    },
}

/// Whether this is a name of a file of this crate, or of the identity file.
fn is_own(name: &str) -> bool {
    let is_segment = matches!(segment_first(name), Some(Some(_)));
    let is_snapshot = matches!(SnapshotName::parse(name), Some(Some(_)));
    is_segment || is_snapshot || name == IDENTITY_FILE
}

/// The names in a data directory that belong to this crate.
#[derive(Clone, Debug, Default)]
struct Names {
    /// Oldest first.
    snapshots: Vec<SnapshotName>,
    /// Oldest first.
    segments: Vec<Lsn>,
    leftovers: Vec<PathBuf>,
    /// Names that look like those of this crate, which it never writes.
    wrong: Vec<Damage>,
}

impl Names {
    fn read<D: Disk>(disk: &D, dir: &Path) -> io::Result<Self> {
        let mut names = Self::default();
        for name in disk.list(dir).map_err(at(dir))? {
            let path = dir.join(&name);
            if let Some(finished) = name.strip_suffix(".tmp") {
                // Other programs put files here too: an editor, a backup. Their files stay.
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

    /// The files that a newer program wrote.
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
