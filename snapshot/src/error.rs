//! Errors that several modules share.
//!
//! # Invariants
//! - An error about damage names file, byte offset and cause, so that an operator can look at the
//!   byte itself.
//! - An I/O error names the file.

use std::io;
use std::path::{Path, PathBuf};

use crate::Newer;

/// A place on the disk where the bytes are not what was written, or where a file is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: at byte {offset}: {what}", path.display())]
pub struct Damage {
    /// The damaged file. For a missing file, this is its own path, the directory, or the file
    /// behind the gap.
    pub path: PathBuf,
    /// Where the damage begins, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong, in words for the operator.
    pub what: String,
}

impl Damage {
    pub(crate) fn new(path: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), offset, what: what.into() }
    }
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system returned an error; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A newer program wrote the file.
    #[error(transparent)]
    Newer(#[from] Newer),
}

/// Why [`open`](crate::open) failed. The caller must discard everything that its callbacks got.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system returned an error; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Newer programs wrote these files; the list is never empty. Nothing on the disk was changed,
    /// whatever the options allow.
    #[error("{}", list(.0))]
    Newer(Vec<Newer>),
    /// These places are damaged, or files are missing; the list is never empty. Nothing on the disk
    /// was changed.
    #[error("damaged: {}", list(.0))]
    Damaged(Vec<Damage>),
    /// A callback returned an error for a block or a record.
    #[error("{}: at byte {offset}: {message}", path.display())]
    Callback {
        /// The file that holds the block or record.
        path: PathBuf,
        /// Byte offset of the frame around the block or record.
        offset: u64,
        /// What the callback returned as its error.
        message: String,
    },
}

impl From<ReadError> for OpenError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => OpenError::Io(error),
            ReadError::Damaged(damage) => OpenError::Damaged(vec![damage]),
            ReadError::Newer(newer) => OpenError::Newer(vec![newer]),
        }
    }
}

fn list(problems: &[impl std::fmt::Display]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// Adds the path to an I/O error and keeps its kind.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.to_path_buf();
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
