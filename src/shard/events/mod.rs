//! Events: the decisions of a shard, and their encoding as records of the log.
//!
//! A record of the log is one event of one slot. Live and in replay, the same code
//! ([`Decision::apply`]) applies the same events. So replay rebuilds the state that was there.
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
//! - A code is never used twice.
//! - New fields are added at the end of an event.
//! - Nothing but an event that is applied changes a slot; `Core` says what is excepted.

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
mod gone_imported;
mod key_used;
mod member_erased;
mod members_added;
mod members_imported;
mod members_removed;
mod read;
mod row_changed;
mod status_set;
mod touched;
mod user_erased;

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
pub use gone_imported::GoneImported;
pub use key_used::KeyUsed;
pub use member_erased::MemberErased;
pub use members_added::MembersAdded;
pub use members_imported::MembersImported;
pub use members_removed::MembersRemoved;
pub use read::{Read, ReadRef};
pub use row_changed::RowChanged;
pub use status_set::StatusSet;
pub use touched::Touched;
pub use user_erased::UserErased;

use super::decode::BadRecord;
use crate::command::watch::{WatchEvent, WatchOp};
use crate::limits::COUNTER_MAX;
use crate::types::{Slot, TimeMs};

/// An event that can be recorded and applied. Besides all events, these are the most frequent ones
/// in a form that borrows their ids.
pub trait Decision: Serialize {
    /// The event's code in a record.
    const CODE: u8;

    /// Changes the slot as the event says.
    ///
    /// # Errors
    /// If the event does not fit the slot, which in replay means damage.
    fn apply(self, applier: &mut Applier<'_>) -> Result<(), BadRecord>;
}

/// What is known of each event besides its effect on the slot.
pub trait Logged: Decision + DeserializeOwned {
    /// The chat id or user id that decides the slot. None for [`KeyUsed`], whose text does not
    /// name its owner's key.
    fn key(&self) -> Option<&str>;

    /// The change that `watch` reports, with an empty offset; None if it reports nothing.
    ///
    /// Everything comes from the record itself: a change is reported as it was decided, whatever
    /// the state has become since. Some records only continue or finish a change that another
    /// record reports: an event on its way to users, a confirmed delivery, an answer under its key.
    /// They report nothing.
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

// Events of chats have codes below 32, those of rows and users below 64.
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
    38 GoneImported
    39 Forgotten
    64 KeyUsed
}

/// Length of the fixed part of a record: slot, slot sequence, code.
const HEADER_BYTES: usize = 2 + 8 + 1;

/// Appends the record of an event to `out`; `seq` is its sequence in the slot.
///
/// # Errors
/// If a field cannot be encoded. No value of these types leads to that.
pub fn encode<E: Decision>(
    slot: Slot,
    seq: u64,
    event: &E,
    out: &mut Vec<u8>,
) -> Result<(), BadRecord> {
    out.extend_from_slice(&slot.get().to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
    out.push(E::CODE);
    rmp_serde::encode::write(out, event).map_err(|error| BadRecord(error.to_string()))
}

/// The slot that a record belongs to, read from its first two bytes.
pub fn slot_of(payload: &[u8]) -> Result<Slot, BadRecord> {
    payload
        .first_chunk::<2>()
        .and_then(|bytes| Slot::new(u16::from_be_bytes(*bytes)))
        .ok_or_else(|| BadRecord("no slot".into()))
}

/// The slot, the slot sequence and the event of a record.
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

/// Whether the record is of a kind that can have a time. Looks at the event code only.
pub fn has_time(payload: &[u8]) -> bool {
    let code = payload.get(HEADER_BYTES - 1);
    code.is_some_and(|code| [Advanced::CODE, Touched::CODE].contains(code))
}

/// The time of an [`Advanced`] or [`Touched`] record; None for all other records.
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
        | Event::GoneImported(_)
        | Event::Forgotten(_)
        | Event::KeyUsed(_) => None,
    }
}

/// A change for `watch` with only its kind filled in.
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
    fn events_without_copies_are_encoded_as_themselves() {
        let (user_id, chat_id) = (UserId::new("u").unwrap(), ChatId::new("c").unwrap());
        let (slot, to) = (Slot::new(7).unwrap(), Sequence::new(300).unwrap());
        let hasher = KeyHasher::new(7);
        let read = Read { user_id: user_id.clone(), chat_id: chat_id.clone(), seq: to };
        assert_eq!(encoded(slot, &read.as_ref(hasher)), encoded(slot, &read));
        for sent in [None, Some((user_id, to))] {
            let advanced = Advanced { chat_id: chat_id.clone(), to, time: TimeMs::ZERO, sent };
            assert_eq!(encoded(slot, &advanced.as_ref(hasher)), encoded(slot, &advanced));
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
