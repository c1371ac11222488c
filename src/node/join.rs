//! Copies the data of another member into a directory of its own, verifies it, and swaps it in.
//!
//! The caller brings the bytes: those of a snapshot first, and then those of the log behind it.
//!
//! # Invariants
//! - No byte counts before it was verified: a snapshot by its checksums, and the log by the
//!   checksums of its stream, its LSNs and the id of the journal.
//! - What comes from the other member decides no name of a file.
//! - Until [`JoiningLog::finish`] the data directory keeps what it had. A crash leaves the old data
//!   or the new ([`super::swap`]).

use std::io;
use std::path::{Path, PathBuf};

use snapshot::{
    AppendError, Batch, Disk, DiskFile, LogWriter, Lsn, ReadError, SnapshotInfo, SnapshotReader,
    snapshot_path,
};

use super::error::StoreError;
use super::identity::{AtRisk, IDENTITY_FILE, IDENTITY_VERSION, Identity, SwapStep};
use super::swap;
use crate::journal::copied_log::CopiedLogReader;

/// After this many new bytes of a snapshot the disk is asked to begin writing.
const BEGIN_SYNC_BYTES: u64 = 4 << 20;

/// Why data could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The disk of this node refused something.
    #[error("the disk of this node: {0}")]
    Disk(#[from] io::Error),
    /// What came is not what a member of this journal sends.
    #[error("what came is not right: {0}")]
    Wrong(String),
    /// The copy is whole, and could not be put in its place.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl From<AppendError> for JoinError {
    fn from(error: AppendError) -> Self {
        Self::Disk(io::Error::other(error))
    }
}

/// The empty directory of a copy that begins.
#[derive(Debug)]
pub struct Joining<D: Disk> {
    disk: D,
    dir: PathBuf,
    identity: Identity,
    segment_bytes_max: u64,
}

/// A snapshot that is being copied.
#[derive(Debug)]
pub struct JoiningSnapshot<D: Disk> {
    disk: D,
    path: PathBuf,
    file: D::File,
    bytes: u64,
    sync_begun: u64,
    journal: u64,
}

/// A log that is being copied.
#[derive(Debug)]
pub struct JoiningLog<D: Disk> {
    joining: Joining<D>,
    snapshot: Option<SnapshotInfo>,
    log: LogWriter<D>,
}

impl<D: Disk> Joining<D> {
    /// Begins a copy within the data directory `dir` of a member, which the caller has locked.
    ///
    /// # Errors
    /// [`JoinError::Disk`]. [`JoinError::Store`] if the directory is not that of a member.
    pub fn begin(disk: D, dir: &Path, segment_bytes_max: u64) -> Result<Self, JoinError> {
        let (identity, _) = swap::settle(&disk, dir)?;
        if identity.member.is_none() {
            let what = "it does not belong to a member of a journal".to_owned();
            return Err(StoreError::Foreign { path: dir.to_path_buf(), what }.into());
        }
        swap::clear(&disk, dir)?;
        disk.create_dir(&swap::joining(dir))?;
        disk.sync_dir(dir)?;
        Ok(Self { disk, dir: dir.to_path_buf(), identity, segment_bytes_max })
    }

    /// Begins to copy a snapshot with this start LSN.
    ///
    /// # Errors
    /// [`JoinError::Disk`]. [`JoinError::Wrong`] if no snapshot has such a start.
    pub fn snapshot(&self, start: Lsn) -> Result<JoiningSnapshot<D>, JoinError> {
        if start > Lsn::NAMED_MAX {
            return Err(JoinError::Wrong(format!("a snapshot of LSN {start}")));
        }
        let path = snapshot_path(&swap::joining(&self.dir), start);
        Ok(JoiningSnapshot {
            file: self.disk.create_new(&path)?,
            disk: self.disk.clone(),
            path,
            bytes: 0,
            sync_begun: 0,
            journal: self.identity.node_id,
        })
    }

