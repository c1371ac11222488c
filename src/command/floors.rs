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

    /// The floors of a chat whose last sequence is `last_sequence`. Those of a row that was read
    /// later than its chat may be above it.
    #[must_use]
    pub fn held_at(self, last_sequence: Sequence) -> Self {
        let next = Sequence::new(last_sequence.get() + 1).unwrap_or(self.join_seq);
        Self {
            join_seq: self.join_seq.min(next),
            deleted_to_seq: self.deleted_to_seq.min(last_sequence),
            max_read_seq: self.max_read_seq.min(last_sequence),
            sent_seq: self.sent_seq.min(last_sequence),
        }
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
        let held = floors.held_at(sequence(5));
        assert_eq!((held.floor(), held.join_seq), (sequence(5), sequence(4)));
        assert_eq!(floors.held_at(sequence(2)).join_seq, sequence(3));
        assert_eq!(floors.held_at(sequence(10)), floors);
    }
}
