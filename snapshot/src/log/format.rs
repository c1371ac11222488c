//! The bytes of a segment header and of a batch header, and the names of segments.
//!
//! # Invariants
//! - `decode` is the inverse of `encode`, and accepts nothing that `encode` cannot make.
//! - No code has offsets of fields: they are read in the order in which they are written.

use std::path::{Path, PathBuf};

use crate::Lsn;
use crate::bytes::{Fields, trailing_checksum, u64_of};
use crate::record::{BATCH_BYTES_MAX, FRAME_BYTES};
use crate::version::SEGMENT_VERSION;

pub(crate) const SEGMENT_MAGIC: [u8; 8] = *b"chshlog\n";
/// How a batch begins. No text and no MessagePack of chatshard begins like this, so a search finds
/// few wrong places. The checksum decides.
pub(crate) const BATCH_MAGIC: [u8; 4] = [0xc1, b'B', 0xff, 0x01];

/// magic 8, version 4, kind 4, node id 8, first LSN 8, base LSN 8, previous checksum 4, checksum 4
pub(crate) const SEGMENT_HEADER_BYTES: usize = 48;
/// magic 4, flags 4, body bytes 4, records 4, first LSN 8, durable LSN 8, previous checksum 4,
/// records checksum 4, checksum 4
pub(crate) const BATCH_HEADER_BYTES: usize = 44;

/// The path of the segment whose first record is `first`.
pub(crate) fn segment_path(dir: &Path, first: Lsn) -> PathBuf {
    dir.join(format!("log-{:020}.seg", first.0))
}

/// Parses a file's name. `None` if it is no segment's. `Some(None)` if it looks like one, but has a
/// form that this crate never writes.
pub(crate) fn segment_first(name: &str) -> Option<Option<Lsn>> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    let right = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let first = digits.parse().ok().map(Lsn);
    Some(first.filter(|first| right && (Lsn(1)..=Lsn::NAMED_MAX).contains(first)))
}

/// How a segment is connected with the log before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The segment continues where the one before it ends.
    Continues,
    /// A log begins with this segment: the first one, or one after a run without a log.
    Starts,
    /// An operator accepted that the records behind `base` and before `first` are lost.
    LossAccepted,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Kind::Continues => 0,
            Kind::Starts => 1,
            Kind::LossAccepted => 2,
        }
    }

    fn of(code: u32) -> Option<Self> {
        let kinds = [Kind::Continues, Kind::Starts, Kind::LossAccepted];
        kinds.into_iter().find(|kind| kind.code() == code)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Format version of the segment.
    pub(crate) version: u32,
    pub(crate) kind: Kind,
    pub(crate) node_id: u64,
    /// The first record of the segment, as in its name. If it has none, the record that would come
    /// first.
    pub(crate) first: Lsn,
    /// The last record that the log had before this segment.
    pub(crate) base: Lsn,
    /// Checksum of the last batch before this segment; 0 unless the segment continues the log.
    pub(crate) previous: u32,
}

impl SegmentHeader {
    /// The bytes of the header, and the checksum that the first batch must name as the previous
    /// one.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let mut bytes = Vec::with_capacity(SEGMENT_HEADER_BYTES);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&self.kind.code().to_le_bytes());
        bytes.extend_from_slice(&self.node_id.to_le_bytes());
        bytes.extend_from_slice(&self.first.0.to_le_bytes());
        bytes.extend_from_slice(&self.base.0.to_le_bytes());
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), HeaderError> {
        let broken = |what: &str| HeaderError::Broken(what.to_owned());
        let mut fields = Fields(bytes);
        if fields.array() != Some(SEGMENT_MAGIC) {
            return Err(broken("this is no log segment"));
        }
        let version = fields.u32().ok_or_else(|| broken("cut short"))?;
        // A header that a crash cut off may show zeros here. Any larger number was written on
        // purpose.
        if version > SEGMENT_VERSION {
            return Err(HeaderError::Version(version));
        }
        let checksum = trailing_checksum(bytes, 0)
            .map_err(|_| broken("the segment header's checksum does not match"))?;
        let header = Self::fields(version, &mut fields);
        Ok((header.ok_or_else(|| broken("impossible header"))?, checksum))
    }

    fn fields(version: u32, fields: &mut Fields<'_>) -> Option<Self> {
        let header = Self {
            version,
            kind: Kind::of(fields.u32()?)?,
            node_id: fields.u64()?,
            first: Lsn(fields.u64()?),
            base: Lsn(fields.u64()?),
            previous: fields.u32()?,
        };
        (version > 0 && header.base < header.first).then_some(header)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// A newer version of this crate wrote the segment.
    Version(u32),
    Broken(String),
}

