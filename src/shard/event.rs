//! Events: the decisions of a shard, and their encoding as records of the log.
//!
//! A record of the log is one event of one slot. Live and in replay, the same code
//! ([`super::apply`]) applies the same events. So replay rebuilds the state that was there.
//!
//! ```text
//! record payload: [slot u16 BE][slot sequence u64 BE][event code u8][fields: MessagePack array]
//! ```
//!
//! Invariants:
//! - A code is never used twice.
//! - New fields are added at the end of an event.

use serde::{Deserialize, Serialize};

use super::member::Member;
use super::state::{ChatHead, Effect, FirstAnswer, counter};
use crate::limits::COUNTER_MAX;
use crate::types::{
    ChatId, ChatStatus, ChatType, Flag, Hashed, KeyHasher, Sequence, Slot, TimeMs, UserId,
};

/// The reason why a record or a snapshot block cannot be read or does not fit the state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub String);

macro_rules! events {
    ($($(#[$doc:meta])* $code:literal $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),+ $(,)? })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            pub struct $name { $($(#[$field_doc])* pub $field: $type),+ }

            impl $name {
                /// The event's code in a record.
                pub const CODE: u8 = $code;
            }

            impl From<$name> for Event {
                fn from(event: $name) -> Self {
                    Self::$name(event)
                }
            }
        )+

        /// A decision of a shard. It changes state when it is applied.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Event { $($(#[$doc])* $name($name)),+ }

        impl Event {
            fn code(&self) -> u8 {
                match self { $(Self::$name(_) => $name::CODE),+ }
            }

            fn encode_fields(&self, out: &mut Vec<u8>) -> Result<(), rmp_serde::encode::Error> {
                match self { $(Self::$name(event) => rmp_serde::encode::write(out, event)),+ }
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

events! {
    /// A chat was created.
    1 Created {
        /// Id of the new chat.
        chat_id: ChatId,
        /// Single, group or official.
        chat_type: ChatType,
        /// The user who created the chat.
        creator_id: UserId,
        /// Whether the chat is encrypted.
        is_enc: Flag,
        /// Time of the creation.
        created_at: TimeMs,
        /// Digest of the `create` request, by which a repeat is recognized.
        request_digest: u64,
        /// First members, each once.
        user_ids: Vec<UserId>,
    }
    /// Users joined a chat; none of them was a member.
    2 MembersAdded {
        /// The chat that they joined.
        chat_id: ChatId,
        /// New members, each once, in join order.
        user_ids: Vec<UserId>,
    }
    /// Members left a chat, or were removed.
    3 MembersRemoved {
        /// The chat that they left.
        chat_id: ChatId,
        /// Former members, each once.
        user_ids: Vec<UserId>,
    }
    /// A message arrived, or sequences were allocated.
    4 Advanced {
        /// The chat that advanced.
        chat_id: ChatId,
        /// The chat's last sequence after the event; 0 if only the sender's position rose.
        to: Sequence,
        /// Time of the newest sequence.
        time: TimeMs,
        /// The member who sent it, with the sequence of their own newest message.
        sent: Option<(UserId, Sequence)>,
    }
    /// A member deleted the chat from their list.
    5 Deleted {
        /// The chat that the member deleted.
        chat_id: ChatId,
        /// The member who deleted it.
        user_id: UserId,
        /// The member's new watermark in the chat.
        to: Sequence,
    }
    /// A chat was enabled or disabled.
    6 StatusSet {
        /// The chat whose status changed.
        chat_id: ChatId,
        /// The chat's new status.
        status: ChatStatus,
    }
    /// A chat ended for good; its id is never used again.
    7 Dissolved {
        /// The chat that ended.
        chat_id: ChatId,
    }
    /// All deliveries of an event are confirmed, and it leaves the outbox.
    8 DeliveryDone {
        /// The chat of the event.
        chat_id: ChatId,
        /// The event's number in its chat.
        event: u64,
    }
    /// A chat was imported, as a new one or merged.
    9 ChatImported {
        /// The head after the import.
        head: ChatHead,
    }
    /// Members were imported, as new ones or merged.
    10 MembersImported {
        /// The chat that they belong to.
        chat_id: ChatId,
        /// Each member with the effect on its row. `deleted_in` is a yes (not 0) or a no (0);
        /// applying the event sets the epoch.
        members: Vec<(Member, Effect)>,
    }
    /// A user was erased from a chat: they are no longer a member, nor named as its creator.
    11 MemberErased {
        /// The chat that loses the user.
        chat_id: ChatId,
        /// The user who is being erased.
        user_id: UserId,
    }
    /// An event of a chat reached a row.
    32 RowChanged {
        /// Owner of the row.
        user_id: UserId,
        /// The chat of the row.
        chat_id: ChatId,
        /// The event's number in its chat.
        #[serde(deserialize_with = "counter")]
        event: u64,
        /// What the event does to the row.
        effect: Effect,
    }
    /// A user has read a chat up to a sequence.
    33 Read {
        /// Owner of the row.
        user_id: UserId,
        /// The chat of the row.
        chat_id: ChatId,
        /// The new read position, which only rises.
        seq: Sequence,
    }
    /// A user set flags of a row; flags that are None stay as they are.
    34 FlagsSet {
        /// Owner of the row.
        user_id: UserId,
        /// The chat of the row.
        chat_id: ChatId,
        /// New value of the pin.
        is_top: Option<Flag>,
        /// New value of the mute flag.
        is_mute: Option<Flag>,
        /// New value of the hide flag.
        is_hide: Option<Flag>,
        /// New value of the mark as unread.
        marked_unread: Option<Flag>,
    }
    /// A user was online.
    35 Touched {
        /// The user who was online.
        user_id: UserId,
        /// The chats that the user was online in; None means all chats of the user.
        chat_ids: Option<Vec<ChatId>>,
        /// When the user was online. It only raises the time that a row has.
        time: TimeMs,
    }
    /// A user cleared a chat's history.
    36 Cleared {
        /// Owner of the row.
        user_id: UserId,
        /// The chat of the row.
        chat_id: ChatId,
        /// The user's new watermark in the chat.
        to: Sequence,
    }
    /// A user was erased: versions, orders, removals and the answers under their keys are
    /// forgotten.
    37 UserErased {
        /// The user whose rows are all gone by now.
        user_id: UserId,
    }
    /// An import said that a user is no longer a member of a chat.
    38 GoneImported {
        /// Owner of the former row.
        user_id: UserId,
        /// The chat that the user left.
        chat_id: ChatId,
        /// The version of the removal; None takes the user's next version.
        #[serde(deserialize_with = "counter")]
        version: Option<u64>,
    }
    /// The shard remembered more removals and idle users than its bound. This user's removals up to
    /// a version are forgotten. A user who then has neither rows nor removals is forgotten
    /// entirely.
    39 Forgotten {
        /// The user who forgets.
        user_id: UserId,
        /// Removals up to this version are forgotten.
        #[serde(deserialize_with = "counter")]
        to: u64,
    }
    /// A request with an idempotency key was answered, or took its key.
    64 Answered {
        /// The answer or the claim to keep.
        answer: FirstAnswer,
    }
}

impl Event {
    /// The chat id or user id that decides the slot. None for [`Answered`], whose text does not
    /// name its owner's key.
    pub fn key(&self) -> Option<&str> {
        Some(match self {
            Self::Created(event) => event.chat_id.as_str(),
            Self::MembersAdded(event) => event.chat_id.as_str(),
            Self::MembersRemoved(event) => event.chat_id.as_str(),
            Self::Advanced(event) => event.chat_id.as_str(),
            Self::Deleted(event) => event.chat_id.as_str(),
            Self::StatusSet(event) => event.chat_id.as_str(),
            Self::Dissolved(event) => event.chat_id.as_str(),
            Self::DeliveryDone(event) => event.chat_id.as_str(),
            Self::ChatImported(event) => event.head.id.as_str(),
            Self::MembersImported(event) => event.chat_id.as_str(),
            Self::MemberErased(event) => event.chat_id.as_str(),
            Self::RowChanged(event) => event.user_id.as_str(),
            Self::Read(event) => event.user_id.as_str(),
            Self::FlagsSet(event) => event.user_id.as_str(),
            Self::Touched(event) => event.user_id.as_str(),
            Self::Cleared(event) => event.user_id.as_str(),
            Self::UserErased(event) => event.user_id.as_str(),
            Self::GoneImported(event) => event.user_id.as_str(),
            Self::Forgotten(event) => event.user_id.as_str(),
            Self::Answered(_) => return None,
        })
    }
}

/// Length of the fixed part of a record: slot, slot sequence, code.
const HEADER_BYTES: usize = 2 + 8 + 1;

/// Appends the record of an event to `out`; `seq` is its sequence in the slot.
///
/// # Errors
/// If a field cannot be encoded. No value of these types leads to that.
pub fn encode(slot: Slot, seq: u64, event: &Event, out: &mut Vec<u8>) -> Result<(), BadRecord> {
    encode_header(slot, seq, event.code(), out);
    event.encode_fields(out).map_err(|error| BadRecord(error.to_string()))
}

fn encode_header(slot: Slot, seq: u64, code: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&slot.get().to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
    out.push(code);
}

/// An [`Advanced`] that borrows its ids. The most frequent events are decided, logged and applied
/// without a copy of their ids.
#[derive(Debug, Clone, Copy, Serialize)]
#[expect(missing_docs, reason = "the fields are those of `Advanced`")]
pub struct AdvancedRef<'a> {
    pub chat_id: Hashed<&'a str>,
    pub to: Sequence,
    pub time: TimeMs,
    pub sent: Option<(Hashed<&'a str>, Sequence)>,
}

impl AdvancedRef<'_> {
    /// Appends the record of the [`Advanced`] whose fields these are.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn encode(&self, slot: Slot, seq: u64, out: &mut Vec<u8>) -> Result<(), BadRecord> {
        encode_fields(slot, seq, Advanced::CODE, self, out)
    }
}

/// A [`Read`] that borrows its ids, like [`AdvancedRef`].
#[derive(Debug, Clone, Copy, Serialize)]
#[expect(missing_docs, reason = "the fields are those of `Read`")]
pub struct ReadRef<'a> {
    pub user_id: Hashed<&'a str>,
    pub chat_id: Hashed<&'a str>,
    pub seq: Sequence,
}

impl ReadRef<'_> {
    /// Appends the record of the [`Read`] whose fields these are.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn encode(&self, slot: Slot, seq: u64, out: &mut Vec<u8>) -> Result<(), BadRecord> {
        encode_fields(slot, seq, Read::CODE, self, out)
    }
}

