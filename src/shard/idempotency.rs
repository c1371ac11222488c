//! Idempotency keys: whom one belongs to, and under which text its answer is kept.
//!
//! A key belongs to the user that the command names, or else to the chat, or else (`create` without
//! an id) to the node. Within its owner it is for one request. (`import` names no chat of its own: it
//! uses its key with each chat of its lines, as that chat's.)
//!
//! A request that one step decides keeps its answer in its owner's slot. One that several shards
//! decide first takes its key there by a [`Claim`]: who uses the key for another request is refused
//! before anything is applied. Then each of its parts keeps its own answer beside the chat that it
//! is about, so that a repeat does what was left and nothing twice.
//!
//! ```text
//! what is kept      under
//! of a user's key   "u" hash of the user, 16 hex digits | newline | key
//! of a chat's key   newline | chat's id | newline | key
//! of a node's key   newline | newline | key
//! of a part         "p" claim's slot "." claim's number | newline | chat's id
//! ```
//!
//! Ids hold no control characters, so no two of these are the same. Older logs may hold others, in
//! which a user's id or hash and a chat's come before the key; nobody asks for those any more.
//!
//! Invariants:
//! - No text names a user. What is kept of one is found by their hash, and goes when they are erased;
//!   what is kept of a part tells nothing of them, and is nobody's once the claim is gone: a number is
//!   never given twice in a slot.

use compact_str::{CompactString, format_compact};
use serde::Serialize;

use crate::command::Kind;
use crate::types::{ChatId, IdempotencyKey, KeyHasher, Slot, UserId};

/// Whom a key belongs to.
#[derive(Debug, Clone, Copy)]
pub enum Owner<'a> {
    /// The user that the request names.
    User(&'a UserId),
    /// The chat that the request is about.
    Chat(&'a ChatId),
    /// Neither is named.
    Node,
}

impl Owner<'_> {
    /// The slot that keeps what was answered under this owner's key.
    pub fn slot(self, key: &IdempotencyKey, hasher: KeyHasher) -> Slot {
        match self {
            Self::User(user_id) => hasher.slot(user_id.as_str()),
            Self::Chat(chat_id) => hasher.slot(chat_id.as_str()),
            Self::Node => hasher.slot(key.as_str()),
        }
    }

    /// The text that it is kept under.
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

/// How all texts of a user's keys begin; `hash` is the user's.
pub fn users_prefix(hash: u64) -> CompactString {
    format_compact!("u{hash:016x}\n")
}

/// A request that takes its key before its parts go out.
#[derive(Debug, Clone)]
pub struct Claiming {
    /// Whose key it is; the node's without one.
    pub user_id: Option<UserId>,
    /// The key.
    pub key: IdempotencyKey,
    /// Digest of the whole request.
    pub request: u64,
}

impl Claiming {
    /// Whom the key belongs to.
    pub fn owner(&self) -> Owner<'_> {
        self.user_id.as_ref().map_or(Owner::Node, Owner::User)
    }
}

/// A key that was taken for a request, as its parts name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The slot that keeps it.
    pub slot: Slot,
    /// The slot's sequence when it was taken.
    pub number: u64,
    /// Digest of the whole request.
    pub request: u64,
}

impl Claim {
    /// The text that the part about a chat is kept under.
    pub fn part(&self, chat_id: &ChatId) -> CompactString {
        format_compact!("p{}.{}\n{chat_id}", self.slot.get(), self.number)
    }
}

/// Digest of a request's arguments and of which command it is.
pub fn digest(kind: Kind, arguments: &impl Serialize, hasher: KeyHasher) -> u64 {
    let mut bytes = vec![kind.code()];
    // Writing to memory does not fail; if it did, the digest would only be of less.
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
