//! The writer of the log.
//!
//! # Invariants
//! - `durable <= written`; `durable` only moves after a sync that succeeded.
//! - `segment_bytes` is the length of whole batches. What a failed write left behind it is cut off before anything else is
//!   written, and the cut is synced before a next segment exists.
//! - A next segment that was half made is made anew before anything else is written, and removed before the end mark. So
//!   whatever it left is nothing but the traces of a crash at that moment, which each start can deal with.
//! - Only a failed sync of a file poisons: where a file cannot be opened, made, cut or removed (no descriptor, no room, no
//!   right), that is tried again.
//! - While the path of the directory leads elsewhere, no batch is appended: nobody would find it at the next start.
//! - Poisoned is for good. The kernel may drop the pages of a failed sync, so trying again could report safety that is not there.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
use crate::{Batch, Floor, KeepFloor, Lsn};

/// Size at which a segment is followed by the next one, in bytes, unless set otherwise.
pub const SEGMENT_BYTES_MAX_DEFAULT: u64 = 64 << 20;

/// Bytes after which the disk begins with what was written. A sync of a whole segment takes long, and all that
/// comes meanwhile waits for it, in every mode: a full segment is synced before the next one.
const BEGIN_SYNC_BYTES: u64 = 1 << 20;

/// The log takes nothing more until the process starts again; what was reported durable is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log is closed until restart: {reason}")]
pub struct Poisoned {
    /// What failed first.
    pub reason: String,
}

/// Why a batch is not in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The write failed (disk full, say) and was undone: nothing of the batch is in the log, and it may be tried again.
    #[error("the log could not be written, and may be again: {0}")]
    Write(#[source] io::Error),
    /// Whether the batch is in the log is unknown.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
}

/// Appends batches to the log. One per directory; the caller sees to that.
#[derive(Debug)]
pub struct LogWriter<D: Disk> {
    disk: D,
    dir: PathBuf,
    node_id: u64,
    file: D::File,
    segments: Segments,
    segment_bytes: u64,
    segment_bytes_max: u64,
    /// Up to where the disk has begun with the segment.
    sync_begun: u64,
    written: Lsn,
    durable: Lsn,
    /// What the next batch names as the previous checksum.
    chain: u32,
    bytes_written: u64,
    poisoned: Option<Poisoned>,
    /// Behind `segment_bytes` there may be bytes of a failed write.
    owes_cut: bool,
    /// The segment was cut since the last sync.
    owes_sync: bool,
    /// The next segment may be there, half made.
    owes_rotation: bool,
    /// Format version of the segment that is being written.
    version: u32,
    floor: Option<Arc<dyn KeepFloor>>,
    /// The floor does not name the segment yet: no batch goes into it before.
    owes_floor: bool,
    /// The path of the directory led elsewhere when it was last looked at.
    is_displaced: bool,
}

/// Where a writer goes on in a segment that is there: all of it is durable.
pub(crate) struct Resume {
    /// First record of each segment, oldest first; the last one is to be written on.
    pub(crate) segments: VecDeque<Lsn>,
    pub(crate) segment_bytes: u64,
    pub(crate) written: Lsn,
    pub(crate) chain: u32,
    /// Format version of the last segment.
    pub(crate) version: u32,
}

impl<D: Disk> LogWriter<D> {
    /// Begins a new log in `dir` whose first record will be `first`: 1 for a new store, and larger after a run without a log.
    /// To go on with a log, use [`open`](crate::open).
    ///
    /// # Errors
    /// Of the file system; a first record of 0 is `InvalidInput`.
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

