//! What a shard is asked and what it tells, in plain values.
//!
//! An [`Op`] is a command, or a command's part, whose keys all lie on one shard. A [`Message`] goes
//! from shard to shard. [`Output`] is everything that one step of the core leads to; whoever drives
//! the core carries it out in this order: records to the log, then messages, then answers.

use std::sync::Arc;

use snapshot::record::Batch;

use super::state::{Effect, RowFacts};
use crate::command::chat::Create;
use crate::command::membership::{ChatItem, Delete};
use crate::command::node::ShardStats;
use crate::command::transfer::{ChatLine, Import, MemberLine};
use crate::command::unread::Floors;
use crate::command::{Command, Outcome};
use crate::types::{ChatId, Sequence, ShardId, Slot, UserId};

/// Whom an answer is for: an entry in the table of the router on that core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The asking core.
    pub core: ShardId,
    /// Its entry.
    pub entry: u64,
    /// Which part of a scattered command.
    pub part: u32,
}

/// What a shard is asked.
#[derive(Debug, Clone)]
pub enum Op {
    /// A command all of whose keys are here, or whose chat is.
    Run(Command),
    /// `create` with its id filled in.
    Create {
        /// The request; its id is there.
        create: Create,
        /// Where the id comes from.
        id_from: IdFrom,
    },
    /// The chats' side of `detail`.
    Details {
        /// Chats on this shard.
        ids: Vec<ChatId>,
        /// For whom.
        user_id: Option<UserId>,
    },
    /// The user's side of `detail`.
    Facts {
        /// Whose rows.
        user_id: UserId,
        /// Of which chats, on any shard.
        ids: Vec<ChatId>,
    },
    /// Those chats of a `delete` that are on this shard.
    Delete(Delete),
    /// The chats' side of a page of `export`.
    ExportPage {
        /// Which slot.
        slot: Slot,
        /// Lines up to and with this one were told.
        after: Option<(ChatId, u64)>,
        /// Most lines.
        limit: usize,
    },
    /// The users' side of a page of `export`.
    ExportRows(Vec<(UserId, ChatId)>),
    /// Whether [`Op::Import`] would take these lines; changes nothing.
    CheckImport(Arc<Import>),
    /// Those lines of an `import` whose chats are on this shard.
    Import(Arc<Import>),
    /// The shard's counts.
    Stats,
}

/// Where a new chat's id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdFrom {
    /// The caller named it.
    Caller,
    /// Derived from a single chat's two users; it belongs to them, whoever of them asks and how.
    Users,
    /// Drawn at random.
    Chance,
}

/// What a shard answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The command's reply.
    Done(Outcome),
    /// An id that the caller did not name belongs to another chat: take another.
    Collision,
    /// One for each id asked.
    Details(Vec<Option<DetailPart>>),
    /// One for each id asked.
    Facts(Vec<Option<RowFacts>>),
    /// A page.
    ExportPage(ExportPage),
    /// One for each pair asked.
    ExportRows(Vec<Option<ExportRow>>),
    /// The shard's counts.
    Stats(ShardStats),
}

/// A chat as its own shard sees it.
#[derive(Debug, Clone)]
pub struct DetailPart {
    /// The chat, with `last_read_sequence` 0.
    pub item: ChatItem,
    /// If the asking user is a member: what the chat knows of their floors.
    pub member: Option<Floors>,
}

/// The chats' side of a page of `export`.
#[derive(Debug, Clone, Default)]
pub struct ExportPage {
    /// Chats.
    pub chats: Vec<ChatLine>,
    /// Members, with what the chat knows of them.
    pub members: Vec<MemberLine>,
    /// The last line told, if there are more in this slot.
    pub next: Option<(ChatId, u64)>,
}

/// A row with its bookkeeping, for `export`.
#[derive(Debug, Clone)]
pub struct ExportRow {
    /// The row.
    pub facts: RowFacts,
    /// Its place.
    pub order: u64,
    /// Its version.
    pub version: u64,
}

/// A user's own change to a row, which needed the chat's word first.
#[derive(Debug, Clone)]
pub enum RowAction {
    /// `mark_read`.
    Read(Sequence),
    /// `clear`.
    Clear,
}

/// What one shard tells another.
#[derive(Debug, Clone)]
pub enum Message {
    /// A chat's event for rows on the receiving shard.
    Deliver {
        /// Where the confirmation goes.
        from: ShardId,
        /// The chat.
        chat_id: ChatId,
        /// The event's number.
        event: u64,
        /// Whom it reaches, and how.
        rows: Vec<(UserId, Effect)>,
    },
    /// Those rows have it, and their records are with the log.
    Delivered {
        /// The chat.
        chat_id: ChatId,
        /// The event's number.
        event: u64,
    },
    /// The chat has checked a user's change; the row's shard decides and answers.
    Row {
        /// Who asked.
        to: ReplyTo,
        /// Whose row.
        user_id: UserId,
        /// Of which chat.
        chat_id: ChatId,
        /// What.
        action: RowAction,
        /// The chat's newest sequence when it checked.
        last_sequence: Sequence,
        /// The user's own newest message then.
        sent_seq: Sequence,
    },
}

/// A message with the image that its sender has begun, so that the receiver begins no later: then
/// no image holds an effect without its cause (Chandy and Lamport, "Distributed Snapshots", 1985).
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Number of the newest image that the sender has begun.
    pub image: u64,
    /// The message.
    pub message: Message,
}

/// An answer on its way.
#[derive(Debug)]
pub struct Answered {
    /// Whom for.
    pub to: ReplyTo,
    /// What.
    pub answer: Answer,
    /// It promises something: it leaves only when the log holds all that was decided before it.
    pub after_log: bool,
}

/// What a step of the core leads to.
#[derive(Debug, Default)]
pub struct Output {
    /// Records for the log, in order.
    pub records: Batch,
    /// Messages for shards, the own one included.
    pub messages: Vec<(ShardId, Envelope)>,
    /// Answers.
    pub answers: Vec<Answered>,
}

impl Output {
    /// Whether there is nothing to carry out.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.messages.is_empty() && self.answers.is_empty()
    }
}
