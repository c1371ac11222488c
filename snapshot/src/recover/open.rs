//! The start: load the newest image, replay the log after it, and only then put the directory in order.
//!
//! # Invariants
//! - Until the last record was replayed, nothing on the disk was changed (unless damage was to be accepted).
//! - What the new writer calls durable is: the end of an unclean log is written again before, since a process that comes after a
//!   failed sync would read it from the kernel's memory, and a sync that succeeds now would prove nothing.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use super::repair::{free_name, repair, rewrite};
use super::scan::{base, read_image, scan};
use super::walk::{Depth, LogWalk, Walked, walk_log};
use super::{Loss, Names, Tail};
use crate::disk::{Disk, DiskFile};
use crate::error::at;
use crate::log::{End, Kind, Resume, SegmentHeader, mark_again};
use crate::version::SEGMENT_VERSION;
use crate::{
    Floor, ImageInfo, ImageReader, Known, LogWriter, Lsn, OpenError, ReadError,
    SEGMENT_BYTES_MAX_DEFAULT,
};

/// How to open.
#[derive(Clone, Copy, Debug)]
pub struct OpenOptions {
    /// The node whose files these are; files of another one are damage.
    pub node_id: u64,
    /// What must be there; the default demands nothing.
    pub floor: Floor,
    /// Size at which a segment is followed by the next one, in bytes.
    pub segment_bytes_max: u64,
    /// Whether to write a log. Without one what is there is read all the same and left as it is.
    pub log: bool,
    /// Go on with what is whole up to the damage: [`repair`](crate::repair) first. Records may be lost; copies are kept.
    pub allow_damage: bool,
    /// If the newest image is damaged, take an older whole one, provided that the log reaches back to it: nothing is lost.
    pub allow_older_image: bool,
}

impl OpenOptions {
    /// With a log, of the default segment size, and no damage accepted.
    #[must_use]
    pub fn new(node_id: u64) -> Self {
        Self {
            node_id,
            floor: Floor::default(),
            segment_bytes_max: SEGMENT_BYTES_MAX_DEFAULT,
            log: true,
            allow_damage: false,
            allow_older_image: false,
        }
    }
}

/// What a start found and did.
#[derive(Debug)]
pub struct Opened<D: Disk> {
    /// Goes on with the log; `None` if none was asked for.
    pub writer: Option<LogWriter<D>>,
    /// The image that was loaded.
    pub image: Option<ImageInfo>,
    /// The last record that image and log account for; the next one is the number after it.
    pub last_lsn: Lsn,
    /// Records that were replayed.
    pub records: u64,
    /// Torn bytes that were cut (with `log: false`: left unread).
    pub torn_bytes: u64,
    /// Whether the run before ended with an end mark, or there was none.
    pub clean: bool,
    /// What a start does in the directory in any case, in words: leftovers and torn tails go.
    pub done: Vec<String>,
    /// What was changed because damage was accepted, in words.
    pub repaired: Vec<String>,
    /// What accepting the damage lost.
    pub loss: Option<Loss>,
}

/// Opens the store in `dir`: gives every block of the newest image to `on_image_block`, then every record after its start LSN to
/// `on_record`, both in order, and returns the writer that goes on.
///
/// Images and segments that are not needed for this start are looked at by their headers only; [`scan`](crate::scan) verifies all.
///
/// # Errors
/// Whatever the callbacks were given until then must be thrown away. [`OpenError::Damaged`] holds the first damage;
/// [`scan`](crate::scan) finds all of it.
pub fn open<D: Disk>(
    disk: &D,
    dir: &Path,
    options: OpenOptions,
    on_image_block: impl FnMut(&[u8]) -> Result<(), String>,
    on_record: impl FnMut(Lsn, &[u8]) -> Result<(), String>,
) -> Result<Opened<D>, OpenError> {
    open_with_verdict(disk, dir, options, on_image_block, on_record, || Ok(()))
}

