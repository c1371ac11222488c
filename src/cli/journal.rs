//! `journal`: begins the journal that several nodes share, shows what it holds, and mends it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde_json::json;
use snapshot::Lsn;

use super::journal_args::{JournalArgs, connect};
use super::raise_format::{self, RaiseFormatArgs};
use super::refill::{self, RefillArgs};
use super::restore::whole;
use super::result_file::{print, print_json};
use super::{Failure, block_on};
use crate::journal::client::EngineClient;
use crate::journal::names::MemberNames;
use crate::node::error::StoreError;
use crate::node::first_member;
use crate::node::genesis::{self, NoOrigin};
use crate::node::identity::Identity;
use crate::node::journal_end::{JournalEnd, read_to_end};

/// What to do with a journal.
#[derive(Debug, Subcommand)]
pub enum JournalAction {
    /// Begin a journal, once for all of its members
    Init(InitArgs),
    /// Show the id, the end and the active of a journal
    Status(JournalArgs),
    /// Write what the engine lost, from the logs of the members
    Refill(RefillArgs),
    /// Give the journal a newer format without members that are gone
    RaiseFormat(RaiseFormatArgs),
}

/// Where the journal is, and the data that it begins with.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The journal, and the output.
    #[command(flatten)]
    pub journal: JournalArgs,
    /// Data directory of a stopped node: the journal begins with its data
    #[arg(long, value_name = "DIR", requires = "into")]
    pub from: Option<PathBuf>,
    /// New data directory for the first member, which gets the data of --from
    #[arg(long, value_name = "NEW_DIR", requires = "from")]
    pub into: Option<PathBuf>,
}

/// Runs one of the actions.
pub fn run(action: &JournalAction) -> Result<ExitCode, Failure> {
    match action {
        JournalAction::Init(args) => init(args),
        JournalAction::Status(args) => status(args),
        JournalAction::Refill(args) => refill::run(args),
        JournalAction::RaiseFormat(args) => block_on(raise_format::run(args)),
    }
}

fn failed(error: &NoOrigin) -> Failure {
    Failure::new(error.to_string())
}

fn init(args: &InitArgs) -> Result<ExitCode, Failure> {
    let client = connect(&args.journal)?;
    let store = |error: StoreError| Failure::new(error.to_string());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let (id, last) = match (&args.from, &args.into) {
        (Some(from), Some(into)) => {
            refuse_begun(&client)?;
            let scan = whole(from)?;
            let made = first_member::make(from, &scan, into).map_err(store)?;
            let (id, last) = (made.identity.node_id, made.last);
            let begun = made.begin(&client, time_ms);
            begun.map_err(|error| Failure::new(error.to_string()))?;
            (id, last)
        }
        _ => {
            let identity = Identity::draw(Path::new("journal")).map_err(store)?;
            let begun = genesis::begin(&client, &identity, Lsn(1), time_ms);
            begun.map_err(|error| failed(&error))?;
            (identity.node_id, Lsn(0))
        }
    };
    match (args.journal.json, &args.into) {
        (true, into) => print_json(&json!({ "journal": id, "dir": into, "last_lsn": last.0 }))?,
        (false, None) => print(&format!("the journal {id:x} has begun; its members may start"))?,
        (false, Some(into)) => print(&format!(
            "the journal {id:x} has begun behind LSN {last}; its first member starts with \
             --data-dir {}, and the others with empty directories",
            into.display()
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Refuses a journal that has begun, before any file is written.
fn refuse_begun(client: &EngineClient) -> Result<(), Failure> {
    match genesis::read_origin(client) {
        Err(NoOrigin::Empty) => Ok(()),
        Ok(_) | Err(NoOrigin::Unusable(_)) => Err(failed(&NoOrigin::Begun)),
        Err(error @ (NoOrigin::NoWord | NoOrigin::Begun)) => Err(failed(&error)),
    }
}

fn status(args: &JournalArgs) -> Result<ExitCode, Failure> {
    let client = connect(args)?;
    let origin = genesis::read_origin(&client).map_err(|error| failed(&error))?;
    let end = read_to_end(&client, origin.journal);
    let end = end.map_err(|error| Failure::new(error.to_string()))?;
    let JournalEnd { reader, active } = end;
    let place = reader.place();
    let MemberNames { member, tcp: address, .. } = active.names;
    if args.json {
        print_json(&json!({
            "journal": origin.journal,
            "incarnation": origin.genesis.incarnation,
            "format": place.format,
            "entries": place.seq,
            "last_lsn": reader.committed().0,
            "epoch": place.epoch,
            "released": reader.is_released(),
            "member": member,
            "address": address,
        }))?;
    } else {
        let active = match (member.as_str(), reader.is_released()) {
            ("", _) => "no member has claimed it".to_owned(),
            (member, true) => format!("{member} has released it"),
            (member, false) => format!("the newest claim is of {member} ({address})"),
        };
        print(&format!(
            "journal {:x}: {} entries, last LSN {}, epoch {}, format {}; {active}",
            origin.journal,
            place.seq,
            reader.committed(),
            place.epoch,
            place.format
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
