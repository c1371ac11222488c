//! Operations, answers and messages of a shard, as plain values.
//!
//! An [`Op`] is a command or a part of one, and all its keys belong to one shard; [`properties`]
//! has one line for each. A [`Message`] goes from shard to shard. [`Output`] is all that one step
//! of the shard produces. Its caller first writes the records to the log, then sends the messages,
//! then the answers.

mod properties;

use std::sync::Arc;

use snapshot::record::Batch;

pub use self::properties::{Properties, Reach};

use super::deliveries::Effect;
use super::idempotency::{Reservation, Reserving};
use super::listing::{Listing, ListingPart, Part, RowRef, Rows, Totals, UserRows};
use super::page::ListPage;
use super::row::RowFacts;
use super::sync_page::SyncPage;
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
use crate::command::{Error, Outcome, Reply, ShardCommand};
use crate::limits::SCAN_ROWS;
use crate::types::{ChatId, IdempotencyKey, Sequence, ShardId, Slot, UserId};

/// Address of an answer: an entry in the table of the router that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The core whose router sent the operation.
    pub core: ShardId,
    /// The number of the entry in the table of that router.
    pub entry: u64,
    /// Which part of a scattered command this answer is for.
    pub part: u32,
}

/// An operation: what a router asks of one shard.
#[derive(Debug, Clone)]
pub enum Op {
    /// A whole command. This shard is its [`Home`].
    Run(ShardCommand),
    /// Reserves an idempotency key for a request. The parts of the request follow.
    Reserve(Reserving),
    /// `create`, with an id: the client's or one that the router has chosen.
    Create {
        /// The request. Its id is present.
        create: Create,
        /// Where the id comes from. It decides what it means if a chat has this id already.
        id_from: IdFrom,
        /// The reservation, if the request has an idempotency key and the client named no id.
        reservation: Option<Reservation>,
    },
    /// Asks what the chats know, for `detail`.
    Details {
        /// Chats that this shard owns.
        ids: Vec<ChatId>,
        /// The reader, whose floors the answer includes. None if `detail` names no user.
        user_id: Option<UserId>,
    },
    /// Asks what the user's rows know, for `detail`.
    Facts {
        /// Owner of the rows. This shard owns the user.
        user_id: UserId,
        /// The chats of the rows, which any shard may own.
        ids: Vec<ChatId>,
    },
    /// Checks whether [`Op::Delete`] would accept these chats. Changes nothing.
    CheckDelete(Delete),
    /// Deletes the chats of a `delete` that this shard owns. With the reservation, if the request
    /// has an idempotency key.
    Delete(Delete, Option<Reservation>),
    /// Asks what the chats of a slot know, for a page of `export`.
    ExportPage {
        /// The slot to read.
        slot: Slot,
        /// The last line of the page before. None begins at the start of the slot.
        after: Option<ExportPlace>,
        /// The page has at most so many lines.
        limit: usize,
    },
    /// Asks what these users' rows know, for a page of `export`.
    ExportRows(Vec<(UserId, ChatId)>),
    /// Checks whether [`Op::Import`] would accept these lines. Changes nothing.
    CheckImport(Arc<Import>),
    /// Chooses the join order of each row that an `import` brings to users of this shard.
    Places(Arrivals),
    /// Applies the lines of an `import` whose chats this shard owns. The numbers are the join
    /// orders of the lines of members. If there are none, the `join_order` of each line counts.
    Import(Arc<Import>, Vec<u64>),
    /// Applies the removals of an `import` to users of this shard. The router sends it after the
    /// chats have removed their members.
    ImportRemovals(Vec<Removal>),
    /// Makes the next slice of a long list. Any shard can do it.
    ContinueList(Box<ListPage>),
    /// Makes the next slice of a page of `sync` over many rows. Any shard can do it.
    ContinueSync(Box<SyncPage>),
    /// Asks for the rows of these users, as they are at this instant.
    Rows(Vec<UserId>),
    /// Makes a part of a `conversations`, from rows whose chats this shard owns.
    Conversations(Arc<Listing>, Part),
    /// Computes the unread totals of these rows, whose chats this shard owns.
    Unread(Rows, Vec<RowRef>),
    /// Sets flags of a row of this shard.
    SetFlags(SetFlags),
    /// Marks chats as read: those that this shard owns, of a `mark_read_many` without an
    /// idempotency key.
    MarkReadMany(MarkReadMany),
    /// Checks these read positions against their chats, which this shard owns. Changes nothing.
    CheckReads(UserId, Vec<ReadItem>),
    /// Decides a `mark_read_many` with an idempotency key in one step, on the user's shard. The
    /// chats have checked it.
    ReadRows(UserId, Vec<CheckedAction>, IdempotencyKey),
    /// Asks what the chat knows, for `explain`.
    ExplainChat(Explain),
    /// Begins `erase_user`, and reserves its idempotency key. The answer is the user's rows, or for
    /// a repeat the first reply.
    EraseBegin(EraseUser),
    /// Removes the user from these chats, which this shard owns.
    EraseMember(UserId, Vec<ChatId>),
    /// Erases the user from chats that still name the user as creator or deleter. Visits some slots
    /// of this shard, from this index on.
    EraseSweep(UserId, usize),
    /// Forgets the user if no rows are left. The number says how many memberships were removed, for
    /// the reply.
    EraseEnd(EraseUser, u64),
    /// Compares the counts of some slots of this shard with their contents, from this index on.
    /// Returns their memberships.
    VerifySlots(usize),
    /// Reads a page of members after this join order, for a chat with too many for one step.
    VerifyMembers(ChatId, u64),
    /// Reads a page of rows after this join order, for a user with too many for one step.
    VerifyRowsOf(UserId, u64),
    /// Asks what the chats know of these memberships. This shard owns the chats.
    VerifyChats(Vec<Pair>),
    /// Asks what the users' rows know of these memberships. This shard owns the users.
    VerifyRows(Vec<Pair>),
    /// Asks for the counts of the shard, for `stats`.
    Stats,
}

