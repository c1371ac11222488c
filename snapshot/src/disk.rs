//! The file system as this crate needs it: the traits, the real disk, and a faulty one.
//!
//! # Invariants
//! - Files only grow at the end or are cut; nothing is overwritten in place. So a torn write is
//!   always at an end.
//! - Bytes are durable after [`DiskFile::sync_data`]. Names (created, renamed, removed) are durable
//!   only after [`Disk::sync_dir`].
//! - No implementation retries a failed sync. The kernel may have dropped the dirty pages; then a
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
use held::Place;
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
    /// The names in a directory, in no order, without directories whose names end with `.tmp`.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory and its parents. A directory that exists is no error.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes created, renamed and removed names of a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Whether the path `dir` still leads to the directory that this disk works in. A disk that
    /// uses paths alone always returns true.
    ///
    /// # Errors
    /// The system cannot answer, so nothing is known.
    fn is_in_place(&self, _dir: &Path) -> io::Result<bool> {
        Ok(true)
    }
}

/// Refuses to begin a file in a directory that cannot be found by its path any more.
pub(crate) fn check_place<D: Disk>(disk: &D, dir: &Path) -> io::Result<()> {
    match disk.is_in_place(dir) {
        Ok(false) => Err(displaced(dir)),
        // If the system cannot answer, that is no reason to refuse: the directory itself is open.
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
    /// Writes all bytes at the end. After an error, any part of them may be in the file.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Writes two parts at the end, in one system call where that is possible.
    fn append_pair(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        self.append(head)?;
        self.append(body)
    }

    /// Asks the disk to write these bytes soon, without waiting, so that the next sync has less to
    /// do. It promises nothing.
    fn begin_sync(&self, _bytes: Range<u64>) {}

    /// Makes all bytes and the length durable.
    fn sync_data(&mut self) -> io::Result<()>;

    /// Length of the file in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Reads some bytes at an offset. Returns 0 only at the end of the file or for an empty buffer.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Cuts the file to `len` bytes. The cut is durable after the next sync.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Identity of the file; `None` if it is not known.
    fn identity(&self) -> Option<FileIdentity> {
        None
    }
}

/// Which file this is: a rename keeps the identity, and a copy has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileIdentity {
    /// Inode number in its file system. Numbers of removed files are used again.
    pub inode: u64,
    /// Birth time of the file in ns since the Unix epoch; 0 where the file system does not keep it.
    /// No copying program can set this time.
    pub born: u64,
}

/// The files of the operating system, reached by their paths.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    type File = RealFile;

    fn create_new(&self, path: &Path) -> io::Result<RealFile> {
        Place(CWD, path).create_new()
    }

    fn open_read(&self, path: &Path) -> io::Result<RealFile> {
        Place(CWD, path).open_read()
    }

    fn open_append(&self, path: &Path) -> io::Result<RealFile> {
        Place(CWD, path).open_append()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Place(CWD, from).rename(&Place(CWD, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Place(CWD, path).remove()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        held::list(File::open(dir)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
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
