//! A disk that takes long to remove a file.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use snapshot::{Disk, FaultyDisk};

/// A disk on which every removal waits until it is released.
#[derive(Clone, Debug)]
pub struct SlowDisk {
    disk: FaultyDisk,
    is_removing: Arc<AtomicBool>,
    may_remove: Arc<AtomicBool>,
}

impl SlowDisk {
    pub fn new(disk: FaultyDisk) -> Self {
        Self { disk, is_removing: Arc::default(), may_remove: Arc::default() }
    }

    pub fn is_removing(&self) -> bool {
        self.is_removing.load(Ordering::Acquire)
    }

    pub fn let_go(&self) {
        self.may_remove.store(true, Ordering::Release);
    }
}

impl Disk for SlowDisk {
    type File = <FaultyDisk as Disk>::File;

    fn create_new(&self, path: &Path) -> io::Result<Self::File> {
        self.disk.create_new(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<Self::File> {
        self.disk.open_read(path)
    }

    fn open_append(&self, path: &Path) -> io::Result<Self::File> {
        self.disk.open_append(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.is_removing.store(true, Ordering::Release);
        while !self.may_remove.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.disk.remove(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
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
