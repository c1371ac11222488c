//! The walk through one segment: how far it is whole, and why not further. The follower uses parts
//! of it too.
//!
//! # Invariants
//! - Records are handed on only after their whole batch was verified.
//! - The walk ends at the first wrong byte. Behind it the walk only searches for a batch which says
//!   that this place was durable already.
//! - The walk needs memory for one batch, however long the file is.

use std::io;
use std::path::{Path, PathBuf};

use super::format::{
    BATCH_HEADER_BYTES, BATCH_MAGIC, BatchHeader, BatchKind, HeaderError, SEGMENT_HEADER_BYTES,
    SegmentHeader,
};
use crate::bytes::{Window, u64_of, usize_of};
use crate::disk::{Disk, DiskFile};
use crate::error::at;
use crate::record::{Frames, check_frame};
use crate::{Damage, Lsn, OpenError};

/// Bytes behind a wrong byte that are searched in one step.
const SEARCH_BYTES: u64 = 1 << 20;

/// Takes one record with its LSN. An error ends the walk through the segment.
pub(crate) type RecordFn<'a> = &'a mut dyn FnMut(Lsn, &[u8]) -> Result<(), String>;

/// An open segment whose header has been read.
pub(crate) struct Segment<D: Disk> {
    pub(super) path: PathBuf,
    /// The first record of the segment, as its name says.
    pub(super) first: Lsn,
    pub(super) window: Window<D::File>,
    pub(crate) header: Header,
}

pub(crate) enum Header {
    Whole(SegmentHeader, u32),
    /// The file ends within the header: the machine stopped while the segment was created.
    Torn,
    Damaged(Damage),
}

/// What a walk found out about the batches of a segment.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// The last record of the segment. If there is none, the one before its first.
    pub(crate) last: Lsn,
    pub(crate) batches: u64,
    pub(crate) records: u64,
    /// Bytes up to the end of the last whole batch. A mark behind it does not count.
    pub(crate) whole_bytes: u64,
    /// The checksum that a batch behind `whole_bytes` must name as the previous one.
    pub(crate) whole_chain: u32,
    /// The checksum that a next segment must name as the previous one: that of the end mark, or of
    /// the last batch if there is no end mark.
    pub(crate) chain: u32,
    pub(crate) end: End,
}

#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The segment ends behind a whole batch, without a mark.
    Open,
    /// The segment ends with the mark of a clean stop.
    Mark,
    /// The segment ends with a successor mark: the segment with this first record must exist.
    Successor(Lsn),
    /// At bytes that are no batch. No later batch says that this place was durable.
    Torn(Damage),
    /// At bytes that are not what was written.
    Damaged(Damage),
}

pub(crate) enum WalkError {
    Io(io::Error),
    Callback { offset: u64, message: String },
}

impl From<io::Error> for WalkError {
    fn from(error: io::Error) -> Self {
        WalkError::Io(error)
    }
}

impl WalkError {
    pub(crate) fn in_file(self, path: &Path) -> OpenError {
        match self {
            WalkError::Io(error) => OpenError::Io(at(path)(error)),
            WalkError::Callback { offset, message } => {
                OpenError::Callback { path: path.to_path_buf(), offset, message }
            }
        }
    }
}

/// Where the next batch must begin, and what its header must name.
pub(super) struct BatchPlace {
    pub(super) offset: u64,
    pub(super) first: Lsn,
    pub(super) chain: u32,
    node_id: u64,
}

impl BatchPlace {
    /// The place of a segment's first batch. `checksum` is that of the segment's header.
    pub(super) fn behind_header(header: &SegmentHeader, checksum: u32) -> Self {
        let offset = u64_of(SEGMENT_HEADER_BYTES);
        Self { offset, first: header.first, chain: checksum, node_id: header.node_id }
    }

    /// Moves on to the place behind this batch or mark.
    pub(super) fn pass(&mut self, batch: &ReadBatch) {
        self.offset = batch.end;
        self.first = batch.header.last().next();
        // The next segment was created before the successor mark, so it names the batch before the
        // mark.
        if batch.header.kind != BatchKind::SuccessorMark {
            self.chain = batch.checksum;
        }
    }
}

