//! What all threads of a member know of its role, of its journal and of the other members.
//!
//! # Layout
//! - `doors`: the question that doors ask before they route a request: role, lease, age of the state
//! - `handing_over`: the request for a handover
//! - `others`: what is known of the other members
//! - `raising`: an operator raises the format
//!
//! # Invariants
//! - The format rises only by an entry of the journal, and no core writes a newer event before that
//!   entry counts.
//! - The first reason for which this member cannot continue stays.

mod doors;
mod handing_over;
mod others;
mod raising;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use snapshot::Lsn;

pub(super) use self::handing_over::HandoverRequest;
use super::claim_check::ClaimCheck;
use super::confirmations::Confirmations;
use super::digest_votes::DigestVotes;
use super::entry_repair::EntryRepair;
use super::journal_figures::{JournalFigures, TakeoverWhy};
use super::known_members::KnownMembers;
use crate::journal::client::EngineSpace;
use crate::journal::entry::ClaimFacts;
use crate::journal::names::{ActiveMember, MemberNames};
use crate::journal::reach::JournalReach;
use crate::journal::reader::JournalReader;
use crate::limits::JOURNAL_FORMAT;

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRole {
    /// It applies the journal.
    Standby,
    /// Its claim is on its way, or its cores begin to decide.
    Claiming,
    /// It decides and replies.
    Active,
    /// It was the active, or cannot continue, and is about to recover.
    Demoted,
}

impl MemberRole {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Standby, Self::Claiming, Self::Active, Self::Demoted];

    /// The name in `hello`, in `stats` and in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Claiming => "claiming",
            Self::Active => "active",
            Self::Demoted => "demoted",
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Standby => 0,
            Self::Claiming => 1,
            Self::Active => 2,
            Self::Demoted => 3,
        }
    }

    fn from_code(code: u8) -> Self {
        Self::ALL.into_iter().find(|role| role.code() == code).unwrap_or(Self::Demoted)
    }
}

/// The membership of this node in a journal.
#[derive(Debug)]
pub struct Membership {
    /// Id of the journal.
    pub journal: u64,
    /// How others know this member.
    pub names: MemberNames,
    /// The newest format that this program reads.
    pub reads: u32,
    /// The journal's format, as far as this member has read; 0 before genesis.
    format: AtomicU32,
    /// The format to which an operator raises the journal; 0 if nobody does.
    raised: AtomicU32,
    role: AtomicU8,
    /// Until when this node may reply as the active, on the clock that runs on in suspend, in ms.
    leased_until: AtomicU64,
    /// Time without entries after which another member claims.
    claim: Duration,
    active: Mutex<ActiveMember>,
    /// The state that all cores have applied is at least as new as this, on the clock that runs on
    /// in suspend, in ms. 0 if a standby does not know.
    fresh_at: AtomicU64,
    /// Whether the cores of this life may decide.
    has_begun: AtomicBool,
    /// Why this member cannot continue.
    failure: OnceLock<String>,
    space: EngineSpace,
    known: Mutex<KnownMembers>,
    votes: Mutex<DigestVotes>,
    /// LSN of a digest that shows that this standby's data is wrong; 0 without one.
    wrong_at: AtomicU64,
    /// What other members must say before this one claims.
    pub claim_check: ClaimCheck,
    /// Entries that other members give to this one, and those that it can give.
    pub repair: EntryRepair,
    /// Whether the active refuses writes, because too few copies allow no trim.
    lacks_copies: AtomicBool,
    hands_over: AtomicBool,
    /// The handover that the member's thread has not begun.
    handover: Mutex<Option<HandoverRequest>>,
    /// Epoch of the stint that a handover has ended; 0 if none has.
    released: AtomicU64,
    /// Why the disk of this member takes nothing, if so.
    disk_trouble: Mutex<Option<String>>,
    /// Whether there is a reason in `disk_trouble`, for each turn of a core.
    has_bad_disk: AtomicBool,
    /// Appends that confirm replies.
    pub(super) confirmations: Confirmations,
    /// Figures for metrics.
    pub figures: Arc<JournalFigures>,
}

