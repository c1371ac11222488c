//! `journal refill`: writes what the engine lost from the longest log of a member.
//!
//! # Layout
//! - [`peers`]: what the members say of themselves, and the records of their logs
//! - [`plan`]: whose log is taken, and why none is
//!
//! # Invariants
//! - Every member is asked, or named as lost. All that they have of the journal must agree.
//! - Nothing is written before all logs are compared.
//! - A token goes only to the addresses that the caller named, or where TLS verifies who is there.

pub mod peers;
pub mod plan;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;

use super::journal_args::{JournalArgs, connect};
use super::result_file::{print, print_json};
use super::{Failure, TlsArgs};
use crate::client::Address;
use crate::journal::client::EngineClient;
use crate::node::genesis;
use crate::node::refill::Refill;
use peers::{AskedMember, AskedMembers};
use plan::{EngineEnd, Plan};

/// The members to ask, and what to do.
#[derive(Args)]
pub struct RefillArgs {
    /// The journal, and the output.
    #[command(flatten)]
    pub journal: JournalArgs,
    /// Addresses of the admin listeners of all members, separated by commas
    #[arg(long, value_name = "ADDRS", required_unless_present = "addr")]
    pub members: Option<String>,
    /// Address of the admin listener of one member, which names the others; --members wins
    #[arg(long, value_name = "ADDR")]
    pub addr: Option<String>,
    /// Name of a member that is not asked, because it is lost for good; may be repeated
    #[arg(long, value_name = "NAME")]
    pub without: Vec<String>,
    /// Secret of the full role for the members, if they require one
    #[arg(long, value_name = "TOKEN", env = "CHATSHARD_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// The settings of TLS.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Only say what would be written
    #[arg(long)]
    pub dry_run: bool,
}

impl std::fmt::Debug for RefillArgs {
    /// Shows the addresses, and never the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { members, addr, .. } = self;
        let mut shown = f.debug_struct("RefillArgs");
        shown.field("members", members).field("addr", addr).finish_non_exhaustive()
    }
}

/// What was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// Id of the journal.
    pub journal: u64,
    /// The newest entry that the engine had.
    pub engine_entries: u64,
    /// The last record that it had.
    pub engine_last_lsn: u64,
    /// The members that were asked.
    pub members: Vec<FilledFrom>,
    /// Name of the member whose log has what is missing; `None` if no record is missing.
    pub source: Option<String>,
    /// Records that the engine lacks.
    pub records: u64,
    /// The last record of the journal now; of a dry run, as it would be.
    pub last_lsn: u64,
    /// Whether the engine lacks nothing, not even entries without records.
    pub is_whole: bool,
    /// Number of the claim; `None` if nothing was written.
    pub epoch: Option<u64>,
    /// The newest entry of the journal now; `None` if nothing was written.
    pub entries: Option<u64>,
}

/// One member that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FilledFrom {
    /// Its name among the members of the journal.
    pub member: String,
    /// Its role, `failed` if it waits for an operator.
    pub role: String,
    /// The first record that was compared.
    pub first_lsn: u64,
    /// The last one. Below the first one if there was none.
    pub last_lsn: u64,
}

/// Runs the command.
pub fn run(args: &RefillArgs) -> Result<ExitCode, Failure> {
    let client = connect(&args.journal)?;
    let named = args.members.as_ref().or(args.addr.as_ref()).map_or("", String::as_str);
    let members = named.split(',').map(str::trim).filter(|text| !text.is_empty());
    let peers = AskedMembers {
        members: members.map(Address::from).collect(),
        without: args.without.clone(),
        token: args.token.clone().filter(|token| !token.is_empty()),
        tls: args.tls.read().map_err(Failure::usage)?,
    };
    if peers.members.is_empty() {
        return Err(Failure::usage("--members and --addr: name none"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("cannot start: {error}")))?;
    let filled = runtime.block_on(async {
        let peers = match args.members {
            Some(_) => peers,
            None => peers.with_known().await?,
        };
        fill(&client, &peers, args.dry_run).await
    })?;
    match args.journal.json {
        true => print_json(&filled)?,
        false => print(&as_text(&filled))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes what the engine lacks, or only says it.
///
/// # Errors
/// Why nothing was written, or why the rest was not.
pub async fn fill(
    client: &EngineClient,
    peers: &AskedMembers,
    dry_run: bool,
) -> Result<Filled, Failure> {
    let origin = genesis::read_origin(client).map_err(|error| Failure::new(error.to_string()))?;
    let engine = EngineEnd::read(client, origin.journal)?;
    let mut asked = peers.states(origin.journal).await?;
    let known = plan::known(&asked);
    for peer in &mut asked {
        peers.hash(peer, &engine).await?;
    }
    let plan = Plan::make(&engine, &asked, known)?;
    let mut filled = Filled {
        journal: origin.journal,
        engine_entries: engine.reader.place().seq,
        engine_last_lsn: engine.reader.committed().0,
        members: asked.iter().map(AskedMember::filled_from).collect(),
        source: plan.source.as_ref().map(|source| source.state.member.clone()),
        records: plan.records(),
        last_lsn: plan.last().0,
        is_whole: plan.is_whole,
        epoch: None,
        entries: None,
    };
    if dry_run || plan.is_whole {
        return Ok(filled);
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let writer = getrandom::u64().map_err(|error| Failure::new(error.to_string()))?;
    let failed = |error: crate::node::refill::NotFilled| Failure::new(error.to_string());
    let reader = engine.reader.clone();
    let format = asked.iter().map(|asked| asked.state.format).max().unwrap_or(0);
    let mut refill =
        Refill::claim(client, reader, known.epoch, format, writer, time_ms).map_err(failed)?;
    if let Some(source) = plan.source {
        peers.write(source, &plan.hashes, &mut refill).await?;
    }
    filled.epoch = Some(refill.epoch());
    filled.entries = Some(refill.release().map_err(failed)?);
    Ok(filled)
}

fn as_text(filled: &Filled) -> String {
    let Filled { journal, engine_entries, engine_last_lsn, records, last_lsn, .. } = filled;
    let mut lines = vec![format!(
        "journal {journal:x}: the engine had {engine_entries} entries and last LSN {engine_last_lsn}"
    )];
    for FilledFrom { member, role, first_lsn, last_lsn } in &filled.members {
        lines.push(match last_lsn >= first_lsn {
            true => format!("{member} ({role}) has LSN {first_lsn} to {last_lsn} of it"),
            false => format!("{member} ({role}) has no record to compare"),
        });
    }
    let from = filled.source.as_deref().unwrap_or_default();
    lines.push(match (filled.is_whole, filled.epoch) {
        (true, _) => "nothing is missing".to_owned(),
        (_, None) if *records == 0 => {
            "only entries without records are missing; a claim would replace them".to_owned()
        }
        (_, None) => format!(
            "{records} records to LSN {last_lsn} are missing, and would be written from the log of \
             {from}"
        ),
        (_, Some(epoch)) => {
            let what = match *records {
                0 => "no record was missing".to_owned(),
                _ => format!(
                    "{records} records to LSN {last_lsn} were written from the log of {from}"
                ),
            };
            format!(
                "{what}, under epoch {epoch}; the journal is released. Restart the members that \
                 failed"
            )
        }
    });
    lines.join("\n")
}
