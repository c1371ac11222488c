//! `inspect DIR`: shows the files of a data directory, and whether a server can start on them.
//!
//! It only reads, except with `--repair`. Beside a server the end of the log moves, so the output
//! says that the directory is in use. A repair would destroy data and is refused there.
//!
//! Invariant: a server starts on every directory that `inspect` calls whole, unless its replay differs
//! from a digest in the log: nothing is replayed here.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use clap::Args;
use comfy_table::{Table, presets};
use serde_json::{Value, json};
use snapshot::{Known, Lsn, RealDisk, Repaired, Scan, SegmentReport, Tail};

use super::Failure;
use super::failure::tell;
use super::result_file::{print, print_json};
use crate::node::loss::{NewestTime, WIPE_ADVICE, cost, described, kept_until};
use crate::node::rights::{advice_in, refusal};
use crate::node::store::{
    is_used, lock, look, refuse_half_swapped, refuse_repair, renew_incarnation, unfinished_copy,
};
use crate::shard::events;
use crate::types::TimeMs;

/// Arguments of `inspect`: a data directory, and what to do with it.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Data directory; while a server uses it, the end of its log moves
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Cut off or set apart the damaged parts and keep copies; the records in them are lost to the
    /// server
    #[arg(long)]
    pub repair: bool,
    /// Print JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

/// Inspects the directory, repairs it if asked to, and prints what was found. The exit code is 1 if
/// a server would not start.
pub fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    // A missing directory is an error here: it would otherwise look like an empty store.
    std::fs::read_dir(&args.dir).map_err(|error| Failure::new(refusal(&args.dir, &error)))?;
    if let Ok((identity, _)) = look(&args.dir) {
        let refused = refuse_half_swapped(&args.dir, &identity);
        refused.map_err(|error| Failure::new(error.to_string()))?;
    }
    let repaired = if args.repair { repair(args)? } else { Repaired::default() };
    let found = Found::of(&args.dir, repaired)?;
    if args.json {
        print_json(&as_json(&found))?;
    } else {
        print(&as_text(&args.dir, &found))?;
    }
    if found.is_whole() {
        return Ok(ExitCode::SUCCESS);
    }
    if !found.scan.damage.is_empty() && found.refusal.is_none() {
        match found.is_member {
            true => tell(format_args!("damaged: {WIPE_ADVICE}")),
            false => {
                tell(format_args!(
                    "damaged: restore a backup, or accept the cost; copies are kept"
                ));
            }
        }
    }
    Ok(ExitCode::FAILURE)
}

/// Repairs damage for which a start would refuse the directory. If the identity file is damaged,
/// changes nothing.
fn repair(args: &InspectArgs) -> Result<Repaired, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(error.to_string());
    let (identity, _) = look(&args.dir).map_err(|error| failed(&error))?;
    refuse_repair(&args.dir, &identity).map_err(|error| failed(&error))?;
    // The lock is held until the repair is done. A server could otherwise write into a file that is
    // being replaced.
    let _lock = lock(&args.dir).map_err(|error| failed(&error))?;
    let scan = snapshot::scan(&RealDisk, &args.dir, identity.known());
    if scan.map_err(|error| failed(&error))?.can_be_repaired {
        // Renewed first: even if the repair breaks off, clients then begin anew.
        renew_incarnation(&args.dir).map_err(|error| failed(&error))?;
    }
    snapshot::repair(&RealDisk, &args.dir, identity.known()).map_err(|error| failed(&error))
}

/// What an inspection found.
struct Found {
    /// Whether a server used the directory when the inspection began.
    in_use: bool,
    scan: Scan,
    repaired: Repaired,
    /// Why a server refuses the directory, apart from damage of log and snapshots.
    refusal: Option<String>,
    /// Whether it is the directory of a member of a journal, in which damage is not accepted.
    is_member: bool,
    /// What is lost if the damage is accepted, in words.
    cost: Option<String>,
    /// The newest time in the records that are left.
    newest: Option<TimeMs>,
    /// How many digests of slots the log has.
    digests: u64,
}

