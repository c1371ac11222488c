//! One validated [`Config`] from flags, environment, file and defaults. A flag wins over the
//! environment, that over the file, and that over the default.
//!
//! # Layout
//! - [`settings`]: the table of all settings, and the four places that they come from
//! - [`choices`]: settings that must be one of a few words
//! - [`journal`]: the settings of a member of a journal
//! - [`log_level`]: the directives of the log level
//!
//! # Invariants
//! - A node can serve every `Config`. Values that cannot work or are not safe were rejected, with a
//!   message that names the place of the wrong value.
//! - A `Config` holds the secrets, and the paths of their files, so that these can be read again.

pub mod choices;
pub mod journal;
pub mod log_level;
pub mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::uri::Authority;
use axum::http::{HeaderValue, Uri};
pub use journal::{AccessFiles, EngineAddress, JournalConfig};
pub use settings::{Environment, ServeArgs};

pub use crate::access::{
    Endpoint, JwtFile, JwtRules, JwtVerifier, Tls, TlsError, TlsFiles, Tokens,
};
use crate::files;
use crate::limits::{CONNECTIONS_MAX, IDLE_TIMEOUT_MS, SLOTS};
use crate::types::ShardCount;
use choices::one_of;
use log_level::log_level;
use settings::Merged;

/// Smallest size of a log file, in bytes: a smaller one would make too many files.
pub const LOG_SEGMENT_BYTES_MIN: u64 = 64 << 10;
/// Smallest bound on memory, in bytes: an empty node already uses part of it.
pub const MEMORY_BYTES_MIN: u64 = 64 << 20;
/// Longest interval or time-out: a year, in seconds.
const SECONDS_MAX: u64 = 365 * 24 * 60 * 60;

/// The settings that name files with secrets.
const SECRET_FILES: [&str; 5] =
    ["token_file", "jwt_secret_file", "tls_key", "journal_token_file", "journal_tls_key"];

/// A wrong value in the configuration, described with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    fn variable(name: &str) -> Self {
        Self(format!("environment {name}: is not UTF-8"))
    }
}

/// When an acknowledged write is on the disk, and so survives a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsyncMode {
    /// A write is on the disk before its reply is sent.
    Always,
    /// A write is on the disk at most about a second after its reply.
    EverySecond,
    /// A write is on the disk when the operating system has written it, at any time after its
    /// reply.
    Never,
}

impl FsyncMode {
    /// The word for this mode in flags and in the reply to `stats`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::EverySecond => "everysec",
            Self::Never => "never",
        }
    }
}

/// Whether the node writes a log besides its snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogSwitch {
    /// The node writes a log. How much a crash can lose depends on [`FsyncMode`].
    On,
    /// Without a log. The changes since the last snapshot are lost when the process ends.
    Off,
}

/// How the HTTP door identifies the user of a request.
#[derive(Debug, Clone)]
pub enum HttpAuth {
    /// The header `X-User-Id`, which a gateway sets, names the user.
    Header,
    /// The claim `sub` of a JWT names the user. One of these keys must have signed it.
    Jwt(Arc<JwtVerifier>),
}

/// The door that serves `/openapi.json` and the page about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Docs {
    /// No door serves the API's document.
    Off,
    /// The admin listener serves the API's document.
    Admin,
    /// The HTTP door serves the API's document.
    App,
}

/// The format of the server's log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Log lines for people.
    Text,
    /// Log lines as JSON, one object per line.
    Json,
}

