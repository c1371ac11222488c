//! The file `node`: who a node is, and what its directory must hold.
//!
//! JSON in a sealed file (see `snapshot/format.md`), replaced as a whole at each start, each new segment
//! of the log, each snapshot and each clean stop.
//!
//! Invariants:
//! - The file names nothing that is not safe on the disk already, so a crash between any two steps
//!   leaves a directory that starts.
//! - A file of a newer version is refused, and never written.
//! - A copy of the file is recognized: it names the file that it was written to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
pub use snapshot::IDENTITY_FILE;
use snapshot::{
    Disk, FileIdentity, Floor, KeepFloor, Known, Lsn, OpenError, ReadError, read_sealed_with,
    write_sealed_with,
};

use super::rights::advice;
use super::store::StoreError;
use crate::limits::SLOTS;

/// Version of the identity that this build writes; it reads all up to this one.
///
/// It stands for the whole directory: whatever a record, an image or a file gets that an older program
/// cannot read takes the next version, so that the older one refuses the directory as a whole.
///
/// - 1: no floor; segments of version 1
/// - 2: with a floor; segments of version 2
pub const IDENTITY_VERSION: u32 = 2;

/// Who the node is; made once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of this file's fields, and of all that is beside it.
    pub version: u32,
    /// Stands in every file of the log and in every image.
    pub node_id: u64,
    /// Seed of the key hash.
    pub hash_seed: u64,
    /// Number of slots.
    pub slots: u16,
    /// Which log it is that clients hold offsets and versions of. It changes when a start may have
    /// lost what was told; 0 in a directory that is older than this number.
    #[serde(default)]
    pub incarnation: u64,
    /// What the run before might lose of what it told.
    #[serde(default)]
    pub at_risk: AtRisk,
    /// What log and snapshots must hold.
    #[serde(default)]
    pub floor: KeptFloor,
    /// The file that this was written to, where the file system tells.
    #[serde(default)]
    pub file: Option<KeptFile>,
}

/// What a run may lose of what it told to clients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtRisk {
    /// Nothing: all of it was durable.
    #[default]
    Nothing,
    /// Something, if it does not stop cleanly.
    Unclean,
    /// Something, however it stops.
    Always,
}

/// A [`Floor`] in the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFloor {
    /// The last record that was durable for sure.
    pub durable: u64,
    /// First LSN of the newest segment of the log; 0 without a log.
    pub segment: u64,
    /// Start LSN of the newest snapshot; 0 without one.
    pub image: u64,
}

impl From<Floor> for KeptFloor {
    fn from(floor: Floor) -> Self {
        Self { durable: floor.durable.0, segment: floor.segment.0, image: floor.image.0 }
    }
}

impl From<KeptFloor> for Floor {
    fn from(kept: KeptFloor) -> Self {
        Self { durable: Lsn(kept.durable), segment: Lsn(kept.segment), image: Lsn(kept.image) }
    }
}

/// A [`FileIdentity`] in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptFile {
    /// Its number in its file system.
    pub inode: u64,
    /// When it was made, in ns since the Unix epoch; 0 where that is not known.
    pub born: u64,
}

impl KeptFile {
    /// Whether another file has what was written to this one.
    fn is_other_than(self, found: FileIdentity) -> bool {
        let born_differs = self.born != 0 && found.born != 0 && self.born != found.born;
        self.inode != found.inode || born_differs
    }
}

impl Identity {
    /// A new node's.
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
            floor: KeptFloor::default(),
            file: None,
        })
    }

    /// What log and images beside it must be.
    pub fn known(&self) -> Known {
        Known { node_id: Some(self.node_id), floor: self.floor.into() }
    }

    /// Reads the file, and whether it is a copy: put back from a backup, say.
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
        // The version first: what else is in a newer file nobody knows.
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

    /// Replaces the file.
    ///
    /// # Errors
    /// Of the file system.
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

/// The file of a run: several threads raise its floor.
#[derive(Debug)]
pub struct IdentityFile<D: Disk> {
    disk: D,
    path: PathBuf,
    /// As it is on the disk, or was before a write that failed.
    kept: Mutex<Identity>,
}

impl<D: Disk> IdentityFile<D> {
    /// The file at `path`, which holds `identity`.
    pub fn new(disk: D, path: PathBuf, identity: Identity) -> Self {
        Self { disk, path, kept: Mutex::new(identity) }
    }
}

impl<D: Disk> KeepFloor for IdentityFile<D> {
    fn raise(&self, to: Floor) -> io::Result<()> {
        // Nothing that can panic runs under this lock.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let floor = Floor::from(kept.floor).raised(to).into();
        if kept.floor != floor {
            let raised = Identity { floor, ..kept.clone() };
            raised.write(&self.disk, &self.path)?;
            *kept = raised;
        }
        Ok(())
    }
}

/// A random number for an identity in `path`; JSON clients read it exactly, which they would not above 2^53.
///
/// # Errors
/// If the operating system has none.
pub fn draw(path: &Path) -> Result<u64, StoreError> {
    let random = getrandom::u64().map_err(|error| StoreError::Io {
        path: path.to_path_buf(),
        error: io::Error::other(error),
    })?;
    Ok((random & crate::limits::INTEGER_MAX).max(1))
}
