//! Events: what was decided, as it goes into the log.
//!
//! A record of the log is one event of one slot. Replay applies the same events with the same code
//! ([`super::apply`]), so that what comes out is what was there.
//!
//! ```text
//! record payload: [slot u16 BE][slot sequence u64 BE][event code u8][fields: MessagePack array]
//! ```
//!
//! Codes are never used twice; new fields are added at the end.

use serde::{Deserialize, Serialize};

use super::member::Member;
use super::state::{ChatHead, Effect, FirstAnswer, counter};
use crate::limits::COUNTER_MAX;
use crate::types::{
    ChatId, ChatStatus, ChatType, Flag, Hashed, KeyHasher, Sequence, Slot, TimeMs, UserId,
};

/// A record that cannot be read.
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
                /// Its code in a record.
                pub const CODE: u8 = $code;
            }

            impl From<$name> for Event {
                fn from(event: $name) -> Self {
                    Self::$name(event)
                }
            }
        )+

        /// A decision.
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
    /// A chat was made.
    1 Created {
        /// Its id.
        chat_id: ChatId,
        /// Its type.
        chat_type: ChatType,
        /// Who made it.
        creator_id: UserId,
        /// Encrypted.
        is_enc: Flag,
        /// When.
        created_at: TimeMs,
        /// Digest of the request.
        request_digest: u64,
        /// First members, each once.
        user_ids: Vec<UserId>,
    }
    /// Users joined; none of them was a member.
    2 MembersAdded {
        /// The chat.
        chat_id: ChatId,
        /// Who, each once.
        user_ids: Vec<UserId>,
    }
    /// Members left.
    3 MembersRemoved {
        /// The chat.
        chat_id: ChatId,
        /// Who, each once.
        user_ids: Vec<UserId>,
    }
    /// A message arrived, or sequences were handed out.
    4 Advanced {
        /// The chat.
        chat_id: ChatId,
        /// The stored sequence after it; 0 if only the sender's position rose.
        to: Sequence,
        /// Time of the newest sequence.
        time: TimeMs,
        /// The member who sent it, with the position of their own newest message.
        sent: Option<(UserId, Sequence)>,
    }
    /// A member deleted the chat.
    5 Deleted {
        /// The chat.
        chat_id: ChatId,
        /// Who.
        user_id: UserId,
        /// Watermark.
        to: Sequence,
    }
    /// A chat was enabled or disabled.
    6 StatusSet {
        /// The chat.
        chat_id: ChatId,
        /// What it is now.
        status: ChatStatus,
    }
    /// A chat ended for good.
    7 Dissolved {
        /// The chat.
        chat_id: ChatId,
    }
    /// All deliveries of an event are confirmed.
    8 DeliveryDone {
        /// The chat.
        chat_id: ChatId,
        /// The event's number.
        event: u64,
    }
    /// A chat was imported, new or merged.
    9 ChatImported {
        /// What it is now.
        head: ChatHead,
    }
    /// Members were imported, new or merged.
    10 MembersImported {
        /// The chat.
        chat_id: ChatId,
        /// Each member with what happens to its row; `deleted_in` tells only whether.
        members: Vec<(Member, Effect)>,
    }
    /// A user was erased: they are no member any more, and not named as the chat's maker.
    11 MemberErased {
        /// The chat.
        chat_id: ChatId,
        /// Who.
        user_id: UserId,
    }
    /// A chat's event reached a row.
    32 RowChanged {
        /// Whose row.
        user_id: UserId,
        /// Of which chat.
        chat_id: ChatId,
        /// The event's number in that chat.
        #[serde(deserialize_with = "counter")]
        event: u64,
        /// What it does.
        effect: Effect,
    }
    /// A user has read.
    33 Read {
        /// Whose row.
        user_id: UserId,
        /// Of which chat.
        chat_id: ChatId,
        /// Up to where.
        seq: Sequence,
    }
    /// A user set flags; what is absent stays.
    34 FlagsSet {
        /// Whose row.
        user_id: UserId,
        /// Of which chat.
        chat_id: ChatId,
        /// Pin.
        is_top: Option<Flag>,
        /// Mute.
        is_mute: Option<Flag>,
        /// Hide.
        is_hide: Option<Flag>,
        /// Mark as unread.
        marked_unread: Option<Flag>,
    }
    /// A user was online.
    35 Touched {
        /// Who.
        user_id: UserId,
        /// In which chats; in all without it.
        chat_ids: Option<Vec<ChatId>>,
        /// When.
        time: TimeMs,
    }
    /// A user cleared a chat's history.
    36 Cleared {
        /// Whose row.
        user_id: UserId,
        /// Of which chat.
        chat_id: ChatId,
        /// Watermark.
        to: Sequence,
    }
    /// A user was erased: versions, orders, tombstones and what was kept under their keys are forgotten.
    37 UserErased {
        /// Who.
        user_id: UserId,
    }
    /// It was imported that a user is no member of a chat any more.
    38 GoneImported {
        /// Whose row it was.
        user_id: UserId,
        /// Of which chat.
        chat_id: ChatId,
        /// The version of the removal; the user's next without it.
        #[serde(deserialize_with = "counter")]
        version: Option<u64>,
    }
    /// More was remembered of what users had than may be: this one's removals up to a version are forgotten, and
    /// who has no rows either is forgotten whole.
    39 Forgotten {
        /// Who.
        user_id: UserId,
        /// Up to which version.
        #[serde(deserialize_with = "counter")]
        to: u64,
    }
    /// A request with an idempotency key was answered, or took its key.
    64 Answered {
        /// The answer.
        answer: FirstAnswer,
    }
}

