//! One record, and a batch of records, as bytes.
//!
//! ```text
//! 0        4        8
//! | crc32c | length | payload ... |      all little-endian; crc32c over length and payload
//! ```
//! The checksum comes first, so that the bytes that it covers are contiguous. It covers the length
//! too, so that zeros are no valid empty record. A block of a snapshot has the same frame.
//!
//! # Invariants
//! - A [`Batch`] always holds whole frames, at most [`BATCH_BYTES_MAX`] bytes, and no payload above
//!   [`RECORD_BYTES_MAX`].
//! - A frame is read only from the slice of bytes that the caller gave.

use crate::bytes::{Fields, u64_of};

/// Largest payload of one record or one block of a snapshot, in bytes.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
/// Largest batch in bytes, frames included.
pub const BATCH_BYTES_MAX: usize = 64 << 20;

/// Bytes of a frame before its payload: checksum 4, length 4.
pub(crate) const FRAME_BYTES: usize = 8;

const _: () = assert!(RECORD_BYTES_MAX + FRAME_BYTES <= BATCH_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_MAX <= 1 << 30, "lengths are u32 on disk");

/// Why a record was not added to a batch, which stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The payload is above [`RECORD_BYTES_MAX`].
    #[error("a record of {bytes} bytes is over the limit of {RECORD_BYTES_MAX}")]
    RecordTooLarge {
        /// Length of the payload in bytes.
        bytes: usize,
    },
    /// The batch would be above [`BATCH_BYTES_MAX`]. The caller writes it, and adds the record to
    /// an empty batch.
    #[error("the batch would have {bytes} bytes, the limit is {BATCH_BYTES_MAX}")]
    BatchFull {
        /// The length in bytes that the batch would have with the record.
        bytes: usize,
    },
}

/// Records that are written together, with one header, one write and one sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    /// The checksums of the records, in order. The batch header has a checksum over these. So it
    /// covers every record, without another pass over the payloads.
    checksums: Vec<u8>,
}

impl Batch {
    /// An empty batch, which has allocated nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one record with a copy of `payload` as its payload.
    pub fn push(&mut self, payload: &[u8]) -> Result<(), RecordError> {
        self.push_with(|bytes| bytes.extend_from_slice(payload))
    }

    /// Adds one record. `write` appends its payload to the batch in place, which saves a copy.
    ///
    /// # Panics
    /// If `write` does anything but append to the bytes.
    pub fn push_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), RecordError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; FRAME_BYTES]);
        write(&mut self.bytes);
        let payload = self.bytes.len().checked_sub(start + FRAME_BYTES);
        let length = match check_lengths(payload, self.bytes.len()) {
            Ok(length) => length,
            Err(error) => {
                self.bytes.truncate(start);
                return Err(error);
            }
        };
        let (_, frame) = self.bytes.split_at_mut(start);
        let checksum = seal_frame(frame, length);
        self.checksums.extend_from_slice(&checksum);
        Ok(())
    }

    /// Moves all records of `other` to the end of this batch. `other` is then empty, but may keep
    /// its memory.
    pub fn append(&mut self, other: &mut Batch) -> Result<(), RecordError> {
        let bytes = self.bytes.len() + other.bytes.len();
        if bytes > BATCH_BYTES_MAX {
            return Err(RecordError::BatchFull { bytes });
        }
        if self.is_empty() {
            std::mem::swap(self, other);
        } else {
            self.bytes.append(&mut other.bytes);
            self.checksums.append(&mut other.checksums);
        }
        Ok(())
    }

    /// Bytes of all frames, with their payloads.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Number of records in the batch.
    #[must_use]
    pub fn count(&self) -> usize {
        self.checksums.len() / 4
    }

    /// Whether the batch holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.checksums.is_empty()
    }

    /// Removes all records, but keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.checksums.clear();
    }

    /// The payloads of the batch, in the order in which they were added.
    pub fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        Frames(&self.bytes).map(|(_, payload)| payload)
    }

    /// The frames of all records, as a segment has them: one directly behind the other.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Makes a batch of frames that come from elsewhere, and verifies each of them. On success it
    /// takes the bytes out of `frames`, otherwise it leaves them there.
    ///
    /// # Errors
    /// A text, if the bytes are not whole frames with right checksums, or exceed
    /// [`BATCH_BYTES_MAX`].
    pub fn take_frames(frames: &mut Vec<u8>) -> Result<Self, String> {
        if frames.len() > BATCH_BYTES_MAX {
            return Err(format!("{} bytes, the limit is {BATCH_BYTES_MAX}", frames.len()));
        }
        let (mut checksums, mut rest) = (Vec::new(), frames.as_slice());
        while !rest.is_empty() {
            let (checksum, _, behind) = check_frame(rest)?;
            checksums.extend_from_slice(&checksum);
            rest = behind;
        }
        Ok(Self { bytes: std::mem::take(frames), checksums })
    }

    pub(crate) fn records_checksum(&self) -> u32 {
        crc32c::crc32c(&self.checksums)
    }
}

