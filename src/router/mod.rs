//! The way of a command: from its key to the slot and the shard, and the answers back.
//!
//! A command whose keys are all on one shard goes there whole. Other commands are scattered into
//! parts, one per shard, and the answers are gathered; some commands take several rounds. The
//! router is sans-IO like the shard: commands and answers go in, operations and outcomes come out.
//! Each core has one router. A ticket is what the caller of the router needs to deliver an outcome;
//! a worker uses a responder.
//!
//! # Layout
//! - `entries`: the table of commands under way
//! - `scatter`: what all commands need to scatter and to gather, and the first step of each
//! - a file for each command of several steps: what it asks first, and what after each answer
//! - `scatter_plan`, `missing`: a command's parts by shard, and the count of their answers
//! - `places`: the list order of the rows that an `import` brings
//!
//! Invariants:
//! - Every ticket that is submitted is returned exactly once, with its outcome.
//! - The parts of one command are sent in the order of shards, so that the same input always leads
//!   to the same run.

mod create;
mod delete;
mod detail;
mod entries;
mod erase;
mod explain;
mod export;
mod flags;
mod import;
mod listing;
mod missing;
mod places;
mod read_many;
mod scatter;
mod scatter_plan;
mod stats;
mod verify;

use crate::command::{Command, Error, Kind, Outcome, ReplySize, Sorted};
use crate::shard::op::{Answer, Op, ReplyTo};
use crate::types::{KeyHasher, ShardCount, ShardId};
use entries::Entries;
pub use import::ImportParts;
use import::ImportQueue;
use scatter::{Scatter, Scattered, mixed_up};

/// An operation on its way to a shard, with the address of its answer.
pub type Sent = (ShardId, ReplyTo, Op);

/// What a router gets to do: a command, or an import in parts.
#[derive(Debug, PartialEq)]
pub enum Work {
    /// A command as the client sent it.
    Command(Command),
    /// An import that [`Work::prepare`] cut into parts.
    Import(ImportParts),
}

impl From<Command> for Work {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

impl Work {
    /// Turns a command into work, on any thread. It cuts an import into parts, which would keep a
    /// router from other commands for long.
    pub fn prepare(command: Command, hasher: KeyHasher, shards: ShardCount) -> Self {
        match command {
            Command::Import(import) => Self::Import(ImportParts::cut(import, hasher, shards)),
            command => Self::Command(command),
        }
    }

    /// The kind of the command that this work is for.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Command(command) => command.kind(),
            Self::Import(_) => Kind::Import,
        }
    }

    /// How large the reply to this work may become.
    pub fn reply_size(&self) -> ReplySize {
        match self {
            Self::Command(command) => command.reply_size(),
            Self::Import(_) => ReplySize::Small,
        }
    }
}

/// The commands under way on one core, each with its ticket and the answers so far.
pub struct Router<T> {
    entries: Entries<T>,
    scatter: Scatter,
}

impl<T> Router<T> {
    /// Creates the router of `core`, on a node with this number of shards. A `seed` that differs in
    /// each run keeps random ids from repeating.
    pub fn new(core: ShardId, shards: ShardCount, hasher: KeyHasher, seed: u64) -> Self {
        let imports = ImportQueue::default();
        let scatter = Scatter { core, shards, hasher, random: seed, imports };
        Self { entries: Entries::new(), scatter }
    }

    /// Number of commands under way; the worker rejects new ones above a bound.
    pub fn pending(&self) -> usize {
        self.entries.len()
    }

    /// Accepts a command, and appends the operations for shards to `out`. The outcome comes from a
    /// later [`Self::answer`], or is returned now if no shard is needed.
    pub fn submit(
        &mut self,
        ticket: T,
        work: impl Into<Work>,
        out: &mut Vec<Sent>,
    ) -> Option<(T, Outcome)> {
        let command = match work.into() {
            Work::Command(command) => command.sorted(),
            Work::Import(parts) => {
                let entry = self.entries.add(ticket);
                let scattered = self.scatter.scatter_import(entry, parts, out);
                return self.begin(entry, scattered);
            }
        };
        let entry = self.entries.add(ticket);
        let scattered = match command {
            Sorted::Shard(command) => {
                let shard = self.scatter.shard_of(command.home().key());
                out.push((shard, self.scatter.reply_to(entry, 0), Op::Run(command)));
                return None;
            }
            Sorted::Router(command) => self.scatter.lead(entry, command, out),
            Sorted::Neither(kind) => {
                let name = kind.name();
                Scattered::Finished(Err(Error::invalid(format!("{name} is asked of a connection"))))
            }
        };
        self.begin(entry, scattered)
    }

    fn begin(&mut self, entry: u64, scattered: Scattered) -> Option<(T, Outcome)> {
        match scattered {
            Scattered::Asked(gather) => {
                self.entries.put_back(entry, gather);
                None
            }
            Scattered::Waits => None,
            Scattered::Finished(outcome) => {
                self.entries.remove(entry).map(|ticket| (ticket, outcome))
            }
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
        // The entry is gone if a part answers after the outcome was returned.
        let outcome = match self.entries.take_out(to.entry)? {
            None => self.answer_of_one(to, answer, out)?,
            Some(mut gather) => {
                let outcome = gather.gather(&mut self.scatter, to, answer, out);
                for (entry, import) in self.scatter.imports.resumed() {
                    self.entries.put_back(entry, import);
                }
                let Some(outcome) = outcome else {
                    self.entries.put_back(to.entry, gather);
                    return None;
                };
                outcome
            }
        };
        self.entries.remove(to.entry).map(|ticket| (ticket, outcome))
    }

    /// Takes the answer to a command that went whole to one shard. Returns its outcome, unless
    /// another step follows.
    fn answer_of_one(&self, to: ReplyTo, answer: Answer, out: &mut Vec<Sent>) -> Option<Outcome> {
        match answer {
            Answer::Done(outcome) => Some(outcome),
            // The shard of the user gave the page. The shard of this core makes the reply from it,
            // because the reply is encoded here.
            Answer::List(page) => self.continue_on_own_shard(to, Op::ContinueList(page), out),
            Answer::Sync(page) => self.continue_on_own_shard(to, Op::ContinueSync(page), out),
            _ => Some(mixed_up()),
        }
    }

    fn continue_on_own_shard(&self, to: ReplyTo, op: Op, out: &mut Vec<Sent>) -> Option<Outcome> {
        out.push((self.scatter.core, self.scatter.reply_to(to.entry, 0), op));
        None
    }

    /// Keeps a ticket for an operation that the caller sends to a shard itself. Returns the entry,
    /// which the shard's answer names.
    pub fn park(&mut self, ticket: T) -> u64 {
        self.entries.add(ticket)
    }

    /// Returns the ticket that [`Self::park`] has kept, and removes its entry. `None` if there is
    /// no such entry.
    pub fn unpark(&mut self, entry: u64) -> Option<T> {
        self.entries.remove(entry)
    }
}
