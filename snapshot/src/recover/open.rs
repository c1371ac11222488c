//! A start: it loads the newest snapshot, replays the log behind it, and only then changes the
//! directory.
//!
//! # Invariants
//! - Nothing on the disk is changed before the last record was replayed, unless damage is accepted.
//! - Everything that the new writer calls durable is durable. So the last segment of an unclean log
//!   is written again first. After a failed sync, the next process reads its bytes from the
//!   kernel's memory, and another sync that succeeds proves nothing.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::repair::{free_name, repair, rewrite};
use super::scan::{base, read_snapshot, scan};
use super::walk::{Depth, LogWalk, Walked, walk_log};
use super::{Loss, Names, Tail};
use crate::disk::{Disk, DiskFile};
use crate::error::at;
use crate::log::{End, Kind, Resume, SegmentHeader, mark_again};
use crate::version::SEGMENT_VERSION;
use crate::{
    Baseline, Known, LogWriter, Lsn, OpenError, ReadError, SEGMENT_BYTES_MAX_DEFAULT, SnapshotInfo,
    SnapshotReader,
};

/// What a start requires, and what it may do.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// The node that the files must belong to. A file of another node is damage.
    pub node_id: u64,
    /// What must be in the directory. The default requires nothing.
    pub baseline: Baseline,
    /// Size in bytes at which the next segment begins.
    pub segment_bytes_max: u64,
    /// Whether to write a log. If not, an existing log is still read, and stays as it is.
    pub log: bool,
    /// Whether to [`repair`](crate::repair) the directory first, and continue with what is whole.
    /// Records may be lost, but copies of all changed files are kept.
    pub allow_damage: bool,
    /// Whether an older whole snapshot may replace a damaged newest one. That loses nothing,
    /// because the log must reach back to the older one.
    pub allow_older_snapshot: bool,
}

impl OpenOptions {
    /// Settings that write a log with the default segment size, and accept no damage.
    #[must_use]
    pub fn new(node_id: u64) -> Self {
        Self {
            node_id,
            baseline: Baseline::default(),
            segment_bytes_max: SEGMENT_BYTES_MAX_DEFAULT,
            log: true,
            allow_damage: false,
            allow_older_snapshot: false,
        }
    }
}

/// What a start found and did.
#[derive(Debug)]
pub struct Opened<D: Disk> {
    /// The writer that continues the log; `None` if `OpenOptions::log` is false.
    pub writer: Option<LogWriter<D>>,
    /// The snapshot that was loaded, if there is one.
    pub snapshot: Option<SnapshotInfo>,
    /// The last record in snapshot and log. The next record gets the number behind it.
    pub last_lsn: Lsn,
    /// Number of records that were replayed.
    pub records: u64,
    /// Bytes of the torn tail that were cut off. With `log: false` they were only skipped.
    pub torn_bytes: u64,
    /// Whether the log ends with an end mark. True if there is no log.
    pub clean: bool,
    /// A sentence for each leftover or torn tail that was removed, as every start does.
    pub done: Vec<String>,
    /// A sentence for each change that was made because damage was accepted.
    pub repaired: Vec<String>,
    /// Records that were lost because damage was accepted.
    pub loss: Option<Loss>,
}

/// Opens the store in `dir`, and returns the writer that continues the log. First `on_block` gets
/// every block of the newest snapshot. Then `on_record` gets every record behind the start LSN.
/// Both come in order.
///
/// Of snapshots and segments that this start does not need, it reads only the headers.
/// [`scan`](crate::scan) verifies everything.
///
/// # Errors
/// The caller must discard everything that the callbacks got. [`OpenError::Damaged`] has the first
/// damage; [`scan`](crate::scan) finds all of it.
pub fn open<D: Disk>(
    disk: &D,
    dir: &Path,
    options: OpenOptions,
    on_block: impl FnMut(&[u8]) -> Result<(), String>,
    on_record: impl FnMut(Lsn, &[u8]) -> Result<(), String>,
) -> Result<Opened<D>, OpenError> {
    open_with_verdict(disk, dir, options, on_block, on_record, || Ok(()))
}

