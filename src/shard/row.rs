//! A row: a user's membership in a chat, as the user knows it.

use std::num::NonZeroU8;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::compact::{Compact, Packed};
use super::decode::counter;
use super::roster::Entry;
use crate::command::floors::Floors;
use crate::command::list::{ListRow, ListRowRef};
use crate::types::{ChatId, Flag, Sequence, TimeMs};

/// A user's membership in one chat. It takes 56 bytes, or more if a number does not fit
/// [`ShortRow`].
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The chat. Its id is the key of the row among the user's rows.
    pub chat_id: ChatId,
    state: Packed<RowState>,
}

const _: () = assert!(size_of::<Row>() == 56);

/// All that a row holds besides its chat id.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowState {
    /// Join order. No other row of the user has it.
    pub order: u64,
    /// What clients see or what counts for unread.
    pub facts: RowFacts,
    /// The version that the user's newest change of this row got.
    pub version: u64,
    /// Number of the newest event of the chat that changed the row.
    pub event: u64,
}

impl Row {
    /// A row in this state.
    pub fn new(chat_id: ChatId, state: RowState) -> Self {
        Self { chat_id, state: state.into() }
    }

    /// A copy of the row's state in its long form.
    #[inline(always)]
    pub fn state(&self) -> RowState {
        self.state.get()
    }

    /// The part of the row's state that clients see or that counts for unread.
    #[inline(always)]
    pub fn facts(&self) -> RowFacts {
        self.state().facts
    }

    /// The version that the user's newest change of this row got.
    #[inline(always)]
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// Changes the state but never the order, because the roster is sorted by it.
    #[inline]
    pub fn update(&mut self, change: impl FnOnce(&mut RowState)) {
        self.state.update(change);
    }

    /// The row as `list` replies it, borrowed.
    #[inline]
    pub fn list_row_ref(&self) -> ListRowRef<'_> {
        let facts = self.facts();
        ListRowRef {
            chat_id: &self.chat_id,
            is_top: facts.is_top,
            is_mute: facts.is_mute,
            is_show: facts.is_show,
            is_hide: facts.is_hide,
            max_read_seq: facts.max_read_seq,
            last_online_time: facts.last_online_time,
        }
    }

    /// The row as `list` replies it, with a copied id.
    pub fn list_row(&self) -> ListRow {
        self.list_row_ref().with_id(self.chat_id.clone())
    }
}

impl Entry for Row {
    fn key(&self) -> &str {
        self.chat_id.as_str()
    }
    fn order(&self) -> u64 {
        self.state().order
    }
    fn take(&mut self) -> Self {
        Self { chat_id: self.chat_id.take(), state: self.state.clone() }
    }
}

/// The facts of a row that clients see or that count for unread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RowFacts {
    /// Whether the chat is pinned to the top of the list.
    pub is_top: Flag,
    /// Whether the chat is muted.
    pub is_mute: Flag,
    /// Whether the chat is in the list. A delete takes it out, and a new message brings it back.
    pub is_show: Flag,
    /// Whether the user has hidden the chat.
    pub is_hide: Flag,
    /// Whether the user has marked the chat as unread by hand.
    pub marked_unread: Flag,
    /// The read position: the user has read up to this sequence.
    pub max_read_seq: Sequence,
    /// When the user was last online in the chat.
    pub last_online_time: TimeMs,
    /// The join sequence: messages before it never count as unread.
    pub join_seq: Sequence,
    /// The watermark: the user sees nothing up to this sequence.
    pub deleted_to_seq: Sequence,
}

impl RowFacts {
    /// The facts of the row of a user who joins at `join_seq`. All messages before it count as
    /// read.
    pub fn joined(join_seq: Sequence) -> Self {
        Self {
            is_top: Flag::NO,
            is_mute: Flag::NO,
            is_show: Flag::YES,
            is_hide: Flag::NO,
            marked_unread: Flag::NO,
            max_read_seq: Floors { join_seq, ..Floors::default() }.floor(),
            last_online_time: TimeMs::ZERO,
            join_seq,
            deleted_to_seq: Sequence::ZERO,
        }
    }

