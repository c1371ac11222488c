//! Rows joined with their chats, a part at a time: conversation lists and unread totals.
//!
//! A user's rows are on one shard and their chats on all of them. The rows are taken as they are at
//! one instant (their chunks are shared, not copied), cut into slices ([`Slicer`]), and each slice
//! is asked of the shards that own its chats. So no shard is held for longer than a slice takes,
//! however many chats a user has, and nothing has to be kept in order when a message arrives.
//!
//! Invariants:
//! - A [`Place`] is the whole sort key, so that any two conversations have an order of their own.
//! - A conversation's place and its content are read at the same moment.

use std::cmp::Ordering;
use std::sync::Arc;

use super::roster::Chunks;
use super::row::Row;
use crate::command::Error;
use crate::command::conversation::{Conversation, Conversations};
use crate::types::{ChatId, Flag, KeyHasher, ShardCount, ShardId, TimeMs, UserId};

/// A user's rows at one instant.
#[derive(Debug, Clone)]
pub struct UserRows {
    /// Whose.
    pub user_id: UserId,
    /// The rows, in join order.
    pub chunks: Chunks<Row>,
}

/// The rows of one or more users, as all parts of a command share them.
pub type Rows = Arc<Vec<UserRows>>;

/// One of these rows.
#[derive(Debug, Clone, Copy)]
pub struct RowRef {
    /// Position of its user.
    pub user: u32,
    /// Position of its chunk.
    pub chunk: u32,
    /// Position in the chunk.
    pub entry: u32,
    /// Hash of the chat's id.
    pub hash: u64,
}

impl RowRef {
    /// The row.
    pub fn of(self, rows: &[UserRows]) -> Option<&Row> {
        let user = rows.get(usize::try_from(self.user).ok()?)?;
        let chunk = user.chunks.get(usize::try_from(self.chunk).ok()?)?;
        chunk.get(usize::try_from(self.entry).ok()?)
    }
}

/// Cuts rows into slices, and each slice by the shards of its chats.
#[derive(Debug)]
pub struct Slicer {
    rows: Rows,
    user: usize,
    chunk: usize,
}

impl Slicer {
    /// Begins at the first row.
    pub fn new(rows: Rows) -> Self {
        Self { rows, user: 0, chunk: 0 }
    }

    /// About the next `count` rows: for each shard that owns chats of them, its part. Empty at the end.
    pub fn next(
        &mut self,
        count: usize,
        hasher: KeyHasher,
        shards: ShardCount,
    ) -> Vec<(ShardId, Vec<RowRef>)> {
        let mut parts: Vec<Vec<RowRef>> = vec![Vec::new(); usize::from(shards.get())];
        let mut taken = 0;
        while taken < count
            && let Some(user) = self.rows.get(self.user)
        {
            let Some(chunk) = user.chunks.get(self.chunk) else {
                (self.user, self.chunk) = (self.user + 1, 0);
                continue;
            };
            // No node holds so many that these do not fit; a row that did not would be left out.
            let place = (u32::try_from(self.user), u32::try_from(self.chunk));
            for (entry, row) in (0u32..).zip(chunk.iter()) {
                let hash = hasher.hash(row.chat_id.as_str());
                let shard = KeyHasher::slot_of_hash(hash).shard(shards);
                if let ((Ok(user), Ok(chunk)), Some(part)) = (place, parts.get_mut(shard.index())) {
                    part.push(RowRef { user, chunk, entry, hash });
                }
            }
            taken += chunk.len();
            self.chunk += 1;
        }
        shards.all().zip(parts).filter(|(_, part)| !part.is_empty()).collect()
    }
}

/// Where a conversation stands: pinned first, then newest message first, then by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Pinned.
    pub pinned: bool,
    /// Time of the newest message.
    pub last_time: TimeMs,
    /// The chat.
    pub chat_id: ChatId,
}

impl Place {
    /// How a conversation with this key stands to it.
    pub fn order_of(&self, pinned: bool, last_time: TimeMs, chat_id: &ChatId) -> Ordering {
        order((pinned, last_time, chat_id), (self.pinned, self.last_time, &self.chat_id))
    }

    /// The place of a conversation.
    pub fn of(item: &Conversation) -> Self {
        let (pinned, last_time, chat_id) = key_of(item);
        Self { pinned, last_time, chat_id: chat_id.clone() }
    }
}

/// A sort key: pinned, time of the newest message, id.
pub type Key<'a> = (bool, TimeMs, &'a ChatId);

/// The sort key of a conversation.
pub fn key_of(item: &Conversation) -> Key<'_> {
    (item.is_top == Flag::YES, item.last_time, &item.chat_id)
}

/// The order of two sort keys.
pub fn order(a: Key<'_>, b: Key<'_>) -> Ordering {
    b.0.cmp(&a.0).then(b.1.cmp(&a.1)).then_with(|| a.2.cmp(b.2))
}

/// What stands up to a place: how many conversations, and a hash over their sort keys that does not
/// depend on the order in which they are added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many.
    pub count: u64,
    /// Sum of the hashes of each.
    pub hash: u64,
}

impl Seen {
    /// Adds a conversation; `hash` is its id's.
    pub fn add(&mut self, pinned: bool, last_time: TimeMs, hash: u64) {
        let mut mixed = hash ^ last_time.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = mixed.wrapping_add(u64::from(pinned));
        // The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.count += 1;
        self.hash = self.hash.wrapping_add(mixed ^ (mixed >> 31));
    }

