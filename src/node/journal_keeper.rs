//! Keeps in the identity file what a member knows of its journal: how far it has come, and which
//! members there are. A restarted member answers with it, and asks those members before it claims.
//!
//! # Invariants
//! - What is kept never falls.
//! - The file is written at most once in [`LOOK_INTERVAL`]: soon after a claim, after a new member,
//!   and after another member said that the engine lost entries. New entries alone are written each
//!   [`ENTRIES_INTERVAL`]; the log on the disk has their records.

use std::sync::Arc;
use std::time::Duration;

use snapshot::Disk;

use super::identity::{IdentityFile, KnownJournal, StoredMember};
use super::membership::Membership;
use crate::journal::names::MemberNames;
use crate::journal::reach::JournalReach;
use crate::throttle::throttled;

/// How often it looks whether something is new.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often new entries are kept that bring neither a claim nor a member.
const ENTRIES_INTERVAL: Duration = Duration::from_secs(10);

/// What a member knows of its journal, and the file that keeps it.
pub(super) struct JournalKeeper<D: Disk> {
    file: Arc<IdentityFile<D>>,
    kept: KnownJournal,
    looked: Option<Duration>,
    kept_at: Option<Duration>,
}

impl<D: Disk> JournalKeeper<D> {
    /// Tells `member` what the file has.
    pub(super) fn new(now: Duration, file: Arc<IdentityFile<D>>, member: &Membership) -> Self {
        let kept = file.known_journal();
        member.remember(now, &kept);
        Self { file, kept, looked: None, kept_at: None }
    }

    /// Keeps what is new, if it is time for that.
    pub(super) fn turn(&mut self, now: Duration, member: &Membership) {
        let is_due = |at: Option<Duration>, interval| {
            at.is_none_or(|at: Duration| now.saturating_sub(at) >= interval)
        };
        if !is_due(self.looked, LOOK_INTERVAL) {
            return;
        }
        self.looked = Some(now);
        let new = self.news(member);
        let is_urgent = (new.epoch, &new.members) != (self.kept.epoch, &self.kept.members)
            || member.claim_check.forbidding().is_some();
        if new != self.kept && (is_urgent || is_due(self.kept_at, ENTRIES_INTERVAL)) {
            self.kept_at = Some(now);
            self.keep(new);
        }
    }

    /// Keeps what is new now, because the member stops.
    pub(super) fn finish(&mut self, member: &Membership) {
        let new = self.news(member);
        if new != self.kept {
            self.keep(new);
        }
    }

    fn news(&self, member: &Membership) -> KnownJournal {
        let JournalReach { seq, epoch, lsn } = member.claim_check.reach().joined(self.kept.reach());
        let stored =
            |MemberNames { member, tcp: address, admin }| StoredMember { member, address, admin };
        let members = member.others().into_iter().map(stored).collect();
        let said_by = member.claim_check.ahead();
        KnownJournal { seq, epoch, lsn: lsn.0, said_by, members }
    }

    fn keep(&mut self, new: KnownJournal) {
        match self.file.keep_journal(new.clone()) {
            Ok(()) => self.kept = new,
            Err(error) => throttled!(warn, %error, "the identity file cannot be written"),
        }
    }
}