impl<D: Disk> Segment<D> {
    pub(crate) fn open(disk: &D, path: &Path, first: Lsn) -> io::Result<Self> {
        let file = disk.open_read(path).map_err(at(path))?;
        let mut window = Window::new(file).map_err(at(path))?;
        let len = window.len();
        let head = window.view(0, SEGMENT_HEADER_BYTES).map_err(at(path))?;
        let decoded = match head {
            Some(head) => SegmentHeader::decode(head),
            None => Err(HeaderError::Broken("the segment header is cut short".into())),
        };
        let damaged = |offset, what: String| Header::Damaged(Damage::new(path, offset, what));
        let header = match decoded {
            Ok((header, _)) if header.first != first => {
                let inside = header.first;
                damaged(24, format!("the name says LSN {first}, the header {inside}"))
            }
            Ok((header, checksum)) => Header::Whole(header, checksum),
            Err(HeaderError::Version(version)) => {
                damaged(8, format!("format version {version} is not known"))
            }
            // The header was not synced yet, so no batch is behind it.
            Err(HeaderError::Broken(_)) if len <= u64_of(SEGMENT_HEADER_BYTES) => Header::Torn,
            Err(HeaderError::Broken(what)) => damaged(0, what),
        };
        let path = path.to_path_buf();
        Ok(Self { path, first, window, header })
    }

    /// Length of the segment in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.window.len()
    }

    /// Walks through all batches. With `verify_records` false it reads only headers of batches and
    /// hands on no record, for a segment that is not replayed.
    pub(crate) fn walk(
        &mut self,
        header: &SegmentHeader,
        checksum: u32,
        verify_records: bool,
        on_record: RecordFn<'_>,
    ) -> Result<Body, WalkError> {
        let mut place = BatchPlace::behind_header(header, checksum);
        let mut reader = BatchReader::default();
        let mut body = Body {
            last: header.first.previous(),
            batches: 0,
            records: 0,
            whole_bytes: place.offset,
            whole_chain: checksum,
            chain: checksum,
            end: End::Open,
        };
        while self.window.left(place.offset) > 0 {
            let batch = match reader.read(&mut self.window, &place, |_| verify_records)? {
                Ok(batch) => batch,
                Err((offset, what)) => {
                    body.end = self.broken(&place, offset, &what)?;
                    break;
                }
            };
            match batch.header.kind {
                BatchKind::Records => body.chain = batch.checksum,
                BatchKind::EndMark => {
                    body.chain = batch.checksum;
                    body.end = self.after_mark(batch.end).map_or(End::Mark, End::Damaged);
                    break;
                }
                BatchKind::SuccessorMark => {
                    let successor = End::Successor(batch.header.first);
                    body.end = self.after_mark(batch.end).map_or(successor, End::Damaged);
                    break;
                }
            }
            if verify_records {
                for (offset, lsn, payload) in records(&mut self.window, &batch)? {
                    on_record(lsn, payload)
                        .map_err(|message| WalkError::Callback { offset, message })?;
                }
            }
            body.whole_chain = batch.checksum;
            body.last = batch.header.last();
            body.batches += 1;
            body.records += u64::from(batch.header.records);
            body.whole_bytes = batch.end;
            place.pass(&batch);
        }
        Ok(body)
    }

    /// The damage, if any bytes come behind a mark, which must end the segment.
    pub(super) fn after_mark(&self, offset: u64) -> Option<Damage> {
        let more = self.window.left(offset);
        let what = || format!("{more} bytes after the end mark");
        (more > 0).then(|| Damage::new(&self.path, offset, what()))
    }

    /// Decides what wrong bytes are: damage if a later batch says that this place was durable, else
    /// a torn tail.
    fn broken(&mut self, place: &BatchPlace, offset: u64, what: &str) -> io::Result<End> {
        let after = place.offset.saturating_add(1);
        let wanted = place.first;
        Ok(match find_claim(&mut self.window, after, wanted, place.node_id)? {
            None => {
                let what = format!("{what} (LSN {wanted})");
                End::Torn(Damage::new(&self.path, offset, what))
            }
            Some((at, header)) => {
                let durable = header.durable;
                let what = format!(
                    "{what} (LSN {wanted}), and this is no torn write: the batch at byte {at} says that LSN {durable} was durable"
                );
                End::Damaged(Damage::new(&self.path, offset, what))
            }
        })
    }
}

pub(super) struct ReadBatch {
    pub(super) header: BatchHeader,
    checksum: u32,
    body_start: u64,
    pub(super) end: u64,
}

/// Reads batches. It keeps the memory for checksums of records from one batch to the next.
#[derive(Default)]
pub(super) struct BatchReader {
    checksums: Vec<u8>,
}

