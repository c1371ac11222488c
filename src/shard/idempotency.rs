//! Idempotency keys: who owns them, and the scopes under which slots keep first answers.
//!
//! A key belongs to the user that its command names. Without a user it belongs to the chat, and for
//! a `create` without an id to the node. An owner uses a key for one request. `import` names no
//! chat: its key counts as a key of each chat in its lines.
//!
//! If one step decides a request, the owner's slot keeps the answer. If several shards decide it,
//! the request first reserves its key in that slot. From then on another request with the key is
//! refused before it changes anything. Each part of the request then keeps an
//! answer in the slot of its chat. So a repeat does the parts that are missing, and no part twice.
//!
//! ```text
//! kept answer       its scope
//! of a user's key   "u" hash of the user, 16 hex digits | newline | key
//! of a chat's key   newline | chat's id | newline | key
//! of a node's key   newline | newline | key
//! of a part         "p" reservation's slot "." reservation's number | newline | chat's id
//! ```
//!
//! Ids hold no control characters, so all scopes differ. Older logs may hold other scopes, with a
//! user's id or hash and a chat's id before the key. Nothing looks those up any more.
//!
//! Invariants:
//! - No scope names a user. The first answers of a user are found by the user's hash, and are
//!   removed when the user is erased.
//! - The answer of a part says nothing about the user. Without its reservation nothing can find it,
//!   because a slot never uses the number of a reservation twice.

use compact_str::{CompactString, format_compact};
use serde::Serialize;

use crate::command::{Kind, Owner};
use crate::types::{ChatId, IdempotencyKey, KeyHasher, Slot, UserId};

impl Owner<'_> {
    /// The slot that keeps the first answer for this owner's key.
    pub fn slot(self, key: &IdempotencyKey, hasher: KeyHasher) -> Slot {
        match self {
            Self::User(user_id) => hasher.slot(user_id.as_str()),
            Self::Chat(chat_id) => hasher.slot(chat_id.as_str()),
            Self::Node => hasher.slot(key.as_str()),
        }
    }

    /// The scope under which the slot keeps the first answer.
    pub fn scope(self, key: &IdempotencyKey, hasher: KeyHasher) -> CompactString {
        match self {
            Self::User(user_id) => {
                format_compact!("{}{key}", users_prefix(hasher.hash(user_id.as_str())))
            }
            Self::Chat(chat_id) => format_compact!("\n{chat_id}\n{key}"),
            Self::Node => format_compact!("\n\n{key}"),
        }
    }
}

/// What all scopes of a user's keys begin with. `hash` is the hash of the user's id.
pub fn users_prefix(hash: u64) -> CompactString {
    format_compact!("u{hash:016x}\n")
}

/// A request with a key, before its parts are sent: it must reserve the key first.
#[derive(Debug, Clone)]
pub struct Reserving {
    /// The owner of the key. None stands for the node.
    pub user_id: Option<UserId>,
    /// The key as the client sent it.
    pub key: IdempotencyKey,
    /// Digest of the whole request.
    pub request: u64,
}

impl Reserving {
    /// The owner of the key: the user, or the node without a user.
    pub fn owner(&self) -> Owner<'_> {
        self.user_id.as_ref().map_or(Owner::Node, Owner::User)
    }
}

/// A key that a request has reserved. All parts of the request carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reservation {
    /// The slot that keeps the reservation.
    pub slot: Slot,
    /// Slot sequence of the reservation's record. No other reservation of the slot has it.
    pub number: u64,
    /// Digest of the whole request.
    pub request: u64,
}

impl Reservation {
    /// The scope of the part that concerns `chat_id`.
    pub fn part(&self, chat_id: &ChatId) -> CompactString {
        format_compact!("p{}.{}\n{chat_id}", self.slot.get(), self.number)
    }
}

/// Digest of a request: of its kind and its arguments.
pub fn digest(kind: Kind, arguments: &impl Serialize, hasher: KeyHasher) -> u64 {
    let mut bytes = vec![kind.code()];
    // Writing to memory cannot fail. If it did, the digest would cover fewer bytes.
    _ = rmp_serde::encode::write(&mut bytes, arguments);
    hasher.hash_bytes(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_owners_share_a_text() {
        let hasher = KeyHasher::new(7);
        let (user, chat) = (UserId::new("x").unwrap(), ChatId::new("x").unwrap());
        let key = IdempotencyKey::new("x").unwrap();
        let reservation = Reservation { slot: hasher.slot("x"), number: 1, request: 1 };
        let texts = [
            Owner::User(&user).scope(&key, hasher),
            Owner::Chat(&chat).scope(&key, hasher),
            Owner::Node.scope(&key, hasher),
            reservation.part(&chat),
            Reservation { number: 2, ..reservation }.part(&chat),
        ];
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(texts.iter().position(|other| other == text), Some(at), "{text:?}");
        }
        assert!(texts[0].starts_with(users_prefix(hasher.hash("x")).as_str()));
    }
}
