//! A reader that follows a log while a writer in the same process continues to write it.
//!
//! Only the writer knows how far the log is written; the bytes cannot show it. Behind the last
//! record that the writer reported, there may be half a batch. Or there may be a whole batch that
//! will be cut off again, and another one takes its place.
//!
//! # Invariants
//! - A byte is believed only if its batch was known to be written before the byte was read.
//! - Records are handed on in order, each once. Before that their whole batch is verified, and
//!   compared with the batch before it.
//! - The follower keeps its place between calls. After an error a call may be tried again from
//!   there.
//! - A follower that has caught up holds an open file and almost no memory.

use std::io;
use std::path::{Path, PathBuf};

use super::format::{BatchKind, Kind, SegmentHeader, segment_first, segment_path};
use super::read::{BatchPlace, BatchReader, Header, ReadBatch, Segment, records};
use crate::disk::Disk;
use crate::error::at;
use crate::record::FRAME_BYTES;
use crate::{Damage, Lsn, ReadError};

/// How often a directory is listed at most, if each time all its segments are removed before one of
/// them can be opened.
const LISTINGS_MAX: usize = 8;

/// Why a log cannot be followed. The records that were handed on before are right.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The next record is not in the log any more: it was trimmed. Or it is before a break that a
    /// repair, or a run without a log, left.
    #[error("the log begins at LSN {oldest}")]
    Gone {
        /// The first record from which the log has no gap up to its end.
        oldest: Lsn,
    },
    /// The file system returned an error; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A written record is missing, or is not as it was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

impl From<ReadError> for FollowError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Io(error) => FollowError::Io(error),
            ReadError::Damaged(damage) => FollowError::Damaged(damage),
            ReadError::Newer(newer) => {
                FollowError::Io(io::Error::new(io::ErrorKind::InvalidData, newer))
            }
        }
    }
}

/// Hands on the records of a log that is being written. One [`LogWriter`](crate::LogWriter) may
/// have any number of followers.
///
/// A start ([`open`](crate::open)) may write the last segment again. A follower that was made
/// before it must not be used afterwards.
pub struct LogFollower<D: Disk> {
    disk: D,
    dir: PathBuf,
    node_id: u64,
    segment: Segment<D>,
    /// The place of the first batch that is not handed on as a whole.
    place: BatchPlace,
    reader: BatchReader,
    /// The last record that was handed on.
    position: Lsn,
    /// The log was known to be written up to this record when the segment was last read.
    known: Lsn,
}

impl<D: Disk> LogFollower<D> {
    /// Begins to follow the log in `dir`: [`next`](Self::next) will hand on the records from `from`
    /// on, with this one. `Lsn(0)` means `Lsn(1)`. The record `from` need not be written yet.
    ///
    /// Only headers of segments are read here. The first `next` reads headers of batches until it
    /// finds the batch of `from`.
    ///
    /// # Errors
    /// [`FollowError::Gone`] if the log does not hold `from`, or has a break between it and its
    /// end; [`FollowError::Io`] of kind `NotFound` if there is no log.
    pub fn open(disk: &D, dir: &Path, node_id: u64, from: Lsn) -> Result<Self, FollowError> {
        let from = from.max(Lsn(1));
        match find(disk, dir, node_id, from)? {
            Found::In(segment, place) => Ok(Self {
                disk: disk.clone(),
                dir: dir.to_path_buf(),
                node_id,
                segment,
                place,
                reader: BatchReader::default(),
                position: from.previous(),
                known: Lsn(0),
            }),
            Found::Behind(oldest) => Err(FollowError::Gone { oldest }),
            Found::NoLog => {
                let missing = io::Error::new(io::ErrorKind::NotFound, "there is no log");
                Err(at(dir)(missing).into())
            }
        }
    }

