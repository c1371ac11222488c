//! MessagePack arrays in entries and in the base of a trim.
//!
//! # Invariants
//! - An array may grow at its end: a reader ignores elements that it does not know.
//! - Foreign bytes cause no panic, and a text over [`JOURNAL_TEXT_BYTES_MAX`] is neither written nor
//!   read.

use rmp::{decode, encode};

use super::entry::EntryError;
use crate::limits::JOURNAL_TEXT_BYTES_MAX;

/// Writes the elements of an array, behind what is there.
pub(super) struct ArrayWriter(pub(super) Vec<u8>);

impl ArrayWriter {
    pub(super) fn head(&mut self, elements: u32) -> Result<(), EntryError> {
        encode::write_array_len(&mut self.0, elements).map(drop).map_err(unwritable)
    }

    pub(super) fn number(&mut self, number: u64) -> Result<(), EntryError> {
        encode::write_uint(&mut self.0, number).map(drop).map_err(unwritable)
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), EntryError> {
        if text.len() > JOURNAL_TEXT_BYTES_MAX {
            return Err(EntryError::Unwritable("a text is too long"));
        }
        encode::write_str(&mut self.0, text).map_err(unwritable)
    }
}

fn unwritable<E>(_: E) -> EntryError {
    EntryError::Unwritable("no room for its body")
}

/// Reads the elements of an array from the front. Unknown elements at its end stay unread.
pub(super) struct ArrayReader<'a> {
    rest: &'a [u8],
    pub(super) elements: u32,
}

impl<'a> ArrayReader<'a> {
    /// `None` unless an array with at least `known` elements begins here.
    pub(super) fn new(mut body: &'a [u8], known: u32) -> Option<Self> {
        let elements = decode::read_array_len(&mut body).ok()?;
        (elements >= known).then_some(Self { rest: body, elements })
    }

    pub(super) fn number<N: TryFrom<u64>>(&mut self) -> Option<N> {
        let number: u64 = decode::read_int(&mut self.rest).ok()?;
        N::try_from(number).ok()
    }

    pub(super) fn text(&mut self) -> Option<String> {
        let (text, rest) = decode::read_str_from_slice(self.rest).ok()?;
        self.rest = rest;
        (text.len() <= JOURNAL_TEXT_BYTES_MAX).then(|| text.to_owned())
    }
}
