//! Opens only regular files.
//!
//! To open a named pipe waits for its other end, and to open a device may have effects. So anything
//! but a regular file is refused before it is opened. The file that was opened is checked again.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::{Errno, retry_on_intr};

use crate::bytes::u64_of;

/// Opens a regular file, and never waits for another process.
///
/// # Errors
/// Kind `InvalidInput` if the path leads to anything but a regular file; other errors are those of
/// the file system.
pub fn open_regular(path: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
    open_regular_at(CWD, path, flags, mode)
}

/// Like [`open_regular`], for a path relative to an open directory.
pub(super) fn open_regular_at(
    dir: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    mode: Mode,
) -> io::Result<File> {
    match retry_on_intr(|| statat(dir, path, AtFlags::empty())) {
        Ok(found) => check(FileType::from_raw_mode(found.st_mode))?,
        Err(Errno::NOENT) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = flags | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(retry_on_intr(|| openat(dir, path, flags, mode))?);
    check(FileType::from_raw_mode(fstat(&file)?.st_mode))?;
    Ok(file)
}

/// Reads all bytes of a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// Those of [`open_regular`]; kind `InvalidData` for a longer file.
pub fn read_regular(path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = open_regular(path, OFlags::RDONLY, Mode::empty())?;
    let mut bytes = Vec::new();
    file.take(u64_of(bytes_max).saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max {
        let what = format!("is longer than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(bytes)
}

fn check(found: FileType) -> io::Result<()> {
    let found = match found {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Symlink | FileType::Unknown => "something else",
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("a file is expected, and this is {found}"),
    ))
}
