//! The settings as text, from four places: flags, environment, file, defaults.
//!
//! One table names every setting; its flag (`--data-dir`), its variable (`CHATSHARD_DATA_DIR`), its
//! key in the TOML file (`data_dir`) and its default are made from it. All are text until
//! [`super::Config`] parses them, so that one parser and one message serve all four places.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::ConfigError;
use super::choices::{closest, did_you_mean};

/// What variables of the environment begin with.
pub const PREFIX: &str = "CHATSHARD_";

/// The environment, as names and values; explicit, so that tests need not change their process.
pub type Environment = BTreeMap<String, String>;

macro_rules! settings {
    ($($(#[$attribute:meta])* $name:ident = $default:literal;)+) => {
        /// The flags of `serve`; what is not given is absent.
        #[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
        pub struct Settings {
            $($(#[$attribute])* #[arg(long)] pub $name: Option<String>,)+
        }

        /// Every setting and its default; an empty one means "none".
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
    /// Directory of log and snapshots; auto: $XDG_DATA_HOME/chatshard, else ~/.local/share/chatshard
    #[arg(value_name = "DIR")]
    data_dir = "auto";
    /// TCP door: IP:PORT, or unix:PATH; so with the others
    #[arg(value_name = "ADDR")]
    listen = "127.0.0.1:7700";
    /// HTTP door, or off
    #[arg(value_name = "ADDR")]
    http = "127.0.0.1:7780";
    /// Admin listener (health, metrics, POST /call), or off
    #[arg(value_name = "ADDR")]
    admin = "127.0.0.1:7790";
    /// Permissions of doors that are unix sockets, like 0660: who may open the file may come in
    #[arg(value_name = "MODE")]
    socket_mode = "0600";
    /// Number of shards; auto: one a core
    #[arg(value_name = "N")]
    shards = "auto";
    /// When an acknowledged write is on the disk
    #[arg(value_parser = ["always", "everysec", "never"])]
    fsync = "always";
    /// Off: snapshots alone, for caches and for measuring
    #[arg(value_parser = ["on", "off"])]
    log = "on";
    /// How the HTTP door knows its user: the header X-User-Id, or a signed token
    #[arg(value_parser = ["header", "jwt"])]
    http_auth = "header";
    /// File with the secret that HS256 tokens are signed with
    #[arg(value_name = "FILE")]
    jwt_secret_file = "";
    /// File with a JWK set: the keys of RS256, ES256, EdDSA or HS256 tokens
    #[arg(value_name = "FILE")]
    jwt_jwks_file = "";
    /// Take only tokens whose aud names one of these, parted by commas
    #[arg(value_name = "NAMES")]
    jwt_audience = "";
    /// Take only tokens whose iss is one of these, parted by commas
    #[arg(value_name = "NAMES")]
    jwt_issuer = "";
    /// Sites whose pages may ask the HTTP door, parted by commas, like `https://app.example` (CORS)
    #[arg(value_name = "ORIGINS")]
    cors_origins = "";
    /// Names of hosts that HTTP doors on loopback answer to, beside IP addresses and localhost, parted by commas
    #[arg(value_name = "NAMES")]
    http_hosts = "";
    /// Which HTTP door has /openapi.json and /docs; auto: app, but off with http_auth jwt
    #[arg(value_parser = ["auto", "off", "admin", "app"])]
    docs = "auto";
    /// Believe X-User-Id also beyond loopback: only behind a gateway that sets it
    #[arg(value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    trust_gateway = "false";
    /// File with the tokens of TCP and admin callers, one per line: TOKEN, `full TOKEN` or `read TOKEN`
    #[arg(value_name = "FILE")]
    token_file = "";
    /// File with the server's certificate in PEM, and those between it and a root: all doors speak TLS then
    #[arg(value_name = "FILE")]
    tls_cert = "";
    /// File with the certificate's private key in PEM
    #[arg(value_name = "FILE")]
    tls_key = "";
    /// Begin a new store in an empty directory
    #[arg(value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    init = "false";
    /// Serve a throw-away directory with example data, and print commands to try
    #[arg(value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    demo = "false";
    /// Seconds between snapshots; 0: never by time
    #[arg(value_name = "SECONDS")]
    snapshot_interval_s = "300";
    /// Growth of the log, in bytes, after which a snapshot is due
    #[arg(value_name = "SIZE")]
    snapshot_log_bytes = "268435456";
    /// Size of a log file, in bytes, after which the next one begins
    #[arg(value_name = "SIZE")]
    log_segment_bytes = "67108864";
    /// Start with what is whole although log or snapshot is damaged; writes may be lost
    #[arg(value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    allow_damage = "false";
    /// off, error, warn, info, debug, trace, or directives like `info,chatshard::net=debug`
    #[arg(value_name = "LEVEL")]
    log_level = "info";
    /// Messages for people or for machines
    #[arg(value_parser = ["text", "json"])]
    log_format = "text";
    /// Memory, in bytes or like 8GiB, at which new chats and members are refused; without it nothing is
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
}

/// Arguments of `serve`.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct ServeArgs {
    /// TOML file with settings [env: CHATSHARD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One flag a setting.
    #[command(flatten)]
    pub settings: Settings,
}

/// The name of a setting's environment variable.
pub fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_ascii_uppercase())
}

/// The variables of this process that begin with [`PREFIX`].
pub fn process_environment() -> Result<Environment, ConfigError> {
    let mut found = Environment::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
        let value = match value.into_string() {
            Ok(value) => value,
            Err(_) if is_known(name) => return Err(ConfigError::variable(name)),
            // Its name is what the warning about it needs.
            Err(_) => String::new(),
        };
        found.insert(name.to_owned(), value);
    }
    Ok(found)
}

/// Whether a setting, or the file of settings, comes from this variable.
fn is_known(name: &str) -> bool {
    name == variable("config") || SETTINGS.iter().any(|(setting, _)| variable(setting) == name)
}

/// A sentence about each variable of `environment` that nobody reads: a slip in a name must not be
/// lost. `others` are those that other commands of the program read.
pub fn unknown_variables(environment: &Environment, others: &[String]) -> Vec<String> {
    let known: Vec<String> = SETTINGS.iter().map(|(name, _)| variable(name)).collect();
    let is_unknown = |name: &str, value: &str| {
        !is_known(name) && !others.iter().any(|other| other == name) && !is_of_service(name, value)
    };
    environment
        .iter()
        .filter(|(name, value)| is_unknown(name, value))
        .map(|(name, _)| {
            // Without what all of them begin with, which makes all of them alike.
            let others = known.iter().chain(others).map(|other| other.trim_start_matches(PREFIX));
            let meant = closest(name.trim_start_matches(PREFIX), others)
                .map_or_else(String::new, |meant| format!("; did you mean {PREFIX}{meant}?"));
            format!("environment {name}: there is no such setting{meant}")
        })
        .collect()
}

/// Whether Kubernetes sets this variable for a service whose name begins with `chatshard`, like
/// `CHATSHARD_SERVICE_HOST` and `CHATSHARD_ADMIN_PORT_7790_TCP`.
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
        // `CHATSHARD_HTTP_PORT=8080` is somebody's slip; Kubernetes sets an address there.
        (.., Some("")) => value.contains("://") || name == "PORT",
        (.., Some(rest)) => is_number_first(rest) || name.starts_with("PORT_"),
        _ => name.starts_with("SERVICE_"),
    }
}