/// Like [`open`], for a caller that applies blocks and records on other threads. `verdict` is
/// called once, after the last record and before the disk is changed. It returns an error if
/// anything could not be applied.
///
/// # Errors
/// Those of [`open`]. An error of `verdict` names the directory; then nothing was changed.
pub fn open_with_verdict<D: Disk>(
    disk: &D,
    dir: &Path,
    options: OpenOptions,
    on_block: impl FnMut(&[u8]) -> Result<(), String>,
    mut on_record: impl FnMut(Lsn, &[u8]) -> Result<(), String>,
    verdict: impl FnOnce() -> Result<(), String>,
) -> Result<Opened<D>, OpenError> {
    let known = Known { node_id: Some(options.node_id), baseline: options.baseline };
    let (mut done, mut accepted) = (Vec::new(), Vec::new());
    let mut loss = None;
    let found = Names::read(disk, dir)?.newer(disk, dir)?;
    if !found.is_empty() {
        return Err(OpenError::Newer(found));
    }
    if options.allow_damage && !scan(disk, dir, known)?.damage.is_empty() {
        let repaired = repair(disk, dir, known)?;
        if !repaired.left.is_empty() {
            return Err(OpenError::Damaged(repaired.left));
        }
        accepted = repaired.done;
        loss = repaired.loss;
    }
    let names = Names::read(disk, dir)?;
    if !names.wrong.is_empty() {
        return Err(OpenError::Damaged(names.wrong));
    }
    let chosen = choose_snapshot(disk, dir, &names, &options)?;
    if let Some(snapshot) = &chosen.snapshot {
        load_snapshot(disk, &snapshot.path, on_block)?;
    }
    let base = base(&names, chosen.snapshot.clone(), known);
    let walk = walk_log(disk, dir, &names.segments, &base, Depth::Start, &mut on_record)?;
    if !walk.damage.is_empty() {
        return Err(OpenError::Damaged(walk.damage));
    }

    verdict().map_err(|message| OpenError::Callback {
        path: dir.to_path_buf(),
        offset: 0,
        message,
    })?;

    // Everything was read. Only from here on is the disk changed.
    set_aside(disk, dir, &chosen.damaged, &mut accepted)?;
    for path in &names.leftovers {
        disk.remove(path).map_err(at(path))?;
        done.push(format!("removed the unfinished file {}", path.display()));
    }
    // The run before may have named files without syncing the directory. This start relies on these
    // names.
    disk.sync_dir(dir).map_err(at(dir))?;
    let mut writer = None;
    if options.log {
        let mut log = go_on(disk, dir, options.node_id, &walk, &mut done)?;
        log.set_segment_bytes_max(options.segment_bytes_max);
        writer = Some(log);
    }
    Ok(Opened {
        writer,
        snapshot: chosen.snapshot,
        last_lsn: walk.position,
        records: walk.records,
        torn_bytes: match walk.tail {
            Tail::Torn { bytes, .. } => bytes,
            _ => 0,
        },
        clean: matches!(walk.tail, Tail::Empty | Tail::EndMark),
        done,
        repaired: accepted,
        loss,
    })
}

struct Chosen {
    snapshot: Option<SnapshotInfo>,
    /// Damaged snapshots that are newer than the chosen one, and will be renamed.
    damaged: Vec<PathBuf>,
}

/// Chooses the newest snapshot. Its blocks are verified while they are loaded. But if an older one
/// may replace it, all blocks are verified first, because loaded blocks cannot be taken back.
fn choose_snapshot<D: Disk>(
    disk: &D,
    dir: &Path,
    names: &Names,
    options: &OpenOptions,
) -> Result<Chosen, OpenError> {
    let mut chosen = Chosen { snapshot: None, damaged: Vec::new() };
    let mut damage = Vec::new();
    for &name in names.snapshots.iter().rev() {
        let blocks = options.allow_older_snapshot && chosen.snapshot.is_none();
        match read_snapshot(disk, dir, name, Some(options.node_id), blocks) {
            Ok(snapshot) if chosen.snapshot.is_none() => chosen.snapshot = Some(snapshot),
            Ok(_) => {}
            Err(ReadError::Io(error)) => return Err(error.into()),
            Err(error @ ReadError::Newer(_)) => return Err(error.into()),
            Err(ReadError::Damaged(found)) => {
                chosen.damaged.push(found.path.clone());
                damage.push(found);
            }
        }
    }
    let instead = options.allow_older_snapshot && chosen.snapshot.is_some();
    if !damage.is_empty() && !instead {
        return Err(OpenError::Damaged(damage));
    }
    Ok(chosen)
}

fn load_snapshot<D: Disk>(
    disk: &D,
    path: &Path,
    mut on_block: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), OpenError> {
    let mut reader = SnapshotReader::open(disk, path)?;
    loop {
        let offset = reader.offset();
        let Some(block) = reader.next_block()? else {
            return Ok(());
        };
        on_block(block).map_err(|message| OpenError::Callback {
            path: path.to_path_buf(),
            offset,
            message,
        })?;
    }
}

fn set_aside<D: Disk>(
    disk: &D,
    dir: &Path,
    paths: &[PathBuf],
    done: &mut Vec<String>,
) -> io::Result<()> {
    for path in paths {
        let aside = free_name(disk, dir, path)?;
        disk.rename(path, &aside).map_err(at(path))?;
        done.push(format!("renamed the damaged {} to {}", path.display(), aside.display()));
    }
    Ok(())
}

