//! Puts files that were copied from another member in the place of those of the data directory.
//!
//! The identity file says how far this has come. It is replaced as a whole, so a crash at any point
//! leaves the old data, or a directory that the next start puts in order:
//!
//! ```text
//!   no step      joining/ is worthless. The next start removes it.
//!      |  joining/ is whole and synced
//!   remove       The files in joining/ count. Older snapshots and segments are removed.
//!      |
//!   move         The files of joining/ are moved up.
//!      |
//!   no step
//! ```
//!
//! # Invariants
//! - Nothing old is removed before everything new is whole and synced.
//! - Each step can be done again.

use std::io;
use std::path::{Path, PathBuf};

use snapshot::{Disk, log_and_snapshots};
use tracing::info;

use super::error::StoreError;
use super::identity::{IDENTITY_FILE, Identity, SwapStep};

/// The directory for files that come from another member.
const JOINING: &str = "joining";

/// The directory for files that come from another member, within the data directory `dir`.
pub(super) fn joining(dir: &Path) -> PathBuf {
    dir.join(JOINING)
}

/// Reads the identity of a directory, after what an earlier run began is done. Returns with it
/// whether its file is a copy.
///
/// # Errors
/// Those of [`Identity::read`]. [`StoreError::Io`] if a file cannot be moved or removed: a later
/// call goes on.
pub(super) fn settle<D: Disk>(disk: &D, dir: &Path) -> Result<(Identity, bool), StoreError> {
    let (mut identity, is_copy) = Identity::read(disk, &dir.join(IDENTITY_FILE))?;
    let io = |error| StoreError::Io { path: dir.to_path_buf(), error };
    if identity.swap.is_some() {
        // A process that was killed may have left the step without syncing its name. What follows
        // relies on it.
        disk.sync_dir(dir).map_err(io)?;
    }
    if identity.swap == Some(SwapStep::Remove) {
        let new = copied(disk, dir).map_err(io)?;
        if new.is_empty() {
            return Err(missing(dir));
        }
        remove_old(disk, dir).map_err(io)?;
        identity = written(disk, dir, Identity { swap: Some(SwapStep::Move), ..identity })?;
    }
    if identity.swap == Some(SwapStep::Move) {
        move_up(disk, dir).map_err(io)?;
        identity = written(disk, dir, Identity { swap: None, ..identity })?;
        info!(directory = %dir.display(), "the copied data is in its place");
    }
    if identity.member.is_some() {
        clear(disk, dir).map_err(io)?;
    }
    Ok((identity, is_copy))
}

fn missing(dir: &Path) -> StoreError {
    let what = "the files that were copied from another member are missing: wipe the data \
                directory, and the node copies them again";
    StoreError::Foreign { path: joining(dir), what: what.to_owned() }
}

fn written<D: Disk>(disk: &D, dir: &Path, identity: Identity) -> Result<Identity, StoreError> {
    let path = dir.join(IDENTITY_FILE);
    match identity.write(disk, &path) {
        Ok(()) => Ok(identity),
        Err(error) => Err(StoreError::Io { path, error }),
    }
}

/// The files that were copied. Without the directory there are none.
fn copied<D: Disk>(disk: &D, dir: &Path) -> io::Result<Vec<PathBuf>> {
    match log_and_snapshots(disk, &joining(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        files => files,
    }
}

fn remove_old<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    for path in log_and_snapshots(disk, dir)? {
        disk.remove(&path)?;
    }
    disk.sync_dir(dir)
}

fn move_up<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    let files = copied(disk, dir)?;
    for path in &files {
        if let Some(name) = path.file_name() {
            disk.rename(path, &dir.join(name))?;
        }
    }
    disk.sync_dir(dir)?;
    if files.is_empty() { Ok(()) } else { disk.sync_dir(&joining(dir)) }
}

/// Removes what an earlier attempt left.
pub(super) fn clear<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    let at = joining(dir);
    let names = match disk.list(&at) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names?,
    };
    for name in names {
        disk.remove(&at.join(name))?;
    }
    disk.remove_dir(&at)
}
