//! Repair, for an operator who has decided to continue with what is left whole.
//!
//! # Invariants
//! - A repair runs only when it is asked for, and only if there is damage.
//! - It removes no bytes: each file that it changes or takes away is kept as `<name>.damaged` (then
//!   `.damaged-2`, ...).
//! - It never empties a store: if nothing whole is left to begin from, it changes nothing.
//! - Afterwards the log continues behind every LSN that may have been given to a record. The new
//!   segment says which records were accepted as lost.

use std::io;
use std::path::{Path, PathBuf};

use super::scan::{Survey, survey};
use super::walk::Walked;
use super::{Loss, SnapshotReport};
use crate::bytes::{Window, u64_of, usize_of};
use crate::disk::{Disk, DiskFile};
use crate::error::at;
use crate::log::{CreateError, Kind, SegmentHeader, create_segment};
use crate::record::FRAME_BYTES;
use crate::replace::{replace_with, with_suffix};
use crate::version::SEGMENT_VERSION;
use crate::{Damage, Known, Lsn, OpenError};

const COPY_BYTES: u64 = 1 << 20;
/// How many records a missing segment can have at most: so many of the shortest ones take 32 GiB.
const MISSING_SEGMENT_RECORDS_MAX: u64 = 1 << 32;

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repaired {
    /// A sentence for each change; empty if nothing was changed.
    pub done: Vec<String>,
    /// Damage that the repair left, because nothing whole would be there to start from.
    pub left: Vec<Damage>,
    /// The records that were given up.
    pub loss: Option<Loss>,
}

/// Cuts the log at the first damage. Renames damaged snapshots if an older whole one exists, with
/// the log behind it. Also renames segments and names that cannot be used. `known` is like that of
/// [`scan`](crate::scan). No writer may use `dir` meanwhile.
///
/// # Errors
/// [`OpenError::Newer`] if a newer program wrote any of the files; then nothing is changed. After
/// an error of the file system some changes may be done, and the caller may try again.
pub fn repair<D: Disk>(
    disk: &D,
    dir: &Path,
    known: impl Into<Known>,
) -> Result<Repaired, OpenError> {
    let known = known.into();
    let found = survey(disk, dir, known, &mut |_, _| Ok(()))?;
    if !found.scan.newer.is_empty() {
        return Err(OpenError::Newer(found.scan.newer));
    }
    if found.scan.damage.is_empty() {
        return Ok(Repaired::default());
    }
    let Some(plan) = Plan::of(&found) else {
        return Ok(Repaired { done: Vec::new(), left: found.scan.damage, loss: None });
    };
    let done = plan.carry_out(disk, dir)?;
    let left = survey(disk, dir, known, &mut |_, _| Ok(()))?.scan.damage;
    Ok(Repaired { done, left, loss: found.scan.loss })
}

/// Which records are lost if the damage is accepted, and whether a repair is possible. If nothing
/// whole is left to begin from, it is all records.
pub(super) fn loss(survey: &Survey) -> (Option<Loss>, bool) {
    if survey.scan.damage.is_empty() {
        return (None, false);
    }
    let plan = Plan::of(survey);
    let (kept, beyond) = match &plan {
        None => (Lsn(0), highest_of(survey, survey.walk.segments.iter())),
        Some(Plan { goes_on: Some(header), .. }) => (header.base, header.first.previous()),
        Some(Plan { goes_on: None, .. }) => return (None, true),
    };
    let first = kept.next();
    let last = proven(survey).max(kept);
    let loss = (beyond >= first).then_some(Loss { first, last, at_most: beyond });
    (loss, plan.is_some())
}

/// All changes of a repair, decided before the first one is made.
struct Plan {
    /// Files that the repair renames, in this order.
    aside: Vec<PathBuf>,
    /// The segment that the repair cuts, and its length after that.
    cut: Option<(PathBuf, u64)>,
    /// The header of a new segment, behind all records that are lost.
    goes_on: Option<SegmentHeader>,
}

