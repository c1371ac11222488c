//! A member: a user in a chat, as the chat knows the user.

use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::compact::{Compact, Packed};
use super::decode::counter;
use super::roster::Entry;
use crate::command::floors::Floors;
use crate::types::{InternedUserId, Sequence};

/// A user in a chat, as the chat knows the user. It takes 24 bytes, or more if a number does not
/// fit [`ShortMember`].
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The user. The user's id is the key of the member among the chat's members.
    pub user_id: InternedUserId,
    facts: Packed<MemberFacts>,
}

const _: () = assert!(size_of::<Member>() == 24);

/// The facts that a chat knows of a member.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MemberFacts {
    /// Join order. No other member of the chat has it.
    pub order: u64,
    /// The join sequence: messages before it never count as unread.
    pub join_seq: Sequence,
    /// The sent sequence: that of the newest message that the member sent. 0 if there is none.
    pub sent_seq: Sequence,
    /// 0 if the member never deleted the chat, else the chat's returns at the deletion plus 1. The
    /// next message raises the returns, so the member no longer counts as deleted. So one changed
    /// number ends the deletion for all members.
    pub deleted_in: u64,
}

impl Member {
    /// A member with these facts.
    pub fn new(user_id: InternedUserId, facts: MemberFacts) -> Self {
        Self { user_id, facts: facts.into() }
    }

    /// A copy of the facts.
    #[inline(always)]
    pub fn facts(&self) -> MemberFacts {
        self.facts.get()
    }

    /// Changes the facts but never the order, because the roster is sorted by it.
    #[inline]
    pub fn update(&mut self, change: impl FnOnce(&mut MemberFacts)) {
        self.facts.update(change);
    }

    /// The floors of a member that the chat knows: join sequence and sent sequence.
    #[inline]
    pub fn floors(&self) -> Floors {
        let facts = self.facts();
        Floors { join_seq: facts.join_seq, sent_seq: facts.sent_seq, ..Floors::default() }
    }
}

impl Entry for Member {
    fn key(&self) -> &str {
        self.user_id.as_str()
    }
    fn order(&self) -> u64 {
        self.facts().order
    }
    fn take(&mut self) -> Self {
        Self { user_id: self.user_id.take(), facts: self.facts.clone() }
    }
}

/// The short form of [`MemberFacts`], with numbers of 32 bits. An order is never 0, and the
/// compiler uses 0 to tell a member without a short form.
#[derive(Debug, Clone, Copy)]
pub struct ShortMember {
    order: NonZeroU32,
    join_seq: u32,
    sent_seq: u32,
    deleted_in: u32,
}

impl Compact for MemberFacts {
    type Short = ShortMember;

    fn shorten(self) -> Option<ShortMember> {
        Some(ShortMember {
            order: u32::try_from(self.order).ok()?.try_into().ok()?,
            join_seq: u32::try_from(self.join_seq.get()).ok()?,
            sent_seq: u32::try_from(self.sent_seq.get()).ok()?,
            deleted_in: u32::try_from(self.deleted_in).ok()?,
        })
    }

    #[inline(always)]
    fn restore(short: ShortMember) -> Self {
        Self {
            order: u64::from(short.order.get()),
            join_seq: short.join_seq.into(),
            sent_seq: short.sent_seq.into(),
            deleted_in: u64::from(short.deleted_in),
        }
    }
}

/// A member as snapshots and records store it.
#[derive(Serialize, Deserialize)]
struct Encoded<Id> {
    user_id: Id,
    #[serde(deserialize_with = "counter")]
    order: u64,
    join_seq: Sequence,
    sent_seq: Sequence,
    #[serde(deserialize_with = "counter")]
    deleted_in: u64,
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let MemberFacts { order, join_seq, sent_seq, deleted_in } = self.facts();
        Encoded { user_id: &self.user_id, order, join_seq, sent_seq, deleted_in }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Encoded { user_id, order, join_seq, sent_seq, deleted_in } =
            Encoded::deserialize(deserializer)?;
        Ok(Self::new(user_id, MemberFacts { order, join_seq, sent_seq, deleted_in }))
    }
}
