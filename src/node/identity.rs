//! The identity file `node`: who a node is, and what its directory must hold at least.
//!
//! It is JSON in a sealed file (see `snapshot/format.md`). It is replaced as a whole at each start,
//! each new segment of the log, each snapshot and each clean stop.
//!
//! Invariants:
//! - The file names only what is durable already, so a crash between any two steps leaves a
//!   directory that starts.
//! - A file of a newer version is rejected, and never written.
//! - A copy of the file is recognized: the file names the inode that it was written to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
pub use snapshot::IDENTITY_FILE;
use snapshot::{
    Baseline, Disk, FileIdentity, KeepBaseline, Known, Lsn, OpenError, ReadError, read_sealed_with,
    write_sealed_with,
};

use super::error::StoreError;
use super::rights::advice;
use crate::limits::SLOTS;

/// Version of the identity that this build writes; it reads all versions up to this one.
///
/// It covers the whole directory: if a record, a snapshot or a file gets something that an older
/// program cannot read, this number rises. So the older program rejects the directory as a whole.
///
/// - 1: no baseline; segments of version 1
/// - 2: with a baseline; segments of version 2
pub const IDENTITY_VERSION: u32 = 2;

/// Who the node is. It is drawn once, and its baseline rises with each run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of this file's fields, and of all other files in the directory.
    pub version: u32,
    /// A random id; it is also in the header of every segment and every snapshot.
    pub node_id: u64,
    /// Seed of the key hash; it decides the slot of each key.
    pub hash_seed: u64,
    /// Number of slots; a build with another number rejects the directory.
    pub slots: u16,
    /// The incarnation of the log. It changes when a start may have lost changes that clients know.
    /// 0 in a directory that is older than this field.
    #[serde(default)]
    pub incarnation: u64,
    /// Which acknowledged changes the run before might lose.
    #[serde(default)]
    pub at_risk: AtRisk,
    /// The baseline: what log and snapshots must hold.
    #[serde(default, rename = "floor")]
    pub baseline: StoredBaseline,
    /// The file that this was written to; `None` if the file system does not report it.
    #[serde(default)]
    pub file: Option<KeptFile>,
}

/// Which changes a run may lose after it replied to clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtRisk {
    /// None: all of them were durable.
    #[default]
    Nothing,
    /// The newest ones, if the run does not stop cleanly.
    Unclean,
    /// The newest ones, however the run stops.
    Always,
}

/// A baseline ([`Baseline`]) as the file stores it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBaseline {
    /// LSN of the last record that is durable for certain.
    pub durable: u64,
    /// First LSN of the newest segment of the log; 0 without a log.
    pub segment: u64,
    /// Start LSN of the newest snapshot; 0 without one.
    #[serde(rename = "image")]
    pub snapshot: u64,
}

impl From<Baseline> for StoredBaseline {
    fn from(baseline: Baseline) -> Self {
        Self {
            durable: baseline.durable.0,
            segment: baseline.segment.0,
            snapshot: baseline.snapshot.0,
        }
    }
}

impl From<StoredBaseline> for Baseline {
    fn from(kept: StoredBaseline) -> Self {
        Self {
            durable: Lsn(kept.durable),
            segment: Lsn(kept.segment),
            snapshot: Lsn(kept.snapshot),
        }
    }
}

/// A [`FileIdentity`] as the file stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    /// Inode number in its file system.
    pub inode: u64,
    /// Creation time, in ns since the Unix epoch; 0 if it is not known.
    pub born: u64,
}

impl KeptFile {
    /// Whether the content was found in another file than the one it was written to.
    fn is_other_than(self, found: FileIdentity) -> bool {
        let born_differs = self.born != 0 && found.born != 0 && self.born != found.born;
        self.inode != found.inode || born_differs
    }
}