const FLAG: &str = "flag";
const ENVIRONMENT: &str = "environment";
const DEFAULT: &str = "default";

/// All four places, merged.
pub(super) struct Merged(Figment);

impl Merged {
    pub(super) fn load(args: &ServeArgs, environment: &Environment) -> Result<Self, ConfigError> {
        let variables = SETTINGS.iter().filter_map(|(name, _)| {
            // An empty variable is what a compose file makes of one that is not set. For unknown
            // ones see `unknown_variables`.
            let value = environment.get(&variable(name)).filter(|value| !value.is_empty())?;
            Some((*name, value.clone()))
        });
        let defaults = SETTINGS.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let mut figment = Figment::new().merge(Layer::new(DEFAULT, defaults));
        let from_environment = environment.get(&variable("config")).filter(|path| !path.is_empty());
        if let Some(path) = args.config.clone().or(from_environment.map(PathBuf::from)) {
            figment = figment.merge(file(&path)?);
        }
        figment = figment.merge(Layer::new(ENVIRONMENT, variables));
        Ok(Self(figment.merge(Layer::new(FLAG, args.settings.given()))))
    }

    /// Parses one setting; an error says where the wrong value stands.
    pub(super) fn get<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let text: String =
            self.0.extract_inner(name).map_err(|error| self.error(name, error.to_string()))?;
        parse(text.trim()).map_err(|why| self.error(name, why))
    }

    /// Whether the setting was given as a flag.
    pub(super) fn is_flag(&self, name: &str) -> bool {
        self.origin(name) == FLAG
    }

    /// Whether the setting was given nowhere.
    pub(super) fn is_default(&self, name: &str) -> bool {
        self.origin(name) == DEFAULT
    }

    /// An error about a setting, with the place of its value.
    pub(super) fn error(&self, name: &str, why: impl fmt::Display) -> ConfigError {
        let place = match self.origin(name).as_str() {
            FLAG => format!("flag --{}", name.replace('_', "-")),
            ENVIRONMENT => format!("environment {}", variable(name)),
            DEFAULT => format!("default of {name}"),
            file => format!("{file}: {name}"),
        };
        ConfigError(format!("{place}: {why}"))
    }

    fn origin(&self, name: &str) -> String {
        let metadata = self.0.find_metadata(name);
        metadata.map_or(DEFAULT.to_owned(), |metadata| metadata.name.clone().into_owned())
    }
}

/// Settings of one place, all text.
struct Layer {
    place: String,
    values: Dict,
}

impl Layer {
    fn new(place: &str, values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let values = values.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value)));
        Self { place: place.to_owned(), values: values.collect() }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.place.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Reads the TOML file. A key that is no setting is an error: a misspelt `fsync` must not be lost.
fn file(path: &Path) -> Result<Layer, ConfigError> {
    use figment::providers::{Format, Toml};

    let place = format!("file {}", path.display());
    let wrong = |why: String| ConfigError(format!("{place}: {why}"));
    let text = crate::files::read_text(path).map_err(|error| wrong(error.to_string()))?;
    let table: Dict = Toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let mut values = Vec::new();
    for (key, value) in &table {
        let Some((name, _)) = SETTINGS.iter().find(|(name, _)| name == key) else {
            let meant = did_you_mean(key, SETTINGS.iter().map(|(name, _)| *name));
            return Err(wrong(format!("unknown key `{key}`{meant}")));
        };
        let value = match value {
            Value::String(_, text) => text.clone(),
            Value::Bool(_, yes) => yes.to_string(),
            Value::Num(_, number) => match (number.to_u128(), number.to_i128()) {
                (Some(number), _) => number.to_string(),
                (_, Some(number)) => number.to_string(),
                _ => return Err(wrong(format!("{name}: must not be a fraction"))),
            },
            _ => return Err(wrong(format!("{name}: must be a string, a number or a boolean"))),
        };
        values.push((*name, value));
    }
    Ok(Layer::new(&place, values))
}
