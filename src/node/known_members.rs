//! The members of a journal as one of them knows the others.
//!
//! The active hears from each standby, by `report`. A standby keeps what the reply to its own last
//! report said.
//!
//! # Invariants
//! - A report counts by the name of its member: two with one name count as one copy. Before a claim
//!   every address is asked.
//! - Only a report of the last [`ALIVE`] counts for a trim or a handover.
//! - At most [`MEMBERS_MAX`] members are kept; beyond it, the one not heard of for longest goes.
//! - If a member reports from a new address, its old one is forgotten after [`MOVED_AFTER`]. Until
//!   then both count, as two members may have one name by mistake.

use std::collections::BTreeMap;
use std::time::Duration;

use snapshot::Lsn;

use crate::command::Error;
use crate::command::cluster::ClusterMember;
use crate::command::report::Report;
use crate::journal::names::MemberNames;
use crate::throttle::throttled;

/// How long a standby counts as alive after a report.
const ALIVE: Duration = Duration::from_secs(5);
/// Most records that a standby may lack to take over by a handover: it applies them within a fraction
/// of a second.
const HANDOVER_LAG_MAX: u64 = 100_000;
/// How long a member that does not report keeps the journal at a format that it reads.
const FORMAT_COUNTS: Duration = Duration::from_hours(7 * 24);
/// Time after which an address is forgotten, if its member is heard of at another one.
const MOVED_AFTER: Duration = Duration::from_secs(60);
/// Most members that are kept.
const MEMBERS_MAX: usize = 32;

/// What a member knows of the others. Times are of a clock that runs on in suspend.
#[derive(Debug, Default)]
pub(super) struct KnownMembers {
    heard: BTreeMap<String, LastReport>,
    told: Option<Told>,
    /// Every member that this one knows, in the order in which it came to know them.
    noted: Vec<Noted>,
}

#[derive(Debug)]
struct Noted {
    names: MemberNames,
    /// When this process came to know of it.
    since: Duration,
    /// When it was heard of last.
    seen: Duration,
}

#[derive(Debug)]
struct LastReport {
    at: Duration,
    /// Committed records that the standby did not have.
    lag: u64,
    /// When it last had all committed records.
    level_at: Duration,
    report: Report,
}

impl LastReport {
    /// Why this member cannot take over now, if so.
    fn obstacle(&self, now: Duration) -> Option<String> {
        let age = now.saturating_sub(self.at);
        match (self.report.role.as_str(), self.lag) {
            _ if age > ALIVE => Some(format!("it last reported {} s ago", age.as_secs())),
            ("standby", lag) if lag > HANDOVER_LAG_MAX => Some(format!("it lacks {lag} records")),
            ("standby", _) => {
                self.report.disk.as_ref().map(|why| format!("its disk takes nothing: {why}"))
            }
            (role, _) => Some(format!("it is {role}")),
        }
    }
}

/// What the active said last.
#[derive(Debug)]
struct Told {
    at: Duration,
    members: Vec<ClusterMember>,
}

/// A member that may not read a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BehindFormat {
    pub(super) member: String,
    /// Whether it reports now.
    pub(super) is_alive: bool,
    pub(super) why: String,
}

/// How far the standby that is furthest behind is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StandbyLag {
    /// Committed records that it had not applied, as of its last report.
    pub records: u64,
    /// Time since it had all of them.
    pub time: Duration,
}

impl KnownMembers {
    /// Takes a report. `committed` is the newest committed record.
    pub(super) fn hear(&mut self, now: Duration, committed: Lsn, report: Report) {
        let (member, tcp, admin) =
            (report.member.clone(), report.address.clone(), report.admin.clone());
        let before = self.heard.get(&member).filter(|heard| now.saturating_sub(heard.at) <= ALIVE);
        if let Some(other) = before.filter(|heard| heard.report.address != tcp) {
            let other = &other.report.address;
            throttled!(warn, member, address = tcp, other, "two members have one name");
        }
        self.note(now, MemberNames { member, tcp, admin });
        let lag = committed.0.saturating_sub(report.lsn);
        let before = self.heard.get(&report.member).map(|heard| heard.level_at);
        let level_at = if lag == 0 { now } else { before.unwrap_or(now) };
        self.heard.insert(report.member.clone(), LastReport { at: now, lag, level_at, report });
        if self.heard.len() > MEMBERS_MAX {
            let oldest = self.heard.iter().min_by_key(|(_, heard)| heard.at);
            if let Some(name) = oldest.map(|(name, _)| name.clone()) {
                self.heard.remove(&name);
            }
        }
    }

