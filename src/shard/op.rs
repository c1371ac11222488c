//! Operations, answers and messages of a shard, as plain values.
//!
//! An [`Op`] is a command, or a part of one, whose keys all belong to one shard. A [`Message`]
//! travels from shard to shard. [`Output`] is everything that one step of the core produces. The
//! caller of the core carries it out in this order: records to the log, then messages, then
//! answers.

use std::sync::Arc;

use snapshot::record::Batch;

use super::deliveries::Effect;
use super::idempotency::{Claim, Claiming};
use super::listing::{Listing, ListingPart, Part, RowRef, Rows, Totals, UserRows};
use super::page::ListPage;
use super::row::RowFacts;
use crate::command::create::Create;
use crate::command::delete::Delete;
use crate::command::detail::ChatItem;
use crate::command::erase_user::EraseUser;
use crate::command::explain::Explain;
use crate::command::floors::Floors;
use crate::command::import::Import;
use crate::command::lines::{ChatLine, MemberLine};
use crate::command::mark_read_many::{MarkReadMany, ReadItem, ReadResult};
use crate::command::set_flags::SetFlags;
use crate::command::stats::ShardStats;
use crate::command::{Error, Home, Outcome, Reply, ShardCommand};
use crate::limits::SCAN_ROWS;
use crate::types::{ChatId, IdempotencyKey, Sequence, ShardId, Slot, UserId};

/// Address of an answer: an entry in the router's table on the core that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The core whose router sent the operation.
    pub core: ShardId,
    /// The entry in that router's table.
    pub entry: u64,
    /// The part of a scattered command that this answer completes.
    pub part: u32,
}

/// An operation: what a router asks of one shard.
#[derive(Debug, Clone)]
pub enum Op {
    /// A whole command, whose [`Home`] is this shard.
    Run(ShardCommand),
    /// Takes an idempotency key for a request; the parts of the request follow.
    Claim(Claiming),
    /// `create`, after the router has filled in the id.
    Create {
        /// The request; its id is present.
        create: Create,
        /// The origin of the id, which decides what an existing chat with this id means.
        id_from: IdFrom,
        /// The claim, if the request has an idempotency key and named no id.
        claim: Option<Claim>,
    },
    /// The chats' side of `detail`.
    Details {
        /// Chats of this shard.
        ids: Vec<ChatId>,
        /// The reader, whose floors the answer includes; None if `detail` names no user.
        user_id: Option<UserId>,
    },
    /// The user's side of `detail`.
    Facts {
        /// Owner of the rows, a user of this shard.
        user_id: UserId,
        /// Chats of any shard.
        ids: Vec<ChatId>,
    },
    /// Checks whether [`Op::Delete`] would accept these chats; changes nothing.
    CheckDelete(Delete),
    /// The chats of a `delete` that this shard owns; with the claim of its key, if it has one.
    Delete(Delete, Option<Claim>),
    /// The chats' side of a page of `export`.
    ExportPage {
        /// The slot to read.
        slot: Slot,
        /// The last line that an earlier page returned; None begins the slot.
        after: Option<ExportPlace>,
        /// Maximum number of lines.
        limit: usize,
    },
    /// The users' side of a page of `export`.
    ExportRows(Vec<(UserId, ChatId)>),
    /// Checks whether [`Op::Import`] would accept these lines; changes nothing.
    CheckImport(Arc<Import>),
    /// Finds a place in the list for each row that an `import` brings to users of this shard.
    Places(Arrivals),
    /// The lines of an `import` whose chats this shard owns, with a place in the user's list for
    /// each line of a member. If the places are empty, the `join_order` of each line counts.
    Import(Arc<Import>, Vec<u64>),
    /// Removals in an `import`, for users of this shard. The router sends them after their chats
    /// have applied them.
    ImportGone(Vec<Removal>),
    /// Makes the next slice of a long list; any core can do it.
    ListOn(Box<ListPage>),
    /// The rows of these users at this instant.
    Rows(Vec<UserId>),
    /// The part of a user's conversations whose chats this shard owns, among these rows.
    Conversations(Arc<Listing>, Part),
    /// The unread totals of these rows, whose chats this shard owns.
    Unread(Rows, Vec<RowRef>),
    /// Sets the flags of a row, which this shard owns.
    SetFlags(SetFlags),
    /// The chats of a `mark_read_many` without a key that this shard owns.
    MarkReadMany(MarkReadMany),
    /// Checks a user's read positions against their chats, which this shard owns.
    CheckReads(UserId, Vec<ReadItem>),
    /// A `mark_read_many` with a key, after the chats have checked it: the rows decide in one step.
    ReadRows(UserId, Vec<RowRequest>, IdempotencyKey),
    /// The chat's side of `explain`.
    ExplainChat(Explain),
    /// Begins `erase_user` and takes its key. The answer is the user's rows, or the first reply if
    /// the request is a repeat.
    EraseBegin(EraseUser),
    /// Removes the user from these chats, which this shard owns.
    EraseMember(UserId, Vec<ChatId>),
    /// Looks for the user as the creator of chats, in some slots of this shard from this own slot
    /// on.
    EraseSweep(UserId, usize),
    /// Forgets the user, if no rows are left. The number is that of removed memberships, for the
    /// reply.
    EraseEnd(EraseUser, u64),
    /// Recounts some slots of this shard from this own slot on, and reports their memberships.
    VerifySlots(usize),
    /// A page of the members of a chat that has many, after this join order.
    VerifyMembers(ChatId, u64),
    /// A page of the rows of a user who has many, after this join order.
    VerifyRowsOf(UserId, u64),
    /// The chats' side of these memberships; this shard owns the chats.
    VerifyChats(Vec<Pair>),
    /// The users' side of these memberships; this shard owns the users.
    VerifyRows(Vec<Pair>),
    /// Counts of the shard, for `stats`.
    Stats,
}

