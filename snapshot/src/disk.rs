//! The file system as this crate needs it: traits, the disk of the operating system, and a faulty
//! one.
//!
//! # Invariants
//! - A file only grows at its end, or is cut; no byte is overwritten in place. So a torn write is
//!   always at the end.
//! - Bytes are durable after [`DiskFile::sync_data`]. Names (created, renamed, removed) are durable
//!   only after [`Disk::sync_dir`].
//! - A failed sync is never tried again. The kernel may have dropped the unsynced pages; then a
//!   second sync succeeds without having written them.

mod faulty;
mod held;
mod regular;
mod system;

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

pub use faulty::FaultyDisk;
pub use held::HeldDirectory;
use held::PathAt;
pub use regular::{open_regular, read_regular};
use rustix::fs::CWD;

/// A file system: the real one, or one that fails on request.
pub trait Disk: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// An open file of this file system.
    type File: DiskFile;

    /// Creates an empty file to append to. Fails with kind `AlreadyExists` if the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens an existing file to read.
    fn open_read(&self, path: &Path) -> io::Result<Self::File>;
    /// Opens an existing file to append to and to read.
    fn open_append(&self, path: &Path) -> io::Result<Self::File>;
    /// Renames a file. A file that has the new name already is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes the name of a file; that is durable only after [`sync_dir`](Self::sync_dir).
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names in a directory, in no order. Directories whose names end with `.tmp` are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory and its parents. A directory that exists is no error.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory that is empty. A directory that is missing is no error.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable, after files were created, renamed or removed.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether the path `dir` still leads to the directory that this disk works in. A disk that
    /// opens files by their paths always returns true.
    ///
    /// # Errors
    /// If the system cannot answer. Then nothing is known about the path.
    fn is_in_place(&self, _dir: &Path) -> io::Result<bool> {
        Ok(true)
    }
}

/// Refuses to create a file in a directory to which its path no longer leads: the next start would
/// not find it.
pub(crate) fn check_place<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    match disk.is_in_place(dir) {
        Ok(false) => Err(displaced(dir)),
        // If the system cannot answer, the file is created: the directory itself is open.
        Ok(true) | Err(_) => Ok(()),
    }
}

pub(crate) fn displaced(dir: &Path) -> io::Error {
    let what = "this path leads to another directory than the one in use, or to none: the directory was renamed, \
                removed or replaced";
    io::Error::new(io::ErrorKind::NotFound, format!("{}: {what}", dir.display()))
}

/// An open file of a [`Disk`].
#[allow(clippy::len_without_is_empty)] // an empty file means nothing special here
pub trait DiskFile: std::fmt::Debug + Send {
    /// Writes all bytes at the end of the file. After an error, any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Writes two parts at the end of the file, with one system call if the disk can.
    fn append_pair(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.append(head)?;
        self.append(body)
    }

    /// Asks the disk to write these bytes soon, without waiting. Then the next sync has less to do.
    /// It promises nothing.
    fn begin_sync(&self, _bytes: Range<u64>) {}

    /// Makes all bytes and the length of the file durable.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Length of the file in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads some bytes of the file from `offset` on. Returns 0 only at the end of the file, or for
    /// an empty buffer.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file to `len` bytes. The cut is durable after the next sync.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Identity of the file; `None` if the disk does not know it.
    fn identity(&self) -> Option<FileIdentity> {
        None
    }
}

/// Identifies a file: it keeps its identity when it is renamed, and a copy has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    /// Inode number in its file system. The number of a removed file may be used again.
    pub inode: u64,
    /// When the file was created, in ns since the Unix epoch; 0 if the file system does not keep
    /// it. A program that copies files cannot set this time.
    pub born: u64,
}

/// The file system of the operating system, whose files are opened by their paths.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    type File = RealFile;

    fn create_new(&self, path: &Path) -> io::Result<RealFile> {
        PathAt(CWD, path).create_new()
    }

    fn open_read(&self, path: &Path) -> io::Result<RealFile> {
        PathAt(CWD, path).open_read()
    }

    fn open_append(&self, path: &Path) -> io::Result<RealFile> {
        PathAt(CWD, path).open_append()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        PathAt(CWD, from).rename(&PathAt(CWD, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        PathAt(CWD, path).remove()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        held::list(File::open(dir)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        match std::fs::remove_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// A file of [`RealDisk`].
#[derive(Debug)]
pub struct RealFile(File);

impl DiskFile for RealFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn append_pair(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let written = loop {
            match self.0.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        match head.get(written..) {
            Some(rest) => {
                self.0.write_all(rest)?;
                self.0.write_all(body)
            }
            None => {
                let in_body = written.saturating_sub(head.len());
                self.0.write_all(body.get(in_body..).unwrap_or_default())
            }
        }
    }

    fn begin_sync(&self, bytes: Range<u64>) {
        system::begin_writing(&self.0, bytes);
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn identity(&self) -> Option<FileIdentity> {
        let metadata = self.0.metadata().ok()?;
        let born = metadata.created().ok().and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0);
        Some(FileIdentity { inode: metadata.ino(), born })
    }
}
