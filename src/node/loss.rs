//! Describes what damage costs: which records are lost, and since when.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use snapshot::{Loss, Scan};

use crate::shard::events::time_of;
use crate::types::TimeMs;

/// Finds the newest time among records. Copies a record only if it has a time, and decodes only the
/// last one.
#[derive(Debug, Default)]
pub struct NewestTime {
    /// The newest record that has a time.
    record: Vec<u8>,
}

impl NewestTime {
    /// Takes the next record of the log.
    pub fn note(&mut self, record: &[u8]) {
        if crate::shard::events::has_time(record) {
            self.record.clear();
            self.record.extend_from_slice(record);
        }
    }

    /// The time of the newest record that has one. `None` if no record has a time.
    pub fn time(&self) -> Option<TimeMs> {
        time_of(&self.record)
    }
}

/// Until when changes are kept: up to the time of the newest record, else up to the time of the
/// snapshot file. `None` if both are unknown.
pub fn kept_until(newest: Option<TimeMs>, snapshot: Option<&Path>) -> Option<SystemTime> {
    let of_records =
        newest.and_then(|time| UNIX_EPOCH.checked_add(Duration::from_millis(time.get())));
    let of_snapshot = || std::fs::metadata(snapshot?).ok()?.modified().ok();
    of_records.or_else(of_snapshot)
}

/// How to get the data of a member back.
pub const WIPE_ADVICE: &str =
    "Wipe the directory and start the node: it copies the data of the active";

/// What accepting the damage costs, as one sentence without its full stop.
pub fn cost(scan: &Scan, newest: Option<TimeMs>) -> String {
    let snapshot = scan.snapshots.iter().rev().find(|snapshot| snapshot.state.is_ok());
    match &scan.loss {
        _ if !scan.can_be_repaired => {
            "nothing whole is left to begin from, so no flag goes on from here; restore a backup"
                .to_owned()
        }
        None => {
            "accepting the damage (--allow-damage, or inspect --repair) loses nothing".to_owned()
        }
        Some(loss) => {
            let until = kept_until(newest, snapshot.map(|snapshot| snapshot.path.as_path()));
            format!(
                "accepting the damage (--allow-damage, or inspect --repair) loses {}",
                described(loss, until)
            )
        }
    }
}

/// Which records are lost. If `kept_until` is known, also from which time on.
pub fn described(loss: &Loss, kept_until: Option<SystemTime>) -> String {
    match kept_until {
        Some(time) => {
            format!("{loss}: what was written after {}", httpdate::fmt_http_date(time))
        }
        None => loss.to_string(),
    }
}
