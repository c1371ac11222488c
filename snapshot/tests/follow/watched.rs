//! A disk that counts reads, and runs an event between the listing of a directory and the next
//! call.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use snapshot::{Disk, DiskFile, FaultyDisk};

type File = <FaultyDisk as Disk>::File;

pub type Event = Box<dyn FnOnce() + Send>;

/// The disk below. Clones share everything.
#[derive(Clone)]
pub struct Watched {
    pub disk: FaultyDisk,
    pub read: Arc<Read>,
    /// One event for each listing, run after it.
    pub after_list: Arc<Mutex<VecDeque<Event>>>,
}

/// Reads since the last call of `take`.
#[derive(Debug, Default)]
pub struct Read {
    bytes: AtomicU64,
    calls: AtomicU64,
}

#[derive(Debug)]
pub struct WatchedFile(File, Arc<Read>);

impl Read {
    /// Bytes and calls since the last call.
    pub fn take(&self) -> (u64, u64) {
        (self.bytes.swap(0, Ordering::Relaxed), self.calls.swap(0, Ordering::Relaxed))
    }
}

impl Watched {
    pub fn new(disk: &FaultyDisk) -> Self {
        Self { disk: disk.clone(), read: Arc::default(), after_list: Arc::default() }
    }

    fn file(&self, file: io::Result<File>) -> io::Result<WatchedFile> {
        file.map(|file| WatchedFile(file, self.read.clone()))
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.disk.fmt(f)
    }
}

impl Disk for Watched {
    type File = WatchedFile;

    fn create_new(&self, path: &Path) -> io::Result<WatchedFile> {
        self.file(self.disk.create_new(path))
    }
    fn open_read(&self, path: &Path) -> io::Result<WatchedFile> {
        self.file(self.disk.open_read(path))
    }
    fn open_append(&self, path: &Path) -> io::Result<WatchedFile> {
        self.file(self.disk.open_append(path))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let names = self.disk.list(dir);
        let event = self.after_list.lock().unwrap().pop_front();
        event.into_iter().for_each(|event| event());
        names
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}

impl DiskFile for WatchedFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.append(bytes)
    }
    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.0.read_at(buffer, offset)?;
        self.1.bytes.fetch_add(u64::try_from(read).unwrap(), Ordering::Relaxed);
        self.1.calls.fetch_add(1, Ordering::Relaxed);
        Ok(read)
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.truncate(len)
    }
}
