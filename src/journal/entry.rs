//! One entry of a journal as bytes: a header of 80 bytes and a body.
//!
//! `docs/internals/journal.md` draws every byte. Checksums are CRC-32C, as in the `snapshot` crate.
//!
//! # Invariants
//! - [`JournalEntry::decode`] reads what [`EntryHeader::seal`] wrote. It finds any changed bit of
//!   an entry, because the checksums cover header and body.
//! - Foreign bytes cause no panic, and decoding allocates no more than the texts in them.
//! - An entry of a newer program is an error of its own, [`EntryError::Newer`], and no damage. So
//!   every version keeps the first three bytes, the version, and the checksum of the first 76
//!   bytes.
//! - The body of a control entry is an array. Newer programs may add elements at its end, and a
//!   reader ignores elements that it does not know.

use bytes::Bytes;
use snapshot::Lsn;

use super::array::{ArrayReader, ArrayWriter};
use super::names::{ActiveMember, MemberNames};
use crate::limits::JOURNAL_ENTRY_BYTES_MAX;

/// Bytes of the header of an entry.
pub const ENTRY_HEADER_BYTES: usize = 80;
/// Largest body of an entry, in bytes.
pub const ENTRY_BODY_BYTES_MAX: usize = JOURNAL_ENTRY_BYTES_MAX - ENTRY_HEADER_BYTES;

/// The first bytes of an entry, before the format version. No MessagePack begins with `c1`, so an
/// entry is never mistaken for MessagePack.
const MAGIC: [u8; 3] = [0xc1, b'J', b'E'];
const VERSION: u8 = 1;
/// Bytes that the shortest record takes in a body: a frame around an empty payload.
const FRAME_BYTES_MIN: u64 = 8;

/// What an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A batch of records, or a part of one.
    Records,
    /// The writer of the entry becomes the active, under a new epoch.
    Claim,
    /// The active is alive, and had nothing else to append.
    Beat,
    /// The active ends its stint on purpose.
    Release,
    /// Later events and entries may have the format that this entry names.
    Format,
    /// The journal ends here. Each partition continues in a journal of its own.
    Split,
    /// The first entry of each journal.
    Genesis,
}

impl EntryKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Records,
        Self::Claim,
        Self::Beat,
        Self::Release,
        Self::Format,
        Self::Split,
        Self::Genesis,
    ];

    /// The code of the kind: a byte in the header.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Records => 1,
            Self::Claim => 2,
            Self::Beat => 3,
            Self::Release => 4,
            Self::Format => 5,
            Self::Split => 6,
            Self::Genesis => 7,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Why bytes cannot be decoded as an entry, or why an entry cannot be sealed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes are not what a writer sealed.
    #[error("{0}")]
    Damaged(String),
    /// A newer program wrote the entry, and its checksums match.
    #[error("a newer program wrote it: {0}")]
    Newer(String),
    /// A header or body that is to be sealed is over a limit or contradicts itself.
    #[error("it cannot be written: {0}")]
    Unwritable(&'static str),
}

fn damaged<T>(what: &str) -> Result<T, EntryError> {
    Err(EntryError::Damaged(what.to_owned()))
}

/// What the header of an entry says, without checksums and body length: `seal` computes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryHeader {
    /// What the entry is for.
    pub kind: EntryKind,
    /// Which part of its batch the entry is, from 0.
    pub part: u16,
    /// How many parts the batch has. 1 for control entries.
    pub parts: u16,
    /// Id of the journal.
    pub journal: u64,
    /// Number of the claim under which the entry was written. 0 before the first claim.
    pub epoch: u64,
    /// Random id of the writer's stint.
    pub writer: u64,
    /// The entry's place among the accepted entries. Genesis has 1.
    pub index: u64,
    /// LSN of the first record of the batch. A control entry has the LSN of the next record to
    /// come.
    pub first: Lsn,
    /// How many records the whole batch has. 0 for control entries.
    pub records: u32,
    /// The time of the active when it made the entry, in ms since 1970.
    pub time_ms: u64,
    /// Checksum of the header of the accepted entry before this one. 0 for genesis.
    pub previous: u32,
}

/// An entry that is ready for the engine. A retry sends the same bytes again.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SealedEntry {
    /// The header that was sealed.
    pub header: EntryHeader,
    /// The bytes of header and body.
    pub bytes: Bytes,
    /// The checksum of the header. The next entry has it as `previous`.
    pub checksum: u32,
}