impl Plan {
    fn of(survey: &Survey) -> Option<Self> {
        let first = survey.names.segments.first().copied();
        let snapshot = survey.snapshot.as_ref();
        let start = snapshot.map_or(Lsn(0), |snapshot| snapshot.start_lsn);
        // Something whole must be left to begin from: a snapshot to which the log reaches back, or
        // a log from the first record on.
        let reaches = match first {
            Some(first) => {
                first <= start.next() || snapshot.is_some_and(|snapshot| !snapshot.logged)
            }
            None => snapshot.is_some(),
        };
        let newest = survey.names.snapshots.last().map(|name| name.start);
        let is_newest = snapshot.is_some() && newest == snapshot.map(|snapshot| snapshot.start_lsn);
        if !(reaches || is_newest) || (snapshot.is_none() && first != Some(Lsn(1))) {
            return None;
        }
        let damaged_snapshots =
            survey.scan.snapshots.iter().filter(|snapshot| snapshot.state.is_err());
        let mut aside: Vec<PathBuf> =
            damaged_snapshots.map(|snapshot| snapshot.path.clone()).collect();
        aside.extend(survey.names.wrong.iter().map(|damage| damage.path.clone()));
        let mut plan = Plan { aside, cut: None, goes_on: None };
        plan.log(survey, start);
        Some(plan)
    }

    /// Decides about the segments: those before the ones that are needed, those to keep, and those
    /// behind the damage.
    fn log(&mut self, survey: &Survey, start: Lsn) {
        let segments = survey.walk.segments.as_slice();
        let wrong = |segment: &Walked| segment.refused || segment.broken;
        let lost_tail = survey.walk.damage.iter().any(|_| !segments.iter().any(wrong));
        if !segments.iter().any(wrong) && !lost_tail {
            return;
        }
        let needed = segments.iter().rposition(|it| it.report.first_lsn <= start.next());
        let needed = needed.unwrap_or(0);
        let (older, kept_or_after) = segments.split_at_checked(needed).unwrap_or_default();
        // If only the link to the segment before it is wrong, the damage is in front of this
        // segment.
        let usable = |segment: &Walked| {
            segment.body.is_some() && segment.header.map(|it| it.node_id) == Some(node(survey))
        };
        let first_refused = |index: usize, it: &Walked| {
            let link_only = index == 0 && usable(it) && it.report.first_lsn <= start.next();
            it.refused && !link_only
        };
        let older_wrong = older.iter().any(wrong)
            || kept_or_after.first().is_some_and(|it| it.refused && usable(it));
        if older_wrong {
            self.aside.extend(older.iter().map(|it| it.report.path.clone()));
        }
        let stop = kept_or_after
            .iter()
            .enumerate()
            .position(|(index, it)| first_refused(index, it) || it.broken);
        let Some(stop) = stop else {
            if lost_tail {
                self.end_after(survey, start, kept_or_after, &[]);
            }
            return;
        };
        let refused = kept_or_after.get(stop).is_some_and(|it| first_refused(stop, it));
        let keep = if refused { stop } else { stop + 1 };
        let (kept, after) = kept_or_after.split_at_checked(keep).unwrap_or_default();
        self.end_after(survey, start, kept, after);
    }

    /// Decides that the log ends with `kept`, and continues behind every record that the rest may
    /// have had.
    fn end_after(&mut self, survey: &Survey, start: Lsn, kept: &[Walked], after: &[Walked]) {
        let kept_last = kept.iter().map(|segment| segment.report.last_lsn).max();
        let last = start.max(kept_last.unwrap_or_default());
        let beyond = highest_of(survey, kept.iter().chain(after));
        // The newest is renamed first. If the machine stops in between, the log ends earlier but
        // has no gap.
        self.aside.extend(after.iter().rev().map(|it| it.report.path.clone()));
        if let Some(segment) = kept.last() {
            let report = &segment.report;
            if report.bytes > report.whole_bytes {
                self.cut = Some((report.path.clone(), report.whole_bytes));
            }
        }
        self.goes_on = Some(SegmentHeader {
            version: SEGMENT_VERSION,
            kind: Kind::LossAccepted,
            node_id: node(survey),
            first: beyond.max(last).next(),
            base: last,
            previous: 0,
        });
    }

