//! `inspect DIR`: what is in a data directory and whether it can be relied on, without a server.
//!
//! It reads and changes nothing, unless it is told to `--repair`. While a server is at work in the
//! directory its log has an end that moves, and a repair would spoil it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use snapshot::{RealDisk, Scan, Tail};

use super::Failure;
use super::failure::tell;
use super::output::{print, print_json};
use crate::node::store::{lock, renew_incarnation};

/// Arguments of `inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The data directory; no server may be using it
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Cut and set aside what is damaged, keeping copies; what is lost by that is lost
    #[arg(long)]
    pub repair: bool,
    /// JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Looks, repairs if told, and tells. Exit code 1 if damage is left.
pub fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    // A directory that is not there must not look like an empty store.
    std::fs::read_dir(&args.dir)
        .map_err(|error| Failure::new(format!("{}: {error}", args.dir.display())))?;
    let mut done = Vec::new();
    if args.repair {
        // Held until the repair is done: a running server would write on into a file we replace.
        let _lock = lock(&args.dir).map_err(|error| Failure::new(error.to_string()))?;
        let repaired = snapshot::repair(&RealDisk, &args.dir, None);
        done = repaired.map_err(|error| Failure::new(error.to_string()))?.done;
        if !done.is_empty() {
            renew_incarnation(&args.dir).map_err(|error| Failure::new(error.to_string()))?;
        }
    }
    let scan = snapshot::scan(&RealDisk, &args.dir, None)
        .map_err(|error| Failure::new(error.to_string()))?;
    if args.json {
        print_json(&as_json(&scan, &done))?;
    } else {
        print(&as_text(&scan, &done))?;
    }
    if scan.damage.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.repair {
        tell(format_args!(
            "damaged: restore a backup, or see what --repair keeps (it makes copies of what it changes)"
        ));
    }
    Ok(ExitCode::FAILURE)
}

fn as_json(scan: &Scan, done: &[String]) -> Value {
    let images = scan.images.iter().map(|image| match &image.state {
        Ok(info) => json!({
            "path": image.path, "whole": true, "bytes": info.bytes, "blocks": info.blocks,
            "start_lsn": info.start_lsn.0, "end_lsn": info.end_lsn.0, "logged": info.logged,
        }),
        Err(damage) => json!({
            "path": image.path, "whole": false, "start_lsn": image.start_lsn.0,
            "damage": damage.to_string(),
        }),
    });
    let segments = scan.segments.iter().map(|segment| {
        json!({
            "path": segment.path, "first_lsn": segment.first_lsn.0, "last_lsn": segment.last_lsn.0,
            "batches": segment.batches, "records": segment.records, "bytes": segment.bytes,
            "whole_bytes": segment.whole_bytes, "end_mark": segment.end_mark,
        })
    });
    let tail = match &scan.tail {
        Tail::Torn { path, offset, bytes, what } => json!({
            "state": "torn", "path": path, "offset": offset, "bytes": bytes, "what": what,
        }),
        tail => json!({ "state": tail_name(tail) }),
    };
    let damage = scan
        .damage
        .iter()
        .map(|damage| json!({ "path": damage.path, "offset": damage.offset, "what": damage.what }));
    json!({
        // A string: JavaScript cannot read 64 bits.
        "node_id": scan.node_id.map(|node_id| format!("{node_id:016x}")),
        "last_lsn": scan.last_lsn.0,
        "images": images.collect::<Vec<_>>(),
        "segments": segments.collect::<Vec<_>>(),
        "tail": tail,
        "damage": damage.collect::<Vec<_>>(),
        "leftovers": scan.leftovers,
        "repaired": done,
    })
}

fn as_text(scan: &Scan, done: &[String]) -> String {
    let mut lines = Vec::new();
    lines.extend(done.iter().map(|change| format!("repaired: {change}")));
    if scan.is_empty() {
        lines.push("empty: neither a snapshot nor a log".to_owned());
    } else {
        lines.push(files(scan).to_string());
    }
    lines.push(format!("tail: {}", describe(&scan.tail)));
    for path in &scan.leftovers {
        lines.push(format!("unfinished (the next start removes it): {}", path.display()));
    }
    lines.extend(scan.damage.iter().map(|damage| format!("damage: {damage}")));
    let verdict = if scan.damage.is_empty() { "whole" } else { "DAMAGED" };
    lines.push(format!("{verdict}, last LSN {}", scan.last_lsn));
    lines.join("\n")
}

fn files(scan: &Scan) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["file", "LSNs", "bytes", "holds", "state"]);
    for image in &scan.images {
        let (lsns, bytes, holds, state) = match &image.state {
            Ok(info) => (
                format!("{} to {}", info.start_lsn, info.end_lsn),
                info.bytes.to_string(),
                format!("{} blocks", info.blocks),
                "whole",
            ),
            Err(_) => (image.start_lsn.to_string(), String::new(), String::new(), "DAMAGED"),
        };
        table.add_row([name(&image.path), lsns, bytes, holds, state.to_owned()]);
    }
    for segment in &scan.segments {
        let state = match (segment.end_mark, segment.whole_bytes == segment.bytes) {
            (true, _) => "whole, end mark".to_owned(),
            (false, true) => "whole".to_owned(),
            (false, false) => format!("whole to byte {}", segment.whole_bytes),
        };
        table.add_row([
            name(&segment.path),
            format!("{} to {}", segment.first_lsn, segment.last_lsn),
            segment.bytes.to_string(),
            format!("{} records in {} batches", segment.records, segment.batches),
            state,
        ]);
    }
    table
}

fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn tail_name(tail: &Tail) -> &'static str {
    match tail {
        Tail::Empty => "empty",
        Tail::EndMark => "end_mark",
        Tail::Open => "open",
        Tail::Torn { .. } => "torn",
    }
}

fn describe(tail: &Tail) -> String {
    match tail {
        Tail::Empty => "no log".to_owned(),
        Tail::EndMark => "a clean stop".to_owned(),
        Tail::Open => "an unclean stop after a whole batch".to_owned(),
        Tail::Torn { path, offset, bytes, what } => format!(
            "an unclean stop during a write: {bytes} bytes at {offset} of {} will be cut ({what})",
            path.display()
        ),
    }
}
