//! What a shard is asked and what it tells, in plain values.
//!
//! An [`Op`] is a command, or a command's part, whose keys all lie on one shard. A [`Message`] goes
//! from shard to shard. [`Output`] is everything that one step of the core leads to; whoever drives
//! the core carries it out in this order: records to the log, then messages, then answers.

use std::sync::Arc;

use snapshot::record::Batch;

use super::idempotency::{Claim, Claiming};
use super::listing::{Listing, ListingPart, Part, RowRef, Rows, Totals, UserRows};
use super::page::ListPage;
use super::row::RowFacts;
use super::state::Effect;
use crate::command::chat::Create;
use crate::command::conversation::Explain;
use crate::command::membership::{ChatItem, Delete, EraseUser};
use crate::command::message::{MarkReadMany, ReadItem, ReadResult};
use crate::command::node::ShardStats;
use crate::command::transfer::{ChatLine, Import, MemberLine};
use crate::command::unread::Floors;
use crate::command::{Command, Error, Outcome, Reply};
use crate::limits::SCAN_ROWS;
use crate::types::{ChatId, IdempotencyKey, Sequence, ShardId, Slot, UserId};

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
    /// Takes an idempotency key for a request whose parts follow.
    Claim(Claiming),
    /// `create` with its id filled in.
    Create {
        /// The request; its id is there.
        create: Create,
        /// Where the id comes from.
        id_from: IdFrom,
        /// Its key, if it has one and named no id.
        claim: Option<Claim>,
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
    /// Whether [`Op::Delete`] would take these chats; changes nothing.
    CheckDelete(Delete),
    /// Those chats of a `delete` that are on this shard; with its key, if it has one.
    Delete(Delete, Option<Claim>),
    /// The chats' side of a page of `export`.
    ExportPage {
        /// Which slot.
        slot: Slot,
        /// Lines up to and with this one were told.
        after: Option<ExportPlace>,
        /// Most lines.
        limit: usize,
    },
    /// The users' side of a page of `export`.
    ExportRows(Vec<(UserId, ChatId)>),
    /// Whether [`Op::Import`] would take these lines; changes nothing.
    CheckImport(Arc<Import>),
    /// Where the rows that an `import` brings to users of this shard come to stand.
    Places(Arrivals),
    /// Those lines of an `import` whose chats are on this shard, with a place in their users' lists for
    /// each member's line. Without places the lines' own count.
    Import(Arc<Import>, Vec<u64>),
    /// Removals that an `import` tells, of users on this shard; sent when their chats have them.
    ImportGone(Vec<Removal>),
    /// The next slice of a long list; any core may make it.
    ListOn(Box<ListPage>),
    /// These users' rows as they are now.
    Rows(Vec<UserId>),
    /// Those of a user's conversations whose chats are on this shard, among these rows.
    Conversations(Arc<Listing>, Part),
    /// What is unread in the chats of these rows, which are on this shard.
    Unread(Rows, Vec<RowRef>),
    /// Those chats of a `mark_read_many` without a key that are on this shard.
    MarkReadMany(MarkReadMany),
    /// What the chats, which are on this shard, say to these positions of a user.
    CheckReads(UserId, Vec<ReadItem>),
    /// A `mark_read_many` with a key, after the chats' word: the rows decide in one step.
    ReadRows(UserId, Vec<RowRequest>, IdempotencyKey),
    /// The chat's side of `explain`.
    ExplainChat(Explain),
    /// What `erase_user` has to remove: the user's rows, or the answer that it had before. Takes its key.
    EraseBegin(EraseUser),
    /// The user is removed from these chats, which are on this shard.
    EraseMember(UserId, Vec<ChatId>),
    /// The user is looked for as the maker of chats, in some slots of this shard from this one on.
    EraseSweep(UserId, usize),
    /// The user is forgotten, if no rows are left; so many memberships went.
    EraseEnd(EraseUser, u64),
    /// Recounts some slots of this shard from this one on, and tells what they hold of memberships.
    VerifySlots(usize),
    /// Members of a chat that has many, behind this place of its join order.
    VerifyMembers(ChatId, u64),
    /// Rows of a user who has many, behind this place of their join order.
    VerifyRowsOf(UserId, u64),
    /// What the chats, which are on this shard, hold of these memberships.
    VerifyChats(Vec<Pair>),
    /// What the users, who are on this shard, hold of these memberships.
    VerifyRows(Vec<Pair>),
    /// The shard's counts.
    Stats,
}

