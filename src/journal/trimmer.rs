//! The trims of one stint: it asks what is trimmed already, and then trims what may go.
//!
//! ```text
//!   unasked --- a read of entry 2 ---> asked ---> idle <---- trimmed, refused ----+
//!                                                  |                             |
//!                                                  +--- a trim that is due ---> trimming
//! ```
//!
//! # Invariants
//! - At most one request is under way. It is sent again unchanged until there is a reply.
//! - A refused trim was done before, by this member or another one, or this one was replaced: then
//!   nothing depends on it any more.

use std::time::Duration;

use snapshot::Lsn;

use super::base::JournalBase;
use super::engine::{EngineReply, EngineRequest};
use super::kept::{KeptEntries, TrimDecision, TrimLimits};
use super::names::ActiveMember;
use super::place::JournalPlace;

/// Time after which a request without a word is sent again: a trim is several calls of an engine.
const RETRY: Duration = Duration::from_secs(10);
/// Time after which a request that the engine did not understand is sent again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is decided anew.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Pauses between trims in the time for which entries are kept.
const TRIMS_A_KEEP_TIME: u32 = 120;

/// The trims of one active.
#[derive(Debug)]
pub struct Trimmer {
    journal: u64,
    active: ActiveMember,
    limits: TrimLimits,
    kept: KeptEntries,
    /// Whether it is known what an earlier active has trimmed.
    is_asked: bool,
    under_way: Option<UnderWay>,
    next_request: u64,
    /// When it is decided again.
    look_at: Duration,
    trimmed_at: Option<Duration>,
    decision: TrimDecision,
}

#[derive(Debug)]
struct UnderWay {
    id: u64,
    again_at: Duration,
    /// Where the trim ends; `None` for the question.
    upto: Option<JournalPlace>,
}

impl Trimmer {
    /// The trims of `active`, which knows `kept` of the journal with id `journal`.
    #[must_use]
    pub fn new(journal: u64, active: ActiveMember, limits: TrimLimits, kept: KeptEntries) -> Self {
        Self {
            journal,
            active,
            limits,
            kept,
            is_asked: false,
            under_way: None,
            next_request: 1,
            look_at: Duration::ZERO,
            trimmed_at: None,
            decision: TrimDecision::default(),
        }
    }

    /// What the engine keeps, as far as this active knows.
    #[must_use]
    pub fn kept(&self) -> &KeptEntries {
        &self.kept
    }

    /// Notes the place behind the newest entry, as [`KeptEntries::note`].
    pub fn note(&mut self, now: Duration, place: JournalPlace, bytes: u64) {
        self.kept.note(now, place, bytes);
    }

    /// Whether writes must be refused, because too few copies allow no trim.
    #[must_use]
    pub fn is_refusing(&self) -> bool {
        self.decision.is_refusing
    }

    /// Whether [`Trimmer::poll`] decides anew, and not only repeats what is under way.
    #[must_use]
    pub fn is_due(&self, now: Duration) -> bool {
        now >= self.look_at
    }

    /// Returns a request to send now, with its id. `own` is durable on this node, and `others` on
    /// the standbys that report.
    pub fn poll(
        &mut self,
        now: Duration,
        own: Lsn,
        others: &[Lsn],
    ) -> Option<(u64, EngineRequest)> {
        self.look_at = now.saturating_add(LOOK_INTERVAL);
        if self.is_asked {
            self.decision = self.kept.decide(now, &self.limits, own, others);
        }
        let upto = match &self.under_way {
            Some(under_way) if now < under_way.again_at => return None,
            Some(under_way) => under_way.upto,
            None if !self.is_asked => None,
            None => Some(self.decision.upto.filter(|_| self.may_trim(now))?),
        };
        let request = match upto {
            None => EngineRequest::Read { from: 2, max: 1, endpoint: None },
            Some(place) => self.trim(place)?,
        };
        let id = self.next_request;
        self.next_request = id.saturating_add(1);
        self.under_way = Some(UnderWay { id, again_at: now.saturating_add(RETRY), upto });
        Some((id, request))
    }

    /// Over the maximum a trim does not wait.
    fn may_trim(&self, now: Duration) -> bool {
        let pause = self.limits.keep_time / TRIMS_A_KEEP_TIME;
        self.kept.retained_bytes() > self.limits.bytes_max
            || self.trimmed_at.is_none_or(|before| now.saturating_sub(before) >= pause)
    }

    fn trim(&self, place: JournalPlace) -> Option<EngineRequest> {
        let base = JournalBase { place, active: self.active.clone() };
        // Cannot fail: the claim had the same names.
        let base = base.encode(self.journal).ok()?;
        Some(EngineRequest::Trim { epoch: self.active.epoch, upto: place.seq, base })
    }

    /// Takes the reply to request `id`, which may come late, twice or never. Returns the place up to
    /// which the journal is trimmed now.
    pub fn on_reply(
        &mut self,
        now: Duration,
        id: u64,
        reply: &EngineReply,
    ) -> Option<JournalPlace> {
        let UnderWay { upto, again_at, .. } =
            self.under_way.as_mut().filter(|under_way| under_way.id == id)?;
        match (reply, *upto) {
            (EngineReply::Trimmed | EngineReply::TrimRefused, Some(place)) => {
                self.under_way = None;
                self.trimmed_at = Some(now);
                self.look_at = now;
                self.kept.trimmed(&place);
                (*reply == EngineReply::Trimmed).then_some(place)
            }
            (EngineReply::Gone { base }, None) => {
                // A damaged base only lets the active count too much.
                if let Some(base) = JournalBase::decode(base, self.journal) {
                    self.kept.trimmed(&base.place);
                }
                (self.under_way, self.is_asked) = (None, true);
                None
            }
            (EngineReply::Entries(_), None) => {
                (self.under_way, self.is_asked) = (None, true);
                None
            }
            _ => {
                *again_at = now.saturating_add(PAUSE);
                None
            }
        }
    }
}
