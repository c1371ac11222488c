//! Errors that several modules share.
//!
//! # Invariants
//! - An error about damage names file, byte offset and what is wrong, so that an operator can look at that very byte.
//! - An I/O error names the file.

use std::io;
use std::path::{Path, PathBuf};

use crate::Newer;

/// One place on the disk that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: at byte {offset}: {what}", path.display())]
pub struct Damage {
    /// The file; for a missing file the directory or the file after the gap.
    pub path: PathBuf,
    /// Bytes from the start of the file.
    pub offset: u64,
    /// What is wrong there, in words.
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
    /// The file system said no; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The bytes are not what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
    /// A newer program wrote them.
    #[error(transparent)]
    Newer(#[from] Newer),
}

/// Why [`open`](crate::open) refused. Whatever the callbacks were given until then must be thrown away.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system said no; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Newer programs wrote these files; never empty. Nothing on the disk was changed, whatever was allowed.
    #[error("{}", list(.0))]
    Newer(Vec<Newer>),
    /// Something is damaged or missing; never empty. Nothing on the disk was changed.
    #[error("damaged: {}", list(.0))]
    Damaged(Vec<Damage>),
    /// The caller's own callback refused a block or a record.
    #[error("{}: at byte {offset}: {message}", path.display())]
    Callback {
        /// The file that holds the block or record.
        path: PathBuf,
        /// Byte offset of its frame.
        offset: u64,
        /// What the callback said.
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