impl BatchReader {
    /// Reads the batch at `place`, or returns offset and reason why there is none. The header is
    /// always verified. The records are, if `verify_records` returns true for the header.
    pub(super) fn read<F: DiskFile>(
        &mut self,
        window: &mut Window<F>,
        place: &BatchPlace,
        verify_records: impl FnOnce(&BatchHeader) -> bool,
    ) -> io::Result<Result<ReadBatch, (u64, String)>> {
        let wrong = |what: String| Ok(Err((place.offset, what)));
        let Some(head) = window.view(place.offset, BATCH_HEADER_BYTES)? else {
            return wrong("the batch header is cut short".to_owned());
        };
        let (header, checksum) = match BatchHeader::decode(head, place.node_id) {
            Ok(decoded) => decoded,
            Err(what) => return wrong(what),
        };
        if header.first != place.first {
            let (found, wanted) = (header.first, place.first);
            return wrong(format!("LSN {found} where {wanted} should be"));
        }
        if header.previous != place.chain {
            return wrong("the batch does not follow the one before it".to_owned());
        }
        let body_start = place.offset.saturating_add(u64_of(BATCH_HEADER_BYTES));
        let body_bytes = u64::from(header.body_bytes);
        let end = body_start.saturating_add(body_bytes);
        if body_bytes > window.left(body_start) {
            let there = window.left(body_start);
            return wrong(format!("{body_bytes} bytes claimed, {there} there"));
        }
        let batch = ReadBatch { header, checksum, body_start, end };
        if verify_records(&batch.header) {
            let body = window.view(body_start, usize_of(body_bytes))?;
            if let Err((at, what)) = self.verify(&header, body.unwrap_or_default()) {
                return Ok(Err((body_start.saturating_add(at), what)));
            }
        }
        Ok(Ok(batch))
    }

    /// Verifies each record by its own checksum, and all of them by the header's. An error has its
    /// offset in the body.
    fn verify(&mut self, header: &BatchHeader, body: &[u8]) -> Result<(), (u64, String)> {
        self.checksums.clear();
        let mut rest = body;
        for _ in 0..header.records {
            let at = u64_of(body.len() - rest.len());
            let (checksum, _, after) = check_frame(rest).map_err(|what| (at, what))?;
            self.checksums.extend_from_slice(&checksum);
            rest = after;
        }
        if !rest.is_empty() {
            let at = u64_of(body.len() - rest.len());
            return Err((at, "bytes after the last record of a batch".to_owned()));
        }
        if crc32c::crc32c(&self.checksums) != header.records_checksum {
            return Err((0, "these are not the records of this batch".to_owned()));
        }
        Ok(())
    }
}

/// The records of a verified batch. For each it gives the offset of its frame, its number and its
/// payload.
pub(super) fn records<'w, F: DiskFile>(
    window: &'w mut Window<F>,
    batch: &ReadBatch,
) -> io::Result<impl Iterator<Item = (u64, Lsn, &'w [u8])>> {
    let bytes = usize_of(u64::from(batch.header.body_bytes));
    let body = window.view(batch.body_start, bytes)?.unwrap_or_default();
    let begin = (batch.body_start, batch.header.first);
    Ok(Frames(body).scan(begin, |(offset, lsn), (frame_bytes, payload)| {
        let record = (*offset, *lsn, payload);
        *offset = offset.saturating_add(frame_bytes);
        *lsn = lsn.next();
        Some(record)
    }))
}

/// Searches from `offset` on for a valid batch header which says that `wanted` was durable when the
/// header was written.
fn find_claim<F: DiskFile>(
    window: &mut Window<F>,
    mut offset: u64,
    wanted: Lsn,
    node_id: u64,
) -> io::Result<Option<(u64, BatchHeader)>> {
    let header_bytes = u64_of(BATCH_HEADER_BYTES);
    while window.left(offset) >= header_bytes {
        let bytes = window.left(offset).min(SEARCH_BYTES);
        let view = window.view(offset, usize_of(bytes))?.unwrap_or_default();
        for (at, candidate) in view.windows(BATCH_HEADER_BYTES).enumerate() {
            if !candidate.starts_with(&BATCH_MAGIC) {
                continue;
            }
            if let Ok((header, _)) = BatchHeader::decode(candidate, node_id)
                && header.durable >= wanted
            {
                return Ok(Some((offset.saturating_add(u64_of(at)), header)));
            }
        }
        // The last 43 bytes, one fewer than a header has, may be the beginning of a header. They
        // are searched again with the next view.
        offset = offset.saturating_add(bytes - (header_bytes - 1));
    }
    Ok(None)
}
