//! Versions of the file formats, and files that a newer program wrote.
//!
//! # Invariants
//! - A file of a newer version is never damage: no start, repair or flag changes it.
//! - A flipped bit in the version of a file is damage, and not a newer version. The checksum then
//!   fits one of the known versions.

use std::io;
use std::path::{Path, PathBuf};

use crate::bytes::{Fields, trailing_checksum, u64_of};
use crate::disk::{Disk, DiskFile};
use crate::error::at;

/// Format version of the segments that this crate writes. It also reads version 1, in which
/// segments have no successor marks.
pub const SEGMENT_VERSION: u32 = 2;
/// Format version of snapshots, the only one so far.
pub const SNAPSHOT_VERSION: u32 = 1;
/// Format version of sealed files, the only one so far.
pub const SEALED_VERSION: u32 = 1;

/// A file that a newer program wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}: format version {version} was written by a newer chatshard; this one knows up to version {known}",
    path.display()
)]
pub struct Newer {
    /// The path of the file, which no start and no repair touches.
    pub path: PathBuf,
    /// The format version of the file.
    pub version: u32,
    /// The newest format version that this program reads.
    pub known: u32,
}

/// The version of a file that begins with `head`, if its magic is right and the version is above
/// `known`.
pub(crate) fn newer_version(head: &[u8], magic: [u8; 8], known: u32) -> Option<u32> {
    let mut fields = Fields(head);
    let is_ours = fields.array() == Some(magic);
    fields.u32().filter(|version| is_ours && *version > known)
}

/// Copies `head`, with `version` in the place of its version.
pub(crate) fn with_version(head: &[u8], version: u32) -> Vec<u8> {
    let mut changed = head.to_vec();
    if let Some(field) = changed.get_mut(8..12) {
        field.copy_from_slice(&version.to_le_bytes());
    }
    changed
}

/// Describes the file if its version is newer than `known`; else `None`. The file is a segment or a
/// snapshot. Its header has `header_bytes` bytes in every version, and ends with the checksum.
pub(crate) fn newer_file<D: Disk>(
    disk: &D,
    path: &Path,
    magic: [u8; 8],
    header_bytes: usize,
    known: u32,
) -> io::Result<Option<Newer>> {
    let file = disk.open_read(path).map_err(at(path))?;
    let mut head = vec![0; header_bytes];
    let mut filled = 0;
    while let Some(room) = head.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, u64_of(filled)).map_err(at(path))? {
            0 => break,
            read => filled += read,
        }
    }
    head.truncate(filled);
    let Some(version) = newer_version(&head, magic, known) else { return Ok(None) };
    let is_flip =
        (1..=known).any(|version| trailing_checksum(&with_version(&head, version), 0).is_ok());
    Ok((!is_flip).then(|| Newer { path: path.to_path_buf(), version, known }))
}