    /// Notes that there is a member of this address. Of too many, the one that was noted first is
    /// forgotten.
    pub(super) fn note(&mut self, now: Duration, names: MemberNames) {
        self.noted.retain(|Noted { names: noted, seen, .. }| {
            let has_moved = noted.member == names.member && !noted.are_of(&names);
            !has_moved || now.saturating_sub(*seen) < MOVED_AFTER
        });
        match self.noted.iter_mut().find(|noted| noted.names.are_of(&names)) {
            Some(noted) => (noted.names, noted.seen) = (names, now.max(noted.seen)),
            None => self.noted.push(Noted { names, since: now, seen: now }),
        }
        if self.noted.len() > MEMBERS_MAX {
            self.noted.remove(0);
        }
    }

    /// Every member that this one knows.
    pub(super) fn noted(&self) -> Vec<MemberNames> {
        self.noted.iter().map(|noted| noted.names.clone()).collect()
    }

    /// The newest format that all other members read, by their newest reports. `None` while one of
    /// them has not reported, unless nothing was heard of it for [`FORMAT_COUNTS`].
    pub(super) fn format_read_by_all(&self, now: Duration, own: &MemberNames) -> Option<u32> {
        let mut all = u32::MAX;
        for Noted { names, since, .. } in self.noted.iter().filter(|noted| !noted.names.are_of(own))
        {
            let heard = self.heard.get(&names.member);
            let last = heard.map_or(*since, |heard| heard.at);
            if now.saturating_sub(last) < FORMAT_COUNTS {
                let reads = heard?.report.format;
                all = all.min(u32::try_from(reads).unwrap_or(u32::MAX));
            }
        }
        Some(all)
    }

    /// The other members that keep the journal from getting this format.
    pub(super) fn behind_format(
        &self,
        now: Duration,
        own: &MemberNames,
        format: u32,
    ) -> Vec<BehindFormat> {
        let others = self.noted.iter().filter(|noted| !noted.names.are_of(own));
        let behind = others.filter_map(|Noted { names, since, .. }| {
            let heard = self.heard.get(&names.member);
            let age = now.saturating_sub(heard.map_or(*since, |heard| heard.at));
            let reads = heard.map(|heard| heard.report.format);
            if age >= FORMAT_COUNTS || reads.is_some_and(|reads| reads >= format.into()) {
                return None;
            }
            let (is_alive, s) = (heard.is_some() && age <= ALIVE, age.as_secs());
            let why = match reads {
                Some(reads) if is_alive => format!("reads only format {reads}"),
                Some(reads) => format!("reads only format {reads}, as it said {s} s ago"),
                None => "has not said to this active what it reads".to_owned(),
            };
            let MemberNames { member, tcp, .. } = names.clone();
            let member = if member.is_empty() { tcp } else { member };
            Some(BehindFormat { member, is_alive, why })
        });
        behind.collect()
    }

    fn alive(&self, now: Duration) -> impl Iterator<Item = &LastReport> {
        self.heard.values().filter(move |heard| now.saturating_sub(heard.at) <= ALIVE)
    }

    /// What is durable on each standby that is alive.
    pub(super) fn durable(&self, now: Duration) -> Vec<Lsn> {
        self.alive(now).map(|heard| Lsn(heard.report.durable_lsn)).collect()
    }

    /// Age of the newest snapshot that any standby has reported; `None` if none has.
    pub(super) fn snapshot_age(&self, now: Duration) -> Option<Duration> {
        let age = |heard: &LastReport| {
            let age = Duration::from_millis(heard.report.snapshot_age_ms?);
            Some(age.saturating_add(now.saturating_sub(heard.at)))
        };
        self.heard.values().filter_map(age).min()
    }

