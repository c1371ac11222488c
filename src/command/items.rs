//! The items of a reply, for replies that may have many: how many they are, and an estimate of their
//! memory.

/// Longest id that is stored inside an item, in bytes. A longer id has memory of its own.
const INLINE_ID_BYTES: usize = 24;

/// A reply that may have many items: its row in the table does not say `Small`.
pub trait Items {
    /// Number of items of this reply.
    fn count(&self) -> usize;

    /// About how many bytes of memory the items of this reply occupy.
    fn bytes(&self) -> usize;
}

/// About how many bytes of memory `items` occupy, if all ids are as long as the first.
pub(super) fn bytes_of<T>(items: &[T], id: impl Fn(&T) -> &str) -> usize {
    let id_bytes = items.first().map_or(0, |first| id(first).len());
    let apart = if id_bytes > INLINE_ID_BYTES { id_bytes } else { 0 };
    items.len() * (size_of::<T>() + apart)
}
