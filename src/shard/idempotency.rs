//! Idempotency keys: their owners, and the texts under which answers are kept.
//!
//! A key belongs to the user that the command names, else to the chat, else (`create` without an
//! id) to the node. Within its owner it is for one request. `import` names no chat of its own: it
//! uses its key with each chat of its lines, as a key of that chat.
//!
//! If one step decides a request, its answer is kept in the owner's slot. If several shards decide
//! it, the request first takes its key there by a [`Claim`]. Another request with this key is then
//! refused before anything is applied. After that, each part of the request keeps its own answer in
//! the slot of its chat. So a repeat does what was left, and nothing twice.
//!
//! ```text
//! what is kept      under
//! of a user's key   "u" hash of the user, 16 hex digits | newline | key
//! of a chat's key   newline | chat's id | newline | key
//! of a node's key   newline | newline | key
//! of a part         "p" claim's slot "." claim's number | newline | chat's id
//! ```
//!
//! Ids hold no control characters, so no two of these texts are equal. Older logs may hold other
//! texts, in which a user's id or hash and a chat's id come before the key. Nothing reads those any
//! more.
//!
//! Invariants:
//! - No text names a user. The answers under a user's keys are found by the user's hash, and go
//!   when the user is erased.
//! - The answer of a part says nothing about the user. Without its claim it belongs to nobody,
//!   because a slot never uses a claim's number twice.

use compact_str::{CompactString, format_compact};
use serde::Serialize;

use crate::command::{Kind, Owner};
use crate::types::{ChatId, IdempotencyKey, KeyHasher, Slot, UserId};

impl Owner<'_> {
    /// The slot that keeps the answer under this owner's key.
    pub fn slot(self, key: &IdempotencyKey, hasher: KeyHasher) -> Slot {
        match self {
            Self::User(user_id) => hasher.slot(user_id.as_str()),
            Self::Chat(chat_id) => hasher.slot(chat_id.as_str()),
            Self::Node => hasher.slot(key.as_str()),
        }
    }

    /// The text under which the answer is kept.
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

/// The beginning of all texts of a user's keys; `hash` is that of the user's id.
pub fn users_prefix(hash: u64) -> CompactString {
    format_compact!("u{hash:016x}\n")
}

/// A request that takes its key before its parts are sent.
#[derive(Debug, Clone)]
pub struct Claiming {
    /// The owner of the key; None means the node.
    pub user_id: Option<UserId>,
    /// The key as the client sent it.
    pub key: IdempotencyKey,
    /// Digest of the whole request.
    pub request: u64,
}

impl Claiming {
    /// The owner of the key: the user, or else the node.
    pub fn owner(&self) -> Owner<'_> {
        self.user_id.as_ref().map_or(Owner::Node, Owner::User)
    }
}

/// A key that a request has taken. The parts of the request name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The slot that keeps the claim.
    pub slot: Slot,
    /// The slot's sequence when the key was taken, unique within the slot.
    pub number: u64,
    /// Digest of the whole request.
    pub request: u64,
}

impl Claim {
    /// The text under which the part about a chat is kept.
    pub fn part(&self, chat_id: &ChatId) -> CompactString {
        format_compact!("p{}.{}\n{chat_id}", self.slot.get(), self.number)
    }
}

/// Digest of a request: its kind and its arguments.
pub fn digest(kind: Kind, arguments: &impl Serialize, hasher: KeyHasher) -> u64 {
    let mut bytes = vec![kind.code()];
    // Writing to memory does not fail. If it did, the digest would cover fewer bytes.
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
        let claim = Claim { slot: hasher.slot("x"), number: 1, request: 1 };
        let texts = [
            Owner::User(&user).scope(&key, hasher),
            Owner::Chat(&chat).scope(&key, hasher),
            Owner::Node.scope(&key, hasher),
            claim.part(&chat),
            Claim { number: 2, ..claim }.part(&chat),
        ];
        for (at, text) in texts.iter().enumerate() {
            assert_eq!(texts.iter().position(|other| other == text), Some(at), "{text:?}");
        }
        assert!(texts[0].starts_with(users_prefix(hasher.hash("x")).as_str()));
    }
}