/// Origin of a new chat's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdFrom {
    /// The client named it.
    Caller,
    /// Derived from the two users of a single chat. So both users get this id, and a chat that has
    /// it is their chat.
    Users,
    /// Derived from the idempotency key. So a repeat of the request derives it again.
    Key,
    /// Drawn at random. If another chat has it, the router draws again.
    Chance,
}

/// What a shard gives back to a router for an operation.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The reply to the command, or its error.
    Done(Outcome),
    /// The request owns its idempotency key from now on, by this reservation.
    Reserved(Reservation),
    /// Another chat has the id, which the client did not name. The router chooses another id.
    Collision,
    /// One entry for each id. None if there is no such chat.
    Details(Vec<Option<DetailPart>>),
    /// One entry for each id. None if the user has no such row.
    Facts(Vec<Option<RowFacts>>),
    /// For each user, the join orders of the user's lines.
    Places(Vec<Vec<u64>>),
    /// What the chats of a slot know, for a page of `export`.
    ExportPage(ExportPage),
    /// One entry for each pair. None if there is no such row.
    ExportRows(Vec<Option<ExportRow>>),
    /// Counts of the shard, for `stats`.
    Stats(ShardStats),
    /// A list of more slices than are made so far. [`Op::ContinueList`] makes the next slice.
    List(Box<ListPage>),
    /// A page of `sync` that is not whole yet. [`Op::ContinueSync`] makes the next slice.
    Sync(Box<SyncPage>),
    /// The rows of each user that was asked for.
    Rows(Vec<UserRows>),
    /// The first conversations of the part, in the order of `conversations`.
    Conversations(ListingPart),
    /// What the rows of the part add to the totals, by the index of the user in [`Rows`].
    Unread(Vec<(u32, Totals)>),
    /// One result for each item that was asked for.
    MarkReadMany(Vec<ReadResult>),
    /// One checked request for each item. The router passes these to the shard of the rows.
    CheckReads(Vec<CheckedAction>),
    /// What the chat knows, for `explain`. An error if there is no such chat.
    ExplainChat(Result<ChatView, Error>),
    /// How many memberships were removed.
    EraseMember(u64),
    /// The index of the slot to continue from. None after the last slot.
    EraseSweep(Option<usize>),
    /// The memberships of some slots, and contradictions within them.
    VerifySlots(Box<SlotsView>),
    /// A page of members or rows, and the join order after which the next page begins. None after
    /// the last.
    VerifyPage(Box<SlotsView>, Option<u64>),
    /// One entry for each pair.
    VerifyChats(Vec<ChatSide>),
    /// One entry for each pair. None if there is no such row.
    VerifyRows(Vec<Option<RowSide>>),
}

