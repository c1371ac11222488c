//! The only formula for what is unread.

use crate::types::Sequence;

/// The positions of a user in a chat at or below which no message is unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Floors {
    /// The first sequence of the user's membership; messages before it do not count.
    pub join_seq: Sequence,
    /// The watermark: the newest sequence that the user deleted or cleared.
    pub deleted_to_seq: Sequence,
    /// The read position: the newest sequence that the user has read.
    pub max_read_seq: Sequence,
    /// Sequence of the newest message that the user sent.
    pub sent_seq: Sequence,
}

impl Floors {
    /// The sequence up to which nothing is unread: the largest of the four floors.
    pub fn floor(&self) -> Sequence {
        let before_join = self.join_seq.get().saturating_sub(1);
        let joined = Sequence::new(before_join).unwrap_or_default();
        joined.max(self.deleted_to_seq).max(self.max_read_seq).max(self.sent_seq)
    }

    /// How many messages are unread in a chat whose last sequence is `last_sequence`.
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
