//! The walk over all segments by which `scan`, `open` and `repair` decide.
//!
//! The walk makes one pass. Only the last segment may be torn, so anything wrong in an earlier one
//! is damage, and a start fails. In the last segment, a search behind wrong bytes decides whether
//! they are damage or a torn tail.
//!
//! # Invariants
//! - A record is handed on only if everything before it is right, from the snapshot on.
//! - `position` is the last record that snapshot and log together account for.

use std::path::{Path, PathBuf};

use super::{SegmentReport, Tail};
use crate::bytes::u64_of;
use crate::disk::Disk;
use crate::file::SnapshotName;
use crate::log::{
    BATCH_HEADER_BYTES, Body, End, Header, Kind, RecordFn, SEGMENT_HEADER_BYTES, Segment,
    SegmentHeader, segment_path,
};
use crate::{Baseline, Damage, Lsn, OpenError, SnapshotInfo};

/// Where the replay of the log begins, and what snapshots and log must hold.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) snapshot: Option<SnapshotInfo>,
    /// The last record before the log. `None` if it is not known, because no snapshot is whole.
    /// That damage is reported already.
    pub(super) position: Option<Lsn>,
    pub(super) node_id: Option<u64>,
    pub(super) baseline: Baseline,
    /// Start LSN of the newest snapshot file, whether or not it is whole.
    pub(super) newest_snapshot: Option<Lsn>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Reads everything, also behind damage.
    Full,
    /// Reads up to the first damage. Of segments older than the snapshot, reads only headers.
    Start,
}

pub(super) struct LogWalk {
    pub(super) segments: Vec<Walked>,
    pub(super) tail: Tail,
    pub(super) damage: Vec<Damage>,
    pub(super) position: Lsn,
    /// The last record in the log, without what only a snapshot has.
    pub(super) log_last: Lsn,
    pub(super) node_id: Option<u64>,
    /// Number of records that were handed on.
    pub(super) records: u64,
    /// The path of the previous segment, and the first record of the segment that its mark demands.
    demanded: Option<(PathBuf, Lsn)>,
    /// Set if the previous segment ends with bytes that may be half a successor mark. It is the
    /// damage that they would be otherwise.
    half_marked: Option<Damage>,
    /// The last segment has a mark that demands another one, which is missing.
    pub(super) demands_another: bool,
}

pub(super) struct Walked {
    pub(super) report: SegmentReport,
    /// What the walk through the segment found. `None` if the header is torn or damaged.
    pub(super) body: Option<Body>,
    pub(super) header: Option<SegmentHeader>,
    /// The segment is wrong as a whole: in its header, its node, or its place in the log.
    pub(super) refused: bool,
    /// The segment is wrong from `report.whole_bytes` on.
    pub(super) broken: bool,
}

/// The end of the message about bytes that would only be a torn tail if no later segment followed.
const LATER_FOLLOWS: &str = "; a later segment follows, so this is no torn write";

/// Whether nothing was written to the segment yet. Then a crash may have cut the mark in the
/// segment before it.
fn may_be_new(header: &SegmentHeader, body: &Body) -> bool {
    header.kind == Kind::Continues && body.batches == 0 && !matches!(body.end, End::Damaged(_))
}

/// End of the previous segment, if it is known: its last record and its checksum.
type Link = Option<(Lsn, u32)>;

/// Whether the header names another checksum than that of the end of the previous segment.
fn is_unlinked(header: &SegmentHeader, link: Link) -> bool {
    header.kind == Kind::Continues && link.is_some_and(|(_, chain)| chain != header.previous)
}

