//! Snapshots: the whole state as blocks of bytes, in a file that is there whole or not at all.
//!
//! # Invariants
//! - A file gets its name without `.tmp` only after it has its footer and is synced.
//! - A snapshot is whole only if header, footer and every block are verified, and the file has
//!   nothing else.
//! - If a log was written while the snapshot was, the snapshot is consistent only together with
//!   records of that log. These are the records after the snapshot's start LSN, up to its end LSN.
//! - To read a snapshot needs memory for one block, however long the file is.

mod read;
mod write;

pub use read::SnapshotReader;
pub use write::SnapshotWriter;

use std::io;
use std::path::{Path, PathBuf};

use crate::bytes::{Fields, trailing_checksum, u64_of};
use crate::disk::Disk;
use crate::error::at;
use crate::version::SNAPSHOT_VERSION;
use crate::{Lsn, ReadError};

pub(crate) const HEADER_MAGIC: [u8; 8] = *b"chshimg\n";
/// How often a directory is listed at most, if each time its newest snapshot is removed before it
/// can be opened.
const LISTINGS_MAX: usize = 8;
const FOOTER_MAGIC: [u8; 8] = *b"chshend\n";

/// magic 8, version 4, node id 8, start LSN 8, checksum 4
pub(crate) const HEADER_BYTES: usize = 32;
/// magic 8, flags 4, blocks 8, end LSN 8, header checksum 4, blocks checksum 4, checksum 4
pub(crate) const FOOTER_BYTES: usize = 40;

/// Header and footer of a published snapshot, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The path of the snapshot, a file `image-*.img`.
    pub path: PathBuf,
    /// Length of the snapshot in bytes.
    pub bytes: u64,
    /// Number of the snapshot's blocks.
    pub blocks: u64,
    /// All records up to this one are in the snapshot, so replay begins behind it.
    pub start_lsn: Lsn,
    /// No record after this one is in the snapshot. The log was durable up to here before the
    /// snapshot was published.
    pub end_lsn: Lsn,
    /// Whether a log was written while the snapshot was. If so, a start needs that log.
    pub logged: bool,
    /// The id of the node that wrote the snapshot.
    pub node_id: u64,
}

/// The name of a snapshot. The newest snapshot has the largest start LSN and, if several have that,
/// the largest counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SnapshotName {
    pub(crate) start: Lsn,
    pub(crate) counter: u32,
}

impl SnapshotName {
    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("image-{:020}-{:010}.img", self.start.0, self.counter))
    }

    /// Parses a file's name. `None` if it is no snapshot's. `Some(None)` if it looks like one, but
    /// has a form that this crate never writes.
    pub(crate) fn parse(name: &str) -> Option<Option<Self>> {
        let numbers = name.strip_prefix("image-")?.strip_suffix(".img")?;
        Some(Self::numbers(numbers))
    }

    fn numbers(numbers: &str) -> Option<Self> {
        let (start, counter) = numbers.split_once('-')?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let right = start.len() == 20 && counter.len() == 10 && digits(start) && digits(counter);
        let start = Lsn(start.parse().ok()?);
        let counter = counter.parse().ok()?;
        (right && start <= Lsn::NAMED_MAX).then_some(Self { start, counter })
    }
}

struct SnapshotHeader {
    node_id: u64,
    start: Lsn,
}

