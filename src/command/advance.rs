//! `advance`: the last sequence of a chat rises, with a new message or for messages to come.

use serde::{Deserialize, Serialize};

#[cfg(test)]
use super::test_values::{Choices, Draw};
use super::{Arguments, By, Check, Error, NamedKeys, Use};
use crate::limits::ADVANCE_AHEAD_MAX;
use crate::types::{ChatId, Hashed, IdempotencyKey, KeyHasher, Sequence, TimeMs, UserId};

/// Arguments of `advance`: exactly one of `to` and `allocate`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    /// The chat's id.
    pub chat_id: ChatId,
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
    #[serde(default)]
    pub sender_id: Option<UserId>,
    /// Allows `to` to be more than 1 000 000 ahead of the chat's sequence.
    #[serde(default)]
    pub force: Option<bool>,
    /// Makes a retry safe; see [`IdempotencyKey`].
    #[serde(default)]
    pub idempotency_key: Option<IdempotencyKey>,
    /// The command needs the chat to have this version; otherwise it fails with 409.
    #[serde(default)]
    pub if_version: Option<u64>,
}

/// An `advance` without an idempotency key. Its ids are borrowed from the bytes of the request. The
/// other fields are those of [`Advance`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of `Advance`")]
pub struct AdvanceRef<'a> {
    pub chat_id: Hashed<'a>,
    pub to: Option<Sequence>,
    pub allocate: Option<u64>,
    pub time: Option<TimeMs>,
    pub sender_id: Option<Hashed<'a>>,
    pub force: Option<bool>,
    pub if_version: Option<u64>,
}

impl Advance {
    /// Borrows the arguments, with their ids hashed, and leaves out the idempotency key.
    pub fn as_ref(&self, hasher: KeyHasher) -> AdvanceRef<'_> {
        AdvanceRef {
            chat_id: hasher.hashed(self.chat_id.as_str()),
            to: self.to,
            allocate: self.allocate,
            time: self.time,
            sender_id: self.sender_id.as_ref().map(|sender_id| hasher.hashed(sender_id.as_str())),
            force: self.force,
            if_version: self.if_version,
        }
    }
}

impl Check for Advance {
    fn check(&self) -> Result<(), Error> {
        check_target(self.to, self.allocate)
    }
}

impl Arguments for Advance {
    type Reply = AdvanceReply;
    const EXAMPLE: Option<&str> =
        Some(r#"{"chat_id": "GROUP", "allocate": 2, "sender_id": "USER"}"#);

    fn touch(&self, keys: &mut impl NamedKeys) {
        keys.chat(&self.chat_id, Use::Write, By::Arrival);
    }
}

impl Check for AdvanceRef<'_> {
    fn check(&self) -> Result<(), Error> {
        check_target(self.to, self.allocate)
    }
}

fn check_target(to: Option<Sequence>, allocate: Option<u64>) -> Result<(), Error> {
    match (to, allocate) {
        (Some(_), None) => Ok(()),
        (None, Some(count)) if (1..=ADVANCE_AHEAD_MAX).contains(&count) => Ok(()),
        (None, Some(_)) => {
            Err(Error::invalid(format!("allocate: must be 1 to {ADVANCE_AHEAD_MAX}")))
        }
        _ => Err(Error::invalid("advance needs either `to` or `allocate`, not both")),
    }
}

/// Reply to `advance`: the sequences that were handed out or, with `to`, the chat's last sequence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
