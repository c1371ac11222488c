//! The base of a trim: the place behind the last trimmed entry, and the active that trimmed. The
//! engine keeps its bytes without knowing what they mean.
//!
//! ```text
//! 0             4         12    20      28       36      44         52         56
//! | c1 4a 42 01 | journal | seq | epoch | writer | index | next LSN | checksum | active | checksum |
//! ```
//! The first checksum is that of the header of the last accepted entry. The second is the CRC-32C
//! of all bytes before it. The active is the array `[epoch, member, tcp address, admin address,
//! format]`, and the format is that of the place; without it, it is 1.
//!
//! # Invariants
//! - A base never lies between two parts of one batch.
//! - The claim of the active may be trimmed, so the base names the active of the trim. Claims behind
//!   the base are read later, and the newest of all counts.

use bytes::Bytes;
use snapshot::Lsn;

use super::array::{ArrayReader, ArrayWriter};
use super::entry::EntryError;
use super::names::{ActiveMember, MemberNames};
use super::place::JournalPlace;

const MAGIC: [u8; 4] = [0xc1, b'J', b'B', 1];

/// Where a reader without a place begins, and who was the active when the base was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JournalBase {
    /// The place behind the last trimmed entry.
    pub place: JournalPlace,
    /// The active that trimmed. Its epoch may be above that of the place.
    pub active: ActiveMember,
}

impl JournalBase {
    /// Encodes this base of the journal with id `journal`.
    ///
    /// # Errors
    /// [`EntryError::Unwritable`] if a name of the active is too long.
    pub fn encode(&self, journal: u64) -> Result<Bytes, EntryError> {
        let JournalPlace { seq, epoch, writer, index, next_lsn, checksum, format } = self.place;
        let mut bytes = MAGIC.to_vec();
        for number in [journal, seq, epoch, writer, index, next_lsn.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&checksum.to_le_bytes());
        let ActiveMember { epoch, names: MemberNames { member, tcp, admin } } = &self.active;
        let mut array = ArrayWriter(bytes);
        array.head(5)?;
        array.number(*epoch)?;
        for text in [member, tcp, admin] {
            array.text(text)?;
        }
        array.number(format.into())?;
        let mut bytes = array.0;
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        Ok(bytes.into())
    }

    /// Decodes a base. `None` if the bytes are not a base of the journal with id `journal`.
    #[must_use]
    pub fn decode(bytes: &[u8], journal: u64) -> Option<Self> {
        let (covered, stored) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(covered) != u32::from_le_bytes(*stored) {
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
        let (checksum, rest) = rest.split_first_chunk::<4>()?;
        let checksum = u32::from_le_bytes(*checksum);
        let mut array = ArrayReader::new(rest, 4)?;
        let (active_epoch, member) = (array.number()?, array.text()?);
        let names = MemberNames { member, tcp: array.text()?, admin: array.text()? };
        let format = if array.elements > 4 { array.number()? } else { 1 };
        let place = JournalPlace { seq, epoch, writer, index, next_lsn, checksum, format };
        Some(Self { place, active: ActiveMember { epoch: active_epoch, names } })
    }
}
