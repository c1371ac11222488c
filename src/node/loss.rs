//! What damage costs, in words: which records, and from when on.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use snapshot::{Loss, Scan};

use crate::shard::event::time_of;
use crate::types::TimeMs;

/// Finds the newest time that records tell, at the cost of a copy of one record at a time.
#[derive(Debug, Default)]
pub struct NewestTime {
    /// The last record that has a time.
    record: Vec<u8>,
}

impl NewestTime {
    /// Takes the next record.
    pub fn note(&mut self, record: &[u8]) {
        if crate::shard::event::has_time(record) {
            self.record.clear();
            self.record.extend_from_slice(record);
        }
    }

    /// The time of the last record that has one.
    pub fn time(&self) -> Option<TimeMs> {
        time_of(&self.record)
    }
}

/// When the records that are kept end: by their own time, or else by that of the image they are in.
pub fn kept_until(newest: Option<TimeMs>, image: Option<&Path>) -> Option<SystemTime> {
    let of_records =
        newest.and_then(|time| UNIX_EPOCH.checked_add(Duration::from_millis(time.get())));
    let of_image = || std::fs::metadata(image?).ok()?.modified().ok();
    of_records.or_else(of_image)
}

/// What accepting the damage would cost, as one sentence without its full stop.
pub fn cost(scan: &Scan, newest: Option<TimeMs>) -> String {
    let image = scan.images.iter().rev().find(|image| image.state.is_ok());
    match &scan.loss {
        _ if !scan.can_be_repaired => {
            "nothing whole is left to begin from, so no flag goes on from here; restore a backup"
                .to_owned()
        }
        None => {
            "accepting the damage (--allow-damage, or inspect --repair) loses nothing".to_owned()
        }
        Some(loss) => {
            let until = kept_until(newest, image.map(|image| image.path.as_path()));
            format!(
                "accepting the damage (--allow-damage, or inspect --repair) loses {}",
                described(loss, until)
            )
        }
    }
}

/// The lost records, and from when on.
pub fn described(loss: &Loss, kept_until: Option<SystemTime>) -> String {
    match kept_until {
        Some(time) => {
            format!("{loss}: what was written after {}", httpdate::fmt_http_date(time))
        }
        None => loss.to_string(),
    }
}
