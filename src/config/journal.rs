//! The settings of a member of a journal.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::choices::one_of;
use super::settings::Merged;
use super::{ConfigError, integer, path_or_none, read, size};
use crate::journal::client::EngineClient;
use crate::journal::engine::{EngineAccess, EngineTls};
use crate::journal::kept::TrimLimits;
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
    /// The authority that signed the certificates of the members' doors; `None`: the system's.
    pub member_tls_ca: Option<PathBuf>,
    /// Whether replies of the active wait until the journal confirms that it still is the active.
    pub confirms_reads: bool,
    /// How much of the journal the engine keeps.
    pub trim: TrimLimits,
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

impl EngineAddress {
    /// Says who this process is.
    pub fn set_access(&mut self, access: EngineAccess) {
        match self {
            #[cfg(feature = "journal-etcd")]
            Self::Etcd(etcd) => etcd.access = access,
            // It is in this process.
            Self::Given(_) => drop(access),
        }
    }

    /// Sets the largest size of the journal, in bytes.
    fn set_kept_max(&mut self, bytes: u64) {
        match self {
            #[cfg(feature = "journal-etcd")]
            Self::Etcd(etcd) => etcd.kept_bytes_max = bytes,
            // It tells no quota.
            Self::Given(_) => _ = bytes,
        }
    }
}

/// Most members that a setting may name.
const COPIES_MAX: u64 = 32;
/// Least bytes of a journal that the engine may be told to keep.
const JOURNAL_BYTES_MIN: u64 = 4096;

/// Whether replies wait for appends, by the value of `reads`.
const READS: [(&str, bool); 2] = [("lease", false), ("confirmed", true)];

/// The settings that are of no use without a journal, besides the files below.
const OTHERS: [&str; 12] = [
    "member",
    "advertise",
    "advertise_admin",
    "beat_ms",
    "serve_ms",
    "claim_ms",
    "reads",
    "member_tls_ca",
    "copies",
    "copies_min",
    "journal_keep_bytes",
    "journal_bytes_max",
];

/// The settings of the files below.
const ACCESS: [&str; 4] =
    ["journal_token_file", "journal_tls_ca", "journal_tls_cert", "journal_tls_key"];

/// The files that say who this process is towards the engine.
#[derive(Debug, Clone, Default)]
pub struct AccessFiles {
    /// One line, `NAME:PASSWORD`.
    pub token: Option<PathBuf>,
    /// The authority that signed the engine's certificates.
    pub authority: Option<PathBuf>,
    /// The certificate of this process.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

impl AccessFiles {
    /// Reads them. An error comes with the setting that is wrong.
    ///
    /// # Errors
    /// If one cannot be read, has another form, or misses another one.
    pub fn read(&self) -> Result<EngineAccess, (&'static str, String)> {
        let [token_file, ca, certificate, key] = ACCESS;
        let text = |name, path: &Option<PathBuf>| {
            path.as_deref().map(read).transpose().map_err(|why| (name, why))
        };
        let user = text(token_file, &self.token)?.map(|line| {
            let user = line.trim_end().split_once(':');
            let user = user.filter(|(name, password)| !name.is_empty() && !password.is_empty());
            user.map(|(name, password)| (name.to_owned(), password.to_owned()))
                .ok_or_else(|| (token_file, "must hold NAME:PASSWORD".to_owned()))
        });
        let identity = match (text(certificate, &self.certificate)?, text(key, &self.key)?) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into_bytes(), key.into_bytes())),
            (Some(_), None) => return Err((certificate, format!("needs {key} beside it"))),
            (None, Some(_)) => return Err((key, format!("needs {certificate} beside it"))),
        };
        let tls = match (text(ca, &self.authority)?, identity) {
            (None, None) => None,
            (None, Some(_)) => return Err((certificate, format!("needs {ca} beside it"))),
            (Some(authority), identity) => {
                Some(EngineTls { authority: authority.into_bytes(), identity })
            }
        };
        Ok(EngineAccess { user: user.transpose()?, tls })
    }
}

