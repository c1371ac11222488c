//! The only shard of a node and its router, driven by hand. Users of this file name it by its path.

use chatshard::command::{Command, Outcome, RouterCommand, Sorted};
use chatshard::router::Router;
use chatshard::shard::Shard;
use chatshard::shard::op::{Answer, Op, Output, ReplyTo};
use chatshard::types::{KeyHasher, ShardCount, ShardId, TimeMs};

/// The hash function of the node.
pub const HASHER: KeyHasher = KeyHasher::new(7);

/// Takes the answer to an operation that no router asked for.
pub const TO: ReplyTo = ReplyTo { core: ShardId(0), entry: 0, part: 0 };

/// A shard with its router, and what the shard gave out that nobody has taken.
pub struct LoneShard {
    pub shard: Shard,
    pub router: Router<()>,
    pub out: Output,
}

impl LoneShard {
    /// An empty shard, at the time `now` in ms.
    pub fn new(now: u64) -> Self {
        let shards = ShardCount::new(1).unwrap();
        let mut shard = Shard::new(ShardId(0), shards, HASHER);
        shard.tick(TimeMs::new(now).unwrap());
        let router = Router::new(ShardId(0), shards, HASHER, 1);
        Self { shard, router, out: Output::default() }
    }

    /// Runs a command, with everything that follows from it, and forgets the records.
    pub fn call(&mut self, command: Command) -> Outcome {
        let mut asked = Vec::new();
        let mut done = self.router.submit((), command, &mut asked);
        while done.is_none() {
            for (_, to, op) in std::mem::take(&mut asked) {
                self.shard.operation(to, op, &mut self.out);
            }
            self.settle();
            for answered in std::mem::take(&mut self.out.answers) {
                done = done.or(self.router.answer(answered.to, answered.answer, &mut asked));
            }
        }
        done.unwrap().1
    }

    /// Runs an operation, with everything that follows from it, and forgets the records.
    pub fn run(&mut self, op: Op) -> Answer {
        self.shard.operation(TO, op, &mut self.out);
        self.settle();
        self.out.answers.pop().expect("an answer").answer
    }

    /// Delivers all messages, and forgets the records.
    fn settle(&mut self) {
        while !self.out.messages.is_empty() {
            for (_, envelope) in std::mem::take(&mut self.out.messages) {
                self.shard.message(envelope, &mut self.out);
            }
        }
        self.out.records.clear();
    }
}

/// The operation of a command that one shard decides.
pub fn operation(command: Command) -> Op {
    match command.sorted() {
        Sorted::Shard(command) => Op::Run(command),
        Sorted::Router(RouterCommand::SetFlags(set)) => Op::SetFlags(set),
        Sorted::Router(RouterCommand::Import(import)) => Op::Import(import.into(), Vec::new()),
        other => panic!("{other:?}"),
    }
}
