//! The command line: its subcommands, and the functions that run them.
//!
//! # Layout
//! - [`call`]: any command, with JSON in and out
//! - [`manual`]: the help of each command
//! - [`query`]: list, detail, delete, stats, for people to read
//! - [`cluster`]: the members of a journal, for people to read, and a handover between them
//! - [`transfer`]: import and export of JSON lines
//! - [`generate`]: data sets of realistic shape
//! - [`mod@bench`]: the load tool
//! - [`inspect`]: a check of a data directory, offline
//! - [`journal`]: begins the journal that several nodes share, and shows what it holds
//! - [`journal_args`]: where a journal is, for commands that use its engine
//! - [`refill`]: writes what an engine lost from the logs of the members
//! - [`restore`]: puts a backup into service
//! - [`serve`], [`demo`] and [`ephemeral`]: the server itself
//! - [`schema`]: the protocol as data
//! - [`log_lines`]: log lines on their way to stderr, which may not take them
//! - [`progress`]: a bar that shows how far a command has come
//! - [`result_file`]: results to stdout or to a file, which appears whole or not at all
//! - [`failure`]: why a command ends, and its exit code
//!
//! # Invariants
//! - Results go to stdout, everything else to stderr.
//! - Exit codes: 0 done, 1 failed (or, for `inspect`, damaged), 2 wrong usage. Wrong settings are
//!   wrong usage too, wherever they stand.
//! - If nobody reads the output any more, as after `| head`, the command ends without a message and
//!   with 0.

#[cfg(feature = "bench")]
pub mod bench;
pub mod call;
pub mod cluster;
pub mod demo;
pub mod ephemeral;
pub mod failure;
#[cfg(feature = "bench")]
pub mod generate;
pub mod inspect;
pub mod journal;
pub mod journal_args;
pub mod log_lines;
pub mod manual;
pub mod progress;
pub mod query;
mod raise_format;
pub mod refill;
pub mod restore;
pub mod result_file;
pub mod schema;
pub mod serve;
pub mod transfer;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

#[cfg(feature = "bench")]
pub use bench::Bench;
pub use failure::Failure;
use failure::tell;

use crate::client::{Address, Changes, ClientError, ClientOptions, ClientTls, ClusterClient};
use crate::command::{Call, Command, Outcome};
use crate::config::settings::{SETTINGS, ServeArgs, variable};
use crate::limits::STALE_MS_MAX;

/// The parsed command line.
#[derive(Debug, Parser)]
#[command(name = "chatshard", version, about, propagate_version = true)]
pub struct Cli {
    /// The subcommand to run.
    #[command(subcommand)]
    pub action: Action,
}

/// The subcommands of `chatshard`, with their arguments.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Run the server; a flag overrides its environment variable, which overrides the TOML file
    Serve(Box<ServeArgs>),
    /// Send any command, and print the body of its reply as JSON
    Call(call::CallArgs),
    /// List a user's chats, pinned first, then newest-joined first
    List(query::ListArgs),
    /// Show chats by id
    Detail(query::DetailArgs),
    /// Remove chats from a user's list until their next message
    Delete(query::DeleteArgs),
    /// Show counts and sizes of the server
    Stats(query::StatsArgs),
    /// Show the members of the server's journal
    Cluster(cluster::ClusterArgs),
    /// Let a standby take over from the active of the server's journal
    Handover(cluster::HandoverArgs),
    /// Read chats and members from JSON lines into the server
    Import(transfer::ImportArgs),
    /// Write the server's chats and members as JSON lines
    Export(transfer::ExportArgs),
    /// Measure servers, and make data for it
    #[cfg(feature = "bench")]
    #[command(subcommand)]
    Bench(Bench),
    /// Check a data directory while no server uses it
    Inspect(inspect::InspectArgs),
    /// Put a data directory from a backup into service
    Restore(restore::RestoreArgs),
    /// Begin the journal that several nodes share, show what it holds, or write what its engine lost
    #[command(subcommand)]
    Journal(journal::JournalAction),
    /// Print the protocol as JSON: commands, records, errors, changes and limits
    Schema,
}

/// How long a command waits before it says that it waits.
const SILENCE: Duration = Duration::from_secs(3);