impl Op {
    /// Rows of a reply that it holds already.
    pub fn rows_held(&self) -> usize {
        match self {
            Self::ListOn(page) => page.rows_held(),
            _ => 0,
        }
    }

    /// How many rows it looks at or makes, where that may be many: a core runs such ops between others,
    /// in their order.
    pub fn rows(&self) -> usize {
        match self {
            Self::ListOn(_) => SCAN_ROWS,
            Self::Conversations(_, part) => part.refs.len(),
            Self::Unread(_, refs) => refs.len(),
            Self::EraseMember(_, ids) => ids.len(),
            Self::EraseSweep(..) | Self::VerifySlots(_) => usize::MAX,
            Self::VerifyMembers(..) | Self::VerifyRowsOf(..) => usize::MAX,
            Self::VerifyChats(pairs) | Self::VerifyRows(pairs) => pairs.len(),
            // Small ones too: they are taken in the order in which they were sent.
            Self::CheckImport(_) | Self::Import(..) | Self::ImportGone(_) => usize::MAX,
            Self::Places(arrivals) => arrivals.users.iter().map(|user| user.lines.len()).sum(),
            _ => 0,
        }
    }

    /// Whose rows it leads to over the shard that it is for.
    pub fn tells(&self) -> Tells<'_> {
        match self {
            Self::Run(command) => match command {
                Command::MarkRead(read) => Tells::User(&read.user_id),
                Command::Clear(clear) => Tells::User(&clear.user_id),
                Command::AddMembers(_) | Command::RemoveMembers(_) | Command::Dissolve(_) => {
                    Tells::Anybody
                }
                Command::Hello(_)
                | Command::Ping(_)
                | Command::Stats(_)
                | Command::Snapshot(_)
                | Command::Export(_)
                | Command::Import(_)
                | Command::Verify(_)
                | Command::Watch(_)
                | Command::Cancel(_)
                | Command::List(_)
                | Command::Detail(_)
                | Command::Delete(_)
                | Command::SetFlags(_)
                | Command::Touch(_)
                | Command::MarkReadMany(_)
                | Command::Conversations(_)
                | Command::Unread(_)
                | Command::Sync(_)
                | Command::Explain(_)
                | Command::EraseUser(_)
                | Command::Advance(_)
                | Command::Create(_)
                | Command::Members(_)
                | Command::SetStatus(_) => Tells::Nobody,
            },
            Self::Delete(delete, _) => Tells::User(&delete.user_id),
            Self::MarkReadMany(many) => Tells::User(&many.user_id),
            Self::EraseMember(user_id, _) | Self::EraseSweep(user_id, _) => Tells::User(user_id),
            Self::Create { .. } | Self::Import(..) => Tells::Anybody,
            Self::Claim(_)
            | Self::Details { .. }
            | Self::Facts { .. }
            | Self::CheckDelete(_)
            | Self::ExportPage { .. }
            | Self::ExportRows(_)
            | Self::CheckImport(_)
            | Self::ImportGone(_)
            | Self::Places(_)
            | Self::ListOn(_)
            | Self::Rows(_)
            | Self::Conversations(..)
            | Self::Unread(..)
            | Self::CheckReads(..)
            | Self::ReadRows(..)
            | Self::ExplainChat(_)
            | Self::EraseBegin(_)
            | Self::EraseEnd(..)
            | Self::VerifySlots(_)
            | Self::VerifyMembers(..)
            | Self::VerifyRowsOf(..)
            | Self::VerifyChats(_)
            | Self::VerifyRows(_)
            | Self::Stats => Tells::Nobody,
        }
    }
}