/// All settings of `serve`, parsed and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of the log and the snapshots.
    pub data_dir: PathBuf,
    /// The address of the TCP door.
    pub listen: Endpoint,
    /// The address of the HTTP door; `None` if it is off.
    pub http: Option<Endpoint>,
    /// The address of the admin listener; `None` if it is off.
    pub admin: Option<Endpoint>,
    /// The permissions of unix sockets, as in `chmod`.
    pub socket_mode: u32,
    /// The number of shards, each with a worker.
    pub shards: ShardCount,
    /// When an acknowledged write is on the disk.
    pub fsync: FsyncMode,
    /// Whether the node writes a log.
    pub log: LogSwitch,
    /// How the HTTP door identifies its user.
    pub http_auth: HttpAuth,
    /// The origins whose pages may call the HTTP door.
    pub cors_origins: Vec<HeaderValue>,
    /// The door that serves `/openapi.json` and the page about it.
    pub docs: Docs,
    /// Host names that doors on loopback accept, besides IP addresses and `localhost`; in lower
    /// case.
    pub http_hosts: Vec<String>,
    /// The tokens for the TCP door and the admin listener. If there are none, no token is required.
    pub tokens: Tokens,
    /// The files that hold secrets. Others than the server's user should not be able to read them.
    pub secret_files: Vec<PathBuf>,
    /// The token file, to be read again when it changes.
    pub token_file: Option<PathBuf>,
    /// The certificate of all doors; `None` if they do not use TLS.
    pub tls: Option<Arc<Tls>>,
    /// The settings of the doors whose addresses were not set. `serve --demo` and
    /// `--ephemeral` may move these doors.
    pub default_doors: Vec<&'static str>,
    /// Whether to create a new store in an empty directory.
    pub init: bool,
    /// Whether to serve example data in a directory that is removed at the end. It replaces
    /// `data_dir`.
    pub demo: bool,
    /// Whether to serve an empty directory that is removed at the end, and to print the addresses. It
    /// replaces `data_dir`.
    pub ephemeral: bool,
    /// The time between two snapshots; `None` if time alone causes none.
    pub snapshot_interval: Option<Duration>,
    /// The growth of the log, in bytes, after which a snapshot is due.
    pub snapshot_log_bytes: u64,
    /// The size of a log file, in bytes, after which the next one begins.
    pub log_segment_bytes: u64,
    /// Whether to start with the intact part of a damaged log or snapshot.
    pub allow_damage: bool,
    /// Which log lines are written: valid directives of tracing's `EnvFilter`.
    pub log_level: String,
    /// The format of the log lines.
    pub log_format: LogFormat,
    /// Resident memory, in bytes, at which new chats and members are refused; `None` if there is no
    /// bound.
    pub memory_max: Option<u64>,
    /// The most connections of each door.
    pub connections_max: usize,
    /// How long a connection may be without a request before it is closed.
    pub idle_timeout: Duration,
    /// Whether to pin each worker's thread to a core.
    pub pin: bool,
    /// Whether a node without a journal writes digests of its slots into its log.
    pub probe: bool,
    /// The journal of which the node is a member; `None`: it has none.
    pub journal: Option<JournalConfig>,
}

impl Config {
    /// The configuration of this process: from `args`, its environment, and the TOML file that they
    /// name.
    pub fn load(args: &ServeArgs) -> Result<Self, ConfigError> {
        Self::from_sources(args, &settings::process_environment()?)
    }

    /// Like [`load`](Self::load), with an environment that the caller gives.
    pub fn from_sources(args: &ServeArgs, environment: &Environment) -> Result<Self, ConfigError> {
        let merged = Merged::load(args, environment)?;
        let config = Self {
            data_dir: merged.get("data_dir", data_dir)?,
            listen: merged.get("listen", str::parse)?,
            http: merged.get("http", address_or_off)?,
            admin: merged.get("admin", address_or_off)?,
            socket_mode: merged.get("socket_mode", mode)?,
            shards: merged.get("shards", shards)?,
            // Nobody needs throw-away data after a crash of the machine.
            fsync: match merged.get("ephemeral", boolean)? && merged.is_default("fsync") {
                true => FsyncMode::Never,
                false => merged.get("fsync", fsync)?,
            },
            log: merged.get("log", log)?,
            http_auth: http_auth(&merged)?,
            cors_origins: merged.get("cors_origins", origins)?,
            docs: docs(&merged)?,
            http_hosts: merged.get("http_hosts", hosts)?,
            tokens: merged.get("token_file", |path| {
                path_or_none(path).map_or(Ok(Tokens::default()), |path| read_tokens(&path))
            })?,
            secret_files: SECRET_FILES
                .iter()
                .filter_map(|name| merged.get(name, |path| Ok(path_or_none(path))).transpose())
                .collect::<Result<_, _>>()?,
            token_file: merged.get("token_file", |path| Ok(path_or_none(path)))?,
            tls: tls(&merged)?,
            default_doors: ["listen", "http", "admin"]
                .into_iter()
                .filter(|door| merged.is_default(door))
                .collect(),
            init: merged.get("init", boolean)?,
            demo: merged.get("demo", boolean)?,
            ephemeral: merged.get("ephemeral", boolean)?,
            snapshot_interval: merged.get("snapshot_interval_s", interval)?,
            snapshot_log_bytes: merged.get("snapshot_log_bytes", size(1))?,
            log_segment_bytes: merged.get("log_segment_bytes", size(LOG_SEGMENT_BYTES_MIN))?,
            allow_damage: merged.get("allow_damage", boolean)?,
            log_level: merged.get("log_level", log_level)?,
            log_format: merged.get("log_format", log_format)?,
            memory_max: merged.get("memory_max", memory)?,
            connections_max: merged.get("connections_max", connections)?,
            idle_timeout: merged.get("idle_timeout_s", seconds(1))?,
            pin: merged.get("pin", boolean)?,
            probe: merged.get("probe", on_or_off)?,
            journal: journal::journal(&merged)?,
        };
        config.refuse_unsafe(&merged)?;
        Ok(config)
    }

