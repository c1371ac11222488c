//! The data directory: its identity and its lock, and what a start recovers from it.
//!
//! ```text
//! DIR/node           identity: JSON in a sealed file (see snapshot/format.md)
//! DIR/lock           held by the running process
//! DIR/log-*.seg      the log
//! DIR/image-*.img    snapshots
//! DIR/joining/       data of another member, while a member copies it
//! ```
//!
//! Invariants:
//! - Only one process at a time uses a directory.
//! - A store never starts empty where somebody expects data. A missing directory is created, and an
//!   empty one needs `--init`. A directory with files but without an identity is damage.

use std::cell::{Cell, RefCell};
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use snapshot::{
    Baseline, Disk, HeldDirectory, LogWriter, Lsn, OpenError, OpenOptions, Opened, RealDisk,
    SnapshotInfo, log_and_snapshots, open_regular,
};
use tracing::{debug, error, info, warn};

use super::error::StoreError;
use super::identity::{AtRisk, IDENTITY_FILE, IDENTITY_VERSION, Identity, IdentityFile};
use super::load::{DigestsCompared, load};
use super::loss::{NewestTime, WIPE_ADVICE, cost, described, kept_until};
use super::rights::{advice_in, create_private};
use super::swap;
use crate::shard::Shard;
use crate::types::{KeyHasher, ShardCount, TimeMs};

const LOCK_FILE: &str = "lock";
/// How many differences from digests of the log a start writes one by one.
const DIFFERENCES_LOGGED: usize = 10;

/// How to recover a store.
#[derive(Debug, Clone, Copy)]
pub struct StoreOptions {
    /// Whether damage is accepted: the run then continues with what is whole.
    pub allow_damage: bool,
    /// Whether this run writes a log. Without one, only snapshots keep data.
    pub log: bool,
    /// Which acknowledged changes this run may lose. The identity file remembers it for the next
    /// start.
    pub at_risk: AtRisk,
    /// A segment of the log that has reached this size, in bytes, is followed by a new one.
    pub segment_bytes_max: u64,
}

/// A data directory that this process has locked.
#[derive(Debug)]
pub struct Store<D: Disk = HeldDirectory> {
    disk: D,
    /// Path of the directory.
    pub dir: PathBuf,
    /// The identity, as this start read it or drew it.
    pub identity: Identity,
    /// Whether the identity file was copied here from another place, for example from a backup.
    is_copy: bool,
    /// The lock, held as long as the store is used. `None` on a disk that no other process sees.
    _lock: Option<Lock>,
}

/// What a recovery returns.
pub struct Recovered<D: Disk = HeldDirectory> {
    /// All shards, with all records applied.
    pub shards: Vec<Shard>,
    /// The incarnation of the log in this run. The offsets and versions that clients hold belong to
    /// it.
    pub incarnation: u64,
    /// Continues the log. `None` if the run has no log.
    pub writer: Option<LogWriter<D>>,
    /// The snapshot that was loaded, if there was one.
    pub snapshot: Option<SnapshotInfo>,
    /// How many bytes of records after the snapshot were replayed.
    pub replayed_bytes: u64,
    /// What the replay found of the digests in the log.
    pub digests: DigestsCompared,
    /// LSN of the newest record.
    pub last: Lsn,
    /// When an idempotency key was last used, in the time by which idempotency keys age. `None` if
    /// there was none.
    pub newest_key: Option<TimeMs>,
    /// The identity file, whose baseline rises during the run.
    pub identity_file: Arc<IdentityFile<D>>,
}

impl Store {
    /// Opens a directory or creates one, and locks it.
    ///
    /// # Errors
    /// If another process uses the directory, or if it is unexpectedly empty, damaged, or not ours.
    pub fn open(dir: &Path, init: bool) -> Result<Self, StoreError> {
        Self::open_with(dir, init, Identity::draw)
    }

    /// Like [`Store::open`], with the identity that `make` gives a new store.
    ///
    /// # Errors
    /// Those of [`Store::open`] and of `make`.
    pub fn open_with(
        dir: &Path,
        init: bool,
        make: impl FnOnce(&Path) -> Result<Identity, StoreError>,
    ) -> Result<Self, StoreError> {
        let io = |error| StoreError::Io { path: dir.to_path_buf(), error };
        let is_new = !dir.try_exists().map_err(io)?;
        if is_new {
            create_dirs(dir).map_err(io)?;
        }
        let lock = lock(dir)?;
        let disk = lock.disk(dir);
        let store = match look(dir) {
            Ok(_) => Self::found(disk, dir)?,
            Err(StoreError::Empty(_)) if is_new || init => {
                let made = Self::made(disk, dir, make(&dir.join(IDENTITY_FILE))?)?;
                info!(directory = %dir.display(), "a new store begins: there was none");
                made
            }
            Err(error) => return Err(error),
        };
        Ok(Self { _lock: Some(lock), ..store })
    }
}

