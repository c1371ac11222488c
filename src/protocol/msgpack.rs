//! Reads MessagePack values head by head, and walks over a whole value within bounds.
//!
//! Invariants:
//! - Only nil, booleans, integers, floats, strings and arrays are allowed. A map, bin or ext is an
//!   error at every place.
//! - The head of a string is returned only if all bytes of the string are there. The head of an
//!   array is returned before its elements are read, so its stated count may be wrong. [`check`]
//!   compares that count with the bytes that are left, as each element takes at least one byte.
//! - Nothing recurses.

use rmp::Marker;

use crate::limits::NESTING_MAX;

/// Why bytes are not MessagePack as this protocol allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("the frame ends within a value")]
    Truncated,
    #[error("{0} is never used in this protocol")]
    Foreign(&'static str),
    #[error("arrays are nested deeper than {NESTING_MAX}")]
    TooDeep,
    #[error("there are {0} bytes after the value")]
    Trailing(usize),
}

/// The head of a value. It is the whole value, except that the elements of an array follow it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    /// A negative integer. A positive number becomes [`Self::Unsigned`], whatever its encoding.
    Signed(i64),
    Float(f64),
    /// The bytes of the string, not yet checked to be UTF-8.
    Text(&'a [u8]),
    /// The stated number of elements that follow; [`check`] and [`ValueReader::left`] bound it.
    Array(usize),
}

/// Reads MessagePack heads from the front of a slice of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ValueReader<'a> {
    rest: &'a [u8],
}

impl<'a> ValueReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether the next value is nil, without reading it.
    pub(super) fn at_nil(&self) -> bool {
        self.rest.first() == Some(&Marker::Null.to_u8())
    }

    /// How many bytes are still unread.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The bytes that are still unread.
    #[cfg(test)]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Rejects bytes behind the last value.
    pub(super) fn end(&self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Trailing(self.rest.len())) }
    }

    /// Reads the head of the next value.
    pub(super) fn head(&mut self) -> Result<Head<'a>, Malformed> {
        let [marker] = self.take()?;
        Ok(match Marker::from_u8(marker) {
            Marker::FixPos(value) => Head::Unsigned(value.into()),
            Marker::U8 => Head::Unsigned(u8::from_be_bytes(self.take()?).into()),
            Marker::U16 => Head::Unsigned(u16::from_be_bytes(self.take()?).into()),
            Marker::U32 => Head::Unsigned(u32::from_be_bytes(self.take()?).into()),
            Marker::U64 => Head::Unsigned(u64::from_be_bytes(self.take()?)),
            Marker::FixNeg(value) => signed(value.into()),
            Marker::I8 => signed(i8::from_be_bytes(self.take()?).into()),
            Marker::I16 => signed(i16::from_be_bytes(self.take()?).into()),
            Marker::I32 => signed(i32::from_be_bytes(self.take()?).into()),
            Marker::I64 => signed(i64::from_be_bytes(self.take()?)),
            Marker::Null => Head::Nil,
            Marker::False => Head::Bool(false),
            Marker::True => Head::Bool(true),
            Marker::F32 => Head::Float(f32::from_be_bytes(self.take()?).into()),
            Marker::F64 => Head::Float(f64::from_be_bytes(self.take()?)),
            Marker::FixStr(bytes) => self.text(bytes.into())?,
            Marker::Str8 => {
                let bytes = u8::from_be_bytes(self.take()?);
                self.text(bytes.into())?
            }
            Marker::Str16 => {
                let bytes = u16::from_be_bytes(self.take()?);
                self.text(bytes.into())?
            }
            Marker::Str32 => {
                let bytes = u32::from_be_bytes(self.take()?);
                self.text(bytes)?
            }
            Marker::FixArray(elements) => Head::Array(elements.into()),
            Marker::Array16 => Head::Array(u16::from_be_bytes(self.take()?).into()),
            Marker::Array32 => {
                let elements = u32::from_be_bytes(self.take()?);
                Head::Array(usize::try_from(elements).map_err(|_| Malformed::Truncated)?)
            }
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
                return Err(Malformed::Foreign("a map"));
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                return Err(Malformed::Foreign("the bin type"));
            }
            Marker::Reserved => return Err(Malformed::Foreign("the byte c1")),
            _ => return Err(Malformed::Foreign("an ext type")),
        })
    }

    /// Reads an unsigned integer. Returns `None` if the next value is of another type.
    pub(super) fn unsigned(&mut self) -> Option<u64> {
        // The most frequent encodings come first, without a call.
        let (value, rest) = match self.rest {
            [value @ 0..=0x7f, rest @ ..] => (u64::from(*value), rest),
            [0xcd, a, b, rest @ ..] => (u16::from_be_bytes([*a, *b]).into(), rest),
            [0xce, a, b, c, d, rest @ ..] => (u32::from_be_bytes([*a, *b, *c, *d]).into(), rest),
            _ => match self.head() {
                Ok(Head::Unsigned(value)) => (value, self.rest),
                _ => return None,
            },
        };
        self.rest = rest;
        Some(value)
    }

    /// Reads the head of an array: the stated number of its elements. Returns `None` if the next
    /// value is of another type.
    pub(super) fn array(&mut self) -> Option<usize> {
        match self.rest {
            [marker @ 0x90..=0x9f, rest @ ..] => {
                self.rest = rest;
                Some(usize::from(marker & 0x0f))
            }
            _ => match self.head() {
                Ok(Head::Array(elements)) => Some(elements),
                _ => None,
            },
        }
    }

    /// Reads a boolean. Returns `None` if the next value is of another type.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        match self.head() {
            Ok(Head::Bool(value)) => Some(value),
            _ => None,
        }
    }

    /// Skips the next value if it is nil. Returns whether it was.
    pub(super) fn nil(&mut self) -> bool {
        let is_nil = self.at_nil();
        if is_nil {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        is_nil
    }

    /// Reads a text of up to 255 bytes, with its length in the marker or in one byte. Returns
    /// `None` for any other value or encoding.
    pub(super) fn short_text(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = match self.rest {
            [marker @ 0xa0..=0xbf, rest @ ..] => (marker & 0x1f, rest),
            [0xd9, length, rest @ ..] => (*length, rest),
            _ => return None,
        };
        let (text, rest) = rest.split_at_checked(length.into())?;
        self.rest = rest;
        Some(text)
    }

    /// Skips one value with everything inside it.
    pub(super) fn skip(&mut self) -> Result<(), Malformed> {
        let mut due: usize = 1;
        while due > 0 {
            due -= 1;
            if let Head::Array(elements) = self.head()? {
                due = due.saturating_add(elements);
            }
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn text(&mut self, bytes: u32) -> Result<Head<'a>, Malformed> {
        let bytes = usize::try_from(bytes).map_err(|_| Malformed::Truncated)?;
        let (text, rest) = self.rest.split_at_checked(bytes).ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(Head::Text(text))
    }
}

fn signed(value: i64) -> Head<'static> {
    u64::try_from(value).map_or(Head::Signed(value), Head::Unsigned)
}

