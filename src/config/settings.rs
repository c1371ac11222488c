//! The settings as text, from four places: flags, environment, file, defaults.
//!
//! One table has every setting. From its row come the flag (`--data-dir`), the variable
//! (`CHATSHARD_DATA_DIR`), the key in the TOML file (`data_dir`) and the default. All values are
//! text until [`super::Config`] parses them, so one parser and one message serve all four places.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::ConfigError;
use super::choices::{closest, did_you_mean};

/// How the environment variables of all settings begin.
pub const PREFIX: &str = "CHATSHARD_";

/// Environment variables by their names. Functions get them as an argument, so that a test need not
/// change its process.
pub type Environment = BTreeMap<String, String>;

macro_rules! settings {
    ($($(#[$attribute:meta])* $name:ident = $default:literal;)+) => {
        /// The flags of `serve`. If a flag is absent, the other places decide the setting.
        #[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
        pub struct Settings {
            $($(#[$attribute])* #[arg(long)] pub $name: Option<String>,)+
        }

        /// Every setting and its default; an empty default means "none".
        pub const SETTINGS: &[(&str, &str)] = &[$((stringify!($name), $default)),+];

        impl Settings {
            fn given(&self) -> Vec<(&'static str, String)> {
                let all = [$((stringify!($name), &self.$name)),+];
                all.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
            }
        }
    };
}

settings! {
    /// Directory of log and snapshots; auto: $XDG_DATA_HOME/chatshard, else
    /// ~/.local/share/chatshard
    #[arg(value_name = "DIR")]
    data_dir = "auto";
    /// Address of the TCP door: IP:PORT, or unix:PATH; the other doors take the same forms
    #[arg(value_name = "ADDR")]
    listen = "127.0.0.1:7700";
    /// Address of the HTTP door, or off
    #[arg(value_name = "ADDR")]
    http = "127.0.0.1:7780";
    /// Address of the admin listener (health, metrics, POST /call), or off
    #[arg(value_name = "ADDR")]
    admin = "127.0.0.1:7790";
    /// Permissions of doors that are unix sockets, like 0660: a user who may open the file may
    /// connect
    #[arg(value_name = "MODE")]
    socket_mode = "0600";
    /// Number of shards; auto: one per core
    #[arg(value_name = "N")]
    shards = "auto";
    /// When an acknowledged write is on the disk: before the reply, within a second, or when the
    /// system writes it
    #[arg(value_parser = ["always", "everysec", "never"])]
    fsync = "always";
    /// Whether to write a log; off: snapshots alone, for caches and for measuring
    #[arg(value_parser = ["on", "off"])]
    log = "on";
    /// How the HTTP door identifies its user: by the header X-User-Id, or by a signed token
    #[arg(value_parser = ["header", "jwt"])]
    http_auth = "header";
    /// File with the secret that signs HS256 tokens
    #[arg(value_name = "FILE")]
    jwt_secret_file = "";
    /// File with a JWK set: the keys of RS256, ES256, EdDSA or HS256 tokens
    #[arg(value_name = "FILE")]
    jwt_jwks_file = "";
    /// Accept only tokens whose aud names one of these, separated by commas
    #[arg(value_name = "NAMES")]
    jwt_audience = "";
    /// Accept only tokens whose iss is one of these, separated by commas
    #[arg(value_name = "NAMES")]
    jwt_issuer = "";
    /// Origins whose pages may call the HTTP door (CORS), separated by commas, like
    /// `https://app.example`
    #[arg(value_name = "ORIGINS")]
    cors_origins = "";
    /// Host names that HTTP doors on loopback accept besides IP addresses and localhost, separated
    /// by commas
    #[arg(value_name = "NAMES")]
    http_hosts = "";
    /// The HTTP door that serves /openapi.json and /docs; auto: app, but off with http_auth jwt
    #[arg(value_parser = ["auto", "off", "admin", "app"])]
    docs = "auto";
    /// Trust X-User-Id beyond loopback too: only behind a gateway that sets it
    #[arg(value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    trust_gateway = "false";
    /// File with the tokens of TCP and admin callers, one per line: TOKEN, `full TOKEN` or
    /// `read TOKEN`
    #[arg(value_name = "FILE")]
    token_file = "";
    /// File with the server's certificate in PEM and its intermediate certificates: all doors then
    /// speak TLS
    #[arg(value_name = "FILE")]
    tls_cert = "";
    /// File with the private key of the certificate in PEM
    #[arg(value_name = "FILE")]
    tls_key = "";
    /// Create a new store in an empty directory
    #[arg(value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    init = "false";
    /// Serve a throw-away directory with example data, and print commands to try
    #[arg(value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    demo = "false";
    /// Serve a throw-away directory on free ports, and print the addresses as one JSON line: for
    /// tests
    #[arg(value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    ephemeral = "false";
    /// Seconds between snapshots; 0: never by time
    #[arg(value_name = "SECONDS")]
    snapshot_interval_s = "300";
    /// Growth of the log, in bytes, after which a snapshot is due
    #[arg(value_name = "SIZE")]
    snapshot_log_bytes = "268435456";
    /// Size of a log file, in bytes, after which the next one begins
    #[arg(value_name = "SIZE")]
    log_segment_bytes = "67108864";
    /// Start with the intact part of a damaged log or snapshot; writes may be lost
    #[arg(value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_damage = "false";
    /// Write a digest of a part of the data into the log each second; a start compares them, and
    /// members always do
    #[arg(value_parser = ["on", "off"])]
    probe = "off";
    /// Level of messages: off, error, warn, info, debug, trace, or directives like
    /// `info,chatshard::net=debug`
    #[arg(value_name = "LEVEL")]
    log_level = "info";
    /// Format of messages: for people or for machines
    #[arg(value_parser = ["text", "json"])]
    log_format = "text";
    /// Memory, in bytes or like 8GiB, at which new chats and members are refused; no bound if
    /// absent
    #[arg(value_name = "SIZE")]
    memory_max = "";
    /// Most connections of each door
    #[arg(value_name = "N")]
    connections_max = "10000";
    /// Seconds after which a connection without a request is closed
    #[arg(value_name = "SECONDS")]
    idle_timeout_s = "600";
    /// Pin each shard's thread to a core
    #[arg(value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pin = "true";
    /// Journal that this node shares with others: etcd://HOST:PORT,HOST:PORT,HOST:PORT/NAME; none if
    /// absent
    #[arg(value_name = "URL")]
    journal = "";
    /// File with NAME:PASSWORD of this node's user in the journal's engine
    #[arg(value_name = "FILE")]
    journal_token_file = "";
    /// PEM file of the authority that signed the certificates of the journal's engine; TLS is off if
    /// absent
    #[arg(value_name = "FILE")]
    journal_tls_ca = "";
    /// PEM file of this node's certificate for the journal's engine
    #[arg(value_name = "FILE")]
    journal_tls_cert = "";
    /// PEM file of the key of that certificate
    #[arg(value_name = "FILE")]
    journal_tls_key = "";
    /// Name of this member of the journal; what it advertises if absent
    #[arg(value_name = "NAME")]
    member = "";
    /// Address of the TCP door as clients reach it; that of listen if absent
    #[arg(value_name = "ADDR")]
    advertise = "";
    /// Address of the admin listener as other members reach it; that of admin if absent
    #[arg(value_name = "ADDR")]
    advertise_admin = "";
    /// Milliseconds after which an active without writes says that it is there; fits the engine if
    /// absent
    #[arg(value_name = "MS")]
    beat_ms = "";
    /// Milliseconds for which an append gives the active the right to reply; fits the engine if
    /// absent
    #[arg(value_name = "MS")]
    serve_ms = "";
    /// Milliseconds of silence after which a standby takes over; fits the engine if absent
    #[arg(value_name = "MS")]
    claim_ms = "";
    /// When the active replies to a read: while its lease lasts, or after the journal confirms that it
    /// still is the active
    #[arg(value_parser = ["lease", "confirmed"])]
    reads = "lease";
    /// PEM file of the authority that signed the certificates of the members' doors; the system's
    /// roots if absent
    #[arg(value_name = "FILE")]
    member_tls_ca = "";
    /// Members that must have a part of the journal on their disks before the engine forgets it
    #[arg(value_name = "N")]
    copies = "2";
    /// Members that are enough when the journal is at journal_bytes_max; if these are missing too,
    /// writes are refused
    #[arg(value_name = "N")]
    copies_min = "1";
    /// Size of the newest part of the journal that the engine always keeps
    #[arg(value_name = "SIZE")]
    journal_keep_bytes = "67108864";
    /// Size of the journal over which the engine keeps no more for members that lag; at most a
    /// quarter of the engine's quota
    #[arg(value_name = "SIZE")]
    journal_bytes_max = "268435456";
}

/// Arguments of `serve`: the settings, and the file with more of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct ServeArgs {
    /// TOML file with settings [env: CHATSHARD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The settings that are given as flags.
    #[command(flatten)]
    pub settings: Settings,
}

/// The name of the environment variable of a setting.
pub fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

/// The variables of this process that begin with [`PREFIX`]. Fails if the value of a setting is not
/// UTF-8.
pub fn process_environment() -> Result<Environment, ConfigError> {
    let mut found = Environment::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let value = match value.into_string() {
            Ok(value) => value,
            Err(_) if is_known(name) => return Err(ConfigError::variable(name)),
            // An unknown variable is only reported by its name.
            Err(_) => String::new(),
        };
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

/// Whether the variable is that of a setting, or names the TOML file.
fn is_known(name: &str) -> bool {
    name == variable("config") || SETTINGS.iter().any(|(setting, _)| variable(setting) == name)
}

/// A sentence for each variable of `environment` that no command of the program reads, so that a
/// typo is noticed. `others` are the variables that commands besides `serve` read.
pub fn unknown_variables(environment: &Environment, others: &[String]) -> Vec<String> {
    let known: Vec<String> = SETTINGS.iter().map(|(name, _)| variable(name)).collect();
    let is_unknown = |name: &str, value: &str| {
        !is_known(name) && !others.iter().any(|other| other == name) && !is_of_service(name, value)
    };
    environment
        .iter()
        .filter(|(name, value)| is_unknown(name, value))
        .map(|(name, _)| {
            // The common prefix is left out, because it would make all names alike.
            let others = known.iter().chain(others).map(|other| other.trim_start_matches(PREFIX));
            let meant = closest(name.trim_start_matches(PREFIX), others)
                .map_or_else(String::new, |meant| format!("; did you mean {PREFIX}{meant}?"));
            format!("environment {name}: there is no such setting{meant}")
        })
        .collect()
}

/// Whether Kubernetes set this variable for a service whose name begins with `chatshard`. Examples
/// are `CHATSHARD_SERVICE_HOST` and `CHATSHARD_ADMIN_PORT_7790_TCP`.
fn is_of_service(name: &str, value: &str) -> bool {
    let name = name.trim_start_matches(PREFIX);
    let below = |word: &str| {
        let at = name.find(word).filter(|at| *at == 0 || name[..*at].ends_with('_'))?;
        Some(&name[at + word.len()..])
    };
    let is_number_first = |rest: &str| {
        rest.strip_prefix('_').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    match (below("SERVICE_HOST"), below("SERVICE_PORT"), below("PORT")) {
        (Some(""), ..) => true,
        (_, Some(rest), _) => rest.is_empty() || rest.starts_with('_'),
        // `CHATSHARD_HTTP_PORT=8080` is the typo of a person: Kubernetes puts an address there.
        (.., Some("")) => value.contains("://") || name == "PORT",
        (.., Some(rest)) => is_number_first(rest) || name.starts_with("PORT_"),
        _ => name.starts_with("SERVICE_"),
    }
}

/// Which of the four places the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Default,
    /// The TOML file at this path.
    File(PathBuf),
    Environment,
    Flag,
}

impl Origin {
    /// How a message names this place of the setting `name`.
    fn of(&self, name: &str) -> String {
        match self {
            Self::Default => format!("default of {name}"),
            Self::File(path) => format!("file {}: {name}", path.display()),
            Self::Environment => format!("environment {}", variable(name)),
            Self::Flag => format!("flag --{}", name.replace('_', "-")),
        }
    }
}

/// The settings merged from all four places. For each one the strongest place that has a value
/// wins.
pub(super) struct Merged(BTreeMap<&'static str, (Origin, String)>);

impl Merged {
    pub(super) fn load(args: &ServeArgs, environment: &Environment) -> Result<Self, ConfigError> {
        let mut merged = Self(BTreeMap::new());
        merged.add(&Origin::Default, SETTINGS.iter().map(|(name, value)| (*name, (*value).into())));
        let from_environment = environment.get(&variable("config")).filter(|path| !path.is_empty());
        if let Some(path) = args.config.clone().or(from_environment.map(PathBuf::from)) {
            let values = file(&path)?;
            merged.add(&Origin::File(path), values);
        }
        let variables = SETTINGS.iter().filter_map(|(name, _)| {
            // A compose file sets a variable to an empty text if it is unset outside.
            // `unknown_variables` reports a variable with an unknown name.
            let value = environment.get(&variable(name)).filter(|value| !value.is_empty())?;
            Some((*name, value.clone()))
        });
        merged.add(&Origin::Environment, variables);
        merged.add(&Origin::Flag, args.settings.given());
        Ok(merged)
    }

    /// Adds the values of a place, which win over those that were added before.
    fn add(&mut self, origin: &Origin, values: impl IntoIterator<Item = (&'static str, String)>) {
        let values = values.into_iter().map(|(name, value)| (name, (origin.clone(), value)));
        self.0.extend(values);
    }

    /// Parses one setting. An error names the place of the wrong value.
    pub(super) fn get<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let text = self.0.get(name).map_or("", |(_, text)| text.trim());
        parse(text).map_err(|why| self.error(name, why))
    }

    /// Whether a flag sets the setting.
    pub(super) fn is_flag(&self, name: &str) -> bool {
        *self.origin(name) == Origin::Flag
    }

    /// Whether the setting has its default because no place sets it.
    pub(super) fn is_default(&self, name: &str) -> bool {
        *self.origin(name) == Origin::Default
    }

    /// An error about a setting, with the place of its value.
    pub(super) fn error(&self, name: &str, why: impl fmt::Display) -> ConfigError {
        ConfigError(format!("{}: {why}", self.origin(name).of(name)))
    }

    fn origin(&self, name: &str) -> &Origin {
        self.0.get(name).map_or(&Origin::Default, |(origin, _)| origin)
    }
}

/// Reads the TOML file. An unknown key is an error: it could be a misspelled `fsync`.
fn file(path: &Path) -> Result<Vec<(&'static str, String)>, ConfigError> {
    let wrong = |why: String| ConfigError(format!("file {}: {why}", path.display()));
    let text = crate::files::read_text(path).map_err(|error| wrong(error.to_string()))?;
    let table: Table = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let mut values = Vec::new();
    for (key, value) in table {
        let Some((name, _)) = SETTINGS.iter().find(|(name, _)| *name == key) else {
            let meant = did_you_mean(&key, SETTINGS.iter().map(|(name, _)| *name));
            return Err(wrong(format!("unknown key `{key}`{meant}")));
        };
        let value = match value {
            Value::String(text) => text,
            Value::Boolean(yes) => yes.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Float(_) => return Err(wrong(format!("{name}: must not be a fraction"))),
            _ => return Err(wrong(format!("{name}: must be a string, a number or a boolean"))),
        };
        values.push((*name, value));
    }
    Ok(values)
}
