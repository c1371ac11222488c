//! Describes the cost of damage: which records are lost, and from which time on.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use snapshot::{Loss, Scan};

use crate::shard::events::time_of;
use crate::types::TimeMs;

/// Finds the newest time in a sequence of records. It copies one record at a time.
#[derive(Debug, Default)]
pub struct NewestTime {
    /// The last record that has a time.
    record: Vec<u8>,
}

impl NewestTime {
    /// Looks at the next record of the log.
    pub fn note(&mut self, record: &[u8]) {
        if crate::shard::events::has_time(record) {
            self.record.clear();
            self.record.extend_from_slice(record);
        }
    }

    /// The time of the last record that has one; `None` if there was none.
    pub fn time(&self) -> Option<TimeMs> {
        time_of(&self.record)
    }
}

/// Until when records are kept: the time of the newest record, or else the modification time of the
/// snapshot file. `None` if neither is known.
pub fn kept_until(newest: Option<TimeMs>, snapshot: Option<&Path>) -> Option<SystemTime> {
    let of_records =
        newest.and_then(|time| UNIX_EPOCH.checked_add(Duration::from_millis(time.get())));
    let of_snapshot = || std::fs::metadata(snapshot?).ok()?.modified().ok();
    of_records.or_else(of_snapshot)
}

/// The cost of accepting the damage, as one sentence without its full stop.
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

/// The lost records and, if it is known, the time from which on they are lost.
pub fn described(loss: &Loss, kept_until: Option<SystemTime>) -> String {
    match kept_until {
        Some(time) => {
            format!("{loss}: what was written after {}", httpdate::fmt_http_date(time))
        }
        None => loss.to_string(),
    }
}
