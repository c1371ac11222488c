//! Ports of a node's threads to an engine: requests go in with an id, replies come out with it.
//!
//! The log's thread and the follower's thread each hold an [`EnginePort`]. They may block, and know
//! no async. The other end is an adapter's thread, or `sim_server` in tests. It takes
//! [`EngineCall`]s from [`EngineCalls`] and replies by the [`EngineCaller`] of each.
//!
//! ```text
//!   log thread       EnginePort --+                                +--> engine
//!   follower thread  EnginePort --+--> EngineCalls --> adapter ----+
//!        ^                                                |
//!        +------------- EngineCaller <--------------------+
//! ```
//!
//! # Invariants
//! - A port sends without waiting. What is under way is bounded by its owner, which repeats a
//!   request only after a while, and by the adapter, which replies `Unknown` to what is too much.
//! - A reply comes with the id of its request: one reply, or many for a follow. It may come late,
//!   and not at all if the adapter has ended.
//! - A port has one follow: a new one ends the one before. Deliveries that nobody takes are
//!   bounded: the adapter ends a follow that has [`JOURNAL_BACKLOG_BYTES_MAX`] waiting.
//! - An adapter ends when the client and all of its ports are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};
use tokio::sync::mpsc;

use super::engine::{EngineProfile, EngineReply, EngineRequest, LeaseTimes};
use crate::limits::JOURNAL_BACKLOG_BYTES_MAX;

/// Makes ports to one engine, for the threads of one node.
#[derive(Clone)]
pub struct EngineClient {
    profile: EngineProfile,
    calls: mpsc::UnboundedSender<EngineCall>,
    space: EngineSpace,
    next_port: Arc<AtomicU64>,
}

/// One thread's way to the engine.
pub struct EnginePort {
    calls: mpsc::UnboundedSender<EngineCall>,
    caller: EngineCaller,
    replies: Receiver<(u64, EngineReply)>,
}

/// The adapter's end: the requests of all ports.
pub struct EngineCalls {
    calls: mpsc::UnboundedReceiver<EngineCall>,
    space: EngineSpace,
}

/// The space that the engine has left, as its adapter saw it last.
#[derive(Clone, Debug)]
pub struct EngineSpace {
    /// [`UNKNOWN`] if the engine does not tell.
    used_bytes: Arc<AtomicU64>,
    is_full: Arc<AtomicBool>,
}

const UNKNOWN: u64 = u64::MAX;

impl Default for EngineSpace {
    fn default() -> Self {
        Self { used_bytes: Arc::new(AtomicU64::new(UNKNOWN)), is_full: Arc::default() }
    }
}

/// One request on its way to an adapter.
#[derive(Debug)]
pub struct EngineCall {
    /// The id that the port's owner gave it.
    pub id: u64,
    /// The request.
    pub request: EngineRequest,
    /// Takes the reply, or the deliveries of a follow.
    pub caller: EngineCaller,
}

/// Brings replies to one port.
#[derive(Clone, Debug)]
pub struct EngineCaller {
    port: u64,
    replies: Sender<(u64, EngineReply)>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl EngineClient {
    /// A client of an engine with this profile, and what its adapter serves.
    #[must_use]
    pub fn new(profile: EngineProfile) -> (Self, EngineCalls) {
        let (sender, calls) = mpsc::unbounded_channel();
        let space = EngineSpace::default();
        let served = EngineCalls { calls, space: space.clone() };
        (Self { profile, calls: sender, space, next_port: Arc::default() }, served)
    }

    /// What the adapter says about its engine.
    #[must_use]
    pub fn profile(&self) -> EngineProfile {
        self.profile
    }

    /// The space that the engine has left.
    #[must_use]
    pub fn space(&self) -> &EngineSpace {
        &self.space
    }

    /// The client with other times of the lease.
    #[must_use]
    pub fn with_times(mut self, times: LeaseTimes) -> Self {
        self.profile.times = times;
        self
    }

    /// A port whose owner waits with [`EnginePort::receive`].
    #[must_use]
    pub fn port(&self) -> EnginePort {
        let (sender, replies) = unbounded();
        let port = self.next_port.fetch_add(1, Ordering::Relaxed);
        let caller = EngineCaller { port, replies: sender, waiting_bytes: Arc::default() };
        EnginePort { calls: self.calls.clone(), caller, replies }
    }
}

impl EnginePort {
    /// Sends a request, without waiting. Its replies come with `id`.
    pub fn send(&self, id: u64, request: EngineRequest) {
        let call = EngineCall { id, request, caller: self.caller.clone() };
        if let Err(mpsc::error::SendError(EngineCall { id, caller, .. })) = self.calls.send(call) {
            caller.reply(id, EngineReply::Unknown);
        }
    }