    /// Begins to copy the log behind the snapshot, or from its first record on.
    ///
    /// # Errors
    /// [`JoinError::Disk`].
    pub fn log(self, snapshot: Option<SnapshotInfo>) -> Result<JoiningLog<D>, JoinError> {
        let first = snapshot.as_ref().map_or(Lsn(1), |snapshot| snapshot.start_lsn.next());
        let at = swap::joining(&self.dir);
        let mut log = LogWriter::create(&self.disk, &at, self.identity.node_id, first)?;
        log.set_segment_bytes_max(self.segment_bytes_max);
        Ok(JoiningLog { joining: self, snapshot, log })
    }
}

impl<D: Disk> JoiningSnapshot<D> {
    /// Adds the next bytes of the file.
    ///
    /// # Errors
    /// [`JoinError::Disk`].
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), JoinError> {
        self.file.append(bytes)?;
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.bytes.saturating_sub(self.sync_begun) >= BEGIN_SYNC_BYTES {
            self.file.begin_sync(self.sync_begun..self.bytes);
            self.sync_begun = self.bytes;
        }
        Ok(())
    }

    /// Bytes of the file so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Syncs the file and verifies every byte of it.
    ///
    /// # Errors
    /// [`JoinError::Disk`]. [`JoinError::Wrong`] if it is no whole snapshot of this journal.
    pub fn finish(mut self) -> Result<SnapshotInfo, JoinError> {
        self.file.sync_data()?;
        let verified = SnapshotReader::open(&self.disk, &self.path).and_then(|it| it.verify());
        match verified {
            Ok(info) if info.node_id == self.journal => Ok(info),
            Ok(info) => {
                let (found, own) = (info.node_id, self.journal);
                Err(JoinError::Wrong(format!("a snapshot of {found:x}, not of {own:x}")))
            }
            Err(ReadError::Io(error)) => Err(error.into()),
            Err(ReadError::Damaged(damage)) => Err(JoinError::Wrong(damage.to_string())),
            Err(ReadError::Newer(newer)) => Err(JoinError::Wrong(newer.to_string())),
        }
    }
}

impl<D: Disk> JoiningLog<D> {
    /// The record to ask for next.
    pub fn next(&self) -> Lsn {
        self.log.written().next()
    }

    /// Takes a stream apart that begins with the record [`Self::next`].
    pub fn reader(&self) -> CopiedLogReader {
        CopiedLogReader::new(self.joining.identity.node_id, self.next())
    }

    /// Adds the records of a verified batch.
    ///
    /// # Errors
    /// [`JoinError::Disk`].
    pub fn append(&mut self, batch: &Batch) -> Result<(), JoinError> {
        self.log.append(batch)?;
        Ok(())
    }

    /// Whether the copy has all records up to `last`, and all that its snapshot needs.
    pub fn has(&self, last: Lsn) -> bool {
        let end = self.snapshot.as_ref().map_or(Lsn(0), |snapshot| snapshot.end_lsn);
        self.log.written() >= last.max(end)
    }

    /// Syncs the copy, and puts it in the place of what the data directory had.
    ///
    /// # Errors
    /// [`JoinError::Wrong`] if the copy lacks records that its snapshot needs. [`JoinError::Disk`]
    /// while the data directory has its old data. [`JoinError::Store`] if a later start of the node
    /// must go on.
    pub fn finish(self) -> Result<(), JoinError> {
        if !self.has(Lsn(0)) {
            return Err(JoinError::Wrong("the log ends before its snapshot does".to_owned()));
        }
        let Self { joining: Joining { disk, dir, identity, .. }, snapshot, mut log } = self;
        log.sync().map_err(AppendError::from)?;
        let mut baseline = log.baseline();
        baseline.snapshot = snapshot.map_or(Lsn(0), |snapshot| snapshot.start_lsn);
        log.finish()?;
        disk.sync_dir(&swap::joining(&dir))?;
        if matches!(disk.is_in_place(&dir), Ok(false)) {
            let why = format!("{}: the directory was moved", dir.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, why).into());
        }
        // From here on the copy counts.
        let identity = Identity {
            version: IDENTITY_VERSION,
            at_risk: AtRisk::Nothing,
            baseline: baseline.into(),
            swap: Some(SwapStep::Remove),
            ..identity
        };
        identity.write(&disk, &dir.join(IDENTITY_FILE))?;
        swap::settle(&disk, &dir)?;
        Ok(())
    }
}
