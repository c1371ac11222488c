//! What other members must say before a standby claims.
//!
//! The thread of a member begins a round shortly before the silence of the active is over. A task of
//! the server asks every member that is known, and brings the answers. A member that has accepted
//! more than the engine shows forbids the claim: the engine lost entries, or an older state of it was
//! restored. So do members that live and cannot be asked, unless another one answers.
//!
//! ```text
//!   member's thread -- look --> ClaimCheck <-- round, answer, complete -- task of the server
//! ```
//!
//! # Invariants
//! - There is no clock: times are arguments, on a clock that runs on in suspend.
//! - A round is over when all have answered or failed, or after its patience. A member that does not
//!   reply delays a claim by no more.
//! - What another member said counts until the engine shows it, whether that member still replies or
//!   not. The identity file keeps it over a restart of this member.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use snapshot::{Lsn, Planted, is_planted};
use tokio::sync::Notify;

use crate::command::cluster::ClusterReply;
use crate::journal::reach::JournalReach;

/// What a member calls itself, for what it accepted before its restart.
pub(super) const BEFORE_RESTART: &str = "this member, before its restart,";
/// A round is asked again after so many times its patience.
const ROUND_LASTS: u32 = 4;

/// Whether a claim may be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimVerdict {
    /// The round is not over.
    Pending,
    /// No member that replied has accepted more than the engine shows.
    Allowed,
    /// It must not be appended.
    Forbidden(ClaimObstacle),
}

/// What forbids a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimObstacle {
    /// A member has accepted more than the engine shows.
    Lost(LostEntries),
    /// A member lives and does not let this one ask, and no other one has answered.
    Unheard {
        /// Who it is.
        member: String,
        /// What hinders the question.
        why: String,
    },
}

impl fmt::Display for ClaimObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(lost) => lost.fmt(f),
            Self::Unheard { member, why } => write!(
                f,
                "does not claim: it cannot ask {member} how far it has come, and no other member \
                 has answered: {why}"
            ),
        }
    }
}

/// What the engine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostEntries {
    /// Who has accepted it.
    pub member: String,
    /// How far that member has come.
    pub accepted: JournalReach,
    /// How far the engine shows the journal.
    pub shown: JournalReach,
}

impl fmt::Display for LostEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, accepted, shown } = self;
        write!(
            f,
            "does not claim: {member} has accepted entry {} with epoch {} and LSN {}, and the \
             engine ends with entry {} with epoch {} and LSN {}. The engine lost entries, or an \
             older state of it was restored",
            accepted.seq, accepted.epoch, accepted.lsn, shown.seq, shown.epoch, shown.lsn
        )
    }
}

/// How far the member at `address` has come, by its reply. A member of an older version does not
/// report a seq; it counts as 0.
pub fn reach_of(reply: &ClusterReply, address: &str) -> JournalReach {
    let itself = reply.members.iter().find(|member| member.address == address);
    let lsn = itself.and_then(|itself| itself.lsn).unwrap_or(0);
    JournalReach { seq: reply.seq.unwrap_or(0), epoch: reply.epoch, lsn: Lsn(lsn) }
}

/// The question to other members, and what they said.
#[derive(Debug, Default)]
pub struct ClaimCheck {
    state: Mutex<CheckState>,
    begun: Notify,
}

#[derive(Debug, Default)]
struct CheckState {
    /// What this member has accepted.
    own: JournalReach,
    /// The most that anybody has accepted, if it exceeds what this member has, and who.
    ahead: Option<(String, JournalReach)>,
    /// The newest round, also after it is over.
    round: ClaimRound,
    /// Whether a member has answered in the newest round.
    has_answer: bool,
    /// A member that lives and cannot be asked, and why, as of the newest round.
    unheard: Option<(String, String)>,
    /// What forbids the claim that is due.
    forbidding: Option<ClaimObstacle>,
}

