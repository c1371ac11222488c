//! Events: the decisions of a shard, and their encoding as records of the log.
//!
//! One record of the log holds one event of one slot. [`Decision::apply`] applies the event, live
//! and in replay. So replay rebuilds the state that was there before the stop.
//!
//! ```text
//! record payload: [slot u16 BE][slot sequence u64 BE][event code u8][fields: MessagePack array]
//! ```
//!
//! # Layout
//! Each event has a file of its name, with its fields, its change of the slot, and what `watch`
//! says of it. This file lists the events with their codes, and encodes records. `applier.rs` has
//! what several events need to change a slot.
//!
//! Invariants:
//! - An event code is never used for another event, because old logs still hold it.
//! - New fields go to the end of an event, so that records of older builds can be decoded.
//! - Only applying an event changes a slot. The one exception is the eviction of first answers.

mod advanced;
mod applier;
mod chat_imported;
mod cleared;
mod created;
mod deleted;
mod delivery_done;
mod dissolved;
mod flags_set;
mod forgotten;
mod key_used;
mod member_erased;
mod members_added;
mod members_imported;
mod members_removed;
mod probed;
mod read;
mod removal_imported;
mod row_changed;
mod status_set;
mod touched;
mod user_erased;

use rmp_serde::encode::Error as EncodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use advanced::{Advanced, AdvancedRef};
pub use applier::Applier;
pub use chat_imported::ChatImported;
pub use cleared::Cleared;
pub use created::Created;
pub use deleted::Deleted;
pub use delivery_done::DeliveryDone;
pub use dissolved::Dissolved;
pub use flags_set::FlagsSet;
pub use forgotten::Forgotten;
pub use key_used::KeyUsed;
pub use member_erased::MemberErased;
pub use members_added::MembersAdded;
pub use members_imported::MembersImported;
pub use members_removed::MembersRemoved;
pub use probed::{LoggedDigest, Probed};
pub use read::{Read, ReadRef};
pub use removal_imported::RemovalImported;
pub use row_changed::RowChanged;
pub use status_set::StatusSet;
pub use touched::Touched;
pub use user_erased::UserErased;

use super::decode::BadRecord;
use crate::command::watch::{WatchEvent, WatchOp};
use crate::limits::COUNTER_MAX;
use crate::types::{AsKey, Slot, TimeMs};

/// The fields of an event, as a record holds them. serde encodes those of most events. The most
/// frequent events borrow their ids, which serde would check again, and encode them here.
pub trait Fields {
    /// Appends the fields as a MessagePack array.
    ///
    /// # Errors
    /// If a field cannot be encoded, which no value of the present events causes.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
}

impl<E: Serialize> Fields for E {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        rmp_serde::encode::write(out, self)
    }
}

/// An event that a shard can record and apply.
pub trait Decision: Fields {
    /// The code that stands for the event in a record.
    const CODE: u8;

    /// Changes the slot as the event says.
    ///
    /// # Errors
    /// If the event does not fit the slot, which in replay means damage.
    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord>;
}

/// What the log and `watch` need to know of an event, besides its effect on the slot.
pub trait Logged: Decision + DeserializeOwned {
    /// The chat id or user id whose hash decides the slot. None for [`KeyUsed`] and [`Probed`],
    /// which have no such id.
    fn key(&self) -> Option<&str>;

    /// The change that `watch` reports for this event, with an empty offset. None if `watch`
    /// reports nothing.
    ///
    /// The report uses only the record, so it shows the change as it was decided, not the present
    /// state. Some events only continue or finish a change that another event reports. They report
    /// nothing: an event on its way to rows, a confirmed delivery, a first answer, a probe.
    fn watched(self) -> Option<WatchEvent>;
}

