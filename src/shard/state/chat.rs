//! A chat: its head, its members, and its open deliveries.
//!
//! Invariants:
//! - The outbox holds the chat's events whose deliveries are not all confirmed, oldest first.
//! - A dissolved chat has no members. When its last event is delivered, only its id stays, in
//!   [`Retired`](crate::shard::retired::Retired), forever.

use std::mem::offset_of;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thin_vec::ThinVec;

use crate::command::detail::{ChatItem, ChatItemRef};
use crate::shard::decode::counter;
use crate::shard::deliveries::{Deliveries, OutboxEntry};
use crate::shard::member::Member;
use crate::shard::roster::Roster;
use crate::types::{ChatId, ChatStatus, ChatType, Flag, InternedUserId, Sequence, TimeMs, UserId};

/// A chat's own facts, without its members. The order of the fields is that of snapshots. The facts
/// that `detail` and `conversations` read come first, within one cache line, see [`Chat`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[repr(C)]
pub struct ChatHead {
    /// The chat's id, which decides its slot.
    pub id: ChatId,
    /// The user who created the chat; [`UserId::erased`] if they were erased.
    pub creator_id: InternedUserId,
    /// Single, group or official.
    pub chat_type: ChatType,
    /// Whether the chat accepts messages: normal or disabled.
    pub status: ChatStatus,
    /// Whether the chat is encrypted.
    pub is_enc: Flag,
    /// Whether the chat has ended for good.
    pub dissolved: bool,
    /// Sequence of the newest message.
    pub last_sequence: Sequence,
    /// Time of the newest message.
    pub last_time: TimeMs,
    /// Time of the chat's creation.
    pub created_at: TimeMs,
    /// Counts changes of the head and of the set of members.
    #[serde(deserialize_with = "counter")]
    pub version: u64,
    /// Number of the last event that had deliveries.
    #[serde(deserialize_with = "counter")]
    pub event: u64,
    /// Digest of the `create` request; 0 if the chat was imported without one.
    pub request_digest: u64,
    /// Counts how often deleted rows were brought back; see
    /// [`MemberFacts::deleted_in`](crate::shard::member::MemberFacts::deleted_in).
    #[serde(deserialize_with = "counter")]
    pub epoch: u64,
    /// Join order of the next member.
    #[serde(deserialize_with = "counter")]
    pub next_order: u64,
}

impl ChatHead {
    /// The head of a dissolved chat that is known only by its id and type. It no longer names its
    /// creator.
    pub fn retired(id: ChatId, chat_type: ChatType) -> Self {
        Self {
            id,
            creator_id: InternedUserId::from(&UserId::erased()),
            chat_type,
            status: ChatStatus::Normal,
            is_enc: Flag::NO,
            dissolved: true,
            last_sequence: Sequence::ZERO,
            last_time: TimeMs::ZERO,
            created_at: TimeMs::ZERO,
            version: 1,
            event: 0,
            request_digest: 0,
            epoch: 0,
            next_order: 1,
        }
    }

    /// The chat as `detail` replies it to a reader with this floor, borrowed.
    pub fn item_ref(&self, last_read_sequence: Sequence) -> ChatItemRef<'_> {
        ChatItemRef {
            id: &self.id,
            creator_id: self.creator_id.as_str(),
            chat_type: self.chat_type,
            status: self.status,
            is_enc: self.is_enc,
            last_read_sequence,
            last_sequence: self.last_sequence,
            last_time: self.last_time,
            created_at: self.created_at,
        }
    }

    /// The chat as `detail` replies it to a reader with this floor.
    pub fn item(&self, last_read_sequence: Sequence) -> ChatItem {
        self.item_ref(last_read_sequence).with_ids(self.id.clone(), self.creator_id.to_user_id())
    }
}

