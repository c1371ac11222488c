//! An entry that no endpoint of the engine has whole, which other members may give.
//!
//! ```text
//!   member's thread -- want --> EntryRepair <-- wanted, answered -- task of the server
//! ```
//!
//! # Invariants
//! - One entry is wanted at a time. An answer counts for the seq that is wanted, and once.
//! - Bytes of another member are judged by the reader's rule like those of an endpoint.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::journal::accepted_heads::{AcceptedHeads, EntryHead, KnownEntry};

/// The entry that this member lacks, and those that it can give.
#[derive(Debug, Default)]
pub struct EntryRepair {
    heads: Mutex<AcceptedHeads>,
    wanted: Mutex<Wanted>,
    begun: Notify,
}

#[derive(Debug, Default)]
enum Wanted {
    #[default]
    Nothing,
    Entry(u64),
    /// What the other members gave, each in the form of an entry.
    Answered(u64, Vec<Bytes>),
}

impl EntryRepair {
    fn wants(&self) -> MutexGuard<'_, Wanted> {
        // No code that can panic runs under this lock.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heads(&self) -> MutexGuard<'_, AcceptedHeads> {
        // No code that can panic runs under this lock.
        self.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes an entry that this member has accepted, so that it can give it.
    pub(super) fn accepted(&self, seq: u64, head: EntryHead) {
        self.heads().note(seq, head);
    }

    /// The entry with this seq, as far as this member knows it without its log.
    pub fn known(&self, seq: u64) -> Option<KnownEntry> {
        self.heads().entry(seq)
    }

    /// Asks the other members for an entry. Returns what they gave, once they have been asked.
    pub(super) fn want(&self, seq: u64) -> Option<Vec<Bytes>> {
        let mut wanted = self.wants();
        match std::mem::take(&mut *wanted) {
            Wanted::Answered(answered, given) if answered == seq => return Some(given),
            Wanted::Entry(other) if other == seq => *wanted = Wanted::Entry(seq),
            _ => {
                *wanted = Wanted::Entry(seq);
                drop(wanted);
                self.begun.notify_one();
            }
        }
        None
    }

    /// The entry that is wanted, if there is one.
    pub fn wanted(&self) -> Option<u64> {
        match *self.wants() {
            Wanted::Entry(seq) => Some(seq),
            Wanted::Nothing | Wanted::Answered(..) => None,
        }
    }

    /// Waits until an entry is wanted.
    pub async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Takes what the others gave for an entry: nothing if none of them has it.
    pub fn answered(&self, seq: u64, given: Vec<Bytes>) {
        let mut wanted = self.wants();
        if matches!(*wanted, Wanted::Entry(other) if other == seq) {
            *wanted = Wanted::Answered(seq, given);
        }
    }
}
