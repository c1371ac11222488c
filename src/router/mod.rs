//! The way of a command: key -> slot -> shard, and back.
//!
//! A command whose keys are all on one shard goes there whole. Other commands are scattered into
//! parts, one per shard, and the answers are gathered; some commands take several rounds. The
//! router is sans-IO like the shard: commands and answers go in, operations and outcomes come out.
//! Each core has one router. A ticket is what the router's owner needs to deliver an outcome; a
//! worker uses a responder.
//!
//! Invariants:
//! - Every ticket is returned exactly once, with its outcome.
//! - Parts of one command are sent in the order of shards, so that equal runs give equal orders.

mod create;
mod delete;
mod detail;
mod erase;
mod explain;
mod export;
mod flags;
mod import;
mod listing;
mod places;
mod read_many;
mod scatter_plan;
mod verify;

use std::collections::VecDeque;

use slotmap::{DefaultKey, Key, KeyData, SlotMap};

use crate::command::stats::StatsReply;
use crate::command::{Command, Error, Kind, Outcome, Reply, ReplySize, RouterCommand, Sorted};
use crate::shard::idempotency::Claiming;
use crate::shard::op::{Answer, Op, ReplyTo};
use crate::types::{ChatId, KeyHasher, ShardCount, ShardId, UserId};
use create::Creating;
use delete::Deleting;
use detail::Detailing;
use erase::Erasing;
use explain::Explaining;
use export::Exporting;
use flags::Flagging;
use import::Importing;
pub use import::ScatterPlan;
use listing::{ListingGather, UnreadGather};
use places::Placed;
use read_many::ReadingMany;
use verify::Verifying;

/// An operation on its way to a shard, with the address of its answer.
pub type Sent = (ShardId, ReplyTo, Op);

/// A unit of work for a router.
#[derive(Debug, PartialEq)]
pub enum Work {
    /// A command as the client sent it.
    Command(Command),
    /// An import that [`Work::prepare`] cut into parts.
    Import(ScatterPlan),
}

impl From<Command> for Work {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

impl Work {
    /// Makes work of a command, on any thread. An import is cut into parts here, because that would
    /// hold a router for long.
    pub fn prepare(command: Command, hasher: KeyHasher, shards: ShardCount) -> Self {
        match command {
            Command::Import(import) => Self::Import(ScatterPlan::cut(import, hasher, shards)),
            command => Self::Command(command),
        }
    }

    /// The kind of the command, also for a prepared import.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Command(command) => command.kind(),
            Self::Import(_) => Kind::Import,
        }
    }

    /// How large the reply may become.
    pub fn reply_size(&self) -> ReplySize {
        match self {
            Self::Command(command) => command.reply_size(),
            Self::Import(_) => ReplySize::Small,
        }
    }
}

/// The commands under way on one core, each with its ticket and the answers so far.
pub struct Router<T> {
    core: ShardId,
    shards: ShardCount,
    hasher: KeyHasher,
    /// State of the generator of random ids (SplitMix64; Steele, Lea, Flood 2014).
    random: u64,
    pending: SlotMap<DefaultKey, Pending<T>>,
    /// Whether an import is being checked; `imports_waiting` has the entries of those that wait
    /// until all its parts are sent.
    import_is_checked: bool,
    imports_waiting: VecDeque<u64>,
    /// Places of the rows that imports are bringing, with the entries of these imports.
    places_under_way: Vec<(u64, Placed)>,
}

struct Pending<T> {
    ticket: T,
    gather: Gather,
}

/// The answers gathered for a command; boxed, since most commands wait for a single answer.
enum Gather {
    One,
    Create(Box<Creating>),
    Flags(Box<Flagging>),
    Detail(Box<Detailing>),
    Delete(Box<Deleting>),
    Import(Box<Importing>),
    Export(Box<Exporting>),
    Conversations(Box<ListingGather>),
    Unread(Box<UnreadGather>),
    Explain(Box<Explaining>),
    ReadMany(Box<ReadingMany>),
    Erase(Box<Erasing>),
    Verify(Box<Verifying>),
    Stats(Box<StatsReply>),
}

/// The number of parts without an answer, and the first error of those that answered.
#[derive(Default)]
struct Missing {
    parts: usize,
    error: Option<Error>,
    /// The parts change nothing; they only check whether they could be applied.
    are_checks: bool,
    /// A part was applied, or may have been.
    any_applied: bool,
}

impl Missing {
    fn of(parts: usize) -> Self {
        Self { parts, ..Self::default() }
    }