pub(super) fn walk_log<D: Disk>(
    disk: &D,
    dir: &Path,
    firsts: &[Lsn],
    base: &Base,
    depth: Depth,
    on_record: RecordFn<'_>,
) -> Result<LogWalk, OpenError> {
    let start = base.position.or(firsts.first().map(|first| first.previous()));
    let mut walk = LogWalk {
        segments: Vec::new(),
        tail: Tail::Empty,
        damage: Vec::new(),
        position: start.unwrap_or_default(),
        log_last: Lsn(0),
        node_id: base.node_id,
        records: 0,
        demanded: None,
        half_marked: None,
        demands_another: false,
    };
    let replay_after = walk.position;
    let mut link = None;
    for (index, &first) in firsts.iter().enumerate() {
        let next = firsts.get(index + 1).copied();
        let older = next.is_some_and(|next| next <= replay_after.next());
        let step = Step {
            verify_records: depth == Depth::Full || !older,
            is_last: next.is_none(),
            was_whole: first <= base.baseline.segment,
            replay_after,
        };
        link = walk.segment(disk, &segment_path(dir, first), first, link, &step, on_record)?;
        if depth == Depth::Start && !walk.damage.is_empty() {
            return Ok(walk);
        }
    }
    walk.check_successor(dir);
    walk.check_baseline(base, dir);
    walk.check_snapshot(base, dir);
    Ok(walk)
}

struct Step {
    verify_records: bool,
    is_last: bool,
    /// The baseline names this segment or a later one, so the header of this one was durable.
    was_whole: bool,
    replay_after: Lsn,
}

impl LogWalk {
    fn segment<D: Disk>(
        &mut self,
        disk: &D,
        path: &Path,
        first: Lsn,
        mut link: Link,
        step: &Step,
        on_record: RecordFn<'_>,
    ) -> Result<Link, OpenError> {
        let mut segment = Segment::open(disk, path, first)?;
        let mut walked = Walked::new(path, first, segment.bytes());
        let demanded = self.demanded.take();
        let mut half_marked = self.half_marked.take();
        if !matches!(segment.header, Header::Whole(..)) {
            self.break_before(half_marked.clone());
        }
        let (header, checksum) = match &segment.header {
            Header::Whole(header, checksum) => (*header, *checksum),
            Header::Torn if step.was_whole || demanded.is_some() => {
                let what = "the segment header is cut short, and it was whole once";
                self.refuse(walked, Damage::new(path, 0, what));
                return Ok(None);
            }
            Header::Torn if step.is_last => {
                self.tail = torn(&walked.report, "the segment header is cut short");
                self.segments.push(walked);
                return Ok(None);
            }
            Header::Torn => {
                let what = "the segment header is damaged or cut short";
                self.refuse(walked, Damage::new(path, 0, what));
                return Ok(None);
            }
            Header::Damaged(damage) => {
                self.refuse(walked, damage.clone());
                return Ok(None);
            }
        };
        if half_marked.is_some() && is_unlinked(&header, link) {
            // This header names the whole mark of a clean stop, so that mark is what is damaged.
            self.break_before(half_marked.take());
            link = None;
        }
        if let Err(damage) = self.check_header(path, &header, link) {
            walked.refused = true;
            self.damage.push(damage);
        }
        let right = self.damage.is_empty();
        let mut records = 0;
        let mut hand_on = |lsn: Lsn, payload: &[u8]| {
            if right && lsn > step.replay_after {
                records += 1;
                return on_record(lsn, payload);
            }
            Ok(())
        };
        let body = segment
            .walk(&header, checksum, step.verify_records, &mut hand_on)
            .map_err(|error| error.in_file(path))?;
        self.records += records;
        self.position = self.position.max(body.last);
        self.log_last = self.log_last.max(body.last);
        walked.describe(&body);
        walked.header = Some(header);
        if half_marked.is_some() && !(step.is_last && may_be_new(&header, &body)) {
            self.break_before(half_marked);
        }
        if let End::Successor(first) = body.end {
            self.demanded = Some((path.to_path_buf(), first));
        }
        let link = self.judge_end(&mut walked, &body, step.is_last);
        walked.body = Some(body);
        self.segments.push(walked);
        Ok(link)
    }

