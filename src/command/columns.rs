//! The columns of the table of commands as types, and how arguments name their keys.

use crate::limits::SMALL_REPLY_ITEMS;
use crate::types::{ChatId, UserId};

/// Whether a command may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Changes nothing. Works even while the log is stalled or poisoned.
    Read,
    /// Changes data, and fails while the log takes no writes.
    Write,
    /// Changes no data, but makes the node work on its files. Works even if the log takes no
    /// writes.
    Operate,
}

/// Which part of the node runs a command, and which rows it changes from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunsAt {
    /// The connection itself; no other door has the command.
    Connection,
    /// The worker of the connection, without any shard.
    Worker,
    /// Only the shard of the user `user_id`.
    User,
    /// Only the shard of the chat `chat_id`.
    Chat,
    /// The shard of `chat_id` checks the command. The shard of `user_id` then decides about the
    /// row.
    ChatThenRow,
    /// The shard of `chat_id` decides the event, and delivers it to the rows of members.
    ChatThenMembers,
    /// Several shards, or one in several steps, as the router leads them.
    Steps,
}

/// On what condition a member that is not the active serves a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStandby {
    /// Always: it is about the node, and not about what the node stores.
    Always,
    /// While it can be a standby: it is about the node's files.
    OfFiles,
    /// If the connection asked for it, from a state that is new enough for that.
    IfAsked,
    /// Without being asked, from a state that is newer than the time of a claim.
    Unasked,
    /// Never: only the active can. `verify` compares a chat with its rows, which the cores of a
    /// standby apply at different times.
    Never,
}

/// Whose idempotency key a command has: keys of two owners never collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOwner {
    /// The command has no idempotency key: to repeat it changes nothing.
    NoKey,
    /// The user whom the argument `user_id` names.
    User,
    /// The chat that the argument `chat_id` names.
    Chat,
    /// The chat that the argument `id` names, or the node if it is absent.
    ChatOrNode,
    /// Each chat in the lines of the request; the idempotency key then counts for this chat's
    /// lines.
    EachChat,
}

/// How large the reply to a request may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplySize {
    /// At most `SMALL_REPLY_ITEMS` short items, or no items.
    Small,
    /// As few items as [`Self::Small`], but long ones. As JSON they are written on the offload
    /// thread.
    Medium,
    /// More items than `SMALL_REPLY_ITEMS`.
    Large,
}

impl ReplySize {
    /// The size of a reply with this many short items.
    pub fn of_items(items: usize) -> Self {
        if items > SMALL_REPLY_ITEMS { Self::Large } else { Self::Small }
    }

    /// The size of a reply with at most `limit` items, or with any number if there is no limit.
    pub fn of_limit(limit: Option<u32>) -> Self {
        let limit = limit.and_then(|limit| usize::try_from(limit).ok());
        limit.map_or(Self::Large, Self::of_items)
    }
}

/// The shard that runs a command, named by the key that it owns, and the rows that it reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home<'a> {
    /// Only the shard of the user; see [`RunsAt::User`].
    User(&'a UserId),
    /// Only the shard of the chat; see [`RunsAt::Chat`].
    Chat(&'a ChatId),
    /// The shard of the chat, then that of the user; see [`RunsAt::ChatThenRow`].
    ChatThenRow(&'a ChatId, &'a UserId),
    /// The shard of the chat, then those of members; see [`RunsAt::ChatThenMembers`].
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

/// The owner of a request's idempotency key, see [`KeyOwner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The user that the request names.
    User(&'a UserId),
    /// The chat that the request is about.
    Chat(&'a ChatId),
    /// The node, for a `create` that names no chat.
    Node,
}

/// What a request does to a key. It decides which requests of a connection must keep their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// The request reads the key's data and changes nothing.
    Read,
    /// The request raises read positions. In any order of such requests the highest position stays.
    Mark,
    /// The request imports lines. Two imports go out in the order sent, so one need not wait for
    /// the other.
    Import,
    /// The request changes the key's data in any other way.
    Write,
}

/// How a request reaches a key. It decides whether later requests for the key must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// In the first step, when the request arrives at the shard of the key.
    Arrival,
    /// In a later step, or through a message of another shard.
    Detour,
}

/// Gathers the keys that a request names, so that a connection can keep requests in order.
pub trait NamedKeys {
    /// The request uses the user's data, such as rows.
    fn user(&mut self, id: &UserId, used: Use, by: By);
    /// The request uses the chat's data, such as members.
    fn chat(&mut self, id: &ChatId, used: Use, by: By);
    /// The request may use the data of any key.
    fn all(&mut self, used: Use);

    /// Like [`Self::user`], for each id of `ids`.
    fn users<'a>(&mut self, ids: impl IntoIterator<Item = &'a UserId>, used: Use, by: By) {
        ids.into_iter().for_each(|id| self.user(id, used, by));
    }

    /// Like [`Self::chat`], for each id of `ids`.
    fn chats<'a>(&mut self, ids: impl IntoIterator<Item = &'a ChatId>, used: Use, by: By) {
        ids.into_iter().for_each(|id| self.chat(id, used, by));
    }
}