impl<D: Disk> Store<D> {
    /// The disk that has all files of this store.
    pub fn disk(&self) -> D {
        self.disk.clone()
    }

    /// Opens an existing store on a disk that no other process sees. Copied data that waits for its
    /// place is put there first.
    ///
    /// # Errors
    /// If the identity is missing, damaged, or not ours. If a file cannot be moved or removed.
    pub fn found(disk: D, dir: &Path) -> Result<Self, StoreError> {
        let (identity, is_copy) = swap::settle(&disk, dir)?;
        Ok(Self { disk, dir: dir.to_path_buf(), identity, is_copy, _lock: None })
    }

    /// Makes a new store on a disk that no other process sees.
    ///
    /// # Errors
    /// If the identity cannot be written.
    pub fn made(disk: D, dir: &Path, identity: Identity) -> Result<Self, StoreError> {
        write(&disk, &dir.join(IDENTITY_FILE), &identity)?;
        Ok(Self { disk, dir: dir.to_path_buf(), identity, is_copy: false, _lock: None })
    }

    /// Reads the newest snapshot, and the log after it. If changes that clients know may be lost,
    /// the log gets the incarnation `next`.
    ///
    /// # Errors
    /// If a file is damaged, missing, or of a newer version. If a record cannot be applied, or the
    /// disk refuses an operation.
    pub fn recover(
        &self,
        shards: ShardCount,
        options: StoreOptions,
        next: u64,
    ) -> Result<Recovered<D>, StoreError> {
        let hasher = KeyHasher::new(self.identity.hash_seed);
        let empty: Vec<Shard> =
            shards.all().map(|shard| Shard::new(shard, shards, hasher)).collect();
        let open = OpenOptions {
            node_id: self.identity.node_id,
            baseline: self.identity.baseline.into(),
            segment_bytes_max: options.segment_bytes_max,
            log: options.log,
            allow_damage: options.allow_damage,
            allow_older_snapshot: options.allow_damage,
        };
        if options.allow_damage {
            refuse_repair(&self.dir, &self.identity)?;
            self.renew_before_repair(next)?;
        }
        let newest = RefCell::new(NewestTime::default());
        let replayed_bytes = Cell::new(0_u64);
        let digests = RefCell::new(DigestsCompared::default());
        let may_differ = options.allow_damage || self.identity.member.is_some();
        let (mut loaded, opened) = load(empty, shards, |feeder| {
            // The callbacks run one after the other, never at the same time.
            let feeder = RefCell::new(feeder);
            snapshot::open_with_verdict(
                &self.disk,
                &self.dir,
                open,
                |block| feeder.borrow_mut().snapshot_block(block),
                |lsn, record| {
                    let bytes = u64::try_from(record.len()).unwrap_or(0);
                    replayed_bytes.set(replayed_bytes.get().saturating_add(bytes));
                    if options.allow_damage {
                        newest.borrow_mut().note(record);
                    }
                    feeder.borrow_mut().record(lsn, record)
                },
                || {
                    let mut feeder = feeder.borrow_mut();
                    feeder.verdict()?;
                    digests.replace(feeder.compared().clone());
                    match feeder.compared().differences.first() {
                        Some(first) if !may_differ => Err(first.to_string()),
                        _ => Ok(()),
                    }
                },
            )
        });
        let digests = digests.into_inner();
        let opened = opened.map_err(|error| match digests.differences.first() {
            Some(first) if !may_differ => {
                StoreError::Differs { path: self.dir.clone(), what: first.to_string() }
            }
            _ => self.refusal(error),
        })?;
        let may_have_lost = match self.identity.at_risk {
            AtRisk::Nothing => false,
            AtRisk::Unclean => !opened.clean,
            AtRisk::Always => true,
        };
        let reset = if self.identity.member.is_some() {
            // The journal brings back what a member has lost.
            None
        } else if may_have_lost || !opened.repaired.is_empty() {
            Some("what they were told may have been lost")
        } else if !digests.differences.is_empty() {
            Some("what they were told may have been wrong")
        } else if self.is_copy {
            Some("this directory is a copy, and may be behind what they were told")
        } else {
            None
        };
        let identity = self.identity_of_run(&opened, reset, options.at_risk, next)?;
        let incarnation = identity.incarnation;
        let path = self.dir.join(IDENTITY_FILE);
        let identity_file = Arc::new(IdentityFile::new(self.disk.clone(), path, identity));
        loaded.iter_mut().for_each(|shard| shard.set_incarnation(incarnation));
        self.log_findings(&opened, newest.into_inner().time());
        log_differences(&digests);
        let mut writer = opened.writer;
        if let Some(writer) = &mut writer {
            writer.set_baseline_keeper(identity_file.clone());
        }
        let newest_key = loaded.iter().filter_map(Shard::newest_answer).max();
        Ok(Recovered {
            shards: loaded,
            incarnation,
            writer,
            snapshot: opened.snapshot,
            replayed_bytes: replayed_bytes.get(),
            digests,
            last: opened.last_lsn,
            newest_key,
            identity_file,
        })
    }

