//! The fast path: plain requests get their replies straight from the receive buffer, without a
//! `Command`.
//!
//! A core replies to such requests of its own connections. Requests whose keys all belong to
//! another core go to that core. A frame batch brings the bytes that the clients sent, and another
//! one brings the encoded replies back. So such a request costs two copies of some bytes, and its
//! share of two messages.
//!
//! Invariants:
//! - A request that goes to another core stays behind everything that this core sent there before,
//!   because both use one queue.
//! - A reply that depends on the log is encoded at once too, and waits in a frame batch of its own.

use bytes::BytesMut;
use smallvec::SmallVec;

use super::{LocalWorker, PrefetchKeys, Taken, Worker};
use crate::command::{Error, Sorted};
use crate::limits::{CROSS_CORE_MAX, SCAN_ROWS_AT_ONCE};
use crate::node::buffers;
use crate::node::frame_batch::{FrameBatch, spans};
use crate::node::log::LogMode;
use crate::node::mailbox::PeerMessage;
use crate::node::responder::{ReplySplitter, Responder};
use crate::protocol::decode_request;
use crate::protocol::fast_path::{self, PlainCommand, PlainRequest};
use crate::router::Router;
use crate::shard::Shard;
use crate::shard::op::{Answer, Answered, Op, Output, ReplyTo};
use crate::types::{KeyHasher, ShardId, wide};

/// Replies of so many bytes count as much work as one row.
const ROW_BYTES: usize = 64;
/// How many requests of a frame batch are prefetched together.
const REQUESTS_AT_ONCE: usize = 32;
/// How many emptied vectors of one kind a core keeps for reuse.
const SPARE_MAX: usize = 64;

/// Emptied containers of messages that other cores sent. This core uses them again for what it
/// sends. So cores allocate little, and rarely free memory that another core has allocated.
#[derive(Debug, Default)]
pub(super) struct SparePool {
    parts: Vec<Vec<(ReplyTo, usize)>>,
    batches: Vec<Vec<PeerMessage>>,
}

impl SparePool {
    fn frame_batch(&mut self) -> FrameBatch {
        let mut bytes = BytesMut::new();
        buffers::fill(&mut bytes);
        FrameBatch { bytes, parts: self.parts.pop().unwrap_or_default() }
    }

    pub(super) fn batch(&mut self) -> Vec<PeerMessage> {
        self.batches.pop().unwrap_or_default()
    }

    /// Keeps the containers of a frame batch that was handled.
    pub(super) fn keep(&mut self, mut batch: FrameBatch) {
        buffers::empty(&mut batch.bytes);
        self.keep_parts(batch.parts);
    }

    fn keep_parts(&mut self, mut parts: Vec<(ReplyTo, usize)>) {
        if self.parts.len() < SPARE_MAX {
            parts.clear();
            self.parts.push(parts);
        }
    }

    /// Keeps an empty batch for reuse.
    pub(super) fn keep_batch(&mut self, batch: Vec<PeerMessage>) {
        if self.batches.len() < SPARE_MAX {
            self.batches.push(batch);
        }
    }
}

/// The keys by which a request's memory can be prefetched.
pub fn prefetch_keys(request: &PlainRequest<'_>) -> PrefetchKeys {
    let chat_hash = match request.command {
        PlainCommand::List { .. } => None,
        PlainCommand::Detail { mut ids, .. } => ids.next().map(|id| id.hash),
        PlainCommand::Advance(advance) => Some(advance.chat_id.hash),
        PlainCommand::MarkRead(read) => Some(read.chat_id.hash),
    };
    PrefetchKeys { user_hash: request.command.user_id().map(|id| id.hash), chat_hash }
}

impl LocalWorker {
    /// Runs a request if this core owns all its keys. Appends the reply to `out` if it may leave
    /// now, and the caller counts it. Otherwise calls `responder`, and the reply comes through
    /// that. The caller must flush afterwards.
    pub fn answer(
        &self,
        request: PlainRequest<'_>,
        responder: impl FnOnce() -> Responder,
        out: &mut BytesMut,
    ) -> Taken<()> {
        let park = |router: &mut Router<Responder>, core| ReplyTo {
            core,
            entry: router.park(responder()),
            part: 0,
        };
        self.0.borrow_mut().answer(request, fast_path::ROWS_MAX, park, out)
    }