    /// Reports the end of the previous segment, which could have been half a mark, as damage.
    fn break_before(&mut self, damage: Option<Damage>) {
        if let Some(before) = self.segments.last_mut() {
            before.broken |= damage.is_some();
        }
        self.damage.extend(damage);
    }

    fn refuse(&mut self, mut walked: Walked, damage: Damage) {
        walked.refused = true;
        self.damage.push(damage);
        self.segments.push(walked);
    }

    /// Checks the segment's node and its place in the log, and that no record behind the snapshot
    /// is missing.
    fn check_header(
        &mut self,
        path: &Path,
        header: &SegmentHeader,
        link: Link,
    ) -> Result<(), Damage> {
        let damaged = |offset, what: String| Err(Damage::new(path, offset, what));
        let node_id = *self.node_id.get_or_insert(header.node_id);
        if header.node_id != node_id {
            let found = header.node_id;
            return damaged(16, format!("the file belongs to node {found:#x}, not {node_id:#x}"));
        }
        let first = header.first;
        let before = first.previous();
        if let Some((last, _)) = link {
            if (header.kind == Kind::Continues && before != last) || before < last {
                return damaged(
                    24,
                    format!(
                        "the log has a gap: it goes on with LSN {first} after LSN {last}; a segment is missing"
                    ),
                );
            }
            if is_unlinked(header, link) {
                return damaged(40, "the segment does not follow the one before it".to_owned());
            }
        }
        let accepted = header.kind == Kind::LossAccepted && header.base <= self.position;
        if before > self.position && !accepted {
            let wanted = self.position.next();
            return damaged(
                24,
                format!(
                    "LSN {wanted} to {before} are neither in a snapshot nor in the log, which goes on with {first}; a segment or a snapshot is missing"
                ),
            );
        }
        Ok(())
    }

    fn judge_end(&mut self, walked: &mut Walked, body: &Body, is_last: bool) -> Link {
        let whole = Some((body.last, body.chain));
        match &body.end {
            End::Open | End::Mark | End::Successor(_) if !is_last => whole,
            // A missing successor is damage, which is reported after the last segment.
            End::Successor(_) => whole,
            End::Open => {
                self.tail = Tail::Open;
                whole
            }
            End::Mark => {
                self.tail = Tail::EndMark;
                whole
            }
            End::Torn(damage) if is_last => {
                self.tail = torn(&walked.report, &damage.what);
                None
            }
            End::Torn(damage) if walked.may_be_half_marked(body) => {
                let mut damage = damage.clone();
                damage.what += LATER_FOLLOWS;
                self.half_marked = Some(damage);
                whole
            }
            End::Torn(damage) | End::Damaged(damage) => {
                let mut damage = damage.clone();
                if !is_last {
                    damage.what += LATER_FOLLOWS;
                }
                walked.broken = true;
                self.damage.push(damage);
                None
            }
        }
    }

    /// Checks that the log reaches the end LSN of a snapshot, if a log was written while the
    /// snapshot was. It was durable up to there when the snapshot was published.
    fn check_snapshot(&mut self, base: &Base, dir: &Path) {
        let Some(snapshot) = base.snapshot.as_ref().filter(|snapshot| snapshot.logged) else {
            return;
        };
        if !self.damage.is_empty() {
            return;
        }
        let (end, last) = (snapshot.end_lsn, self.log_last);
        if self.segments.is_empty() {
            let what = format!("there is no log beside the snapshot {}", snapshot.path.display());
            self.damage.push(Damage::new(dir, 0, what));
        } else if last < end {
            let path = self.segments.last().map_or(dir, |segment| &segment.report.path);
            let bytes = self.segments.last().map_or(0, |segment| segment.report.whole_bytes);
            let what = format!(
                "the log ends at LSN {last}, and was durable up to {end} when the snapshot {} was published",
                snapshot.path.display()
            );
            let damage = Damage::new(path, bytes, what);
            self.damage.push(damage);
        }
    }
}

