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

use std::cell::{Cell, RefCell};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use snapshot::{
    Disk, Floor, HeldDirectory, ImageInfo, KeepFloor, LogWriter, Lsn, OpenError, OpenOptions,
    Opened, ReadError, RealDisk, open_regular,
};
use tracing::{debug, error, info, warn};

pub use super::identity::{AtRisk, Identity, draw};
use super::identity::{IDENTITY_FILE, IDENTITY_VERSION, IdentityFile};
use super::load::load;
use super::loss::{NewestTime, cost, described, kept_until};
use super::rights::{advice, advice_in, create_private};
use crate::shard::Core;
use crate::types::{KeyHasher, ShardCount, TimeMs};

const LOCK_FILE: &str = "lock";

/// What to do about a directory of a newer version.
const NEWER_ADVICE: &str = "Nothing was changed, and no flag starts this version on it. Start the \
    version that wrote it; to go back to this one, restore a backup of before the upgrade, or \
    export there and import here";

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
    #[error("{error}{advice}")]
    NotOpened {
        /// What is wrong, with file and offset.
        error: OpenError,
        /// What to do about it.
        advice: String,
    },
    /// The identity is not whole.
    #[error(
        "damaged: {0}\nNothing was changed. No flag goes on without this file; restore a backup"
    )]
    Identity(ReadError),
    /// A newer program wrote something here.
    #[error("{what}\n{advice}", advice = NEWER_ADVICE)]
    Newer {
        /// Which file, and its version.
        what: String,
    },
    /// The operating system refused.
    #[error("{path}: {error}{}", advice(path, error))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
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
pub struct Store<D: Disk = HeldDirectory> {
    disk: D,
    /// Where it is.
    pub dir: PathBuf,
    /// Who the node is.
    pub identity: Identity,
    /// The identity was copied here.
    is_copy: bool,
    /// Held as long as the store is used; a disk that no other process sees has none.
    _lock: Option<Lock>,
}

/// What a start found.
pub struct Recovered<D: Disk = HeldDirectory> {
    /// One core for each shard.
    pub cores: Vec<Core>,
    /// Which log it is that clients hold offsets and versions of.
    pub incarnation: u64,
    /// Goes on with the log; none if it is off.
    pub writer: Option<LogWriter<D>>,
    /// The image that was loaded.
    pub image: Option<ImageInfo>,
    /// Bytes of the records behind it, which were replayed.
    pub replayed_bytes: u64,
    /// Newest record.
    pub last: Lsn,
    /// When the newest idempotency key was used, in the time that keys age by.
    pub newest_key: Option<TimeMs>,
    /// Keeps what the next start must find.
    pub floor: Arc<dyn KeepFloor>,
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
        let disk = HeldDirectory::new(Arc::clone(&lock.dir), dir.to_path_buf());
        let store = match look(dir) {
            Ok(_) => Self::found(disk, dir)?,
            Err(StoreError::Empty(_)) if is_new || init => {
                Self::made(disk, dir, Identity::draw(&dir.join(IDENTITY_FILE))?)?
            }
            Err(error) => return Err(error),
        };
        Ok(Self { _lock: Some(lock), ..store })
    }
}

impl<D: Disk> Store<D> {
    /// Where its files are.
    pub fn disk(&self) -> D {
        self.disk.clone()
    }

    /// A store that is there, on a disk that no other process sees.
    ///
    /// # Errors
    /// If its identity is missing, damaged, or of another kind.
    pub fn found(disk: D, dir: &Path) -> Result<Self, StoreError> {
        let (identity, is_copy) = Identity::read(&disk, &dir.join(IDENTITY_FILE))?;
        Ok(Self { disk, dir: dir.to_path_buf(), identity, is_copy, _lock: None })
    }

