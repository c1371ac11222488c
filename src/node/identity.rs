//! The identity file `node`: who a node is, and what its data directory must hold at least.
//!
//! The file is JSON in a sealed file (see `snapshot/format.md`). It is replaced as a whole: at each
//! start, segment of the log, snapshot and clean stop.
//!
//! Invariants:
//! - The file names only records and files that are already durable. So the directory still starts
//!   after a crash between any two steps.
//! - A file of a newer version is rejected and never overwritten.
//! - The file names its own inode. So a copy of it is recognized, because its inode is another one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
pub use snapshot::IDENTITY_FILE;
use snapshot::{
    Baseline, Disk, FileIdentity, KeepBaseline, Known, Lsn, OpenError, ReadError, read_sealed_with,
    write_sealed_with,
};

use super::error::StoreError;
use super::rights::advice;
use crate::journal::reach::JournalReach;
use crate::limits::SLOTS;

/// Version of the identity file that this build writes. It reads this version and all earlier ones.
///
/// The version stands for the whole directory. It rises when a record, a snapshot or a file gets
/// something that older programs cannot read. So an older program rejects the whole directory.
///
/// - 1: no baseline; segments of version 1
/// - 2: with a baseline; segments of version 2
pub const IDENTITY_VERSION: u32 = 2;

/// Who the node is. Its ids are drawn once, and its baseline rises during each run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of the fields of this file, and of all other files in the directory.
    pub version: u32,
    /// A random id. The headers of all segments and snapshots have it too.
    pub node_id: u64,
    /// Seed of the hash that gives each key its slot.
    pub hash_seed: u64,
    /// Number of slots. A build with another number rejects the directory.
    pub slots: u16,
    /// The incarnation of the log. A start that may have lost changes that clients know draws a new
    /// one. 0 in a directory that an older build made.
    #[serde(default)]
    pub incarnation: u64,
    /// Which acknowledged changes the run that wrote this file might lose.
    #[serde(default)]
    pub at_risk: AtRisk,
    /// What the log and the snapshots must hold at least.
    #[serde(default, rename = "floor")]
    pub baseline: StoredBaseline,
    /// A random number of this member of a journal. `None` if the node has no journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<u64>,
    /// What a member knows of its journal; nothing if the node has none.
    #[serde(default, skip_serializing_if = "KnownJournal::is_nothing")]
    pub journal: KnownJournal,
    /// How far a copy of another member's data is in its place. `None`: nothing is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<SwapStep>,
    /// The file that this identity was written to. `None` if the file system does not report it.
    #[serde(default)]
    pub file: Option<KeptFile>,
}

/// What a member knows of its journal: by what it accepted, and by what other members said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownJournal {
    /// Seq of the newest entry that any member is known to have accepted.
    pub seq: u64,
    /// Number of the newest claim.
    pub epoch: u64,
    /// LSN of the newest record.
    pub lsn: u64,
    /// The member that said so, if it is not what this one accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub said_by: Option<String>,
    /// The other members.
    pub members: Vec<StoredMember>,
}

/// A member, and the address of its TCP door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMember {
    /// Its name among the members.
    pub member: String,
    /// The address of its TCP door.
    pub address: String,
    /// The address of its admin listener. Empty if it has none, or if an older build wrote the file.
    #[serde(default)]
    pub admin: String,
}

impl KnownJournal {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// How far the journal has come.
    pub(super) fn reach(&self) -> JournalReach {
        JournalReach { seq: self.seq, epoch: self.epoch, lsn: Lsn(self.lsn) }
    }
}

/// What is left to do to put copied data in its place. [`super::swap`] has the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SwapStep {
    /// The snapshots and segments from before the copy are removed.
    Remove,
    /// Those of the copy are moved up.
    Move,
}

/// Which changes a run may lose although it has acknowledged them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtRisk {
    /// No change, because each is durable before its reply.
    #[default]
    Nothing,
    /// The newest ones, if the run does not stop cleanly.
    Unclean,
    /// The newest ones, whether the run stops cleanly or not.
    Always,
}

/// A [`Baseline`] as the file stores it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBaseline {
    /// LSN of the newest record that is surely durable.
    pub durable: u64,
    /// First LSN of the newest segment of the log. 0 without a log.
    pub segment: u64,
    /// Start LSN of the newest snapshot. 0 without a snapshot.
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
    /// Number of the inode in its file system.
    pub inode: u64,
    /// When the file was created, in ns since the Unix epoch. 0 if unknown.
    pub born: u64,
}

