//! Rows joined with their chats, in parts: for conversation lists and unread totals.
//!
//! A user's rows are on one shard, their chats are on all shards. The router gets the rows of one
//! instant, because their chunks are shared and not copied. It cuts them into slices ([`Slicer`]),
//! and asks the shards that own the chats of a slice. So a shard is busy for one slice at most,
//! however many chats a user has. Conversations are sorted only when asked for, so a new message
//! updates no order.
//!
//! Invariants:
//! - A [`ConversationPlace`] is the whole sort key, so no two conversations of a list are equal in order.
//! - The place of a conversation and its content are read at one instant.

use std::cmp::Ordering;
use std::sync::Arc;

use super::roster::Chunks;
use super::row::Row;
use crate::command::Error;
use crate::command::conversations::{Conversation, Conversations};
use crate::types::{ChatId, Flag, KeyHasher, ShardCount, ShardId, TimeMs, UserId};

/// The rows of a user at one instant.
#[derive(Debug, Clone)]
pub struct UserRows {
    /// Owner of the rows.
    pub user_id: UserId,
    /// The chunks of the rows, in join order.
    pub chunks: Chunks<Row>,
}

/// The rows of one or more users. All parts of a command share them.
pub type Rows = Arc<Vec<UserRows>>;

/// Where a row is in [`Rows`], with the hash of its chat's id.
#[derive(Debug, Clone, Copy)]
pub struct RowRef {
    /// Index of the row's user in [`Rows`].
    pub user: u32,
    /// Index of the chunk among the user's chunks.
    pub chunk: u32,
    /// Index of the row in the chunk.
    pub entry: u32,
    /// Hash of the id of the row's chat.
    pub hash: u64,
}

impl RowRef {
    /// Finds the row. None if an index is out of range.
    pub fn of(self, rows: &[UserRows]) -> Option<&Row> {
        let user = rows.get(usize::try_from(self.user).ok()?)?;
        let chunk = user.chunks.get(usize::try_from(self.chunk).ok()?)?;
        chunk.get(usize::try_from(self.entry).ok()?)
    }
}

/// Cuts rows into slices, and each slice into one part for each shard that owns its chats.
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

    /// The next slice of about `count` rows, as parts: each shard that owns chats of the slice gets
    /// one. Empty at the end.
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
            // Indexes fit into 32 bits, because no node holds that many rows. A row beyond would be
            // left out.
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

/// A place in a list of conversations: pinned first, then newest message first, then by chat id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversationPlace {
    /// Whether the row is pinned.
    pub pinned: bool,
    /// Time of the chat's newest message.
    pub last_time: TimeMs,
    /// The chat. Its id makes the place unique.
    pub chat_id: ChatId,
}

impl ConversationPlace {
    /// Compares a conversation with this place. `Less` means that the conversation comes before it.
    pub fn order_of(&self, pinned: bool, last_time: TimeMs, chat_id: &ChatId) -> Ordering {
        order((pinned, last_time, chat_id), (self.pinned, self.last_time, &self.chat_id))
    }

    /// The place of a conversation.
    pub fn of(item: &Conversation) -> Self {
        let (pinned, last_time, chat_id) = key_of(item);
        Self { pinned, last_time, chat_id: chat_id.clone() }
    }
}

/// What sorts conversations: pinned, time of the newest message, chat id.
pub type SortKey<'a> = (bool, TimeMs, &'a ChatId);

/// The sort key of a conversation.
pub fn key_of(item: &Conversation) -> SortKey<'_> {
    (item.is_top == Flag::YES, item.last_time, &item.chat_id)
}

/// Compares two sort keys: `Less` means that `a` comes before `b`.
pub fn order(a: SortKey<'_>, b: SortKey<'_>) -> Ordering {
    b.0.cmp(&a.0).then(b.1.cmp(&a.1)).then_with(|| a.2.cmp(b.2))
}

