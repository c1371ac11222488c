//! A disk in memory that forgets, tears and refuses, all from a seed.
//!
//! It does what a file system may do, not what one usually does. After a crash every page that was
//! not synced is there or not, each independently, and so are names that were not synced. After a
//! failed sync the pages look clean and can be read, and yet are not on the disk.
//!
//! # Invariants
//! - The same seed and the same calls give the same bytes.
//! - Synced bytes and names survive every crash.
//! - Handles from before a crash return errors.

mod state;

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::state::State;
use super::{Disk, DiskFile};

/// An in-memory [`Disk`] for tests and simulation. Clones are handles of the same disk.
#[derive(Clone, Debug)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

/// An open file of [`FaultyDisk`]. It returns errors after a crash or kill.
#[derive(Debug)]
pub struct FaultyFile {
    state: Arc<Mutex<State>>,
    id: u64,
    /// The crash count at opening: handles do not survive a crash.
    epoch: u64,
}

impl FaultyDisk {
    /// An empty disk without faults. The seed decides what crashes and torn writes keep.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Stops and starts the machine: synced bytes and names are kept, and some of the rest. Faults
    /// and a freeze end; open files become invalid.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// Stops the process and not the machine: all written bytes are kept. A freeze ends; open files
    /// become invalid.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// Lets the `n`-th write from now on (1 is the next) fail after a part of it was written.
    pub fn fail_write(&self, n: u64) {
        self.state().faults.write = Some(n);
    }

    /// Lets the `n`-th sync of a file from now on fail. The bytes that it should have made durable
    /// may never be.
    pub fn fail_sync(&self, n: u64) {
        self.state().faults.sync = Some(n);
    }

    /// Lets every cut of a file fail, until it is called with `false`.
    pub fn fail_truncate(&self, fails: bool) {
        self.state().faults.truncate = fails;
    }

    /// Refuses the `n`-th call from now on that needs a resource of the system: a descriptor,
    /// memory, a right, room for a name. Such calls create, open, rename, remove or list files,
    /// look at a directory, or sync it. The refused call changes nothing, and the next one finds
    /// what it needs.
    pub fn refuse(&self, n: u64) {
        self.state().faults.refused = Some(n);
    }

    /// Refuses every call that needs a resource of the system, until it is called with `false`.
    pub fn refuse_all(&self, refused: bool) {
        self.state().faults.all_refused = refused;
    }

    /// Lets the path of every directory lead elsewhere, until it is called with `false`. Files can
    /// still be reached, as through an open handle.
    pub fn displace(&self, displaced: bool) {
        self.state().faults.displaced = displaced;
    }

    /// Leaves room for `bytes` more bytes. Then writes fail with `StorageFull` after a part of
    /// them.
    pub fn full_after(&self, bytes: u64) {
        self.state().room = Some(bytes);
    }

    /// Ends what [`full_after`](Self::full_after) began: the disk has room again.
    pub fn free(&self) {
        self.state().room = None;
    }

    /// Freezes the disk at the `n`-th sync from now on (1 is the next, directories count). That
    /// sync and every later call fail until [`crash`](Self::crash) or [`kill`](Self::kill).
    pub fn freeze_at_sync(&self, n: u64) {
        self.state().faults.freeze = Some(n);
    }

    /// Whether [`freeze_at_sync`](Self::freeze_at_sync) has taken effect.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.state().frozen
    }

    /// Number of syncs of files and directories so far, failed ones included.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Byte ranges that [`DiskFile::begin_sync`] was called with, in order and for all files.
    #[must_use]
    pub fn syncs_begun(&self) -> Vec<Range<u64>> {
        self.state().syncs_begun.clone()
    }

    /// Flips one bit, counted from the start of the file, on the disk and in memory.
    ///
    /// # Errors
    /// `NotFound` without such a file, `InvalidInput` beyond its end.
    pub fn flip_bit(&self, path: &Path, bit: u64) -> io::Result<()> {
        self.state().flip_bit(path, bit)
    }

    /// All bytes of a file, as processes see them.
    ///
    /// # Errors
    /// `NotFound` without such a file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state().read(path)
    }

    /// Creates or replaces a file that is durable at once; faults do not apply.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        self.state().put(path, bytes);
    }
}

impl Disk for FaultyDisk {
    type File = FaultyFile;

    fn create_new(&self, path: &Path) -> io::Result<FaultyFile> {
        let mut state = self.state();
        state.take_resource("create")?;
        let id = state.create(path)?;
        Ok(self.file(&state, id))
    }

    fn open_read(&self, path: &Path) -> io::Result<FaultyFile> {
        let mut state = self.state();
        state.take_resource("open")?;
        let id = state.find(path)?;
        Ok(self.file(&state, id))
    }

    fn open_append(&self, path: &Path) -> io::Result<FaultyFile> {
        self.open_read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.take_resource("rename")?;
        state.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.take_resource("remove")?;
        state.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.take_resource("list")?;
        state.list(dir)
    }

    /// A directory exists as soon as a file is in it; this only fails while the disk is frozen.
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        self.state().check()
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.take_resource("sync of a directory")?;
        state.sync_dir(dir)
    }

    fn is_in_place(&self, _dir: &Path) -> io::Result<bool> {
        let mut state = self.state();
        state.take_resource("look at a directory")?;
        Ok(!state.faults.displaced)
    }
}

impl FaultyDisk {
    fn file(&self, state: &State, id: u64) -> FaultyFile {
        FaultyFile { state: Arc::clone(&self.state), id, epoch: state.epoch }
    }
}

impl DiskFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        lock(&self.state).append(self.epoch, self.id, bytes)
    }

    /// Only notes the range: a crash treats these bytes like all others that were not synced.
    fn begin_sync(&self, bytes: Range<u64>) {
        lock(&self.state).syncs_begun.push(bytes);
    }

    fn sync_data(&mut self) -> io::Result<()> {
        lock(&self.state).sync_data(self.epoch, self.id)
    }

    fn len(&self) -> io::Result<u64> {
        lock(&self.state).len(self.epoch, self.id)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        lock(&self.state).read_at(self.epoch, self.id, buffer, offset)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        lock(&self.state).truncate(self.epoch, self.id, len)
    }
}

fn lock(state: &Arc<Mutex<State>>) -> MutexGuard<'_, State> {
    // The state is whole after every call, also after a panic elsewhere.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