    /// The next reply that is here already, with the id of its request.
    #[must_use]
    pub fn try_receive(&self) -> Option<(u64, EngineReply)> {
        self.taken(self.replies.try_recv().ok())
    }

    /// Waits for the next reply, at most so long.
    #[must_use]
    pub fn receive(&self, at_most: Duration) -> Option<(u64, EngineReply)> {
        if at_most.is_zero() {
            // The channel would still give up the processor once.
            return self.try_receive();
        }
        self.taken(self.replies.recv_timeout(at_most).ok())
    }

    fn taken(&self, reply: Option<(u64, EngineReply)>) -> Option<(u64, EngineReply)> {
        if let Some((_, reply)) = &reply {
            self.caller.waiting_bytes.fetch_sub(reply.weight(), Ordering::Relaxed);
        }
        reply
    }
}

impl EngineCalls {
    /// Waits for the next request; `None` when the client and all ports are gone.
    pub async fn next(&mut self) -> Option<EngineCall> {
        self.calls.recv().await
    }

    /// The next request that is here already.
    pub fn try_next(&mut self) -> Option<EngineCall> {
        self.calls.try_recv().ok()
    }

    /// Where the adapter says how much space is left.
    #[must_use]
    pub fn space(&self) -> EngineSpace {
        self.space.clone()
    }
}

impl EngineSpace {
    /// Says what is used, if it is known, and whether new writes must wait for a trim.
    pub fn set(&self, used_bytes: Option<u64>, is_full: bool) {
        self.used_bytes.store(used_bytes.unwrap_or(UNKNOWN), Ordering::Relaxed);
        self.is_full.store(is_full, Ordering::Relaxed);
    }

    /// Bytes in use, of all that the engine keeps; `None` if it does not tell.
    #[must_use]
    pub fn used_bytes(&self) -> Option<u64> {
        Some(self.used_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes != UNKNOWN)
    }

    /// Whether so much is in use that new writes must be refused.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }
}

impl EngineCaller {
    /// Number of the port, among those of its client.
    #[must_use]
    pub fn port(&self) -> u64 {
        self.port
    }

    /// Brings a reply to the port. Returns false if the port is gone.
    pub fn reply(&self, id: u64, reply: EngineReply) -> bool {
        self.waiting_bytes.fetch_add(reply.weight(), Ordering::Relaxed);
        self.replies.send((id, reply)).is_ok()
    }

    /// Whether a follow may deliver more before its owner has taken what is there.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.waiting_bytes.load(Ordering::Relaxed) < JOURNAL_BACKLOG_BYTES_MAX
    }
}

impl EngineReply {
    /// Bytes that a waiting reply holds, about.
    fn weight(&self) -> usize {
        const HEAD: usize = size_of::<(u64, EngineReply)>();
        match self {
            Self::Entries(entries) => entries.iter().fold(HEAD, |sum, entry| {
                sum.saturating_add(size_of_val(entry)).saturating_add(entry.bytes.len())
            }),
            Self::Gone { base } => HEAD.saturating_add(base.len()),
            Self::Appended { .. }
            | Self::Conflict
            | Self::Unknown
            | Self::Tail { .. }
            | Self::FollowEnded
            | Self::Trimmed
            | Self::TrimRefused
            | Self::Endpoints(_) => HEAD,
        }
    }
}
