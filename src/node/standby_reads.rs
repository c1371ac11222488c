//! What a standby replies to, and how old the state is that it replies from.
//!
//! A look at the tail that was sent at a time and shows a seq proves something: who has applied
//! everything up to that seq has a state at least as new as that time. Without looks, nothing says
//! how far the active is ahead.
//!
//! # Invariants
//! - The state counts as new as the *sending* of a look. Its reply may be late, and the active went
//!   on meanwhile.
//! - A look counts once all cores have applied everything up to the seq that it showed.
//! - A state never becomes older but by time that passes.

use std::collections::VecDeque;
use std::time::Duration;

use snapshot::{Planted, is_planted};

/// Most looks without a reply, and most that show what is not applied yet.
const LOOKS_MAX: usize = 64;

/// How much a node lets in now, of what one connection may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LetsIn {
    /// Everything: the node has no journal, or is the active.
    #[default]
    Everything,
    /// Commands of [`OnStandby::IfAsked`](crate::command::OnStandby::IfAsked) too, and no writes.
    Reads,
    /// Each command has its own condition.
    Little,
}

/// The looks of one standby, and what they say of its state. Times are on its own clock, which runs
/// on in suspend.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    /// Looks without a reply: their ids, and when they were sent.
    sent: VecDeque<(u64, Duration)>,
    /// Looks whose seq is not applied yet: when they were sent, and that seq. Oldest first.
    shown: VecDeque<(Duration, u64)>,
    /// The state is at least as new as this.
    fresh_at: Option<Duration>,
}

impl Freshness {
    /// Notes that a look was sent.
    pub(super) fn sent(&mut self, now: Duration, id: u64) {
        if self.sent.len() == LOOKS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((id, now));
    }

    /// Takes the reply to a look: the newest seq.
    pub(super) fn shown(&mut self, now: Duration, id: u64, seq: u64) {
        let Some(at) = self.sent.iter().position(|(look, _)| *look == id) else { return };
        let Some((_, sent)) = self.sent.remove(at) else { return };
        let proven = if is_planted(Planted::FreshFromReply) { now } else { sent };
        if self.shown.len() == LOOKS_MAX {
            // The oldest ones stay, so that the state of a standby that lags has an age too.
            self.shown.pop_back();
        }
        self.shown.push_back((proven, seq));
    }

    /// Notes that all cores have applied everything up to this seq. Returns the time that the state
    /// is at least as new as; `None` before the first look.
    pub(super) fn applied(&mut self, seq: u64) -> Option<Duration> {
        while let Some((proven, _)) = self.shown.pop_front_if(|(_, shown)| *shown <= seq) {
            self.fresh_at = self.fresh_at.max(Some(proven));
        }
        self.fresh_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Class, Kind, OnStandby};

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_standby_serves_no_write() {
        for kind in Kind::ALL.iter().filter(|kind| kind.class() == Class::Write) {
            assert_eq!(kind.on_standby(), OnStandby::Never, "{}", kind.name());
        }
    }

    #[test]
    fn a_state_is_as_new_as_the_sending_of_a_look_that_it_covers() {
        let mut freshness = Freshness::default();
        freshness.sent(ms(10), 1);
        assert_eq!(freshness.applied(9), None);
        freshness.shown(ms(50), 1, 5);
        assert_eq!(freshness.applied(4), None, "entry 5 is not applied");
        assert_eq!(freshness.applied(5), Some(ms(10)));
        freshness.shown(ms(60), 2, 5);
        assert_eq!(freshness.applied(9), Some(ms(10)), "nobody sent that look");
    }

    #[test]
    fn a_late_reply_does_not_make_the_state_older() {
        let mut freshness = Freshness::default();
        freshness.sent(ms(10), 1);
        freshness.sent(ms(20), 2);
        freshness.shown(ms(30), 2, 7);
        assert_eq!(freshness.applied(7), Some(ms(20)));
        freshness.shown(ms(40), 1, 7);
        assert_eq!(freshness.applied(7), Some(ms(20)));
    }

    #[test]
    fn a_standby_that_lags_for_long_knows_its_age() {
        let mut freshness = Freshness::default();
        for look in 0..1000 {
            freshness.sent(ms(10 * look), look);
            freshness.shown(ms(10 * look + 5), look, 100 + look);
        }
        assert_eq!(freshness.applied(99), None);
        assert_eq!(freshness.applied(101), Some(ms(10)));
        assert_eq!(freshness.applied(2000), Some(ms(9990)));
    }
}