impl SealedEntry {
    /// The bytes behind the header.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.bytes.get(ENTRY_HEADER_BYTES..).unwrap_or_default()
    }
}

impl EntryHeader {
    /// Makes the bytes of an entry from this header and `body`.
    ///
    /// # Errors
    /// [`EntryError::Unwritable`] if the body is over [`ENTRY_BODY_BYTES_MAX`], or if `decode`
    /// would refuse the header.
    pub fn seal(&self, body: &[u8]) -> Result<SealedEntry, EntryError> {
        let length = u32::try_from(body.len())
            .ok()
            .filter(|_| body.len() <= ENTRY_BODY_BYTES_MAX)
            .ok_or(EntryError::Unwritable("the body is over the limit"))?;
        self.check(body.len()).map_err(EntryError::Unwritable)?;
        let mut bytes = Vec::with_capacity(ENTRY_HEADER_BYTES + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[VERSION, self.kind.code(), 0]);
        bytes.extend_from_slice(&self.part.to_le_bytes());
        bytes.extend_from_slice(&self.parts.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&length.to_le_bytes());
        for number in [self.journal, self.epoch, self.writer, self.index, self.first.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.records.to_le_bytes());
        bytes.extend_from_slice(&self.time_ms.to_le_bytes());
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.extend_from_slice(body);
        Ok(SealedEntry { header: *self, bytes: bytes.into(), checksum })
    }

    /// Checks that the header fits itself and a body of `body_bytes`. An error says what does not
    /// fit.
    fn check(&self, body_bytes: usize) -> Result<(), &'static str> {
        let frames = u64::from(self.records) * FRAME_BYTES_MIN;
        let has_room = self.parts > 1 || u64::try_from(body_bytes).is_ok_and(|own| frames <= own);
        let last = self.first.0.checked_add(self.records.into());
        match self.kind {
            _ if self.part >= self.parts => Err("the part is not one of the parts"),
            _ if self.index == 0 || self.first == Lsn(0) => Err("it has no place"),
            _ if last.is_none_or(|last| last > Lsn::NAMED_MAX.0) => Err("its LSN is impossible"),
            EntryKind::Records if self.records == 0 || body_bytes == 0 => Err("it has no records"),
            EntryKind::Records if !has_room => Err("its records have no room"),
            EntryKind::Records => Ok(()),
            _ if self.parts != 1 || self.records != 0 => Err("a control entry with records"),
            EntryKind::Genesis if (self.index, self.epoch, self.previous) != (1, 0, 0) => {
                Err("a genesis that is not the first entry")
            }
            EntryKind::Claim if self.epoch == 0 => Err("a claim without an epoch"),
            EntryKind::Beat if body_bytes != 0 => Err("a beat with a body"),
            _ => Ok(()),
        }
    }
}

/// An entry as it came from an engine. Both checksums match, and the body is not decoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalEntry<'a> {
    /// What the header of the entry says.
    pub header: EntryHeader,
    /// The bytes of the header.
    pub head: &'a [u8; ENTRY_HEADER_BYTES],
    /// The frames of records, or the array of a control entry.
    pub body: &'a [u8],
    /// The checksum of the header. The next accepted entry must have it as `previous`.
    pub checksum: u32,
}

impl JournalEntry<'_> {
    /// Length in bytes of the entry that begins with this header, whose checksum is verified.
    ///
    /// # Errors
    /// Those of [`JournalEntry::decode`] that the header shows.
    pub fn whole_bytes(head: &[u8; ENTRY_HEADER_BYTES]) -> Result<usize, EntryError> {
        let (_, length) = Self::header(head)?;
        Ok(ENTRY_HEADER_BYTES + length)
    }

    /// A header whose checksum is verified, and the length of the body in bytes.
    ///
    /// # Errors
    /// Those of [`JournalEntry::decode`] that the header shows.
    pub fn header(head: &[u8; ENTRY_HEADER_BYTES]) -> Result<(EntryHeader, usize), EntryError> {
        let (header, length, ..) = decode_header(head)?;
        Ok((header, length))
    }
}