impl Op {
    /// Rows of a reply for which the operation already holds memory.
    pub fn rows_held(&self) -> usize {
        match self {
            Self::ListOn(page) => page.rows_held(),
            _ => 0,
        }
    }

    /// Number of rows that the operation reads or writes, if it can be large, else 0. A worker runs
    /// large operations between others and keeps their order. `usize::MAX` marks one that is always
    /// large.
    pub fn rows(&self) -> usize {
        match self {
            Self::ListOn(_) => SCAN_ROWS,
            Self::Conversations(_, part) => part.refs.len(),
            Self::Unread(_, refs) => refs.len(),
            Self::EraseMember(_, ids) => ids.len(),
            Self::EraseSweep(..) | Self::VerifySlots(_) => usize::MAX,
            Self::VerifyMembers(..) | Self::VerifyRowsOf(..) => usize::MAX,
            Self::VerifyChats(pairs) | Self::VerifyRows(pairs) => pairs.len(),
            // Small imports count as large too, so that all are applied in the order in which they
            // were sent.
            Self::CheckImport(_) | Self::Import(..) | Self::ImportGone(_) => usize::MAX,
            Self::Places(arrivals) => arrivals.users.iter().map(|user| user.lines.len()).sum(),
            _ => 0,
        }
    }

    /// The users whose rows the operation changes by messages of its shard to other shards.
    pub fn tells(&self) -> Tells<'_> {
        match self {
            Self::Run(command) => match command.home() {
                Home::User(_) | Home::Chat(_) => Tells::Nobody,
                Home::ChatThenRow(_, user_id) => Tells::User(user_id),
                Home::ChatThenMembers(_) => Tells::Anybody,
            },
            Self::Delete(delete, _) => Tells::User(&delete.user_id),
            Self::MarkReadMany(many) => Tells::User(&many.user_id),
            Self::EraseMember(user_id, _) | Self::EraseSweep(user_id, _) => Tells::User(user_id),
            Self::Create { .. } | Self::Import(..) => Tells::Anybody,
            Self::Claim(_)
            | Self::SetFlags(_)
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

/// The users to whose rows a shard sends messages because of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells<'a> {
    /// No user, or only those into whose list a message brings a deleted row back.
    Nobody,
    /// Only the rows of this user.
    User(&'a UserId),
    /// Rows of any user.
    Anybody,
}

/// Origin of a new chat's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdFrom {
    /// The caller named the id.
    Caller,
    /// Derived from the two users of a single chat. The id belongs to these users, whichever of
    /// them asks.
    Users,
    /// Derived from the idempotency key. The id belongs to the request, and a repeat derives it
    /// again.
    Key,
    /// Drawn at random; after a collision the router draws again.
    Chance,
}

/// What a shard gives back to a router for an operation.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The reply to the command, or its error.
    Done(Outcome),
    /// The request owns the key, by this claim.
    Claimed(Claim),
    /// The id, which the caller did not name, belongs to another chat. The router tries another
    /// one.
    Collision,
    /// One entry for each id; None if there is no such chat.
    Details(Vec<Option<DetailPart>>),
    /// One entry for each id; None if the user has no such row.
    Facts(Vec<Option<RowFacts>>),
    /// For each user a place in the list for each of their lines.
    Places(Vec<Vec<u64>>),
    /// The chats' side of a page of `export`.
    ExportPage(ExportPage),
    /// One entry for each pair; None if there is no such row.
    ExportRows(Vec<Option<ExportRow>>),
    /// Counts of the shard.
    Stats(ShardStats),
    /// A list that is not complete: [`Op::ListOn`] continues it.
    List(Box<ListPage>),
    /// One set of rows for each user.
    Rows(Vec<UserRows>),
    /// The first conversations of a part, in list order.
    Conversations(ListingPart),
    /// The totals that a part adds, by the user's position in [`Rows`].
    Unread(Vec<(u32, Totals)>),
    /// One result for each item of the part.
    MarkReadMany(Vec<ReadResult>),
    /// One checked request for each item of the part; the router passes them to the rows.
    CheckReads(Vec<RowRequest>),
    /// The chat's side of `explain`, or an error if there is no such chat.
    ExplainChat(Result<ChatView, Error>),
    /// Number of memberships that were removed.
    EraseMember(u64),
    /// The next own slot to look into; None after the last.
    EraseSweep(Option<usize>),
    /// Memberships and differences of some slots.
    VerifySlots(Box<SlotsView>),
    /// A page of one roster, and the order after which it continues; None after the last page.
    VerifyPage(Box<SlotsView>, Option<u64>),
    /// One entry for each pair.
    VerifyChats(Vec<ChatSide>),
    /// One entry for each pair; None if there is no such row.
    VerifyRows(Vec<Option<RowSide>>),
}