macro_rules! events {
    ($($code:literal $name:ident)+) => {
        /// A decision of a shard. It changes state when it is applied.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event { $(#[doc = concat!("Code ", $code, ".")] $name($name)),+ }

        $(
            impl From<$name> for Event {
                fn from(event: $name) -> Self {
                    Self::$name(event)
                }
            }

            const _: () = assert!(<$name as Decision>::CODE == $code);
        )+

        impl Event {
            /// Like [`Logged::key`].
            pub fn key(&self) -> Option<&str> {
                match self { $(Self::$name(event) => event.key()),+ }
            }

            /// Like [`Decision::apply`].
            ///
            /// # Errors
            /// If the event does not fit the slot, which in replay means damage.
            pub fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord> {
                match self { $(Self::$name(event) => event.apply(applier)),+ }
            }

            /// Like [`Logged::watched`].
            pub fn watched(self) -> Option<WatchEvent> {
                match self { $(Self::$name(event) => event.watched()),+ }
            }

            /// Whether this record has a digest of its slot.
            pub fn has_digest(&self) -> bool {
                matches!(self, Self::Probed(Probed { digest: Some(_) }))
            }

            fn decode_fields(code: u8, bytes: &[u8]) -> Result<Self, BadRecord> {
                match code {
                    $($code => rmp_serde::from_slice(bytes).map(Self::$name)
                        .map_err(|error| BadRecord(format!(concat!(stringify!($name), ": {}"), error))),)+
                    other => Err(BadRecord(format!(
                        "event code {other} is not known: a newer chatshard wrote it"
                    ))),
                }
            }
        }
    };
}

// Codes below 32 are events of chats. Codes from 32 to 63 are events of rows and users.
events! {
    1 Created
    2 MembersAdded
    3 MembersRemoved
    4 Advanced
    5 Deleted
    6 StatusSet
    7 Dissolved
    8 DeliveryDone
    9 ChatImported
    10 MembersImported
    11 MemberErased
    32 RowChanged
    33 Read
    34 FlagsSet
    35 Touched
    36 Cleared
    37 UserErased
    38 RemovalImported
    39 Forgotten
    64 KeyUsed
    65 Probed
}

/// Bytes of a record before its fields: slot, slot sequence, event code.
const HEADER_BYTES: usize = 2 + 8 + 1;