    /// Begins a new incarnation before damage is repaired. If a crash came between the repair and
    /// this write, the next start would find no damage and keep the old incarnation.
    fn renew_before_repair(&self, next: u64) -> Result<(), StoreError> {
        let scan = snapshot::scan(&self.disk, &self.dir, self.identity.known());
        let scan = scan.map_err(|error| self.refusal(OpenError::Io(error)))?;
        if scan.can_be_repaired {
            let identity = Identity { incarnation: next, ..self.identity.clone() };
            write(&self.disk, &self.dir.join(IDENTITY_FILE), &identity)?;
        }
        Ok(())
    }

    /// Logs what the start found and did. A loss is a warning at least.
    fn log_findings(&self, opened: &Opened<D>, newest: Option<TimeMs>) {
        for done in &opened.done {
            info!("{done}");
        }
        for repaired in &opened.repaired {
            warn!("damage was accepted: {repaired}");
        }
        match &opened.loss {
            Some(loss) => {
                let snapshot = opened.snapshot.as_ref().map(|snapshot| snapshot.path.as_path());
                let lost = described(loss, kept_until(newest, snapshot));
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
            snapshot = opened
                .snapshot
                .as_ref()
                .map_or("none".into(), |snapshot| snapshot.path.display().to_string()),
            records = opened.records,
            last_lsn = opened.last_lsn.0,
            clean = opened.clean,
            "recovered"
        );
    }

    /// The error for a directory that cannot be opened, with advice for the operator.
    fn refusal(&self, error: OpenError) -> StoreError {
        let advice = match &error {
            OpenError::Io(error) => advice_in(&self.dir, error),
            OpenError::Newer(_) => return StoreError::Newer { what: error.to_string() },
            OpenError::Callback { .. } => "\nNothing was changed. The bytes are as they were \
                written; this program cannot read what they mean. Start the version that wrote them"
                .into(),
            OpenError::Damaged(_) if self.identity.member.is_some() => {
                let dir = self.dir.display();
                format!(
                    "\nNothing was changed; `chatshard inspect {dir}` shows all of it. {WIPE_ADVICE}"
                )
            }
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

    /// The identity for the run that begins. It is written before the run replies to any client.
    /// Its baseline demands the segment that the run writes first.
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
        let snapshot = opened.snapshot.as_ref().map_or(Lsn(0), |snapshot| snapshot.start_lsn);
        // Without a log this start only reads the end of an older log, and does not sync it. So
        // that end does not count as durable.
        let found = match &opened.writer {
            Some(writer) => writer.baseline(),
            None => Baseline { durable: snapshot, ..Baseline::default() },
        };
        let baseline = Baseline::from(identity.baseline).raised(Baseline { snapshot, ..found });
        identity.baseline = baseline.into();
        if identity != self.identity || self.is_copy {
            write(&self.disk, &self.dir.join(IDENTITY_FILE), &identity)?;
        }
        Ok(identity)
    }
}

/// Logs the first differences from digests of the log, and how many there are.
fn log_differences(digests: &DigestsCompared) {
    for difference in digests.differences.iter().take(DIFFERENCES_LOGGED) {
        error!("{difference}");
    }
    if !digests.differences.is_empty() {
        let (differences, compared) = (digests.differences.len(), digests.count);
        error!(differences, compared, "the replay differs from digests of the log, and counts");
    }
}

/// The identity of an existing directory, and whether its file is a copy. `serve` and `inspect`
/// both decide here what a directory is.
///
/// # Errors
/// [`StoreError::Empty`] if the directory is empty. Another error if the identity is missing,
/// damaged or newer.
pub fn look(dir: &Path) -> Result<(Identity, bool), StoreError> {
    let io = |error| StoreError::Io { path: dir.to_path_buf(), error };
    let path = dir.join(IDENTITY_FILE);
    if path.try_exists().map_err(io)? {
        return Identity::read(&RealDisk, &path);
    }
    if is_empty(dir).map_err(io)? {
        return Err(StoreError::Empty(dir.to_path_buf()));
    }
    let what = if !log_and_snapshots(&RealDisk, dir).map_err(io)?.is_empty() {
        "the file is missing beside a log or snapshots. Nothing was changed, and no flag makes it \
         again: put it back, or restore a backup of the whole directory"
    } else {
        "the file is missing, and the directory holds other files: it is not a chatshard directory. \
         Name one, or an empty or missing directory for a new store"
    };
    Err(StoreError::Foreign { path, what: what.into() })
}

/// Refuses to accept damage in the directory of a member: it would lack records that the journal
/// counts as its own.
///
/// # Errors
/// [`StoreError::Foreign`] with the advice to wipe the directory.
pub fn refuse_repair(dir: &Path, identity: &Identity) -> Result<(), StoreError> {
    if identity.member.is_none() {
        return Ok(());
    }
    let what = format!("damage is not accepted in the directory of a member. {WIPE_ADVICE}");
    Err(StoreError::Foreign { path: dir.to_path_buf(), what })
}

/// Refuses a directory in which copied data is not in its place yet: its files are of two kinds.
///
/// # Errors
/// [`StoreError::Foreign`] with the advice to start the node.
pub fn refuse_half_swapped(dir: &Path, identity: &Identity) -> Result<(), StoreError> {
    if identity.swap.is_none() {
        return Ok(());
    }
    let what = "data that was copied from another member is not in its place yet; the next start \
                of the node puts it there";
    Err(StoreError::Foreign { path: dir.to_path_buf(), what: what.into() })
}

/// The directory of a copy that was not finished; `None` if there is none.
pub fn unfinished_copy(dir: &Path) -> Option<PathBuf> {
    Some(swap::joining(dir)).filter(|joining| joining.exists())
}

/// Begins a new incarnation, so that clients that sync or watch begin anew. Needed after a repair
/// or a restore, which may have lost changes that clients know. A member then leaves its journal.
///
/// # Errors
/// If the identity cannot be read or written.
pub fn renew_incarnation(dir: &Path) -> Result<(), StoreError> {
    let path = dir.join(IDENTITY_FILE);
    let (identity, _) = Identity::read(&RealDisk, &path)?;
    write(&RealDisk, &path, &identity.renewed(&path)?)
}

fn write<D: Disk>(disk: &D, path: &Path, identity: &Identity) -> Result<(), StoreError> {
    let io = |error| StoreError::Io { path: path.to_path_buf(), error };
    identity.write(disk, path).map_err(io)
}

/// The right to use a directory. Dropping it gives the right back.
#[derive(Debug)]
pub struct Lock {
    /// The locked directory itself. Nobody can remove it while it has files, but somebody can
    /// remove the lock file.
    dir: Arc<File>,
    /// The locked file in it. Older versions lock only this file, and some remote file systems lock
    /// only files.
    _file: File,
}

impl Lock {
    /// A disk for the locked directory, whose path is `dir`.
    #[must_use]
    pub fn disk(&self, dir: &Path) -> HeldDirectory {
        HeldDirectory::new(Arc::clone(&self.dir), dir.to_path_buf())
    }
}

/// Locks a directory.
///
/// # Errors
/// [`StoreError::Locked`] if another process holds the lock. Otherwise the error of the operating
/// system.
pub fn lock(dir: &Path) -> Result<Lock, StoreError> {
    let io = |path: &Path, error| StoreError::Io { path: path.to_path_buf(), error };
    let locked = || StoreError::Locked(dir.to_path_buf());
    let held = File::open(dir).map_err(|error| io(dir, error))?;
    match held.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(locked()),
        // Some file systems lock only files that are open for writing, and a directory never is.
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

/// Whether another process holds the lock of a directory. Creates and writes nothing. False if the
/// locks cannot be read.
pub fn is_used(dir: &Path) -> bool {
    let is_locked = |file: io::Result<File>| {
        file.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    };
    is_locked(File::open(dir))
        || is_locked(open_regular(&dir.join(LOCK_FILE), OFlags::RDONLY, Mode::empty()))
}

/// Whether the directory has no files. The lock file, an unfinished identity file and `lost+found`
/// of a new file system do not count.
pub(super) fn is_empty(dir: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        if name != LOCK_FILE && name != "lost+found" && name != "node.tmp" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Creates a directory with its missing parents, and syncs their names.
pub(super) fn create_dirs(dir: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = dir.ancestors().take_while(|path| !path.exists()).collect();
    create_private(dir)?;
    for path in missing {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        // Some file systems refuse to sync a directory. They lose nothing by that.
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
