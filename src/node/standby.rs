//! A standby as values: what it asks the engine, which entries it accepts, and when it may claim.
//!
//! It reads what is there, then follows, and looks at the tail all the time. A look shows entries
//! that a follow has not brought, and how long the active is silent.
//!
//! ```text
//!            behind                          a look shows entries for a second time
//!   reading -----------> reading    following ---------------------------------------> reading
//!      |   nothing more                ^  |  the follow ends, or leaves entries out
//!      +-------------------------------+  +-------------------------------------------> reading
//! ```
//!
//! # Invariants
//! - There is no clock and no thread: times are arguments, on a clock that runs on in suspend.
//! - A standby may claim only when it has accepted everything up to the tail, as the newest look
//!   showed it, and either the newest entry is a release or the active was silent for `claim`. Only
//!   silence counts that the standby saw itself. A release that names another member, or that this
//!   process wrote in a handover, counts as any entry. A standby that should be the last one waits
//!   for several such silences, and longer behind a release too, unless that names it.
//! - An engine whose end is below what was accepted, or below what this node had before, ends the
//!   standby. So do a gap, and an entry of a newer program.
//! - An entry that no endpoint has whole is asked of other members. If none of them has it, the
//!   standby ends.

use std::time::Duration;

use bytes::Bytes;
use snapshot::{Lsn, Planted, is_planted};

use super::journal_figures::{EntryFault, EntrySource};
use crate::journal::base::JournalBase;
use crate::journal::engine::{Condition, EngineProfile, EngineReply, EngineRequest, StoredEntry};
use crate::journal::entry::{ControlBody, EntryKind};
use crate::journal::names::ActiveMember;
use crate::journal::quiet::QuietTime;
use crate::journal::reader::{AcceptedEntry, Content, JournalFault, JournalReader, Verdict};
use crate::limits::JOURNAL_READ_ENTRIES;

/// Looks at the tail in the time after which a standby may claim, unless a test sets another
/// number.
const LOOKS_A_CLAIM: u32 = 20;

/// So many times the usual silence passes before a member claims that should be the last one, and
/// behind a release.
const CLAIMS_OF_LAST: u32 = 4;
const CLAIMS_OF_LAST_RELEASED: u32 = 2;

/// Why a standby cannot continue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StandbyEnd {
    /// The engine does not keep its contract, or damage is on all of its endpoints.
    #[error("{0}")]
    Broken(#[from] JournalFault),
    /// The journal has an entry of a newer program.
    #[error("{0}")]
    Newer(JournalFault),
    /// What this node needs next is trimmed.
    #[error("the journal begins behind LSN {have}, which is the last that this node has")]
    Trimmed {
        /// The last record of this node.
        have: Lsn,
    },
    /// The journal ends before records that this node has.
    #[error(
        "the journal ends with entry {seq} and LSN {ends}, and this node has LSN {have}: the engine \
         lost its end"
    )]
    LostEnd {
        /// The last entry of the journal.
        seq: u64,
        /// The last record of the journal.
        ends: Lsn,
        /// The last record of this node.
        have: Lsn,
    },
}

/// A request that waits for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asked {
    id: u64,
    at: Duration,
}

/// A read of entries, and the endpoint that it asks; `None` leaves the choice to the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Reading {
    asked: Option<Asked>,
    endpoint: Option<u16>,
}

