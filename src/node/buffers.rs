//! Byte buffers that the connections of a core share with what the core sends to other cores. A
//! holder keeps a buffer only while it has bytes in it. So idle connections use no memory, and busy
//! ones do not grow a new buffer each time.
//!
//! Invariants:
//! - A spare buffer is empty and at most `BUFFER_BYTES_MAX` large; there are at most `BUFFERS_MAX`.

use std::cell::RefCell;

use bytes::BytesMut;

/// Largest buffer that is kept as a spare, in bytes.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// Most spare buffers per core.
const BUFFERS_MAX: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Gives an empty buffer the capacity of a spare one, if there is one.
pub fn fill(buffer: &mut BytesMut) {
    if buffer.capacity() == 0
        && let Some(spare) = SPARE.with_borrow_mut(Vec::pop)
    {
        *buffer = spare;
    }
}

/// Returns the capacity of a buffer whose content is no longer needed.
pub fn empty(buffer: &mut BytesMut) {
    let mut buffer = std::mem::take(buffer);
    buffer.clear();
    // The whole allocation counts, including the part that was consumed at its front.
    let is_large = buffer.try_reclaim(BUFFER_BYTES_MAX + 1);
    SPARE.with_borrow_mut(|spare| {
        if !is_large && spare.len() < BUFFERS_MAX && buffer.try_reclaim(1) {
            spare.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn a_buffer_s_room_goes_on_unless_it_is_too_large() {
        let mut buffer = BytesMut::zeroed(8 << 10);
        let place = buffer.as_ptr();
        buffer.advance(8 << 10);
        empty(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        fill(&mut buffer);
        buffer.extend_from_slice(&[1; 8 << 10]);
        assert_eq!(buffer.as_ptr(), place, "the same memory");

        empty(&mut buffer);
        fill(&mut buffer);
        buffer.resize(BUFFER_BYTES_MAX + 1, 0);
        buffer.advance(BUFFER_BYTES_MAX);
        empty(&mut buffer);
        assert!(SPARE.with_borrow(Vec::is_empty));
    }
}