/// The same for a caller that takes what it is given on other threads: `verdict` is asked once, after all was given and before
/// the disk is changed, whether everything could be taken.
///
/// # Errors
/// As [`open`]; an error of `verdict` is told with the directory, and nothing was changed.
pub fn open_with_verdict<D: Disk>(
    disk: &D,
    dir: &Path,
    options: OpenOptions,
    on_image_block: impl FnMut(&[u8]) -> Result<(), String>,
    mut on_record: impl FnMut(Lsn, &[u8]) -> Result<(), String>,
    verdict: impl FnOnce() -> Result<(), String>,
) -> Result<Opened<D>, OpenError> {
    let known = Known { node_id: Some(options.node_id), floor: options.floor };
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
    let chosen = choose_image(disk, dir, &names, &options)?;
    if let Some(image) = &chosen.image {
        load_image(disk, &image.path, on_image_block)?;
    }
    let base = base(&names, chosen.image.clone(), known);
    let walk = walk_log(disk, dir, &names.segments, &base, Depth::Start, &mut on_record)?;
    if !walk.damage.is_empty() {
        return Err(OpenError::Damaged(walk.damage));
    }

    verdict().map_err(|message| OpenError::Callback {
        path: dir.to_path_buf(),
        offset: 0,
        message,
    })?;

    // Everything is read. From here on the disk is changed.
    set_aside(disk, dir, &chosen.damaged, &mut accepted)?;
    for path in &names.leftovers {
        disk.remove(path).map_err(at(path))?;
        done.push(format!("removed the unfinished file {}", path.display()));
    }
    // A name that the run before gave may not be safe yet, and we are about to rely on it.
    disk.sync_dir(dir).map_err(at(dir))?;
    let mut writer = None;
    if options.log {
        let mut log = go_on(disk, dir, options.node_id, &walk, &mut done)?;
        log.set_segment_bytes_max(options.segment_bytes_max);
        writer = Some(log);
    }
    Ok(Opened {
        writer,
        image: chosen.image,
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
    image: Option<ImageInfo>,
    /// Newer ones that are to be set aside.
    damaged: Vec<PathBuf>,
}

/// The newest image. Its blocks are verified while they are loaded; only where an older one may take its place all of it is
/// verified before, because what was loaded cannot be taken back.
fn choose_image<D: Disk>(
    disk: &D,
    dir: &Path,
    names: &Names,
    options: &OpenOptions,
) -> Result<Chosen, OpenError> {
    let mut chosen = Chosen { image: None, damaged: Vec::new() };
    let mut damage = Vec::new();
    for &name in names.images.iter().rev() {
        let blocks = options.allow_older_image && chosen.image.is_none();
        match read_image(disk, dir, name, Some(options.node_id), blocks) {
            Ok(image) if chosen.image.is_none() => chosen.image = Some(image),
            Ok(_) => {}
            Err(ReadError::Io(error)) => return Err(error.into()),
            Err(error @ ReadError::Newer(_)) => return Err(error.into()),
            Err(ReadError::Damaged(found)) => {
                chosen.damaged.push(found.path.clone());
                damage.push(found);
            }
        }
    }
    let instead = options.allow_older_image && chosen.image.is_some();
    if !damage.is_empty() && !instead {
        return Err(OpenError::Damaged(damage));
    }
    Ok(chosen)
}

fn load_image<D: Disk>(
    disk: &D,
    path: &Path,
    mut on_image_block: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), OpenError> {
    let mut reader = ImageReader::open(disk, path)?;
    loop {
        let offset = reader.offset();
        let Some(block) = reader.next_block()? else {
            return Ok(());
        };
        on_image_block(block).map_err(|message| OpenError::Callback {
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

/// The writer for what comes next.
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
        // The machine stopped while this segment was made; the one before it is synced.
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
    // A segment without a record has the name that the next one would have: it is used again.
    let again = !last.report.end_mark || (continues && last.has_no_record());
    if !again {
        // The process may have been killed between writing the mark and syncing it, and what follows relies on the mark.
        let path = &last.report.path;
        let synced = disk.open_append(path).and_then(|mut file| file.sync_data());
        synced.map_err(at(path))?;
        return new_segment(disk, dir, node_id, walk, segments);
    }
    put_in_order(disk, last, done)?;
    // Only now the last segment is safe, its header too: a mark must not demand it before.
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

/// Writes the mark that demands the last segment, which is new, where the one before it ends. A crash may have come in
/// between; and what is seen of a mark whose sync failed may not be on the disk.
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

/// Writes the whole part of the last segment again, without torn bytes and end mark.
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
