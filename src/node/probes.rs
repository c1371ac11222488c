//! What the threads of a node share of its probes: captures to be hashed, and what was compared.
//! [`super::prober`] hashes them.
//!
//! Invariants:
//! - At most [`JOBS_MAX`] captures wait to be hashed. One more is dropped, and its slot is not
//!   compared this time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::{Receiver, Sender, bounded};
use snapshot::Lsn;
use tracing::error;

use super::load::DigestsCompared;
use crate::command::report::ComparedDigest;
use crate::limits::COMPARED_DIGESTS_MAX;
use crate::shard::machine::{Comparison, SlotCapture};
use crate::types::ShardId;

/// Most captures that wait to be hashed.
const JOBS_MAX: usize = 16;
/// How many of the newest comparisons are kept, and how many of those that differed.
const RECENT: usize = COMPARED_DIGESTS_MAX / 2;

/// Counters of a process, over all of its lives as a member.
#[derive(Debug, Default)]
pub struct ProbeFigures {
    compared: AtomicU64,
    differences: AtomicU64,
}

impl ProbeFigures {
    /// Digests of the log that were compared.
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.compared.load(Ordering::Relaxed)
    }

    /// Those of them that differed.
    #[must_use]
    pub fn differences(&self) -> u64 {
        self.differences.load(Ordering::Relaxed)
    }

    fn add(&self, compared: u64, differences: u64) {
        self.compared.fetch_add(compared, Ordering::Relaxed);
        self.differences.fetch_add(differences, Ordering::Relaxed);
    }

    /// Adds what a start has found in the log.
    pub fn replayed(&self, found: &DigestsCompared) {
        self.add(found.count, u64::try_from(found.differences.len()).unwrap_or(u64::MAX));
    }
}

/// A capture of a core, to be hashed.
pub struct ProbeJob {
    /// The core.
    pub(super) shard: ShardId,
    /// A slot of it.
    pub(super) capture: SlotCapture,
}

/// What the threads of a node share of its probes.
pub struct Probes {
    jobs: Sender<ProbeJob>,
    figures: Arc<ProbeFigures>,
    compared: Mutex<Compared>,
}

/// The newest comparisons of a standby, and the newest ones that differed.
#[derive(Default)]
struct Compared {
    recent: VecDeque<Comparison>,
    different: VecDeque<Comparison>,
}

impl Probes {
    /// The side of the cores, and the captures for the prober. Without it nothing is hashed.
    pub fn new(figures: Arc<ProbeFigures>) -> (Self, Receiver<ProbeJob>) {
        let (jobs, receiver) = bounded(JOBS_MAX);
        (Self { jobs, figures, compared: Mutex::default() }, receiver)
    }

    /// Counters of the process.
    pub fn figures(&self) -> &ProbeFigures {
        &self.figures
    }

    /// Lets a capture of this core be hashed. It is dropped if too many wait.
    pub(super) fn hash(&self, shard: ShardId, capture: SlotCapture) {
        drop(self.jobs.try_send(ProbeJob { shard, capture }));
    }

    fn lock(&self) -> MutexGuard<'_, Compared> {
        // No code that can panic runs under this lock.
        self.compared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this node, as a standby, says of the digests that it has compared.
    pub(super) fn compared(&self) -> Vec<ComparedDigest> {
        let compared = self.lock();
        let equal = compared.recent.iter().filter(|comparison| comparison.is_equal());
        let word = |comparison: &Comparison| ComparedDigest {
            lsn: comparison.at.0,
            own: comparison.own,
            active: comparison.logged,
        };
        compared.different.iter().chain(equal).map(word).collect()
    }

    /// Whether this node has found another digest than the one in the log behind this record.
    pub(super) fn differs_at(&self, lsn: Lsn) -> bool {
        self.lock().different.iter().any(|comparison| comparison.at == lsn)
    }

    /// Notes a digest that a standby has compared.
    pub(super) fn note(&self, comparison: Comparison) {
        let is_equal = comparison.is_equal();
        self.figures.add(1, u64::from(!is_equal));
        if !is_equal {
            let Comparison { at, slot, logged, own } = comparison;
            let (logged, own) = (format!("{logged:016x}"), format!("{own:016x}"));
            error!(
                lsn = at.0,
                slot = slot.get(),
                logged,
                own,
                "a slot of this member is not what the active has: a bug, or bad memory"
            );
        }
        let mut compared = self.lock();
        if !is_equal {
            keep(&mut compared.different, comparison);
        }
        keep(&mut compared.recent, comparison);
    }
}

fn keep(ring: &mut VecDeque<Comparison>, comparison: Comparison) {
    if ring.len() == RECENT {
        ring.pop_front();
    }
    ring.push_back(comparison);
}
