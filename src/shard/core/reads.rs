//! The plain reads, answered where the data stand: nothing is copied, and nothing allocated.
//!
//! For a door on this core that writes the reply itself. They tell what `list` and `detail` tell; where
//! a key is not on this shard they tell nothing, and the command takes the way over the router.

use smallvec::SmallVec;

use super::Core;
use crate::command::membership::{ChatItemRef, ListRowRef};
use crate::command::unread::Floors;
use crate::shard::roster::Chunk;
use crate::shard::state::{Chat, Row, RowFacts, SlotState, User};
use crate::types::{Flag, KeyHasher, Sequence, wide};

/// Ids of a `detail` that need no allocation.
const INLINE: usize = 32;

/// A chat that was asked for.
struct Asked<'a> {
    id: &'a str,
    hash: u64,
    /// Most likely it; its id is not compared yet.
    candidate: Option<&'a Chat>,
}

impl Core {
    /// All rows of a user's list, in its order; none if the user belongs to another shard, or has more
    /// than `rows_max` rows.
    pub fn read_list(&mut self, user_id: &str, rows_max: usize) -> Option<ListRows<'_>> {
        self.commands += 1;
        let hash = self.hash_of(user_id);
        let user = self.slot(KeyHasher::slot_of_hash(hash)).ok()?.user(user_id, hash);
        let chunks = user.map_or(&[][..], |user| user.rows.as_chunks());
        (user.map_or(0, |user| user.rows.len()) <= rows_max).then(|| ListRows::new(chunks))
    }

    /// The chats with these ids as `detail` tells them; nothing if one of the keys belongs to another
    /// shard. Each id costs a few waits for memory, so that all of them are found first, then touched,
    /// then read: the waits of a round overlap.
    pub fn read_details<'a>(
        &'a mut self,
        ids: impl Iterator<Item = &'a str>,
        user_id: Option<&str>,
    ) -> Option<SmallVec<[ChatItemRef<'a>; INLINE]>> {
        self.commands += 1;
        let core = &*self;
        let reader = match user_id {
            Some(user_id) => Some(core.reader(user_id)?),
            None => None,
        };
        let mut asked: SmallVec<[Asked<'a>; INLINE]> = SmallVec::new();
        for id in ids {
            let hash = core.hash_of(id);
            let slot = core.slot(KeyHasher::slot_of_hash(hash)).ok()?;
            if !asked.iter().any(|other| other.hash == hash && other.id == id) {
                asked.push(Asked { id, hash, candidate: slot.chat_candidate(hash) });
            }
        }
        if asked.len() > 1 {
            touch(&asked, reader.is_some());
        }
        let found = asked.iter().filter_map(|asked| {
            let chat = core.chat_of(asked).filter(|chat| !chat.head.dissolved)?;
            let last_read_sequence = match &reader {
                Some(reader) => reader.floor(chat, asked)?,
                None => Sequence::ZERO,
            };
            Some(chat.head.item_ref(last_read_sequence))
        });
        Some(found.collect())
    }

    fn reader<'r>(&'r self, user_id: &'r str) -> Option<Reader<'r>> {
        let hash = self.hash_of(user_id);
        let slot: &SlotState = self.slot(KeyHasher::slot_of_hash(hash)).ok()?;
        Some(Reader { id: user_id, hash, user: slot.user(user_id, hash) })
    }

    fn chat_of<'a>(&'a self, asked: &Asked<'a>) -> Option<&'a Chat> {
        let candidate = asked.candidate?;
        if candidate.head.id.as_str() == asked.id {
            return Some(candidate);
        }
        self.slot(KeyHasher::slot_of_hash(asked.hash)).ok()?.chat(asked.id, asked.hash)
    }
}

/// Waits for the memory of all chats at once, and of their members if these are looked at.
fn touch(asked: &[Asked<'_>], looks_at_members: bool) {
    let chats = || asked.iter().filter_map(|asked| asked.candidate);
    let touched = chats().fold(0, |sum: u64, chat| {
        sum.wrapping_add(chat.head.last_time.get() ^ u64::from(chat.head.dissolved))
    });
    std::hint::black_box(touched);
    if looks_at_members {
        let members = chats().filter_map(|chat| chat.members.first());
        let touched = members.fold(0, |sum: u64, member| sum.wrapping_add(member.order));
        std::hint::black_box(touched);
    }
}

/// Who asks for details.
struct Reader<'a> {
    id: &'a str,
    hash: u64,
    user: Option<&'a User>,
}