    /// Sends a request to the other core that owns all its keys. `payload` is the request as
    /// received. Returns false without such a core, or if too many commands are under way. The
    /// caller must flush afterwards.
    pub fn forward(
        &self,
        request: &PlainRequest<'_>,
        payload: &[u8],
        responder: impl FnOnce() -> Responder,
    ) -> bool {
        self.0.borrow_mut().forward(request.command, payload, responder)
    }
}

impl Worker {
    fn answer(
        &mut self,
        PlainRequest { id, command }: PlainRequest<'_>,
        rows_max: usize,
        to: impl FnOnce(&mut Router<Responder>, ShardId) -> ReplyTo,
        out: &mut BytesMut,
    ) -> Taken<()> {
        match command {
            PlainCommand::List { user_id } => self.read(|shard| {
                fast_path::write_list(id, shard.read_list(user_id, rows_max)?, out);
                Some(())
            }),
            PlainCommand::Detail { ids, user_id } => self.read(|shard| {
                shard.read_details(ids, user_id, |items| fast_path::write_detail(id, items, out))
            }),
            PlainCommand::Advance(advance) => {
                let encode = |reply, out: &mut _| fast_path::write_advance(id, &reply, out);
                self.write(|shard, records| shard.fast_advance(advance, records), encode, to, out)
            }
            PlainCommand::MarkRead(read) => {
                let encode = |reply, out: &mut _| fast_path::write_mark_read(id, &reply, out);
                self.write(|shard, records| shard.fast_mark_read(read, records), encode, to, out)
            }
        }
    }

    /// Writes to this core's shard without an operation. Appends the reply to `out` if it may leave
    /// now. Otherwise encodes it into the frame batch of the core that `to` names, where it waits
    /// for the log.
    fn write<R>(
        &mut self,
        write: impl FnOnce(&mut Shard, &mut Output) -> Option<Result<R, Error>>,
        encode: impl FnOnce(R, &mut BytesMut),
        to: impl FnOnce(&mut Router<Responder>, ShardId) -> ReplyTo,
        out: &mut BytesMut,
    ) -> Taken<()> {
        if self.router.pending() >= CROSS_CORE_MAX {
            return Taken::Elsewhere;
        }
        let Some(outcome) = write(&mut self.shard, &mut self.out) else {
            return Taken::Elsewhere;
        };
        self.settle_if_large();
        match outcome {
            Ok(reply) if self.node.log.mode() == LogMode::Off => {
                encode(reply, out);
                return Taken::Now(());
            }
            Ok(reply) => {
                let to = to(&mut self.router, self.shard_id);
                if let Some(batch) = self.promised.get_mut(to.core.index()) {
                    if batch.is_empty() {
                        *batch = self.spare.frame_batch();
                    }
                    encode(reply, &mut batch.bytes);
                    batch.end_part(to);
                }
            }
            Err(error) => {
                let to = to(&mut self.router, self.shard_id);
                let after_log = self.node.member.is_some() && error.is_of_state();
                let answered = Answered { to, answer: Answer::Done(Err(error)), after_log };
                match after_log {
                    true => self.out.answers.push(answered),
                    false => self.dispatch(answered),
                }
            }
        }
        Taken::Later
    }

    fn forward(
        &mut self,
        command: PlainCommand<'_>,
        payload: &[u8],
        responder: impl FnOnce() -> Responder,
    ) -> bool {
        let other = self.owner(command).filter(|owner| *owner != self.shard_id);
        let Some(outbound) = other.and_then(|other| self.outbound.get_mut(other.index())) else {
            return false;
        };
        if self.router.pending() >= CROSS_CORE_MAX {
            return false;
        }
        let to = ReplyTo { core: self.shard_id, entry: self.router.park(responder()), part: 0 };
        if let Some(PeerMessage::Requests(batch)) = outbound.last_mut() {
            batch.add(to, payload);
        } else {
            let mut batch = self.spare.frame_batch();
            batch.add(to, payload);
            outbound.push(PeerMessage::Requests(batch));
        }
        true
    }

