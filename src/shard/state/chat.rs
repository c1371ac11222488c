//! A chat: its head, its members, and its outbox.
//!
//! Invariants:
//! - The outbox holds the events of the chat that some row has not confirmed, oldest first.
//! - A dissolved chat has no members. When its outbox is empty, only its id and type stay, forever,
//!   in [`Retired`](crate::shard::retired::Retired).

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

/// A chat's own facts, without its members. Snapshots store the fields in this order. The fields
/// that `detail` and `conversations` read come first, so that they share one cache line of
/// [`Chat`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[repr(C)]
pub struct ChatHead {
    /// The chat's id, which decides its slot.
    pub id: ChatId,
    /// The user who created the chat, or [`UserId::erased`] after that user was erased.
    pub creator_id: InternedUserId,
    /// Single, group or official.
    pub chat_type: ChatType,
    /// Whether the chat accepts messages: it does unless it is disabled.
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
    /// Rises with each change of status, creator or members, and when the chat is dissolved.
    #[serde(deserialize_with = "counter")]
    pub version: u64,
    /// Number of the newest event that the chat has put into its outbox.
    #[serde(deserialize_with = "counter")]
    pub event: u64,
    /// Digest of the `create` request. 0 if an import made the chat and gave no digest.
    pub request_digest: u64,
    /// How often a new message has brought back rows that users had deleted.
    /// [`MemberFacts::deleted_in`](crate::shard::member::MemberFacts::deleted_in) compares with it.
    #[serde(deserialize_with = "counter")]
    pub returns: u64,
    /// Join order that the next new member gets.
    #[serde(deserialize_with = "counter")]
    pub next_order: u64,
}

impl ChatHead {
    /// The head of a dissolved chat. Only id and type of such a chat are known, so the other fields
    /// are empty.
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
            returns: 0,
            next_order: 1,
        }
    }

    /// The chat as `detail` replies it, borrowed. `last_read_sequence` is the reader's floor.
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

    /// The chat as `detail` replies it, with copied ids. `last_read_sequence` is the reader's
    /// floor.
    pub fn item(&self, last_read_sequence: Sequence) -> ChatItem {
        self.item_ref(last_read_sequence).with_ids(self.id.clone(), self.creator_id.to_user_id())
    }
}

/// A chat: its head, its members, and its outbox.
///
/// Each cache line that a lookup touches is a wait for memory, so fields that are read together
/// share one line. The first line holds the facts that lists and details reply. The third line
/// leads to the members.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Chat {
    /// The chat's own facts.
    pub head: ChatHead,
    /// Users who deleted the chat since its newest message. None stands for no such users. A user
    /// who left the chat later may still be here.
    pub deleters: Option<Arc<Vec<UserId>>>,
    /// Events that some row has not confirmed, oldest first.
    pub outbox: ThinVec<Arc<OutboxEntry>>,
    /// Which member sent the newest message. Computed from the members, so snapshots leave it out.
    pub newest_by: NewestBy,
    /// Members, in join order.
    pub members: Roster<Member>,
}

const LINE_BYTES: usize = 64;
const _: () = assert!(offset_of!(Chat, head) + offset_of!(ChatHead, version) == LINE_BYTES);
const _: () = assert!(offset_of!(Chat, members) == 2 * LINE_BYTES);
const _: () = assert!(size_of::<Roster<Member>>() == LINE_BYTES);
const _: () = assert!(size_of::<Chat>() == 3 * LINE_BYTES);

/// Which members may have sent the newest message. The sender has nothing unread, and this value
/// rules out most members without a lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewestBy {
    /// No member sent it.
    Nobody,
    /// Only a member whose hash ends in these 32 bits may have sent it.
    One(u32),
    /// Any member may have sent it: requests named several senders.
    Anybody,
}

/// The lower 32 bits of a hash.
fn hash_end(hash: u64) -> u32 {
    u32::try_from(hash & u64::from(u32::MAX)).unwrap_or_default()
}

impl Chat {
    /// A chat without members and deleters, and with an empty outbox.
    pub fn new(head: ChatHead) -> Self {
        Self {
            head,
            members: Roster::default(),
            deleters: None,
            outbox: ThinVec::new(),
            newest_by: NewestBy::Nobody,
        }
    }

    /// Notes that the member with this hash has the sent sequence `sent_seq`. The caller must call
    /// this after each change of the sent sequence or of the chat's last sequence.
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

    /// Whether the member with this hash may have sent the newest message.
    pub fn newest_may_be_by(&self, hash: u64) -> bool {
        match self.newest_by {
            NewestBy::Nobody => false,
            NewestBy::One(other) => other == hash_end(hash),
            NewestBy::Anybody => true,
        }
    }

    /// Users who deleted the chat since its newest message.
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

    /// Puts the next event of the chat into its outbox. The caller adds the event to the counts of
    /// the slot.
    pub fn post(&mut self, deliveries: Deliveries) {
        self.head.event += 1;
        self.outbox.push(Arc::new(OutboxEntry { event: self.head.event, deliveries }));
    }

    /// Whether this member deleted the chat and no message has arrived since.
    pub fn is_deleted_by(&self, member: &Member) -> bool {
        member.facts().deleted_in == self.head.returns + 1
    }
}