/// Checks that `bytes` hold exactly one value, nested at most [`NESTING_MAX`] deep.
pub(super) fn check(bytes: &[u8]) -> Result<(), Malformed> {
    let mut reader = ValueReader::new(bytes);
    // For each open array, how many elements are still to come; the outermost array is first.
    let mut due = [0_usize; NESTING_MAX];
    let mut depth: usize = 0;
    loop {
        if let Head::Array(elements) = reader.head()? {
            if elements > reader.left() {
                return Err(Malformed::Truncated);
            }
            *due.get_mut(depth).ok_or(Malformed::TooDeep)? = elements;
            depth += 1;
        }
        // This value may be the last one of its array, and that array the last one of another.
        loop {
            let Some(open) = depth.checked_sub(1).and_then(|inner| due.get_mut(inner)) else {
                return reader.end();
            };
            if let Some(left) = open.checked_sub(1) {
                *open = left;
                break;
            }
            depth -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_and_nothing_after_it() {
        assert_eq!(check(&[0x93, 0x01, 0x90, 0xc0]), Ok(()));
        assert_eq!(check(&[0x05]), Ok(()));
        assert_eq!(check(&[]), Err(Malformed::Truncated));
        assert_eq!(check(&[0x92, 0x01]), Err(Malformed::Truncated));
        assert_eq!(check(&[0x91, 0x01, 0x01]), Err(Malformed::Trailing(1)));
    }

    #[test]
    fn lengths_beyond_the_bytes_are_refused() {
        assert_eq!(check(&[0xdd, 0xff, 0xff, 0xff, 0xff, 0x01]), Err(Malformed::Truncated));
        assert_eq!(check(&[0xdb, 0xff, 0xff, 0xff, 0xff, 0x01]), Err(Malformed::Truncated));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| {
            let mut bytes = vec![0x91; depth];
            bytes.push(0xc0);
            check(&bytes)
        };
        assert_eq!(nested(NESTING_MAX), Ok(()));
        assert_eq!(nested(NESTING_MAX + 1), Err(Malformed::TooDeep));
        assert_eq!(nested(100_000), Err(Malformed::TooDeep));
        // Depth counts the arrays that are open at the same time, not all arrays.
        assert_eq!(check(&[0x92, 0x91, 0x91, 0x90, 0x91, 0x91, 0x90]), Ok(()));
    }

    #[test]
    fn foreign_types_are_refused_wherever_they_stand() {
        for foreign in [0x80, 0xde, 0xdf, 0xc4, 0xc5, 0xc6, 0xc7, 0xd4, 0xd8, 0xc1] {
            assert!(matches!(check(&[0x91, foreign, 0, 0, 0]), Err(Malformed::Foreign(_))));
        }
    }

    #[test]
    fn integers_are_read_in_every_width() {
        for bytes in [
            &[0x05][..],
            &[0xcc, 5],
            &[0xcd, 0, 5],
            &[0xce, 0, 0, 0, 5],
            &[0xcf, 0, 0, 0, 0, 0, 0, 0, 5],
            &[0xd0, 5],
            &[0xd1, 0, 5],
            &[0xd2, 0, 0, 0, 5],
            &[0xd3, 0, 0, 0, 0, 0, 0, 0, 5],
        ] {
            assert_eq!(ValueReader::new(bytes).head(), Ok(Head::Unsigned(5)));
        }
        assert_eq!(ValueReader::new(&[0xff]).head(), Ok(Head::Signed(-1)));
        assert_eq!(ValueReader::new(&[0xd0, 0x80]).head(), Ok(Head::Signed(-128)));
    }

    #[test]
    fn skipping_passes_over_what_is_inside() {
        let mut reader = ValueReader::new(&[0x92, 0x91, 0x01, 0xa1, b'x', 0x07]);
        reader.skip().unwrap();
        assert_eq!(reader.head(), Ok(Head::Unsigned(7)));
        assert_eq!(reader.end(), Ok(()));
    }
}