    /// A new segment after those that are there.
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
            floor: None,
            owes_floor: false,
            is_displaced: false,
        }
    }

    /// Has the floor raised at each new segment and at a clean stop. The caller raises it to
    /// [`floor`](Self::floor) before the first batch.
    pub fn set_floor_keeper(&mut self, keeper: Arc<dyn KeepFloor>) {
        self.floor = Some(keeper);
    }

    /// What the next start must find of this log.
    #[must_use]
    pub fn floor(&self) -> Floor {
        let segment = self.segments.last().unwrap_or_default();
        Floor { durable: self.durable, segment, image: Lsn(0) }
    }

    /// Sets the size at which a segment is followed by the next one. A segment may be longer by one batch.
    pub fn set_segment_bytes_max(&mut self, bytes: u64) {
        self.segment_bytes_max = bytes;
    }

    /// Looks whether the path of the directory still leads to it. Until a later look finds that it does, every
    /// [`append`](Self::append) is refused; where the system does not tell, the last answer stands. A new segment looks
    /// by itself.
    ///
    /// # Errors
    /// The path leads elsewhere.
    pub fn look_at_place(&mut self) -> io::Result<()> {
        if let Ok(is_in_place) = self.disk.is_in_place(&self.dir) {
            self.is_displaced = !is_in_place;
        }
        if self.is_displaced { Err(displaced(&self.dir)) } else { Ok(()) }
    }

    /// Writes one batch and returns the number of its last record. It is not durable until [`sync`](Self::sync).
    /// A full segment is followed by a new one first, which syncs: `durable` may have moved afterwards, even on an error.
    ///
    /// # Errors
    /// After [`AppendError::Write`] the batch may be tried again as it is; after [`AppendError::Poisoned`] nothing may.
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
        self.raise_owed_floor()?;
        let header = BatchHeader {
            kind: BatchKind::Records,
            // Both fit: a batch is bounded by BATCH_BYTES_MAX.
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

    /// Makes all that was appended durable, and returns the number of the last durable record.
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

    /// Syncs, and begins a new segment. Does nothing while the current one holds no record.
    ///
    /// The order of its steps makes each crash between them harmless: the new segment is safe on the disk before the old
    /// one demands it, both are before the floor demands it, and the first batch follows last.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn rotate(&mut self) -> Result<(), AppendError> {
        // The older segment must be whole on the disk before the newer one exists: recovery relies on it.
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
        self.owes_floor = true;
        self.segments.begin(first);
        self.segment_bytes = u64_of(SEGMENT_HEADER_BYTES);
        self.sync_begun = self.segment_bytes;
        self.bytes_written += self.segment_bytes;
        self.raise_owed_floor()
    }

    /// Ends the segment with a mark that demands the new one. If the mark cannot be written, what is there of it is cut
    /// off, and safely so, before the new one is made anew: a mark without its successor is damage.
    fn mark_successor(&mut self) -> Result<(), AppendError> {
        // A reader of version 1 knows no such mark; the floor alone demands the segment after.
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

    fn raise_owed_floor(&mut self) -> Result<(), AppendError> {
        if self.owes_floor {
            self.raise_floor()?;
            self.owes_floor = false;
        }
        Ok(())
    }

    fn raise_floor(&self) -> Result<(), AppendError> {
        let Some(keeper) = &self.floor else { return Ok(()) };
        keeper.raise(self.floor()).map_err(AppendError::Write)
    }

    /// Number of the last record that was appended.
    #[must_use]
    pub fn written(&self) -> Lsn {
        self.written
    }

    /// Number of the last record that is safe on the disk.
    #[must_use]
    pub fn durable(&self) -> Lsn {
        self.durable
    }

    /// Bytes that this writer has added to the log, headers included.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written
    }

    /// The id of the node whose log this is.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    /// Why the log takes nothing more, if so.
    #[must_use]
    pub fn poisoned(&self) -> Option<&Poisoned> {
        self.poisoned.as_ref()
    }

    /// A clean stop: syncs, writes the end mark, syncs that. From then on any flipped bit in the log is told from a torn write.
    ///
    /// # Errors
    /// If the end mark could not be written, the records are durable nevertheless; the next start is an unclean one. If
    /// the floor could not be raised, the next start may not see that the end of the log was removed.
    pub fn finish(mut self) -> Result<Lsn, AppendError> {
        // First the records, then the mark: a mark on the disk is a promise that all before it is there.
        self.check()?;
        self.cut()?;
        self.sync()?;
        if self.owes_rotation {
            // It would not follow the end mark, which looks like damage.
            let removed = remove_segment(&self.disk, &self.dir, self.written.next());
            removed.map_err(AppendError::Write)?;
        }
        let header = BatchHeader::mark(BatchKind::EndMark, self.written, self.chain);
        let before = self.segment_bytes;
        self.write(&header, &[])?;
        if let Err(error) = self.file.sync_data() {
            // A mark that is seen now and gone after a power cut would look like damage later: better none.
            let _ = self.file.truncate(before);
            return Err(self.poison("sync of the end mark", &error).into());
        }
        self.raise_floor()?;
        Ok(self.durable)
    }

    /// Who removes what is not needed of this log, on any thread.
    #[must_use]
    pub fn trimmer(&self) -> LogTrimmer<D> {
        LogTrimmer {
            disk: self.disk.clone(),
            dir: self.dir.clone(),
            segments: self.segments.clone(),
        }
    }

    fn check(&self) -> Result<(), Poisoned> {
        self.poisoned.clone().map_or(Ok(()), Err)
    }

    fn poison(&mut self, doing: &str, error: &io::Error) -> Poisoned {
        let reason = format!("{doing} failed: {error}");
        let poisoned = Poisoned { reason };
        self.poisoned.get_or_insert(poisoned).clone()
    }

    /// Writes one batch, or leaves everything as it was.
    fn write(&mut self, header: &BatchHeader, body: &[u8]) -> Result<(), AppendError> {
        let (head, checksum) = header.encode(self.node_id);
        if let Err(error) = self.file.append_pair(&head, body) {
            self.owes_cut = true;
            // If this fails, too, the next write tries it again.
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

    /// Cuts off what a failed write left.
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

/// Why there is no new segment, or perhaps half of one.
pub(crate) enum CreateError {
    /// The file system refused something; it may be tried again.
    Io(io::Error),
    /// The header may never reach the disk.
    Sync(io::Error),
}

impl CreateError {
    pub(crate) fn into_io(self) -> io::Error {
        match self {
            Self::Io(error) | Self::Sync(error) => error,
        }
    }
}

/// A new segment with its header, safe on the disk with its name, in place of one that was half made; and what its first
/// batch names as previous checksum.
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

/// Removes a segment that holds no record.
fn remove_segment<D: Disk>(disk: &D, dir: &Path, first: Lsn) -> io::Result<()> {
    let gone = match disk.remove(&segment_path(dir, first)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    };
    gone.and_then(|()| disk.sync_dir(dir))
}

/// Writes the successor mark behind the `whole_bytes` of a segment again, in place of what a crash left of it.
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