fn encode_fields(
    slot: Slot,
    seq: u64,
    code: u8,
    fields: &impl Serialize,
    out: &mut Vec<u8>,
) -> Result<(), BadRecord> {
    encode_header(slot, seq, code, out);
    rmp_serde::encode::write(out, fields).map_err(|error| BadRecord(error.to_string()))
}

impl Read {
    /// Borrows the event, with the hashes of its ids.
    pub fn as_ref(&self, hasher: KeyHasher) -> ReadRef<'_> {
        let Self { user_id, chat_id, seq } = self;
        let (user_id, chat_id) = (hasher.hashed(user_id.as_str()), hasher.hashed(chat_id.as_str()));
        ReadRef { user_id, chat_id, seq: *seq }
    }
}

impl Advanced {
    /// Borrows the event, with the hashes of its ids.
    pub fn as_ref(&self, hasher: KeyHasher) -> AdvancedRef<'_> {
        let sent = self.sent.as_ref();
        AdvancedRef {
            chat_id: hasher.hashed(self.chat_id.as_str()),
            to: self.to,
            time: self.time,
            sent: sent.map(|(user_id, sent_seq)| (hasher.hashed(user_id.as_str()), *sent_seq)),
        }
    }
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
    match decode(payload).ok()?.2 {
        Event::Advanced(event) => Some(event.time),
        Event::Touched(event) => Some(event.time),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_without_copies_are_encoded_as_themselves() {
        let (user_id, chat_id) = (UserId::new("u").unwrap(), ChatId::new("c").unwrap());
        let (slot, to) = (Slot::new(7).unwrap(), Sequence::new(300).unwrap());
        let hasher = KeyHasher::new(7);
        let encoded = |encode: &dyn Fn(&mut Vec<u8>) -> Result<(), BadRecord>| {
            let mut bytes = Vec::new();
            encode(&mut bytes).unwrap();
            bytes
        };
        let read = Read { user_id: user_id.clone(), chat_id: chat_id.clone(), seq: to };
        let looked_at = encoded(&|out| read.as_ref(hasher).encode(slot, 5, out));
        assert_eq!(looked_at, encoded(&|out| encode(slot, 5, &read.clone().into(), out)));
        for sent in [None, Some((user_id, to))] {
            let advanced = Advanced { chat_id: chat_id.clone(), to, time: TimeMs::ZERO, sent };
            let looked_at = encoded(&|out| advanced.as_ref(hasher).encode(slot, 5, out));
            assert_eq!(looked_at, encoded(&|out| encode(slot, 5, &advanced.clone().into(), out)));
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let slot = Slot::new(4095).unwrap();
        let event = Event::from(RowChanged {
            user_id: UserId::new("u").unwrap(),
            chat_id: ChatId::new("c").unwrap(),
            event: 3,
            effect: Effect::Delete { to: Sequence::new(9).unwrap(), back: true },
        });
        let mut bytes = Vec::new();
        encode(slot, 77, &event, &mut bytes).unwrap();
        assert_eq!(decode(&bytes).unwrap(), (slot, 77, event));
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "prefix of {len} bytes");
        }
    }
}