impl Reader<'_> {
    /// Up to where the reader has read the chat; none if they are no member.
    fn floor(&self, chat: &Chat, asked: &Asked<'_>) -> Option<Sequence> {
        let member = chat.members.get(self.id, self.hash)?;
        let (join_seq, sent_seq) = (member.join_seq, member.sent_seq);
        let member = Floors { join_seq, sent_seq, ..Floors::default() };
        let row = self.user.and_then(|user| user.rows.get(asked.id, asked.hash));
        Some(RowFacts::last_read(row.map(|row| &row.facts), member, chat.head.last_sequence))
    }
}

/// What a request that is about to be run will look at.
#[derive(Debug, Clone, Copy, Default)]
pub struct Soon<'a> {
    /// A user, with the rows.
    pub user_id: Option<&'a str>,
    /// A chat, with its members.
    pub chat_id: Option<&'a str>,
}

/// The same, as far as it is found.
#[derive(Clone, Copy, Default)]
struct Found<'a> {
    user: Option<&'a User>,
    chat: Option<&'a Chat>,
    chat_hash: u64,
}

impl Core {
    /// Brings what some requests will look at near, all of it at once: each of them alone would wait for
    /// memory half a dozen times, one after the other. It changes nothing and tells nothing.
    ///
    /// Rounds of independent reads take the place of prefetches, as in Chen, Ailamaki, Gibbons and
    /// Mowry, "Improving Hash Join Performance through Prefetching" (2004).
    pub fn warm(&self, soon: &[Soon<'_>]) {
        let mut hashes: SmallVec<[(Option<u64>, Option<u64>); INLINE]> = SmallVec::new();
        let hash = |id: Option<&str>| id.map(|id| self.hash_of(id));
        hashes.extend(soon.iter().map(|soon| (hash(soon.user_id), hash(soon.chat_id))));
        let slot = |hash: u64| self.slot(KeyHasher::slot_of_hash(hash)).ok();
        let mut found: SmallVec<[Found<'_>; INLINE]> = SmallVec::new();
        found.extend(hashes.iter().map(|(user, chat)| Found {
            user: user.and_then(|hash| slot(hash)?.user_candidate(hash)),
            chat: chat.and_then(|hash| slot(hash)?.chat_candidate(hash)),
            chat_hash: chat.unwrap_or_default(),
        }));
        look(&found, |found| {
            let user = found.user.map_or(0, |user| user.head.version ^ wide(user.rows.len()));
            let chat = found.chat.map_or(0, |chat| {
                chat.head.last_time.get() ^ chat.head.next_order ^ wide(chat.members.len())
            });
            user ^ chat
        });
        look(&found, |found| {
            let row = found.user.and_then(|user| user.rows.last()).map_or(0, |row| row.version);
            let member = found.chat.and_then(|chat| chat.members.first());
            row ^ member.map_or(0, |member| member.order)
        });
        look(&found, |Found { user, chat, chat_hash }| {
            let row = user
                .zip(*chat)
                .and_then(|(user, chat)| user.rows.get(chat.head.id.as_str(), *chat_hash));
            row.map_or(0, |row| row.version)
        });
    }
}

/// Reads something of each, in a way that the compiler does not leave out.
fn look<'a>(found: &[Found<'a>], read: impl Fn(&Found<'a>) -> u64) {
    std::hint::black_box(found.iter().fold(0, |sum, found| sum ^ read(found)));
}

/// The rows of a list: pinned first, then newest-joined first.
pub struct ListRows<'a> {
    chunks: &'a [Chunk<Row>],
    /// Chunks before this one are not looked at yet, in this round.
    chunk: usize,
    rows: std::slice::Iter<'a, Row>,
    /// The round: of the pinned rows, or of the others.
    pinned: Flag,
    left: usize,
}

impl<'a> ListRows<'a> {
    fn new(chunks: &'a [Chunk<Row>]) -> Self {
        let (mut listed, mut pinned) = (0, false);
        for row in chunks.iter().flat_map(|chunk| chunk.iter()) {
            listed += usize::from(row.facts.is_show.0);
            pinned |= row.facts.is_top.0;
        }
        let rows = [].iter();
        Self { chunks, chunk: chunks.len(), rows, pinned: Flag(pinned), left: listed }
    }
}

impl<'a> Iterator for ListRows<'a> {
    type Item = ListRowRef<'a>;

    fn next(&mut self) -> Option<ListRowRef<'a>> {
        loop {
            let (pinned, shown) = (self.pinned, Flag::YES);
            let wanted = |row: &&Row| row.facts.is_top == pinned && row.facts.is_show == shown;
            if let Some(row) = self.rows.rfind(wanted) {
                self.left = self.left.saturating_sub(1);
                return Some(row.list_row_ref());
            }
            if let Some(before) = self.chunk.checked_sub(1) {
                self.chunk = before;
                self.rows = self.chunks.get(before)?.iter();
            } else if self.pinned == Flag::YES {
                self.pinned = Flag::NO;
                self.chunk = self.chunks.len();
            } else {
                return None;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ListRows<'_> {}