/// Reads the settings; `None` without a journal.
pub(super) fn journal(merged: &Merged) -> Result<Option<JournalConfig>, ConfigError> {
    let Some(mut engine) = merged.get("journal", engine)? else {
        for name in OTHERS.into_iter().chain(ACCESS) {
            if !merged.is_default(name) {
                return Err(merged.error(name, "is of no use without journal"));
            }
        }
        return Ok(None);
    };
    let [token_file, ca, certificate, key] = ACCESS;
    let path = |name| merged.get(name, |path| Ok(path_or_none(path)));
    let files = AccessFiles {
        token: path(token_file)?,
        authority: path(ca)?,
        certificate: path(certificate)?,
        key: path(key)?,
    };
    engine.set_access(files.read().map_err(|(name, why)| merged.error(name, why))?);
    let trim = trim(merged)?;
    engine.set_kept_max(trim.bytes_max);
    Ok(Some(JournalConfig {
        engine,
        member: merged.get("member", short)?,
        advertise: merged.get("advertise", short)?,
        advertise_admin: merged.get("advertise_admin", short)?,
        beat: merged.get("beat_ms", milliseconds)?,
        serve: merged.get("serve_ms", milliseconds)?,
        claim: merged.get("claim_ms", milliseconds)?,
        member_tls_ca: path("member_tls_ca")?,
        confirms_reads: merged.get("reads", |text| one_of(text, &READS))?,
        trim,
    }))
}

fn trim(merged: &Merged) -> Result<TrimLimits, ConfigError> {
    let copies = |text: &str| {
        let number = integer(1, COPIES_MAX)(text)?;
        u16::try_from(number).map_err(|error| error.to_string())
    };
    let limits = TrimLimits {
        keep_bytes: merged.get("journal_keep_bytes", size(0))?,
        bytes_max: merged.get("journal_bytes_max", size(JOURNAL_BYTES_MIN))?,
        copies: merged.get("copies", copies)?,
        copies_min: merged.get("copies_min", copies)?,
        ..TrimLimits::default()
    };
    if limits.keep_bytes > limits.bytes_max {
        return Err(merged.error("journal_keep_bytes", "is above journal_bytes_max"));
    }
    if limits.copies_min > limits.copies {
        return Err(merged.error("copies_min", "is above copies"));
    }
    Ok(limits)
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
    fn who_this_process_is_comes_from_files() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            Some(path)
        };
        let token = |text: &str| AccessFiles { token: file("token", text), ..Default::default() };
        let user = token("im:se:cret\n").read().ok().unwrap().user;
        assert_eq!(user, Some(("im".to_owned(), "se:cret".to_owned())));
        for wrong in ["", "im", "im:", ":secret"] {
            assert_eq!(token(wrong).read().err().unwrap().0, "journal_token_file", "{wrong}");
        }
        let all = AccessFiles {
            token: None,
            authority: file("ca", "ca"),
            certificate: file("certificate", "certificate"),
            key: file("key", "key"),
        };
        assert!(all.read().ok().unwrap().tls.unwrap().identity.is_some());
        let named = |files: AccessFiles| files.read().err().unwrap().0;
        assert_eq!(named(AccessFiles { key: None, ..all.clone() }), "journal_tls_cert");
        assert_eq!(named(AccessFiles { certificate: None, ..all.clone() }), "journal_tls_key");
        assert_eq!(named(AccessFiles { authority: None, ..all.clone() }), "journal_tls_cert");
        let missing = Some(directory.path().join("missing"));
        assert_eq!(named(AccessFiles { authority: missing, ..all }), "journal_tls_ca");
    }

    #[test]
    fn an_address_without_an_engine_is_refused() {
        assert!(engine("").unwrap().is_none());
        for wrong in ["a:2379/x", "nats://a/x", "etcd://a"] {
            assert!(engine(wrong).is_err(), "{wrong}");
        }
    }
}
