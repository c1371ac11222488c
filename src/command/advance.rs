//! `advance`: the last sequence of a chat rises, with a new message or for messages to come.

use std::convert::Infallible;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::schema::Bound;
#[cfg(test)]
use super::test_values::{Choices, Draw};
use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::limits::ADVANCE_AHEAD_MAX;
use crate::types::{AsKey, ChatId, Hashed, IdempotencyKey, KeyHasher, Sequence, TimeMs, UserId};

/// Arguments of `advance`: exactly one of `to` and `allocate`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Advance<Chat = ChatId, User = UserId, Key = IdempotencyKey> {
    /// The chat's id.
    pub chat_id: Chat,
    /// The sequence of a message that the backend stored. If it is not above the chat's last
    /// sequence, that stays.
    #[serde(default)]
    pub to: Option<Sequence>,
    /// How many sequences to hand out, from the next one on. Each is handed out only once.
    #[serde(default)]
    pub allocate: Option<u64>,
    /// The time of the newest message; the server's time if absent.
    #[serde(default)]
    pub time: Option<TimeMs>,
    /// The sender, for whom the message does not count as unread.
    // `default` alone would ask for the default of an id.
    #[serde(default = "Option::default")]
    pub sender_id: Option<User>,
    /// Allows `to` to be more than 1 000 000 ahead of the chat's sequence.
    #[serde(default)]
    pub force: Option<bool>,
    /// Makes a retry safe: the same request with this key gets the first reply.
    #[serde(default = "Option::default")]
    pub idempotency_key: Option<Key>,
    /// The command needs the chat to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

/// An [`Advance`] that borrows its ids, and has no idempotency key.
pub type AdvanceRef<'a> = Advance<Hashed<'a>, Hashed<'a>, Infallible>;

impl Advance {
    /// Borrows the arguments, and leaves out the idempotency key.
    pub fn as_ref(&self, hasher: KeyHasher) -> AdvanceRef<'_> {
        let Self { ref chat_id, to, allocate, time, ref sender_id, force, if_version, .. } = *self;
        AdvanceRef {
            chat_id: chat_id.as_key(hasher),
            to,
            allocate,
            time,
            sender_id: sender_id.as_ref().map(|sender_id| sender_id.as_key(hasher)),
            force,
            idempotency_key: None,
            if_version,
        }
    }
}

impl<Chat, User, Key> Check for Advance<Chat, User, Key> {
    fn check(&self) -> Result<(), Error> {
        match (self.to, self.allocate) {
            (Some(_), None) => Ok(()),
            (None, Some(count)) if (1..=ADVANCE_AHEAD_MAX).contains(&count) => Ok(()),
            (None, Some(_)) => {
                Err(Error::invalid(format!("allocate: must be 1 to {ADVANCE_AHEAD_MAX}")))
            }
            _ => Err(Error::invalid("advance needs either `to` or `allocate`, not both")),
        }
    }
}

impl Arguments for Advance {
    type Reply = AdvanceReply;
    const EXAMPLE: Option<&str> =
        Some(r#"{"chat_id": "GROUP", "allocate": 2, "sender_id": "USER"}"#);
    const BOUNDS: &[Bound] = &[Bound::integer("allocate", 1, ADVANCE_AHEAD_MAX)];

    fn touch(&self, keys: &mut impl NamedKeys) {
        keys.chat(&self.chat_id, Use::Write, By::Arrival);
    }
}

/// Reply to `advance`: the sequences that were handed out or, with `to`, the chat's last sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AdvanceReply {
    /// The first sequence handed out; with `to` it equals `last_sequence`.
    pub first_sequence: Sequence,
    /// The last sequence handed out; with `to` the chat's last sequence.
    pub last_sequence: Sequence,
    /// The time of the chat's newest message.
    pub last_time: TimeMs,
}

#[cfg(test)]
draw! {
    AdvanceReply { first_sequence, last_sequence, last_time }
}

#[cfg(test)]
impl Draw for Advance {
    fn draw(choices: &mut Choices<'_>) -> Self {
        let by_number = bool::draw(choices);
        Self {
            chat_id: choices.draw(),
            to: by_number.then(|| choices.draw()),
            allocate: (!by_number).then(|| choices.below(ADVANCE_AHEAD_MAX) + 1),
            time: choices.draw(),
            sender_id: choices.draw(),
            force: choices.draw(),
            idempotency_key: choices.draw(),
            if_version: choices.draw(),
        }
    }
}