    /// How far the last of the standbys that are alive is behind; `None` without any.
    pub(super) fn lag(&self, now: Duration) -> Option<StandbyLag> {
        let records = self.alive(now).map(|heard| heard.lag).max()?;
        let behind = self.alive(now).filter(|heard| heard.lag > 0);
        let time = behind.map(|heard| now.saturating_sub(heard.level_at)).max();
        Some(StandbyLag { records, time: time.unwrap_or_default() })
    }

    /// Whether a standby can take over now: the one of this name, or any.
    pub(super) fn may_follow(&self, now: Duration, to: Option<&str>) -> Result<(), Error> {
        let Some(name) = to else {
            return match self.heard.values().any(|heard| heard.obstacle(now).is_none()) {
                true => Ok(()),
                false => Err(Error::not_applied("no standby can take over now")),
            };
        };
        let Some(heard) = self.heard.get(name) else {
            let unknown = format!("to: no member with the name {name} has reported to this one");
            return Err(Error::invalid(unknown));
        };
        match heard.obstacle(now) {
            None => Ok(()),
            Some(why) => Err(Error::not_applied(&format!("{name} cannot take over now: {why}"))),
        }
    }

    /// The standbys that ever reported. `committed` is the newest committed record: one that is
    /// silent lags more and more.
    pub(super) fn standbys(&self, now: Duration, committed: Lsn) -> Vec<ClusterMember> {
        let member = |heard: &LastReport| {
            let LastReport { at, report, .. } = heard;
            ClusterMember {
                member: report.member.clone(),
                role: report.role.clone(),
                address: report.address.clone(),
                admin: report.admin.clone(),
                version: Some(report.version.clone()),
                format: Some(report.format),
                lsn: Some(report.lsn),
                durable_lsn: Some(report.durable_lsn),
                lag: Some(committed.0.saturating_sub(report.lsn)),
                heard_ms: Some(millis(now.saturating_sub(*at))),
                disk: report.disk.clone(),
            }
        };
        self.heard.values().map(member).collect()
    }

    /// Notes what the active said.
    pub(super) fn told(&mut self, now: Duration, mut members: Vec<ClusterMember>) {
        members.truncate(MEMBERS_MAX);
        for ClusterMember { member, address, admin, heard_ms, .. } in &members {
            let (member, tcp, admin) = (member.clone(), address.clone(), admin.clone());
            let heard = now.saturating_sub(Duration::from_millis(heard_ms.unwrap_or(0)));
            self.note(heard, MemberNames { member, tcp, admin });
        }
        self.told = Some(Told { at: now, members });
    }