impl LogWalk {
    /// The first record of the newest segment that has a header. A segment without one was still
    /// being created, so the baseline does not name it.
    pub(super) fn newest_with_header(&self) -> Lsn {
        let newest = self.segments.iter().rev().find(|it| it.header.is_some());
        newest.map_or(Lsn(0), |newest| newest.report.first_lsn)
    }

    fn check_successor(&mut self, dir: &Path) {
        let Some((before, first)) = self.demanded.take() else { return };
        self.demands_another = true;
        let what = format!("the segment is missing: {} says that it follows", before.display());
        self.damage.push(Damage::new(&segment_path(dir, first), 0, what));
    }

    /// Checks that all files and records are there that the baseline names.
    fn check_baseline(&mut self, base: &Base, dir: &Path) {
        let Baseline { durable, segment, snapshot } = base.baseline;
        let newest = self.newest_with_header();
        let is_missing = |path: &Path| self.damage.iter().any(|damage| damage.path == path);
        let mut missing = Vec::new();
        if newest < segment {
            let path = segment_path(dir, segment);
            let what = format!(
                "the segment is missing: the log went on in it, and was durable up to LSN {durable}"
            );
            missing.extend((!is_missing(&path)).then(|| Damage::new(&path, 0, what)));
        }
        let position = self.position;
        if position < durable && base.newest_snapshot.unwrap_or_default() < snapshot {
            let path = SnapshotName { start: snapshot, counter: 1 }.path(dir);
            let what = format!("the snapshot of LSN {snapshot} (of any counter) is missing");
            missing.push(Damage::new(&path, 0, what));
        }
        if position < durable && missing.is_empty() && self.damage.is_empty() {
            let ends = format!("the data ends at LSN {position}, and was durable up to {durable}");
            missing.push(match (self.segments.last(), &base.snapshot) {
                (Some(last), _) => Damage::new(&last.report.path, last.report.whole_bytes, ends),
                (None, Some(snapshot)) => Damage::new(&snapshot.path, snapshot.bytes, ends),
                (None, None) => Damage::new(dir, 0, ends),
            });
        }
        self.damage.extend(missing);
    }
}

impl Walked {
    fn new(path: &Path, first: Lsn, bytes: u64) -> Self {
        let report = SegmentReport {
            path: path.to_path_buf(),
            first_lsn: first,
            last_lsn: first.previous(),
            batches: 0,
            records: 0,
            bytes,
            whole_bytes: 0,
            end_mark: false,
        };
        Self { report, body: None, header: None, refused: false, broken: false }
    }

    fn describe(&mut self, body: &Body) {
        let report = &mut self.report;
        report.last_lsn = body.last;
        report.batches = body.batches;
        report.records = body.records;
        report.end_mark = matches!(body.end, End::Mark);
        let is_marked = matches!(body.end, End::Mark | End::Successor(_));
        report.whole_bytes = if is_marked { report.bytes } else { body.whole_bytes };
    }

    /// Whether the bytes behind the last batch are not longer than a mark, and the segment may have
    /// marks.
    fn may_be_half_marked(&self, body: &Body) -> bool {
        let behind = self.report.bytes.saturating_sub(body.whole_bytes);
        self.header.is_some_and(|header| header.version >= 2)
            && behind <= u64_of(BATCH_HEADER_BYTES)
    }

    /// Whether the segment has a header and no record.
    pub(super) fn has_no_record(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.whole_bytes <= u64_of(SEGMENT_HEADER_BYTES))
    }
}

fn torn(report: &SegmentReport, what: &str) -> Tail {
    Tail::Torn {
        path: report.path.clone(),
        offset: report.whole_bytes,
        bytes: report.bytes.saturating_sub(report.whole_bytes),
        what: what.to_owned(),
    }
}