/// One member that is not the active.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Standby {
    profile: EngineProfile,
    reader: JournalReader,
    /// The last record that this node had when it began.
    have: Lsn,
    quiet: QuietTime,
    /// Time between two looks at the tail.
    look_pause: Duration,
    /// Silence of the active after which this member claims.
    claim_after: Duration,
    next_request: u64,
    reading: Option<Reading>,
    /// The id of the follow, if there is one.
    following: Option<u64>,
    /// A look, and the seq that was accepted when it was sent: a follow may overtake the reply.
    look: Option<(Asked, u64)>,
    looked: Option<Duration>,
    /// The tail as the newest look showed it.
    tail: Option<u64>,
    /// The name of this member.
    member: String,
    /// The epoch of the stint that this process has handed over last.
    handed_over: Option<u64>,
    /// Whether any other member should be the active rather than this one.
    is_last: bool,
    /// Whom the newest accepted entry names, if it is a release.
    released_to: Option<String>,
    /// The active that the base names, until the owner takes it.
    base_active: Option<ActiveMember>,
    /// The entry that is due, if no endpoint has it whole. Nothing is read before another member
    /// gives it.
    lacking: Option<JournalFault>,
    /// What was wrong with the entry that is due, if an endpoint did not have it whole.
    fault: Option<EntryFault>,
    /// Faults of entries, and where the whole ones came from, until the owner takes them.
    found: Vec<(EntryFault, EntrySource)>,
    end: Option<StandbyEnd>,
}

impl Standby {
    /// A standby that has the records up to `have`, and begins to read behind `reader`. `jitter` is
    /// a random time, so that two standbys seldom claim at once.
    #[must_use]
    pub fn new(reader: JournalReader, profile: EngineProfile, have: Lsn, jitter: Duration) -> Self {
        Self {
            profile,
            have,
            quiet: QuietTime::new(2 * profile.times.claim / LOOKS_A_CLAIM),
            look_pause: profile.times.claim / LOOKS_A_CLAIM,
            claim_after: profile.times.claim.saturating_add(jitter),
            next_request: 1,
            reading: Some(Reading { asked: None, endpoint: None }),
            following: None,
            look: None,
            looked: None,
            tail: None,
            member: String::new(),
            handed_over: None,
            is_last: false,
            released_to: None,
            base_active: None,
            lacking: None,
            fault: None,
            found: Vec::new(),
            end: None,
            reader,
        }
    }

    /// The standby of this name, in a process that has handed over the stint of epoch
    /// `handed_over` last.
    #[must_use]
    pub fn of_member(self, member: String, handed_over: Option<u64>) -> Self {
        Self { member, handed_over, ..self }
    }

    /// Says whether any other member should be the active rather than this one.
    pub fn set_last(&mut self, is_last: bool) {
        self.is_last = is_last && !is_planted(Planted::BadDiskClaims);
    }

    /// Lets it look so often in the time of a claim: seldom, so that a search over all orders of
    /// events ends.
    #[cfg(feature = "internals")]
    #[must_use]
    pub fn with_looks(mut self, looks: u32) -> Self {
        self.look_pause = self.profile.times.claim / looks;
        self.quiet = QuietTime::new(2 * self.look_pause);
        self
    }

    /// What it has read so far.
    #[must_use]
    pub fn reader(&self) -> &JournalReader {
        &self.reader
    }

    /// The active that the base names, once behind each beginning at a base: its claim may be
    /// trimmed.
    pub fn take_base_active(&mut self) -> Option<ActiveMember> {
        self.base_active.take()
    }

    /// Why it cannot continue, if so.
    #[must_use]
    pub fn end(&self) -> Option<&StandbyEnd> {
        self.end.as_ref()
    }

    /// Returns a request to send now, with its id; `None` if there is none before the next reply or
    /// [`Standby::next_poll`].
    pub fn poll(&mut self, now: Duration) -> Option<(u64, EngineRequest)> {
        if self.end.is_some() {
            return None;
        }
        let retry = self.profile.retry;
        let is_due =
            |asked: Option<Asked>| asked.is_none_or(|asked| now.saturating_sub(asked.at) >= retry);
        let from = self.reader.next_seq();
        let reading = self.reading.filter(|_| self.lacking.is_none());
        if let Some(Reading { endpoint, .. }) = reading.filter(|reading| is_due(reading.asked)) {
            let asked = self.asked(now);
            self.reading = Some(Reading { asked: Some(asked), endpoint });
            return Some((
                asked.id,
                EngineRequest::Read { from, max: JOURNAL_READ_ENTRIES, endpoint },
            ));
        }
        if self.reading.is_none() && self.following.is_none() {
            let asked = self.asked(now);
            self.following = Some(asked.id);
            return Some((asked.id, EngineRequest::Follow { from }));
        }
        if now >= self.next_look() && is_due(self.look.map(|(asked, _)| asked)) {
            let asked = self.asked(now);
            self.look = Some((asked, self.reader.place().seq));
            self.looked = Some(now);
            return Some((asked.id, EngineRequest::Tail));
        }
        None
    }