    /// What the active said last, as old as it is now, and its age.
    pub(super) fn last_told(&self, now: Duration) -> Option<(Vec<ClusterMember>, u64)> {
        let told = self.told.as_ref()?;
        let age = millis(now.saturating_sub(told.at));
        let mut members = told.members.clone();
        for member in &mut members {
            member.heard_ms = member.heard_ms.map(|heard| heard.saturating_add(age));
        }
        Some((members, age))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn report(member: &str, lsn: u64, durable_lsn: u64) -> Report {
        Report { member: member.into(), lsn, durable_lsn, ..Report::default() }
    }

    #[test]
    fn a_standby_counts_while_it_reports() {
        let mut known = KnownMembers::default();
        assert_eq!(known.lag(SECOND), None);
        known.hear(SECOND, Lsn(10), report("a", 10, 8));
        known.hear(2 * SECOND, Lsn(12), report("b", 9, 9));
        assert_eq!(known.durable(3 * SECOND), [Lsn(8), Lsn(9)]);
        known.hear(4 * SECOND, Lsn(14), report("b", 9, 9));
        let lag = known.lag(4 * SECOND).unwrap();
        assert_eq!((lag.records, lag.time), (5, 2 * SECOND));
        assert_eq!(known.durable(8 * SECOND), [Lsn(9)], "the first one is silent");
        assert_eq!(known.durable(10 * SECOND), []);
        assert_eq!(known.standbys(10 * SECOND, Lsn(30))[1].lag, Some(21), "and is still known");
    }

    #[test]
    fn the_newest_snapshot_of_any_standby_counts() {
        let mut known = KnownMembers::default();
        let with = |age| Report { snapshot_age_ms: age, ..report("a", 1, 1) };
        known.hear(SECOND, Lsn(1), with(None));
        assert_eq!(known.snapshot_age(SECOND), None);
        known.hear(SECOND, Lsn(1), with(Some(5000)));
        known.hear(SECOND, Lsn(1), Report { member: "b".into(), ..with(Some(9000)) });
        assert_eq!(known.snapshot_age(3 * SECOND), Some(7 * SECOND));
    }

    #[test]
    fn only_a_standby_that_is_well_can_take_over() {
        let mut known = KnownMembers::default();
        let standby = |name: &str, lsn| Report { role: "standby".into(), ..report(name, lsn, lsn) };
        let why = |known: &KnownMembers, now, to| {
            known.may_follow(now, to).err().map(|error| error.message.into_owned())
        };
        let none = Some("not applied: no standby can take over now".to_owned());
        assert_eq!(why(&known, SECOND, None), none);
        let newest = HANDOVER_LAG_MAX + 10;
        known.hear(SECOND, Lsn(newest), standby("late", 9));
        known.hear(
            SECOND,
            Lsn(newest),
            Report { role: "failed".into(), ..standby("failed", newest) },
        );
        assert_eq!(why(&known, SECOND, None), none);
        let told = why(&known, SECOND, Some("late")).unwrap();
        assert_eq!(told, "not applied: late cannot take over now: it lacks 100001 records");
        assert!(why(&known, SECOND, Some("failed")).unwrap().ends_with("it is failed"));
        assert!(why(&known, SECOND, Some("m9")).unwrap().starts_with("to: no member"));
        known.hear(SECOND, Lsn(newest), standby("well", 10));
        assert_eq!(why(&known, 6 * SECOND, None), None);
        assert_eq!(why(&known, 6 * SECOND, Some("well")), None);
        assert_eq!(why(&known, 7 * SECOND, None), none);
        assert!(why(&known, 7 * SECOND, Some("well")).unwrap().ends_with("reported 6 s ago"));
    }

    #[test]
    fn a_member_that_moves_is_forgotten_where_it_was() {
        let mut known = KnownMembers::default();
        let at = |address: &str| Report { address: address.into(), ..report("a", 1, 1) };
        let addresses = |known: &KnownMembers| {
            known.noted().into_iter().map(|names| names.tcp).collect::<Vec<_>>()
        };
        known.hear(SECOND, Lsn(1), at("old:1"));
        known.hear(30 * SECOND, Lsn(1), at("new:1"));
        assert_eq!(addresses(&known), ["old:1", "new:1"], "two members may have one name");
        known.hear(60 * SECOND, Lsn(1), at("new:1"));
        assert_eq!(addresses(&known), ["old:1", "new:1"]);
        known.hear(61 * SECOND, Lsn(1), at("new:1"));
        assert_eq!(addresses(&known), ["new:1"]);
        known.hear(200 * SECOND, Lsn(1), report("b", 1, 1));
        assert_eq!(addresses(&known), ["new:1", ""], "one that is only silent stays");
    }

    #[test]
    fn the_number_of_members_is_bounded() {
        let mut known = KnownMembers::default();
        for at in 0..2 * MEMBERS_MAX {
            let now = SECOND * u32::try_from(at).unwrap();
            known.hear(now, Lsn(1), report(&format!("m{at}"), 1, 1));
        }
        assert_eq!(known.standbys(SECOND, Lsn(0)).len(), MEMBERS_MAX);
        assert!(!known.heard.contains_key("m0"));
    }

    #[test]
    fn what_the_active_said_ages() {
        let mut known = KnownMembers::default();
        assert_eq!(known.last_told(SECOND), None);
        let member = ClusterMember { heard_ms: Some(5), ..ClusterMember::default() };
        known.told(SECOND, vec![member, ClusterMember::default()]);
        let (members, age) = known.last_told(3 * SECOND).unwrap();
        assert_eq!((age, members[0].heard_ms, members[1].heard_ms), (2000, Some(2005), None));
    }
}