impl Membership {
    /// A standby of the journal of this id.
    #[must_use]
    pub fn new(journal: u64, names: MemberNames) -> Self {
        Self {
            journal,
            names,
            reads: JOURNAL_FORMAT,
            format: AtomicU32::new(0),
            raised: AtomicU32::new(0),
            role: AtomicU8::new(MemberRole::Standby.code()),
            leased_until: AtomicU64::new(0),
            claim: Duration::MAX,
            active: Mutex::default(),
            fresh_at: AtomicU64::new(0),
            has_begun: AtomicBool::new(false),
            failure: OnceLock::new(),
            space: EngineSpace::default(),
            known: Mutex::default(),
            votes: Mutex::default(),
            wrong_at: AtomicU64::new(0),
            claim_check: ClaimCheck::default(),
            repair: EntryRepair::default(),
            lacks_copies: AtomicBool::new(false),
            hands_over: AtomicBool::new(false),
            handover: Mutex::default(),
            released: AtomicU64::new(0),
            disk_trouble: Mutex::default(),
            has_bad_disk: AtomicBool::new(false),
            confirmations: Confirmations::default(),
            figures: Arc::default(),
        }
    }

    /// The member with the figures of its process.
    #[must_use]
    pub fn with_figures(self, figures: Arc<JournalFigures>) -> Self {
        Self { figures, ..self }
    }

    /// The member, which refuses writes while the engine has no space for them.
    #[must_use]
    pub fn with_space(self, space: EngineSpace) -> Self {
        Self { space, ..self }
    }

    /// The member, of a journal whose standbys claim after so long without entries.
    #[must_use]
    pub fn with_claim(self, claim: Duration) -> Self {
        Self { claim, ..self }
    }

    /// The member, whose replies as the active wait for appends, or do not.
    #[must_use]
    pub fn confirming(self, is_on: bool) -> Self {
        Self { confirmations: Confirmations::new(is_on), ..self }
    }

    /// The member, of a program that reads formats up to this one.
    #[cfg(feature = "internals")]
    #[must_use]
    pub fn reading(self, format: u32) -> Self {
        Self { reads: format, ..self }
    }

    /// The newest format of events that this member may write; 0 before genesis is read.
    pub fn format(&self) -> u32 {
        self.format.load(Ordering::Acquire)
    }

    /// Notes how far this member has accepted the journal.
    pub(super) fn has_read(&self, reader: &JournalReader) {
        self.claim_check.accepted(JournalReach::of(reader));
        self.set_format(reader.place().format);
        self.figures.set_voids(reader.place().voids());
    }

    /// Notes the journal's format, which never falls.
    fn set_format(&self, format: u32) {
        self.format.fetch_max(format, Ordering::Release);
    }

    /// The body of a claim behind what `reader` has read.
    pub(super) fn claim_facts(&self, reader: &JournalReader) -> ClaimFacts {
        let MemberNames { member, tcp, admin } = self.names.clone();
        ClaimFacts {
            member,
            tcp,
            admin,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            // The journal's own: it rises only when all members read a newer one.
            format: reader.place().format,
            why: TakeoverWhy::of(reader.is_released()).name().to_owned(),
        }
    }

    /// The space of the engine.
    pub fn space(&self) -> &EngineSpace {
        &self.space
    }

    /// What this member does now.
    pub fn role(&self) -> MemberRole {
        MemberRole::from_code(self.role.load(Ordering::SeqCst))
    }

    /// The active, as the newest claim names it.
    pub fn active(&self) -> ActiveMember {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, ActiveMember> {
        // No code that can panic runs under this lock.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the data of this standby is wrong, as its digest behind this record shows.
    pub(super) fn set_wrong(&self, lsn: Lsn) {
        self.wrong_at.store(lsn.0, Ordering::Release);
    }

    /// The LSN of a digest that shows that the data of this standby is wrong, if one does.
    pub(super) fn wrong_at(&self) -> Option<Lsn> {
        Some(Lsn(self.wrong_at.load(Ordering::Acquire))).filter(|lsn| lsn.0 > 0)
    }

    /// Notes why the disk of this member takes nothing, or that it takes writes again.
    pub(super) fn set_disk_trouble(&self, why: Option<String>) {
        self.has_bad_disk.store(why.is_some(), Ordering::Relaxed);
        // No code that can panic runs under this lock.
        *self.disk_trouble.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// Why the disk of this member takes nothing, if so.
    pub fn disk_trouble(&self) -> Option<String> {
        self.disk_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why this member cannot continue, if so.
    pub fn failure(&self) -> Option<String> {
        self.failure.get().cloned()
    }

    /// Notes why this member cannot continue; the first reason stays.
    pub(super) fn fail(&self, why: String) {
        drop(self.failure.set(why));
    }

    pub(super) fn set_active(&self, active: ActiveMember) {
        *self.lock() = active;
    }

    /// Takes on another role. All but the active are without a lease.
    pub(super) fn set_role(&self, role: MemberRole) {
        if role != MemberRole::Active {
            self.leased_until.store(0, Ordering::SeqCst);
            self.figures.forget_kept();
        }
        self.role.store(role.code(), Ordering::SeqCst);
    }
}
