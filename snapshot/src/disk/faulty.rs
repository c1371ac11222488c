//! A disk in memory that forgets, tears and refuses, all from a seed.
//!
//! What it does is what a file system may do, not what one usually does: after a crash every page that was not synced is
//! there or not, each for itself; names that were not synced too; and after a failed sync the pages look clean, are read
//! back, and are not on the disk.
//!
//! # Invariants
//! - The same seed and the same calls give the same bytes.
//! - What was synced survives every crash.
//! - Handles from before a crash give errors.

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

/// A file of [`FaultyDisk`].
#[derive(Debug)]
pub struct FaultyFile {
    state: Arc<Mutex<State>>,
    id: u64,
    /// Handles do not survive a crash.
    epoch: u64,
}

impl FaultyDisk {
    /// An empty disk without faults; the seed decides what crashes and torn writes keep.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(seed))) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The machine stops and starts: what was synced is there, of the rest some. Faults and freeze are over, open files are gone.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// The process stops, the machine does not: all that was written is there, open files are gone. A freeze is over.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// The `n`-th write from now on (1 is the next) fails after a part of it was written.
    pub fn fail_write(&self, n: u64) {
        self.state().faults.write = Some(n);
    }

    /// The `n`-th sync of a file from now on fails; what it should have made safe may never be.
    pub fn fail_sync(&self, n: u64) {
        self.state().faults.sync = Some(n);
    }

    /// Also the cutting back of a file fails, from now on until `false` is given.
    pub fn fail_truncate(&self, fails: bool) {
        self.state().faults.truncate = fails;
    }

    /// The `n`-th call from now on that needs a resource of the system (a descriptor, memory, a right, room for a name)
    /// is refused for want of it: to make, open, rename, remove or list files, or to sync a directory. It changes
    /// nothing, and the next such call finds what it needs.
    pub fn refuse(&self, n: u64) {
        self.state().faults.refused = Some(n);
    }

    /// All calls that need a resource of the system are refused, from now on until `false` is given.
    pub fn refuse_all(&self, refused: bool) {
        self.state().faults.all_refused = refused;
    }

    /// The path of every directory leads elsewhere, from now on until `false` is given. Files are reached all the same,
    /// as through an open handle.
    pub fn displace(&self, displaced: bool) {
        self.state().faults.displaced = displaced;
    }

    /// The disk has room for `bytes` more; then writes fail with `StorageFull` after a part of them.
    pub fn full_after(&self, bytes: u64) {
        self.state().room = Some(bytes);
    }

    /// The disk has room again.
    pub fn free(&self) {
        self.state().room = None;
    }

    /// From the `n`-th sync on (1 is the next, directories count) that sync and every call fails, until [`crash`](Self::crash).
    pub fn freeze_at_sync(&self, n: u64) {
        self.state().faults.freeze = Some(n);
    }

    /// Whether [`freeze_at_sync`](Self::freeze_at_sync) has come true.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.state().frozen
    }

    /// How many syncs there were, of files and directories.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Bytes of files whose syncs were begun before they were asked for, in order.
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

    /// All bytes of a file.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state().read(path)
    }

    /// Puts a file there, safe, whatever was there before; faults do not apply.
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

    /// Directories are there as soon as a file is in them; this is only checked for a freeze.
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

    /// It is only noted: at the next crash these bytes are there or not, as any others.
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