/// One question to all other members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClaimRound {
    /// Its number in this life of the member; 0 before the first one.
    pub number: u64,
    /// Whether the active has released the journal. Then it is not asked: its newest entry is here.
    pub is_released: bool,
    /// `None` once it no longer counts.
    began: Option<Duration>,
    is_complete: bool,
}

impl CheckState {
    fn forbid(&mut self, obstacle: ClaimObstacle) -> ClaimVerdict {
        self.forbidding = Some(obstacle.clone());
        ClaimVerdict::Forbidden(obstacle)
    }
}

impl ClaimCheck {
    fn lock(&self) -> MutexGuard<'_, CheckState> {
        // No code that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what this member has accepted. What was ahead of it may not be any more.
    pub(super) fn accepted(&self, own: JournalReach) {
        let mut state = self.lock();
        if state.own != own {
            state.own = own;
            // The active is not silent.
            state.round.began = None;
            state.forbidding = None;
            if state.ahead.as_ref().is_some_and(|(_, ahead)| !ahead.exceeds(&own)) {
                state.ahead = None;
            }
        }
    }

    /// Says whether a claim may be appended, and begins a round if none is under way.
    pub(super) fn look(
        &self,
        now: Duration,
        patience: Duration,
        is_released: bool,
    ) -> ClaimVerdict {
        if is_planted(Planted::ClaimWithoutAsking) {
            return ClaimVerdict::Allowed;
        }
        let mut state = self.lock();
        if let Some((member, accepted)) = state.ahead.clone() {
            let lost = LostEntries { member, accepted, shown: state.own };
            return state.forbid(ClaimObstacle::Lost(lost));
        }
        let lasts = patience.saturating_mul(ROUND_LASTS);
        let waited = state.round.began.map(|began| now.saturating_sub(began));
        match waited {
            Some(waited) if waited < lasts => {
                if !state.round.is_complete && waited < patience {
                    return ClaimVerdict::Pending;
                }
                if let Some((member, why)) = state.unheard.clone().filter(|_| !state.has_answer) {
                    return state.forbid(ClaimObstacle::Unheard { member, why });
                }
                state.forbidding = None;
                ClaimVerdict::Allowed
            }
            _ => {
                let (number, began) = (state.round.number + 1, Some(now));
                state.round = ClaimRound { number, is_released, began, is_complete: false };
                (state.has_answer, state.unheard) = (false, None);
                drop(state);
                self.begun.notify_one();
                ClaimVerdict::Pending
            }
        }
    }

    /// The round that waits for answers, if there is one.
    pub fn under_way(&self) -> Option<ClaimRound> {
        Some(self.lock().round).filter(|round| round.began.is_some() && !round.is_complete)
    }

    /// Waits until a round begins.
    pub async fn begun(&self) {
        self.begun.notified().await;
    }

    /// Takes what a member has accepted.
    pub fn answered(&self, member: &str, reach: JournalReach) {
        let mut state = self.lock();
        state.has_answer = true;
        if !reach.exceeds(&state.own) {
            return;
        }
        let (member, reach) = match state.ahead.take() {
            Some((before, ahead)) if !reach.exceeds(&ahead) => (before, ahead),
            Some((_, ahead)) => (member.to_owned(), reach.joined(ahead)),
            None => (member.to_owned(), reach),
        };
        state.ahead = Some((member, reach));
    }

    /// Notes that a member lives and does not let this one ask.
    pub fn refused(&self, member: &str, why: &str) {
        self.lock().unheard = Some((member.to_owned(), why.to_owned()));
    }

    /// Ends the round of this number: every member has answered, or cannot be asked.
    pub fn complete(&self, number: u64) {
        let round = &mut self.lock().round;
        round.is_complete |= round.number == number;
    }

    /// Another member that has accepted more than this one.
    pub(super) fn ahead(&self) -> Option<String> {
        let ahead = self.lock().ahead.as_ref().map(|(member, _)| member.clone());
        ahead.filter(|member| member != BEFORE_RESTART)
    }

