//! What an event of a chat changes in rows, and which rows.
//!
//! Invariants:
//! - No step takes time that grows with the number of rows. So the members of a dissolved chat stay
//!   in their chunks, and are dropped in parts.

use serde::{Deserialize, Serialize};

use super::decode::counter;
use super::member::Member;
use super::roster::Chunks;
use super::row::RowImport;
use crate::limits::CHUNK_ENTRIES_MAX;
use crate::types::{Sequence, UserId};

/// What an event of a chat changes in one row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// The user became a member.
    #[serde(rename = "j")]
    Join {
        /// The join sequence: messages before it never count as unread.
        join_seq: Sequence,
    },
    /// The user is no longer a member.
    #[serde(rename = "r")]
    Remove,
    /// The user deleted the chat.
    #[serde(rename = "d")]
    Delete {
        /// The user's new watermark.
        to: Sequence,
        /// Whether the chat already has a message above the watermark. Then the row stays in the
        /// list.
        back: bool,
    },
    /// A message brings back the row of a user who deleted the chat.
    #[serde(rename = "b")]
    Return,
    /// An import adds or changes the row.
    #[serde(rename = "i")]
    Import(Box<RowImport>),
    /// The user is being erased, so the row is removed. `sync` reports a removal until the user is
    /// forgotten, and a crash in between may delay that.
    #[serde(rename = "x")]
    Erase,
}

/// An event of a chat that some row has not confirmed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Number of the event in its chat.
    #[serde(deserialize_with = "counter")]
    pub event: u64,
    /// The rows that the event changes, with its effects.
    pub deliveries: Deliveries,
}

/// The users whose rows an event changes, with its effect on each row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Deliveries {
    /// One effect, for all these users.
    #[serde(rename = "s")]
    Same(Effect, Vec<UserId>),
    /// An effect of its own for each user.
    #[serde(rename = "e")]
    Each(Vec<(UserId, Effect)>),
    /// One effect, for all former members of a dissolved chat. Snapshots store it as
    /// [`Self::Same`].
    #[serde(skip)]
    Members(Effect, Chunks<Member>),
}

impl Deliveries {
    /// How many rows the event changes.
    pub fn len(&self) -> usize {
        match self {
            Self::Same(_, users) => users.len(),
            Self::Each(users) => users.len(),
            Self::Members(_, chunks) => chunks.iter().map(|chunk| chunk.len()).sum(),
        }
    }

    /// Whether the event changes no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends more deliveries of this event.
    pub fn extend(&mut self, part: Self) {
        match (&mut *self, part) {
            (Self::Same(_, users), Self::Same(_, more)) => users.extend(more),
            (Self::Each(users), more) => users.extend(more.slice(0, more.len())),
            (_, more) => {
                let mut users = self.slice(0, self.len());
                users.extend(more.slice(0, more.len()));
                *self = Self::Each(users);
            }
        }
    }

    /// Like [`Self::slice`], but returns the deliveries as a [`Deliveries`].
    pub fn part(&self, start: usize, count: usize) -> Self {
        match self {
            Self::Same(effect, users) => {
                Self::Same(effect.clone(), users.iter().skip(start).take(count).cloned().collect())
            }
            Self::Members(effect, chunks) => {
                let users = members(chunks, start).take(count);
                Self::Same(effect.clone(), users.map(|user| user.user_id.to_user_id()).collect())
            }
            Self::Each(_) => Self::Each(self.slice(start, count)),
        }
    }

    /// At most `count` deliveries, from position `start` on.
    pub fn slice(&self, start: usize, count: usize) -> Vec<(UserId, Effect)> {
        match self {
            Self::Same(effect, users) => users
                .iter()
                .skip(start)
                .take(count)
                .map(|user| (user.clone(), effect.clone()))
                .collect(),
            Self::Each(users) => users.iter().skip(start).take(count).cloned().collect(),
            Self::Members(effect, chunks) => members(chunks, start)
                .take(count)
                .map(|member| (member.user_id.to_user_id(), effect.clone()))
                .collect(),
        }
    }

    /// Drops about `count` deliveries from the end. Returns how many interned ids went with them.
    pub fn shorten(&mut self, count: usize) -> usize {
        match self {
            Self::Same(_, users) => users.truncate(users.len().saturating_sub(count)),
            Self::Each(users) => users.truncate(users.len().saturating_sub(count)),
            Self::Members(_, chunks) => {
                let left = chunks.len().saturating_sub(count.div_ceil(CHUNK_ENTRIES_MAX));
                let gone = chunks.iter().skip(left).map(|chunk| chunk.len()).sum();
                chunks.truncate(left);
                return gone;
            }
        }
        0
    }
}

/// The members in these chunks, from position `start` on.
fn members(chunks: &Chunks<Member>, start: usize) -> impl Iterator<Item = &Member> {
    let (mut first, mut before) = (0, start);
    while let Some(chunk) = chunks.get(first).filter(|chunk| chunk.len() <= before) {
        before -= chunk.len();
        first += 1;
    }
    chunks.iter().skip(first).flat_map(|chunk| chunk.iter()).skip(before)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::member::MemberFacts;
    use crate::shard::roster::Roster;
    use crate::types::{InternedUserId, KeyHasher};

    #[test]
    fn members_in_chunks_are_as_good_as_a_list_of_users() {
        let hasher = KeyHasher::new(7);
        let mut roster = Roster::default();
        let users: Vec<UserId> =
            (0..500).map(|n| UserId::new(&format!("user {n:->40}")).unwrap()).collect();
        for (order, user_id) in (0_u64..).zip(&users) {
            let zero = Sequence::ZERO;
            let facts = MemberFacts { order, join_seq: zero, sent_seq: zero, deleted_in: 0 };
            roster.insert(Member::new(InternedUserId::from(user_id), facts), hasher);
        }
        // The removals leave chunks of different lengths.
        let is_gone = |n: usize| n % 7 == 3 || (100..190).contains(&n);
        for (_, user_id) in users.iter().enumerate().filter(|(n, _)| is_gone(*n)) {
            roster.remove(user_id.as_str(), hasher.hash(user_id.as_str()));
        }
        let left: Vec<UserId> = users
            .into_iter()
            .enumerate()
            .filter_map(|(n, id)| (!is_gone(n)).then_some(id))
            .collect();
        let mut chunks = Deliveries::Members(Effect::Remove, roster.into_chunks());
        let list = Deliveries::Same(Effect::Remove, left);
        assert_eq!(chunks.len(), list.len());
        for start in 0..=list.len() {
            for count in [0, 1, 32, 1000] {
                assert_eq!(chunks.slice(start, count), list.slice(start, count));
                assert_eq!(chunks.part(start, count), list.part(start, count));
            }
        }
        let mut whole = chunks.part(0, 10);
        whole.extend(chunks.part(10, 1000));
        assert_eq!(whole, list);
        let mut gone = 0;
        while !chunks.is_empty() {
            gone += chunks.shorten(100);
            assert_eq!(chunks.len() + gone, list.len());
        }
    }
}