impl Answer {
    /// Number of rows or lines in the answer, if it can be large, else 0.
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

/// The part of a command's result that one step knows.
pub(super) enum Step {
    /// The outcome of the command.
    Done(Outcome),
    /// An answer that the router joins with others, or continues from.
    Part(Answer),
    /// The reply. It waits until all events that these chats have decided so far have reached their
    /// rows.
    AfterDeliveries(Vec<ChatId>, Reply),
    /// A later step or another shard answers.
    Later,
}

impl From<Outcome> for Step {
    fn from(outcome: Outcome) -> Self {
        Self::Done(outcome)
    }
}

impl From<Error> for Step {
    fn from(error: Error) -> Self {
        Self::Done(Err(error))
    }
}

impl From<Answer> for Step {
    fn from(answer: Answer) -> Self {
        Self::Part(answer)
    }
}

/// A membership, by the ids of its user and its chat.
pub type Pair = (UserId, ChatId);

/// The chat's side of `explain`.
#[derive(Debug, Clone)]
pub struct ChatView {
    /// The chat; `last_read_sequence` is 0.
    pub item: ChatItem,
    /// The user's floors as the chat knows them; None if the user is no member.
    pub member: Option<Floors>,
}

/// The chat's side of a membership, for `verify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatSide {
    /// Number of the chat's last event; 0 if there is no such chat.
    pub event: u64,
    /// Whether deliveries are under way, so that rows may lag behind.
    pub is_busy: bool,
    /// The user's join sequence, and whether they deleted the chat; None if they are no member.
    pub member: Option<(Sequence, bool)>,
}

