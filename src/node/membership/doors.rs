//! Whether a door may route a request now, and what a member says that may not.
//!
//! # Invariants
//! - A request is let in only while this node is the active and its lease lasts, or if a standby
//!   may serve it from a state that is new enough. Who has read the request asks, after reading and
//!   before routing: whatever the reply shows was then newest, or not older than was asked for.
//! - A standby serves nothing once its cores may decide: what they decide is not committed yet.
//! - The lease never grows but by an append that counts, and ends with the role.
//! - Parts of what was let in are not asked for again; the journal alone fences writes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{MemberRole, Membership};
use crate::command::error::Moved;
use crate::command::{Error, ErrorCode, Kind, OnStandby};
use crate::journal::names::ActiveMember;
use crate::node::standby_reads::LetsIn;

/// Why an active is not ready.
const HANDING_OVER: &str = "handing over to another node";
const NO_LEASE: &str = "active without a lease: the engine gives no word";

impl Membership {
    /// Gives the active the right to reply until then.
    pub(in crate::node) fn lease(&self, until: Duration) {
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.leased_until.fetch_max(until, Ordering::SeqCst);
    }

    /// Time for which this node may reply as the active.
    pub fn lease_left(&self, now: Duration) -> Duration {
        Duration::from_millis(self.leased_until.load(Ordering::SeqCst)).saturating_sub(now)
    }

    /// Notes that the state which all cores have applied is at least as new as `at`.
    pub(in crate::node) fn set_fresh_at(&self, at: Duration) {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.fresh_at.fetch_max(at, Ordering::SeqCst);
    }

    /// Notes that the cores may decide from now on.
    pub(in crate::node) fn set_begun(&self) {
        self.has_begun.store(true, Ordering::SeqCst);
    }

    /// The append that confirms the reply to a request which was read before; 0 if the reply waits
    /// for none. What a standby replies is no word of an active.
    pub(in crate::node) fn confirmation_due(&self) -> u64 {
        match self.has_begun.load(Ordering::SeqCst) {
            true => self.confirmations.due(),
            false => 0,
        }
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
                let is_careful =
                    self.confirmations.is_on() || self.hands_over.load(Ordering::SeqCst);
                match is_careful || self.lease_left(now).is_zero() {
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
    pub(in crate::node) fn moved_away(&self) -> Error {
        Error::moved(self.moved())
    }

    /// Where clients find the active.
    fn moved(&self) -> Moved {
        let ActiveMember { epoch, names } = self.active();
        let is_other = !names.are_of(&self.names);
        Moved { address: if is_other { names.tcp } else { String::new() }, epoch }
    }

    /// Lets the active refuse writes while too few copies allow no trim.
    pub(in crate::node) fn refuse_for_copies(&self, is_refusing: bool) {
        self.lacks_copies.store(is_refusing, Ordering::Relaxed);
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

    /// Whether the node replies now to reads from a state that is less than `stale` old. Returns the
    /// word for it.
    ///
    /// # Errors
    /// The role and the age of the state, in words.
    pub fn readiness_of_reads(
        &self,
        now: Duration,
        stale: Duration,
    ) -> Result<&'static str, String> {
        let role = self.role();
        if self.turned_away(now, Kind::List, Some(stale)).is_none() {
            return Ok(if role == MemberRole::Active { "ready" } else { "ready: standby" });
        }
        match self.state_age(now) {
            Some(age) => Err(format!("{}: its state is {} ms old", role.name(), age.as_millis())),
            None if role == MemberRole::Active => match self.hands_over(Kind::List) {
                Some(_) => Err(HANDING_OVER.into()),
                None => Err(NO_LEASE.into()),
            },
            None => Err(format!("{}: nobody knows how old its state is", role.name())),
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
                Some(HANDING_OVER)
            }
            Some(_) if role == MemberRole::Active => Some(NO_LEASE),
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
    use crate::journal::client::EngineSpace;
    use crate::journal::names::MemberNames;

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
