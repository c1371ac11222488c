//! Prefetching: memory is read before it is needed, so that waits overlap.
//!
//! A request waits for memory half a dozen times, one wait after the other: for a table, for the
//! entry that it points to, for the memory behind that. With several requests, or one request for
//! several chats, the waits of a round overlap, if the round only reads.
//!
//! Rounds of independent reads replace prefetch instructions, as in Chen, Ailamaki, Gibbons and
//! Mowry, "Improving Hash Join Performance through Prefetching" (2004).

use smallvec::SmallVec;

use super::{Core, Slots};
use crate::shard::deliveries::Effect;
use crate::shard::member::Member;
use crate::shard::row::Row;
use crate::shard::state::{Chat, User};
use crate::shard::table::OutOfLine;
use crate::types::{ChatId, InternedUserId, UserId, wide};

/// This many requests of one call, or ids of one request, need no allocation.
pub(super) const INLINE: usize = 32;

/// The memory that a request will read, by the hashes of its keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrefetchKeys {
    /// Hash of the user whose rows the request reads; None if it names no user.
    pub user_hash: Option<u64>,
    /// Hash of the chat, in which the user is looked up as a member; None if it names no chat.
    pub chat_hash: Option<u64>,
}

/// The table entries of a user and a chat.
type Entries<'a> = (Option<&'a OutOfLine<User>>, Option<&'a OutOfLine<Chat>>);

/// The most likely user, chat, member (the user in the chat) and row (the chat of the user). They
/// are found by hashes; their ids are not compared yet.
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
    /// Finds the member and the row, without reading them. If no chat is named, takes the user's
    /// newest row.
    pub fn look_for_pair(&mut self) {
        self.member = self.chat.zip(self.user_hash).and_then(|(c, hash)| c.members.candidate(hash));
        self.row = self.user.and_then(|user| match self.chat_hash {
            Some(hash) => user.rows.candidate(hash),
            None => user.rows.last(),
        });
    }

    /// Reads the cache lines of the member and the row.
    pub fn pair_lines(&self) -> u64 {
        self.member.map_or(0, member_line) ^ self.row.map_or(0, row_lines)
    }
}

impl Core {
    /// Prefetches the memory that some requests will read; changes nothing.
    ///
    /// A processor looks a few hundred instructions ahead. So what takes many instructions to find
    /// is found in a round of its own, and the round that waits does little else.
    pub fn prefetch(&self, prefetch_keys: &[PrefetchKeys]) {
        let slots = self.slots();
        let mut entries: SmallVec<[Entries<'_>; INLINE]> = SmallVec::new();
        entries.extend(prefetch_keys.iter().map(|PrefetchKeys { user_hash, chat_hash }| {
            let user = user_hash.and_then(|hash| slots.slot_here(hash)?.user_candidate(hash));
            (user, chat_hash.and_then(|hash| slots.slot_here(hash)?.chat_candidate(hash)))
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
        // An advance reads no more than the chat.
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

/// Prefetches the texts that the interner holds of these ids.
pub(in crate::shard) fn prefetch_ids<'a>(slots: &Slots, ids: impl Iterator<Item = &'a str>) {
    let mut stored: SmallVec<[&InternedUserId; INLINE]> = SmallVec::new();
    stored.extend(ids.filter_map(|id| slots.interned_candidate(id)));
    fetch_each(stored, |id| text_line(id.as_str()));
}

/// Prefetches the rows that a chat's event is about to change.
pub(in crate::shard) fn prefetch_rows(slots: &Slots, chat_id: &ChatId, rows: &[(UserId, Effect)]) {
    let chat_hash = slots.hash_of(chat_id.as_str());
    let mut entries: SmallVec<[&OutOfLine<User>; INLINE]> = SmallVec::new();
    entries.extend(rows.iter().filter_map(|(user_id, _)| {
        let hash = slots.hash_of(user_id.as_str());
        slots.slot_here(hash)?.user_candidate(hash)
    }));
    let mut users: SmallVec<[&User; INLINE]> = SmallVec::new();
    users.extend(entries.iter().map(|user| &***user));
    fetch_each(&users, |user| user_lines(user));
    fetch_each(&users, |user| user.rows.last().map_or(0, row_lines));
    fetch_each(&users, |user| user.rows.get(chat_id.as_str(), chat_hash).map_or(0, Row::version));
}

/// Calls `read` for each item, in a way that the compiler cannot leave out.
pub(in crate::shard) fn fetch_each<T>(items: impl IntoIterator<Item = T>, read: impl Fn(T) -> u64) {
    std::hint::black_box(items.into_iter().fold(0, |sum, item| sum ^ read(item)));
}

/// Reads the chat's first cache line, which has the facts that lists reply.
pub(in crate::shard) fn head_line(chat: &Chat) -> u64 {
    chat.head.last_time.get()
}

/// Reads the cache lines of a chat that `detail` needs.
pub(in crate::shard) fn detail_lines(chat: &Chat) -> u64 {
    head_line(chat) ^ wide(chat.members.len())
}

/// Reads the cache lines of a chat that `advance` needs.
fn advance_lines(chat: &Chat) -> u64 {
    head_line(chat) ^ chat.head.event
}

/// Reads a member, but not the member's id: a lookup compares with the reader's own text, which all
/// chats share.
pub(in crate::shard) fn member_line(member: &Member) -> u64 {
    member.facts().order
}

/// Reads a row, which may extend over two cache lines.
pub(in crate::shard) fn row_lines(row: &Row) -> u64 {
    row.version() ^ wide(row.chat_id.as_str().len())
}

/// Reads the id of a chat's creator, which is in a separate allocation.
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