    /// The furthest point of the journal that this member has accepted, or of which another member
    /// has said that it accepted it.
    pub fn reach(&self) -> JournalReach {
        let state = self.lock();
        state.ahead.as_ref().map_or(state.own, |(_, ahead)| state.own.joined(*ahead))
    }

    /// What forbids a claim that is due.
    pub fn forbidding(&self) -> Option<ClaimObstacle> {
        self.lock().forbidding.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const PATIENCE: Duration = Duration::from_millis(500);

    fn reach(seq: u64, epoch: u64, lsn: u64) -> JournalReach {
        JournalReach { seq, epoch, lsn: Lsn(lsn) }
    }

    fn began() -> ClaimCheck {
        let check = ClaimCheck::default();
        check.accepted(reach(10, 2, 30));
        assert_eq!(check.look(MS, PATIENCE, false), ClaimVerdict::Pending);
        check
    }

    #[test]
    fn a_claim_waits_for_answers_but_not_for_long() {
        let check = began();
        let number = check.under_way().unwrap().number;
        check.answered("m2", reach(10, 2, 30));
        assert_eq!(check.look(PATIENCE, PATIENCE, false), ClaimVerdict::Pending);
        assert_eq!(check.look(PATIENCE + MS, PATIENCE, false), ClaimVerdict::Allowed);
        check.complete(number);
        assert_eq!(check.look(2 * MS, PATIENCE, false), ClaimVerdict::Allowed);
        assert_eq!(check.under_way(), None);
        assert_eq!(
            check.look(5 * PATIENCE, PATIENCE, false),
            ClaimVerdict::Pending,
            "it is asked anew"
        );
        check.complete(number);
        assert_eq!(
            check.look(5 * PATIENCE, PATIENCE, false),
            ClaimVerdict::Pending,
            "of another round"
        );
    }

    #[test]
    fn a_higher_answer_forbids_until_the_engine_shows_it() {
        for more in [reach(11, 2, 30), reach(10, 3, 30), reach(10, 2, 31)] {
            let check = began();
            check.answered("m2", more);
            check.answered("m3", reach(10, 2, 30));
            check.complete(check.under_way().unwrap().number);
            let verdict = check.look(2 * MS, PATIENCE, false);
            let ClaimVerdict::Forbidden(ClaimObstacle::Lost(lost)) = verdict else { panic!() };
            assert_eq!((lost.member.as_str(), lost.accepted), ("m2", more));
            let lost = Some(ClaimObstacle::Lost(lost));
            assert_eq!((check.reach(), check.forbidding()), (more, lost));
            check.accepted(reach(11, 2, 31).joined(more));
            assert_eq!(check.forbidding(), None);
            assert_eq!(check.look(3 * MS, PATIENCE, false), ClaimVerdict::Pending);
        }
    }

    #[test]
    fn a_member_that_cannot_be_asked_forbids_until_another_one_answers() {
        let check = began();
        check.refused("m2", "the token is wrong");
        check.complete(check.under_way().unwrap().number);
        let verdict = check.look(2 * MS, PATIENCE, false);
        let (member, why) = ("m2".to_owned(), "the token is wrong".to_owned());
        assert_eq!(verdict, ClaimVerdict::Forbidden(ClaimObstacle::Unheard { member, why }));
        assert!(check.forbidding().is_some());
        let later = 5 * PATIENCE;
        assert_eq!(check.look(later, PATIENCE, false), ClaimVerdict::Pending);
        assert!(check.forbidding().is_some(), "until the next round is over");
        check.refused("m2", "the token is wrong");
        check.answered("m3", reach(10, 2, 30));
        check.complete(check.under_way().unwrap().number);
        assert_eq!(check.look(later + MS, PATIENCE, false), ClaimVerdict::Allowed);
        assert_eq!(check.forbidding(), None);
    }

    #[test]
    fn an_entry_of_the_active_ends_a_round() {
        let check = began();
        check.complete(check.under_way().unwrap().number);
        check.accepted(reach(11, 2, 30));
        assert_eq!(check.look(2 * MS, PATIENCE, false), ClaimVerdict::Pending);
    }
}