impl<'a> JournalEntry<'a> {
    /// Decodes the header of one entry and verifies both checksums. `bytes` is the whole entry.
    ///
    /// # Errors
    /// [`EntryError::Damaged`] if a checksum, a length or a field is wrong. [`EntryError::Newer`]
    /// if a newer program wrote the entry.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let Some((head, body)) = bytes.split_first_chunk::<ENTRY_HEADER_BYTES>() else {
            return damaged("it is shorter than a header");
        };
        let (header, length, body_checksum, checksum) = decode_header(head)?;
        if length != body.len() {
            return damaged("its length is not the one in its header");
        }
        if crc32c::crc32c(body) != body_checksum {
            return damaged("the checksum of its body does not match");
        }
        match header.check(body.len()) {
            Ok(()) => Ok(Self { header, head, body, checksum }),
            Err(what) => damaged(what),
        }
    }
}

/// Verifies and decodes a header. Returns with it the length of the body, the checksum of the body,
/// and that of the header.
fn decode_header(
    head: &[u8; ENTRY_HEADER_BYTES],
) -> Result<(EntryHeader, usize, u32, u32), EntryError> {
    let (Some(version), Some((covered, stored))) = (version_of(head), head.split_last_chunk())
    else {
        return damaged("no entry begins here");
    };
    let checksum = u32::from_le_bytes(*stored);
    if crc32c::crc32c(covered) != checksum {
        return damaged("the checksum of its header does not match");
    }
    if version != VERSION {
        return Err(EntryError::Newer(format!("format {version}")));
    }
    let Some((header, length, body_checksum)) = Fields(covered).header()? else {
        return damaged("it is shorter than a header");
    };
    match usize::try_from(length) {
        Ok(length) if length <= ENTRY_BODY_BYTES_MAX => {
            Ok((header, length, body_checksum, checksum))
        }
        _ => damaged("its length is over the limit"),
    }
}

/// The format version of an entry. `None` if the bytes do not begin an entry.
fn version_of(head: &[u8; ENTRY_HEADER_BYTES]) -> Option<u8> {
    match head {
        [a, b, c, version, ..] if [*a, *b, *c] == MAGIC => Some(*version),
        _ => None,
    }
}

/// What is left of a header. Each method takes one little-endian field off its front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes the header, the length of the body and the checksum of the body. `None` if bytes are
    /// missing.
    fn header(&mut self) -> Result<Option<(EntryHeader, u32, u32)>, EntryError> {
        let Some([_, _, _, _, code, reserved]) = self.array() else { return Ok(None) };
        let kind = EntryKind::from_code(code)
            .filter(|_| reserved == 0)
            .ok_or_else(|| EntryError::Newer(format!("an entry of kind {code}")))?;
        let (Some(part), Some(parts), Some(more)) = (self.u16(), self.u16(), self.u16()) else {
            return Ok(None);
        };
        if more != 0 {
            return Err(EntryError::Newer(format!("a field {more}")));
        }
        Ok(self.numbers(kind, part, parts))
    }

    fn numbers(
        &mut self,
        kind: EntryKind,
        part: u16,
        parts: u16,
    ) -> Option<(EntryHeader, u32, u32)> {
        let length = self.u32()?;
        let header = EntryHeader {
            kind,
            part,
            parts,
            journal: self.u64()?,
            epoch: self.u64()?,
            writer: self.u64()?,
            index: self.u64()?,
            first: Lsn(self.u64()?),
            records: self.u32()?,
            time_ms: self.u64()?,
            previous: self.u32()?,
        };
        Some((header, length, self.u32()?))
    }
}

/// The body of genesis: what all members of a journal must agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Format of the events and entries that may follow genesis.
    pub format: u32,
    /// Seed of the hash that gives a key its slot.
    pub hash_seed: u64,
    /// Number of slots.
    pub slots: u16,
    /// Incarnation that the log begins with.
    pub incarnation: u64,
    /// How many partitions the journal has: 1 until a split.
    pub partitions: u16,
}

/// The body of a claim: which member is the active now, and where clients find it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimFacts {
    /// Name of the member that claims.
    pub member: String,
    /// Address of the member's TCP door.
    pub tcp: String,
    /// Address of the member's admin listener.
    pub admin: String,
    /// Version of the member's program.
    pub program: String,
    /// The journal's format, which the member keeps until it raises it.
    pub format: u32,
    /// Why the member claims, in words for the operator.
    pub why: String,
}

impl ClaimFacts {
    /// The active that a claim of this epoch makes.
    #[must_use]
    pub fn active(self, epoch: u64) -> ActiveMember {
        let Self { member, tcp, admin, .. } = self;
        ActiveMember { epoch, names: MemberNames { member, tcp, admin } }
    }
}

