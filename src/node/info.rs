//! The state that all threads of a node share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::Sender;
use snapshot::Lsn;
use tokio::sync::oneshot;
use tracing::warn;

use super::clock::shared::SharedClock;
use super::digest_votes::DigestVerdict;
use super::journal_figures::{EntryFault, HandoverWhy, JournalState};
use super::known_members::StandbyLag;
use super::log::{Log, LogMode, LogState};
use super::mailbox::{Control, Mailbox};
use super::membership::{HandoverRequest, MemberRole, Membership};
use super::memory::Memory;
use super::offload::Offload;
use super::probes::Probes;
use super::snapshot_requests::{SnapshotRequest, SnapshotStatus};
use super::standby_reads::LetsIn;
use super::watch::WatchHub;
use crate::command::cluster::{ClusterMember, ClusterReply};
use crate::command::handover::Handover;
use crate::command::hello::{HelloReply, Limits, PROTOCOL_VERSION};
use crate::command::raise_format::RaiseFormat;
use crate::command::report::{Report, ReportReply};
use crate::command::stats::StatsReply;
use crate::command::{Error, Kind, OnStandby, Outcome, Reply};
use crate::journal::names::ActiveMember;
use crate::limits::{PROBED_FORMAT, SLOTS};
use crate::metrics::JournalMetrics;
use crate::throttle::throttled;
use crate::types::{KeyHasher, ShardCount, ShardId};

/// What all threads of a node share.
pub struct NodeInfo {
    /// Number of shards. There is one for each core.
    pub shards: ShardCount,
    /// The hash of keys, with the seed of the identity file.
    pub hasher: KeyHasher,
    /// The mailboxes of the cores, by the index of the shard.
    pub mailboxes: Arc<[Mailbox]>,
    /// The log that all shards feed.
    pub log: Arc<Log>,
    /// Decides whether new chats and members are accepted.
    pub memory: Arc<Memory>,
    /// Sends changes to clients that `watch`.
    pub watch: Arc<WatchHub>,
    /// Runs long work on the offload thread.
    pub offload: Offload,
    /// Digests of slots, hashed and compared.
    pub probes: Probes,
    /// Sends requests to the snapshot thread.
    pub snapshots: Sender<SnapshotRequest>,
    /// Figures of the snapshots, for `stats`.
    pub snapshot_status: Arc<SnapshotStatus>,
    pub data_dir: PathBuf,
    /// The time that commands and idempotency keys use.
    pub clock: Arc<SharedClock>,
    /// When the node started. `uptime_ms` counts from here.
    pub started: Instant,
    /// Set when a stop begins: from then on the node accepts no new work.
    pub stopping: AtomicBool,
    /// Set when the workers must end: from then on nobody answers what is in a mailbox.
    pub ended: AtomicBool,
    /// The membership in a journal. `None` if the node has no journal.
    pub member: Option<Arc<Membership>>,
}

impl NodeInfo {
    /// The error for a write that the node or its log cannot take now. `None` while writes are
    /// accepted.
    pub fn refusal(&self) -> Option<Error> {
        let of_role = self.member.as_ref().and_then(|member| member.refusal());
        of_role.or_else(|| self.log.refusal())
    }

    /// The error for a request of this kind that was read before now. `None` if it may be routed.
    /// `stale` is the age up to which the connection takes the state of a standby.
    #[inline]
    pub fn turned_away(&self, kind: Kind, stale: Option<Duration>) -> Option<Error> {
        let member = self.member.as_ref()?;
        if kind.on_standby() == OnStandby::Always {
            return None;
        }
        member.turned_away(self.clock.boot(), kind, stale)
    }

    /// How much of what a connection may send is let in now.
    #[inline]
    pub fn lets_in(&self, stale: Option<Duration>) -> LetsIn {
        match &self.member {
            None => LetsIn::Everything,
            Some(member) => member.lets_in(self.clock.boot(), stale),
        }
    }

    /// The error that ends all watches; `None` while they may go on. A watcher would take
    /// heartbeats for a sign that nothing changes.
    pub fn watch_refusal(&self) -> Option<Error> {
        let member = self.member.as_ref()?;
        let why = "watch: this node has no word of its journal; try another one";
        member.is_cut_off(self.clock.boot()).then(|| Error::not_applied(why))
    }

    /// The error for a client that knows more than this node has. `None` if no other node may have
    /// more.
    pub fn moved(&self) -> Option<Error> {
        let member = self.member.as_ref()?;
        (member.role() != MemberRole::Active).then(|| member.moved_away())
    }

