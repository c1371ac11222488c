//! `restore DIR`: checks a data directory that comes from a backup, and begins a new incarnation of
//! its log. With `--from` it also copies the backup.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use snapshot::{RealDisk, Scan};

use super::Failure;
use super::result_file::{print, print_json};
use crate::node::error::StoreError;
use crate::node::restore::{copy, renew};
use crate::node::rights::{advice_in, refusal};
use crate::node::store::{is_used, look, refuse_half_swapped};

/// Arguments of `restore`: a data directory, and optionally the backup to copy into it.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// Data directory; no server may be using it
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Backup to copy first into DIR, which must be missing or empty
    #[arg(long, value_name = "BACKUP")]
    pub from: Option<PathBuf>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
}

/// Checks every byte of the backup, copies it if it is elsewhere, and begins a new incarnation of
/// the log.
pub fn run(args: &RestoreArgs) -> Result<ExitCode, Failure> {
    let failed = |error: StoreError| Failure::new(error.to_string());
    let scan = whole(args.from.as_ref().unwrap_or(&args.dir))?;
    let copied = match &args.from {
        Some(from) => Some(copy(from, &scan, &args.dir).map_err(failed)?),
        None => renew(&args.dir).map(|()| None).map_err(failed)?,
    };
    let last = scan.last_lsn;
    if args.json {
        print_json(&json!({ "dir": args.dir, "last_lsn": last.0, "copied_bytes": copied }))?;
    } else {
        let copied = copied.map_or(String::new(), |bytes| format!("{bytes} bytes copied; "));
        print(&format!(
            "{}: {copied}whole, last LSN {last}; clients that sync or watch begin anew",
            args.dir.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Checks every byte of a data directory that no server uses, and returns what is in it.
pub(super) fn whole(source: &Path) -> Result<Scan, Failure> {
    let failed = |error: StoreError| Failure::new(error.to_string());
    std::fs::read_dir(source).map_err(|error| Failure::new(refusal(source, &error)))?;
    let (identity, _) = look(source).map_err(failed)?;
    refuse_half_swapped(source, &identity).map_err(failed)?;
    // A directory that a server is writing is no backup: its files are of different moments.
    if is_used(source) {
        return Err(failed(StoreError::Locked(source.to_path_buf())));
    }
    let scan = snapshot::scan(&RealDisk, source, identity.known())
        .map_err(|error| Failure::new(format!("{error}{}", advice_in(source, &error))))?;
    let problems = scan.newer.iter().map(ToString::to_string);
    let problems: Vec<String> =
        problems.chain(scan.damage.iter().map(ToString::to_string)).collect();
    if !problems.is_empty() {
        return Err(Failure::new(format!(
            "{}\nNothing was changed; `chatshard inspect {}` shows all of it, and what it costs",
            problems.join("\n"),
            source.display()
        )));
    }
    Ok(scan)
}