/// The body of a control entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlBody {
    /// What all members of the journal agree on.
    Genesis(Genesis),
    /// Who the new active is.
    Claim(ClaimFacts),
    /// A beat has no body.
    Beat,
    /// The member that is meant to become the next active, if the active names one.
    Release(Option<String>),
    /// Newest format that later events and entries may have.
    Format(u32),
    /// Number of partitions that the journal is split into.
    Split(u16),
}

impl ControlBody {
    /// The kind of entry that has this body.
    #[must_use]
    pub const fn kind(&self) -> EntryKind {
        match self {
            Self::Genesis(_) => EntryKind::Genesis,
            Self::Claim(_) => EntryKind::Claim,
            Self::Beat => EntryKind::Beat,
            Self::Release(_) => EntryKind::Release,
            Self::Format(_) => EntryKind::Format,
            Self::Split(_) => EntryKind::Split,
        }
    }

    /// The format that the journal has at least, from this entry on.
    #[must_use]
    pub const fn format(&self) -> Option<u32> {
        match self {
            Self::Genesis(Genesis { format, .. })
            | Self::Claim(ClaimFacts { format, .. })
            | Self::Format(format) => Some(*format),
            Self::Beat | Self::Release(_) | Self::Split(_) => None,
        }
    }

    /// Encodes the body.
    ///
    /// # Errors
    /// [`EntryError::Unwritable`] if a text is over
    /// [`JOURNAL_TEXT_BYTES_MAX`](crate::limits::JOURNAL_TEXT_BYTES_MAX).
    pub fn encode(&self) -> Result<Vec<u8>, EntryError> {
        let mut array = ArrayWriter(Vec::new());
        match self {
            Self::Genesis(genesis) => {
                array.head(5)?;
                array.number(genesis.format.into())?;
                array.number(genesis.hash_seed)?;
                array.number(genesis.slots.into())?;
                array.number(genesis.incarnation)?;
                array.number(genesis.partitions.into())?;
            }
            Self::Claim(claim) => {
                array.head(6)?;
                for text in [&claim.member, &claim.tcp, &claim.admin, &claim.program] {
                    array.text(text)?;
                }
                array.number(claim.format.into())?;
                array.text(&claim.why)?;
            }
            Self::Beat => {}
            Self::Release(None) => array.head(0)?,
            Self::Release(Some(to)) => {
                array.head(1)?;
                array.text(to)?;
            }
            Self::Format(format) => {
                array.head(1)?;
                array.number((*format).into())?;
            }
            Self::Split(partitions) => {
                array.head(1)?;
                array.number((*partitions).into())?;
            }
        }
        Ok(array.0)
    }

    /// Decodes the body of a control entry. Returns `None` for an entry of records.
    ///
    /// # Errors
    /// [`EntryError::Damaged`] if the body does not have the elements of its kind.
    pub fn decode(kind: EntryKind, body: &[u8]) -> Result<Option<Self>, EntryError> {
        let read = match kind {
            EntryKind::Records => return Ok(None),
            EntryKind::Beat => Some(Self::Beat),
            EntryKind::Genesis => ArrayReader::new(body, 5).and_then(ArrayReader::genesis),
            EntryKind::Claim => ArrayReader::new(body, 6).and_then(ArrayReader::claim),
            EntryKind::Release => ArrayReader::new(body, 0).and_then(ArrayReader::release),
            EntryKind::Format => {
                ArrayReader::new(body, 1).and_then(|mut array| array.number()).map(Self::Format)
            }
            EntryKind::Split => {
                ArrayReader::new(body, 1).and_then(|mut array| array.number()).map(Self::Split)
            }
        };
        match read {
            Some(body) => Ok(Some(body)),
            None => damaged("its body is not one of its kind"),
        }
    }
}

impl ArrayReader<'_> {
    fn genesis(mut self) -> Option<ControlBody> {
        Some(ControlBody::Genesis(Genesis {
            format: self.number()?,
            hash_seed: self.number()?,
            slots: self.number()?,
            incarnation: self.number()?,
            partitions: self.number()?,
        }))
    }

    fn claim(mut self) -> Option<ControlBody> {
        Some(ControlBody::Claim(ClaimFacts {
            member: self.text()?,
            tcp: self.text()?,
            admin: self.text()?,
            program: self.text()?,
            format: self.number()?,
            why: self.text()?,
        }))
    }

    fn release(mut self) -> Option<ControlBody> {
        match self.elements {
            0 => Some(ControlBody::Release(None)),
            _ => self.text().map(|to| ControlBody::Release(Some(to))),
        }
    }
}
