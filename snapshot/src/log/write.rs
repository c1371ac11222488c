//! The writer of the log.
//!
//! # Invariants
//! - `durable <= written`, and `durable` moves only after a sync that succeeded.
//! - `segment_bytes` is the length of all whole batches. Bytes that a failed write left behind them
//!   are cut off before anything else is written. That cut is synced before a next segment exists.
//! - If a next segment was only half created, it is created again before anything else is written.
//!   Before an end mark it is removed. So its leftovers look like those of a crash at that moment,
//!   which every start can handle.
//! - Only a failed sync of a file poisons the log. If a file cannot be opened, created, cut or
//!   removed (no descriptor, no room, no right), the writer tries again.
//! - While the path of the directory leads elsewhere, no batch is appended, because the next start
//!   would not find it.
//! - Poison lasts until a restart. The kernel may drop the pages of a failed sync, so a retry could
//!   report data durable that is not on the disk.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::follow::{FollowError, LogFollower};
use super::format::{
    BatchHeader, BatchKind, Kind, SEGMENT_HEADER_BYTES, SegmentHeader, segment_path,
};
use super::trim::{LogTrimmer, Segments};
use crate::bytes::u64_of;
use crate::disk::{Disk, DiskFile, displaced};
use crate::error::at;
use crate::planted::{Planted, is_planted};
use crate::replace::create_anew;
use crate::version::SEGMENT_VERSION;
use crate::{Baseline, Batch, KeepBaseline, Lsn};

/// Size in bytes at which the next segment begins, unless the caller sets another one.
pub const SEGMENT_BYTES_MAX_DEFAULT: u64 = 64 << 20;

/// After this many new bytes the disk is asked to begin writing. Otherwise the sync of a whole
/// segment would take long, and all later writes would wait for it. Every fsync mode does so,
/// because a full segment is always synced.
const BEGIN_SYNC_BYTES: u64 = 1 << 20;

/// The log takes no more records until the process starts again. Records that were reported durable
/// before stay durable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log is closed until restart: {reason}")]
pub struct Poisoned {
    /// The failure that poisoned the log, in words.
    pub reason: String,
}

