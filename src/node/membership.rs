//! What all threads of a member know of its role, and the question that doors ask before they route
//! a request.
//!
//! # Invariants
//! - A request is let in only while this node is the active and its lease lasts, or if a standby
//!   may serve it from a state that is new enough. Who has read the request asks, after reading and
//!   before routing: whatever the reply shows was then newest, or not older than was asked for.
//! - A standby serves nothing once its cores may decide: what they decide is not committed yet.
//! - The lease never grows but by an append that counts, and ends with the role.
//! - Parts of what was let in are not asked for again; the journal alone fences writes.
//! - The format rises only by an entry of the journal, and no core writes a newer event before that
//!   entry counts.
//! - While the active hands over, nothing is let in. That ends with its role, or if the handover is
//!   given up.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use snapshot::{Lsn, Planted, is_planted};

use super::claim_check::{BEFORE_RESTART, ClaimCheck, ClaimRound};
use super::digest_votes::{DigestVerdict, DigestVotes};
use super::entry_repair::EntryRepair;
use super::identity::{KnownJournal, StoredMember};
use super::journal_figures::{HandoverWhy, JournalFigures, TakeoverWhy};
use super::known_members::{KnownMembers, StandbyLag};
use super::standby_reads::LetsIn;
use crate::command::cluster::ClusterMember;
use crate::command::error::Moved;
use crate::command::report::{ComparedDigest, Report};
use crate::command::{Error, ErrorCode, Kind, OnStandby};
use crate::journal::client::EngineSpace;
use crate::journal::entry::ClaimFacts;
use crate::journal::names::{ActiveMember, MemberNames};
use crate::journal::reader::JournalReader;
use crate::limits::JOURNAL_FORMAT;
use crate::types::ShardId;

const HANDS_OVER_ALREADY: &str = "not applied: a handover is under way";

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

/// A handover that a core was asked for.
#[derive(Debug)]
pub(super) struct HandoverRequest {
    /// The member that is to follow; any standby if absent.
    pub(super) to: Option<String>,
    /// The core that has the caller; `None` if the active leaves by itself.
    pub(super) caller: Option<ShardId>,
    pub(super) why: HandoverWhy,
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

    /// Notes the journal's format, which never falls.
    pub(super) fn set_format(&self, format: u32) {
        self.format.fetch_max(format, Ordering::Release);
    }

