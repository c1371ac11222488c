//! Prepares a copy of a data directory for service.
//!
//! Clients hold versions and offsets together with the incarnation of the log. A copy lacks the
//! changes that clients learned after it was made, so it must not serve under the old incarnation.
//!
//! Invariants:
//! - The identity file is written last, with a new incarnation. So an interrupted restore leaves a
//!   directory on which no server starts.
//! - The backup is read, never written.

use std::io;
use std::path::Path;

use snapshot::{Disk, DiskFile, RealDisk, Scan};

use super::error::StoreError;
use super::identity::{IDENTITY_FILE, Identity, draw};
use super::store::{create_dirs, is_empty, lock, renew_incarnation};

const COPY_BYTES: usize = 1 << 20;

/// Copies the files that `scan` found in `from` to `dir`, which is missing or empty. Returns the
/// number of bytes.
///
/// # Errors
/// If `dir` holds any file, a server uses it, the identity cannot be read, or the system refuses.
pub fn copy(from: &Path, scan: &Scan, dir: &Path) -> Result<u64, StoreError> {
    let io = |error| StoreError::Io { path: dir.to_path_buf(), error };
    if !dir.try_exists().map_err(io)? {
        create_dirs(dir).map_err(io)?;
    }
    if !is_empty(dir).map_err(io)? {
        let what = "the directory is not empty; restore into a new one, or leave --from out to \
                    put into service what is there";
        return Err(StoreError::Foreign { path: dir.to_path_buf(), what: what.into() });
    }
    let _lock = lock(dir)?;
    let identity = from.join(IDENTITY_FILE);
    let (identity, _) = Identity::read(&RealDisk, &identity)?;
    let snapshots = scan.snapshots.iter().map(|snapshot| &snapshot.path);
    let segments = scan.segments.iter().map(|segment| &segment.path);
    let mut bytes = 0_u64;
    for path in snapshots.chain(segments) {
        let name = path.file_name().unwrap_or_default();
        let copied = copy_file(path, &dir.join(name));
        let copied = copied.map_err(|error| StoreError::Io { path: path.clone(), error })?;
        bytes = bytes.saturating_add(copied);
    }
    RealDisk.sync_dir(dir).map_err(io)?;
    let path = dir.join(IDENTITY_FILE);
    let identity = Identity { incarnation: draw(&path)?, ..identity };
    identity.write(&RealDisk, &path).map_err(|error| StoreError::Io { path, error })?;
    Ok(bytes)
}

/// Gives the log in `dir` a new incarnation, after another tool restored the files in place.
///
/// # Errors
/// If a server uses the directory, or the identity cannot be read or written.
pub fn renew(dir: &Path) -> Result<(), StoreError> {
    let _lock = lock(dir)?;
    renew_incarnation(dir)
}

/// Copies one file and syncs its content; the caller syncs the directory, which holds the name.
fn copy_file(from: &Path, to: &Path) -> io::Result<u64> {
    let source = RealDisk.open_read(from)?;
    let mut target = RealDisk.create_new(to)?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut copied = 0_u64;
    loop {
        let read = source.read_at(&mut buffer, copied)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        target.append(bytes)?;
        copied = copied.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    target.sync_data()?;
    Ok(copied)
}