    /// The first record from which the log in `dir` has no gap up to its end. It may be one that is
    /// not written yet. `None` if there is no log.
    ///
    /// # Errors
    /// Those of the file system. A damaged header of a segment is `InvalidData`.
    pub fn oldest(disk: &D, dir: &Path, node_id: u64) -> io::Result<Option<Lsn>> {
        // No log has record 0, so this looks at all segments back to the last break.
        match find(disk, dir, node_id, Lsn(0)) {
            Ok(Found::In(segment, _)) => Ok(Some(segment.first)),
            Ok(Found::Behind(oldest)) => Ok(Some(oldest)),
            Ok(Found::NoLog) => Ok(None),
            Err(ReadError::Io(error)) => Err(error),
            Err(ReadError::Damaged(damage)) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, damage))
            }
            Err(ReadError::Newer(newer)) => Err(io::Error::new(io::ErrorKind::InvalidData, newer)),
        }
    }

    /// The last record that was handed on. Before the first one, it is the record in front of it.
    #[must_use]
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Hands on the records behind [`position`](Self::position) up to `until`, and returns the new
    /// position.
    ///
    /// The caller must know from the writer that the log is written up to `until`, and durable if
    /// the caller needs that. If `until` is inside a batch, a later call hands on the rest of the
    /// batch.
    ///
    /// The call stops after the batch with which the payloads reach `bytes_max` bytes. Each record
    /// counts 8 bytes more, so that empty records count too. If there is a batch, at least one is
    /// handed on, and it may be larger than `bytes_max`.
    ///
    /// # Errors
    /// Only if this call handed on nothing. Otherwise the next call returns the error, if it
    /// persists. After [`FollowError::Gone`] the follower cannot be used any more. After other
    /// errors the call may be tried again.
    pub fn next(
        &mut self,
        until: Lsn,
        bytes_max: usize,
        mut on_record: impl FnMut(Lsn, &[u8]),
    ) -> Result<Lsn, FollowError> {
        let before = self.position;
        let mut bytes = 0_usize;
        let mut result = Ok(());
        while self.position < until && (self.position == before || bytes < bytes_max) {
            match self.step(until, &mut on_record) {
                Ok(more) => bytes = bytes.saturating_add(more),
                Err(error) => {
                    // What was read may be wrong, so a retry must read it again.
                    self.known = Lsn(0);
                    result = Err(error);
                    break;
                }
            }
        }
        if self.place.first > self.known {
            // All known records are handed on. Bytes behind them may still change, so they are not
            // kept.
            self.segment.window.forget();
        }
        match result {
            Err(error) if self.position == before => Err(error),
            _ => Ok(self.position),
        }
    }

    /// Handles one batch or mark, or moves to the next segment. Returns how many bytes were handed
    /// on.
    fn step(
        &mut self,
        until: Lsn,
        on_record: &mut impl FnMut(Lsn, &[u8]),
    ) -> Result<usize, FollowError> {
        if self.place.first > self.known {
            let refreshed = self.segment.window.refresh();
            refreshed.map_err(at(&self.segment.path))?;
            self.known = until;
        }
        if self.segment.window.left(self.place.offset) == 0 {
            self.next_segment(until)?;
            return Ok(0);
        }
        let (window, place) = (&mut self.segment.window, &self.place);
        let wanted = self.position.next();
        let read = self.reader.read(window, place, |header| header.last() >= wanted);
        let batch = read.map_err(at(&self.segment.path))?.map_err(|(offset, what)| {
            let first = self.place.first;
            let what = format!("{what} (LSN {first}), and LSN {until} was written");
            Damage::new(&self.segment.path, offset, what)
        })?;
        if batch.header.kind != BatchKind::Records
            && let Some(damage) = self.segment.after_mark(batch.end)
        {
            return Err(damage.into());
        }
        let mut bytes = 0;
        if batch.header.last() >= wanted {
            bytes = self.hand_on(&batch, until, on_record)?;
        }
        if batch.header.last() <= self.position {
            self.place.pass(&batch);
        }
        Ok(bytes)
    }

    fn hand_on(
        &mut self,
        batch: &ReadBatch,
        until: Lsn,
        on_record: &mut impl FnMut(Lsn, &[u8]),
    ) -> Result<usize, FollowError> {
        let mut bytes = 0_usize;
        let after = self.position;
        let all = records(&mut self.segment.window, batch).map_err(at(&self.segment.path))?;
        for (_, lsn, payload) in all.skip_while(|(_, lsn, _)| *lsn <= after) {
            if lsn > until {
                break;
            }
            on_record(lsn, payload);
            self.position = lsn;
            bytes = bytes.saturating_add(payload.len()).saturating_add(FRAME_BYTES);
        }
        Ok(bytes)
    }

    /// Moves to the next segment. The caller has read this one to its end and knows that more is
    /// written, so there must be a next one.
    fn next_segment(&mut self, until: Lsn) -> Result<(), FollowError> {
        let first = self.place.first;
        let path = segment_path(&self.dir, first);
        let segment = match Segment::open(&self.disk, &path, first) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.missing(until));
            }
            opened => opened?,
        };
        let (header, checksum) = match header_of(&segment, self.node_id)? {
            Some(whole) => whole,
            None => return Err(Damage::new(&path, 0, "the segment header is cut short").into()),
        };
        if first == self.segment.first {
            return self.take_again(segment, checksum, until);
        }
        if header.kind != Kind::Continues {
            return Err(FollowError::Gone { oldest: first });
        }
        if header.previous != self.place.chain {
            let what = "the segment does not follow the one before it";
            return Err(Damage::new(&path, 40, what).into());
        }
        self.place = BatchPlace::behind_header(&header, checksum);
        self.segment = segment;
        self.known = until;
        Ok(())
    }

    /// Continues with the file that is at the path of the present segment, which has no record yet.
    /// The writer creates such a segment again after a failure, and the follower may have opened
    /// the file that the new one replaced.
    fn take_again(
        &mut self,
        mut segment: Segment<D>,
        checksum: u32,
        until: Lsn,
    ) -> Result<(), FollowError> {
        segment.window.refresh().map_err(at(&segment.path))?;
        if checksum != self.place.chain || segment.window.left(self.place.offset) == 0 {
            return Err(self.lost(until).into());
        }
        self.segment = segment;
        self.known = until;
        Ok(())
    }

    /// The error for a next segment that is missing. Segments are trimmed oldest first: if all
    /// older ones are gone too, it was trimmed. Otherwise it is lost.
    fn missing(&self, until: Lsn) -> FollowError {
        match find(&self.disk, &self.dir, self.node_id, Lsn(0)) {
            Ok(Found::Behind(oldest)) if oldest > self.place.first => FollowError::Gone { oldest },
            Ok(_) => self.lost(until).into(),
            Err(error) => error.into(),
        }
    }

    fn lost(&self, until: Lsn) -> Damage {
        let first = self.place.first;
        let what = format!("LSN {first} should follow here, and LSN {until} was written");
        Damage::new(&self.segment.path, self.place.offset, what)
    }
}

