//! The data directory: whose it is, that nobody else uses it, and what is in it.
//!
//! ```text
//! DIR/node           identity: JSON in a sealed file (see snapshot/format.md)
//! DIR/lock           held by the running process
//! DIR/log-*.seg      the log
//! DIR/image-*.img    snapshots
//! ```
//!
//! Invariants:
//! - A directory is used by one process at a time.
//! - The store never starts empty where data was expected: a missing directory is made, an empty
//!   one needs `--init`, and one with data but without its identity is damage.

use std::cell::RefCell;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use snapshot::{
    Disk, ImageInfo, LogWriter, Lsn, OpenError, OpenOptions, ReadError, RealDisk, read_sealed,
    write_sealed,
};
use tracing::{info, warn};

use super::load::load;
use crate::limits::SLOTS;
use crate::shard::Core;
use crate::types::{KeyHasher, ShardCount};

const IDENTITY_FILE: &str = "node";
const LOCK_FILE: &str = "lock";

/// Who the node is; made once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Version of this file's fields.
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

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{0}: the directory is used by another chatshard")]
    Locked(PathBuf),
    /// It is empty, and may be a volume that was not mounted.
    #[error(
        "{0}: the directory is there and empty. If this is a new store, start once with --init; \
         if data was here, look whether the volume is mounted"
    )]
    Empty(PathBuf),
    /// It is of a version that this build does not know.
    #[error("{path}: {what}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Something is not whole, or the operating system refused.
    #[error("{}", describe(.0))]
    NotOpened(OpenError),
    /// A sealed file is not whole.
    #[error("{0}")]
    Identity(ReadError),
    /// The operating system refused.
    #[error("{path}: {error}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

fn describe(error: &OpenError) -> String {
    if let OpenError::Io(error) = error {
        return error.to_string();
    }
    format!(
        "{error}\nNothing was changed. `chatshard inspect DIR` shows all of it; \
         --allow-damage starts with what is whole and keeps copies of the damaged files"
    )
}

/// How to open a directory.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Go on with what is whole.
    pub allow_damage: bool,
    /// Write a log.
    pub log: bool,
    /// What this run may lose of what it tells.
    pub at_risk: AtRisk,
    /// Size at which a segment of the log is followed by the next, in bytes.
    pub segment_bytes_max: u64,
}

/// A directory that belongs to this process.
#[derive(Debug)]
pub struct Store<D: Disk = RealDisk> {
    disk: D,
    /// Where it is.
    pub dir: PathBuf,
    /// Who the node is.
    pub identity: Identity,
    /// Held as long as the store is used; a disk that no other process sees has none.
    _lock: Option<File>,
}

/// What a start found.
pub struct Recovered<D: Disk = RealDisk> {
    /// One core for each shard.
    pub cores: Vec<Core>,
    /// Which log it is that clients hold offsets and versions of.
    pub incarnation: u64,
    /// Goes on with the log; none if it is off.
    pub writer: Option<LogWriter<D>>,
    /// The image that was loaded.
    pub image: Option<ImageInfo>,
    /// Newest record.
    pub last: Lsn,
}

impl Store {
    /// Opens or makes a directory, and locks it.
    ///
    /// # Errors
    /// If it is in use, unexpectedly empty, damaged, or of another kind.
    pub fn open(dir: &Path, init: bool) -> Result<Self, StoreError> {
        let io = |error| StoreError::Io { path: dir.to_path_buf(), error };
        let is_new = !dir.try_exists().map_err(io)?;
        if is_new {
            create_dirs(dir).map_err(io)?;
        }
        let lock = lock(dir)?;
        let identity_path = dir.join(IDENTITY_FILE);
        let has_identity = identity_path.try_exists().map_err(io)?;
        let store = if has_identity {
            Self::found(RealDisk, dir)?
        } else {
            if !is_empty(dir).map_err(io)? {
                let what = "the file is missing, and the directory holds other files; \
                            it is not a chatshard directory, or it is damaged";
                return Err(StoreError::Foreign { path: identity_path, what: what.into() });
            }
            if !is_new && !init {
                return Err(StoreError::Empty(dir.to_path_buf()));
            }
            Self::made(RealDisk, dir, draw_identity(&identity_path)?)?
        };
        Ok(Self { _lock: Some(lock), ..store })
    }
}

impl<D: Disk> Store<D> {
    /// A store that is there, on a disk that no other process sees.
    ///
    /// # Errors
    /// If its identity is missing, damaged, or of another kind.
    pub fn found(disk: D, dir: &Path) -> Result<Self, StoreError> {
        let identity = read_identity(&disk, &dir.join(IDENTITY_FILE))?;
        Ok(Self { disk, dir: dir.to_path_buf(), identity, _lock: None })
    }

    /// A new store, on a disk that no other process sees.
    ///
    /// # Errors
    /// If its identity cannot be written.
    pub fn made(disk: D, dir: &Path, identity: Identity) -> Result<Self, StoreError> {
        write_identity(&disk, &dir.join(IDENTITY_FILE), &identity)?;
        Ok(Self { disk, dir: dir.to_path_buf(), identity, _lock: None })
    }