impl Answer {
    /// How many rows or lines the answer has, or 0 if they are always few.
    pub fn rows(&self) -> usize {
        match self {
            Self::Done(Ok(reply)) => reply.items(),
            Self::Details(chats) => chats.len(),
            Self::Facts(rows) => rows.len(),
            Self::ExportPage(page) => page.chats.len() + page.members.len(),
            Self::ExportRows(rows) => rows.len(),
            Self::List(_) | Self::Sync(_) => SCAN_ROWS,
            Self::Conversations(part) => part.items.len(),
            Self::Unread(users) => users.len(),
            Self::MarkReadMany(results) => results.len(),
            Self::CheckReads(requests) => requests.len(),
            Self::VerifySlots(view) | Self::VerifyPage(view, _) => {
                view.members.len() + view.rows.len()
            }
            Self::VerifyChats(sides) => sides.len(),
            Self::VerifyRows(sides) => sides.len(),
            Self::Places(users) => users.iter().map(Vec::len).sum(),
            // Only their chunks are shared: nothing is read.
            Self::Rows(_)
            | Self::Done(Err(_))
            | Self::Reserved(_)
            | Self::Collision
            | Self::Stats(_)
            | Self::ExplainChat(_)
            | Self::EraseMember(_)
            | Self::EraseSweep(_) => 0,
        }
    }
}

/// What one step knows of the result of an operation.
pub(super) enum Step {
    /// The outcome of the command.
    Done(Outcome),
    /// An answer that the router joins with others, or continues from.
    Part(Answer),
    /// The reply. It waits until the present events of these chats have reached their rows.
    AfterDeliveries(Vec<ChatId>, Reply),
    /// A later step or another shard will answer.
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

/// A membership: the ids of its user and its chat.
pub type Pair = (UserId, ChatId);

/// What the chat knows, for `explain`.
#[derive(Debug, Clone)]
pub struct ChatView {
    /// The chat as `detail` replies it, with a `last_read_sequence` of 0.
    pub item: ChatItem,
    /// The user's floors, as the chat knows them. None if the user is no member.
    pub member: Option<Floors>,
}

/// What a chat knows of a membership, for `verify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatSide {
    /// Number of the newest event of the chat. 0 if there is no such chat.
    pub event: u64,
    /// Whether events are still on their way, so that rows may lag behind the chat.
    pub is_busy: bool,
    /// The user's join sequence, and whether the user deleted the chat. None if the user is no
    /// member.
    pub member: Option<(Sequence, bool)>,
}

/// What a user's row knows of a membership, for `verify`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSide {
    /// Number of the newest event of the chat that changed the row.
    pub event: u64,
    /// The user's join sequence, as the row has it.
    pub join_seq: Sequence,
    /// Whether the row is out of the list, because the user deleted the chat.
    pub is_deleted: bool,
}