    /// The error for a request of this kind while this node hands over. `None` if it does not.
    pub fn hands_over(&self, kind: Kind) -> Option<Error> {
        let member = self.member.as_ref()?;
        if kind.on_standby() == OnStandby::Always {
            return None;
        }
        member.hands_over(kind)
    }

    /// Whether this node may write digests of slots: it decides, and its log takes writes.
    pub(super) fn may_probe(&self) -> bool {
        self.log.mode() != LogMode::Off
            && !self.stopping.load(Ordering::Acquire)
            && self.refusal().is_none()
            && self.hands_over(Kind::Detail).is_none()
            && self.member.as_ref().is_none_or(|member| member.format() >= PROBED_FORMAT)
    }

    /// Begins a handover that the core of `shard` was asked for.
    ///
    /// # Errors
    /// If there is no journal, or if neither the named standby nor, without a name, any other can
    /// take over now. Then nothing has changed.
    pub(super) fn hand_over(&self, shard: ShardId, asked: Handover) -> Result<(), Error> {
        let Some(member) = &self.member else {
            return Err(Error::invalid("handover: this node has no journal"));
        };
        member.check_stint(asked.epoch)?;
        let (to, why) = (asked.to, HandoverWhy::Command);
        self.leave(member, HandoverRequest { to, caller: Some(shard), why })
    }

    /// Lets the active raise the journal's format without members that are gone.
    pub(super) fn raise_format(&self, asked: &RaiseFormat) -> Outcome {
        let Some(member) = &self.member else {
            return Err(Error::invalid("raise_format: this node has no journal"));
        };
        let reply = member.raise_format(self.clock.boot(), &asked.without)?;
        if reply.format > reply.before {
            warn!(format = reply.format, without = ?reply.without, "an operator raises the journal");
            // The member's thread looks at it when it has work.
            self.log.sync_now();
        }
        Ok(Reply::RaiseFormat(reply))
    }

    /// Asks the member's thread for a handover.
    fn leave(&self, member: &Membership, request: HandoverRequest) -> Result<(), Error> {
        member.ask_handover(self.clock.boot(), request)?;
        // The member's thread looks at it when it has work.
        self.log.sync_now();
        Ok(())
    }

    /// The reply to `hello` for a connection that `shard` serves.
    pub fn hello(&self, shard: ShardId) -> HelloReply {
        HelloReply {
            server: "chatshard".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            protocol: PROTOCOL_VERSION,
            shards: self.shards.get(),
            slots: SLOTS,
            hash_seed: self.hasher.seed(),
            shard: shard.0,
            limits: Limits::of_this_build(),
            ..self.role()
        }
    }

    /// The part of `hello` that a journal decides. A node without one is the active of itself.
    fn role(&self) -> HelloReply {
        let Some(member) = &self.member else {
            return HelloReply { role: MemberRole::Active.name().into(), ..HelloReply::default() };
        };
        let ActiveMember { epoch, names } = member.active();
        HelloReply {
            role: member.role().name().into(),
            active: names.tcp,
            epoch,
            journal: member.journal,
            ..HelloReply::default()
        }
    }

    /// What a member says of itself; `None` for a node without a journal.
    pub fn report(&self) -> Option<Report> {
        let member = self.member.as_ref()?;
        let role = match member.failure() {
            Some(_) => "failed",
            None => member.role().name(),
        };
        Some(Report {
            member: member.names.member.clone(),
            address: member.names.tcp.clone(),
            admin: member.names.admin.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            format: member.reads.into(),
            lsn: self.log.applied_by_all().0,
            durable_lsn: self.log.durable().0,
            role: role.into(),
            journal: member.journal,
            snapshot_age_ms: self.snapshot_status.age_ms(),
            digests: self.probes.compared(),
            disk: member.disk_trouble(),
        })
    }

    /// Takes a standby's report, and replies with the members that this active knows.
    pub fn heard(&self, report: Report) -> Outcome {
        let Some(member) = &self.member else {
            return Err(Error::invalid("report: this node has no journal"));
        };
        if report.journal != member.journal {
            return Err(Error::invalid("report: this node has another journal"));
        }
        if report.member == member.names.member {
            return Err(Error::invalid("report: two members have this name"));
        }
        let difference = member.vote(&report.member, &report.digests);
        let name = report.member.clone();
        member.heard(self.clock.boot(), self.log.applied_by_all(), report);
        let wrong_at = difference.and_then(|difference| self.judge(member, &name, difference));
        Ok(Reply::Report(ReportReply { members: self.cluster().members, wrong_at }))
    }

