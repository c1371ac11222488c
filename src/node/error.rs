//! Why a node did not start or did not stop cleanly, with advice for the operator.

use std::io;
use std::path::PathBuf;

use snapshot::{OpenError, ReadError};

use super::rights::advice;

/// Advice for a directory that a newer program wrote.
const NEWER_ADVICE: &str = "Nothing was changed, and no flag starts this version on it. Start the \
    version that wrote it; to go back to this one, restore a backup of before the upgrade, or \
    export there and import here";

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has locked the directory.
    #[error(
        "{0}: the directory is used by another chatshard; stop that one first, or name another directory"
    )]
    Locked(PathBuf),
    /// The directory is empty. Perhaps a volume is not mounted.
    #[error(
        "{0}: the directory is there and empty. If this is a new store, start once with --init; \
         if data was here, look whether the volume is mounted"
    )]
    Empty(PathBuf),
    /// A file is not what this build expects there, or the directory has other files.
    #[error("{path}: {what}")]
    Foreign {
        /// The path of the file or directory.
        path: PathBuf,
        /// What was found instead.
        what: String,
    },
    /// A file is damaged or cannot be read, or its bytes cannot be applied.
    #[error("{error}{advice}")]
    NotOpened {
        /// The error, with its file and offset.
        error: OpenError,
        /// Advice for the operator. For damage it says what accepting it costs.
        advice: String,
    },
    /// The replay of the log differs from a digest in it.
    #[error(
        "{path}: {what}. The run that wrote the digest or this one computed wrong: a bug, or bad \
         memory\nNothing was changed. Start again, on another machine if it stays; if the version \
         of the program has changed since, start the one before. --allow-damage accepts what this \
         run computes"
    )]
    Differs {
        /// The data directory.
        path: PathBuf,
        /// Which slot differs, and where.
        what: String,
    },
    /// The identity file is damaged.
    #[error(
        "damaged: {0}\nNothing was changed. No flag goes on without this file; restore a backup"
    )]
    Identity(ReadError),
    /// A newer program wrote a file of the directory.
    #[error("{what}\n{advice}", advice = NEWER_ADVICE)]
    Newer {
        /// The file, and its version.
        what: String,
    },
    /// The operating system refused an operation.
    #[error("{path}: {error}{}", advice(path, error))]
    Io {
        /// The path of the file or directory.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
}

/// Why a node did not start, or did not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory cannot be used.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The operating system refused an operation.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The log could not be closed, so the next start will check it.
    #[error("the log could not be closed in its place; the next start checks what it finds there")]
    Unclosed,
    /// The stop did not wait for a disk that refused writes, and dropped this many records. None of
    /// them was acknowledged.
    #[error(
        "{0} records of writes that were not acknowledged are dropped: the log could not be \
         written when the stop came"
    )]
    Dropped(u64),
    /// There is no log, and the last snapshot failed. So the changes since the snapshot before are
    /// lost.
    #[error("the last snapshot failed, and what came after the one before is lost: {0}")]
    Unsaved(String),
    /// The thread with this name panicked.
    #[error("the thread {0} ended by a panic")]
    Panicked(&'static str),
    /// The journal cannot be used.
    #[error("{0}")]
    Journal(String),
}
