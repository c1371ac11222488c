//! The scan, which describes all of a data directory.
//!
//! # Invariants
//! - A scan only reads.
//! - Every byte of every snapshot and segment is verified, even where a start would not need it.

use std::io;
use std::path::Path;

use super::repair::loss;
use super::walk::{Base, Depth, LogWalk, walk_log};
use super::{Names, Scan, SnapshotReport};
use crate::disk::Disk;
use crate::file::SnapshotName;
use crate::log::RecordFn;
use crate::{Baseline, Damage, Known, Lsn, OpenError, ReadError, SnapshotInfo, SnapshotReader};

/// Reads everything in `dir` and changes nothing. `known` has the baseline, and the node that the
/// files must belong to. With `None` it requires nothing, but all files must name one node,
/// whichever it is.
///
/// # Errors
/// Only those of the file system (kind `NotFound` if there is no such directory). Damage is part of
/// the result.
pub fn scan<D: Disk>(disk: &D, dir: &Path, known: impl Into<Known>) -> io::Result<Scan> {
    survey(disk, dir, known.into(), &mut |_, _| Ok(())).map(|survey| survey.scan)
}

/// Like [`scan`]. Also gives `on_record` the records that a start would replay, up to the first
/// damage.
///
/// # Errors
/// Those of [`scan`]; an error of `on_record` is `InvalidData`.
pub fn scan_with<D: Disk>(
    disk: &D,
    dir: &Path,
    known: impl Into<Known>,
    mut on_record: impl FnMut(Lsn, &[u8]) -> Result<(), String>,
) -> io::Result<Scan> {
    survey(disk, dir, known.into(), &mut on_record).map(|survey| survey.scan)
}

/// A scan, with what only `repair` needs.
pub(super) struct Survey {
    pub(super) names: Names,
    pub(super) walk: LogWalk,
    pub(super) scan: Scan,
    /// The newest whole snapshot.
    pub(super) snapshot: Option<SnapshotInfo>,
    pub(super) baseline: Baseline,
}

pub(super) fn survey<D: Disk>(
    disk: &D,
    dir: &Path,
    known: Known,
    on_record: RecordFn<'_>,
) -> io::Result<Survey> {
    let names = Names::read(disk, dir)?;
    let newer = names.newer(disk, dir)?;
    let mut damage = names.wrong.clone();
    let Known { mut node_id, baseline } = known;
    let mut snapshots = Vec::new();
    // The newest comes first. If the caller named no node, the newest whole snapshot decides it.
    for &name in names.snapshots.iter().rev() {
        let state = match read_snapshot(disk, dir, name, node_id, true) {
            Ok(info) => Ok(info),
            Err(ReadError::Damaged(damage)) => Err(damage),
            Err(ReadError::Newer(newer)) => Err(Damage::new(&newer.path, 8, newer.to_string())),
            Err(ReadError::Io(error)) => return Err(error),
        };
        match &state {
            Ok(info) => node_id = node_id.or(Some(info.node_id)),
            Err(found) => damage.push(found.clone()),
        }
        let path = name.path(dir);
        snapshots.push(SnapshotReport { path, start_lsn: name.start, state });
    }
    let snapshot = snapshots.iter().find_map(|snapshot| snapshot.state.as_ref().ok()).cloned();
    snapshots.reverse();
    let base = base(&names, snapshot.clone(), Known { node_id, baseline });
    let walk = walk_log(disk, dir, &names.segments, &base, Depth::Full, on_record);
    let walk = walk.map_err(only_io)?;
    damage.extend_from_slice(&walk.damage);
    if !newer.is_empty() {
        damage.clear();
    }
    let scan = Scan {
        node_id: walk.node_id,
        snapshots,
        segments: walk.segments.iter().map(|segment| segment.report.clone()).collect(),
        tail: walk.tail.clone(),
        damage,
        newer,
        loss: None,
        can_be_repaired: false,
        leftovers: names.leftovers.clone(),
        last_lsn: walk.position,
    };
    let mut survey = Survey { names, walk, scan, snapshot, baseline };
    (survey.scan.loss, survey.scan.can_be_repaired) = loss(&survey);
    Ok(survey)
}

/// Where the replay of the log begins if `snapshot` is chosen, and what must be there.
pub(super) fn base(names: &Names, snapshot: Option<SnapshotInfo>, known: Known) -> Base {
    let position = match &snapshot {
        Some(snapshot) => Some(snapshot.start_lsn),
        None if names.snapshots.is_empty() => Some(Lsn(0)),
        None => None,
    };
    let Known { node_id, baseline } = known;
    Base {
        snapshot,
        position,
        node_id,
        baseline,
        newest_snapshot: names.snapshots.last().map(|name| name.start),
    }
}

/// Verifies one snapshot: with `blocks` all of it, otherwise only header and footer.
pub(super) fn read_snapshot<D: Disk>(
    disk: &D,
    dir: &Path,
    name: SnapshotName,
    node_id: Option<u64>,
    blocks: bool,
) -> Result<SnapshotInfo, ReadError> {
    let path = name.path(dir);
    let reader = SnapshotReader::open(disk, &path)?;
    let info = reader.info().clone();
    if let Some(wanted) = node_id.filter(|wanted| *wanted != info.node_id) {
        let found = info.node_id;
        let what = format!("the file belongs to node {found:#x}, not {wanted:#x}");
        return Err(Damage::new(&path, 12, what).into());
    }
    if blocks { reader.verify() } else { Ok(info) }
}

/// Leaves only errors of the file system, as a scan collects damage in its result.
fn only_io(error: OpenError) -> io::Error {
    match error {
        OpenError::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidData, other.to_string()),
    }
}