    /// A new store, on a disk that no other process sees.
    ///
    /// # Errors
    /// If its identity cannot be written.
    pub fn made(disk: D, dir: &Path, identity: Identity) -> Result<Self, StoreError> {
        write(&disk, &dir.join(IDENTITY_FILE), &identity)?;
        Ok(Self { disk, dir: dir.to_path_buf(), identity, is_copy: false, _lock: None })
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
            floor: self.identity.floor.into(),
            segment_bytes_max: options.segment_bytes_max,
            log: options.log,
            allow_damage: options.allow_damage,
            allow_older_image: options.allow_damage,
        };
        if options.allow_damage {
            self.renew_before_repair(next)?;
        }
        let newest = RefCell::new(NewestTime::default());
        let replayed_bytes = Cell::new(0_u64);
        let (cores, opened) = load(cores, shards, |feeder| {
            // The callbacks are called one after the other, never at once.
            let feeder = RefCell::new(feeder);
            snapshot::open_with_verdict(
                &self.disk,
                &self.dir,
                open,
                |block| feeder.borrow_mut().image_block(block),
                |lsn, record| {
                    let bytes = u64::try_from(record.len()).unwrap_or(0);
                    replayed_bytes.set(replayed_bytes.get().saturating_add(bytes));
                    if options.allow_damage {
                        newest.borrow_mut().note(record);
                    }
                    feeder.borrow_mut().record(lsn, record)
                },
                || feeder.borrow_mut().verdict(),
            )
        });
        let opened = opened.map_err(|error| self.refusal(error))?;
        let told_is_lost = match self.identity.at_risk {
            AtRisk::Nothing => false,
            AtRisk::Unclean => !opened.clean,
            AtRisk::Always => true,
        };
        let reset = if told_is_lost || !opened.repaired.is_empty() {
            Some("what they were told may have been lost")
        } else if self.is_copy {
            Some("this directory is a copy, and may be behind what they were told")
        } else {
            None
        };
        let identity = self.identity_of_run(&opened, reset, options.at_risk, next)?;
        let incarnation = identity.incarnation;
        let path = self.dir.join(IDENTITY_FILE);
        let floor = Arc::new(IdentityFile::new(self.disk.clone(), path, identity));
        let mut cores = cores;
        cores.iter_mut().for_each(|core| core.set_incarnation(incarnation));
        self.tell(&opened, newest.into_inner().time());
        let mut writer = opened.writer;
        if let Some(writer) = &mut writer {
            writer.set_floor_keeper(floor.clone());
        }
        let newest_key = cores.iter().filter_map(Core::newest_answer).max();
        Ok(Recovered {
            cores,
            incarnation,
            writer,
            image: opened.image,
            replayed_bytes: replayed_bytes.get(),
            last: opened.last_lsn,
            newest_key,
            floor,
        })
    }

    /// Begins a new log for clients if damage is about to be accepted: after a crash between the repair and
    /// the write of the identity, the next start would find nothing to repair.
    fn renew_before_repair(&self, next: u64) -> Result<(), StoreError> {
        let scan = snapshot::scan(&self.disk, &self.dir, self.identity.known());
        let scan = scan.map_err(|error| self.refusal(OpenError::Io(error)))?;
        if scan.can_be_repaired {
            let identity = Identity { incarnation: next, ..self.identity.clone() };
            write(&self.disk, &self.dir.join(IDENTITY_FILE), &identity)?;
        }
        Ok(())
    }

    /// Tells what the start found and did; what was lost is never told below a warning.
    fn tell(&self, opened: &Opened<D>, newest: Option<TimeMs>) {
        for done in &opened.done {
            info!("{done}");
        }
        for repaired in &opened.repaired {
            warn!("damage was accepted: {repaired}");
        }
        match &opened.loss {
            Some(loss) => {
                let image = opened.image.as_ref().map(|image| image.path.as_path());
                let lost = described(loss, kept_until(newest, image));
                error!("damage was accepted, and records are lost: {lost}");
            }
            None if !opened.repaired.is_empty() => warn!("no record is lost by this"),
            None => {}
        }
        if opened.torn_bytes > 0 {
            let promised = match self.identity.at_risk {
                AtRisk::Nothing => "never acknowledged",
                AtRisk::Unclean | AtRisk::Always => {
                    "the last run did not wait for the disk and may have acknowledged it"
                }
            };
            warn!(
                bytes = opened.torn_bytes,
                after_lsn = opened.last_lsn.0,
                "the log's torn tail was cut: {promised}"
            );
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
    }

    /// What to do about a directory that does not open.
    fn refusal(&self, error: OpenError) -> StoreError {
        let advice = match &error {
            OpenError::Io(error) => advice_in(&self.dir, error),
            OpenError::Newer(_) => return StoreError::Newer { what: error.to_string() },
            OpenError::Callback { .. } => "\nNothing was changed. The bytes are as they were \
                written; this program cannot read what they mean. Start the version that wrote them"
                .into(),
            OpenError::Damaged(_) => {
                let mut newest = NewestTime::default();
                let scan = snapshot::scan_with(
                    &self.disk,
                    &self.dir,
                    self.identity.known(),
                    |_, record| {
                        newest.note(record);
                        Ok(())
                    },
                );
                let cost = scan.map_or_else(
                    |error| format!("what is lost cannot be told: {error}"),
                    |scan| cost(&scan, newest.time()),
                );
                let dir = self.dir.display();
                format!(
                    "\nNothing was changed; `chatshard inspect {dir}` shows all of it. Cost: {cost}"
                )
            }
        };
        StoreError::NotOpened { error, advice }
    }

    /// The identity for the run that begins; written before the run tells anything. The floor it holds
    /// demands the segment that is written next.
    fn identity_of_run(
        &self,
        opened: &Opened<D>,
        reset: Option<&str>,
        at_risk: AtRisk,
        next: u64,
    ) -> Result<Identity, StoreError> {
        let mut identity = Identity { version: IDENTITY_VERSION, at_risk, ..self.identity.clone() };
        if reset.is_some() || identity.incarnation == 0 {
            identity.incarnation = next;
            let why = reset.unwrap_or("the directory is older than this number");
            if self.is_copy {
                warn!("a new log for clients that sync or watch: {why}");
            } else {
                info!("a new log for clients that sync or watch: {why}");
            }
        }
        let image = opened.image.as_ref().map_or(Lsn(0), |image| image.start_lsn);
        // Without a log the end of an older one was read and not synced: it is not known to be durable.
        let found = match &opened.writer {
            Some(writer) => writer.floor(),
            None => Floor { durable: image, ..Floor::default() },
        };
        let floor = Floor::from(identity.floor).raised(Floor { image, ..found });
        identity.floor = floor.into();
        if identity != self.identity || self.is_copy {
            write(&self.disk, &self.dir.join(IDENTITY_FILE), &identity)?;
        }
        Ok(identity)
    }
}