impl KeptFile {
    /// Whether `found`, the file that was read, is another file than the one that was written.
    fn is_other_than(self, found: FileIdentity) -> bool {
        let born_differs = self.born != 0 && found.born != 0 && self.born != found.born;
        self.inode != found.inode || born_differs
    }
}

impl Identity {
    /// Draws the identity of a new node. Only error messages use `path`.
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
            member: None,
            journal: KnownJournal::default(),
            swap: None,
            file: None,
        })
    }

    /// The identity of a copy that is a store of its own: of another incarnation, and of no journal.
    /// Only error messages use `path`.
    ///
    /// # Errors
    /// If the operating system has no random numbers.
    pub fn renewed(self, path: &Path) -> Result<Self, StoreError> {
        let journal = KnownJournal::default();
        Ok(Self { incarnation: draw(path)?, member: None, journal, ..self })
    }

    /// Refuses to run the member of a journal alone: its records would not be in the journal.
    ///
    /// # Errors
    /// [`StoreError::Foreign`], with advice.
    pub fn check_alone(&self, dir: &Path) -> Result<(), StoreError> {
        if self.member.is_none() {
            return Ok(());
        }
        let (journal, shown) = (self.node_id, dir.display());
        let what = format!(
            "it belongs to a member of the journal {journal:x}: start it with --journal. To leave \
             the journal, make a store of its own: chatshard restore NEW_DIR --from {shown}"
        );
        Err(StoreError::Foreign { path: dir.to_path_buf(), what })
    }

    /// What the headers of segments and snapshots must match.
    pub fn known(&self) -> Known {
        Known { node_id: Some(self.node_id), baseline: self.baseline.into() }
    }

    /// Reads the file. Returns the identity, and whether the file is a copy, for example from a
    /// backup.
    ///
    /// # Errors
    /// If the file is missing, damaged, or of a newer version.
    pub fn read<D: Disk>(disk: &D, path: &Path) -> Result<(Self, bool), StoreError> {
        let (bytes, file) = read_sealed_with(disk, path).map_err(|error| match error {
            ReadError::Newer(newer) => StoreError::Newer { what: newer.to_string() },
            // A file that cannot be opened now may still be whole.
            ReadError::Io(error) => {
                let advice = advice(path, &error);
                StoreError::NotOpened { error: OpenError::Io(error), advice }
            }
            other => StoreError::Identity(other),
        })?;
        let foreign = |what: String| StoreError::Foreign { path: path.to_path_buf(), what };
        // Reads the version first, because a newer file may have any other fields.
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
    /// The errors of the file system.
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

/// The identity file of the present run. Several threads raise its baseline.
#[derive(Debug)]
pub struct IdentityFile<D: Disk> {
    disk: D,
    path: PathBuf,
    /// What the file holds. Keeps the old identity if a write fails.
    kept: Mutex<Identity>,
}

impl<D: Disk> IdentityFile<D> {
    /// The file at `path`, which holds `identity`.
    pub fn new(disk: D, path: PathBuf, identity: Identity) -> Self {
        Self { disk, path, kept: Mutex::new(identity) }
    }

    /// What the file says of the journal.
    pub(super) fn known_journal(&self) -> KnownJournal {
        self.lock().journal.clone()
    }

    /// Replaces what the file says of the journal.
    ///
    /// # Errors
    /// The errors of the file system.
    pub(super) fn keep_journal(&self, journal: KnownJournal) -> io::Result<()> {
        let mut kept = self.lock();
        let new = Identity { journal, ..kept.clone() };
        new.write(&self.disk, &self.path)?;
        *kept = new;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Identity> {
        // No code that can panic runs under this lock, so a poisoned lock is not possible.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Disk> KeepBaseline for IdentityFile<D> {
    fn raise(&self, to: Baseline) -> io::Result<()> {
        let mut kept = self.lock();
        let baseline = Baseline::from(kept.baseline).raised(to).into();
        if kept.baseline != baseline {
            let raised = Identity { baseline, ..kept.clone() };
            raised.write(&self.disk, &self.path)?;
            *kept = raised;
        }
        Ok(())
    }
}

/// A random number from 1 to 2^53 - 1, which JSON clients can read exactly. Only error messages use
/// `path`.
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