    /// Raises the watermark to `to`: the user sees nothing up to it, and nothing up to it is
    /// unread.
    pub fn cover(&mut self, to: Sequence) {
        self.deleted_to_seq = self.deleted_to_seq.max(to);
        self.max_read_seq = self.max_read_seq.max(to);
        self.marked_unread = Flag::NO;
    }

    /// The sequence up to which the user has read the chat, as `detail` replies it. `member` has
    /// the floors that the chat knows. `row` is the user's row: it lags while a delivery is under
    /// way, and may be ahead if it was read at another time.
    pub fn last_read(row: Option<&Self>, member: Floors, last_sequence: Sequence) -> Sequence {
        row.map_or(member, |row| row.floors_as(member)).floor().min(last_sequence)
    }

    /// The floors of the row, with what the chat knows of the member. The higher join sequence
    /// counts, because the row lags while a delivery is under way.
    pub fn floors_as(&self, member: Floors) -> Floors {
        Floors { join_seq: self.join_seq.max(member.join_seq), ..self.floors(member.sent_seq) }
    }

    /// The floors of the row, and the sent sequence, which only the chat knows.
    pub fn floors(&self, sent_seq: Sequence) -> Floors {
        Floors {
            join_seq: self.join_seq,
            deleted_to_seq: self.deleted_to_seq,
            max_read_seq: self.max_read_seq,
            sent_seq,
        }
    }
}

/// The row that an import brings to a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowImport {
    /// Flags, positions and times.
    pub row: RowFacts,
    /// Join order of the row. With None, or if another row has it, the row comes after all others.
    #[serde(deserialize_with = "counter")]
    pub join_order: Option<u64>,
    /// Version of the change. With None it is the user's next version.
    #[serde(deserialize_with = "counter")]
    pub version: Option<u64>,
}

/// The short form of [`RowState`]: numbers of 32 bits, a time of 48 bits, and flags in one byte.
#[derive(Debug, Clone, Copy)]
pub struct ShortRow {
    order: u32,
    version: u32,
    event: u32,
    max_read_seq: u32,
    join_seq: u32,
    deleted_to_seq: u32,
    online_low: u32,
    online_high: u16,
    flags: ShortFlags,
}

impl Compact for RowState {
    type Short = ShortRow;

    fn shorten(self) -> Option<ShortRow> {
        let facts = self.facts;
        let online = facts.last_online_time.get();
        Some(ShortRow {
            order: u32::try_from(self.order).ok()?,
            version: u32::try_from(self.version).ok()?,
            event: u32::try_from(self.event).ok()?,
            max_read_seq: u32::try_from(facts.max_read_seq.get()).ok()?,
            join_seq: u32::try_from(facts.join_seq.get()).ok()?,
            deleted_to_seq: u32::try_from(facts.deleted_to_seq.get()).ok()?,
            online_low: u32::try_from(online & u64::from(u32::MAX)).ok()?,
            online_high: u16::try_from(online >> u32::BITS).ok()?,
            flags: ShortFlags::of(&facts),
        })
    }

    #[inline(always)]
    fn restore(short: ShortRow) -> Self {
        let flags = short.flags;
        let facts = RowFacts {
            is_top: flags.has(ShortFlags::TOP),
            is_mute: flags.has(ShortFlags::MUTE),
            is_show: flags.has(ShortFlags::SHOW),
            is_hide: flags.has(ShortFlags::HIDE),
            marked_unread: flags.has(ShortFlags::MARKED),
            max_read_seq: short.max_read_seq.into(),
            last_online_time: TimeMs::from_48_bits(short.online_high, short.online_low),
            join_seq: short.join_seq.into(),
            deleted_to_seq: short.deleted_to_seq.into(),
        };
        Self {
            order: u64::from(short.order),
            facts,
            version: u64::from(short.version),
            event: u64::from(short.event),
        }
    }
}