/// The address of the server and the credentials for it.
#[derive(Clone, Args)]
pub struct ConnectArgs {
    /// Address of the server's TCP door: HOST:PORT, or unix:PATH; those of the members of a journal
    /// are separated by commas
    #[arg(long, value_name = "ADDR", env = "CHATSHARD_ADDR", default_value = "127.0.0.1:7700")]
    pub addr: String,
    /// Secret for the server, if it requires one
    #[arg(long, value_name = "TOKEN", env = "CHATSHARD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Take replies to reads from a standby too, if its state is at most so old [default: only the
    /// active replies]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=STALE_MS_MAX))]
    pub stale_ms: Option<u64>,
    /// The settings of TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
}

/// The certificates to trust, and the name that the server's certificate must have.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsArgs {
    /// Use TLS, and trust the certificates of this PEM file: a root's, or the server's own
    #[arg(long, value_name = "FILE", env = "CHATSHARD_TLS_CA")]
    pub tls_ca: Option<PathBuf>,
    /// Name in the server's certificate [default: the host of --addr]
    #[arg(long, value_name = "NAME", env = "CHATSHARD_TLS_NAME")]
    pub tls_name: Option<String>,
}

impl TlsArgs {
    /// Reads the certificates; `None` if TLS is off. An empty environment variable counts as unset.
    pub fn read(&self) -> Result<Option<ClientTls>, String> {
        let name = self.tls_name.as_deref().filter(|name| !name.is_empty());
        let Some(path) = self.tls_ca.as_ref().filter(|path| !path.as_os_str().is_empty()) else {
            return match name {
                Some(_) => Err("--tls-name needs --tls-ca".to_owned()),
                None => Ok(None),
            };
        };
        let tls = ClientTls::trusting(path)?;
        name.map_or(Ok(tls.clone()), |name| tls.named(name)).map(Some)
    }
}

impl fmt::Debug for ConnectArgs {
    /// Shows the address, and never the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl ConnectArgs {
    /// Connects to an address without TLS.
    pub fn plain(addr: String, token: Option<String>) -> Self {
        Self { addr, token, stale_ms: None, tls: TlsArgs::default() }
    }

    /// Connects a client of all addresses. Errors name them.
    pub async fn open(&self) -> Result<ClusterClient, Failure> {
        let client = ClusterClient::connect(self.addr.split(','), self.options()?).await;
        client.map_err(|error| self.failure(&error))
    }

    /// Sends a command and waits for its reply. Says on stderr if the reply is long in coming, and
    /// why if an attempt has shown it.
    pub async fn ask(&self, client: &ClusterClient, command: Command) -> Outcome {
        let mut reply = pin!(client.call(command));
        tokio::select! {
            outcome = &mut reply => return outcome,
            () = tokio::time::sleep(SILENCE) => {}
        }
        let why = client.trouble().map_or_else(String::new, |error| format!(" ({error})"));
        let most = ClientOptions::default().call_timeout;
        tell(format_args!("no reply of {} yet{why}; waiting for at most {most:?}", self.addr));
        reply.await
    }

    /// Opens the stream of changes behind the offset `from`, or from now on.
    pub async fn changes(&self, from: Option<String>) -> Result<Changes, Failure> {
        let options = self.options()?;
        let changes = match self.addr.contains(',') {
            true => Changes::open(self.active().await?, &options, from).await,
            false => Changes::open(&self.addr, &options, from).await,
        };
        changes.map_err(|error| self.failure(&error))
    }

    /// The address of the active, if it is one of the given ones; else that of a member which knows
    /// the active.
    async fn active(&self) -> Result<Address, Failure> {
        let active = self.open().await?.active().await.map_err(|error| self.failure(&error))?;
        let is_given = self.addr.split(',').any(|given| given == active.address);
        Ok(if is_given { active.address.as_str().into() } else { active.said_by })
    }

    fn failure(&self, error: &ClientError) -> Failure {
        let hint = match error {
            ClientError::Frame(_) if self.tls.tls_ca.is_none() => {
                " (if it speaks TLS: --tls-ca FILE)"
            }
            // The text is no address, as the error says.
            ClientError::Connect { error: cause, .. }
                if cause.kind() == std::io::ErrorKind::InvalidInput =>
            {
                return Failure::usage(error);
            }
            // This error names the address already.
            ClientError::Connect { .. } => return Failure::new(error.to_string()),
            _ => "",
        };
        Failure::new(format!("{}: {error}{hint}", self.addr))
    }

