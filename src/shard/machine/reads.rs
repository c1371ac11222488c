//! The reads of the fast path: `list` and `detail` without copies of rows and without allocations.
//!
//! The caller runs on this core and writes the reply itself. The reads give the facts that the
//! commands `list` and `detail` give. They return None if another shard owns a key: then the
//! request goes through the router.

use smallvec::SmallVec;

use super::Shard;
use super::prefetch::{INLINE, Prefetched, creator_text, detail_lines, fetch_each, row_lines};
use crate::command::detail::ChatItemRef;
use crate::command::list::ListRowRef;
use crate::shard::list_order::ListOrder;
use crate::shard::roster::Chunk;
use crate::shard::row::{Row, RowFacts};
use crate::shard::state::{Chat, User};
use crate::shard::table::OutOfLine;
use crate::types::{Flag, Hashed, Sequence};

/// A chat that the request names, and what the prefetch found of it.
struct Asked<'a> {
    id: Hashed<'a>,
    entry: Option<&'a OutOfLine<Chat>>,
    found: Prefetched<'a>,
}

impl Shard {
    /// The rows of a user's list, in list order. None if another shard owns the user, or if the
    /// user has more than `rows_max` rows.
    pub fn read_list(&self, user_id: Hashed<'_>, rows_max: usize) -> Option<ListRows<'_>> {
        match self.slots.own_state(user_id.hash)?.user(user_id.id, user_id.hash) {
            Some(user) if user.rows.len() > rows_max => None,
            Some(user) => Some(ListRows::new(user.rows.as_chunks())),
            None => Some(ListRows::new(&[])),
        }
    }

    /// Finds the chats with these ids and calls `tell` with them, as `detail` replies them. None if
    /// another shard owns a key. An id costs several waits for memory, one after the other. So each
    /// round takes one step for all chats, and the waits of a round overlap.
    pub fn read_details<'a, R>(
        &'a self,
        ids: impl Iterator<Item = Hashed<'a>>,
        user_id: Option<Hashed<'a>>,
        tell: impl FnOnce(&[ChatItemRef<'a>]) -> R,
    ) -> Option<R> {
        let reader = match user_id {
            Some(user_id) => Some(self.reader(user_id)?),
            None => None,
        };
        let (user, user_hash) = reader.as_ref().map_or((None, None), |r| (r.user, Some(r.id.hash)));
        let mut asked: SmallVec<[Asked<'a>; INLINE]> = SmallVec::new();
        let mut hashes: SmallVec<[u64; INLINE]> = SmallVec::new();
        for id in ids {
            if !(hashes.contains(&id.hash) && asked.iter().any(|other| other.id == id)) {
                let found = Prefetched {
                    user,
                    user_hash,
                    chat_hash: Some(id.hash),
                    ..Prefetched::default()
                };
                asked.push(Asked { id, entry: None, found });
                hashes.push(id.hash);
            }
        }
        for asked in &mut asked {
            asked.entry = self.slots.own_state(asked.id.hash)?.chat_candidate(asked.id.hash);
        }
        asked.iter_mut().for_each(|asked| asked.found.chat = asked.entry.map(|entry| &**entry));
        fetch_each(asked.iter().filter_map(|asked| asked.found.chat), detail_lines);
        asked.iter_mut().for_each(|asked| asked.found.look_for_pair());
        fetch_each(&asked, |Asked { found, .. }| {
            found.chat.map_or(0, creator_text) ^ found.pair_lines()
        });
        let mut found: SmallVec<[ChatItemRef<'a>; INLINE]> = SmallVec::new();
        found.extend(asked.iter().filter_map(|asked| {
            let chat = self.slots.chat_by(asked.found.chat, asked.id.id, asked.id.hash);
            let chat = chat.filter(|chat| !chat.head.dissolved)?;
            let last_read_sequence = match &reader {
                Some(reader) => reader.floor(chat, asked)?,
                None => Sequence::ZERO,
            };
            Some(chat.head.item_ref(last_read_sequence))
        }));
        Some(tell(&found))
    }

    fn reader<'r>(&'r self, id: Hashed<'r>) -> Option<Reader<'r>> {
        Some(Reader { id, user: self.slots.own_state(id.hash)?.user(id.id, id.hash) })
    }
}

/// The user who asks for details, as the shard knows the user.
struct Reader<'r> {
    id: Hashed<'r>,
    user: Option<&'r User>,
}

impl Reader<'_> {
    /// The reader's floor in the chat. None if the reader is no member.
    fn floor(&self, chat: &Chat, asked: &Asked<'_>) -> Option<Sequence> {
        let Asked { id, found, .. } = asked;
        // If the candidate chat was the wrong one, its member must not be used: it is the reader's
        // membership of another chat.
        let is_in_it = found.chat.is_some_and(|likely| std::ptr::eq(likely, chat));
        let member = found.member.filter(|_| is_in_it);
        let member = chat.members.get_by(member, self.id.id, self.id.hash)?.floors();
        let row = self.user.and_then(|user| user.rows.get_by(found.row, id.id, id.hash));
        Some(RowFacts::last_read(row.map(Row::facts).as_ref(), member, chat.head.last_sequence))
    }
}

/// The shown rows of a list in list order, borrowed. Knows how many are left.
pub struct ListRows<'a> {
    rows: ListOrder<'a>,
    left: usize,
}

impl<'a> ListRows<'a> {
    fn new(chunks: &'a [Chunk<Row>]) -> Self {
        // Reads all rows once, in the order of memory, so that the waits for memory overlap.
        let (mut listed, mut pinned, mut looked_at) = (0, false, 0);
        for row in chunks.iter().flat_map(|chunk| chunk.iter()) {
            listed += usize::from(row.facts().is_show.0);
            pinned |= row.facts().is_top.0;
            looked_at ^= row_lines(row);
        }
        std::hint::black_box(looked_at);
        // Without a pinned row, the walk skips the round that looks for pinned rows.
        Self { rows: ListOrder::of_round(chunks, Flag(pinned)), left: listed }
    }
}

impl<'a> Iterator for ListRows<'a> {
    type Item = ListRowRef<'a>;