/// The memberships of some slots, and contradictions within them, for `verify`.
#[derive(Debug, Clone, Default)]
pub struct SlotsView {
    /// The index of the slot to continue from. None after the last slot.
    pub next: Option<usize>,
    /// How many chats these slots hold, with the dissolved ones.
    pub chats: u64,
    /// All members, without those of [`Self::long_chats`].
    pub members: Vec<(Pair, ChatSide)>,
    /// All rows, without those of [`Self::long_users`].
    pub rows: Vec<(Pair, RowSide)>,
    /// Chats with too many members for one step. [`Op::VerifyMembers`] reads their members.
    pub long_chats: Vec<ChatId>,
    /// Users with too many rows for one step. [`Op::VerifyRowsOf`] reads their rows.
    pub long_users: Vec<UserId>,
    /// Contradictions within a slot, each as a message for the operator.
    pub differences: Vec<String>,
}

/// What a chat knows, for `detail`.
#[derive(Debug, Clone)]
pub struct DetailPart {
    /// The chat as `detail` replies it, with a `last_read_sequence` of 0.
    pub item: ChatItem,
    /// The reader's floors, as the chat knows them. None if the reader is no member.
    pub member: Option<Floors>,
}

/// What the chats of a slot know, for a page of `export`.
#[derive(Debug, Clone, Default)]
pub struct ExportPage {
    /// Lines of chats, sorted by id.
    pub chats: Vec<ChatLine>,
    /// Lines of members, with what the chat knows of them.
    pub members: Vec<MemberLine>,
    /// Where the next page continues: the last line of this page. None if the slot has no more
    /// lines.
    pub next: Option<ExportPlace>,
}

/// A line of `export`, by which the next page continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportPlace {
    /// The line of the member with this join order in this chat. Order 0 is the line of the chat
    /// itself.
    Member(ChatId, u64),
    /// The line of the user's removal from this chat, with the version that the line has.
    Removal(UserId, u64, ChatId),
}

/// The rows that one `import` brings to some users.
#[derive(Debug, Clone)]
pub struct Arrivals {
    /// All parts of the `import`. Each [`LineAt`] is a line of one of them.
    pub parts: Arc<[Arc<Import>]>,
    /// One entry for each user.
    pub users: Vec<Arrival>,
}

/// The rows that an `import` brings to one user.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Where the lines of the user are, in the order in which they were sent.
    pub lines: Vec<LineAt>,
    /// Join orders of rows that earlier imports are still bringing, so that no new row gets them.
    pub under_way: Vec<u64>,
}

/// Where the line of a member is in an `import`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineAt {
    /// Index of the part that has the line.
    pub part: usize,
    /// Index of the line within its part.
    pub line: usize,
    /// Whether an earlier line removes this membership. Then this line adds it again.
    pub joins_again: bool,
}

impl Arrivals {
    /// Number of lines of all users.
    pub fn lines(&self) -> usize {
        self.users.iter().map(|user| user.lines.len()).sum()
    }

    /// The line at a position, with its [`LineAt::joins_again`]; None if there is no such line.
    pub fn line(&self, at: LineAt) -> Option<(&MemberLine, bool)> {
        Some((self.parts.get(at.part)?.members.get(at.line)?, at.joins_again))
    }
}

/// A line of an `import` that says: the user is no longer a member of the chat.
#[derive(Debug, Clone, PartialEq)]
pub struct Removal {
    /// The user who left.
    pub user_id: UserId,
    /// The chat that the user left.
    pub chat_id: ChatId,
    /// The version to give the removal. None stands for the user's next version.
    pub version: Option<u64>,
}

/// A row as `export` needs it.
#[derive(Debug, Clone)]
pub struct ExportRow {
    /// What clients see of the row, and what counts for unread.
    pub facts: RowFacts,
    /// Join order of the row, lowered to the largest one that `import` accepts.
    pub order: u64,
    /// Version of the row, lowered to the largest one that `import` accepts.
    pub version: u64,
}

