//! A place in a journal: all that a reader must know to continue there.
//!
//! The base of a trim is such a place, which the engine keeps as opaque bytes.
//!
//! ```text
//! 0            4          12     20      28       36      44         52         56         60
//! | c1 4a 42 01 | journal | seq | epoch | writer | index | next LSN | checksum | checksum |
//! ```
//! The first checksum is that of the last accepted entry. The second is CRC-32C of bytes 0 to 55.
//!
//! # Invariants
//! - A place is between two entries, and never between two parts of a batch if it is a base.
//! - The default place is before genesis.

use bytes::Bytes;
use snapshot::Lsn;

const MAGIC: [u8; 4] = [0xc1, b'J', b'B', 1];
/// Bytes of a place as the engine keeps it.
pub const PLACE_BYTES: usize = 60;

/// Between two entries of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JournalPlace {
    /// Seq of the last accepted entry.
    pub seq: u64,
    /// The current epoch.
    pub epoch: u64,
    /// The current writer.
    pub writer: u64,
    /// Index of the last accepted entry.
    pub index: u64,
    /// The first LSN of the next entry.
    pub next_lsn: Lsn,
    /// Checksum of the header of the last accepted entry.
    pub checksum: u32,
}

impl Default for JournalPlace {
    fn default() -> Self {
        Self { seq: 0, epoch: 0, writer: 0, index: 0, next_lsn: Lsn(1), checksum: 0 }
    }
}

impl JournalPlace {
    /// The bytes of this place in the journal of that id.
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

    /// The place that these bytes are; `None` if they are no place in the journal of that id.
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
