//! What a journal asks of an engine, and what the engine replies, as values.
//!
//! An adapter turns these values into calls of one engine, and nothing above the adapter knows
//! which engine it is. chatshard relies only on the contract below. One test checks the contract
//! for every adapter (`tests/journal/contract.rs`):
//!
//! 1. An append puts the entry at `expect + 1` if the newest seq is `expect`. If the reply says
//!    that the result is unknown, the entry may still arrive later, or twice.
//! 2. The tail is the newest seq, and a read gives entries in the order of their seqs. Both are
//!    linearizable.
//! 3. A follow delivers new entries in the order of their seqs. It may lag, repeat, and end at any
//!    time.
//! 4. Only a trim removes entries, and it removes the oldest ones. The first entry, the newest
//!    entry and the base of the last trim always stay.
//! 5. An appended entry is synced on a majority of the engine's members. From then on every reader
//!    gets it unchanged, until it is trimmed.
//! 6. If one endpoint returns damaged bytes of an entry, the bytes of each other endpoint can be
//!    read.
//!
//! # Invariants
//! - Requests and replies are plain values, without clock, socket or async, so tests can compare
//!   them.
//! - A reply says what happened, or it is [`EngineReply::Unknown`]. An adapter never guesses.

use std::time::Duration;

use bytes::Bytes;

use crate::limits::{JOURNAL_ENTRY_BYTES_MAX, JOURNAL_ENTRY_BYTES_MIN};

/// One request to an engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineRequest {
    /// Appends `entry` if the newest seq is `expect`. An engine without a condition appends it
    /// behind the newest entry, whatever its seq is.
    Append {
        /// The seq that must be the newest one.
        expect: u64,
        /// The bytes of one entry.
        entry: Bytes,
    },
    /// Asks for the tail: the newest seq, or 0 if the journal is empty.
    Tail,
    /// Reads entries in the order of their seqs.
    Read {
        /// Seq of the first entry to read.
        from: u64,
        /// The reply has at most this many entries.
        max: usize,
        /// The endpoint that must reply. With `None` the adapter chooses one.
        endpoint: Option<u16>,
    },
    /// Asks for a follow: the engine delivers entries as they are appended, until the follow ends.
    Follow {
        /// Seq of the first entry to deliver.
        from: u64,
    },
    /// Removes all entries up to `upto` except the first entry of the journal. The engine refuses
    /// if an earlier trim had a higher epoch or a larger `upto`.
    Trim {
        /// Epoch of the active that sends the trim.
        epoch: u64,
        /// Seq of the last entry to remove.
        upto: u64,
        /// The base behind entry `upto`, as [`super::base::JournalBase::encode`] writes it.
        base: Bytes,
    },
    /// Asks how many endpoints the engine has that can be read one by one.
    Endpoints,
}

/// One entry as the engine stores it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredEntry {
    /// The number that the engine gave the entry: from 1, without gaps.
    pub seq: u64,
    /// The bytes of the entry as the engine returned them. Nobody has verified them yet.
    pub bytes: Bytes,
}

/// One reply of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineReply {
    /// The entry of the request was appended and is synced on a majority.
    Appended {
        /// Seq of the appended entry.
        seq: u64,
    },
    /// The engine appended nothing, because the newest seq was not `expect`.
    Conflict,
    /// The adapter does not know whether the request took effect, or still will.
    Unknown,
    /// The reply to [`EngineRequest::Tail`].
    Tail {
        /// The newest seq, or 0 if the journal is empty.
        seq: u64,
    },
    /// Entries from the first seq of the request on. Fewer than `max` means that the engine has no
    /// more.
    Entries(Vec<StoredEntry>),
    /// The first seq of the request is trimmed.
    Gone {
        /// The base of the last trim, where a reader can begin.
        base: Bytes,
    },
    /// A follow has ended. The reader asks again from its next seq.
    FollowEnded,
    /// The trim of the request is done.
    Trimmed,
    /// The engine trimmed nothing: an earlier trim had a higher epoch or a larger `upto`.
    TrimRefused,
    /// How many endpoints can be read one by one, at least 1.
    Endpoints(u16),
}

/// How this process shows an engine who it is, and how it knows the engine.
#[derive(Clone, Default)]
pub struct EngineAccess {
    /// Name and password, if the engine asks for them.
    pub user: Option<(String, String)>,
    /// TLS, if the engine speaks it.
    pub tls: Option<EngineTls>,
}

/// TLS towards an engine, as PEM.
#[derive(Clone)]
pub struct EngineTls {
    /// The authority that signed the certificates of the engine's members.
    pub authority: Vec<u8>,
    /// Certificate and key of this process, if the engine asks for them.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Whether an engine checks that the newest seq is `expect` before it appends an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// The engine checks: an entry gets seq `expect + 1` or is not appended. So no entry is void.
    Checked,
    /// The engine does not check. The writer reads its entry back, and readers count the later of
    /// two competing entries as void.
    ReadBack,
}

/// The times of the lease and of a failover. All are measured on clocks that also count while the
/// machine is suspended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseTimes {
    /// An active that sent nothing for this long appends a beat.
    pub beat: Duration,
    /// The active may reply until this long after it first sent an entry that was accepted.
    pub serve: Duration,
    /// A standby that saw no new entry for this long claims.
    pub claim: Duration,
}

/// What an adapter says about its engine. The writer and the reader go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EngineProfile {
    /// Whether the engine checks the condition of an append.
    pub condition: Condition,
    /// Largest entry that the engine stores, in bytes with the entry's header.
    pub entry_bytes_max: usize,
    /// How many bytes of records may wait for the engine.
    pub queue_bytes_max: usize,
    /// How many endpoints can be read one by one.
    pub endpoints: u16,
    /// Lease times that fit the engine's own elections.
    pub times: LeaseTimes,
    /// A request without a reply is sent again after this time.
    pub retry: Duration,
    /// The journal is stalled when the engine says nothing about an append for this long.
    pub stall: Duration,
}

impl EngineProfile {
    /// Checks that the values fit each other. The error says, in words for the operator, which do
    /// not.
    ///
    /// # Errors
    /// If a clock that runs a third faster lets a standby claim within the lease of the active. If
    /// a beat could come too late to renew the lease. If a size or a time is out of bounds.
    pub fn check(&self) -> Result<(), &'static str> {
        let LeaseTimes { beat, serve, claim } = self.times;
        if serve > claim.saturating_mul(3) / 4 {
            return Err("serve_ms must be at most three quarters of claim_ms");
        }
        if beat.is_zero() || beat.saturating_mul(2) > serve {
            return Err("beat_ms must be above 0 and at most half of serve_ms");
        }
        if !(JOURNAL_ENTRY_BYTES_MIN..=JOURNAL_ENTRY_BYTES_MAX).contains(&self.entry_bytes_max) {
            return Err("the largest entry is out of bounds");
        }
        if self.endpoints == 0 || self.retry.is_zero() || self.stall < self.retry {
            return Err("endpoints, retry and stall must be above 0, and stall not below retry");
        }
        Ok(())
    }
}