/// Makes the writer that continues behind the records that were replayed.
fn go_on<D: Disk>(
    disk: &D,
    dir: &Path,
    node_id: u64,
    walk: &LogWalk,
    done: &mut Vec<String>,
) -> io::Result<LogWriter<D>> {
    let segments = walk.segments.as_slice();
    if let Some((last, before)) = segments.split_last()
        && last.body.is_none()
    {
        // The machine stopped while this segment was created. The segment before it is synced.
        let path = &last.report.path;
        disk.remove(path).map_err(at(path))?;
        disk.sync_dir(dir).map_err(at(dir))?;
        done.push(format!("removed {}, which has no header yet", path.display()));
        let writer = new_segment(disk, dir, node_id, walk, before)?;
        let continues = |it: &&Walked| it.report.last_lsn == walk.position;
        if let Some(before) = before.last().filter(continues) {
            mark(disk, node_id, before)?;
        }
        return Ok(writer);
    }
    let Some(last) = segments.last() else {
        return new_segment(disk, dir, node_id, walk, segments);
    };
    let continues = last.report.last_lsn == walk.position;
    // A segment without a record has the name that a new one would get, so it is used again.
    let again = !last.report.end_mark || (continues && last.has_no_record());
    if !again {
        // The process may have been killed after it wrote the mark and before it synced it. The
        // next steps rely on the mark.
        let path = &last.report.path;
        let synced = disk.open_append(path).and_then(|mut file| file.sync_data());
        synced.map_err(at(path))?;
        return new_segment(disk, dir, node_id, walk, segments);
    }
    put_in_order(disk, last, done)?;
    // The last segment is durable only now. Before, no mark could demand it.
    if let [.., before, last] = segments
        && last.header.is_some_and(|header| header.kind == Kind::Continues)
        && last.report.batches == 0
    {
        mark(disk, node_id, before)?;
    }
    match &last.body {
        Some(body) if continues => {
            let resume = Resume {
                segments: firsts(segments),
                segment_bytes: body.whole_bytes,
                written: body.last,
                chain: body.whole_chain,
                version: last.header.map_or(SEGMENT_VERSION, |header| header.version),
            };
            LogWriter::resume(disk, dir, node_id, resume)
        }
        _ => new_segment(disk, dir, node_id, walk, segments),
    }
}

/// Writes the mark that demands the last segment, a new one, at the end of the segment before it. A
/// crash may have come before the mark was written. Or its sync failed, and the mark that can be
/// read is not on the disk.
fn mark<D: Disk>(disk: &D, node_id: u64, before: &Walked) -> io::Result<()> {
    let may_have = before.header.is_some_and(|header| header.version >= 2);
    match &before.body {
        Some(body) if may_have && !matches!(body.end, End::Mark) => {
            let (path, whole) = (&before.report.path, body.whole_bytes);
            mark_again(disk, path, node_id, whole, body.last, body.whole_chain)
        }
        _ => Ok(()),
    }
}

/// Writes the last segment again, up to its last whole batch: without torn bytes or end mark.
fn put_in_order<D: Disk>(disk: &D, last: &Walked, done: &mut Vec<String>) -> io::Result<()> {
    let Some(body) = &last.body else {
        return Ok(());
    };
    let (path, keep) = (&last.report.path, body.whole_bytes);
    rewrite(disk, path, keep)?;
    let cut = last.report.bytes.saturating_sub(keep);
    if cut > 0 && !last.report.end_mark {
        done.push(format!("cut {cut} torn bytes at byte {keep} of {}", path.display()));
    }
    Ok(())
}

fn new_segment<D: Disk>(
    disk: &D,
    dir: &Path,
    node_id: u64,
    walk: &LogWalk,
    segments: &[Walked],
) -> io::Result<LogWriter<D>> {
    let before = segments.last().and_then(|last| last.body.as_ref());
    let header = match before.filter(|body| body.last == walk.position) {
        Some(body) => SegmentHeader {
            version: SEGMENT_VERSION,
            kind: Kind::Continues,
            node_id,
            first: walk.position.next(),
            base: walk.position,
            previous: body.chain,
        },
        None => SegmentHeader {
            version: SEGMENT_VERSION,
            kind: Kind::Starts,
            node_id,
            first: walk.position.next(),
            base: before.map_or(walk.position, |body| body.last),
            previous: 0,
        },
    };
    LogWriter::create_after(disk, dir, header, firsts(segments))
}

fn firsts(segments: &[Walked]) -> VecDeque<Lsn> {
    segments.iter().map(|segment| segment.report.first_lsn).collect()
}