/// Why [`LogWriter::append`] did not confirm a batch.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The write failed, for instance because the disk is full, and was undone. The log has nothing
    /// of the batch, and the caller may try again.
    #[error("the log could not be written, and may be again: {0}")]
    Write(#[source] io::Error),
    /// Whether the log has the batch is unknown.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

/// Appends batches to the log. The caller ensures that no other writer uses the directory.
#[derive(Debug)]
pub struct LogWriter<D: Disk> {
    disk: D,
    dir: PathBuf,
    node_id: u64,
    file: D::File,
    segments: Segments,
    segment_bytes: u64,
    segment_bytes_max: u64,
    /// Offset in the segment up to which the disk was asked to write.
    sync_begun: u64,
    written: Lsn,
    durable: Lsn,
    /// The checksum that the next batch must name as the previous one.
    chain: u32,
    bytes_written: u64,
    poisoned: Option<Poisoned>,
    /// A failed write may have left bytes behind `segment_bytes`, which must be cut off.
    owes_cut: bool,
    /// The segment was cut, and that cut is not synced yet.
    owes_sync: bool,
    /// The next segment may have been half created.
    owes_rotation: bool,
    /// Format version of the segment that is being written.
    version: u32,
    baseline: Option<Arc<dyn KeepBaseline>>,
    /// The baseline does not name the current segment yet. Until it does, no batch is written to
    /// it.
    owes_baseline: bool,
    /// At the last check, the path of the directory led elsewhere.
    is_displaced: bool,
}

/// Where a writer continues in an existing segment, which is durable as a whole.
pub(crate) struct Resume {
    /// The first record of each segment, the oldest first. The writer continues in the last
    /// segment.
    pub(crate) segments: VecDeque<Lsn>,
    pub(crate) segment_bytes: u64,
    pub(crate) written: Lsn,
    pub(crate) chain: u32,
    /// Format version of the last segment.
    pub(crate) version: u32,
}

impl<D: Disk> LogWriter<D> {
    /// Begins a new log in `dir` with the record `first`: 1 for a new store, and larger after a run
    /// without a log. To continue a log, use [`open`](crate::open).
    ///
    /// # Errors
    /// Those of the file system. If `first` is 0, kind `InvalidInput`.
    pub fn create(disk: &D, dir: &Path, node_id: u64, first: Lsn) -> io::Result<Self> {
        if first == Lsn(0) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let header = SegmentHeader {
            version: SEGMENT_VERSION,
            kind: Kind::Starts,
            node_id,
            first,
            base: first.previous(),
            previous: 0,
        };
        Self::create_after(disk, dir, header, VecDeque::new())
    }

    /// Begins a new segment behind the existing ones.
    pub(crate) fn create_after(
        disk: &D,
        dir: &Path,
        header: SegmentHeader,
        mut segments: VecDeque<Lsn>,
    ) -> io::Result<Self> {
        let (file, chain) = create_segment(disk, dir, &header).map_err(CreateError::into_io)?;
        segments.push_back(header.first);
        let resume = Resume {
            segments,
            segment_bytes: u64_of(SEGMENT_HEADER_BYTES),
            written: header.first.previous(),
            chain,
            version: header.version,
        };
        Ok(Self::with_file(disk, dir, header.node_id, file, resume))
    }

    pub(crate) fn resume(disk: &D, dir: &Path, node_id: u64, resume: Resume) -> io::Result<Self> {
        let first = resume.segments.back().copied().unwrap_or_default();
        let path = segment_path(dir, first);
        let file = disk.open_append(&path).map_err(at(&path))?;
        Ok(Self::with_file(disk, dir, node_id, file, resume))
    }

    fn with_file(disk: &D, dir: &Path, node_id: u64, file: D::File, resume: Resume) -> Self {
        Self {
            disk: disk.clone(),
            dir: dir.to_path_buf(),
            node_id,
            file,
            segments: Segments::new(resume.segments),
            segment_bytes: resume.segment_bytes,
            segment_bytes_max: SEGMENT_BYTES_MAX_DEFAULT,
            sync_begun: resume.segment_bytes,
            written: resume.written,
            durable: resume.written,
            chain: resume.chain,
            bytes_written: 0,
            poisoned: None,
            owes_cut: false,
            owes_sync: false,
            owes_rotation: false,
            version: resume.version,
            baseline: None,
            owes_baseline: false,
            is_displaced: false,
        }
    }

    /// Sets the keeper, which raises the baseline for each new segment and at a clean stop. Before
    /// the first batch, the caller itself must raise it to [`baseline`](Self::baseline).
    pub fn set_baseline_keeper(&mut self, keeper: Arc<dyn KeepBaseline>) {
        self.baseline = Some(keeper);
    }

    /// What the next start must find of this log. It does not name a snapshot.
    #[must_use]
    pub fn baseline(&self) -> Baseline {
        let segment = self.segments.last().unwrap_or_default();
        Baseline { durable: self.durable, segment, snapshot: Lsn(0) }
    }

    /// Sets the size in bytes at which the next segment begins. A segment may be longer by one
    /// batch.
    pub fn set_segment_bytes_max(&mut self, bytes: u64) {
        self.segment_bytes_max = bytes;
    }

    /// Checks whether the path of the directory still leads to it. If not, every
    /// [`append`](Self::append) fails until a later check succeeds. If the system cannot answer,
    /// the last result stays. The writer also checks before each new segment.
    ///
    /// # Errors
    /// If the path leads elsewhere.
    pub fn look_at_place(&mut self) -> io::Result<()> {
        if let Ok(is_in_place) = self.disk.is_in_place(&self.dir) {
            self.is_displaced = !is_in_place;
        }
        if self.is_displaced { Err(displaced(&self.dir)) } else { Ok(()) }
    }

    /// Writes one batch and returns the number of its last record. The batch becomes durable with
    /// the next [`sync`](Self::sync). If the segment is full, a new one begins first. That syncs,
    /// so `durable` may have moved afterwards, even after an error.
    ///
    /// # Errors
    /// After [`AppendError::Write`] the caller may try the same batch again. After
    /// [`AppendError::Poisoned`] no append succeeds any more.
    pub fn append(&mut self, batch: &Batch) -> Result<Lsn, AppendError> {
        self.check()?;
        if batch.is_empty() {
            return Ok(self.written);
        }
        if self.is_displaced {
            return Err(AppendError::Write(displaced(&self.dir)));
        }
        self.cut()?;
        if self.owes_rotation || self.segment_bytes >= self.segment_bytes_max {
            self.rotate()?;
        }
        self.raise_owed_baseline()?;
        let header = BatchHeader {
            kind: BatchKind::Records,
            // A batch is bounded by BATCH_BYTES_MAX, so both numbers fit.
            body_bytes: u32::try_from(batch.len_bytes()).unwrap_or(u32::MAX),
            records: u32::try_from(batch.count()).unwrap_or(u32::MAX),
            first: self.written.next(),
            durable: self.durable,
            previous: self.chain,
            records_checksum: batch.records_checksum(),
        };
        self.write(&header, batch.bytes())?;
        Ok(self.written)
    }

    /// Makes all appended batches durable, and returns the number of the last durable record.
    ///
    /// # Errors
    /// A failed sync poisons the writer.
    pub fn sync(&mut self) -> Result<Lsn, Poisoned> {
        self.check()?;
        if self.durable < self.written || self.owes_sync {
            let synced = self.file.sync_data();
            synced.map_err(|error| self.poison("sync", &error))?;
            self.durable = self.written;
            self.owes_sync = false;
            self.sync_begun = self.segment_bytes;
        }
        Ok(self.durable)
    }

    /// Syncs the log and begins a new segment. If the current segment has no record yet, only
    /// syncs.
    ///
    /// The order of the steps makes a crash between any two of them harmless. The new segment is
    /// durable before the old one demands it. Both are durable before the baseline names it. The
    /// first batch comes last.
    ///
    /// # Errors
    /// Those of [`append`](Self::append).
    pub fn rotate(&mut self) -> Result<(), AppendError> {
        // The older segment must be whole on the disk before the newer one exists, as recovery
        // assumes.
        self.cut()?;
        self.sync()?;
        let first = self.written.next();
        if self.segments.last() == Some(first) {
            return Ok(());
        }
        self.look_at_place().map_err(AppendError::Write)?;
        let header = SegmentHeader {
            version: SEGMENT_VERSION,
            kind: Kind::Continues,
            node_id: self.node_id,
            first,
            base: self.written,
            previous: self.chain,
        };
        self.owes_rotation = true;
        let (file, chain) = match create_segment(&self.disk, &self.dir, &header) {
            Ok(created) => created,
            Err(CreateError::Sync(error)) => return Err(self.poison("new segment", &error).into()),
            Err(CreateError::Io(error)) => {
                self.owes_rotation = remove_segment(&self.disk, &self.dir, first).is_err();
                if self.owes_rotation && is_planted(Planted::CleanUpPoisons) {
                    return Err(self.poison("removal of half a segment", &error).into());
                }
                return Err(AppendError::Write(error));
            }
        };
        self.mark_successor()?;
        self.owes_rotation = false;
        self.file = file;
        self.chain = chain;
        self.version = header.version;
        self.owes_baseline = true;
        self.segments.begin(first);
        self.segment_bytes = u64_of(SEGMENT_HEADER_BYTES);
        self.sync_begun = self.segment_bytes;
        self.bytes_written += self.segment_bytes;
        self.raise_owed_baseline()
    }

    /// Ends the current segment with a mark that demands the new one. If the mark cannot be
    /// written, its bytes are cut off. That cut is synced before the new segment is created again:
    /// a mark without its successor is damage.
    fn mark_successor(&mut self) -> Result<(), AppendError> {
        // A segment of version 1 must have no such mark, as its readers do not know it. Then only
        // the baseline demands the next segment.
        if self.version < 2 {
            return Ok(());
        }
        let mark = BatchHeader::mark(BatchKind::SuccessorMark, self.written, self.chain);
        let (bytes, _) = mark.encode(self.node_id);
        if let Err(error) = self.file.append(&bytes) {
            self.owes_cut = true;
            return Err(AppendError::Write(error));
        }
        self.bytes_written += u64_of(bytes.len());
        let synced = self.file.sync_data();
        synced.map_err(|error| self.poison("sync of a successor mark", &error).into())
    }

    fn raise_owed_baseline(&mut self) -> Result<(), AppendError> {
        if self.owes_baseline {
            self.raise_baseline()?;
            self.owes_baseline = false;
        }
        Ok(())
    }

    fn raise_baseline(&self) -> Result<(), AppendError> {
        let Some(keeper) = &self.baseline else { return Ok(()) };
        keeper.raise(self.baseline()).map_err(AppendError::Write)
    }

    /// Number of the last record that was appended to the log.
    #[must_use]
    pub fn written(&self) -> Lsn {
        self.written
    }

    /// Number of the last record of the log that is durable.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// Bytes that this writer has added to the log, with headers and marks.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// The id of the node that owns this log.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    /// Why the log is poisoned, or `None` if it is not.
    #[must_use]
    pub fn poisoned(&self) -> Option<&Poisoned> {
        self.poisoned.as_ref()
    }

    /// Stops cleanly: syncs, writes the end mark, and syncs again. After that, recovery knows any
    /// flipped bit in the log from a torn write.
    ///
    /// # Errors
    /// If the end mark cannot be written, the records are durable nevertheless, and the next start
    /// finds an unclean stop. If the baseline cannot be raised, the next start may not notice that
    /// the end of the log is missing.
    pub fn finish(mut self) -> Result<Lsn, AppendError> {
        // Records are synced before the mark is written. A mark on the disk promises that
        // everything before it is there.
        self.check()?;
        self.cut()?;
        self.sync()?;
        if self.owes_rotation {
            // Behind an end mark, a leftover of a new segment would look like damage.
            let removed = remove_segment(&self.disk, &self.dir, self.written.next());
            removed.map_err(AppendError::Write)?;
        }
        let header = BatchHeader::mark(BatchKind::EndMark, self.written, self.chain);
        let before = self.segment_bytes;
        self.write(&header, &[])?;
        if let Err(error) = self.file.sync_data() {
            // The mark can be read now, and may be gone after a power cut. That would look like
            // damage, so no mark is better.
            let _ = self.file.truncate(before);
            return Err(self.poison("sync of the end mark", &error).into());
        }
        self.raise_baseline()?;
        Ok(self.durable)
    }

    /// Makes a trimmer, which removes old segments of this log on any thread.
    #[must_use]
    pub fn trimmer(&self) -> LogTrimmer<D> {
        LogTrimmer {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            segments: self.segments.clone(),
        }
    }

    /// Follows this log from the record `from` on, with this one.
    ///
    /// # Errors
    /// Those of [`LogFollower::open`].
    pub fn follow(&self, from: Lsn) -> Result<LogFollower<D>, FollowError> {
        LogFollower::open(&self.disk, &self.dir, self.node_id, from)
    }

    fn check(&self) -> Result<(), Poisoned> {
        self.poisoned.clone().map_or(Ok(()), Err)
    }

    fn poison(&mut self, doing: &str, error: &io::Error) -> Poisoned {
        let reason = format!("{doing} failed: {error}");
        let poisoned = Poisoned { reason };
        self.poisoned.get_or_insert(poisoned).clone()
    }

    /// Writes one batch. After an error the log is as it was, or the next write makes it so.
    fn write(&mut self, header: &BatchHeader, body: &[u8]) -> Result<(), AppendError> {
        let (head, checksum) = header.encode(self.node_id);
        if let Err(error) = self.file.append_pair(&head, body) {
            self.owes_cut = true;
            // If the cut fails too, the next write tries it again.
            _ = self.cut();
            return Err(AppendError::Write(error));
        }
        let bytes = u64_of(head.len() + body.len());
        self.segment_bytes += bytes;
        self.bytes_written += bytes;
        self.written = header.last();
        self.chain = checksum;
        self.begin_sync();
        Ok(())
    }

    /// Cuts off the bytes that a failed write left behind the last whole batch.
    fn cut(&mut self) -> Result<(), AppendError> {
        if self.owes_cut {
            self.file.truncate(self.segment_bytes).map_err(AppendError::Write)?;
            (self.owes_cut, self.owes_sync) = (false, true);
        }
        Ok(())
    }

    fn begin_sync(&mut self) {
        if self.segment_bytes - self.sync_begun >= BEGIN_SYNC_BYTES {
            self.file.begin_sync(self.sync_begun..self.segment_bytes);
            self.sync_begun = self.segment_bytes;
        }
    }
}

/// Why a new segment was not created. Half of it may be there.
pub(crate) enum CreateError {
    /// The file system refused a call. The caller may try again.
    Io(io::Error),
    /// A sync failed, so the header may never reach the disk.
    Sync(io::Error),
}

impl CreateError {
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) | Self::Sync(error) => error,
        }
    }
}

