//! Readers of bytes that may have any content: little-endian fields, and a window that slides over
//! a file.
//!
//! # Invariants
//! - A length is compared with what is left of the file before memory is allocated for it.
//! - However long a file is, its window holds one view, or one chunk, at a time.
//! - A window uses the length that the file had when it was opened, whether the file grows or
//!   shrinks. A read behind the real end fails. Only `refresh` reads the length again.

use std::io;

use crate::disk::DiskFile;

/// Bytes that a window reads at once: enough for the disk, and few enough for the second-level
/// cache.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a window's first read, because often only a header is wanted. Each later read is twice
/// as long, up to [`CHUNK_BYTES`].
const CHUNK_BYTES_FIRST: usize = 4 << 10;

pub(crate) fn u64_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Converts a length for a comparison with a limit. A length that does not fit becomes one that no
/// file has.
pub(crate) fn usize_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Takes little-endian fields from the front of a slice, one after the other.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}

/// Verifies that the last four bytes are the checksum of the bytes before. Returns that checksum.
/// The error is the checksum that is stored instead.
pub(crate) fn trailing_checksum(bytes: &[u8], seed: u32) -> Result<u32, u32> {
    let Some((body, stored)) = bytes.split_last_chunk::<4>() else {
        return Err(0);
    };
    let stored = u32::from_le_bytes(*stored);
    if crc32c::crc32c_append(seed, body) == stored { Ok(stored) } else { Err(stored) }
}

/// A view of a file with a known length, through a buffer that slides over the file.
pub(crate) struct Window<F> {
    file: F,
    len: u64,
    buffer: Vec<u8>,
    start: u64,
    filled: usize,
    chunk_bytes: usize,
}

impl<F: DiskFile> Window<F> {
    pub(crate) fn new(file: F) -> io::Result<Self> {
        let len = file.len()?;
        let chunk_bytes = CHUNK_BYTES_FIRST;
        Ok(Self { file, len, buffer: Vec::new(), start: 0, filled: 0, chunk_bytes })
    }

    /// Reads the length of the file again, and drops all buffered bytes.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        self.forget();
        self.len = self.file.len()?;
        Ok(())
    }

    /// Frees the window's buffer. The next view reads the file again.
    pub(crate) fn forget(&mut self) {
        self.buffer = Vec::new();
        self.filled = 0;
        self.chunk_bytes = CHUNK_BYTES_FIRST;
    }

    /// The file itself.
    pub(crate) fn into_file(self) -> F {
        self.file
    }

    /// Length of the file in bytes, as it was opened or refreshed.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes from `offset` to the end of the file.
    pub(crate) fn left(&self, offset: u64) -> u64 {
        self.len.saturating_sub(offset)
    }

    /// The `bytes` bytes at `offset`. `None` if the file ends before their end.
    pub(crate) fn view(&mut self, offset: u64, bytes: usize) -> io::Result<Option<&[u8]>> {
        if u64_of(bytes) > self.left(offset) {
            return Ok(None);
        }
        let inside = self
            .position(offset)
            .is_some_and(|at| at.checked_add(bytes).is_some_and(|end| end <= self.filled));
        if !inside {
            self.slide(offset, bytes)?;
        }
        let at = self.position(offset).unwrap_or(0);
        Ok(self.buffer.get(at..at.saturating_add(bytes)))
    }

    /// Index of a file `offset` in the window's buffer; `None` if the buffer does not have that
    /// byte.
    fn position(&self, offset: u64) -> Option<usize> {
        let at = usize_of(offset.checked_sub(self.start)?);
        (at <= self.filled).then_some(at)
    }

    fn slide(&mut self, offset: u64, bytes: usize) -> io::Result<()> {
        let want = usize_of(u64_of(bytes.max(self.chunk_bytes)).min(self.left(offset)));
        self.chunk_bytes = self.chunk_bytes.saturating_mul(2).min(CHUNK_BYTES);
        match self.position(offset) {
            Some(at) => {
                self.buffer.copy_within(at..self.filled, 0);
                self.filled -= at;
            }
            None => self.filled = 0,
        }
        self.start = offset;
        if self.buffer.len() < want {
            self.buffer.resize(want, 0);
        }
        while self.filled < want {
            let at = self.start.saturating_add(u64_of(self.filled));
            let Some(room) = self.buffer.get_mut(self.filled..want) else {
                break;
            };
            match self.file.read_at(room, at)? {
                // The file is shorter than it was, because the writer cut off a failed write. What
                // is buffered may still be enough.
                0 if self.filled >= bytes => break,
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.filled = self.filled.saturating_add(read).min(want),
            }
        }
        Ok(())
    }
}