/// A change of a row by its user, which the chat must check first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowAction {
    /// `mark_read` up to this sequence.
    Read(Sequence),
    /// `clear`: the watermark rises to the chat's last sequence.
    Clear,
}

/// A [`RowAction`] that the chat has checked, on its way to the row.
#[derive(Debug, Clone)]
pub struct CheckedAction {
    /// The chat of the row.
    pub chat_id: ChatId,
    /// The change that the user wants.
    pub action: RowAction,
    /// The version that the row must have. None accepts every version.
    pub if_version: Option<u64>,
    /// The chat's verdict. A refusal goes on to the row only if the request has an idempotency key,
    /// because the row's slot keeps the first answer.
    pub checked: Result<CheckFacts, Error>,
}

/// What the chat knew when it checked a [`RowAction`].
#[derive(Debug, Clone, Copy)]
pub struct CheckFacts {
    /// The last sequence of the chat.
    pub last_sequence: Sequence,
    /// The user's sent sequence.
    pub sent_seq: Sequence,
}

/// What one shard sends another.
#[derive(Debug, Clone)]
pub enum Message {
    /// An event of a chat, for rows of the shard that receives it.
    Deliver {
        /// The shard of the chat, which waits for the confirmation.
        from: ShardId,
        /// The chat of the event.
        chat_id: ChatId,
        /// Number of the event in its chat.
        event: u64,
        /// The users whose rows the event changes, with the effect on each row.
        rows: Vec<(UserId, Effect)>,
    },
    /// Confirms that the rows have applied an event. The records of that went to the log before
    /// this message.
    Delivered {
        /// The chat of the event.
        chat_id: ChatId,
        /// Number of the event in its chat.
        event: u64,
    },
    /// A change of a row that the chat has checked. The row's shard decides it, and answers the
    /// router.
    Row {
        /// The router that asked.
        to: ReplyTo,
        /// Owner of the row.
        user_id: UserId,
        /// The change, with the verdict of the chat.
        request: CheckedAction,
        /// The idempotency key of the request, if it has one.
        key: Option<IdempotencyKey>,
    },
    /// Like [`Message::Row`], for several rows of one user and without an idempotency key. Each row
    /// is decided alone.
    Rows {
        /// The router that asked.
        to: ReplyTo,
        /// Owner of the rows.
        user_id: UserId,
        /// The changes, each with the verdict of its chat.
        requests: Vec<CheckedAction>,
    },
}

impl Message {
    /// How many rows the message may change.
    pub fn rows(&self) -> usize {
        match self {
            Self::Deliver { rows, .. } => rows.len(),
            Self::Rows { requests, .. } => requests.len(),
            Self::Row { .. } => 1,
            Self::Delivered { .. } => 0,
        }
    }
}

/// A message with the number of the newest snapshot that its sender has begun. The receiver begins
/// that snapshot before it takes the message. So no snapshot holds an effect without its cause
/// (Chandy and Lamport, "Distributed Snapshots", 1985).
#[derive(Debug, Clone)]
pub struct Envelope {
    /// Number of the newest snapshot that the sender has begun.
    pub snapshot: u64,
    /// The message for the receiver.
    pub message: Message,
}

/// An answer, and the router that it goes to.
#[derive(Debug)]
pub struct Answered {
    /// The router that asked.
    pub to: ReplyTo,
    /// The answer itself.
    pub answer: Answer,
    /// Whether the answer promises something. Such an answer leaves only when the log has all
    /// records that were written before it.
    pub after_log: bool,
}

/// Everything that one step of the shard produces.
#[derive(Debug, Default)]
pub struct Output {
    /// Records for the log, in the order in which their events were decided.
    pub records: Batch,
    /// Messages with their receivers, which may include the sending shard.
    pub messages: Vec<(ShardId, Envelope)>,
    /// Answers that are ready.
    pub answers: Vec<Answered>,
}

impl Output {
    /// Whether the step produced nothing.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.messages.is_empty() && self.answers.is_empty()
    }
}
