//! Scatters the commands that take several shards or steps, and gathers their answers.

use super::Sent;
use super::import::{ImportParts, ImportQueue};
use crate::command::{Error, Outcome, RouterCommand};
use crate::shard::idempotency::Reserving;
use crate::shard::op::{Answer, Op, ReplyTo};
use crate::types::{ChatId, KeyHasher, ShardCount, ShardId, UserId};

/// What a router needs to scatter and gather any command.
pub(super) struct Scatter {
    /// The core of this router; shards send their answers to it.
    pub(super) core: ShardId,
    pub(super) shards: ShardCount,
    pub(super) hasher: KeyHasher,
    /// State of the generator of random ids (SplitMix64; Steele, Lea, Flood 2014).
    pub(super) random: u64,
    pub(super) imports: ImportQueue,
}

/// A command under way that waits for several answers.
pub(super) trait Gather: Send {
    /// Takes one answer. Returns the outcome if it is complete. Otherwise it may append further
    /// operations to `out`, and waits for more answers.
    fn gather(
        &mut self,
        scatter: &mut Scatter,
        to: ReplyTo,
        answer: Answer,
        out: &mut Vec<Sent>,
    ) -> Option<Outcome>;
}

/// How a command stands after its first step.
pub(super) enum Scattered {
    /// Operations were sent to shards. The entry of the command gathers their answers.
    Asked(Box<dyn Gather>),
    /// The command is an import that waits until another one has been checked.
    Waits,
    /// The outcome is known without any shard.
    Finished(Outcome),
}

impl Scattered {
    pub(super) fn asked(gather: impl Gather + 'static) -> Self {
        Self::Asked(Box::new(gather))
    }
}

/// The outcome when a shard's answer does not fit the operation, which only a defect causes.
pub(super) fn mixed_up() -> Outcome {
    Err(Error::outcome_unknown("a shard gave an answer of another kind"))
}

impl Scatter {
    /// Takes the first step of a command that needs several shards or several steps.
    pub(super) fn lead(
        &mut self,
        entry: u64,
        command: RouterCommand,
        out: &mut Vec<Sent>,
    ) -> Scattered {
        match command {
            RouterCommand::SetFlags(set) => self.scatter_flags(entry, set, out),
            RouterCommand::Create(create) => self.scatter_create(entry, create, out),
            RouterCommand::Detail(detail) => self.scatter_detail(entry, detail, out),
            RouterCommand::Delete(delete) => self.scatter_delete(entry, delete, out),
            RouterCommand::Import(import) => {
                let parts = ImportParts::cut(import, self.hasher, self.shards);
                self.scatter_import(entry, parts, out)
            }
            RouterCommand::Export(export) => self.scatter_export(entry, export, out),
            RouterCommand::Stats(_) => self.scatter_stats(entry, out),
            RouterCommand::Conversations(asked) => self.scatter_conversations(entry, asked, out),
            RouterCommand::Unread(unread) => self.scatter_unread(entry, unread, out),
            RouterCommand::Explain(explain) => self.scatter_explain(entry, explain, out),
            RouterCommand::MarkReadMany(many) => self.scatter_read_many(entry, many, out),
            RouterCommand::EraseUser(erase) => self.scatter_erase(entry, erase, out),
            RouterCommand::Verify(_) => self.scatter_verify(entry, out),
        }
    }

    /// Asks the shard of an idempotency key's owner to reserve the key for this command.
    pub(super) fn send_reservation(&self, reserving: Reserving, entry: u64, out: &mut Vec<Sent>) {
        let shard = reserving.owner().slot(&reserving.key, self.hasher).shard(self.shards);
        out.push((shard, self.reply_to(entry, 0), Op::Reserve(reserving)));
    }

    pub(super) fn reply_to(&self, entry: u64, part: u32) -> ReplyTo {
        ReplyTo { core: self.core, entry, part }
    }

    pub(super) fn shard_of_chat(&self, id: &ChatId) -> ShardId {
        self.shard_of(id.as_str())
    }

    pub(super) fn shard_of_user(&self, id: &UserId) -> ShardId {
        self.shard_of(id.as_str())
    }

    pub(super) fn shard_of(&self, key: &str) -> ShardId {
        self.hasher.slot(key).shard(self.shards)
    }

    pub(super) fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