    /// The shard that owns all keys of a request. `None` if several shards may take part. A
    /// `mark_read` may go on from the chat to the user's row, and later requests must wait for it.
    fn owner(&self, command: PlainCommand<'_>) -> Option<ShardId> {
        let owner = |hash: u64| KeyHasher::slot_of_hash(hash).shard(self.node.shards);
        match command {
            PlainCommand::List { user_id } => Some(owner(user_id.hash)),
            PlainCommand::Advance(advance) => Some(owner(advance.chat_id.hash)),
            PlainCommand::Detail { ids, user_id } => {
                let hashes = ids.map(|id| id.hash).chain(user_id.map(|id| id.hash));
                let mut owners = hashes.map(owner);
                let first = owners.next()?;
                owners.all(|other| other == first).then_some(first)
            }
            PlainCommand::MarkRead(_) => None,
        }
    }

    /// Runs requests that another core sent. Returns about how many rows they read.
    pub(super) fn take_requests(&mut self, batch: &FrameBatch) -> usize {
        let mut replies = self.spare.frame_batch();
        let mut rows = 0;
        let mut left = batch.iter().peekable();
        while left.peek().is_some() {
            let mut block: SmallVec<[_; REQUESTS_AT_ONCE]> = SmallVec::new();
            block.extend(left.by_ref().take(REQUESTS_AT_ONCE).map(|(to, payload)| {
                let request = fast_path::read(payload, self.node.hasher);
                (to, payload, request)
            }));
            let mut prefetch_keys: SmallVec<[PrefetchKeys; REQUESTS_AT_ONCE]> = SmallVec::new();
            prefetch_keys.extend(
                block
                    .iter()
                    .filter_map(|(_, _, request)| request.as_ref())
                    .map(self::prefetch_keys),
            );
            self.shard.prefetch(&prefetch_keys);
            for (to, payload, request) in block {
                let taken = request.map_or(Taken::Elsewhere, |request| {
                    self.answer(request, SCAN_ROWS_AT_ONCE, |_, _| to, &mut replies.bytes)
                });
                match taken {
                    Taken::Now(()) => replies.end_part(to),
                    Taken::Later => {}
                    Taken::Elsewhere => rows += self.run_as_command(to, payload),
                }
                rows += 1;
            }
        }
        rows += replies.bytes.len() / ROW_BYTES;
        self.bring(replies);
        rows
    }

    /// Brings encoded replies to the core that asked. All of them are for the same core.
    pub(super) fn bring(&mut self, replies: FrameBatch) {
        match replies.parts.first() {
            Some((to, _)) if to.core == self.shard_id => self.take_replies(replies),
            Some((to, _)) => {
                if let Some(outbound) = self.outbound.get_mut(to.core.index()) {
                    outbound.push(PeerMessage::Replies(replies));
                }
            }
            // The batch is empty: all replies wait for the log, or left in another way.
            None => self.spare.keep(replies),
        }
    }

    /// Runs a request of another core as a command, so that a long list is made in slices.
    fn run_as_command(&mut self, to: ReplyTo, payload: &[u8]) -> usize {
        match decode_request(payload).map(|request| request.command.sorted()) {
            Ok(Sorted::Shard(command)) => self.take_op(to, Op::Run(command)),
            // Cannot happen: the core that sent the request has found that this core owns its keys.
            _ => {
                let mixed_up = Error::outcome_unknown("a core was asked for what is not its own");
                let answer = Answer::Done(Err(mixed_up));
                self.dispatch(Answered { to, answer, after_log: false });
                0
            }
        }
    }

    /// Gives encoded replies to the callers that wait for them.
    pub(super) fn take_replies(&mut self, batch: FrameBatch) {
        self.mailbox().count_many(wide(batch.parts.len()));
        let FrameBatch { bytes, parts } = batch;
        let mut splitter = ReplySplitter::new(bytes, &mut self.tcp);
        for (to, span) in spans(&parts) {
            splitter.next(self.router.unpark(to.entry), span.len());
        }
        splitter.finish();
        self.spare.keep_parts(parts);
    }
}
