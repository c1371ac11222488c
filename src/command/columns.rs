//! The columns of the table of commands, and how arguments name their keys.

use crate::limits::SMALL_REPLY_ITEMS;
use crate::types::{ChatId, UserId};

/// Whether a command may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing, and works while the log is stalled or poisoned.
    Read,
    /// Changes data, and fails while the log takes no writes.
    Write,
    /// Changes no data, but makes the node work on its files; works while the log is stuck.
    Operate,
}

/// Where a command runs, and which rows of other shards it changes from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunsAt {
    /// Only the connection itself can run it.
    Connection,
    /// The worker that gets it, without any shard.
    Worker,
    /// The shard of `user_id`, alone.
    User,
    /// The shard of `chat_id`, alone.
    Chat,
    /// The shard of `chat_id` checks it, and the row of `user_id` decides it.
    ChatThenRow,
    /// The shard of `chat_id` decides it, and delivers it to the rows of members.
    ChatThenMembers,
    /// Several shards, or several steps: the router leads it.
    Steps,
}

/// The owner of a command's idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOwner {
    /// The command has no key: a repeat of it changes nothing.
    NoKey,
    /// The user of `user_id`.
    User,
    /// The chat of `chat_id`.
    Chat,
    /// The chat of `id`, or the node if the request names none.
    ChatOrNode,
    /// Each chat that the request has lines of, for these lines.
    EachChat,
}

/// How large the reply to a request may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplySize {
    /// At most `SMALL_REPLY_ITEMS` short items.
    Small,
    /// As few items, but long ones: in JSON they are worth a thread of their own.
    Medium,
    /// More items.
    Large,
}

impl ReplySize {
    /// The size of a reply with this many items.
    pub fn of_items(items: usize) -> Self {
        if items > SMALL_REPLY_ITEMS { Self::Large } else { Self::Small }
    }

    /// The size of a reply that `limit` bounds, or nothing.
    pub fn of_limit(limit: Option<u32>) -> Self {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        limit.map_or(Self::Large, Self::of_items)
    }
}

/// The shard that runs a command, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home<'a> {
    /// [`RunsAt::User`]
    User(&'a UserId),
    /// [`RunsAt::Chat`]
    Chat(&'a ChatId),
    /// [`RunsAt::ChatThenRow`], with the owner of the row.
    ChatThenRow(&'a ChatId, &'a UserId),
    /// [`RunsAt::ChatThenMembers`]
    ChatThenMembers(&'a ChatId),
}

impl Home<'_> {
    /// The key whose shard runs the command.
    pub fn key(&self) -> &str {
        match self {
            Self::User(id) => id.as_str(),
            Self::Chat(id) | Self::ChatThenRow(id, _) | Self::ChatThenMembers(id) => id.as_str(),
        }
    }
}

/// The owner of the idempotency key of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The user that the request names.
    User(&'a UserId),
    /// The chat that the request is about.
    Chat(&'a ChatId),
    /// The node, if the request names neither.
    Node,
}

/// How a request uses a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It reads and changes nothing.
    Read,
    /// It raises read positions. In whichever order marks are applied, the highest stays.
    Mark,
    /// It imports lines. Imports keep their order among themselves.
    Import,
    /// It changes the key in any other way.
    Write,
}

/// How a request reaches a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// In its first step, when it arrives at the shard of the key.
    Arrival,
    /// In a later step, or through a message of another shard.
    Detour,
}

/// Gathers the keys of a request.
pub trait NamedKeys {
    /// The request uses what the user has.
    fn user(&mut self, id: &UserId, used: Use, by: By);
    /// The request uses what the chat has.
    fn chat(&mut self, id: &ChatId, used: Use, by: By);
    /// The request may use any key.
    fn all(&mut self, used: Use);

    /// Like [`Self::user`], for each of them.
    fn users<'a>(&mut self, ids: impl IntoIterator<Item = &'a UserId>, used: Use, by: By) {
        ids.into_iter().for_each(|id| self.user(id, used, by));
    }

    /// Like [`Self::chat`], for each of them.
    fn chats<'a>(&mut self, ids: impl IntoIterator<Item = &'a ChatId>, used: Use, by: By) {
        ids.into_iter().for_each(|id| self.chat(id, used, by));
    }
}