    /// The defaults, with free ports on loopback, for tests.
    pub fn ephemeral(data_dir: impl Into<PathBuf>) -> Self {
        let any = Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 0)));
        Self {
            data_dir: data_dir.into(),
            listen: any.clone(),
            http: Some(any.clone()),
            admin: Some(any),
            socket_mode: 0o600,
            shards: cores(),
            fsync: FsyncMode::Always,
            log: LogSwitch::On,
            http_auth: HttpAuth::Header,
            cors_origins: Vec::new(),
            docs: Docs::App,
            http_hosts: Vec::new(),
            tokens: Tokens::default(),
            token_file: None,
            secret_files: Vec::new(),
            tls: None,
            default_doors: Vec::new(),
            init: true,
            demo: false,
            ephemeral: false,
            snapshot_interval: None,
            snapshot_log_bytes: 256 << 20,
            log_segment_bytes: 64 << 20,
            allow_damage: false,
            log_level: "info".to_owned(),
            log_format: LogFormat::Text,
            memory_max: None,
            connections_max: CONNECTIONS_MAX,
            idle_timeout: Duration::from_millis(IDLE_TIMEOUT_MS),
            pin: false,
            probe: false,
            journal: None,
        }
    }

    /// Rejects doors that anybody on the network could use without credentials, and settings that
    /// contradict each other.
    fn refuse_unsafe(&self, merged: &Merged) -> Result<(), ConfigError> {
        for (name, endpoint) in [("listen", Some(&self.listen)), ("admin", self.admin.as_ref())] {
            if endpoint.is_some_and(Endpoint::is_open) && !self.tokens.required() {
                return Err(
                    merged.error(name, "beyond loopback callers must show a token: set token_file")
                );
            }
        }
        let trusted = merged.get("trust_gateway", boolean)?;
        let by_header = matches!(self.http_auth, HttpAuth::Header);
        if self.http.as_ref().is_some_and(Endpoint::is_open) && by_header && !trusted {
            return Err(merged.error(
                "http",
                "beyond loopback anybody could send X-User-Id: set http_auth to jwt, or \
                 trust_gateway if nothing but a gateway that sets the header can reach it",
            ));
        }
        let doors = [
            ("listen", Some(&self.listen)),
            ("http", self.http.as_ref()),
            ("admin", self.admin.as_ref()),
        ];
        for (index, (name, endpoint)) in doors.iter().enumerate() {
            let taken = |other: &Option<&Endpoint>| {
                other.zip(*endpoint).is_some_and(|(other, own)| own.collides(other))
            };
            if let Some((other, _)) = doors.iter().take(index).find(|(_, other)| taken(other)) {
                return Err(merged.error(name, format!("{other} has the same address")));
            }
        }
        if self.probe && self.log == LogSwitch::Off {
            return Err(merged
                .error("probe", "digests are compared when the log is replayed: set log to on"));
        }
        if self.is_throw_away() && merged.is_flag("data_dir") {
            return Err(
                merged.error("data_dir", "--demo and --ephemeral serve a throw-away directory")
            );
        }
        if self.demo && self.ephemeral {
            return Err(merged.error("ephemeral", "the demo is a throw-away server already"));
        }
        if self.journal.is_some() {
            self.refuse_beside_journal(merged)?;
        }
        if self.demo && self.tls.is_some() {
            return Err(merged.error("tls_cert", "the demo's doors are plain"));
        }
        Ok(())
    }
}

impl Config {
    /// Rejects settings under which a member could not keep what the journal has.
    fn refuse_beside_journal(&self, merged: &Merged) -> Result<(), ConfigError> {
        if self.log == LogSwitch::Off {
            return Err(merged.error("log", "a member of a journal has a log"));
        }
        if self.allow_damage {
            let why = "a member of a journal gets damaged data from the others: wipe its directory";
            return Err(merged.error("allow_damage", why));
        }
        if self.is_throw_away() {
            let name = if self.demo { "demo" } else { "ephemeral" };
            return Err(merged.error(name, "a throw-away server has no journal"));
        }
        Ok(())
    }

    /// Whether the data directory is a new one, which is removed at the end.
    pub fn is_throw_away(&self) -> bool {
        self.demo || self.ephemeral
    }
}