    /// Reads the newest image and the log after it. If what was told to clients may have been lost, the
    /// log is of the incarnation `next` from now on.
    ///
    /// # Errors
    /// If something is not whole.
    pub fn recover(
        &self,
        shards: ShardCount,
        options: StoreOptions,
        next: u64,
    ) -> Result<Recovered<D>, StoreError> {
        let hasher = KeyHasher::new(self.identity.hash_seed);
        let cores: Vec<Core> = shards.all().map(|shard| Core::new(shard, shards, hasher)).collect();
        let open = OpenOptions {
            node_id: self.identity.node_id,
            segment_bytes_max: options.segment_bytes_max,
            log: options.log,
            allow_damage: options.allow_damage,
            allow_older_image: options.allow_damage,
        };
        let (cores, opened) = load(cores, shards, |feeder| {
            // The callbacks are called one after the other, never at once.
            let feeder = RefCell::new(feeder);
            snapshot::open_with_verdict(
                &self.disk,
                &self.dir,
                open,
                |block| feeder.borrow_mut().image_block(block),
                |lsn, record| feeder.borrow_mut().record(lsn, record),
                || feeder.borrow_mut().verdict(),
            )
        });
        let opened = opened.map_err(StoreError::NotOpened)?;
        let lost = match self.identity.at_risk {
            AtRisk::Nothing => false,
            AtRisk::Unclean => !opened.clean,
            AtRisk::Always => true,
        };
        let lost = lost || (options.allow_damage && !opened.done.is_empty());
        let identity = self.identity_of_run(lost, options.at_risk, next)?;
        let mut cores = cores;
        cores.iter_mut().for_each(|core| core.set_incarnation(identity.incarnation));
        for done in &opened.done {
            info!("{done}");
        }
        if opened.torn_bytes > 0 {
            warn!(bytes = opened.torn_bytes, "the log's torn tail, never acknowledged, was cut");
        }
        info!(
            image = opened
                .image
                .as_ref()
                .map_or("none".into(), |image| image.path.display().to_string()),
            records = opened.records,
            last_lsn = opened.last_lsn.0,
            clean = opened.clean,
            "recovered"
        );
        Ok(Recovered {
            cores,
            incarnation: identity.incarnation,
            writer: opened.writer,
            image: opened.image,
            last: opened.last_lsn,
        })
    }

    /// The identity for the run that begins; written before the run tells anything.
    fn identity_of_run(
        &self,
        lost: bool,
        at_risk: AtRisk,
        next: u64,
    ) -> Result<Identity, StoreError> {
        let path = self.dir.join(IDENTITY_FILE);
        let mut identity = Identity { at_risk, ..self.identity.clone() };
        if lost || identity.incarnation == 0 {
            identity.incarnation = next;
            info!(
                "a new log for clients that sync or watch: what they were told may have been lost"
            );
        }
        if identity != self.identity {
            write_identity(&self.disk, &path, &identity)?;
        }
        Ok(identity)
    }
}

/// Makes clients that sync or watch begin anew, after a repair that may have lost what they were told.
///
/// # Errors
/// If the identity cannot be read or written. A directory without one has nothing to renew.
pub fn renew_incarnation(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(IDENTITY_FILE);
    if !path.try_exists().map_err(|error| StoreError::Io { path: path.clone(), error })? {
        return Ok(());
    }
    let identity = read_identity(&RealDisk, &path)?;
    write_identity(&RealDisk, &path, &Identity { incarnation: draw(&path)?, ..identity })
}

/// Locks a directory for as long as the file is held.
///
/// # Errors
/// If another process has it.
pub fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join(LOCK_FILE);
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let file = opened.map_err(|error| StoreError::Io { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked(dir.to_path_buf())),
        Err(TryLockError::Error(error)) => Err(StoreError::Io { path, error }),
    }
}

/// Whether the directory holds nothing but our own lock (and what a fresh file system brings).
fn is_empty(dir: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name != LOCK_FILE && name != "lost+found" && name != "node.tmp" {
            return Ok(false);
        }
    }
    Ok(true)
}

fn read_identity<D: Disk>(disk: &D, path: &Path) -> Result<Identity, StoreError> {
    let bytes = read_sealed(disk, path).map_err(StoreError::Identity)?;
    let foreign = |what: String| StoreError::Foreign { path: path.to_path_buf(), what };
    let identity: Identity =
        serde_json::from_slice(&bytes).map_err(|error| foreign(error.to_string()))?;
    if identity.version != 1 || identity.slots != SLOTS {
        return Err(foreign(format!(
            "version {} with {} slots; this build knows version 1 with {SLOTS}",
            identity.version, identity.slots
        )));
    }
    Ok(identity)
}

fn draw_identity(path: &Path) -> Result<Identity, StoreError> {
    Ok(Identity {
        version: 1,
        node_id: draw(path)?,
        hash_seed: draw(path)?,
        slots: SLOTS,
        incarnation: draw(path)?,
        at_risk: AtRisk::Nothing,
    })
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

fn write_identity<D: Disk>(disk: &D, path: &Path, identity: &Identity) -> Result<(), StoreError> {
    let io = |error| StoreError::Io { path: path.to_path_buf(), error };
    let bytes = serde_json::to_vec(identity).map_err(|error| io(io::Error::other(error)))?;
    write_sealed(disk, path, &bytes).map_err(io)
}

/// Makes a directory and those above it that are missing, so that their names last.
fn create_dirs(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
    std::fs::create_dir_all(dir)?;
    for path in missing {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        // Some file systems refuse to sync a directory, and lose nothing by it.
        if let Err(error) = RealDisk.sync_dir(parent) {
            warn!(
                %error,
                directory = %parent.display(),
                "a directory could not be synced; a power cut now may lose what was made in it"
            );
        }
    }
    Ok(())
}