    fn asked(&mut self, at: Duration) -> Asked {
        let id = self.next_request;
        self.next_request = id.saturating_add(1);
        Asked { id, at }
    }

    fn next_look(&self) -> Duration {
        self.looked.map_or(Duration::ZERO, |looked| looked.saturating_add(self.look_pause))
    }

    /// When [`Standby::poll`] has something to send if no reply comes before.
    #[must_use]
    pub fn next_poll(&self) -> Duration {
        let retried = |asked: Asked| asked.at.saturating_add(self.profile.retry);
        let look = self.look.map_or(Duration::ZERO, |(asked, _)| retried(asked));
        let look = look.max(self.next_look());
        match self.reading {
            _ if self.lacking.is_some() => look,
            Some(Reading { asked, .. }) => asked.map_or(Duration::ZERO, retried).min(look),
            None if self.following.is_none() => Duration::ZERO,
            None => look,
        }
    }

    /// Takes the reply to request `id`, which may come late, twice or never. Returns the entries
    /// that are accepted now, in order.
    pub fn on_reply(&mut self, now: Duration, id: u64, reply: EngineReply) -> Vec<AcceptedEntry> {
        let is_read =
            self.reading.and_then(|reading| reading.asked).is_some_and(|asked| asked.id == id);
        let is_follow = self.following == Some(id);
        match reply {
            EngineReply::Tail { seq } => {
                if let Some((_, accepted)) = self.look.take_if(|(asked, _)| asked.id == id) {
                    self.looked_at(now, seq, accepted);
                }
            }
            EngineReply::Entries(entries) if is_read || is_follow => {
                let accepted = match is_read {
                    true => self.take_read(&entries),
                    false => self.take_followed(&entries),
                };
                if accepted.first().is_some_and(|entry| self.is_origin_ahead(entry)) {
                    self.end = Some(StandbyEnd::Trimmed { have: self.have });
                    return Vec::new();
                }
                if !accepted.is_empty() {
                    // Another standby may have claimed: its silence begins now.
                    self.quiet.looked(now, true);
                }
                return accepted;
            }
            EngineReply::Gone { base } if is_read => self.begin_at(&base),
            EngineReply::Gone { .. } | EngineReply::FollowEnded if is_follow => self.read_again(),
            EngineReply::Unknown if is_follow => self.read_again(),
            // The others are asked again after a while.
            _ => {}
        }
        Vec::new()
    }

    /// Whether this is a genesis behind records that this node lacks: another member has them.
    fn is_origin_ahead(&self, first: &AcceptedEntry) -> bool {
        first.header.kind == EntryKind::Genesis && first.header.first > self.have.next()
    }

    fn read_again(&mut self) {
        self.following = None;
        self.reading.get_or_insert(Reading { asked: None, endpoint: None });
    }

    /// Notes a look that was sent when `accepted` was the last accepted seq.
    fn looked_at(&mut self, now: Duration, seq: u64, accepted: u64) {
        if let Some(fault) = self.reader.lost_end(seq).filter(|_| seq < accepted) {
            self.end_in_gap(fault.into());
            return;
        }
        let has_lagged = self.tail.is_some_and(|before| before >= self.reader.next_seq());
        // Against the look before: a read or a follow may have brought the entry already.
        self.quiet.looked(now, self.tail.is_none_or(|before| seq > before));
        self.tail = Some(seq);
        if has_lagged {
            self.reading.get_or_insert(Reading { asked: None, endpoint: None });
        }
        let ends = self.reader.committed();
        if self.has_all() && ends < self.have {
            let seq = self.reader.place().seq;
            self.end_in_gap(StandbyEnd::LostEnd { seq, ends, have: self.have });
        }
    }