fn data_dir(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if text != "auto" {
        return Ok(PathBuf::from(text));
    }
    // The XDG base directory specification names this place for a user's data. An empty variable
    // counts as unset.
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("XDG_DATA_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("chatshard"))
        .ok_or_else(|| "auto needs $XDG_DATA_HOME or $HOME; name a directory".to_owned())
}

fn address_or_off(text: &str) -> Result<Option<Endpoint>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|why| format!("{why}, or `off`"))
}

/// Parses permissions as `chmod` writes them.
fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(format!("`{text}` is no mode of a file: write it like 0660")),
    }
}

fn cores() -> ShardCount {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let count = u16::try_from(cores).unwrap_or(SLOTS).clamp(1, SLOTS);
    ShardCount::new(count).unwrap_or_else(|_| unreachable!("held in range above"))
}

fn shards(text: &str) -> Result<ShardCount, String> {
    if text == "auto" {
        return Ok(cores());
    }
    let count = integer(1, u64::from(SLOTS))(text).map_err(|why| format!("{why}, or `auto`"))?;
    let count = u16::try_from(count).map_err(|error| error.to_string())?;
    ShardCount::new(count).map_err(|invalid| invalid.0)
}

fn fsync(text: &str) -> Result<FsyncMode, String> {
    one_of(
        text,
        &[
            ("always", FsyncMode::Always),
            ("everysec", FsyncMode::EverySecond),
            ("never", FsyncMode::Never),
        ],
    )
}

fn log(text: &str) -> Result<LogSwitch, String> {
    on_or_off(text).map(|is_on| if is_on { LogSwitch::On } else { LogSwitch::Off })
}

fn on_or_off(text: &str) -> Result<bool, String> {
    // The TOML file may have a boolean instead of the word.
    one_of(text, &[("on", true), ("off", false), ("true", true), ("false", false)])
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

fn boolean(text: &str) -> Result<bool, String> {
    one_of(
        text,
        &[
            ("true", true),
            ("false", false),
            ("1", true),
            ("0", false),
            ("on", true),
            ("off", false),
        ],
    )
}

/// Makes a parser of integers from `min` to `max`.
fn integer(min: u64, max: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| match text.parse() {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(format!("`{text}` is no integer from {min} to {max}")),
    }
}

/// Makes a parser of sizes of at least `min` bytes: a number, which KiB, MiB or GiB may follow.
fn size(min: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
        let unit = units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, *bits)));
        let (number, bits) = unit.unwrap_or((text, 0));
        let size = number.trim().parse::<u64>().ok().and_then(|size| size.checked_mul(1 << bits));
        size.filter(|size| *size >= min).ok_or_else(|| {
            format!("`{text}` is no size of at least {min} bytes: write it like 67108864 or 64MiB")
        })
    }
}

fn memory(text: &str) -> Result<Option<u64>, String> {
    match text {
        "" => Ok(None),
        size => self::size(MEMORY_BYTES_MIN)(size).map(Some),
    }
}

fn seconds(min: u64) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| integer(min, SECONDS_MAX)(text).map(Duration::from_secs)
}

fn interval(text: &str) -> Result<Option<Duration>, String> {
    seconds(0)(text).map(|interval| (!interval.is_zero()).then_some(interval))
}

fn connections(text: &str) -> Result<usize, String> {
    let max = u64::try_from(CONNECTIONS_MAX).unwrap_or(u64::MAX);
    let count = integer(1, max)(text)?;
    usize::try_from(count).map_err(|error| error.to_string())
}