impl SnapshotHeader {
    fn encode(&self) -> (Vec<u8>, u32) {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&HEADER_MAGIC);
        bytes.extend_from_slice(&SNAPSHOT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.node_id.to_le_bytes());
        bytes.extend_from_slice(&self.start.0.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// Decodes a header, and returns its checksum too. An error has its byte offset in the header.
    fn decode(bytes: &[u8]) -> Result<(Self, u32), (u64, String)> {
        let mut fields = Fields(bytes);
        if fields.array() != Some(HEADER_MAGIC) {
            return Err((0, "this is no snapshot".to_owned()));
        }
        let version = fields.u32().unwrap_or_default();
        if version != SNAPSHOT_VERSION {
            return Err((8, format!("format version {version} is not known")));
        }
        let checksum = trailing_checksum(bytes, 0)
            .map_err(|_| (0, "the snapshot header's checksum does not match".to_owned()))?;
        let header = Self {
            node_id: fields.u64().unwrap_or_default(),
            start: Lsn(fields.u64().unwrap_or_default()),
        };
        Ok((header, checksum))
    }
}

struct SnapshotFooter {
    logged: bool,
    blocks: u64,
    end: Lsn,
    /// The header's checksum, so that the footer belongs to this header.
    header_checksum: u32,
    /// The checksum over the checksums of all blocks, in order.
    blocks_checksum: u32,
}

impl SnapshotFooter {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.extend_from_slice(&FOOTER_MAGIC);
        bytes.extend_from_slice(&u32::from(self.logged).to_le_bytes());
        bytes.extend_from_slice(&self.blocks.to_le_bytes());
        bytes.extend_from_slice(&self.end.0.to_le_bytes());
        bytes.extend_from_slice(&self.header_checksum.to_le_bytes());
        bytes.extend_from_slice(&self.blocks_checksum.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut fields = Fields(bytes);
        if fields.array() != Some(FOOTER_MAGIC) {
            return Err("no footer at the end: the snapshot is cut short".to_owned());
        }
        trailing_checksum(bytes, 0).map_err(|_| "the footer's checksum does not match")?;
        Self::fields(&mut fields).ok_or_else(|| "impossible footer".to_owned())
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Self> {
        let flags = fields.u32()?;
        let footer = Self {
            logged: flags == 1,
            blocks: fields.u64()?,
            end: Lsn(fields.u64()?),
            header_checksum: fields.u32()?,
            blocks_checksum: fields.u32()?,
        };
        (flags <= 1).then_some(footer)
    }
}

/// The snapshots of a directory, oldest first.
pub(crate) fn list_snapshots<D: Disk>(disk: &D, dir: &Path) -> io::Result<Vec<SnapshotName>> {
    let names = disk.list(dir).map_err(at(dir))?;
    let snapshots = names.iter().filter_map(|name| SnapshotName::parse(name)?);
    let mut snapshots: Vec<SnapshotName> = snapshots.collect();
    snapshots.sort_unstable();
    Ok(snapshots)
}

/// The path of a snapshot with this start LSN in a directory that has no other one with it.
#[must_use]
pub fn snapshot_path(dir: &Path, start: Lsn) -> PathBuf {
    SnapshotName { start, counter: 1 }.path(dir)
}

/// Opens the newest snapshot with a whole header and footer, for a caller that copies it. `None`
/// without one. The open file keeps all of its bytes, also after the snapshot is removed.
///
/// # Errors
/// Those of the file system.
pub fn open_newest<D: Disk>(disk: &D, dir: &Path) -> io::Result<Option<(SnapshotInfo, D::File)>> {
    let mut result = Ok(None);
    for _ in 0..LISTINGS_MAX {
        result = newest_of(disk, dir, list_snapshots(disk, dir)?);
        match &result {
            // It was removed after the directory was listed, so there is a newer one.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => return result,
        }
    }
    result
}

fn newest_of<D: Disk>(
    disk: &D,
    dir: &Path,
    names: Vec<SnapshotName>,
) -> io::Result<Option<(SnapshotInfo, D::File)>> {
    for name in names.into_iter().rev() {
        match SnapshotReader::open(disk, &name.path(dir)) {
            Ok(reader) => return Ok(Some((reader.info().clone(), reader.into_file()))),
            Err(ReadError::Damaged(_) | ReadError::Newer(_)) => {}
            Err(ReadError::Io(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// Removes all snapshots but the newest `keep`. Returns the first LSN of the log that must be kept,
/// for [`LogTrimmer::trim`](crate::LogTrimmer::trim).
///
/// The result is `Lsn(0)` (keep all) while there are fewer than `keep` snapshots. Then the log from
/// its first record on takes the place of an older snapshot. A snapshot with a damaged header or
/// footer is not counted. If it is newer than the oldest one that counts, it stays.
///
/// # Errors
/// Those of the file system. Some snapshots may be removed already; the caller may try again.
pub fn prune<D: Disk>(disk: &D, dir: &Path, keep: usize) -> io::Result<Lsn> {
    let mut kept = 0;
    let mut keep_from = Lsn(0);
    let mut removed = false;
    for name in list_snapshots(disk, dir)?.into_iter().rev() {
        let path = name.path(dir);
        if kept >= keep.max(1) {
            disk.remove(&path).map_err(at(&path))?;
            removed = true;
            continue;
        }
        match SnapshotReader::open(disk, &path) {
            Ok(_) => {
                kept += 1;
                if kept >= keep.max(1) {
                    keep_from = name.start.next();
                }
            }
            Err(ReadError::Damaged(_) | ReadError::Newer(_)) => {}
            Err(ReadError::Io(error)) => return Err(error),
        }
    }
    if removed {
        disk.sync_dir(dir).map_err(at(dir))?;
    }
    Ok(keep_from)
}

/// Offset at which the blocks end. `None` if the file is too short for header and footer.
fn blocks_end(file_bytes: u64) -> Option<u64> {
    let end = file_bytes.checked_sub(u64_of(FOOTER_BYTES))?;
    (end >= u64_of(HEADER_BYTES)).then_some(end)
}