impl Event {
    /// The chat or user in whose slot it happened; of an answer the text does not tell.
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

/// Length of a record's fixed part.
const HEADER_BYTES: usize = 2 + 8 + 1;

/// Appends the record of an event.
///
/// # Errors
/// If a field cannot be encoded, which no value of these types leads to.
pub fn encode(slot: Slot, seq: u64, event: &Event, out: &mut Vec<u8>) -> Result<(), BadRecord> {
    encode_header(slot, seq, event.code(), out);
    event.encode_fields(out).map_err(|error| BadRecord(error.to_string()))
}

fn encode_header(slot: Slot, seq: u64, code: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(&slot.get().to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
    out.push(code);
}

/// An [`Advanced`] whose ids are read where they lie: the most frequent events are decided, logged and
/// applied without a copy of them.
#[derive(Debug, Clone, Copy, Serialize)]
#[expect(missing_docs, reason = "the fields are those of `Advanced`")]
pub struct AdvancedRef<'a> {
    pub chat_id: Hashed<&'a str>,
    pub to: Sequence,
    pub time: TimeMs,
    pub sent: Option<(Hashed<&'a str>, Sequence)>,
}

impl AdvancedRef<'_> {
    /// Encodes it as the [`Advanced`] that it is.
    ///
    /// # Errors
    /// As [`encode`].
    pub fn encode(&self, slot: Slot, seq: u64, out: &mut Vec<u8>) -> Result<(), BadRecord> {
        encode_fields(slot, seq, Advanced::CODE, self, out)
    }
}

/// A [`Read`] in the same way.
#[derive(Debug, Clone, Copy, Serialize)]
#[expect(missing_docs, reason = "the fields are those of `Read`")]
pub struct ReadRef<'a> {
    pub user_id: Hashed<&'a str>,
    pub chat_id: Hashed<&'a str>,
    pub seq: Sequence,
}

impl ReadRef<'_> {
    /// Encodes it as the [`Read`] that it is.
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
    /// The same, looked at.
    pub fn as_ref(&self, hasher: KeyHasher) -> ReadRef<'_> {
        let Self { user_id, chat_id, seq } = self;
        let (user_id, chat_id) = (hasher.hashed(user_id.as_str()), hasher.hashed(chat_id.as_str()));
        ReadRef { user_id, chat_id, seq: *seq }
    }
}

impl Advanced {
    /// The same, looked at.
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

/// The slot that a record belongs to.
pub fn slot_of(payload: &[u8]) -> Result<Slot, BadRecord> {
    payload
        .first_chunk::<2>()
        .and_then(|bytes| Slot::new(u16::from_be_bytes(*bytes)))
        .ok_or_else(|| BadRecord("no slot".into()))
}

/// A record's slot, its slot sequence and its event.
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

/// Whether a record may tell when it was written; by its code alone.
pub fn has_time(payload: &[u8]) -> bool {
    let code = payload.get(HEADER_BYTES - 1);
    code.is_some_and(|code| [Advanced::CODE, Touched::CODE].contains(code))
}

/// When a record was written, as far as it tells.
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
