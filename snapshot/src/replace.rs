//! Replaces whole files durably. Also reads and writes sealed files: small files that show when
//! they are damaged.
//!
//! # Invariants
//! - After a crash there is the old file or the new one. Whenever the machine stops, the name never
//!   leads to half a file.
//! - A sealed file is exactly as long as it says; one byte more or less is damage.

use std::io;
use std::path::{Path, PathBuf};

use crate::bytes::{Fields, u64_of, usize_of};
use crate::disk::{Disk, DiskFile, FileIdentity};
use crate::error::at;
use crate::version::{Newer, SEALED_VERSION, newer_version, with_version};
use crate::{Damage, ReadError};

/// Name of the file that says which node a directory belongs to. The caller defines its payload.
pub const IDENTITY_FILE: &str = "node";

/// Largest payload of a sealed file, in bytes.
pub const SEALED_BYTES_MAX: usize = 1 << 20;

const SEALED_MAGIC: [u8; 8] = *b"chshseal";
/// magic 8, version 4, length 4, checksum 4
const SEALED_HEADER_BYTES: usize = 20;

/// Replaces the file `path`, or creates it, with the content `bytes`. It is durable when this
/// returns.
///
/// # Errors
/// The old file is untouched, unless only the last step failed. Then the new file is in place, but
/// a crash may bring the old one back.
pub fn replace<D: Disk>(disk: &D, path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(disk, path, |file| file.append(bytes))
}

/// The only code that replaces a file durably. Each step has a reason:
/// 1. Write a `.tmp` beside the target, so that the rename stays within one file system. An older
///    `.tmp` is a leftover of a crash, and worthless.
/// 2. Write all bytes, then fsync. Otherwise the rename could reach the disk before the bytes, and
///    show an empty file.
/// 3. Rename: the only step that readers see, and it is atomic.
/// 4. Fsync the directory. Until then the rename can be lost, and with it what the caller does next
///    because of it.
pub(crate) fn replace_with<D: Disk>(
    disk: &D,
    path: &Path,
    write: impl FnOnce(&mut D::File) -> io::Result<()>,
) -> io::Result<()> {
    let tmp = tmp_path(path);
    let mut file = create_anew(disk, &tmp)?;
    let written = write(&mut file).and_then(|()| file.sync_data());
    let renamed = written.and_then(|()| disk.rename(&tmp, path));
    if let Err(error) = renamed {
        // If this fails, the leftover is removed by the next open.
        let _ = disk.remove(&tmp);
        return Err(at(&tmp)(error));
    }
    disk.sync_dir(parent(path)).map_err(at(parent(path)))
}

/// Creates an empty file. A file of that name, left behind by a crash, is removed first.
pub(crate) fn create_anew<D: Disk>(disk: &D, path: &Path) -> io::Result<D::File> {
    let created = match disk.create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(path).and_then(|()| disk.create_new(path))
        }
        result => result,
    };
    created.map_err(at(path))
}

/// `path` with `.tmp` added.
pub(crate) fn tmp_path(path: &Path) -> PathBuf {
    with_suffix(path, ".tmp")
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Durably replaces `path` with a sealed file: `payload` with version, length and checksum.
///
/// # Errors
/// Kind `InvalidInput` if the payload is above [`SEALED_BYTES_MAX`]; otherwise those of
/// [`replace`].
pub fn write_sealed<D: Disk>(disk: &D, path: &Path, payload: &[u8]) -> io::Result<()> {
    replace(disk, path, &seal(payload)?)
}

/// Like [`write_sealed`], for a payload that must contain the identity of its own file.
///
/// # Errors
/// Those of [`write_sealed`] and of `payload`.
pub fn write_sealed_with<D: Disk>(
    disk: &D,
    path: &Path,
    payload: impl FnOnce(Option<FileIdentity>) -> io::Result<Vec<u8>>,
) -> io::Result<()> {
    replace_with(disk, path, |file| {
        let payload = payload(file.identity())?;
        file.append(&seal(&payload)?)
    })
}

fn seal(payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = match u32::try_from(payload.len()) {
        Ok(length) if payload.len() <= SEALED_BYTES_MAX => length,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let mut bytes = Vec::with_capacity(SEALED_HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&SEALED_MAGIC);
    bytes.extend_from_slice(&SEALED_VERSION.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&bytes), payload);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// Reads a file that [`write_sealed`] wrote.
///
/// # Errors
/// If the file is missing, [`ReadError::Io`] of kind `NotFound`; the caller decides whether that
/// means a new store. A file of a newer version is [`ReadError::Newer`], and any other wrong byte
/// [`ReadError::Damaged`].
pub fn read_sealed<D: Disk>(disk: &D, path: &Path) -> Result<Vec<u8>, ReadError> {
    read_sealed_with(disk, path).map(|(payload, _)| payload)
}

/// Like [`read_sealed`], and also returns the identity of the file if the disk knows it.
///
/// # Errors
/// Those of [`read_sealed`].
pub fn read_sealed_with<D: Disk>(
    disk: &D,
    path: &Path,
) -> Result<(Vec<u8>, Option<FileIdentity>), ReadError> {
    let file = disk.open_read(path).map_err(at(path))?;
    let identity = file.identity();
    let len = file.len().map_err(at(path))?;
    if len > u64_of(SEALED_HEADER_BYTES + SEALED_BYTES_MAX) {
        return Err(Damage::new(path, 0, "longer than a sealed file may be").into());
    }
    let mut bytes = vec![0; usize_of(len)];
    let mut filled = 0;
    while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, u64_of(filled)).map_err(at(path))? {
            0 => return Err(Damage::new(path, u64_of(filled), "the file shrank").into()),
            read => filled += read,
        }
    }
    if let Some(version) = newer_version(&bytes, SEALED_MAGIC, SEALED_VERSION) {
        let is_flip =
            (1..=SEALED_VERSION).any(|known| unseal(&with_version(&bytes, known)).is_ok());
        if !is_flip {
            return Err(Newer { path: path.to_path_buf(), version, known: SEALED_VERSION }.into());
        }
    }
    let payload = unseal(&bytes).map_err(|(offset, what)| Damage::new(path, offset, what))?;
    Ok((payload.to_vec(), identity))
}

fn unseal(bytes: &[u8]) -> Result<&[u8], (u64, String)> {
    let cut = || (u64_of(bytes.len()), "the file is cut short".to_owned());
    let mut fields = Fields(bytes);
    if fields.array().ok_or_else(cut)? != SEALED_MAGIC {
        return Err((0, "this is no sealed file".to_owned()));
    }
    let version = fields.u32().ok_or_else(cut)?;
    if version != SEALED_VERSION {
        return Err((8, format!("format version {version} is not known")));
    }
    let length = fields.u32().ok_or_else(cut)?;
    let stored = fields.u32().ok_or_else(cut)?;
    let payload = fields.0;
    if u64::from(length) != u64_of(payload.len()) {
        let there = payload.len();
        return Err((12, format!("{length} bytes claimed, {there} there")));
    }
    let covered = bytes.get(..16).unwrap_or_default();
    if crc32c::crc32c_append(crc32c::crc32c(covered), payload) != stored {
        return Err((16, "the checksum does not match".to_owned()));
    }
    Ok(payload)
}
