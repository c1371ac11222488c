//! Makes the data directory of a journal's first member out of another data directory.
//!
//! Every file of a data directory names its node, and all members of a journal are one node. So the
//! files are written anew, under the ids of the new journal.
//!
//! # Invariants
//! - The source is only read.
//! - The identity file is written last, and removed first. So no server starts on a directory whose
//!   making or removal was interrupted.
//! - The files are removed only if the journal is known to have begun without them.

use std::io;
use std::path::{Path, PathBuf};

use snapshot::{
    AppendError, Disk, LogFollower, LogWriter, Lsn, ReadError, RealDisk, Scan, SnapshotReader,
    SnapshotWriter, log_and_snapshots, open_newest,
};

use super::error::StoreError;
use super::genesis::{self, NoOrigin};
use super::give::next_batches;
use super::identity::{AtRisk, IDENTITY_FILE, IDENTITY_VERSION, Identity, draw};
use super::restore::{lock_empty, refuse_inside};
use super::store::Lock;
use crate::journal::client::EngineClient;

/// The data directory of a first member. It is locked until its journal has begun.
#[derive(Debug)]
pub struct FirstMember {
    /// Its identity. The node id is that of the journal.
    pub identity: Identity,
    /// The newest record that it has. The journal begins behind it.
    pub last: Lsn,
    dir: PathBuf,
    _lock: Lock,
}

/// Why no journal has begun with the data of a first member.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// Another journal has begun in this place.
    #[error(
        "another `journal init` was first: the journal has begun without this data. Nothing is left \
         in {0}"
    )]
    Late(PathBuf),
    /// Like [`NotBegun::Late`], and the files are still there.
    #[error(
        "another `journal init` was first: the journal has begun without this data. Remove {dir}: \
         {error}"
    )]
    LateAndKept {
        /// The directory that is of no use.
        dir: PathBuf,
        /// Why its files could not be removed.
        error: io::Error,
    },
    /// It may have begun.
    #[error(
        "{why}. Ask `chatshard journal status`: if it shows the journal {journal:x}, {dir} has the \
         data of its first member; else remove {dir} and try again"
    )]
    Unknown {
        /// The directory of the first member.
        dir: PathBuf,
        /// The id that its journal would have.
        journal: u64,
        /// What the engine said.
        why: NoOrigin,
    },
}

impl FirstMember {
    /// Begins the journal behind the records of this member. If another journal has begun in its
    /// place, the files of this one are removed.
    ///
    /// # Errors
    /// [`NotBegun`], which says what became of the directory.
    pub fn begin(self, client: &EngineClient, time_ms: u64) -> Result<(), NotBegun> {
        match genesis::begin(client, &self.identity, self.last.next(), time_ms) {
            Ok(()) => Ok(()),
            Err(NoOrigin::Begun) => match self.remove() {
                Ok(()) => Err(NotBegun::Late(self.dir)),
                Err(error) => Err(NotBegun::LateAndKept { dir: self.dir, error }),
            },
            Err(why) => {
                let journal = self.identity.node_id;
                Err(NotBegun::Unknown { dir: self.dir, journal, why })
            }
        }
    }

    fn remove(&self) -> io::Result<()> {
        RealDisk.remove(&self.dir.join(IDENTITY_FILE))?;
        RealDisk.sync_dir(&self.dir)?;
        for path in log_and_snapshots(&RealDisk, &self.dir)? {
            RealDisk.remove(&path)?;
        }
        RealDisk.sync_dir(&self.dir)
    }
}

/// Makes the data directory `dir`, which must be missing or empty, out of the data that `scan` found
/// whole in `from`.
///
/// # Errors
/// If `dir` has files or a server uses it. If the identity in `from` cannot be read, or the system
/// refuses an operation.
pub fn make(from: &Path, scan: &Scan, dir: &Path) -> Result<FirstMember, StoreError> {
    refuse_inside(from, dir)?;
    let lock = lock_empty(dir)?;
    let path = dir.join(IDENTITY_FILE);
    let (source, _) = Identity::read(&RealDisk, &from.join(IDENTITY_FILE))?;
    let of_source = source.node_id;
    let identity = Identity {
        version: IDENTITY_VERSION,
        node_id: draw(&path)?,
        at_risk: AtRisk::Nothing,
        member: Some(draw(&path)?),
        swap: None,
        ..source.renewed(&path)?
    };
    let written = write_files(from, of_source, scan.last_lsn, dir, identity);
    let identity = written.map_err(|error| StoreError::Io { path: dir.to_path_buf(), error })?;
    let last = scan.last_lsn;
    match identity.write(&RealDisk, &path) {
        Ok(()) => Ok(FirstMember { identity, last, dir: dir.to_path_buf(), _lock: lock }),
        Err(error) => Err(StoreError::Io { path, error }),
    }
}

/// Writes the newest snapshot and the log behind it anew. Returns the identity with the baseline of
/// the written files.
fn write_files(
    from: &Path,
    source: u64,
    last: Lsn,
    dir: &Path,
    identity: Identity,
) -> io::Result<Identity> {
    let snapshot = open_newest(&RealDisk, from)?.map(|(info, _)| info);
    let start = snapshot.as_ref().map_or(Lsn(0), |snapshot| snapshot.start_lsn);
    let mut log = LogWriter::create(&RealDisk, dir, identity.node_id, start.next())?;
    if last > start {
        let follower = LogFollower::open(&RealDisk, from, source, start.next());
        let mut follower = follower.map_err(io::Error::other)?;
        while follower.position() < last {
            for batch in next_batches(&mut follower, last)? {
                log.append(&batch).map_err(io::Error::other)?;
            }
        }
    }
    log.sync().map_err(|error| io::Error::other(AppendError::from(error)))?;
    let mut baseline = log.baseline();
    if let Some(snapshot) = snapshot {
        let reader = SnapshotReader::open(&RealDisk, &snapshot.path).map_err(to_io)?;
        write_snapshot(reader, dir, identity.node_id)?;
        baseline.snapshot = start;
    }
    log.finish().map_err(io::Error::other)?;
    RealDisk.sync_dir(dir)?;
    Ok(Identity { baseline: baseline.into(), ..identity })
}

/// Writes the blocks of a snapshot into one of another node. The log has the records behind it.
fn write_snapshot(
    mut reader: SnapshotReader<RealDisk>,
    dir: &Path,
    node_id: u64,
) -> io::Result<()> {
    let info = reader.info().clone();
    let mut writer = SnapshotWriter::create(&RealDisk, dir, node_id, info.start_lsn)?;
    while let Some(block) = reader.next_block().map_err(to_io)? {
        writer.block(block)?;
    }
    match info.logged {
        true => writer.publish(info.end_lsn),
        false => writer.publish_without_log(),
    }
    .map(drop)
}

fn to_io(error: ReadError) -> io::Error {
    match error {
        ReadError::Io(error) => error,
        ReadError::Damaged(_) | ReadError::Newer(_) => io::Error::other(error),
    }
}