    fn carry_out<D: Disk>(self, disk: &D, dir: &Path) -> io::Result<Vec<String>> {
        let mut done = Vec::new();
        for path in &self.aside {
            let aside = free_name(disk, dir, path)?;
            disk.rename(path, &aside).map_err(at(path))?;
            done.push(format!("renamed {} to {}", path.display(), aside.display()));
        }
        disk.sync_dir(dir).map_err(at(dir))?;
        if let Some((path, bytes)) = &self.cut {
            let aside = free_name(disk, dir, path)?;
            copy(disk, path, &aside, u64::MAX)?;
            copy(disk, path, path, *bytes)?;
            let (path, aside) = (path.display(), aside.display());
            done.push(format!("cut {path} at byte {bytes} and kept it as {aside}"));
        }
        if let Some(header) = &self.goes_on {
            let (base, first) = (header.base, header.first);
            create_segment(disk, dir, header).map_err(CreateError::into_io)?;
            done.push(format!("the log ends at LSN {base} and goes on with {first}"));
        }
        Ok(done)
    }
}

fn node(survey: &Survey) -> u64 {
    survey.scan.node_id.unwrap_or_default()
}

/// The last record that was certainly written, by what log, snapshots and baseline say.
fn proven(survey: &Survey) -> Lsn {
    let segments = survey.walk.segments.iter().filter(|it| it.body.is_some());
    let in_log = segments.map(|it| it.report.last_lsn).max().unwrap_or_default();
    in_log.max(survey.baseline.durable).max(highest_in_snapshots(survey))
}

fn highest_in_snapshots(survey: &Survey) -> Lsn {
    let end = |snapshot: &SnapshotReport| {
        snapshot.state.as_ref().map_or(snapshot.start_lsn, |info| info.end_lsn)
    };
    survey.scan.snapshots.iter().map(end).max().unwrap_or_default()
}

/// No record of these segments, of a snapshot or of a missing segment has a larger number.
fn highest_of<'a>(survey: &Survey, segments: impl Iterator<Item = &'a Walked>) -> Lsn {
    let in_log = segments.map(highest).max().unwrap_or_default();
    let known = in_log.max(highest_in_snapshots(survey)).max(survey.baseline.durable);
    let newest = survey.walk.segments.last();
    let is_missing = survey.walk.demands_another
        || survey.walk.newest_with_header() < survey.baseline.segment
        || newest.is_some_and(|it| it.refused && it.body.is_none());
    if !is_missing {
        return known;
    }
    // A new segment is named after the next number, so this one stays below `NAMED_MAX`.
    let most = known.0.saturating_add(MISSING_SEGMENT_RECORDS_MAX).min(Lsn::NAMED_MAX.0 - 1);
    known.max(Lsn(most))
}

/// No record of this segment has a larger number. Each record takes at least a frame.
fn highest(segment: &Walked) -> Lsn {
    let report = &segment.report;
    let unknown = report.bytes.saturating_sub(report.whole_bytes) / u64_of(FRAME_BYTES);
    Lsn(report.last_lsn.0.saturating_add(unknown))
}

/// A name beside `path` that no file has: `<name>.damaged`, `<name>.damaged-2`, ...
pub(super) fn free_name<D: Disk>(disk: &D, dir: &Path, path: &Path) -> io::Result<PathBuf> {
    let taken: Vec<PathBuf> =
        disk.list(dir).map_err(at(dir))?.iter().map(|name| dir.join(name)).collect();
    let names = (2..u64::MAX).map(|number| format!(".damaged-{number}"));
    let mut names = std::iter::once(".damaged".to_owned()).chain(names);
    let free = names.find_map(|suffix| {
        let candidate = with_suffix(path, &suffix);
        (!taken.contains(&candidate)).then_some(candidate)
    });
    free.ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

/// Writes the first `bytes` of a file again, by a durable replace. That needs room for a copy,
/// where a cut would not. But if a sync of the run before failed, a cut and a sync would prove
/// nothing about the bytes.
pub(super) fn rewrite<D: Disk>(disk: &D, path: &Path, bytes: u64) -> io::Result<()> {
    copy(disk, path, path, bytes)
}

/// Copies at most `bytes` of one file to another name, or to its own, by a durable replace.
fn copy<D: Disk>(disk: &D, from: &Path, to: &Path, bytes: u64) -> io::Result<()> {
    let mut window = Window::new(disk.open_read(from).map_err(at(from))?).map_err(at(from))?;
    let end = bytes.min(window.len());
    replace_with(disk, to, |file| {
        let mut offset = 0;
        while offset < end {
            let step = COPY_BYTES.min(end - offset);
            file.append(window.view(offset, usize_of(step))?.unwrap_or_default())?;
            offset += step;
        }
        Ok(())
    })
}
