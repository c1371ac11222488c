//! The frame: a 4-byte big-endian length, then a payload of that many bytes.
//!
//! ```text
//! +----+----+----+----+------------------+
//! | length, big-endian| payload          |
//! +----+----+----+----+------------------+
//! 0                   4                  4 + length
//! ```
//!
//! Invariants:
//! - A length of zero or over the limit is an error as soon as the header is complete. The start of
//!   the next frame is then unknown, so the connection ends.
//! - An error or an incomplete frame leaves the buffer as it was.

use bytes::{Buf, Bytes, BytesMut};

use crate::command::Error;

/// Bytes of a frame's header, which is the length of its payload.
pub const HEADER_BYTES: usize = 4;

/// Why no further frame can be found in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The header states more bytes than this side accepts.
    #[error("a frame of {bytes} bytes is over the limit of {bytes_max}")]
    TooLarge {
        /// The length in the header.
        bytes: usize,
        /// The largest length that this side accepts.
        bytes_max: usize,
    },
    /// The header states a payload of zero bytes.
    #[error("a frame must not be empty")]
    Empty,
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLarge { .. } => Self::too_large(error.to_string()),
            FrameError::Empty => Self::invalid(error.to_string()),
        }
    }
}

/// The payload of the first frame in `buffer`, without copying; `None` while it is incomplete.
///
/// The caller advances past [`HEADER_BYTES`] and the payload when it has handled them.
pub fn first(buffer: &[u8], bytes_max: usize) -> Result<Option<&[u8]>, FrameError> {
    let Some((header, rest)) = buffer.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    // Where usize has 16 bits, a length that does not fit is over any limit, like `usize::MAX`.
    let bytes = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
    if bytes == 0 {
        return Err(FrameError::Empty);
    }
    if bytes > bytes_max {
        return Err(FrameError::TooLarge { bytes, bytes_max });
    }
    Ok(rest.get(..bytes))
}

/// Splits the payload of the first frame off `buffer`; `None` while it is incomplete.
pub fn next(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(bytes) = first(buffer, bytes_max)?.map(<[u8]>::len) else {
        return Ok(None);
    };
    buffer.advance(HEADER_BYTES);
    Ok(Some(buffer.split_to(bytes).freeze()))
}

/// The header of a frame with `bytes` bytes of payload.
///
/// # Errors
/// If `bytes` is over `bytes_max`.
pub fn header(bytes: usize, bytes_max: usize) -> Result<[u8; HEADER_BYTES], FrameError> {
    match u32::try_from(bytes) {
        Ok(length) if bytes <= bytes_max => Ok(length.to_be_bytes()),
        _ => Err(FrameError::TooLarge { bytes, bytes_max }),
    }
}

/// A frame that is being written at the end of a buffer. [`Self::finish`] fills in its length.
#[derive(Debug)]
#[must_use = "a frame has no length until it is finished"]
pub struct OpenFrame {
    start: usize,
}

impl OpenFrame {
    /// Begins a frame: appends room for its length to `out`. The caller then appends the payload.
    pub fn begin(out: &mut BytesMut) -> Self {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        Self { start }
    }

    /// Continues a frame that begins at `start` of the output, where room for its length was left.
    pub(super) fn at(start: usize) -> Self {
        Self { start }
    }

    /// Ends the frame by filling in its length. If the payload is over `bytes_max`, removes the
    /// frame from `out`.
    pub fn finish(self, out: &mut BytesMut, bytes_max: usize) -> Result<(), FrameError> {
        let bytes = out.len().saturating_sub(self.start.saturating_add(HEADER_BYTES));
        let place = out.get_mut(self.start..).and_then(|tail| tail.first_chunk_mut());
        match (header(bytes, bytes_max), place) {
            (Ok(header), Some(place)) => {
                *place = header;
                Ok(())
            }
            _ => {
                self.abandon(out);
                Err(FrameError::TooLarge { bytes, bytes_max })
            }
        }
    }

    /// Removes the begun frame from `out`.
    pub fn abandon(self, out: &mut BytesMut) {
        out.truncate(self.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_cut_one_by_one() {
        let mut buffer = BytesMut::from(&b"\0\0\0\x02ab\0\0\0\x01c\0\0\0\x05d"[..]);
        assert_eq!(next(&mut buffer, 5), Ok(Some(Bytes::from_static(b"ab"))));
        assert_eq!(next(&mut buffer, 5), Ok(Some(Bytes::from_static(b"c"))));
        assert_eq!(next(&mut buffer, 5), Ok(None));
        assert_eq!(&buffer[..], b"\0\0\0\x05d");
        assert_eq!(next(&mut BytesMut::from(&b"\0\0\0"[..]), 5), Ok(None));
    }

    #[test]
    fn bad_lengths_are_errors_before_the_payload_is_there() {
        let empty = next(&mut BytesMut::from(&[0; 4][..]), 5);
        assert_eq!(empty, Err(FrameError::Empty));
        let large = next(&mut BytesMut::from(&[0xff; 4][..]), 5);
        assert_eq!(large, Err(FrameError::TooLarge { bytes: 0xffff_ffff, bytes_max: 5 }));
    }

    #[test]
    fn an_open_frame_is_finished_or_taken_back() {
        let mut out = BytesMut::from(&b"before"[..]);
        let open = OpenFrame::begin(&mut out);
        out.extend_from_slice(b"abc");
        open.finish(&mut out, 3).unwrap();
        assert_eq!(&out[..], b"before\0\0\0\x03abc");

        let open = OpenFrame::begin(&mut out);
        out.extend_from_slice(b"abcd");
        assert!(open.finish(&mut out, 3).is_err());
        assert_eq!(&out[..], b"before\0\0\0\x03abc");
    }
}