impl Found {
    fn of(dir: &Path, repaired: Repaired) -> Result<Self, Failure> {
        let in_use = is_used(dir);
        let identity = look(dir);
        let known = identity.as_ref().map_or_else(|_| Known::default(), |(it, _)| it.known());
        let mut newest = NewestTime::default();
        let (mut unreadable, mut digests) = (None, 0_u64);
        let scan = snapshot::scan_with(&RealDisk, dir, known, |lsn, record| {
            newest.note(record);
            if unreadable.is_none() {
                match events::decode(record) {
                    Ok((.., event)) => digests += u64::from(event.has_digest()),
                    Err(error) => unreadable = Some((lsn, error.to_string())),
                }
            }
            Ok(())
        });
        let scan =
            scan.map_err(|error| Failure::new(format!("{error}{}", advice_in(dir, &error))))?;
        let newest = newest.time();
        let is_member = identity.as_ref().is_ok_and(|(identity, _)| identity.member.is_some());
        let is_accepted = !scan.damage.is_empty() && identity.is_ok() && !is_member;
        let cost = is_accepted.then(|| cost(&scan, newest));
        let unreadable = unreadable.map(|(lsn, why): (Lsn, String)| {
            let holds =
                |segment: &&SegmentReport| segment.first_lsn <= lsn && lsn <= segment.last_lsn;
            let path = scan.segments.iter().find(holds).map_or(dir, |segment| &segment.path);
            format!("{}: record {lsn}: {why}", path.display())
        });
        let refusal = identity.err().map(|error| error.to_string()).or(unreadable);
        Ok(Self { in_use, scan, repaired, refusal, is_member, cost, newest, digests })
    }

    fn is_whole(&self) -> bool {
        self.refusal.is_none() && self.scan.is_whole()
    }

    fn verdict(&self) -> &'static str {
        match (&self.refusal, self.scan.newer.is_empty(), self.scan.damage.is_empty()) {
            (_, false, _) => "NEWER",
            (None, _, true) => "whole",
            (Some(_), _, true) => "REFUSED",
            (_, _, false) => "DAMAGED",
        }
    }
}

