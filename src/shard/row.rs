//! A chat of a user, as the user's side knows it.

use std::num::NonZeroU8;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::compact::{Compact, Packed};
use super::roster::Entry;
use super::state::counter;
use crate::command::membership::{ListRow, ListRowRef};
use crate::command::unread::Floors;
use crate::types::{ChatId, Flag, Sequence, TimeMs};

/// One chat of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The chat's id.
    pub chat_id: ChatId,
    state: Packed<RowState>,
}

const _: () = assert!(size_of::<Row>() == 56);

/// What a user's side knows of one of their chats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowState {
    /// Place in the user's join order.
    pub order: u64,
    /// What the user sees.
    pub facts: RowFacts,
    /// The user's version at the row's last change.
    pub version: u64,
    /// Last chat event applied.
    pub event: u64,
}

impl Row {
    /// A row of which this is known.
    pub fn new(chat_id: ChatId, state: RowState) -> Self {
        Self { chat_id, state: state.into() }
    }

    /// All that is known.
    #[inline(always)]
    pub fn state(&self) -> RowState {
        self.state.get()
    }

    /// What the user sees.
    #[inline(always)]
    pub fn facts(&self) -> RowFacts {
        self.state().facts
    }

    /// The user's version at its last change.
    #[inline(always)]
    pub fn version(&self) -> u64 {
        self.state().version
    }

    /// Changes what is known. The order must stay.
    #[inline]
    pub fn update(&mut self, change: impl FnOnce(&mut RowState)) {
        self.state.update(change);
    }

    /// The row as `list` tells it, where it stands.
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

    /// The row as `list` tells it.
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

/// What of a row is visible or counts, without its bookkeeping.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RowFacts {
    /// Pinned.
    pub is_top: Flag,
    /// Muted.
    pub is_mute: Flag,
    /// In the list; 0 once deleted.
    pub is_show: Flag,
    /// Hidden.
    pub is_hide: Flag,
    /// Marked as unread by hand.
    pub marked_unread: Flag,
    /// Read position.
    pub max_read_seq: Sequence,
    /// Last time online in it.
    pub last_online_time: TimeMs,
    /// First sequence that counts.
    pub join_seq: Sequence,
    /// Delete watermark.
    pub deleted_to_seq: Sequence,
}

impl RowFacts {
    /// The row of a member who joined at `join_seq`: all before it is read.
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

    /// Up to where the user has read a chat, as `detail` tells it. `member` is what the chat knows of their
    /// floors, `row` what the user's own row knows: it may lag behind the chat by a delivery on its way,
    /// and if it was asked apart it may be ahead.
    pub fn last_read(row: Option<&Self>, member: Floors, last_sequence: Sequence) -> Sequence {
        row.map_or(member, |row| row.floors_as(member)).floor().min(last_sequence)
    }

    /// The row's floors as the chat's member has them. The row may lag behind the chat by a delivery
    /// on its way: both know where the user joined.
    pub fn floors_as(&self, member: Floors) -> Floors {
        Floors { join_seq: self.join_seq.max(member.join_seq), ..self.floors(member.sent_seq) }
    }

    /// The row's floors, with the sent position that only the chat knows.
    pub fn floors(&self, sent_seq: Sequence) -> Floors {
        Floors {
            join_seq: self.join_seq,
            deleted_to_seq: self.deleted_to_seq,
            max_read_seq: self.max_read_seq,
            sent_seq,
        }
    }
}

/// A row as import brings it; what is absent is decided where the row is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowImport {
    /// Flags, positions and times.
    pub row: RowFacts,
    /// Place in the user's list.
    #[serde(deserialize_with = "counter")]
    pub join_order: Option<u64>,
    /// Version in the user's change log.
    #[serde(deserialize_with = "counter")]
    pub version: Option<u64>,
}

/// See [`RowState`]; a time has 48 bits.
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

/// A row's flags in a byte. A bit that is always set leaves the compiler a value to tell a row by that has
/// no short form.
#[derive(Debug, Clone, Copy)]
pub struct ShortFlags(NonZeroU8);

impl ShortFlags {
    /// Always set.
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

/// A row as images have it.
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

    /// Mostly small numbers, and those about the bounds of the short form.
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
