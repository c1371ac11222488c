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
    /// The reader's row of it.
    row: Option<&'a Row>,
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
        user_id: Option<&'a str>,
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
            if !asked.iter().any(|other| other.hash == hash && other.id == id) {
                asked.push(Asked { id, hash, candidate: None, row: None });
            }
        }
        for asked in &mut asked {
            let slot = core.slot(KeyHasher::slot_of_hash(asked.hash)).ok()?;
            asked.candidate = slot.chat_candidate(asked.hash);
        }
        if asked.len() > 1 {
            touch(&asked, reader.is_some());
        }
        if let Some(user) = reader.as_ref().and_then(|reader| reader.user) {
            asked.iter_mut().for_each(|asked| asked.row = user.rows.get(asked.id, asked.hash));
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
    std::hint::black_box(chats().fold(0, |sum, chat| sum ^ chat_lines(chat)));
    std::hint::black_box(chats().fold(0, |sum, chat| sum ^ behind_chat(chat)));
    if looks_at_members {
        std::hint::black_box(chats().fold(0, |sum, chat| sum ^ behind_member(chat)));
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
        let row = asked.row.map(|row| &row.facts);
        Some(RowFacts::last_read(row, member, chat.head.last_sequence))
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
        look(&found, |found| found.user.map_or(0, user_lines) ^ found.chat.map_or(0, chat_lines));
        look(&found, |found| {
            let row = found.user.and_then(|user| user.rows.last()).map_or(0, |row| row.version);
            row ^ found.chat.map_or(0, behind_chat)
        });
        look(&found, |Found { user, chat, chat_hash }| {
            let row = user
                .zip(*chat)
                .and_then(|(user, chat)| user.rows.get(chat.head.id.as_str(), *chat_hash));
            chat.map_or(0, behind_member) ^ row.map_or(0, |row| row.version)
        });
    }
}

/// Something of each cache line of a chat that is looked at.
fn chat_lines(chat: &Chat) -> u64 {
    let head = &chat.head;
    let ids = head.id.as_str().len() ^ head.creator_id.as_str().len();
    let times = head.last_time.get() ^ head.created_at.get() ^ head.last_sequence.get();
    wide(ids ^ chat.members.as_chunks().len()) ^ times ^ head.event ^ u64::from(head.dissolved)
}

/// The same for a user.
fn user_lines(user: &User) -> u64 {
    wide(user.head.id.as_str().len() ^ user.rows.len()) ^ user.head.version
}

/// Something of what a chat points to: a long id is apart from its chat, and so are the members.
fn behind_chat(chat: &Chat) -> u64 {
    let member = chat.members.first().map_or(0, |member| {
        wide(member.user_id.as_str().len()) ^ member.order ^ member.sent_seq.get()
    });
    member ^ first_byte(chat.head.creator_id.as_str())
}

/// Something of what its first member points to.
fn behind_member(chat: &Chat) -> u64 {
    chat.members.first().map_or(0, |member| first_byte(member.user_id.as_str()))
}

fn first_byte(text: &str) -> u64 {
    text.as_bytes().first().map_or(0, |byte| u64::from(*byte))
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
        // Each row is looked at from end to end, so that all of them come near at once.
        let (mut listed, mut pinned, mut looked_at) = (0, false, 0);
        for row in chunks.iter().flat_map(|chunk| chunk.iter()) {
            listed += usize::from(row.facts.is_show.0);
            pinned |= row.facts.is_top.0;
            looked_at ^= row.chat_id.as_str().len() ^ usize::from(row.version == 0);
        }
        std::hint::black_box(looked_at);
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