/// Creates a segment, also in place of a half-created one, and makes its header and its name
/// durable. The checksum that it returns is the one that the first batch must name as the previous
/// one.
pub(crate) fn create_segment<D: Disk>(
    disk: &D,
    dir: &Path,
    header: &SegmentHeader,
) -> Result<(D::File, u32), CreateError> {
    let path = segment_path(dir, header.first);
    let (bytes, checksum) = header.encode();
    let mut file = create_anew(disk, &path).map_err(CreateError::Io)?;
    file.append(&bytes).map_err(at(&path)).map_err(CreateError::Io)?;
    file.sync_data().map_err(at(&path)).map_err(CreateError::Sync)?;
    disk.sync_dir(dir).map_err(at(dir)).map_err(CreateError::Io)?;
    Ok((file, checksum))
}

/// Removes a segment that has no record, and makes that durable.
fn remove_segment<D: Disk>(disk: &D, dir: &Path, first: Lsn) -> io::Result<()> {
    let gone = match disk.remove(&segment_path(dir, first)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    gone.and_then(|()| disk.sync_dir(dir))
}

/// Writes the successor mark of a segment again, behind its `whole_bytes`. It replaces what a crash
/// left of the mark.
pub(crate) fn mark_again<D: Disk>(
    disk: &D,
    path: &Path,
    node_id: u64,
    whole_bytes: u64,
    last: Lsn,
    chain: u32,
) -> io::Result<()> {
    let (mark, _) = BatchHeader::mark(BatchKind::SuccessorMark, last, chain).encode(node_id);
    let mut file = disk.open_append(path).map_err(at(path))?;
    let written = file.truncate(whole_bytes).and_then(|()| file.append(&mark));
    written.and_then(|()| file.sync_data()).map_err(at(path))
}