/// Which rows a shard tells because of an op, by messages to their shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells<'a> {
    /// None, or only those that a message brings back into a list.
    Nobody,
    /// Those of this user.
    User(&'a UserId),
    /// Those of any user.
    Anybody,
}

/// Where a new chat's id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdFrom {
    /// The caller named it.
    Caller,
    /// Derived from a single chat's two users; it belongs to them, whoever of them asks and how.
    Users,
    /// Derived from the idempotency key; it belongs to the request, whenever it comes again.
    Key,
    /// Drawn at random.
    Chance,
}

/// What a shard answers.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The command's reply.
    Done(Outcome),
    /// The key is the request's.
    Claimed(Claim),
    /// An id that the caller did not name belongs to another chat: take another.
    Collision,
    /// One for each id asked.
    Details(Vec<Option<DetailPart>>),
    /// One for each id asked.
    Facts(Vec<Option<RowFacts>>),
    /// For each user asked a place for each of their rows.
    Places(Vec<Vec<u64>>),
    /// A page.
    ExportPage(ExportPage),
    /// One for each pair asked.
    ExportRows(Vec<Option<ExportRow>>),
    /// The shard's counts.
    Stats(ShardStats),
    /// A list that is not whole yet: [`Op::ListOn`] goes on with it.
    List(Box<ListPage>),
    /// Rows, one set for each user asked.
    Rows(Vec<UserRows>),
    /// The best of a part.
    Conversations(ListingPart),
    /// For users, by their position in the rows, what a part adds to their totals.
    Unread(Vec<(u32, Totals)>),
    /// One for each item of the part.
    MarkReadMany(Vec<ReadResult>),
    /// One for each item of the part, to be handed on to the rows.
    CheckReads(Vec<RowRequest>),
    /// The chat's side of `explain`; none if there is no such chat.
    ExplainChat(Result<ChatView, Error>),
    /// How many memberships went.
    EraseMember(u64),
    /// The next slot to look into, if there are more.
    EraseSweep(Option<usize>),
    /// Slots.
    VerifySlots(Box<SlotsView>),
    /// A page of one roster, and the place behind which there is more.
    VerifyPage(Box<SlotsView>, Option<u64>),
    /// One for each pair asked.
    VerifyChats(Vec<ChatSide>),
    /// One for each pair asked.
    VerifyRows(Vec<Option<RowSide>>),
}

impl Answer {
    /// How many rows or lines it tells, where that may be many.
    pub fn rows(&self) -> usize {
        match self {
            Self::Done(Ok(Reply::List(list))) => list.items.len(),
            Self::List(_) => SCAN_ROWS,
            Self::Done(Ok(Reply::Members(members))) => members.items.len(),
            Self::Done(Ok(Reply::Sync(sync))) => sync.items.len(),
            Self::Details(chats) => chats.len(),
            Self::ExportPage(page) => page.chats.len() + page.members.len(),
            Self::ExportRows(rows) => rows.len(),
            _ => 0,
        }
    }
}

/// A user in a chat.
pub type Pair = (UserId, ChatId);

/// A chat as `explain` needs it.
#[derive(Debug, Clone)]
pub struct ChatView {
    /// The chat, with `last_read_sequence` 0.
    pub item: ChatItem,
    /// If the user is a member: what the chat knows of their floors.
    pub member: Option<Floors>,
}

/// What a chat holds of a membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatSide {
    /// Number of the chat's last event; 0 if there is no such chat.
    pub event: u64,
    /// Deliveries are under way.
    pub is_busy: bool,
    /// If the user is a member: the sequence that they joined at, and whether they deleted the chat.
    pub member: Option<(Sequence, bool)>,
}

