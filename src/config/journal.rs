//! The settings of a member of a journal.

use std::fmt;
use std::time::Duration;

use super::settings::Merged;
use super::{ConfigError, integer};
use crate::journal::client::EngineClient;
use crate::limits::JOURNAL_TEXT_BYTES_MAX;

/// Longest of the three times of a lease, in ms.
const TIMES_MS_MAX: u64 = 600_000;

/// What a member needs to know of its journal.
#[derive(Debug, Clone)]
pub struct JournalConfig {
    /// Where the engine is.
    pub engine: EngineAddress,
    /// The name of this member; `None`: what it advertises.
    pub member: Option<String>,
    /// The address of its TCP door, as clients reach it; `None`: the address of the door.
    pub advertise: Option<String>,
    /// The address of its admin listener, as other members reach it; `None`: that of the listener.
    pub advertise_admin: Option<String>,
    /// Time after which an active without writes appends a beat; `None`: the adapter's.
    pub beat: Option<Duration>,
    /// Time for which an append gives the right to reply; `None`: the adapter's.
    pub serve: Option<Duration>,
    /// Silence after which a standby claims; `None`: the adapter's.
    pub claim: Option<Duration>,
}

/// An engine, and the name of the journal in it.
#[derive(Clone)]
pub enum EngineAddress {
    /// etcd.
    #[cfg(feature = "journal-etcd")]
    Etcd(crate::journal::etcd::EtcdSettings),
    /// An engine that runs in this process, for tests.
    Given(EngineClient),
}

impl fmt::Debug for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Without the password that it may hold.
            #[cfg(feature = "journal-etcd")]
            Self::Etcd(etcd) => write!(f, "etcd://{}/{}", etcd.members.join(","), etcd.name),
            Self::Given(_) => f.write_str("an engine in this process"),
        }
    }
}

/// Reads the settings; `None` without a journal.
pub(super) fn journal(merged: &Merged) -> Result<Option<JournalConfig>, ConfigError> {
    let Some(engine) = merged.get("journal", engine)? else {
        for name in ["member", "advertise", "advertise_admin", "beat_ms", "serve_ms", "claim_ms"] {
            if !merged.is_default(name) {
                return Err(merged.error(name, "is of no use without journal"));
            }
        }
        return Ok(None);
    };
    Ok(Some(JournalConfig {
        engine,
        member: merged.get("member", short)?,
        advertise: merged.get("advertise", short)?,
        advertise_admin: merged.get("advertise_admin", short)?,
        beat: merged.get("beat_ms", milliseconds)?,
        serve: merged.get("serve_ms", milliseconds)?,
        claim: merged.get("claim_ms", milliseconds)?,
    }))
}

/// A text that fits in an entry of the journal; `None` if it is empty.
fn short(text: &str) -> Result<Option<String>, String> {
    match text.len() <= JOURNAL_TEXT_BYTES_MAX {
        true => Ok((!text.is_empty()).then(|| text.to_owned())),
        false => Err(format!("must have at most {JOURNAL_TEXT_BYTES_MAX} bytes")),
    }
}

fn milliseconds(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "" => Ok(None),
        text => integer(1, TIMES_MS_MAX)(text).map(|ms| Some(Duration::from_millis(ms))),
    }
}

/// Parses the address of a journal; `None` if it is empty.
///
/// # Errors
/// If it has another form, or if this build has no adapter for the engine.
pub fn engine(text: &str) -> Result<Option<EngineAddress>, String> {
    match text {
        "" => Ok(None),
        text => etcd(text).map(Some),
    }
}

#[cfg(feature = "journal-etcd")]
fn etcd(text: &str) -> Result<EngineAddress, String> {
    let settings = crate::journal::etcd::EtcdSettings::parse(text);
    settings.map(EngineAddress::Etcd).map_err(|error| error.to_string())
}

#[cfg(not(feature = "journal-etcd"))]
fn etcd(_: &str) -> Result<EngineAddress, String> {
    Err("this build has no journal; build it with `--features journal-etcd`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_an_engine_is_refused() {
        assert!(engine("").unwrap().is_none());
        for wrong in ["a:2379/x", "nats://a/x", "etcd://a"] {
            assert!(engine(wrong).is_err(), "{wrong}");
        }
    }
}