    /// Whether everything up to the tail is accepted, as the newest look showed it.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.tail.is_some_and(|tail| tail < self.reader.next_seq() && tail > 0)
    }

    /// How long the active has appended nothing, as far as this member can know.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.quiet.quiet()
    }

    /// Whether a claim behind what was read may be appended now.
    #[must_use]
    pub fn may_claim(&self) -> bool {
        self.may_claim_within(Duration::ZERO)
    }

    /// Whether such a claim is due within `early`, if nothing happens before.
    #[must_use]
    pub fn may_claim_within(&self, early: Duration) -> bool {
        let claims = match self.is_last {
            true if self.reader.is_released() => CLAIMS_OF_LAST_RELEASED,
            true => CLAIMS_OF_LAST,
            false => 1,
        };
        let silence = self.claim_after.saturating_mul(claims);
        let is_silent = self.quiet.quiet().saturating_add(early) >= silence
            || is_planted(Planted::ClaimWithoutWait) && self.tail.is_some();
        self.end.is_none() && self.has_all() && (is_silent || self.is_invited())
    }

    /// Whether the newest entry is a release behind which this member claims at once.
    fn is_invited(&self) -> bool {
        let is_for_it = match &self.released_to {
            Some(to) => *to == self.member,
            None => !self.is_last && self.handed_over != Some(self.reader.place().epoch),
        };
        self.reader.is_released() && is_for_it
    }

    /// The seq of the entry that no endpoint has whole, if there is one.
    #[must_use]
    pub fn lacks(&self) -> Option<u64> {
        self.lacking.as_ref().map(|fault| fault.seq)
    }

    /// Faults of entries that are decided, once each.
    pub fn take_found(&mut self) -> Vec<(EntryFault, EntrySource)> {
        std::mem::take(&mut self.found)
    }

    /// The entry that is due is accepted, or nobody has it.
    fn decide(&mut self, source: EntrySource) {
        self.found.extend(self.fault.take().map(|fault| (fault, source)));
    }

    /// Ends behind an entry that is missing.
    fn end_in_gap(&mut self, end: StandbyEnd) {
        self.fault = Some(EntryFault::Missing);
        self.decide(EntrySource::Nobody);
        self.end = Some(end);
    }

    /// Takes what other members gave for the entry that [`Standby::lacks`] names. Returns it if it
    /// is accepted.
    pub fn repair(&mut self, given: &[Bytes]) -> Option<AcceptedEntry> {
        let fault = self.lacking.take()?;
        self.reading = Some(Reading { asked: None, endpoint: None });
        for bytes in given {
            match self.reader.accept(fault.seq, bytes) {
                Verdict::Accepted(entry) => {
                    self.decide(EntrySource::Member);
                    self.note(&entry);
                    return Some(*entry);
                }
                Verdict::Void | Verdict::Repeated => return None,
                Verdict::Damaged(_) | Verdict::Gap(_) | Verdict::Newer(_) => {}
            }
        }
        self.decide(EntrySource::Nobody);
        self.end = Some(StandbyEnd::Broken(fault));
        None
    }

    /// Notes an entry that the reader has accepted.
    fn note(&mut self, entry: &AcceptedEntry) {
        self.lacking = None;
        self.decide(EntrySource::Engine);
        self.released_to = match &entry.content {
            Content::Control(ControlBody::Release(to)) => to.clone(),
            Content::Control(_) | Content::Records(_) | Content::Part => None,
        };
    }

    fn take_read(&mut self, entries: &[StoredEntry]) -> Vec<AcceptedEntry> {
        let endpoint = self.reading.and_then(|reading| reading.endpoint);
        let mut accepted = Vec::new();
        for StoredEntry { seq, bytes } in entries {
            if *seq > self.reader.next_seq() {
                let what = format!("the engine has entry {seq} in its place");
                let fault = self.reader.fault(what);
                self.lacks_whole(endpoint, EntryFault::Missing, fault);
                return accepted;
            }
            match self.reader.accept(*seq, bytes) {
                Verdict::Accepted(entry) => {
                    self.note(&entry);
                    accepted.push(*entry);
                }
                Verdict::Void | Verdict::Repeated => {}
                Verdict::Damaged(fault) => {
                    self.lacks_whole(endpoint, EntryFault::Damaged, fault);
                    return accepted;
                }
                Verdict::Gap(fault) => {
                    self.end_in_gap(StandbyEnd::Broken(fault));
                    return accepted;
                }
                Verdict::Newer(fault) => {
                    self.end = Some(StandbyEnd::Newer(fault));
                    return accepted;
                }
            }
        }
        self.reading = match entries.is_empty() {
            true => None,
            false => Some(Reading { asked: None, endpoint: None }),
        };
        accepted
    }

    /// Reads the same seq from the next endpoint. Returns whether there is one.
    fn ask_elsewhere(&mut self, endpoint: Option<u16>) -> bool {
        let next = endpoint.map_or(0, |asked| asked.saturating_add(1));
        let is_left = next < self.profile.endpoints;
        if is_left {
            self.reading = Some(Reading { asked: None, endpoint: Some(next) });
        }
        is_left
    }

    /// An endpoint does not have the due entry whole.
    fn lacks_whole(&mut self, endpoint: Option<u16>, what: EntryFault, fault: JournalFault) {
        self.fault.get_or_insert(what);
        if !self.ask_elsewhere(endpoint) {
            self.lacking = Some(fault);
        }
    }

    /// A follow may lag, repeat and leave out. What it brings in order is accepted; the rest is
    /// read.
    fn take_followed(&mut self, entries: &[StoredEntry]) -> Vec<AcceptedEntry> {
        let mut accepted = Vec::new();
        for StoredEntry { seq, bytes } in entries {
            if *seq < self.reader.next_seq() {
                continue;
            }
            let is_next = *seq == self.reader.next_seq();
            match is_next.then(|| self.reader.accept(*seq, bytes)) {
                Some(Verdict::Accepted(entry)) => {
                    self.note(&entry);
                    accepted.push(*entry);
                }
                Some(Verdict::Void | Verdict::Repeated) => {}
                // A read judges what a follow brought wrongly.
                verdict => {
                    if matches!(verdict, Some(Verdict::Damaged(_))) {
                        self.fault.get_or_insert(EntryFault::Damaged);
                    }
                    self.reading.get_or_insert(Reading { asked: None, endpoint: None });
                    return accepted;
                }
            }
        }
        accepted
    }

    /// Continues at the base of a trim, if no record is between it and what this node has.
    fn begin_at(&mut self, base: &[u8]) {
        let (journal, condition): (u64, Condition) =
            (self.reader.journal(), self.reader.condition());
        let have = self.have.max(self.reader.committed());
        let endpoint = self.reading.and_then(|reading| reading.endpoint);
        match JournalBase::decode(base, journal) {
            Some(base) if base.place.seq < self.reader.place().seq => {}
            Some(base) if base.place.format > self.reader.reads() => {
                self.end = Some(StandbyEnd::Newer(self.reader.newer(base.place.format)));
            }
            Some(JournalBase { place, active }) if place.next_lsn <= have.next() => {
                let reads = self.reader.reads();
                self.reader = JournalReader::begin(journal, condition, place).reading(reads);
                self.reading = Some(Reading { asked: None, endpoint: None });
                self.base_active = Some(active);
            }
            Some(_) => self.end = Some(StandbyEnd::Trimmed { have }),
            None if self.ask_elsewhere(endpoint) => {}
            None => self.end = Some(self.reader.fault("the base is damaged").into()),
        }
    }
}