/// The conversations up to a place, as a count and a hash of their sort keys. The hash does not
/// depend on the order in which they are added. A change of it shows that conversations have moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Number of these conversations.
    pub count: u64,
    /// The wrapping sum of the hashes of these conversations.
    pub hash: u64,
}

impl Seen {
    /// Adds a conversation. `hash` is the hash of its chat's id.
    pub fn add(&mut self, pinned: bool, last_time: TimeMs, hash: u64) {
        let mut mixed = hash ^ last_time.get().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = mixed.wrapping_add(u64::from(pinned));
        // The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.count += 1;
        self.hash = self.hash.wrapping_add(mixed ^ (mixed >> 31));
    }

    /// Adds the conversations that another part has counted.
    pub fn join(&mut self, other: Self) {
        self.count += other.count;
        self.hash = self.hash.wrapping_add(other.hash);
    }
}

/// Where a page begins, and what came before it when the previous page was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageStart {
    /// The last conversation of the previous page.
    pub place: ConversationPlace,
    /// The conversations up to `place`, as they were when the previous page was made.
    pub seen: Seen,
}

impl PageStart {
    /// Reads a cursor, which has the form `p|n . last_time . count . hash . id`.
    ///
    /// # Errors
    /// If [`Self::to_cursor`] did not make the text.
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
        Ok(Self {
            place: ConversationPlace { pinned, last_time, chat_id },
            seen: Seen { count, hash },
        })
    }

    /// Writes the cursor that [`Self::parse`] reads.
    pub fn to_cursor(&self) -> String {
        let ConversationPlace { pinned, last_time, chat_id } = &self.place;
        let pin = if *pinned { 'p' } else { 'n' };
        format!("{pin}.{last_time}.{}.{:x}.{chat_id}", self.seen.count, self.seen.hash)
    }
}

/// A `conversations` command under way. All its parts share this.
#[derive(Debug)]
pub struct Listing {
    /// The rows of the one user who asks.
    pub rows: Rows,
    /// The arguments of the command.
    pub asked: Conversations,
    /// Most conversations that a part returns: one more than the page has, which shows if another
    /// page follows.
    pub wanted: usize,
    /// Where the page begins. None begins at the start of the list.
    pub start: Option<PageStart>,
}

/// What one shard gets of a slice.
#[derive(Debug, Clone)]
pub struct Part {
    /// The rows whose chats the shard owns.
    pub refs: Vec<RowRef>,
    /// The page is already full up to this place, so the shard leaves out conversations behind it.
    pub until: Option<ConversationPlace>,
}

/// What one shard answers to a [`Part`].
#[derive(Debug, Clone, Default)]
pub struct ListingPart {
    /// The first conversations behind the start of the page, in order.
    pub items: Vec<Conversation>,
    /// The conversations up to the start of the page, to compare them with those of the previous
    /// page.
    pub seen: Seen,
}

/// Unread totals of all chats of a user, or of a part of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Unread messages in chats that are not muted.
    pub messages: u64,
    /// Unread chats that are not muted.
    pub chats: u64,
    /// Unread messages in muted chats.
    pub muted_messages: u64,
    /// Unread chats that are muted.
    pub muted_chats: u64,
}

impl Totals {
    /// Adds a chat with `unread` unread messages. It counts as an unread chat if it has any, or if
    /// it is `marked` as unread.
    pub fn add(&mut self, muted: Flag, unread: u64, marked: Flag) {
        let counts = u64::from(unread > 0 || marked == Flag::YES);
        let (messages, chats) = match muted.0 {
            true => (&mut self.muted_messages, &mut self.muted_chats),
            false => (&mut self.messages, &mut self.chats),
        };
        *messages = messages.saturating_add(unread);
        *chats += counts;
    }

    /// Adds the totals of another part.
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

    fn place(pinned: bool, time: u64, id: &str) -> ConversationPlace {
        ConversationPlace {
            pinned,
            last_time: TimeMs::new(time).unwrap(),
            chat_id: ChatId::new(id).unwrap(),
        }
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