/// What a batch is. A mark has no record, and nothing follows it in its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BatchKind {
    Records,
    /// The end of the log, after a clean stop.
    EndMark,
    /// The end of a segment. The log continues in the next one, which was durable before this mark
    /// was written.
    SuccessorMark,
}

impl BatchKind {
    fn flags(self) -> u32 {
        match self {
            BatchKind::Records => 1,
            BatchKind::EndMark => 2,
            BatchKind::SuccessorMark => 4,
        }
    }

    fn of(flags: u32) -> Option<Self> {
        let kinds = [BatchKind::Records, BatchKind::EndMark, BatchKind::SuccessorMark];
        kinds.into_iter().find(|kind| kind.flags() == flags)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) kind: BatchKind,
    pub(crate) body_bytes: u32,
    pub(crate) records: u32,
    /// The first record of the batch. For a mark, the record that comes next.
    pub(crate) first: Lsn,
    /// The last record that was durable when this header was written.
    pub(crate) durable: Lsn,
    /// Checksum of the batch before this one, or of the segment's header.
    pub(crate) previous: u32,
    /// Checksum over the checksums of all records.
    pub(crate) records_checksum: u32,
}

impl BatchHeader {
    /// A mark behind the record `last`, up to which the log is durable.
    pub(crate) fn mark(kind: BatchKind, last: Lsn, previous: u32) -> Self {
        Self {
            kind,
            body_bytes: 0,
            records: 0,
            first: last.next(),
            durable: last,
            previous,
            records_checksum: crc32c::crc32c(&[]),
        }
    }

    /// The bytes of the header, and the checksum that the next batch must name as the previous one.
    pub(crate) fn encode(&self, node_id: u64) -> (Vec<u8>, u32) {
        let mut bytes = Vec::with_capacity(BATCH_HEADER_BYTES);
        bytes.extend_from_slice(&BATCH_MAGIC);
        bytes.extend_from_slice(&self.kind.flags().to_le_bytes());
        bytes.extend_from_slice(&self.body_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.records.to_le_bytes());
        bytes.extend_from_slice(&self.first.0.to_le_bytes());
        bytes.extend_from_slice(&self.durable.0.to_le_bytes());
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.extend_from_slice(&self.records_checksum.to_le_bytes());
        let checksum = crc32c::crc32c_append(seed(node_id), &bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    pub(crate) fn decode(bytes: &[u8], node_id: u64) -> Result<(Self, u32), String> {
        let mut fields = Fields(bytes);
        if fields.array() != Some(BATCH_MAGIC) {
            return Err("no batch begins here".to_owned());
        }
        let checksum = trailing_checksum(bytes, seed(node_id))
            .map_err(|_| "the batch header's checksum does not match")?;
        let header = Self::fields(&mut fields).ok_or("impossible batch header")?;
        Ok((header, checksum))
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Self> {
        let header = Self {
            kind: BatchKind::of(fields.u32()?)?,
            body_bytes: fields.u32()?,
            records: fields.u32()?,
            first: Lsn(fields.u64()?),
            durable: Lsn(fields.u64()?),
            previous: fields.u32()?,
            records_checksum: fields.u32()?,
        };
        let frames = u64::from(header.records) * u64_of(FRAME_BYTES);
        let fits = frames <= header.body_bytes.into()
            && u64::from(header.body_bytes) <= u64_of(BATCH_BYTES_MAX)
            && header.first.0.checked_add(header.records.into()).is_some();
        let right = match header.kind {
            BatchKind::Records => header.records > 0,
            BatchKind::EndMark | BatchKind::SuccessorMark => {
                header.records == 0 && header.body_bytes == 0
            }
        };
        (fits && right && header.durable < header.first).then_some(header)
    }

    /// The last record of the log, once this batch is read.
    pub(crate) fn last(&self) -> Lsn {
        Lsn(self.first.previous().0.saturating_add(self.records.into()))
    }
}

/// Where the checksum of a batch header begins. It covers the node id, although the batch does not
/// have it. So a batch of another node is rejected. So are bytes in a payload that somebody made to
/// look like a batch.
fn seed(node_id: u64) -> u32 {
    crc32c::crc32c(&node_id.to_le_bytes())
}