fn as_json(found: &Found) -> Value {
    let Found { scan, repaired, .. } = found;
    let snapshots = scan.snapshots.iter().map(|snapshot| match &snapshot.state {
        Ok(info) => json!({
            "path": snapshot.path, "whole": true, "bytes": info.bytes, "blocks": info.blocks,
            "start_lsn": info.start_lsn.0, "end_lsn": info.end_lsn.0, "logged": info.logged,
        }),
        Err(damage) => json!({
            "path": snapshot.path, "whole": false, "start_lsn": snapshot.start_lsn.0,
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
    let newer = scan
        .newer
        .iter()
        .map(|newer| json!({ "path": newer.path, "version": newer.version, "known": newer.known, "what": newer.to_string() }));
    let snapshot = scan.snapshots.iter().rev().find(|snapshot| snapshot.state.is_ok());
    let kept_until = kept_until(found.newest, snapshot.map(|snapshot| snapshot.path.as_path()))
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .and_then(|since| u64::try_from(since.as_millis()).ok());
    let loss = scan.loss.or(repaired.loss).map(|loss| {
        json!({
            "first_lsn": loss.first.0, "last_lsn": loss.last.0, "records": loss.records(),
            "at_most_lsn": loss.at_most.0, "written_after_ms": kept_until,
        })
    });
    let damage = scan
        .damage
        .iter()
        .map(|damage| json!({ "path": damage.path, "offset": damage.offset, "what": damage.what }));
    json!({
        // A string, because a number of JavaScript cannot hold 64 bits.
        "node_id": scan.node_id.map(|node_id| format!("{node_id:016x}")),
        "in_use": found.in_use,
        "last_lsn": scan.last_lsn.0,
        "images": snapshots.collect::<Vec<_>>(),
        "segments": segments.collect::<Vec<_>>(),
        "tail": tail,
        "verdict": found.verdict().to_ascii_lowercase(),
        "refused": found.refusal,
        "newer": newer.collect::<Vec<_>>(),
        "damage": damage.collect::<Vec<_>>(),
        "can_be_repaired": scan.can_be_repaired && !found.is_member,
        "loss": loss,
        "leftovers": scan.leftovers,
        "digests": found.digests,
        "repaired": repaired.done,
    })
}

fn as_text(dir: &Path, found: &Found) -> String {
    let Found { scan, repaired, .. } = found;
    let mut lines = Vec::new();
    lines.extend(repaired.done.iter().map(|change| format!("repaired: {change}")));
    if !repaired.done.is_empty() {
        let lost = repaired.loss.map(|loss| described(&loss, kept_until(found.newest, None)));
        lines.push(format!("lost: {}", lost.unwrap_or_else(|| "nothing".to_owned())));
    }
    if scan.is_empty() {
        lines.push(format!("{}: empty, neither a snapshot nor a log", dir.display()));
    } else {
        lines.push(files(scan).to_string());
    }
    let writer = if found.in_use { "a server that runs" } else { "an unclean stop" };
    lines.push(format!("tail: {}", describe(&scan.tail, scan.segments.last(), writer)));
    if found.digests > 0 {
        lines.push(format!("digests of slots in the log: {}", found.digests));
    }
    for path in &scan.leftovers {
        lines.push(format!("unfinished (the next start removes it): {}", path.display()));
    }
    if let Some(path) = unfinished_copy(dir) {
        let path = path.display();
        lines
            .push(format!("unfinished copy of another member (the next start removes it): {path}"));
    }
    lines.extend(scan.newer.iter().map(|newer| format!("newer: {newer}; nothing touches it")));
    lines.extend(scan.damage.iter().map(|damage| format!("damage: {damage}")));
    lines.extend(found.cost.iter().map(|cost| format!("cost: {cost}")));
    lines.extend(found.refusal.iter().map(|refusal| format!("refused: {refusal}")));
    if found.in_use {
        lines.push(format!("{}: {IN_USE}", dir.display()));
    }
    lines.push(format!("{}: {}, last LSN {}", dir.display(), found.verdict(), scan.last_lsn));
    lines.join("\n")
}

fn files(scan: &Scan) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["file", "LSNs", "bytes", "holds", "state"]);
    for snapshot in &scan.snapshots {
        let (lsns, bytes, holds, state) = match &snapshot.state {
            Ok(info) => (
                format!("{} to {}", info.start_lsn, info.end_lsn),
                info.bytes.to_string(),
                format!("{} blocks", info.blocks),
                "whole",
            ),
            Err(_) => (snapshot.start_lsn.to_string(), String::new(), String::new(), "DAMAGED"),
        };
        table.add_row([snapshot.path.display().to_string(), lsns, bytes, holds, state.to_owned()]);
    }
    for segment in &scan.segments {
        let state = match (segment.end_mark, segment.whole_bytes == segment.bytes) {
            (true, _) => "whole, end mark".to_owned(),
            (false, true) => "whole".to_owned(),
            (false, false) => format!("whole to byte {}", segment.whole_bytes),
        };
        table.add_row([
            segment.path.display().to_string(),
            lsns(segment),
            segment.bytes.to_string(),
            format!("{} records in {} batches", segment.records, segment.batches),
            state,
        ]);
    }
    table
}

/// The LSNs of a segment. Of one without records only the next LSN is known.
fn lsns(segment: &SegmentReport) -> String {
    if segment.records == 0 {
        return format!("none, next is {}", segment.first_lsn);
    }
    format!("{} to {}", segment.first_lsn, segment.last_lsn)
}

fn tail_name(tail: &Tail) -> &'static str {
    match tail {
        Tail::Empty => "empty",
        Tail::EndMark => "end_mark",
        Tail::Open => "open",
        Tail::Torn { .. } => "torn",
    }
}

/// What a person must know of a directory in use.
const IN_USE: &str = "a server uses it now. Its newest bytes may look torn or missing; to be sure, \
    stop it and inspect again";

/// Describes the end of the log. `writer` is what left it there.
fn describe(tail: &Tail, last: Option<&SegmentReport>, writer: &str) -> String {
    let ends = |how: &str| {
        last.map_or_else(|| how.to_owned(), |last| format!("{}: {how}", last.path.display()))
    };
    match tail {
        Tail::Empty => "no log".to_owned(),
        Tail::EndMark => ends("a clean stop"),
        Tail::Open => ends(&format!("{writer}, after a whole batch")),
        Tail::Torn { path, offset, bytes, what } => format!(
            "{}: {writer}, during a write: {bytes} bytes at {offset} will be cut ({what}); with \
             --fsync always nothing in them was acknowledged",
            path.display()
        ),
    }
}