    /// Takes the active's reply to a report of this standby.
    pub fn told(&self, reply: ReportReply) {
        let Some(member) = &self.member else { return };
        member.told(self.clock.boot(), reply.members);
        // The active may speak of what this process had before it copied the data.
        let wrong_at = reply.wrong_at.map(Lsn);
        if let Some(lsn) = wrong_at.filter(|lsn| self.probes.differs_at(*lsn)) {
            member.set_wrong(lsn);
        }
    }

    /// Judges a difference of a standby from this active. Returns its LSN if the standby is wrong.
    fn judge(
        &self,
        member: &Membership,
        standby: &str,
        (lsn, verdict): (Lsn, DigestVerdict),
    ) -> Option<u64> {
        match verdict {
            DigestVerdict::Active => {
                throttled!(
                    error,
                    standby,
                    lsn = lsn.0,
                    "the data of a standby is wrong: another one has what this active has"
                );
                return Some(lsn.0);
            }
            DigestVerdict::Standbys => {
                // The standby has the data of another one.
                let to = Some(standby.to_owned());
                let request = HandoverRequest { to, caller: None, why: HandoverWhy::Data };
                let handed = self.leave(member, request);
                let refused = handed.err().map(|error| error.to_string());
                throttled!(
                    error,
                    lsn = lsn.0,
                    to = standby,
                    refused,
                    "the data of this active is wrong: two standbys agree on other data; it hands \
                     over"
                );
            }
            DigestVerdict::Open => throttled!(
                error,
                standby,
                lsn = lsn.0,
                "the data of this active and of a standby differ, and no third member tells which \
                 is right"
            ),
        }
        None
    }

    /// The members of the journal, as far as this node knows them.
    pub fn cluster(&self) -> ClusterReply {
        let (Some(member), Some(own)) = (&self.member, self.report()) else {
            return ClusterReply::default();
        };
        let now = self.clock.boot();
        let ActiveMember { epoch, names } = member.active();
        let is_active = member.role() == MemberRole::Active;
        let (mut members, age_ms) = match member.last_told(now) {
            _ if is_active => (member.standbys(now, self.log.applied_by_all()), Some(0)),
            Some((members, age)) => (members, Some(age)),
            None => (Vec::new(), None),
        };
        members.retain(|other| other.address != own.address);
        if !is_active {
            // A claim may be newer than the last word of an active.
            let is_newest = |other: &ClusterMember| other.address == names.tcp;
            for other in members.iter_mut().filter(|other| other.role == "active") {
                if !is_newest(other) {
                    other.role = MemberRole::Demoted.name().into();
                }
            }
            let is_known = names.tcp.is_empty() || names.are_of(&member.names);
            if !is_known && !members.iter().any(is_newest) {
                members.push(ClusterMember {
                    member: names.member,
                    role: MemberRole::Active.name().into(),
                    address: names.tcp,
                    admin: names.admin,
                    ..ClusterMember::default()
                });
            }
        }
        members.push(itself(own, is_active));
        members.sort_by(|a, b| (&a.member, &a.address).cmp(&(&b.member, &b.address)));
        let reach = member.claim_check.reach();
        let no_claim = member.claim_check.forbidding().map(|lost| format!("it {lost}"));
        ClusterReply {
            members,
            epoch: epoch.max(reach.epoch),
            age_ms,
            seq: (reach.epoch >= epoch).then_some(reach.seq),
            no_claim,
        }
    }

    /// The figures of the journal; `None` without one.
    pub fn journal_metrics(&self) -> Option<JournalMetrics> {
        let member = self.member.as_ref()?;
        let (now, role, figures) = (self.clock.boot(), member.role(), &member.figures);
        let is_active = role == MemberRole::Active;
        let lag = member.standby_lag(now).filter(|_| is_active);
        let by_source = |fault| {
            figures.entry_faults(fault).map(|(source, count)| (source.name(), count)).collect()
        };
        Some(JournalMetrics {
            role: role.name(),
            roles: MemberRole::ALL.into_iter().map(MemberRole::name).collect(),
            epoch: member.active().epoch,
            committed_lsn: self.log.applied_by_all().0,
            lease_left: is_active.then(|| member.lease_left(now)),
            retained_bytes: figures.retained_bytes(),
            engine_used_bytes: member.space().used_bytes(),
            copies: figures.copies(),
            lag: lag.map(|StandbyLag { records, time }| (records, time)),
            state_age: member.state_age(now),
            trims: figures.trims(),
            joins: figures.joins(),
            takeovers: figures.takeovers().map(|(why, count)| (why.name(), count)).collect(),
            newest_takeover: figures.newest_takeover(),
            appends: figures.appends(),
            format: member.format(),
            handovers: figures.handovers().map(|(why, count)| (why.name(), count)).collect(),
            state: journal_state(member, now).map(JournalState::name),
            states: JournalState::ALL.into_iter().map(JournalState::name).collect(),
            voids: figures.voids(),
            damage: by_source(EntryFault::Damaged),
            gaps: by_source(EntryFault::Missing),
        })
    }

