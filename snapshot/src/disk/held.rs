//! A disk that reaches the files of one directory through its open handle.
//!
//! # Invariants
//! - Files of the directory are reached through its handle, whatever is renamed or put at its path
//!   meanwhile. So they are all in one directory, and nothing is ever written into somebody else's.
//! - To sync the directory needs no new descriptor.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, renameat, stat, statat, unlinkat,
};
use rustix::io::{Errno, retry_on_intr};

use super::regular::open_regular_at;
use super::{Disk, RealDisk, RealFile};

/// The file system of the operating system, which reaches the files of one directory through its
/// open handle.
#[derive(Clone, Debug)]
pub struct HeldDirectory {
    handle: Arc<File>,
    path: Arc<Path>,
}

impl HeldDirectory {
    /// A disk for the directory `path`, which is open as `handle`. Files elsewhere are opened by
    /// their paths.
    #[must_use]
    pub fn new(handle: Arc<File>, path: PathBuf) -> Self {
        Self { handle, path: path.into() }
    }

    fn at<'a>(&'a self, path: &'a Path) -> PathAt<'a> {
        match path.file_name() {
            Some(name) if path.parent() == Some(&*self.path) => {
                PathAt(self.handle.as_fd(), Path::new(name))
            }
            _ => PathAt(CWD, path),
        }
    }
}

impl Disk for HeldDirectory {
    type File = RealFile;

    fn create_new(&self, path: &Path) -> io::Result<RealFile> {
        self.at(path).create_new()
    }

    fn open_read(&self, path: &Path) -> io::Result<RealFile> {
        self.at(path).open_read()
    }

    fn open_append(&self, path: &Path) -> io::Result<RealFile> {
        self.at(path).open_append()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(from).rename(&self.at(to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.at(path).remove()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        if dir == &*self.path { list(&*self.handle) } else { RealDisk.list(dir) }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if dir == &*self.path { self.handle.sync_all() } else { RealDisk.sync_dir(dir) }
    }

    fn is_in_place(&self, dir: &Path) -> io::Result<bool> {
        if dir != &*self.path {
            return Ok(true);
        }
        let held = fstat(&*self.handle)?;
        match retry_on_intr(|| stat(dir)) {
            Ok(found) => Ok((found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// A path relative to an open directory, or to the working directory.
pub(super) struct PathAt<'a>(pub(super) BorrowedFd<'a>, pub(super) &'a Path);

impl PathAt<'_> {
    pub(super) fn create_new(&self) -> io::Result<RealFile> {
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        // Only their owner may read and write the files of a data directory.
        let mode = Mode::RUSR | Mode::WUSR;
        let file = retry_on_intr(|| openat(self.0, self.1, flags, mode))?;
        Ok(RealFile(file.into()))
    }

    pub(super) fn open_read(&self) -> io::Result<RealFile> {
        open_regular_at(self.0, self.1, OFlags::RDONLY, Mode::empty()).map(RealFile)
    }

    pub(super) fn open_append(&self) -> io::Result<RealFile> {
        open_regular_at(self.0, self.1, OFlags::RDWR | OFlags::APPEND, Mode::empty()).map(RealFile)
    }

    pub(super) fn rename(&self, to: &Self) -> io::Result<()> {
        Ok(renameat(self.0, self.1, to.0, to.1)?)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        Ok(unlinkat(self.0, self.1, AtFlags::empty())?)
    }
}

/// The names in an open directory, without directories whose names end with `.tmp`.
pub(super) fn list(dir: impl AsFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        // A name that is not UTF-8 cannot be one that this crate gave.
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." {
            continue;
        }
        // A name with `.tmp` is removed without being opened, so it must not be a directory.
        // Anything else with a name of this crate is opened, and then refused if it is none of its
        // files.
        let is_directory = || match entry.file_type() {
            FileType::Unknown => statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory),
            known => known == FileType::Directory,
        };
        if !name.ends_with(".tmp") || !is_directory() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
