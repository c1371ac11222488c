//! A baseline in a sealed file beside the log, as a node keeps it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use snapshot::{Baseline, FaultyDisk, KeepBaseline, Lsn, read_sealed, write_sealed};

pub const FILE: &str = "/data/node";

#[derive(Debug)]
pub struct Keeper {
    disk: FaultyDisk,
    kept: Mutex<Baseline>,
}

impl Keeper {
    /// The keeper of the baseline on this disk.
    pub fn of(disk: &FaultyDisk) -> Arc<Self> {
        Arc::new(Self { disk: disk.clone(), kept: Mutex::new(baseline_of(disk)) })
    }
}

impl KeepBaseline for Keeper {
    fn raise(&self, to: Baseline) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap();
        let baseline = kept.raised(to);
        let numbers = [baseline.durable, baseline.segment, baseline.snapshot];
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.0.to_le_bytes()).collect();
        write_sealed(&self.disk, &PathBuf::from(FILE), &bytes)?;
        *kept = baseline;
        Ok(())
    }
}

/// The baseline that is kept on this disk; the default before the first one.
pub fn baseline_of(disk: &FaultyDisk) -> Baseline {
    let Ok(bytes) = read_sealed(disk, Path::new(FILE)) else { return Baseline::default() };
    let number = |at: usize| Lsn(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()));
    Baseline { durable: number(0), segment: number(8), snapshot: number(16) }
}