    fn next(&mut self) -> Option<ListRowRef<'a>> {
        let row = self.rows.next()?;
        self.left = self.left.saturating_sub(1);
        Some(row.list_row_ref())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ListRows<'_> {}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use serde_json::json;

    use super::*;
    use crate::command::import::Import;
    use crate::command::lines::{ChatLine, MemberLine};
    use crate::shard::op::{Op, Output, ReplyTo};
    use crate::types::{ChatId, KeyHasher, ShardCount, ShardId};

    const USER: &str = "u";

    fn id(number: u64) -> ChatId {
        ChatId::new(&format!("chat {number}")).unwrap()
    }

    /// A chat in which the user has sent one message. Its sequence is `number`, so no other chat
    /// has it.
    fn lines(number: u64) -> (ChatLine, MemberLine) {
        let chat =
            json!({"id": id(number), "creator_id": USER, "type": 2, "last_sequence": 1_000_000});
        let member =
            json!({"user_id": USER, "chat_id": id(number), "join_seq": 1, "sent_seq": number});
        (serde_json::from_value(chat).unwrap(), serde_json::from_value(member).unwrap())
    }

    #[test]
    fn a_reader_of_many_chats_is_not_taken_for_the_one_in_another() {
        const CHATS: u64 = 20_000;
        let shards = ShardCount::new(1).unwrap();
        let mut shard = Shard::new(ShardId(0), shards, KeyHasher::new(7));
        let to = ReplyTo { core: ShardId(0), entry: 0, part: 0 };
        for first in (0..CHATS).step_by(1000) {
            let (chats, members) = (first..first + 1000).map(lines).unzip();
            let import = Import { chats, members, merge: None, idempotency_key: None };
            let mut out = Output::default();
            shard.operation(to, Op::Import(import.into(), Vec::new()), &mut out);
            let mut messages = VecDeque::from(std::mem::take(&mut out.messages));
            while let Some((_, envelope)) = messages.pop_front() {
                shard.message(envelope, &mut out);
                messages.extend(out.messages.drain(..));
            }
        }
        // With so many chats, some entries of a table look equal until their ids are compared.
        for first in (0..CHATS).step_by(50) {
            let ids: Vec<ChatId> = (first..first + 50).map(id).collect();
            let asked = ids.iter().map(|id| shard.slots.hasher.hashed(id.as_str().as_bytes()));
            let told = shard.read_details(asked, Some(shard.slots.hasher.hashed(USER)), |items| {
                items.iter().map(|item| item.last_read_sequence.get()).collect::<Vec<_>>()
            });
            assert_eq!(told, Some((first..first + 50).collect()));
        }
    }
}