/// The text as a path; `None` if it is empty.
fn path_or_none(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

fn read(path: &Path) -> Result<String, String> {
    files::read_text(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Reads a file of tokens, which must hold at least one.
///
/// # Errors
/// If the file cannot be read, has a wrong line, or holds no token. The message names file and line
/// and shows no token.
pub fn read_tokens(path: &Path) -> Result<Tokens, String> {
    let place = path.display();
    let tokens = Tokens::parse(&read(path)?).map_err(|error| format!("{place}: {error}"))?;
    if !tokens.required() {
        return Err(format!("{place}: holds no token; the door would be open"));
    }
    Ok(tokens)
}

fn tls(merged: &Merged) -> Result<Option<Arc<Tls>>, ConfigError> {
    let path = |name| merged.get(name, |path| Ok(path_or_none(path)));
    let files = match (path("tls_cert")?, path("tls_key")?) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(merged.error("tls_cert", "needs tls_key beside it")),
        (None, Some(_)) => return Err(merged.error("tls_key", "needs tls_cert beside it")),
        (Some(certificate), Some(key)) => TlsFiles { certificate, key },
    };
    Tls::load(&files).map(Some).map_err(|why| match why {
        TlsError::Certificate(why) => merged.error("tls_cert", why),
        TlsError::Key(why) => merged.error("tls_key", why),
    })
}

fn http_auth(merged: &Merged) -> Result<HttpAuth, ConfigError> {
    let path = |name| merged.get(name, |path| Ok(path_or_none(path)));
    let (secret, set) = (path("jwt_secret_file")?, path("jwt_jwks_file")?);
    let rules = JwtRules {
        audience: merged.get("jwt_audience", names)?,
        issuer: merged.get("jwt_issuer", names)?,
    };
    let jwt = merged.get("http_auth", |text| one_of(text, &[("header", false), ("jwt", true)]))?;
    if !jwt {
        // An operator who sets one of these expects that the HTTP door requires JWTs.
        let asked = [
            ("jwt_jwks_file", set.is_some()),
            ("jwt_audience", !rules.audience.is_empty()),
            ("jwt_issuer", !rules.issuer.is_empty()),
        ];
        return match asked.iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(merged.error(name, "is of no use without http_auth jwt")),
            None => Ok(HttpAuth::Header),
        };
    }
    let (name, file) = match (secret, set) {
        (Some(secret), None) => ("jwt_secret_file", JwtFile::Secret(secret)),
        (None, Some(set)) => ("jwt_jwks_file", JwtFile::Jwks(set)),
        (None, None) => {
            return Err(merged.error("http_auth", "jwt needs jwt_secret_file or jwt_jwks_file"));
        }
        (Some(_), Some(_)) => {
            let why = "beside jwt_secret_file: a secret may stand in the JWK set (kty oct)";
            return Err(merged.error("jwt_jwks_file", why));
        }
    };
    let verifier = JwtVerifier::load(file, rules).map_err(|why| merged.error(name, why))?;
    Ok(HttpAuth::Jwt(verifier))
}

/// Which door serves the API's document. `auto` leaves it out where end users reach the door
/// directly.
fn docs(merged: &Merged) -> Result<Docs, ConfigError> {
    let by_token = merged.get("http_auth", |word| Ok(word == "jwt"))?;
    let auto = if by_token { Docs::Off } else { Docs::App };
    let words = [("auto", auto), ("off", Docs::Off), ("admin", Docs::Admin), ("app", Docs::App)];
    let docs = merged.get("docs", |word| one_of(word, &words))?;
    for (word, door) in [("admin", "admin"), ("app", "http")] {
        let is_asked = merged.get("docs", |asked| Ok(asked == word))?;
        if is_asked && merged.get(door, address_or_off)?.is_none() {
            return Err(merged.error("docs", format!("{word} needs a door, and {door} is off")));
        }
    }
    Ok(docs)
}

/// Parses names that are separated by commas.
fn names(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let names =
        text.split(',').map(|name| Some(name.trim().to_owned()).filter(|name| !name.is_empty()));
    names.collect::<Option<_>>().ok_or_else(|| format!("`{text}` has an empty name in it"))
}

/// Parses origins. They must be spelled as browsers spell them, because they are compared as text.
fn origins(text: &str) -> Result<Vec<HeaderValue>, String> {
    names(text)?.iter().map(|name| origin(name)).collect()
}

/// Parses host names, and makes them lower case.
fn hosts(text: &str) -> Result<Vec<String>, String> {
    names(text)?
        .iter()
        .map(|name| {
            let parsed: Option<Authority> = name.parse().ok();
            let is_host = parsed.is_some_and(|parsed| parsed.host() == name);
            let wrong =
                || format!("`{name}` is no name of a host: leave out scheme, port and path");
            is_host.then(|| name.to_lowercase()).ok_or_else(wrong)
        })
        .collect()
}

fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = |why: &str| format!("`{text}` is no origin: {why}");
    if text == "*" {
        return Err(wrong("name the sites, each of them"));
    }
    let form = "write SCHEME://HOST or SCHEME://HOST:PORT, in lower case and without a path";
    let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong(form))?;
    let uri: Uri = text.parse().map_err(|_| wrong(form))?;
    let authority = uri.authority().map(|authority| authority.as_str());
    if authority != Some(rest) || rest.contains('@') || text.to_lowercase() != text {
        return Err(wrong(form));
    }
    if matches!((scheme, uri.port_u16()), ("https", Some(443)) | ("http", Some(80))) {
        return Err(wrong("browsers leave the usual port out"));
    }
    HeaderValue::from_str(text).map_err(|_| wrong(form))
}