/// The flags of a row in one byte, which is never 0 because one bit is always set. The compiler
/// uses 0 to tell a row without a short form.
#[derive(Debug, Clone, Copy)]
pub struct ShortFlags(NonZeroU8);

impl ShortFlags {
    /// The bit that is always set.
    const ALWAYS: NonZeroU8 = NonZeroU8::MIN;
    const TOP: u8 = 1 << 1;
    const MUTE: u8 = 1 << 2;
    const SHOW: u8 = 1 << 3;
    const HIDE: u8 = 1 << 4;
    const MARKED: u8 = 1 << 5;

    fn of(facts: &RowFacts) -> Self {
        let bit = |flag: Flag, bit: u8| if flag.0 { bit } else { 0 };
        let bits = bit(facts.is_top, Self::TOP)
            | bit(facts.is_mute, Self::MUTE)
            | bit(facts.is_show, Self::SHOW)
            | bit(facts.is_hide, Self::HIDE)
            | bit(facts.marked_unread, Self::MARKED);
        Self(Self::ALWAYS | bits)
    }

    #[inline(always)]
    fn has(self, bit: u8) -> Flag {
        Flag(self.0.get() & bit != 0)
    }
}

/// A row as snapshots store it.
#[derive(Serialize, Deserialize)]
struct Encoded<Id> {
    chat_id: Id,
    #[serde(deserialize_with = "counter")]
    order: u64,
    facts: RowFacts,
    #[serde(deserialize_with = "counter")]
    version: u64,
    #[serde(deserialize_with = "counter")]
    event: u64,
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let RowState { order, facts, version, event } = self.state();
        Encoded { chat_id: &self.chat_id, order, facts, version, event }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Encoded { chat_id, order, facts, version, event } = Encoded::deserialize(deserializer)?;
        Ok(Self::new(chat_id, RowState { order, facts, version, event }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Small numbers, and numbers around the largest ones that the short form holds.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            0_u64..10,
            (1_u64 << 32) - 2..(1 << 32) + 2,
            (1_u64 << 48) - 2..(1 << 48) + 2,
            Just((1 << 53) - 1)
        ]
    }

    fn state() -> impl Strategy<Value = RowState> {
        let flags = proptest::array::uniform5(any::<bool>().prop_map(Flag));
        (flags, proptest::array::uniform7(number())).prop_map(|(flags, numbers)| {
            let [is_top, is_mute, is_show, is_hide, marked_unread] = flags;
            let [order, version, event, read, join, deleted, online] = numbers;
            let seq = |number| Sequence::new(number).unwrap();
            let facts = RowFacts {
                is_top,
                is_mute,
                is_show,
                is_hide,
                marked_unread,
                max_read_seq: seq(read),
                last_online_time: TimeMs::new(online).unwrap(),
                join_seq: seq(join),
                deleted_to_seq: seq(deleted),
            };
            RowState { order, facts, version, event }
        })
    }

    proptest! {
        #[test]
        fn a_row_tells_what_it_was_given(state in state(), next in state()) {
            let mut row = Row::new(ChatId::new("c").unwrap(), state);
            prop_assert_eq!(row.state(), state);
            let bytes = rmp_serde::to_vec(&row).unwrap();
            prop_assert_eq!(&rmp_serde::from_slice::<Row>(&bytes).unwrap(), &row);
            row.update(|state| *state = next);
            prop_assert_eq!(row.state(), next);
        }
    }

    #[test]
    fn what_is_common_is_short() {
        let mut facts = RowFacts::joined(Sequence::new(7).unwrap());
        facts.last_online_time = TimeMs::new(1_800_000_000_000).unwrap();
        let state = RowState { order: 1_000_000, facts, version: 50_000_000, event: 3 };
        assert!(matches!(Packed::from(state), Packed::Short(_)));
    }
}
