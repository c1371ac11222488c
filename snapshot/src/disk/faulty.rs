//! A disk in memory that loses, tears and refuses, as a seed decides.
//!
//! It does what a file system is allowed to do, not what one usually does. After a crash each page
//! that was not synced is there or not, independently of others; so is each name. After a failed
//! sync the pages can be read as if they were synced, but are not on the disk.
//!
//! # Invariants
//! - The same seed and the same calls give the same bytes.
//! - Synced bytes and names survive every crash.
//! - A file that was open during a crash only returns errors.

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
    /// How many crashes there were when the file was opened. After another one the file is invalid.
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

    /// Stops and starts the machine: keeps synced bytes and names, and some of the others. Planned
    /// faults and a freeze end, and open files become invalid.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// Stops the process but not the machine: keeps all written bytes. A freeze ends, and open
    /// files become invalid.
    pub fn kill(&self) {
        self.state().kill();
    }

    /// Makes the `n`-th write from now on (1 is the next) fail, after a part of it was written.
    pub fn fail_write(&self, n: u64) {
        self.state().faults.write = Some(n);
    }

    /// Makes the `n`-th sync of a file from now on fail. The bytes that it should have made durable
    /// may never become so.
    pub fn fail_sync(&self, n: u64) {
        self.state().faults.sync = Some(n);
    }

    /// Makes every cut of a file fail, or no more if `fails` is false.
    pub fn fail_truncate(&self, fails: bool) {
        self.state().faults.truncate = fails;
    }

    /// Refuses the `n`-th call from now on that needs a resource of the system: a descriptor,
    /// memory, a right, room for a name. Such calls create, open, rename, remove or list files, or
    /// look at or sync a directory. The refused call changes nothing, and the next one succeeds.
    pub fn refuse(&self, n: u64) {
        self.state().faults.refused = Some(n);
    }

    /// Refuses every call that needs a resource of the system, or no more if `refused` is false.
    pub fn refuse_all(&self, refused: bool) {
        self.state().faults.all_refused = refused;
    }

    /// Makes the path of every directory lead elsewhere, or no more if `displaced` is false. Files
    /// can still be reached, as through an open handle.
    pub fn displace(&self, displaced: bool) {
        self.state().faults.displaced = displaced;
    }

    /// Leaves room for `bytes` more bytes. After them, writes fail with `StorageFull` when a part
    /// is written.
    pub fn full_after(&self, bytes: u64) {
        self.state().room = Some(bytes);
    }

    /// Ends what [`full_after`](Self::full_after) began: the disk has room again.
    pub fn free(&self) {
        self.state().room = None;
    }

    /// Freezes the disk at the `n`-th sync from now on (1 is the next; directories count). That
    /// sync and all later calls fail, until [`crash`](Self::crash) or [`kill`](Self::kill).
    pub fn freeze_at_sync(&self, n: u64) {
        self.state().faults.freeze = Some(n);
    }

    /// Whether [`freeze_at_sync`](Self::freeze_at_sync) has taken effect.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        self.state().frozen
    }

    /// Number of syncs of files and directories so far, with failed ones.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// All byte ranges that [`DiskFile::begin_sync`] got, for all files and in order.
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

    /// All bytes of a file, as processes see them now; a crash may lose some.
    ///
    /// # Errors
    /// `NotFound` without such a file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.state().read(path)
    }

    /// Creates or replaces a file that is durable at once. No planned fault applies to this.
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

    /// Creates nothing: a directory exists as soon as it has a file. Fails only while the disk is
    /// frozen.
    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        self.state().check()
    }

    /// Removes nothing: a directory ends with its last file. Fails only while the disk is frozen.
    fn remove_dir(&self, _path: &Path) -> io::Result<()> {
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

    /// Only notes the range. A crash treats these bytes like all others that were not synced.
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
    // No panic can leave a call's change half done, so a poisoned lock is usable.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