/// A chat: its head, its members, and its open deliveries.
///
/// When many chats are looked up, each cache line is a wait for memory. So fields that are read
/// together are in one line. The first line holds the facts that lists and details reply, the third
/// one leads to the members.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Chat {
    /// The chat's own facts.
    pub head: ChatHead,
    /// Users who deleted the chat since its last message; None if there are none. May name users
    /// who left since.
    pub deleters: Option<Arc<Vec<UserId>>>,
    /// Events with deliveries under way, oldest first.
    pub outbox: ThinVec<Arc<OutboxEntry>>,
    /// Sender of the newest message; follows from the members.
    pub newest_by: NewestBy,
    /// Members, in join order.
    pub members: Roster<Member>,
}

const LINE_BYTES: usize = 64;
const _: () = assert!(offset_of!(Chat, head) + offset_of!(ChatHead, version) == LINE_BYTES);
const _: () = assert!(offset_of!(Chat, members) == 2 * LINE_BYTES);
const _: () = assert!(size_of::<Roster<Member>>() == LINE_BYTES);
const _: () = assert!(size_of::<Chat>() == 3 * LINE_BYTES);

/// The member who sent the newest message of a chat, as far as it is known. It spares a lookup of
/// the member to know whether they have anything unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewestBy {
    /// No member sent it.
    Nobody,
    /// At most the members whose hash ends in these 32 bits.
    One(u32),
    /// Perhaps several members, as the requests named them.
    Anybody,
}

/// The lower 32 bits of a hash.
fn hash_end(hash: u64) -> u32 {
    u32::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

impl Chat {
    /// A chat without members, deleters and deliveries.
    pub fn new(head: ChatHead) -> Self {
        Self {
            head,
            members: Roster::default(),
            deleters: None,
            outbox: ThinVec::new(),
            newest_by: NewestBy::Nobody,
        }
    }

    /// Notes a member's own newest sequence. Must be called whenever it or the chat's last sequence
    /// changes.
    pub fn note_sent(&mut self, hash: u64, sent_seq: Sequence) {
        if sent_seq < self.head.last_sequence {
            return;
        }
        let sender = hash_end(hash);
        self.newest_by = match self.newest_by {
            NewestBy::Nobody => NewestBy::One(sender),
            NewestBy::One(other) if other == sender => NewestBy::One(sender),
            _ => NewestBy::Anybody,
        };
    }

    /// Whether this member may have sent the newest message.
    pub fn newest_may_be_by(&self, hash: u64) -> bool {
        match self.newest_by {
            NewestBy::Nobody => false,
            NewestBy::One(other) => other == hash_end(hash),
            NewestBy::Anybody => true,
        }
    }

    /// Users who deleted the chat since its last message.
    pub fn deleters(&self) -> &[UserId] {
        self.deleters.as_ref().map_or(&[], |users| users)
    }

    /// Adds users to the deleters.
    pub fn add_deleters(&mut self, users: impl IntoIterator<Item = UserId>) {
        let mut users = users.into_iter().peekable();
        if users.peek().is_some() {
            Arc::make_mut(self.deleters.get_or_insert_default()).extend(users);
        }
    }

    /// Removes a user from the deleters.
    pub fn forget_deleter(&mut self, user_id: &UserId) {
        if self.deleters().contains(user_id)
            && let Some(deleters) = &mut self.deleters
        {
            let left = Arc::make_mut(deleters);
            left.retain(|other| other != user_id);
            if left.is_empty() {
                self.deleters = None;
            }
        }
    }

    /// Puts the chat's next event into its outbox. The caller counts it in the slot.
    pub fn post(&mut self, deliveries: Deliveries) {
        self.head.event += 1;
        self.outbox.push(Arc::new(OutboxEntry { event: self.head.event, deliveries }));
    }

    /// Whether this member deleted the chat and no message has arrived since.
    pub fn is_deleted_by(&self, member: &Member) -> bool {
        member.facts().deleted_in == self.head.epoch + 1
    }
}