/// Appends the record of an event to `out`. `seq` is the slot sequence of the record.
///
/// # Errors
/// If a field cannot be encoded, which no value of the present events causes.
pub fn encode<E: Decision>(
    slot: Slot,
    seq: u64,
    event: &E,
    out: &mut Vec<u8>,
) -> Result<(), BadRecord> {
    out.extend_from_slice(&slot.get().to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
    out.push(E::CODE);
    event.encode(out).map_err(|error| BadRecord(error.to_string()))
}

/// Reads the slot of a record from its first two bytes.
pub fn slot_of(payload: &[u8]) -> Result<Slot, BadRecord> {
    payload
        .first_chunk::<2>()
        .and_then(|bytes| Slot::new(u16::from_be_bytes(*bytes)))
        .ok_or_else(|| BadRecord("no slot".into()))
}

/// Decodes a record into its slot, its slot sequence and its event.
pub fn decode(payload: &[u8]) -> Result<(Slot, u64, Event), BadRecord> {
    let slot = slot_of(payload)?;
    let (header, fields) =
        payload.split_at_checked(HEADER_BYTES).ok_or_else(|| BadRecord("too short".into()))?;
    let seq = header.get(2..10).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    match (seq, header.last()) {
        (Some(seq), _) if seq > COUNTER_MAX => Err(BadRecord(format!("sequence {seq}"))),
        (Some(seq), Some(&code)) => Ok((slot, seq, Event::decode_fields(code, fields)?)),
        _ => Err(BadRecord("too short".into())),
    }
}

/// Whether a record's event is of a kind that has a time. Reads only the event code, so the rest of
/// the record may be damaged.
pub fn has_time(payload: &[u8]) -> bool {
    let code = payload.get(HEADER_BYTES - 1);
    code.is_some_and(|code| [<Advanced>::CODE, Touched::CODE].contains(code))
}

/// Whether a record is a half of a probe, which no client waits for.
pub fn is_probe(payload: &[u8]) -> bool {
    payload.get(HEADER_BYTES - 1) == Some(&Probed::CODE)
}

/// The time of an [`Advanced`] or [`Touched`] record. None for other events and for a record that
/// cannot be decoded.
pub fn time_of(payload: &[u8]) -> Option<TimeMs> {
    if !has_time(payload) {
        return None;
    }
    match decode(payload).ok()?.2 {
        Event::Advanced(event) => Some(event.time),
        Event::Touched(event) => Some(event.time),
        Event::Created(_)
        | Event::MembersAdded(_)
        | Event::MembersRemoved(_)
        | Event::Deleted(_)
        | Event::StatusSet(_)
        | Event::Dissolved(_)
        | Event::DeliveryDone(_)
        | Event::ChatImported(_)
        | Event::MembersImported(_)
        | Event::MemberErased(_)
        | Event::RowChanged(_)
        | Event::Read(_)
        | Event::FlagsSet(_)
        | Event::Cleared(_)
        | Event::UserErased(_)
        | Event::RemovalImported(_)
        | Event::Forgotten(_)
        | Event::KeyUsed(_)
        | Event::Probed(_) => None,
    }
}

/// Appends an id as text. It is that of a stored chat or user, so its bytes are text. serde would
/// take only a `str`, and checking the bytes again costs more than all other fields.
fn encode_id(out: &mut Vec<u8>, id: &impl AsKey) -> Result<(), EncodeError> {
    let id = id.id();
    let length =
        u32::try_from(id.len()).map_err(|_| EncodeError::Syntax("an id of 4 GiB".into()))?;
    rmp::encode::write_str_len(out, length)?;
    out.extend_from_slice(id);
    Ok(())
}

/// A change for `watch` that has only its kind `op`. The caller fills in the other fields.
pub fn blank(op: WatchOp) -> WatchEvent {
    WatchEvent {
        offset: String::new(),
        user_id: None,
        chat_id: None,
        op,
        last_sequence: None,
        last_time: None,
        seq: None,
        is_top: None,
        is_mute: None,
        is_hide: None,
        marked_unread: None,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::deliveries::Effect;
    use crate::types::{ChatId, KeyHasher, Sequence, UserId};

    fn encoded(slot: Slot, event: &impl Decision) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(slot, 5, event, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn an_event_with_borrowed_ids_is_read_with_owned_ones() {
        let (slot, hasher) = (Slot::new(7).unwrap(), KeyHasher::new(7));
        let is_read_as = |event: &[u8], expected: Event| {
            assert_eq!(decode(event).unwrap(), (slot, 5, expected));
        };
        // The length of an id and the size of a number decide how many bytes MessagePack takes.
        for (length, number) in [(1, 0), (31, 127), (32, 128), (64, 65_536), (128, (1 << 53) - 1)] {
            let user_id = UserId::new(&("é".repeat(length / 2) + &"u".repeat(length % 2))).unwrap();
            let chat_id = ChatId::new(&"c".repeat(length)).unwrap();
            let (to, time) = (Sequence::new(number).unwrap(), TimeMs::new(number).unwrap());
            let (user, chat) = (user_id.as_key(hasher), chat_id.as_key(hasher));
            let read = encoded(slot, &ReadRef { user_id: user, chat_id: chat, seq: to });
            let expected = Read { user_id: user_id.clone(), chat_id: chat_id.clone(), seq: to };
            is_read_as(&read, expected.into());
            for is_sent in [false, true] {
                let sent = is_sent.then_some((user, to));
                let advanced = encoded(slot, &AdvancedRef { chat_id: chat, to, time, sent });
                let sent = is_sent.then(|| (user_id.clone(), to));
                is_read_as(&advanced, Advanced { chat_id: chat_id.clone(), to, time, sent }.into());
            }
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let slot = Slot::new(4095).unwrap();
        let event = RowChanged {
            user_id: UserId::new("u").unwrap(),
            chat_id: ChatId::new("c").unwrap(),
            event: 3,
            effect: Effect::Delete { to: Sequence::new(9).unwrap(), back: true },
        };
        let bytes = encoded(slot, &event);
        assert_eq!(decode(&bytes).unwrap(), (slot, 5, event.into()));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "prefix of {len} bytes");
        }
    }
}