/// The user's side of a membership, for `verify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSide {
    /// Number of the last chat event that the row has applied.
    pub event: u64,
    /// The user's join sequence, as the row knows it.
    pub join_seq: Sequence,
    /// Whether the row is out of the list because the user deleted the chat.
    pub is_deleted: bool,
}

/// Memberships and differences of some slots, for `verify`.
#[derive(Debug, Clone, Default)]
pub struct SlotsView {
    /// The next own slot; None after the last.
    pub next: Option<usize>,
    /// Number of chats in these slots, dissolved ones included.
    pub chats: u64,
    /// All members, except those of [`Self::long_chats`].
    pub members: Vec<(Pair, ChatSide)>,
    /// All rows, except those of [`Self::long_users`].
    pub rows: Vec<(Pair, RowSide)>,
    /// Chats with too many members for one step; [`Op::VerifyMembers`] reads them.
    pub long_chats: Vec<ChatId>,
    /// Users with too many rows for one step; [`Op::VerifyRowsOf`] reads them.
    pub long_users: Vec<UserId>,
    /// Disagreements within a slot, each as a message for the operator.
    pub differences: Vec<String>,
}

/// A chat as its own shard sees it, for `detail`.
#[derive(Debug, Clone)]
pub struct DetailPart {
    /// The chat; `last_read_sequence` is 0.
    pub item: ChatItem,
    /// The reader's floors as the chat knows them; None if the reader is no member.
    pub member: Option<Floors>,
}

/// The chats' side of a page of `export`.
#[derive(Debug, Clone, Default)]
pub struct ExportPage {
    /// Lines of chats, in the order of their ids.
    pub chats: Vec<ChatLine>,
    /// Lines of members, with the facts that the chat knows.
    pub members: Vec<MemberLine>,
    /// The last line of this page; None if the slot has no more.
    pub next: Option<ExportPlace>,
}

/// The position of a line of `export` within its slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportPlace {
    /// The chat's member of this join order; 0 is the line of the chat itself.
    Member(ChatId, u64),
    /// The user's removal from this chat, with its version as `export` writes it.
    Gone(UserId, u64, ChatId),
}

/// The rows that an `import` brings to some users.
#[derive(Debug, Clone)]
pub struct Arrivals {
    /// All parts of the `import`, to which [`LineAt`] refers.
    pub parts: Arc<[Arc<Import>]>,
    /// One entry for each user.
    pub users: Vec<Arrival>,
}

/// The rows that an `import` brings to one user.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// The positions of the user's lines, in the order in which they were sent.
    pub lines: Vec<LineAt>,
    /// List places of rows that earlier imports are still bringing.
    pub under_way: Vec<u64>,
}

/// The position of a member's line within an `import`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineAt {
    /// Index of the part.
    pub part: usize,
    /// Index of the line in its part.
    pub line: usize,
    /// Whether an earlier line removes this membership, so that this line joins it again.
    pub joins_again: bool,
}

impl Arrivals {
    /// The line at a position, with its [`LineAt::joins_again`]; None if there is no such line.
    pub fn line(&self, at: LineAt) -> Option<(&MemberLine, bool)> {
        Some((self.parts.get(at.part)?.members.get(at.line)?, at.joins_again))
    }
}

/// An import line that says that a user is no longer a member of a chat.
#[derive(Debug, Clone, PartialEq)]
pub struct Removal {
    /// The user who left.
    pub user_id: UserId,
    /// The chat that the user left.
    pub chat_id: ChatId,
    /// The version of the removal; None takes the user's next version.
    pub version: Option<u64>,
}

