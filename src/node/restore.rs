//! Makes a copy of a data directory ready for service.
//!
//! Clients hold versions and offsets of one incarnation of the log. After a copy was made, clients
//! may have learned changes that the copy lacks. So the copy must serve under another incarnation.
//!
//! Invariants:
//! - The identity file is written last, with a new incarnation. So no server starts on a directory
//!   whose restore was interrupted.
//! - A backup is only read.

use std::io;
use std::path::Path;

use snapshot::{Disk, DiskFile, RealDisk, Scan};

use super::error::StoreError;
use super::identity::{IDENTITY_FILE, Identity};
use super::store::{Lock, create_dirs, is_empty, lock, renew_incarnation};

const COPY_BYTES: usize = 1 << 20;

/// Copies the files that `scan` found in `from` into `dir`, which must be missing or empty. Returns
/// how many bytes were copied.
///
/// # Errors
/// If `dir` has files or a server uses it. If the identity cannot be read, or the system refuses an
/// operation.
pub fn copy(from: &Path, scan: &Scan, dir: &Path) -> Result<u64, StoreError> {
    let io = |error| StoreError::Io { path: dir.to_path_buf(), error };
    refuse_inside(from, dir)?;
    let _lock = lock_empty(dir)?;
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
    let identity = identity.renewed(&path)?;
    identity.write(&RealDisk, &path).map_err(|error| StoreError::Io { path, error })?;
    Ok(bytes)
}

/// Refuses a target within the source, which is only read.
///
/// # Errors
/// If `dir` lies in `from`, or the system refuses to look.
pub(super) fn refuse_inside(from: &Path, dir: &Path) -> Result<(), StoreError> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |error| StoreError::Io { path, error }
    };
    let from = from.canonicalize().map_err(io(from))?;
    let absolute = std::path::absolute(dir).map_err(io(dir))?;
    // The target may be missing, and so may some directories above it.
    let mut above = absolute.ancestors();
    let there = above.find_map(|path| path.canonicalize().ok());
    match there.is_some_and(|there| there.starts_with(&from)) {
        true => {
            let what =
                format!("it lies in {}, which is only read: name another one", from.display());
            Err(StoreError::Foreign { path: dir.to_path_buf(), what })
        }
        false => Ok(()),
    }
}

/// Locks a directory for new files, and makes it if it is missing.
///
/// # Errors
/// If it has files, or a server uses it.
pub(super) fn lock_empty(dir: &Path) -> Result<Lock, StoreError> {
    let io = |error| StoreError::Io { path: dir.to_path_buf(), error };
    if !dir.try_exists().map_err(io)? {
        create_dirs(dir).map_err(io)?;
    }
    if !is_empty(dir).map_err(io)? {
        let what = "the directory is not empty; name a new one, or remove what an interrupted copy \
                    left there";
        return Err(StoreError::Foreign { path: dir.to_path_buf(), what: what.into() });
    }
    lock(dir)
}

/// Gives the log in `dir` a new incarnation. For a directory that another tool has restored in
/// place.
///
/// # Errors
/// If a server uses the directory, or if the identity cannot be read or written.
pub fn renew(dir: &Path) -> Result<(), StoreError> {
    let _lock = lock(dir)?;
    renew_incarnation(dir)
}

/// Copies one file and syncs its bytes. The caller syncs the directory, which holds the file's
/// name.
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
