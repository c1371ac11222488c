//! What is in a data directory, whether it can be relied on, and how a start goes on from there.
//!
//! # Invariants
//! - [`scan`] changes nothing. [`open`] changes nothing before all that it needs was read and found right, unless it was told to
//!   accept damage; then it does what [`repair`] does, and that keeps a copy of whatever it changes.
//! - No record is handed on that lies behind damage, or in the part that will be cut.
//! - A log number that was ever given is not given again, also after a repair.
//!
//! How it is decided stands in `format.md`, "How recovery decides".

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
use crate::image::ImageName;
use crate::image::{HEADER_BYTES, HEADER_MAGIC};
use crate::log::segment_first;
use crate::log::{SEGMENT_HEADER_BYTES, SEGMENT_MAGIC, segment_path};
use crate::version::{IMAGE_VERSION, SEGMENT_VERSION, newer_file};
use crate::{Damage, IDENTITY_FILE, ImageInfo, Lsn, Newer};

/// A complete description of a data directory.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The node that the files belong to, if any of them could be read.
    pub node_id: Option<u64>,
    /// Oldest first.
    pub images: Vec<ImageReport>,
    /// Oldest first.
    pub segments: Vec<SegmentReport>,
    /// How the log ends.
    pub tail: Tail,
    /// Empty if a start would succeed. Nothing is called damage while there are newer files.
    pub damage: Vec<Damage>,
    /// Files that a newer program wrote: no start and no repair changes anything beside them.
    pub newer: Vec<Newer>,
    /// What a repair, or a start that accepts damage, would lose; everything if there is nothing whole to begin from.
    pub loss: Option<Loss>,
    /// Whether damage leaves something whole to begin from, so that a repair goes on from there.
    pub can_be_repaired: bool,
    /// Unfinished files of this crate (its names with `.tmp`) that the next start removes.
    pub leftovers: Vec<PathBuf>,
    /// The last record that is there, in the log or in the newest image.
    pub last_lsn: Lsn,
}

impl Scan {
    /// Whether there is neither an image nor a segment: a new store, or the wrong directory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.images.is_empty() && self.segments.is_empty()
    }

    /// Whether a start would succeed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty() && self.newer.is_empty()
    }
}

/// Records that are not there any more, or lie behind damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The first one.
    pub first: Lsn,
    /// The last one that was written for sure.
    pub last: Lsn,
    /// How far the numbers behind `last` may have gone: a missing or broken file does not say what was in it.
    pub at_most: Lsn,
}

impl Loss {
    /// Records that are lost for sure.
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

/// One image file.
#[derive(Clone, Debug)]
pub struct ImageReport {
    /// The file.
    pub path: PathBuf,
    /// By its name: all records up to this one are in it.
    pub start_lsn: Lsn,
    /// Whole, or why not.
    pub state: Result<ImageInfo, Damage>,
}

/// One segment file.
#[derive(Clone, Debug)]
pub struct SegmentReport {
    /// The file.
    pub path: PathBuf,
    /// By its name.
    pub first_lsn: Lsn,
    /// Last whole record; `first_lsn - 1` if it holds none.
    pub last_lsn: Lsn,
    /// Whole batches.
    pub batches: u64,
    /// Whole records.
    pub records: u64,
    /// Length of the file in bytes.
    pub bytes: u64,
    /// Bytes up to the end of the last whole batch or end mark.
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
    /// With bytes that are no whole batch: an unclean stop during a write. They will be cut.
    Torn {
        /// The file.
        path: PathBuf,
        /// Where it will be cut, in bytes. 0: the file has not even a header and will be removed.
        offset: u64,
        /// How much will be cut, in bytes.
        bytes: u64,
        /// What is wrong there.
        what: String,
    },
}

/// Whether a file of this crate, or the identity, may have this name.
fn is_own(name: &str) -> bool {
    let is_segment = matches!(segment_first(name), Some(Some(_)));
    let is_image = matches!(ImageName::parse(name), Some(Some(_)));
    is_segment || is_image || name == IDENTITY_FILE
}

/// The names in a data directory that are ours.
#[derive(Clone, Debug, Default)]
struct Names {
    /// Oldest first.
    images: Vec<ImageName>,
    /// Oldest first.
    segments: Vec<Lsn>,
    leftovers: Vec<PathBuf>,
    /// Names that look like ours and that this crate never writes.
    wrong: Vec<Damage>,
}

impl Names {
    fn read<D: Disk>(disk: &D, dir: &Path) -> io::Result<Self> {
        let mut names = Self::default();
        for name in disk.list(dir).map_err(at(dir))? {
            let path = dir.join(&name);
            if let Some(finished) = name.strip_suffix(".tmp") {
                // Others put files here too: an editor, a backup. Theirs are left alone.
                if is_own(finished) {
                    names.leftovers.push(path);
                }
                continue;
            }
            match (segment_first(&name), ImageName::parse(&name)) {
                (Some(Some(first)), _) => names.segments.push(first),
                (_, Some(Some(image))) => names.images.push(image),
                (Some(None), _) | (_, Some(None)) => {
                    names.wrong.push(Damage::new(&path, 0, "no file of ours has such a name"));
                }
                (None, None) => {}
            }
        }
        names.segments.sort_unstable();
        names.images.sort_unstable();
        names.leftovers.sort_unstable();
        Ok(names)
    }

    /// The files that a newer program wrote.
    fn newer<D: Disk>(&self, disk: &D, dir: &Path) -> io::Result<Vec<Newer>> {
        let mut newer = Vec::new();
        for image in &self.images {
            let path = image.path(dir);
            newer.extend(newer_file(disk, &path, HEADER_MAGIC, HEADER_BYTES, IMAGE_VERSION)?);
        }
        for &first in &self.segments {
            let path = segment_path(dir, first);
            let (magic, bytes) = (SEGMENT_MAGIC, SEGMENT_HEADER_BYTES);
            newer.extend(newer_file(disk, &path, magic, bytes, SEGMENT_VERSION)?);
        }
        Ok(newer)
    }
}
