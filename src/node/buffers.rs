//! Byte buffers for the connections of a core, and for what the core sends to other cores. A holder
//! has a buffer only while the buffer has bytes in it. So idle connections use no memory, and busy
//! ones need not let a new buffer grow each time.
//!
//! Invariants:
//! - A spare buffer is empty and has at most `BUFFER_BYTES_MAX` of capacity. A core has at most
//!   `BUFFERS_MAX` of them.

use std::cell::RefCell;

use bytes::BytesMut;

/// Largest capacity of a spare buffer, in bytes.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// How many spare buffers a core has at most.
const BUFFERS_MAX: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// Gives a buffer without capacity a spare one, if there is any.
pub fn fill(buffer: &mut BytesMut) {
    if buffer.capacity() == 0
        && let Some(spare) = SPARE.with_borrow_mut(Vec::pop)
    {
        *buffer = spare;
    }
}

/// Takes the capacity of a buffer whose bytes are no longer needed, as a spare one.
pub fn empty(buffer: &mut BytesMut) {
    let mut buffer = std::mem::take(buffer);
    buffer.clear();
    // The whole allocation counts, with the part at its front that was already consumed.
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
