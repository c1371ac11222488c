//! Frames do not depend on how the stream is cut. A length over the limit is refused as soon as it
//! has arrived, and no memory is allocated for it.
//!
//! Input: the longest frame that is accepted, the length of the parts in which the stream arrives,
//! the stream.

use bytes::BytesMut;
use chatshard::protocol::FrameError;
use chatshard::protocol::frame::{self, HEADER_BYTES, OpenFrame};

use super::bytes::Bytes;

/// The frames of a stream, the error that ended it, and the rest.
type Cut = (Vec<Vec<u8>>, Option<FrameError>, Vec<u8>);

/// Compares the frames of a stream that comes whole with those of one that comes in parts.
pub fn run(input: &[u8]) {
    let mut input = Bytes(input);
    let bytes_max = usize::from(input.byte());
    let piece = usize::from(input.byte()).max(1);
    let stream = input.0;

    let whole = cut(std::iter::once(stream), bytes_max);
    assert_eq!(cut(stream.chunks(piece), bytes_max), whole, "in pieces of {piece} bytes");
    let (frames, error, rest) = whole;
    match (error, frame::first(&rest, bytes_max)) {
        (None, Ok(None)) => assert!(rest.len() < HEADER_BYTES + bytes_max),
        (Some(error), Err(again)) => assert_eq!(error, again),
        (_, found) => panic!("{found:?} is left where the stream ended with {error:?}"),
    }
    let mut written = BytesMut::new();
    for payload in &frames {
        let open = OpenFrame::begin(&mut written);
        written.extend_from_slice(payload);
        open.finish(&mut written, bytes_max).unwrap();
    }
    assert_eq!([&written, &rest[..]].concat(), stream, "frames and rest are the stream");
}

fn cut<'a>(pieces: impl Iterator<Item = &'a [u8]>, bytes_max: usize) -> Cut {
    let (mut buffer, mut frames, mut error) = (BytesMut::new(), Vec::new(), None);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while error.is_none() {
            let room = buffer.capacity();
            match frame::next(&mut buffer, bytes_max) {
                Ok(Some(payload)) => frames.push(payload.to_vec()),
                Ok(None) => {
                    assert_eq!(buffer.capacity(), room);
                    break;
                }
                Err(found) => {
                    assert_eq!(buffer.capacity(), room);
                    error = Some(found);
                }
            }
        }
    }
    (frames, error, buffer.to_vec())
}