/// The length of a payload in the form of the disk, if payload and batch are within their limits.
fn check_lengths(payload: Option<usize>, batch: usize) -> Result<u32, RecordError> {
    assert!(payload.is_some(), "push_with must only append");
    let bytes = payload.unwrap_or_default();
    let too_large = RecordError::RecordTooLarge { bytes };
    if bytes > RECORD_BYTES_MAX {
        return Err(too_large);
    }
    if batch > BATCH_BYTES_MAX {
        return Err(RecordError::BatchFull { bytes: batch });
    }
    u32::try_from(bytes).map_err(|_| too_large)
}

/// Fills in length and checksum of a frame, whose payload is there already. Returns the checksum in
/// the form of the disk. Inlined, as each write of a shard pays for the call.
#[inline]
fn seal_frame(frame: &mut [u8], length: u32) -> [u8; 4] {
    let Some((checksum, covered)) = frame.split_first_chunk_mut::<4>() else {
        return [0; 4];
    };
    if let Some(field) = covered.first_chunk_mut::<4>() {
        *field = length.to_le_bytes();
    }
    *checksum = crc32c::crc32c(covered).to_le_bytes();
    *checksum
}

/// The head of a frame around `payload`, for a writer that does not copy the payload.
pub(crate) fn frame_head(payload: &[u8]) -> Result<[u8; FRAME_BYTES], RecordError> {
    let length = check_lengths(Some(payload.len()), FRAME_BYTES)?.to_le_bytes();
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&length), payload).to_le_bytes();
    let mut head = [0; FRAME_BYTES];
    let (left, right) = head.split_at_mut(4);
    left.copy_from_slice(&checksum);
    right.copy_from_slice(&length);
    Ok(head)
}

/// The length of the payload by the frame's head, compared only with the limit.
pub(crate) fn frame_length(head: &[u8]) -> Result<usize, String> {
    let mut fields = Fields(head);
    let length = fields.u32().and_then(|_| fields.u32());
    let length = length.ok_or("the frame is cut short")?;
    match usize::try_from(length) {
        Ok(length) if length <= RECORD_BYTES_MAX => Ok(length),
        _ => Err(format!("a length of {length} bytes is over the limit of {RECORD_BYTES_MAX}")),
    }
}

/// A verified frame: its checksum in the form of the disk, its payload, and the bytes behind the
/// frame.
pub(crate) type Checked<'a> = ([u8; 4], &'a [u8], &'a [u8]);

/// Takes the first frame from `bytes` and verifies it.
pub(crate) fn check_frame(bytes: &[u8]) -> Result<Checked<'_>, String> {
    let length = frame_length(bytes)?;
    let frame_bytes = FRAME_BYTES + length;
    let (frame, rest) = bytes
        .split_at_checked(frame_bytes)
        .ok_or_else(|| format!("{frame_bytes} bytes claimed, {} there", bytes.len()))?;
    let (checksum, covered) = frame.split_first_chunk::<4>().ok_or("cut short")?;
    if crc32c::crc32c(covered).to_le_bytes() != *checksum {
        return Err("the checksum does not match".to_owned());
    }
    let payload = covered.get(4..).unwrap_or_default();
    Ok((*checksum, payload, rest))
}

/// Iterates over frames that were verified before.
pub(crate) struct Frames<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Frames<'a> {
    /// The bytes that the whole frame takes, and its payload.
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = frame_length(self.0).ok()?;
        let (frame, rest) = self.0.split_at_checked(FRAME_BYTES + length)?;
        self.0 = rest;
        Some((u64_of(frame.len()), frame.get(FRAME_BYTES..)?))
    }
}
