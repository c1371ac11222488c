//! A place in a journal: all that a reader must know to continue from there.
//!
//! The base of a trim is a place. The engine keeps its bytes without knowing what they mean.
//!
//! ```text
//! 0            4          12     20      28       36      44         52         56         60
//! | c1 4a 42 01 | journal | seq | epoch | writer | index | next LSN | checksum | checksum |
//! ```
//! The first checksum is that of the header of the last accepted entry. The second is the CRC-32C
//! of bytes 0 to 55.
//!
//! # Invariants
//! - A place lies between two entries. A base never lies between two parts of one batch.
//! - The default place lies before genesis.

use bytes::Bytes;
use snapshot::Lsn;

const MAGIC: [u8; 4] = [0xc1, b'J', b'B', 1];
/// Bytes of an encoded place.
pub const PLACE_BYTES: usize = 60;

/// A place between two entries of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JournalPlace {
    /// Seq of the last accepted entry before the place.
    pub seq: u64,
    /// Epoch of the last accepted entry before the place.
    pub epoch: u64,
    /// Writer of the last accepted entry before the place.
    pub writer: u64,
    /// Index of the last accepted entry before the place.
    pub index: u64,
    /// The first LSN that the next entry must have.
    pub next_lsn: Lsn,
    /// Checksum of the header of the last accepted entry before the place.
    pub checksum: u32,
}

impl Default for JournalPlace {
    fn default() -> Self {
        Self { seq: 0, epoch: 0, writer: 0, index: 0, next_lsn: Lsn(1), checksum: 0 }
    }
}

impl JournalPlace {
    /// Encodes this place, which lies in the journal with id `journal`.
    #[must_use]
    pub fn encode(&self, journal: u64) -> Bytes {
        let mut bytes = Vec::with_capacity(PLACE_BYTES);
        bytes.extend_from_slice(&MAGIC);
        for number in [journal, self.seq, self.epoch, self.writer, self.index, self.next_lsn.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.checksum.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.into()
    }

    /// Decodes a place. `None` if the bytes are not a place of the journal with id `journal`.
    #[must_use]
    pub fn decode(bytes: &[u8], journal: u64) -> Option<Self> {
        let (covered, stored) = bytes.split_last_chunk::<4>()?;
        if bytes.len() != PLACE_BYTES || crc32c::crc32c(covered) != u32::from_le_bytes(*stored) {
            return None;
        }
        let mut rest = covered.strip_prefix(&MAGIC)?;
        let mut number = || {
            let (field, behind) = rest.split_first_chunk::<8>()?;
            rest = behind;
            Some(u64::from_le_bytes(*field))
        };
        if number()? != journal {
            return None;
        }
        let (seq, epoch, writer, index) = (number()?, number()?, number()?, number()?);
        let next_lsn = Lsn(number()?);
        let checksum = u32::from_le_bytes(*rest.first_chunk::<4>()?);
        Some(Self { seq, epoch, writer, index, next_lsn, checksum })
    }
}