/// A row with its bookkeeping, for `export`.
#[derive(Debug, Clone)]
pub struct ExportRow {
    /// Flags, positions and times.
    pub facts: RowFacts,
    /// Join order of the row, at most what `import` accepts.
    pub order: u64,
    /// Version of the row, at most what `import` accepts.
    pub version: u64,
}

/// A user's own change to a row that the chat must check first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowAction {
    /// `mark_read` up to this sequence.
    Read(Sequence),
    /// `clear`: the watermark rises to the chat's last sequence.
    Clear,
}

/// A [`RowAction`] on its way from the chat to the row.
#[derive(Debug, Clone)]
pub struct RowRequest {
    /// The chat of the row.
    pub chat_id: ChatId,
    /// The change that the user wants.
    pub action: RowAction,
    /// If set, the row must have this version.
    pub if_version: Option<u64>,
    /// The chat's verdict. With an idempotency key, a refusal travels to the row too, because the
    /// row keeps the first answer.
    pub checked: Result<Checked, Error>,
}

/// The chat's facts at the moment when it checked a user's change.
#[derive(Debug, Clone, Copy)]
pub struct Checked {
    /// The chat's newest sequence.
    pub last_sequence: Sequence,
    /// The user's own newest message.
    pub sent_seq: Sequence,
}

/// What one shard sends another.
#[derive(Debug, Clone)]
pub enum Message {
    /// An event of a chat, for rows of the receiving shard.
    Deliver {
        /// The shard of the chat, which gets the confirmation.
        from: ShardId,
        /// The chat of the event.
        chat_id: ChatId,
        /// The event's number in its chat.
        event: u64,
        /// The users whose rows the event reaches, each with its effect.
        rows: Vec<(UserId, Effect)>,
    },
    /// Confirmation: the rows have the event, and their records are with the log.
    Delivered {
        /// The chat of the event.
        chat_id: ChatId,
        /// The event's number in its chat.
        event: u64,
    },
    /// The chat has checked a user's change. The row's shard decides, and answers the router.
    Row {
        /// The router that asked.
        to: ReplyTo,
        /// Owner of the row.
        user_id: UserId,
        /// The change, with the chat's verdict.
        request: RowRequest,
        /// Idempotency key of the request.
        key: Option<IdempotencyKey>,
    },
    /// Like [`Message::Row`], for several rows of a user: each is decided by itself, without a key.
    Rows {
        /// The router that asked.
        to: ReplyTo,
        /// Owner of the rows.
        user_id: UserId,
        /// The changes, with the chats' verdicts.
        requests: Vec<RowRequest>,
    },
}

impl Message {
    /// Number of rows that the message may change.
    pub fn rows(&self) -> usize {
        match self {
            Self::Deliver { rows, .. } => rows.len(),
            Self::Rows { requests, .. } => requests.len(),
            Self::Row { .. } => 1,
            Self::Delivered { .. } => 0,
        }
    }
}

/// A message with the number of the snapshot that its sender has begun, so that the receiver begins
/// no later. Then no snapshot holds an effect without its cause (Chandy and Lamport, "Distributed
/// Snapshots", 1985).
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Number of the newest snapshot that the sender has begun.
    pub snapshot: u64,
    /// The message for the receiver.
    pub message: Message,
}

/// An answer with its address.
#[derive(Debug)]
pub struct Answered {
    /// The router that asked.
    pub to: ReplyTo,
    /// What the shard gives back.
    pub answer: Answer,
    /// Whether the answer promises something. Then it leaves only when the log holds all records
    /// that were decided before it.
    pub after_log: bool,
}

/// Everything that a step of the core produces.
#[derive(Debug, Default)]
pub struct Output {
    /// Records for the log, in the order of their decisions.
    pub records: Batch,
    /// Messages with their receivers; the own shard can be one.
    pub messages: Vec<(ShardId, Envelope)>,
    /// Answers that are ready.
    pub answers: Vec<Answered>,
}

impl Output {
    /// Whether there is nothing to carry out.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.messages.is_empty() && self.answers.is_empty()
    }
}