impl Identity {
    /// Draws the identity of a new node; `path` is only for error messages.
    ///
    /// # Errors
    /// If the operating system has no random numbers.
    pub fn draw(path: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            version: IDENTITY_VERSION,
            node_id: draw(path)?,
            hash_seed: draw(path)?,
            slots: SLOTS,
            incarnation: draw(path)?,
            at_risk: AtRisk::Nothing,
            baseline: StoredBaseline::default(),
            file: None,
        })
    }

    /// What the files of log and snapshots must match.
    pub fn known(&self) -> Known {
        Known { node_id: Some(self.node_id), baseline: self.baseline.into() }
    }

    /// Reads the file. Returns the identity, and whether it is a copy, for example from a backup.
    ///
    /// # Errors
    /// If it is missing, damaged, or of a newer version.
    pub fn read<D: Disk>(disk: &D, path: &Path) -> Result<(Self, bool), StoreError> {
        let (bytes, file) = read_sealed_with(disk, path).map_err(|error| match error {
            ReadError::Newer(newer) => StoreError::Newer { what: newer.to_string() },
            // A file that cannot be opened now is not damaged.
            ReadError::Io(error) => {
                let advice = advice(path, &error);
                StoreError::NotOpened { error: OpenError::Io(error), advice }
            }
            other => StoreError::Identity(other),
        })?;
        let foreign = |what: String| StoreError::Foreign { path: path.to_path_buf(), what };
        // The version is read first: the other fields of a newer file may have any form.
        let Versioned { version } =
            serde_json::from_slice(&bytes).map_err(|error| foreign(error.to_string()))?;
        if version > IDENTITY_VERSION {
            let what = format!(
                "{}: version {version} was written by a newer chatshard; this one knows up to \
                 version {IDENTITY_VERSION}",
                path.display()
            );
            return Err(StoreError::Newer { what });
        }
        let identity: Self =
            serde_json::from_slice(&bytes).map_err(|error| foreign(error.to_string()))?;
        if version == 0 || identity.slots != SLOTS {
            let slots = identity.slots;
            return Err(foreign(format!("version {version} with {slots} slots, not {SLOTS}")));
        }
        let is_copy = match (identity.file, file) {
            (Some(kept), Some(found)) => kept.is_other_than(found),
            _ => false,
        };
        Ok((identity, is_copy))
    }

    /// Replaces the file atomically.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write<D: Disk>(&self, disk: &D, path: &Path) -> io::Result<()> {
        write_sealed_with(disk, path, |file| {
            let file = file.map(|file| KeptFile { inode: file.inode, born: file.born });
            serde_json::to_vec(&Self { file, ..self.clone() }).map_err(io::Error::other)
        })
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The identity file of a run; several threads raise its baseline.
#[derive(Debug)]
pub struct IdentityFile<D: Disk> {
    disk: D,
    path: PathBuf,
    /// The content on the disk, or before a write that failed.
    kept: Mutex<Identity>,
}

impl<D: Disk> IdentityFile<D> {
    /// The file at `path`, which holds `identity`.
    pub fn new(disk: D, path: PathBuf, identity: Identity) -> Self {
        Self { disk, path, kept: Mutex::new(identity) }
    }
}

impl<D: Disk> KeepBaseline for IdentityFile<D> {
    fn raise(&self, to: Baseline) -> io::Result<()> {
        // No code that can panic runs under this lock.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let baseline = Baseline::from(kept.baseline).raised(to).into();
        if kept.baseline != baseline {
            let raised = Identity { baseline, ..kept.clone() };
            raised.write(&self.disk, &self.path)?;
            *kept = raised;
        }
        Ok(())
    }
}

/// A random number for an identity in `path`. It is from 1 to 2^53 - 1, so that JSON clients read
/// it exactly.
///
/// # Errors
/// If the operating system has no random numbers.
pub fn draw(path: &Path) -> Result<u64, StoreError> {
    let random = getrandom::u64().map_err(|error| StoreError::Io {
        path: path.to_path_buf(),
        error: io::Error::other(error),
    })?;
    Ok((random & crate::limits::INTEGER_MAX).max(1))
}
