//! What this member knows of the others, and what follows from it: whom it asks, which formats all
//! of them read, and whose data is wrong.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use snapshot::{Lsn, Planted, is_planted};

use super::Membership;
use crate::command::cluster::ClusterMember;
use crate::command::report::{ComparedDigest, Report};
use crate::journal::names::MemberNames;
use crate::node::claim_check::{BEFORE_RESTART, ClaimRound};
use crate::node::digest_votes::{DigestVerdict, DigestVotes};
use crate::node::identity::{KnownJournal, StoredMember};
use crate::node::known_members::{KnownMembers, StandbyLag};

impl Membership {
    pub(super) fn known(&self) -> MutexGuard<'_, KnownMembers> {
        // No code that can panic runs under this lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the identity file has from before this life.
    pub(in crate::node) fn remember(&self, now: Duration, journal: &KnownJournal) {
        let mut known = self.known();
        for other in &journal.members {
            let StoredMember { member, address: tcp, admin } = other.clone();
            known.note(now, MemberNames { member, tcp, admin });
        }
        drop(known);
        let said_by = journal.said_by.as_deref().unwrap_or(BEFORE_RESTART);
        self.claim_check.answered(said_by, journal.reach());
    }

    /// All other members that this one has heard of.
    pub fn others(&self) -> Vec<MemberNames> {
        let (active, known) = (self.active().names, self.known());
        let mut others = known.noted();
        if !others.iter().any(|other| other.are_of(&active)) {
            others.push(active);
        }
        others.retain(|other| !other.tcp.is_empty() && !other.are_of(&self.names));
        others
    }

    /// The members that are asked in a round before a claim.
    pub fn asked_in(&self, round: ClaimRound) -> Vec<MemberNames> {
        let mut others = self.others();
        if round.is_released {
            let active = self.active().names;
            others.retain(|other| !other.are_of(&active));
        }
        others
    }

    /// Takes a standby's word. `committed` is the newest committed record.
    pub(in crate::node) fn heard(&self, now: Duration, committed: Lsn, report: Report) {
        self.known().hear(now, committed, report);
    }

    /// Notes the members that the active named in its reply to a report.
    pub(in crate::node) fn told(&self, now: Duration, members: Vec<ClusterMember>) {
        self.known().told(now, members);
    }

    /// What the active said last, and how long ago, in ms.
    pub(in crate::node) fn last_told(&self, now: Duration) -> Option<(Vec<ClusterMember>, u64)> {
        self.known().last_told(now)
    }

    /// Age of the newest snapshot that any standby has reported; `None` if none has.
    pub(in crate::node) fn standby_snapshot_age(&self, now: Duration) -> Option<Duration> {
        self.known().snapshot_age(now)
    }

    /// The standbys that reported to this node.
    pub(in crate::node) fn standbys(&self, now: Duration, committed: Lsn) -> Vec<ClusterMember> {
        self.known().standbys(now, committed)
    }

    /// What is durable on each standby that is alive.
    pub(in crate::node) fn durable_on_standbys(&self, now: Duration) -> Vec<Lsn> {
        self.known().durable(now)
    }

    /// How far the standby that is furthest behind is behind; `None` if none reports to this node.
    pub fn standby_lag(&self, now: Duration) -> Option<StandbyLag> {
        self.known().lag(now)
    }

    fn votes(&self) -> MutexGuard<'_, DigestVotes> {
        // No code that can panic runs under this lock.
        self.votes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to count what standbys say of the digests behind this record.
    pub(in crate::node) fn begin_votes(&self, before: Lsn) {
        self.votes().begin(before);
    }

    /// Takes what a standby says of digests. Returns its newest difference from this active.
    pub(in crate::node) fn vote(
        &self,
        standby: &str,
        compared: &[ComparedDigest],
    ) -> Option<(Lsn, DigestVerdict)> {
        self.votes().take(standby, compared)
    }

    /// The format that this active should raise the journal to: the newest one that all members
    /// read. `None` if the journal has it, or while a member has not said what it reads.
    pub(in crate::node) fn format_due(&self, now: Duration) -> Option<u32> {
        let format = self.format();
        if self.reads <= format {
            return None;
        }
        if is_planted(Planted::FormatUnread) {
            return Some(self.reads);
        }
        if let Some(raised) = self.raised().filter(|raised| *raised > format) {
            return Some(raised);
        }
        let others = self.known().format_read_by_all(now, &self.names)?;
        Some(self.reads.min(others)).filter(|due| *due > format)
    }
}