impl<D: Disk> std::fmt::Debug for LogFollower<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut fields = f.debug_struct("LogFollower");
        fields.field("segment", &self.segment.path).field("offset", &self.place.offset);
        fields.field("position", &self.position).finish_non_exhaustive()
    }
}

/// Where a record is in the log.
enum Found<D: Disk> {
    /// In this segment, or still to be written to it.
    In(Segment<D>, BatchPlace),
    /// In no segment any more. From this later record on there is no gap.
    Behind(Lsn),
    NoLog,
}

/// Looks for the segment with the record `from`, from the newest segment back to a break at most.
fn find<D: Disk>(disk: &D, dir: &Path, node_id: u64, from: Lsn) -> Result<Found<D>, ReadError> {
    for _ in 0..LISTINGS_MAX {
        let firsts = segments(disk, dir)?;
        let mut oldest = None;
        let mut trimmed = false;
        for &first in firsts.iter().rev() {
            let segment = match Segment::open(disk, &segment_path(dir, first), first) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // It was removed after the directory was listed, and all older segments with
                    // it.
                    trimmed = true;
                    continue;
                }
                opened => opened?,
            };
            let (header, checksum) = match header_of(&segment, node_id)? {
                Some(whole) => whole,
                // The writer is creating this segment, which has no record yet.
                None if firsts.last() == Some(&first) => continue,
                None => {
                    let what = "the segment header is damaged or cut short";
                    return Err(Damage::new(&segment.path, 0, what).into());
                }
            };
            if first <= from {
                let place = BatchPlace::behind_header(&header, checksum);
                return Ok(Found::In(segment, place));
            }
            oldest = Some(first);
            if header.kind != Kind::Continues {
                break;
            }
        }
        match oldest {
            Some(oldest) => return Ok(Found::Behind(oldest)),
            None if !trimmed => return Ok(Found::NoLog),
            None => {}
        }
    }
    let busy = io::Error::new(io::ErrorKind::NotFound, "the log is removed faster than it is read");
    Err(at(dir)(busy).into())
}

/// The first record of each segment in the directory, the oldest first.
fn segments<D: Disk>(disk: &D, dir: &Path) -> io::Result<Vec<Lsn>> {
    let names = disk.list(dir).map_err(at(dir))?;
    let mut firsts: Vec<Lsn> = names.iter().filter_map(|name| segment_first(name)?).collect();
    firsts.sort_unstable();
    Ok(firsts)
}

/// The segment's header with its checksum. `None` if the file ends within the header.
fn header_of<D: Disk>(
    segment: &Segment<D>,
    node_id: u64,
) -> Result<Option<(SegmentHeader, u32)>, Damage> {
    match &segment.header {
        Header::Whole(header, _) if header.node_id != node_id => {
            let found = header.node_id;
            let what = format!("the file belongs to node {found:#x}, not {node_id:#x}");
            Err(Damage::new(&segment.path, 16, what))
        }
        Header::Whole(header, checksum) => Ok(Some((*header, *checksum))),
        Header::Torn => Ok(None),
        Header::Damaged(damage) => Err(damage.clone()),
    }
}