    /// Parts that follow other parts, which were applied.
    fn behind_others(parts: usize) -> Self {
        Self { any_applied: true, ..Self::of(parts) }
    }

    fn of_checks(parts: usize) -> Self {
        Self { are_checks: true, ..Self::of(parts) }
    }

    /// Counts an answer. Returns the outcome after the last one; of several errors, the first.
    fn note<R>(&mut self, outcome: Result<R, Error>) -> Option<Result<(), Error>> {
        self.parts = self.parts.saturating_sub(1);
        match outcome {
            Ok(_) => self.any_applied |= !self.are_checks,
            Err(error) => {
                self.any_applied |= error.is_outcome_unknown();
                self.error.get_or_insert(error);
            }
        }
        if self.parts > 0 {
            return None;
        }
        Some(match self.error.take() {
            None => Ok(()),
            Some(error) if self.any_applied => Err(error.of_a_part()),
            Some(error) => Err(error),
        })
    }
}

/// The result of scattering a command.
enum Scattered {
    /// Operations were sent to shards.
    Asked(Gather),
    /// No shard is needed.
    Finished(Outcome),
}

/// The key of an entry; keys of removed entries are not reused.
fn key_of(entry: u64) -> DefaultKey {
    KeyData::from_ffi(entry).into()
}

/// The outcome if an answer does not fit its operation, which only a defect causes.
fn mixed_up() -> Outcome {
    Err(Error::outcome_unknown("a shard gave an answer of another kind"))
}

impl<T> Router<T> {
    /// A router on `core` of a node with `shards`; `seed` makes the random ids of this run differ.
    pub fn new(core: ShardId, shards: ShardCount, hasher: KeyHasher, seed: u64) -> Self {
        Self {
            core,
            shards,
            hasher,
            random: seed,
            pending: SlotMap::new(),
            import_is_checked: false,
            imports_waiting: VecDeque::new(),
            places_under_way: Vec::new(),
        }
    }

    /// Number of commands under way; the worker rejects new ones above a bound.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Accepts a command, and appends the operations for shards to `out`. The outcome comes from a
    /// later [`Self::answer`], or is returned now if no shard is needed.
    pub fn submit(
        &mut self,
        ticket: T,
        work: impl Into<Work>,
        out: &mut Vec<Sent>,
    ) -> Option<(T, Outcome)> {
        let entry = self.park(ticket);
        let scattered = match work.into() {
            Work::Command(command) => self.scatter(entry, command, out),
            Work::Import(parts) => self.scatter_import(entry, parts, out),
        };
        match scattered {
            Scattered::Asked(Gather::One) => None,
            Scattered::Asked(gather) => {
                self.put_back(entry, gather);
                None
            }
            Scattered::Finished(outcome) => self.unpark(entry).map(|ticket| (ticket, outcome)),
        }
    }

