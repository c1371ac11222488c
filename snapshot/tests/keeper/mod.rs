//! A baseline in a sealed file beside the log, as a node keeps it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use snapshot::{FaultyDisk, Floor, KeepFloor, Lsn, read_sealed, write_sealed};

pub const FILE: &str = "/data/node";

#[derive(Debug)]
pub struct Keeper {
    disk: FaultyDisk,
    kept: Mutex<Floor>,
}

impl Keeper {
    /// The keeper of the baseline on this disk.
    pub fn of(disk: &FaultyDisk) -> Arc<Self> {
        Arc::new(Self { disk: disk.clone(), kept: Mutex::new(floor_of(disk)) })
    }
}

impl KeepFloor for Keeper {
    fn raise(&self, to: Floor) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap();
        let floor = kept.raised(to);
        let numbers = [floor.durable, floor.segment, floor.image];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.0.to_le_bytes()).collect();
        write_sealed(&self.disk, &PathBuf::from(FILE), &bytes)?;
        *kept = floor;
        Ok(())
    }
}

/// The baseline that is kept on this disk; the default before the first one.
pub fn floor_of(disk: &FaultyDisk) -> Floor {
    let Ok(bytes) = read_sealed(disk, Path::new(FILE)) else { return Floor::default() };
    let number = |at: usize| Lsn(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()));
    Floor { durable: number(0), segment: number(8), image: number(16) }
}