    /// The format that this active should raise the journal to: the newest one that all members
    /// read. `None` if the journal has it, or while a member has not said what it reads.
    pub(super) fn format_due(&self, now: Duration) -> Option<u32> {
        let format = self.format();
        if self.reads <= format {
            return None;
        }
        if is_planted(Planted::FormatUnread) {
            return Some(self.reads);
        }
        let others = self.known().format_read_by_all(now, &self.names)?;
        Some(self.reads.min(others)).filter(|due| *due > format)
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

    fn known(&self) -> MutexGuard<'_, KnownMembers> {
        // No code that can panic runs under this lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the identity file has from before this life.
    pub(super) fn remember(&self, now: Duration, journal: &KnownJournal) {
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
    pub(super) fn heard(&self, now: Duration, committed: Lsn, report: Report) {
        self.known().hear(now, committed, report);
    }

    fn votes(&self) -> MutexGuard<'_, DigestVotes> {
        // No code that can panic runs under this lock.
        self.votes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to count what standbys say of the digests behind this record.
    pub(super) fn begin_votes(&self, before: Lsn) {
        self.votes().begin(before);
    }

    /// Takes what a standby says of digests. Returns its newest difference from this active.
    pub(super) fn vote(
        &self,
        standby: &str,
        compared: &[ComparedDigest],
    ) -> Option<(Lsn, DigestVerdict)> {
        self.votes().take(standby, compared)
    }

    /// Notes that the data of this standby is wrong, as its digest behind this record shows.
    pub(super) fn set_wrong(&self, lsn: Lsn) {
        self.wrong_at.store(lsn.0, Ordering::Release);
    }

    /// The LSN of a digest that shows that the data of this standby is wrong, if one does.
    pub(super) fn wrong_at(&self) -> Option<Lsn> {
        Some(Lsn(self.wrong_at.load(Ordering::Acquire))).filter(|lsn| lsn.0 > 0)
    }

    /// Notes the members that the active named in its reply to a report.
    pub(super) fn told(&self, now: Duration, members: Vec<ClusterMember>) {
        self.known().told(now, members);
    }

    /// What the active said last, and how long ago, in ms.
    pub(super) fn last_told(&self, now: Duration) -> Option<(Vec<ClusterMember>, u64)> {
        self.known().last_told(now)
    }

    /// Age of the newest snapshot that any standby has reported; `None` if none has.
    pub(super) fn standby_snapshot_age(&self, now: Duration) -> Option<Duration> {
        self.known().snapshot_age(now)
    }

    /// The standbys that reported to this node.
    pub(super) fn standbys(&self, now: Duration, committed: Lsn) -> Vec<ClusterMember> {
        self.known().standbys(now, committed)
    }

    /// What is durable on each standby that is alive.
    pub(super) fn durable_on_standbys(&self, now: Duration) -> Vec<Lsn> {
        self.known().durable(now)
    }

    /// How far the standby that is furthest behind is behind; `None` if none reports to this node.
    pub fn standby_lag(&self, now: Duration) -> Option<StandbyLag> {
        self.known().lag(now)
    }

    /// Refuses a request that is meant for the stint of another claim than the newest one.
    pub(super) fn check_stint(&self, epoch: Option<u64>) -> Result<(), Error> {
        let newest = self.active().epoch;
        match epoch {
            Some(epoch) if epoch != newest => {
                let what = format!("epoch: the newest claim has {newest}, and not {epoch}");
                Err(Error::new(ErrorCode::Conflict, what))
            }
            _ => Ok(()),
        }
    }

    /// Asks the member's thread for a handover. From now on nothing is let in.
    pub(super) fn ask_handover(
        &self,
        now: Duration,
        request: HandoverRequest,
    ) -> Result<(), Error> {
        if self.role() != MemberRole::Active {
            return Err(self.moved_away());
        }
        let to = request.to.as_deref();
        if to == Some(&self.names.member) {
            return Err(Error::invalid("to: this member is the active already"));
        }
        self.known().may_follow(now, to)?;
        if self.hands_over.swap(true, Ordering::SeqCst) {
            return Err(Error::new(ErrorCode::Busy, HANDS_OVER_ALREADY));
        }
        *self.handover() = Some(request);
        Ok(())
    }

    fn handover(&self) -> MutexGuard<'_, Option<HandoverRequest>> {
        // No code that can panic runs under this lock.
        self.handover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handover that is to begin, if one was asked for.
    pub(super) fn take_handover(&self) -> Option<HandoverRequest> {
        match self.hands_over.load(Ordering::SeqCst) {
            true => self.handover().take(),
            false => None,
        }
    }

    /// Lets requests in again: the handover is given up.
    pub(super) fn keep_on(&self) {
        self.hands_over.store(false, Ordering::SeqCst);
    }

    /// The error for a request of this kind while this active hands over. `None` if it does not.
    pub(super) fn hands_over(&self, kind: Kind) -> Option<Error> {
        match self.hands_over.load(Ordering::SeqCst) {
            false => None,
            // A second one would go on to the next active, and end its stint too.
            true if kind == Kind::Handover => Some(Error::new(ErrorCode::Busy, HANDS_OVER_ALREADY)),
            true => {
                let moved = Moved { address: String::new(), epoch: self.active().epoch };
                let message = "this node hands over to another one".into();
                Some(Error { message, ..Error::moved(moved) })
            }
        }
    }

    /// Notes that a handover has ended the stint with this claim.
    pub(super) fn set_released(&self, epoch: u64) {
        self.released.store(epoch, Ordering::SeqCst);
    }

    /// The epoch of the stint that a handover has ended; `None` if none has.
    pub(super) fn released(&self) -> Option<u64> {
        Some(self.released.load(Ordering::SeqCst)).filter(|epoch| *epoch > 0)
    }

    /// Lets the active refuse writes while too few copies allow no trim.
    pub(super) fn refuse_for_copies(&self, is_refusing: bool) {
        self.lacks_copies.store(is_refusing, Ordering::Relaxed);
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

    /// Gives the active the right to reply until then.
    pub(super) fn lease(&self, until: Duration) {
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.leased_until.fetch_max(until, Ordering::SeqCst);
    }

    /// Time for which this node may reply as the active.
    pub fn lease_left(&self, now: Duration) -> Duration {
        Duration::from_millis(self.leased_until.load(Ordering::SeqCst)).saturating_sub(now)
    }

    /// Notes that the state which all cores have applied is at least as new as `at`.
    pub(super) fn set_fresh_at(&self, at: Duration) {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.fresh_at.fetch_max(at, Ordering::SeqCst);
    }

    /// Notes that the cores may decide from now on.
    pub(super) fn set_begun(&self) {
        self.has_begun.store(true, Ordering::SeqCst);
    }

    /// How old the state of a standby can be, by its own looks at the tail. `None` for other roles,
    /// and while it does not know.
    pub fn state_age(&self, now: Duration) -> Option<Duration> {
        let is_standby = matches!(self.role(), MemberRole::Standby | MemberRole::Claiming);
        if !is_standby || self.has_begun.load(Ordering::SeqCst) {
            return None;
        }
        let fresh_at = Some(self.fresh_at.load(Ordering::SeqCst)).filter(|at| *at > 0)?;
        Some(now.saturating_sub(Duration::from_millis(fresh_at)))
    }

    /// Whether a member that is not the active serves this kind of request now, from a state that
    /// is less than `stale` old if the connection asked for that.
    fn serves(&self, now: Duration, kind: Kind, stale: Option<Duration>) -> bool {
        let is_new = |most| self.state_age(now).is_some_and(|age| age < most);
        match kind.on_standby() {
            OnStandby::Always => true,
            OnStandby::OfFiles => self.state_age(now).is_some(),
            OnStandby::IfAsked => stale.is_some_and(is_new),
            OnStandby::Unasked => is_new(stale.unwrap_or(self.claim)),
            OnStandby::Never => false,
        }
    }

    /// Whether this node has been without word of the engine for so long that its watches end: an
    /// active without a lease, or a standby whose state is too old.
    pub fn is_cut_off(&self, now: Duration) -> bool {
        match self.role() {
            MemberRole::Active => {
                let leased_until = Duration::from_millis(self.leased_until.load(Ordering::SeqCst));
                now >= leased_until.saturating_add(self.claim)
            }
            MemberRole::Standby | MemberRole::Claiming => {
                let is_known = self.state_age(now).is_some_and(|age| age < self.claim);
                !is_known && !self.has_begun.load(Ordering::SeqCst)
            }
            MemberRole::Demoted => false,
        }
    }

    /// The error for a request of this kind that was read before `now`; `None` if it may be routed.
    /// `stale` is the age up to which the connection takes the state of a standby.
    #[must_use]
    pub fn turned_away(&self, now: Duration, kind: Kind, stale: Option<Duration>) -> Option<Error> {
        match self.role() {
            MemberRole::Active if !self.lease_left(now).is_zero() => self.hands_over(kind),
            MemberRole::Active => {
                Some(Error::not_applied("this node may not be the active any more; try again"))
            }
            MemberRole::Standby | MemberRole::Claiming | MemberRole::Demoted => {
                (!self.serves(now, kind, stale)).then(|| self.moved_away())
            }
        }
    }

    /// How much of what a connection may send is let in now.
    pub fn lets_in(&self, now: Duration, stale: Option<Duration>) -> LetsIn {
        match self.role() {
            MemberRole::Active => {
                match self.lease_left(now).is_zero() || self.hands_over.load(Ordering::SeqCst) {
                    true => LetsIn::Little,
                    false => LetsIn::Everything,
                }
            }
            MemberRole::Standby | MemberRole::Claiming | MemberRole::Demoted => {
                match self.serves(now, Kind::List, stale) {
                    true => LetsIn::Reads,
                    false => LetsIn::Little,
                }
            }
        }
    }

    /// The error for a request that only the active can serve.
    pub(super) fn moved_away(&self) -> Error {
        Error::moved(self.moved())
    }

    /// Where clients find the active.
    fn moved(&self) -> Moved {
        let ActiveMember { epoch, names } = self.active();
        let is_other = !names.are_of(&self.names);
        Moved { address: if is_other { names.tcp } else { String::new() }, epoch }
    }

    /// The error for a write of a core; `None` while this node is the active and the engine has
    /// space. The lease is not asked for: what was let in goes on.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        const FULL: &str = "the engine of the journal is nearly full; try again later";
        const DISK: &str = "the disk of this node takes nothing (full, or its directory moved?)";
        const COPIES: &str = "the journal is at its maximum, and too few standbys have it";
        match self.role() {
            MemberRole::Active if self.space.is_full() => Some(Error::new(ErrorCode::Busy, FULL)),
            MemberRole::Active if self.has_bad_disk.load(Ordering::Relaxed) => {
                Some(Error::not_applied(DISK))
            }
            MemberRole::Active => {
                self.lacks_copies.load(Ordering::Relaxed).then(|| Error::not_applied(COPIES))
            }
            MemberRole::Standby | MemberRole::Claiming | MemberRole::Demoted => {
                Some(self.moved_away())
            }
        }
    }

    /// Why the node is not ready for requests of clients, if it is not.
    ///
    /// # Errors
    /// The role, in words.
    pub fn readiness(&self, now: Duration) -> Result<(), String> {
        let role = self.role();
        let state = match self.turned_away(now, Kind::List, None) {
            None => None,
            Some(error) if error.code == ErrorCode::Moved && role == MemberRole::Active => {
                Some("handing over to another node")
            }
            Some(_) if role == MemberRole::Active => {
                Some("active without a lease: the engine gives no word")
            }
            Some(_) => Some(role.name()),
        };
        let lost = self.claim_check.forbidding().filter(|_| role != MemberRole::Active);
        let why = lost.map(|lost| format!("it {lost}")).or_else(|| self.disk_trouble());
        match (state, why) {
            (None, None) => match self.refusal() {
                None => Ok(()),
                Some(error) => Err(format!("active, and refuses writes: {}", error.message)),
            },
            (None, Some(why)) => Err(format!("active, and refuses writes: {why}")),
            (Some(state), None) => Err(state.into()),
            (Some(state), Some(why)) => Err(format!("{state}: {why}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namesake_is_another_member() {
        let names = |tcp: &str| MemberNames { tcp: tcp.into(), ..MemberNames::default() };
        let member = Membership::new(1, names("a:1"));
        let named = || member.moved().address;
        member.set_active(ActiveMember { epoch: 1, names: names("b:1") });
        assert_eq!(named(), "b:1");
        member.set_active(ActiveMember { epoch: 2, names: names("a:1") });
        assert_eq!(named(), "");
    }

    #[test]
    fn an_active_without_a_lease_for_a_claim_is_cut_off() {
        let ms = Duration::from_millis;
        let member = Membership::new(1, MemberNames::default()).with_claim(ms(3000));
        assert!(member.is_cut_off(ms(9000)), "a standby without a look");
        member.set_fresh_at(ms(6001));
        assert!(!member.is_cut_off(ms(9000)) && member.is_cut_off(ms(9001)));
        member.set_role(MemberRole::Active);
        member.lease(ms(2000));
        assert!(!member.is_cut_off(ms(4999)));
        assert!(member.is_cut_off(ms(5000)));
        member.lease(ms(2500));
        assert!(!member.is_cut_off(ms(5000)));
    }

    #[test]
    fn a_standby_serves_reads_that_may_be_as_old_as_its_state() {
        let ms = Duration::from_millis;
        let member = Membership::new(1, MemberNames::default()).with_claim(ms(3000));
        let may = |now, kind, stale: Option<u64>| {
            member.turned_away(ms(now), kind, stale.map(ms)).is_none()
        };
        assert!(!may(100, Kind::List, Some(1000)) && !may(100, Kind::Export, None), "no look");
        member.set_fresh_at(ms(100));
        assert!(may(199, Kind::List, Some(100)) && !may(200, Kind::List, Some(100)));
        assert!(!may(100, Kind::List, None) && !may(100, Kind::Touch, Some(1000)));
        assert!(may(3099, Kind::Export, None) && !may(3100, Kind::Watch, None));
        assert!(may(9000, Kind::Snapshot, None) && may(9000, Kind::Cluster, None));
        assert_eq!(member.lets_in(ms(150), Some(ms(100))), LetsIn::Reads);
        assert_eq!(member.lets_in(ms(150), None), LetsIn::Little);
        member.set_begun();
        assert!(!may(100, Kind::List, Some(1000)), "what its cores hold may not be committed");
        member.set_role(MemberRole::Demoted);
        assert!(!may(100, Kind::List, Some(1000)) && may(100, Kind::Cluster, None));
    }

    #[test]
    fn a_full_engine_gets_no_writes() {
        let space = EngineSpace::default();
        let member = Membership::new(1, MemberNames::default()).with_space(space.clone());
        let code = || member.refusal().map(|error| error.code);
        assert_eq!(code(), Some(ErrorCode::Moved));
        member.set_role(MemberRole::Active);
        assert_eq!(code(), None);
        space.set(Some(1 << 30), true);
        assert_eq!(code(), Some(ErrorCode::Busy));
        space.set(Some(1 << 20), false);
        assert_eq!(code(), None);
    }
}