    /// Adds what another part has seen.
    pub fn join(&mut self, other: Self) {
        self.count += other.count;
        self.hash = self.hash.wrapping_add(other.hash);
    }
}

/// Where a page starts, and what stood before it when the page before was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageStart {
    /// The last conversation of the page before.
    pub place: Place,
    /// What stood up to there.
    pub seen: Seen,
}

impl PageStart {
    /// Reads a cursor: `p|n . last_time . count . hash . id`.
    ///
    /// # Errors
    /// If it is none of [`Self::to_cursor`]'s.
    pub fn parse(cursor: &str) -> Result<Self, Error> {
        let bad = || Error::invalid("cursor: not one of `conversations`");
        let mut parts = cursor.splitn(5, '.');
        let mut next = || parts.next().ok_or_else(bad);
        let pinned = match next()? {
            "p" => true,
            "n" => false,
            _ => return Err(bad()),
        };
        let time: u64 = next()?.parse().map_err(|_| bad())?;
        let count = next()?.parse().map_err(|_| bad())?;
        let hash = u64::from_str_radix(next()?, 16).map_err(|_| bad())?;
        let chat_id = ChatId::new(next()?).map_err(|_| bad())?;
        let last_time = TimeMs::new(time).map_err(|_| bad())?;
        Ok(Self { place: Place { pinned, last_time, chat_id }, seen: Seen { count, hash } })
    }

    /// The cursor.
    pub fn to_cursor(&self) -> String {
        let Place { pinned, last_time, chat_id } = &self.place;
        let pin = if *pinned { 'p' } else { 'n' };
        format!("{pin}.{last_time}.{}.{:x}.{chat_id}", self.seen.count, self.seen.hash)
    }
}

/// A `conversations` under way, as all its parts share it.
#[derive(Debug)]
pub struct Listing {
    /// The user's rows.
    pub rows: Rows,
    /// What is asked.
    pub asked: Conversations,
    /// Most conversations that are wanted of a part: one more than the page has.
    pub wanted: usize,
    /// Where the page starts.
    pub start: Option<PageStart>,
}

/// A shard's part of a slice.
#[derive(Debug, Clone)]
pub struct Part {
    /// The rows.
    pub refs: Vec<RowRef>,
    /// What stands behind this is not wanted any more.
    pub until: Option<Place>,
}

/// What a part found.
#[derive(Debug, Clone, Default)]
pub struct ListingPart {
    /// The first conversations behind the start, in order.
    pub items: Vec<Conversation>,
    /// What stands up to the start.
    pub seen: Seen,
}

/// What is unread of a user, or of a part of their chats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages in chats that are not muted.
    pub messages: u64,
    /// Chats that are not muted.
    pub chats: u64,
    /// Messages in muted chats.
    pub muted_messages: u64,
    /// Muted chats.
    pub muted_chats: u64,
}

impl Totals {
    /// Adds a chat.
    pub fn add(&mut self, muted: Flag, unread: u64, marked: Flag) {
        let counts = u64::from(unread > 0 || marked == Flag::YES);
        let (messages, chats) = match muted.0 {
            true => (&mut self.muted_messages, &mut self.muted_chats),
            false => (&mut self.messages, &mut self.chats),
        };
        *messages = messages.saturating_add(unread);
        *chats += counts;
    }

    /// Adds another part.
    pub fn join(&mut self, other: Self) {
        self.messages = self.messages.saturating_add(other.messages);
        self.chats += other.chats;
        self.muted_messages = self.muted_messages.saturating_add(other.muted_messages);
        self.muted_chats += other.muted_chats;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(pinned: bool, time: u64, id: &str) -> Place {
        Place { pinned, last_time: TimeMs::new(time).unwrap(), chat_id: ChatId::new(id).unwrap() }
    }

    #[test]
    fn pinned_then_newest_then_by_id() {
        let sorted = [
            place(true, 1, "b"),
            place(false, 9, "z"),
            place(false, 8, "a"),
            place(false, 8, "b"),
            place(false, 0, "a"),
        ];
        for (one, a) in sorted.iter().enumerate() {
            for (other, b) in sorted.iter().enumerate() {
                let order = b.order_of(a.pinned, a.last_time, &a.chat_id);
                assert_eq!(order, one.cmp(&other), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        for id in ["a", "with.dots.in", "会话", "p.1.2.3"] {
            let mut seen = Seen::default();
            seen.add(true, TimeMs::new(7).unwrap(), 99);
            let start = PageStart { place: place(true, (1 << 53) - 1, id), seen };
            assert_eq!(PageStart::parse(&start.to_cursor()), Ok(start));
        }
        for bad in ["", "p", "x.1.2.3.a", "p.1.2.3.", "p.-1.2.3.a", "p.9007199254740992.2.3.a"] {
            assert!(PageStart::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_was_seen_does_not_depend_on_order_and_tells_moves() {
        let time = |ms| TimeMs::new(ms).unwrap();
        let (mut one, mut other) = (Seen::default(), Seen::default());
        one.add(false, time(1), 10);
        one.add(true, time(2), 20);
        other.add(true, time(2), 20);
        other.add(false, time(1), 10);
        assert_eq!(one, other);
        let mut moved = Seen::default();
        moved.add(true, time(2), 20);
        moved.add(false, time(3), 10);
        assert_ne!(one, moved);
    }
}
