//! The state behind a faulty disk: what processes see, and what is durable.
//!
//! # Invariants
//! - The first `same` bytes of a file are equal in `seen` and `safe`, so a sync only copies the
//!   rest.
//! - `pending` has each change of a name that is not durable yet, in order.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::bytes::{u64_of, usize_of};

/// The part of a file that a crash keeps or loses as one. It is small, so that short files have
/// several.
const PAGE_BYTES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) write: Option<u64>,
    pub(super) sync: Option<u64>,
    pub(super) freeze: Option<u64>,
    pub(super) truncate: bool,
    pub(super) refused: Option<u64>,
    pub(super) all_refused: bool,
    pub(super) displaced: bool,
}

/// The errors of a refused call, which lacks a descriptor, memory, a right or room for a name.
const REFUSALS: [Errno; 8] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOMEM,
    Errno::ACCESS,
    Errno::PERM,
    Errno::NOSPC,
    Errno::DQUOT,
    Errno::ROFS,
];

#[derive(Clone, Debug, Default)]
struct Data {
    seen: Vec<u8>,
    safe: Vec<u8>,
    same: usize,
}

#[derive(Clone, Debug)]
enum NameChange {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

#[derive(Debug)]
pub(super) struct State {
    random: u64,
    pub(super) epoch: u64,
    next_id: u64,
    files: BTreeMap<u64, Data>,
    names: BTreeMap<PathBuf, u64>,
    safe_names: BTreeMap<PathBuf, u64>,
    pending: Vec<NameChange>,
    pub(super) faults: Faults,
    pub(super) room: Option<u64>,
    pub(super) frozen: bool,
    pub(super) syncs: u64,
    pub(super) syncs_begun: Vec<Range<u64>>,
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            epoch: 0,
            next_id: 0,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            safe_names: BTreeMap::new(),
            pending: Vec::new(),
            faults: Faults::default(),
            room: None,
            frozen: false,
            syncs: 0,
            syncs_begun: Vec::new(),
        }
    }

    /// The next random number, by splitmix64, which is equal on every machine.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A random number from 0 to `most`, both included.
    fn up_to(&mut self, most: usize) -> usize {
        usize_of(self.random() % u64_of(most).saturating_add(1))
    }

    fn chance(&mut self) -> bool {
        self.random() & 1 == 1
    }

    pub(super) fn check(&self) -> io::Result<()> {
        if self.frozen {
            return Err(io::Error::other("the machine stands still"));
        }
        Ok(())
    }

    /// Refuses the call if that was planned. Every call that needs a resource of the system asks
    /// first.
    pub(super) fn take_resource(&mut self, call: &str) -> io::Result<()> {
        self.check()?;
        if !count_down(&mut self.faults.refused) && !self.faults.all_refused {
            return Ok(());
        }
        let refusal = REFUSALS.get(self.up_to(REFUSALS.len() - 1)).copied();
        let refusal = io::Error::from(refusal.unwrap_or(Errno::MFILE));
        let kind = refusal.kind();
        Err(io::Error::new(kind, format!("the {call} is refused, as was asked for: {refusal}")))
    }

    fn data(&mut self, epoch: u64, id: u64) -> io::Result<&mut Data> {
        self.check()?;
        if epoch != self.epoch {
            return Err(io::Error::other("opened before the crash"));
        }
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        self.check()?;
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<u64> {
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.check()?;
        let id = self.new_file(path, Data::default());
        self.pending.push(NameChange::Link(path.to_path_buf(), id));
        Ok(id)
    }

    fn new_file(&mut self, path: &Path, data: Data) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.files.insert(id, data);
        self.names.insert(path.to_path_buf(), id);
        id
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let id = self.find(from)?;
        self.names.remove(from);
        self.names.insert(to.to_path_buf(), id);
        self.pending.push(NameChange::Rename(from.to_path_buf(), to.to_path_buf(), id));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        self.names.remove(path);
        self.pending.push(NameChange::Unlink(path.to_path_buf()));
        if let (Some(room), Some(data)) = (&mut self.room, self.files.get(&id)) {
            *room = room.saturating_add(u64_of(data.seen.len()));
        }
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.check()?;
        let inside = self.names.keys().filter(|path| path.parent() == Some(dir));
        let names = inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        Ok(names.collect())
    }

    pub(super) fn append(&mut self, epoch: u64, id: u64, bytes: &[u8]) -> io::Result<()> {
        self.data(epoch, id)?;
        let room = self.room.map_or(bytes.len(), |room| usize_of(room).min(bytes.len()));
        let fails = count_down(&mut self.faults.write);
        let taken = if fails { self.up_to(room) } else { room };
        if let Some(room) = &mut self.room {
            *room -= u64_of(taken);
        }
        let (written, _) = bytes.split_at_checked(taken).unwrap_or_default();
        self.data(epoch, id)?.seen.extend_from_slice(written);
        match (fails, taken < bytes.len()) {
            (true, _) => Err(io::Error::other("the write fails, as was asked for")),
            (false, true) => Err(io::ErrorKind::StorageFull.into()),
            (false, false) => Ok(()),
        }
    }

    pub(super) fn truncate(&mut self, epoch: u64, id: u64, len: u64) -> io::Result<()> {
        let fails = self.faults.truncate;
        let data = self.data(epoch, id)?;
        if fails {
            return Err(io::Error::other("the cut fails, as was asked for"));
        }
        let before = data.seen.len();
        data.seen.truncate(usize_of(len));
        data.same = data.same.min(data.seen.len());
        let freed = before - data.seen.len();
        if let Some(room) = &mut self.room {
            *room = room.saturating_add(u64_of(freed));
        }
        Ok(())
    }

    pub(super) fn len(&mut self, epoch: u64, id: u64) -> io::Result<u64> {
        self.data(epoch, id).map(|data| u64_of(data.seen.len()))
    }

    pub(super) fn read_at(
        &mut self,
        epoch: u64,
        id: u64,
        buffer: &mut [u8],
        offset: u64,
    ) -> io::Result<usize> {
        let data = self.data(epoch, id)?;
        let rest = data.seen.get(usize_of(offset)..).unwrap_or_default();
        let bytes = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..bytes), rest.get(..bytes)) {
            to.copy_from_slice(from);
        }
        Ok(bytes)
    }

    fn count_sync(&mut self) -> io::Result<()> {
        self.syncs += 1;
        if count_down(&mut self.faults.freeze) {
            self.frozen = true;
        }
        self.check()
    }

    pub(super) fn sync_data(&mut self, epoch: u64, id: u64) -> io::Result<()> {
        self.data(epoch, id)?;
        self.count_sync()?;
        let fails = count_down(&mut self.faults.sync);
        let dropped = fails && self.chance();
        let data = self.data(epoch, id)?;
        if fails {
            if dropped {
                // The pages count as synced but are not on the disk. So a later sync will not write
                // them.
                data.safe.truncate(data.same);
                data.safe.resize(data.seen.len(), 0);
                data.same = data.seen.len();
            }
            return Err(io::Error::other("the sync fails, as was asked for"));
        }
        data.safe.truncate(data.same);
        data.safe.extend_from_slice(data.seen.get(data.same..).unwrap_or_default());
        data.same = data.seen.len();
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.check()?;
        self.count_sync()?;
        let pending = std::mem::take(&mut self.pending);
        let (inside, outside) = pending.into_iter().partition(|change| change.is_in(dir));
        self.pending = outside;
        let inside: Vec<NameChange> = inside;
        for change in inside {
            change.apply(&mut self.safe_names);
        }
        Ok(())
    }

    pub(super) fn kill(&mut self) {
        self.epoch += 1;
        self.frozen = false;
    }

    pub(super) fn crash(&mut self) {
        self.kill();
        self.faults = Faults::default();
        let in_order = self.chance();
        let count = self.up_to(self.pending.len());
        for (index, change) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            // A file system with a journal keeps the first changes, up to some point. Others may
            // keep any of them.
            let kept = if in_order { index < count } else { self.chance() };
            if kept {
                change.apply(&mut self.safe_names);
            }
        }
        self.names = self.safe_names.clone();
        let mut files = std::mem::take(&mut self.files);
        files.retain(|id, _| self.names.values().any(|used| used == id));
        for data in files.values_mut() {
            let bytes = self.survivors(data);
            *data = Data { same: bytes.len(), safe: bytes.clone(), seen: bytes };
        }
        self.files = files;
    }

    /// Chooses which bytes of a file survive a crash. The length is one that the file had, or one
    /// between. Each page is old or new.
    fn survivors(&mut self, data: &Data) -> Vec<u8> {
        if data.same == data.seen.len() && data.same == data.safe.len() {
            return data.safe.clone();
        }
        let (low, high) = if data.safe.len() < data.seen.len() {
            (data.safe.len(), data.seen.len())
        } else {
            (data.seen.len(), data.safe.len())
        };
        let len = match self.up_to(3) {
            0 => low,
            1 => high,
            _ => low + self.up_to(high - low),
        };
        let mut bytes = data.safe.clone();
        bytes.resize(len, 0);
        let all_new = self.up_to(3) == 0;
        let mut page = data.same - data.same % PAGE_BYTES;
        while page < len {
            let end = (page + PAGE_BYTES).min(len).min(data.seen.len());
            // The page gets the new bytes as a whole, not at all, or up to some byte.
            let to = match self.up_to(4) {
                _ if all_new => end,
                0 | 1 => end,
                2 | 3 => page,
                _ => page + self.up_to(end.saturating_sub(page)),
            };
            if let (Some(old), Some(new)) = (bytes.get_mut(page..to), data.seen.get(page..to)) {
                old.copy_from_slice(new);
            }
            page += PAGE_BYTES;
        }
        bytes
    }

    pub(super) fn flip_bit(&mut self, path: &Path, bit: u64) -> io::Result<()> {
        let id = self.find(path)?;
        let data = self.data(self.epoch, id)?;
        let at = usize_of(bit / 8);
        let mask = 1_u8 << (bit % 8);
        let seen = data.seen.get_mut(at).ok_or(io::ErrorKind::InvalidInput)?;
        *seen ^= mask;
        if let Some(safe) = data.safe.get_mut(at) {
            *safe ^= mask;
        }
        Ok(())
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let id = self.find(path)?;
        let data = self.files.get(&id).ok_or(io::ErrorKind::NotFound)?;
        Ok(data.seen.clone())
    }

    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) {
        let data = Data { seen: bytes.to_vec(), safe: bytes.to_vec(), same: bytes.len() };
        let id = self.new_file(path, data);
        self.safe_names.insert(path.to_path_buf(), id);
    }
}

impl NameChange {
    fn is_in(&self, dir: &Path) -> bool {
        let (NameChange::Link(path, _) | NameChange::Unlink(path) | NameChange::Rename(_, path, _)) =
            self;
        path.parent() == Some(dir)
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameChange::Link(path, id) => {
                names.insert(path, id);
            }
            NameChange::Unlink(path) => {
                names.remove(&path);
            }
            NameChange::Rename(from, to, id) => {
                // Only if the name still leads to this file: if earlier changes were lost, another
                // file may have it.
                if names.get(&from) == Some(&id) {
                    names.remove(&from);
                }
                names.insert(to, id);
            }
        }
    }
}

/// Counts one call. Returns true if it is the one that must fail.
fn count_down(counter: &mut Option<u64>) -> bool {
    match counter.as_mut() {
        None => false,
        Some(left) if *left <= 1 => {
            *counter = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
    }
}