    // The options that the command line sets; the others keep their defaults.
    #[allow(clippy::needless_update)]
    fn options(&self) -> Result<ClientOptions, Failure> {
        Ok(ClientOptions {
            tls: self.tls.read().map_err(Failure::usage)?,
            stale: self.stale_ms.map(Duration::from_millis),
            token: self.token.clone().filter(|token| !token.is_empty()),
            name: Some(concat!("chatshard-cli/", env!("CARGO_PKG_VERSION")).to_owned()),
            ..Default::default()
        })
    }
}

/// The definition of the command line, for parsing, tests and shell completions.
pub fn definition() -> clap::Command {
    // Defaults and variables in the help come from the table of settings, so that both always
    // agree.
    Cli::command().mut_subcommand("serve", |serve| {
        serve.mut_args(|argument| {
            let name = argument.get_id().as_str().to_owned();
            let found = SETTINGS.iter().find(|(setting, _)| *setting == name);
            let (Some((_, default)), Some(help)) = (found, argument.get_help().cloned()) else {
                return argument;
            };
            let default =
                if default.is_empty() { String::new() } else { format!(" [default: {default}]") };
            argument.help(format!("{help}{default} [env: {}]", variable(&name)))
        })
    })
}

/// Names this program for the tests of the clients in other languages.
const BIN_VARIABLE: &str = "CHATSHARD_BIN";

/// The environment variables that commands other than `serve` and the clients' tests read.
pub fn client_variables() -> Vec<String> {
    fn gather(command: &clap::Command, found: &mut BTreeSet<String>) {
        let named = command.get_arguments().filter_map(clap::Arg::get_env);
        found.extend(named.filter_map(|name| name.to_str().map(str::to_owned)));
        command.get_subcommands().for_each(|below| gather(below, found));
    }
    let mut found = BTreeSet::from([BIN_VARIABLE.to_owned()]);
    gather(&definition(), &mut found);
    found.into_iter().collect()
}

/// Parses one command line and runs it.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = definition().try_get_matches_from(arguments);
    match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => dispatch(cli.action).unwrap_or_else(|failure| failure.report()),
        Err(error) => {
            // An error of printing is ignored: if nobody reads the help any more, nothing is wrong.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

fn dispatch(action: Action) -> Result<ExitCode, Failure> {
    match action {
        Action::Serve(args) => serve::run(&args),
        Action::Call(args) => block_on(call::run(args)),
        Action::List(args) => block_on(query::list(args)),
        Action::Detail(args) => block_on(query::detail(args)),
        Action::Delete(args) => block_on(query::delete(args)),
        Action::Stats(args) => block_on(query::stats(args)),
        Action::Cluster(args) => block_on(cluster::run(args)),
        Action::Handover(args) => block_on(cluster::hand_over(args)),
        Action::Import(args) => block_on(transfer::import::run(args)),
        Action::Export(args) => block_on(transfer::export::run(args)),
        #[cfg(feature = "bench")]
        Action::Bench(bench) => measure(bench),
        Action::Inspect(args) => inspect::run(&args),
        Action::Restore(args) => restore::run(&args),
        Action::Journal(action) => journal::run(&action),
        Action::Schema => schema::run().map(|()| ExitCode::SUCCESS),
    }
}

#[cfg(feature = "bench")]
fn measure(bench: Bench) -> Result<ExitCode, Failure> {
    match bench {
        Bench::Run(args) => bench::run::run(&args).map(|()| ExitCode::SUCCESS),
        Bench::Fill(args) => block_on(bench::fill::run(args)),
        Bench::Failover(args) => block_on(bench::failover::run(args)),
        Bench::Canned(args) => bench::canned::run(&args).map(|()| ExitCode::SUCCESS),
        Bench::Bare(args) => block_on(bench::bare::run(args)),
        Bench::Generate(args) => generate::run(&args),
    }
}

/// Runs a command that uses the client, on an async runtime of its own.
fn block_on<F: Future<Output = Result<(), Failure>>>(command: F) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let done = runtime.block_on(command);
    // A thread may still wait for stdin. It must not keep the process alive.
    runtime.shutdown_background();
    done.map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        definition().debug_assert();
    }
}