/// What a user holds of a membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSide {
    /// Number of the last chat event that was applied.
    pub event: u64,
    /// The sequence that they joined at.
    pub join_seq: Sequence,
    /// Not in the list.
    pub is_deleted: bool,
}

/// What some slots hold, for `verify`.
#[derive(Debug, Clone, Default)]
pub struct SlotsView {
    /// The next own slot, if there are more.
    pub next: Option<usize>,
    /// Chats in them, dissolved ones counted.
    pub chats: u64,
    /// Each member of them, but of chats that have many.
    pub members: Vec<(Pair, ChatSide)>,
    /// Each row of the users in them, but of users who have many.
    pub rows: Vec<(Pair, RowSide)>,
    /// The chats that have many members.
    pub long_chats: Vec<ChatId>,
    /// The users who have many rows.
    pub long_users: Vec<UserId>,
    /// What disagrees within a slot.
    pub differences: Vec<String>,
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
    pub next: Option<ExportPlace>,
}

/// A line of `export` in its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportPlace {
    /// A chat's member of this order; 0 is the chat itself.
    Member(ChatId, u64),
    /// A user's removal, of this version, from this chat.
    Gone(UserId, u64, ChatId),
}

/// The rows that an `import` brings to some users.
#[derive(Debug, Clone)]
pub struct Arrivals {
    /// All parts of the import.
    pub parts: Arc<[Arc<Import>]>,
    /// The users.
    pub users: Vec<Arrival>,
}

/// The rows that an `import` brings to one user.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Where their lines are, in the order in which they were sent.
    pub lines: Vec<LineAt>,
    /// Places of rows that earlier imports are bringing.
    pub under_way: Vec<u64>,
}

/// Where a member's line of an `import` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineAt {
    /// The part.
    pub part: usize,
    /// The line in its part.
    pub line: usize,
    /// A line before it removes the same membership.
    pub joins_again: bool,
}

impl Arrivals {
    /// A line, and whether a line before it removes the same membership.
    pub fn line(&self, at: LineAt) -> Option<(&MemberLine, bool)> {
        Some((self.parts.get(at.part)?.members.get(at.line)?, at.joins_again))
    }
}

/// That a user is no member of a chat any more, as an import line tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct Removal {
    /// Who.
    pub user_id: UserId,
    /// Of which chat.
    pub chat_id: ChatId,
    /// The version of the removal; the user's next without it.
    pub version: Option<u64>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowAction {
    /// `mark_read`.
    Read(Sequence),
    /// `clear`.
    Clear,
}

/// Such a change on its way from the chat to the row.
#[derive(Debug, Clone)]
pub struct RowRequest {
    /// The chat.
    pub chat_id: ChatId,
    /// What.
    pub action: RowAction,
    /// Only if the row has this version.
    pub if_version: Option<u64>,
    /// The chat's word. A refusal goes on to the row too if there is an idempotency key: the first
    /// answer is kept there.
    pub checked: Result<Checked, Error>,
}

/// What the chat knew when it checked a user's change.
#[derive(Debug, Clone, Copy)]
pub struct Checked {
    /// Its newest sequence.
    pub last_sequence: Sequence,
    /// The user's own newest message.
    pub sent_seq: Sequence,
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
        /// What.
        request: RowRequest,
        /// The key of the request.
        key: Option<IdempotencyKey>,
    },
    /// The same for several rows of a user, each by itself, without a key.
    Rows {
        /// Who asked.
        to: ReplyTo,
        /// Whose rows.
        user_id: UserId,
        /// What.
        requests: Vec<RowRequest>,
    },
}

impl Message {
    /// Rows that it changes.
    pub fn rows(&self) -> usize {
        match self {
            Self::Deliver { rows, .. } => rows.len(),
            Self::Rows { requests, .. } => requests.len(),
            Self::Row { .. } => 1,
            Self::Delivered { .. } => 0,
        }
    }
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
