//! Prefetching: memory is read before it is needed, so that the waits for it overlap.
//!
//! One request waits for memory several times in a row: for a table, for the entry, for what is
//! behind the entry. A round takes one such step for several requests, or for several chats of one
//! request. If a round only reads, its waits overlap.
//!
//! Rounds of independent reads replace prefetch instructions, as in Chen, Ailamaki, Gibbons and
//! Mowry, "Improving Hash Join Performance through Prefetching" (2004).

use smallvec::SmallVec;

use super::{Shard, Slots};
use crate::shard::deliveries::Effect;
use crate::shard::member::Member;
use crate::shard::row::Row;
use crate::shard::state::{Chat, User};
use crate::shard::table::OutOfLine;
use crate::types::{ChatId, InternedUserId, UserId, wide};

/// So many requests of one call, or ids of one request, fit without an allocation.
pub(super) const INLINE: usize = 32;

/// Which memory a request will read. The keys stand here as hashes.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrefetchKeys {
    /// Hash of the user whose rows the request reads. None if the request names no user.
    pub user_hash: Option<u64>,
    /// Hash of the chat that the request names. If it also names a user, the user is looked up as a
    /// member. None if it names no chat.
    pub chat_hash: Option<u64>,
}

/// The table entries of a user and a chat.
type Entries<'a> = (Option<&'a OutOfLine<User>>, Option<&'a OutOfLine<Chat>>);

/// The user, chat, member and row that a request most likely needs. The member is the user in the
/// chat, the row is the chat in the user's list. All are found by hashes, and no id is compared
/// yet.
#[derive(Clone, Copy, Default)]
pub(super) struct Prefetched<'a> {
    pub user: Option<&'a User>,
    pub user_hash: Option<u64>,
    pub chat: Option<&'a Chat>,
    pub chat_hash: Option<u64>,
    pub member: Option<&'a Member>,
    pub row: Option<&'a Row>,
}

impl Prefetched<'_> {
    /// Finds the member and the row without reading them. If the request names no chat, takes the
    /// user's newest row.
    pub fn look_for_pair(&mut self) {
        self.member = self.chat.zip(self.user_hash).and_then(|(c, hash)| c.members.candidate(hash));
        self.row = self.user.and_then(|user| match self.chat_hash {
            Some(hash) => user.rows.candidate(hash),
            None => user.rows.last(),
        });
    }

    /// Reads the cache lines of the member and of the row.
    pub fn pair_lines(&self) -> u64 {
        self.member.map_or(0, member_line) ^ self.row.map_or(0, row_lines)
    }
}

impl Shard {
    /// Prefetches the memory that these requests will read. Changes nothing.
    ///
    /// A processor looks only a few hundred instructions ahead. So lookups that take many
    /// instructions have rounds of their own, and a round that waits for memory does little else.
    pub fn prefetch(&self, prefetch_keys: &[PrefetchKeys]) {
        let slots = self.slots();
        let mut entries: SmallVec<[Entries<'_>; INLINE]> = SmallVec::new();
        entries.extend(prefetch_keys.iter().map(|PrefetchKeys { user_hash, chat_hash }| {
            let user = user_hash.and_then(|hash| slots.own_state(hash)?.user_candidate(hash));
            (user, chat_hash.and_then(|hash| slots.own_state(hash)?.chat_candidate(hash)))
        }));
        let mut found: SmallVec<[Prefetched<'_>; INLINE]> = SmallVec::new();
        found.extend(prefetch_keys.iter().zip(&entries).map(|(prefetch_keys, (user, chat))| {
            Prefetched {
                user: user.map(|user| &**user),
                user_hash: prefetch_keys.user_hash,
                chat: chat.map(|chat| &**chat),
                chat_hash: prefetch_keys.chat_hash,
                ..Prefetched::default()
            }
        }));
        fetch_each(&found, |found| match (found.user, found.chat) {
            (Some(user), chat) => user_lines(user) ^ chat.map_or(0, detail_lines),
            (None, chat) => chat.map_or(0, advance_lines),
        });
        // A request without a known user reads no more than the chat.
        found.retain(|found| found.user.is_some());
        fetch_each(&found, |found| {
            let Some(user) = found.user else { return 0 };
            text_line(user.head.id.as_str())
                ^ user.rows.tags_line()
                ^ found.chat.map_or(0, creator_text)
        });
        found.iter_mut().for_each(Prefetched::look_for_pair);
        fetch_each(&found, Prefetched::pair_lines);
    }
}

/// Prefetches the interned texts of these user ids.
pub(in crate::shard) fn prefetch_ids<'a>(slots: &Slots, ids: impl Iterator<Item = &'a str>) {
    let mut stored: SmallVec<[&InternedUserId; INLINE]> = SmallVec::new();
    stored.extend(ids.filter_map(|id| slots.interned_candidate(id)));
    fetch_each(stored, |id| text_line(id.as_str()));
}

/// Prefetches the rows that an event of a chat is about to change.
pub(in crate::shard) fn prefetch_rows(slots: &Slots, chat_id: &ChatId, rows: &[(UserId, Effect)]) {
    let chat_hash = slots.hash_of(chat_id.as_str());
    let mut entries: SmallVec<[&OutOfLine<User>; INLINE]> = SmallVec::new();
    entries.extend(rows.iter().filter_map(|(user_id, _)| {
        let hash = slots.hash_of(user_id.as_str());
        slots.own_state(hash)?.user_candidate(hash)
    }));
    let mut users: SmallVec<[&User; INLINE]> = SmallVec::new();
    users.extend(entries.iter().map(|user| &***user));
    fetch_each(&users, |user| user_lines(user));
    fetch_each(&users, |user| user.rows.last().map_or(0, row_lines));
    fetch_each(&users, |user| user.rows.get(chat_id.as_str(), chat_hash).map_or(0, Row::version));
}

/// Calls `read` for each item. The compiler must not leave out these reads, although nothing uses
/// them.
pub(in crate::shard) fn fetch_each<T>(items: impl IntoIterator<Item = T>, read: impl Fn(T) -> u64) {
    std::hint::black_box(items.into_iter().fold(0, |sum, item| sum ^ read(item)));
}

/// Reads the first cache line of a chat, which holds the facts that lists reply.
pub(in crate::shard) fn head_line(chat: &Chat) -> u64 {
    chat.head.last_time.get()
}

/// Reads the cache lines of a chat that `detail` uses.
pub(in crate::shard) fn detail_lines(chat: &Chat) -> u64 {
    head_line(chat) ^ wide(chat.members.len())
}

/// Reads the cache lines of a chat that `advance` uses.
fn advance_lines(chat: &Chat) -> u64 {
    head_line(chat) ^ chat.head.event
}

/// Reads a member without the text of its user id. All members with this user id share one text, so
/// one prefetch of the text serves all chats.
pub(in crate::shard) fn member_line(member: &Member) -> u64 {
    member.facts().order
}

/// Reads both cache lines over which a row may extend.
pub(in crate::shard) fn row_lines(row: &Row) -> u64 {
    row.version() ^ wide(row.chat_id.as_str().len())
}

/// Reads the text of the creator's id, which has an allocation of its own.
pub(in crate::shard) fn creator_text(chat: &Chat) -> u64 {
    text_line(chat.head.creator_id.as_str())
}

/// Reads the first cache line of a text.
fn text_line(text: &str) -> u64 {
    text.as_bytes().first().map_or(0, |byte| u64::from(*byte))
}

fn user_lines(user: &User) -> u64 {
    wide(user.rows.len()) ^ user.head.version
}
