//! What is unread: the one formula.

use crate::types::Sequence;

/// The positions below which a user's messages of one chat do not count as unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Floors {
    /// The sequence that the user's membership began at; what is before it does not count.
    pub join_seq: Sequence,
    /// The watermark of the user's last delete or clear.
    pub deleted_to_seq: Sequence,
    /// The user's read position.
    pub max_read_seq: Sequence,
    /// The user's own newest message.
    pub sent_seq: Sequence,
}

impl Floors {
    /// The highest sequence that is not unread.
    pub fn floor(&self) -> Sequence {
        let before_join = self.join_seq.get().saturating_sub(1);
        let joined = Sequence::new(before_join).unwrap_or_default();
        joined.max(self.deleted_to_seq).max(self.max_read_seq).max(self.sent_seq)
    }

    /// How many messages are unread in a chat whose newest is `last_sequence`.
    pub fn unread(&self, last_sequence: Sequence) -> u64 {
        last_sequence.get().saturating_sub(self.floor().get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(value: u64) -> Sequence {
        Sequence::new(value).unwrap()
    }

    #[test]
    fn the_highest_floor_counts() {
        let mut floors = Floors { join_seq: sequence(4), ..Floors::default() };
        assert_eq!(floors.unread(sequence(10)), 7);
        floors.deleted_to_seq = sequence(5);
        assert_eq!(floors.unread(sequence(10)), 5);
        floors.max_read_seq = sequence(6);
        assert_eq!(floors.unread(sequence(10)), 4);
        floors.sent_seq = sequence(10);
        assert_eq!(floors.unread(sequence(10)), 0);
        assert_eq!(floors.unread(sequence(3)), 0);
    }
}