    /// Accepts a shard's answer. Returns the ticket with its outcome, or appends further operations
    /// to `out`.
    pub fn answer(
        &mut self,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<(T, Outcome)> {
        // A part may answer after the outcome was returned: then the entry is gone.
        let mut gather = self.take_out(to.entry)?;
        let outcome = self.gather(&mut gather, to, answer, out);
        match outcome {
            Some(outcome) => self.unpark(to.entry).map(|ticket| (ticket, outcome)),
            None => {
                self.put_back(to.entry, gather);
                None
            }
        }
    }

    /// Keeps a ticket for one answer of a shard to an operation that the caller sends. Returns the
    /// entry for that operation.
    pub fn park(&mut self, ticket: T) -> u64 {
        self.pending.insert(Pending { ticket, gather: Gather::One }).data().as_ffi()
    }

    /// Removes an entry and returns its ticket; `None` if the entry is gone.
    pub fn unpark(&mut self, entry: u64) -> Option<T> {
        self.pending.remove(key_of(entry)).map(|pending| pending.ticket)
    }

    fn take_out(&mut self, entry: u64) -> Option<Gather> {
        let pending = self.pending.get_mut(key_of(entry))?;
        Some(std::mem::replace(&mut pending.gather, Gather::One))
    }

    fn put_back(&mut self, entry: u64, gather: Gather) {
        if let Some(pending) = self.pending.get_mut(key_of(entry)) {
            pending.gather = gather;
        }
    }

    fn scatter(&mut self, entry: u64, command: Command, out: &mut Vec<Sent>) -> Scattered {
        match command.sorted() {
            Sorted::Shard(command) => {
                let shard = self.shard_of(command.home().key());
                out.push((shard, self.reply_to(entry, 0), Op::Run(command)));
                Scattered::Asked(Gather::One)
            }
            Sorted::Router(command) => self.lead(entry, command, out),
            Sorted::Neither(kind) => {
                let name = kind.name();
                Scattered::Finished(Err(Error::invalid(format!("{name} is asked of a connection"))))
            }
        }
    }

    /// Takes the first step of a command that several shards or steps make up.
    fn lead(&mut self, entry: u64, command: RouterCommand, out: &mut Vec<Sent>) -> Scattered {
        match command {
            RouterCommand::SetFlags(set) => self.scatter_flags(entry, set, out),
            RouterCommand::Create(create) => {
                Scattered::Asked(self.scatter_create(entry, create, out))
            }
            RouterCommand::Detail(detail) => self.scatter_detail(entry, detail, out),
            RouterCommand::Delete(delete) => self.scatter_delete(entry, delete, out),
            RouterCommand::Import(import) => {
                let parts = ScatterPlan::cut(import, self.hasher, self.shards);
                self.scatter_import(entry, parts, out)
            }
            RouterCommand::Export(export) => self.scatter_export(entry, export, out),
            RouterCommand::Stats(_) => {
                let shards =
                    self.shards.all().map(|shard| (shard, self.reply_to(entry, 0), Op::Stats));
                out.extend(shards);
                Scattered::Asked(Gather::Stats(Box::default()))
            }
            RouterCommand::Conversations(asked) => self.scatter_conversations(entry, asked, out),
            RouterCommand::Unread(unread) => self.scatter_unread(entry, unread, out),
            RouterCommand::Explain(explain) => self.scatter_explain(entry, explain, out),
            RouterCommand::MarkReadMany(many) => self.scatter_read_many(entry, many, out),
            RouterCommand::EraseUser(erase) => self.scatter_erase(entry, erase, out),
            RouterCommand::Verify(_) => self.scatter_verify(entry, out),
        }
    }

    fn gather(
        &mut self,
        gather: &mut Gather,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome> {
        match (gather, answer) {
            (Gather::One, Answer::Done(outcome)) => Some(outcome),
            (Gather::One, Answer::List(page)) => {
                // The list is made on this core, where its rows are needed; the user's shard has
                // done its part.
                out.push((self.core, self.reply_to(to.entry, 0), Op::ListOn(page)));
                None
            }
            (Gather::Create(creating), answer) => self.gather_create(creating, to, answer, out),
            (Gather::Flags(flagging), answer) => self.gather_flags(flagging, to, answer, out),
            (Gather::Detail(detailing), answer) => detailing.gather(to, answer),
            (Gather::Delete(deleting), answer) => self.gather_delete(deleting, to, answer, out),
            (Gather::Import(importing), answer) => self.gather_import(importing, to, answer, out),
            (Gather::Export(exporting), answer) => self.gather_export(exporting, to, answer, out),
            (Gather::Conversations(listing), answer) => {
                self.gather_conversations(listing, to, answer, out)
            }
            (Gather::Unread(gather), answer) => self.gather_unread(gather, to, answer, out),
            (Gather::Explain(explaining), answer) => explaining.gather(to, answer),
            (Gather::ReadMany(reading), answer) => self.gather_read_many(reading, to, answer, out),
            (Gather::Erase(erasing), answer) => self.gather_erase(erasing, to, answer, out),
            (Gather::Verify(verifying), answer) => self.gather_verify(verifying, to, answer, out),
            (Gather::Stats(stats), Answer::Stats(shard)) => {
                stats.add_shard(shard);
                stats.shards.sort_unstable_by_key(|shard| shard.shard);
                let is_whole = stats.shards.len() == usize::from(self.shards.get());
                is_whole.then(|| Ok(Reply::Stats(stats.clone())))
            }
            _ => Some(mixed_up()),
        }
    }

    /// Claims an idempotency key on the shard of its owner.
    fn send_claim(&self, claiming: Claiming, entry: u64, out: &mut Vec<Sent>) {
        let shard = claiming.owner().slot(&claiming.key, self.hasher).shard(self.shards);
        out.push((shard, self.reply_to(entry, 0), Op::Claim(claiming)));
    }

    fn reply_to(&self, entry: u64, part: u32) -> ReplyTo {
        ReplyTo { core: self.core, entry, part }
    }

    fn shard_of_chat(&self, id: &ChatId) -> ShardId {
        self.shard_of(id.as_str())
    }

    fn shard_of_user(&self, id: &UserId) -> ShardId {
        self.shard_of(id.as_str())
    }

    fn shard_of(&self, key: &str) -> ShardId {
        self.hasher.slot(key).shard(self.shards)
    }

    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