    /// Asks for a snapshot, and waits for its outcome.
    pub async fn snapshot(&self) -> Outcome {
        let (sender, receiver) = oneshot::channel();
        if self.snapshots.send(SnapshotRequest::Take(sender)).is_err() {
            return Err(Error::not_applied("the server is stopping"));
        }
        let stopped =
            || Err(Error::outcome_unknown("the server stopped before the snapshot ended"));
        receiver.await.unwrap_or_else(|_| stopped())
    }

    /// How many connections of the TCP door are open, over all cores.
    pub fn connections(&self) -> usize {
        self.mailboxes.iter().map(|mailbox| mailbox.connections.load(Ordering::Relaxed)).sum()
    }

    /// The core with the fewest connections, which gets the next one.
    pub fn least_loaded(&self) -> ShardId {
        let load = |shard: &ShardId| {
            self.mailboxes
                .get(shard.index())
                .map_or(usize::MAX, |mailbox| mailbox.connections.load(Ordering::Relaxed))
        };
        self.shards.all().min_by_key(load).unwrap_or(ShardId(0))
    }

    /// Puts a request of the node into the mailbox of a core, and wakes the core.
    pub fn control(&self, shard: ShardId, control: Control) {
        if let Some(mailbox) = self.mailboxes.get(shard.index()) {
            mailbox.control.push(control);
            mailbox.wake();
        }
    }

    /// Adds the figures that shards do not know: of memory, log, snapshots and connections.
    pub fn complete_stats(&self, stats: &mut StatsReply) {
        stats.version = env!("CARGO_PKG_VERSION").into();
        stats.uptime_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        stats.connections = u64::try_from(self.connections()).unwrap_or(u64::MAX);
        self.memory.look();
        // The reply needs a number. If it is 0, `memory_stale` says whether the size is unknown.
        stats.memory_bytes = self.memory.resident().unwrap_or(0);
        stats.memory_stale = u64::from(self.memory.is_stale());
        stats.memory_live_bytes = self.memory.live().unwrap_or(0);
        stats.memory_max_bytes = self.memory.bytes_max().unwrap_or(0);
        stats.memory_full = u64::from(self.memory.is_full());
        let total = |count: fn(&Mailbox) -> &AtomicU64| {
            self.mailboxes.iter().map(|mailbox| count(mailbox).load(Ordering::Relaxed)).sum()
        };
        stats.requests = total(|mailbox| &mailbox.answered);
        stats.errors = total(|mailbox| &mailbox.errors);
        stats.log = self.log.stats();
        if self.member.as_ref().is_some_and(|member| member.disk_trouble().is_some()) {
            stats.log.state = LogState::Stalled.name().into();
        }
        stats.snapshot = self.snapshot_status.stats();
        for shard in &mut stats.shards {
            if let Some(mailbox) = self.mailboxes.get(usize::from(shard.shard)) {
                let connections = mailbox.connections.load(Ordering::Relaxed);
                shard.connections = u64::try_from(connections).unwrap_or(u64::MAX);
            }
        }
    }
}

/// What a member says of its journal; `None` when it reads nothing for a moment.
fn journal_state(member: &Membership, now: Duration) -> Option<JournalState> {
    let is_silent = match member.role() {
        _ if member.failure().is_some() => return Some(JournalState::Failed),
        MemberRole::Demoted => return None,
        MemberRole::Active => member.lease_left(now).is_zero(),
        MemberRole::Standby | MemberRole::Claiming => {
            if member.claim_check.forbidding().is_some() {
                return Some(JournalState::Blocked);
            }
            member.is_cut_off(now)
        }
    };
    Some(match is_silent {
        true => JournalState::Silent,
        false if member.space().is_full() => JournalState::Full,
        false => JournalState::Ok,
    })
}

/// What a member says of itself. Only the active knows that it lacks nothing.
fn itself(own: Report, is_active: bool) -> ClusterMember {
    ClusterMember {
        member: own.member,
        role: own.role,
        address: own.address,
        admin: own.admin,
        version: Some(own.version),
        format: Some(own.format),
        lsn: Some(own.lsn),
        durable_lsn: Some(own.durable_lsn),
        lag: is_active.then_some(0),
        heard_ms: Some(0),
        disk: own.disk,
    }
}