/// The identity of a directory that is there, and whether it is a copy. `serve` and `inspect` both
/// decide by this what a directory is.
///
/// # Errors
/// [`StoreError::Empty`] if there is nothing; else if the identity is missing, damaged, or newer.
pub fn look(dir: &Path) -> Result<(Identity, bool), StoreError> {
    let io = |error| StoreError::Io { path: dir.to_path_buf(), error };
    let path = dir.join(IDENTITY_FILE);
    if path.try_exists().map_err(io)? {
        return Identity::read(&RealDisk, &path);
    }
    if is_empty(dir).map_err(io)? {
        return Err(StoreError::Empty(dir.to_path_buf()));
    }
    let what = "the file is missing, and the directory holds other files; it is not a chatshard \
                directory, or it is damaged";
    Err(StoreError::Foreign { path, what: what.into() })
}

/// Makes clients that sync or watch begin anew, after a repair or a restore that may have lost what
/// they were told.
///
/// # Errors
/// If the identity cannot be read or written.
pub fn renew_incarnation(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(IDENTITY_FILE);
    let (identity, _) = Identity::read(&RealDisk, &path)?;
    write(&RealDisk, &path, &Identity { incarnation: draw(&path)?, ..identity })
}

fn write<D: Disk>(disk: &D, path: &Path, identity: &Identity) -> Result<(), StoreError> {
    let io = |error| StoreError::Io { path: path.to_path_buf(), error };
    identity.write(disk, path).map_err(io)
}

/// The right to use a directory, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// The directory itself: nobody can remove it while the files are in it.
    dir: Arc<File>,
    /// What versions before this one lock, and what remote file systems can lock.
    _file: File,
}

/// Locks a directory.
///
/// # Errors
/// If another process has it.
pub fn lock(dir: &Path) -> Result<Lock, StoreError> {
    let io = |path: &Path, error| StoreError::Io { path: path.to_path_buf(), error };
    let locked = || StoreError::Locked(dir.to_path_buf());
    let held = File::open(dir).map_err(|error| io(dir, error))?;
    match held.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked()),
        // Some file systems lock only what is open for writing, which no directory is.
        Err(TryLockError::Error(error)) => {
            debug!(%error, "the directory itself cannot be locked; the file in it is");
        }
    }
    let path = dir.join(LOCK_FILE);
    let flags = OFlags::RDWR | OFlags::CREATE;
    let file = open_regular(&path, flags, Mode::RUSR | Mode::WUSR);
    let file = file.map_err(|error| io(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock { dir: Arc::new(held), _file: file }),
        Err(TryLockError::WouldBlock) => Err(locked()),
        Err(TryLockError::Error(error)) => Err(io(&path, error)),
    }
}

/// Whether the directory holds nothing but our own lock (and what a fresh file system brings).
pub(super) fn is_empty(dir: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name != LOCK_FILE && name != "lost+found" && name != "node.tmp" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes a directory and those above it that are missing, so that their names last.
pub(super) fn create_dirs(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
    create_private(dir)?;
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
