//! Where a journal is, for commands that use its engine.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::config::{AccessFiles, EngineAddress, JournalConfig, journal};
use crate::journal::client::EngineClient;
use crate::journal::kept::TrimLimits;
use crate::server::engine;

/// Where the journal is.
#[derive(Debug, Args)]
pub struct JournalArgs {
    /// The journal, as `serve --journal` names it
    #[arg(long, value_name = "URL", env = "CHATSHARD_JOURNAL")]
    pub journal: String,
    /// File with NAME:PASSWORD of a user of the engine
    #[arg(long, value_name = "FILE", env = "CHATSHARD_JOURNAL_TOKEN_FILE")]
    pub journal_token_file: Option<PathBuf>,
    /// PEM file of the authority that signed the engine's certificates
    #[arg(long, value_name = "FILE", env = "CHATSHARD_JOURNAL_TLS_CA")]
    pub journal_tls_ca: Option<PathBuf>,
    /// PEM file of a certificate for the engine
    #[arg(long, value_name = "FILE", env = "CHATSHARD_JOURNAL_TLS_CERT")]
    pub journal_tls_cert: Option<PathBuf>,
    /// PEM file of the key of that certificate
    #[arg(long, value_name = "FILE", env = "CHATSHARD_JOURNAL_TLS_KEY")]
    pub journal_tls_key: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Connects to the engine of the journal.
///
/// # Errors
/// If an argument or a file is wrong, or the engine cannot be used.
pub(super) fn connect(args: &JournalArgs) -> Result<EngineClient, Failure> {
    let engine = journal::engine(&args.journal).map_err(Failure::usage)?;
    let mut engine: EngineAddress =
        engine.ok_or_else(|| Failure::usage("--journal: names none"))?;
    // An empty environment variable counts as unset.
    let file = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
    let files = AccessFiles {
        token: file(&args.journal_token_file),
        authority: file(&args.journal_tls_ca),
        certificate: file(&args.journal_tls_cert),
        key: file(&args.journal_tls_key),
    };
    let access = files.read().map_err(|(name, why)| Failure::usage(format!("{name}: {why}")))?;
    engine.set_access(access);
    let config = JournalConfig {
        engine,
        member: None,
        advertise: None,
        advertise_admin: None,
        beat: None,
        serve: None,
        claim: None,
        member_tls_ca: None,
        confirms_reads: false,
        trim: TrimLimits::default(),
    };
    engine::connect(&config).map_err(|error| Failure::new(error.to_string()))
}
