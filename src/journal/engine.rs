//! What a journal asks of an engine, and what the engine replies, as values.
//!
//! An adapter turns these values into calls of one engine. It is the only part that knows which
//! one. The contract is all that chatshard relies on, and one test checks it for every adapter
//! (`tests/journal/contract.rs`):
//!
//! 1. An append puts the entry at `expect + 1` if the newest seq is `expect`. If the reply is
//!    unknown, the entry may still arrive, late and twice.
//! 2. The tail is the newest seq, and a read gives entries in order. Both are linearizable.
//! 3. A follow delivers entries in order as they come. It may lag, repeat, and end at any time.
//! 4. A trim removes entries from the front, and nothing else removes any. The first and the newest
//!    entry always stay, and so does the base of the last trim.
//! 5. An appended entry is synced on a majority of the members. All read it from then on, unchanged,
//!    until it is trimmed.
//! 6. Bytes that are damaged on one endpoint can be read from each of the others.
//!
//! # Invariants
//! - Requests and replies are plain values: no clock, no socket and no async is in them.
//! - A reply says what happened or [`EngineReply::Unknown`]. An adapter never guesses.

use std::time::Duration;

use bytes::Bytes;

use crate::limits::{JOURNAL_ENTRY_BYTES_MAX, JOURNAL_ENTRY_BYTES_MIN};

/// One request to an engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineRequest {
    /// Appends `entry` if the newest seq is `expect`. An engine that cannot check this appends it
    /// behind whatever is there.
    Append {
        /// The seq that must be the newest.
        expect: u64,
        /// The bytes of one entry.
        entry: Bytes,
    },
    /// Asks for the newest seq; 0 if the journal is empty.
    Tail,
    /// Reads entries in order.
    Read {
        /// The first seq.
        from: u64,
        /// Most entries in the reply.
        max: usize,
        /// The endpoint to ask; `None` leaves the choice to the adapter.
        endpoint: Option<u16>,
    },
    /// Delivers entries as they come, until the follow ends.
    Follow {
        /// The first seq.
        from: u64,
    },
    /// Forgets the entries up to the base, but for the first entry of the journal. An engine
    /// refuses it if an earlier trim had a higher epoch or a larger seq.
    Trim {
        /// Epoch of the active that trims.
        epoch: u64,
        /// Seq of the last entry to forget.
        upto: u64,
        /// The place behind that entry, as [`super::place::JournalPlace::encode`] writes it.
        base: Bytes,
    },
    /// Asks how many endpoints can be read one by one.
    Endpoints,
}

/// One entry of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredEntry {
    /// Its number in the engine, from 1 without gaps.
    pub seq: u64,
    /// Its bytes as they came; nothing is verified.
    pub bytes: Bytes,
}

/// One reply of an engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineReply {
    /// The entry is at this seq, synced on a majority.
    Appended {
        /// Seq of the entry.
        seq: u64,
    },
    /// The newest seq was another one, and nothing was appended by this request.
    Conflict,
    /// Nobody knows whether the request took effect, or will.
    Unknown,
    /// The newest seq.
    Tail {
        /// The seq; 0 if the journal is empty.
        seq: u64,
    },
    /// Entries from the seq that was asked for; fewer than asked for if there are no more.
    Entries(Vec<StoredEntry>),
    /// The first seq that was asked for is trimmed.
    Gone {
        /// The base of the last trim.
        base: Bytes,
    },
    /// A follow has ended; a read continues.
    FollowEnded,
    /// The trim is done.
    Trimmed,
    /// Another active has trimmed under a higher epoch, or further.
    TrimRefused,
    /// Number of endpoints, at least 1.
    Endpoints(u16),
}

/// Whether an engine checks `expect` of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// It does: an entry lands at `expect + 1` or nowhere. No entry is void.
    Checked,
    /// It does not: the writer reads its entry back, and what came second is void.
    ReadBack,
}

/// The times of the lease and of a failover, all on clocks that run on in suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseTimes {
    /// An active that appended nothing for so long appends a beat.
    pub beat: Duration,
    /// An accepted append gives the right to reply until so long after it was first sent.
    pub serve: Duration,
    /// A standby claims when it saw no new entry for so long.
    pub claim: Duration,
}

/// What an adapter says about its engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EngineProfile {
    /// Whether it checks the condition of an append.
    pub condition: Condition,
    /// Largest entry, in bytes with its header.
    pub entry_bytes_max: usize,
    /// Bound of the records that wait for the engine, in bytes.
    pub queue_bytes_max: usize,
    /// Endpoints that can be read one by one.
    pub endpoints: u16,
    /// Times that fit the engine's own elections.
    pub times: LeaseTimes,
    /// Time after which a request without a reply is repeated.
    pub retry: Duration,
    /// Time without a word about an append after which the journal is stalled.
    pub stall: Duration,
}

impl EngineProfile {
    /// Returns what contradicts itself, in words for the operator.
    ///
    /// # Errors
    /// If the lease could outlive the wait of a standby on a clock that is a quarter faster, if a
    /// beat could come too late to renew the lease, or if a size is out of bounds.
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
