//! Three members of production's parts in one thread, from one seed: each with its disk and a clock
//! of its own speed, on the simulated engine.
//!
//! The world replaces threads, clocks, file systems and the network. Cores at work, the member's
//! thread, recovery and snapshots are production's, and a core is polled only after it was woken.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatshard::command::report::Report;
use chatshard::command::{Command, Kind, Outcome, Reply};
use chatshard::journal::engine::{Condition, EngineProfile, LeaseTimes};
use chatshard::journal::kept::{ENTRY_COST_BYTES, TrimLimits};
use chatshard::journal::sim::{SimEngine, SimFaults};
use chatshard::journal::sim_server::SimServer;
use chatshard::limits::JOURNAL_FORMAT;
use chatshard::node::NodeInfo;
use chatshard::node::after_stint::AfterStint;
use chatshard::node::claim_check::reach_of;
use chatshard::node::clock::shared::Source;
use chatshard::node::genesis::JournalOrigin;
use chatshard::node::give::given_entry;
use chatshard::node::identity::{AtRisk, Identity, KnownJournal, StoredBaseline};
use chatshard::node::journal_figures::JournalFigures;
use chatshard::node::mailbox::Control;
use chatshard::node::member_thread::MemberThread;
use chatshard::node::membership::{MemberRole, Membership};
use chatshard::node::prober::Prober;
use chatshard::node::probes::ProbeFigures;
use chatshard::node::snapshotter::Snapshotter;
use chatshard::node::store::Store;
use chatshard::node::watch::WatchThread;
use chatshard::types::ShardId;
use snapshot::{FaultyDisk, Lsn, Planted};
use tokio::sync::oneshot;

use super::whole_node::SimCore;
use crate::common::random::Random;

mod life;

pub const MEMBERS: usize = 3;
pub const DIR: &str = "/data";
pub const JOURNAL: u64 = 77;
/// Wall clock at the beginning, in ms.
const BEGAN: u64 = 1_700_000_000_000;
/// The engine's node number of nobody in particular.
const NOBODY: u32 = 99;

/// Why a seed fails.
pub type Fault = String;

/// Clock of one member: by how many thousandths it is faster, and how far its wall clock is set. It
/// stands still while its machine does.
#[derive(Clone, Copy)]
struct Rate {
    thousandths: i64,
    set_ms: i64,
    /// For how long it has stood still, but for the newest time.
    stood: Duration,
    /// From when to when it stands still, or stood last.
    still: (Duration, Duration),
}

impl Rate {
    const fn new(thousandths: i64, set_ms: i64) -> Self {
        let zero = Duration::ZERO;
        Self { thousandths, set_ms, stood: zero, still: (zero, zero) }
    }

    /// For how long it has stood still up to now.
    fn stood(&self, now: Duration) -> Duration {
        let (from, until) = self.still;
        self.stood + until.min(now).saturating_sub(from)
    }
}

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static RATES: RefCell<[Rate; MEMBERS]> = const {
        RefCell::new([Rate::new(0, 0); MEMBERS])
    };
    /// The member whose code runs.
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

/// So little is kept that trims are many. A member that is left behind cannot come back without an
/// image of another one, so nothing goes that a member does not have.
pub const TRIM: TrimLimits = TrimLimits {
    keep_bytes: 2 << 10,
    keep_time: Duration::from_millis(200),
    bytes_max: 16 << 10,
    copies: 3,
    copies_min: 3,
};

/// Elapsed time of the member whose code runs, in ms.
fn boot() -> u64 {
    let rate = RATES.with_borrow(|rates| rates[RUNNING.get()]);
    let ran = NOW.get() - rate.stood(NOW.get());
    let micros = i64::try_from(ran.as_micros()).unwrap();
    5_000_000 + u64::try_from(micros + micros * rate.thousandths / 1000).unwrap() / 1000
}

fn wall() -> u64 {
    let rate = RATES.with_borrow(|rates| rates[RUNNING.get()]);
    BEGAN.saturating_add(boot()).saturating_add_signed(rate.set_ms)
}

const CLOCKS: Source = Source { wall, boot };

pub fn profile() -> EngineProfile {
    let ms = Duration::from_millis;
    EngineProfile {
        condition: Condition::Checked,
        entry_bytes_max: 2048,
        queue_bytes_max: 1 << 20,
        endpoints: 3,
        times: LeaseTimes { beat: ms(50), serve: ms(200), claim: ms(300) },
        retry: ms(40),
        stall: ms(300),
    }
}

/// The engine and the members.
pub struct World {
    pub random: Random,
    pub server: SimServer,
    pub members: Vec<SimMember>,
    pub began: Instant,
    pub takeovers: u64,
    /// Lives that began when entries were trimmed, so at the base.
    pub begun_at_base: u64,
    pub reports: u64,
    /// Members that were to replace their data, which is wrong.
    pub copies: Vec<usize>,
    /// Whether the active writes digests.
    pub is_probed: bool,
    /// Whether a difference is a fault.
    pub may_differ: bool,
    /// Whether replies of the active wait for appends.
    pub confirms_reads: bool,
    /// Whether two members may take themselves for the active, because clocks stand still.
    pub may_be_two: bool,
    /// The one member that has this fault.
    pub planted: Option<(usize, Planted)>,
    /// How much of the journal the engine keeps.
    pub trim: TrimLimits,
    /// Whether questions to other members, and their answers, may be lost.
    pub loses_questions: bool,
    /// Reports on their way, each with the time of its arrival.
    under_way: Vec<(Duration, Report)>,
}

/// A machine with its disk, and the process on it.
pub struct SimMember {
    disk: FaultyDisk,
    pub life: Option<Life>,
    /// The epoch of the stint that the process has handed over last.
    handed_over: Option<u64>,
    /// Whether a sync of its disk failed in its life before.
    disk_failed: bool,
    /// The process stands still until then, or is started again then.
    pub until: Duration,
    is_new: bool,
    /// The newest format that its program reads.
    pub reads: u32,
    /// Its disk may refuse what a start needs.
    pub is_disk_bad: bool,
    pub figures: Arc<JournalFigures>,
    /// Counts of digests that it has compared.
    pub probes: Arc<ProbeFigures>,
}

/// One recovery, and what follows it.
pub struct Life {
    pub info: Arc<NodeInfo>,
    pub member: Arc<Membership>,
    cores: Vec<SimCore>,
    thread: MemberThread<FaultyDisk>,
    snapshotter: Snapshotter<FaultyDisk>,
    watch: WatchThread<FaultyDisk>,
    prober: Prober,
    is_imaging: bool,
    is_counted: bool,
    /// Number of the newest round of questions before a claim that was asked.
    asked: u64,
    /// Keeps the channel of snapshot requests open.
    _store: Store<FaultyDisk>,
}

/// A request on its way, or its reply.
pub type Asked = oneshot::Receiver<Outcome>;

impl World {
    pub fn new(seed: u64, faults: SimFaults) -> Self {
        Self::on(Condition::Checked, seed, faults)
    }

    /// A world on an engine that checks the condition of an append, or does not.
    pub fn on(condition: Condition, seed: u64, faults: SimFaults) -> Self {
        let mut random = Random::new(seed);
        NOW.set(Duration::ZERO);
        let rates = [(); MEMBERS].map(|()| {
            let thousandths = i64::try_from(random.below(100)).unwrap() - 50;
            Rate::new(thousandths, i64::try_from(random.below(4000)).unwrap() - 2000)
        });
        RATES.set(rates);
        let engine = SimEngine::new(random.draw(), condition, 3, SimFaults::default());
        let mut server = SimServer::new(engine);
        begin_journal(&mut server);
        server.engine.set_faults(faults);
        let members = (0..MEMBERS).map(|_| SimMember {
            disk: FaultyDisk::new(random.draw()),
            life: None,
            handed_over: None,
            disk_failed: false,
            until: Duration::ZERO,
            is_new: true,
            reads: JOURNAL_FORMAT,
            is_disk_bad: false,
            figures: Arc::default(),
            probes: Arc::default(),
        });
        let members = members.collect();
        Self {
            random,
            server,
            members,
            began: Instant::now(),
            takeovers: 0,
            begun_at_base: 0,
            reports: 0,
            copies: Vec::new(),
            is_probed: true,
            may_differ: false,
            confirms_reads: false,
            may_be_two: false,
            planted: None,
            trim: TRIM,
            loses_questions: true,
            under_way: Vec::new(),
        }
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.random.below(count) == 0
    }

    pub fn now(&self) -> Duration {
        NOW.get()
    }

    /// Lets the engine's time pass, and brings what arrives meanwhile.
    pub fn pass(&mut self, by: Duration) {
        let now = NOW.get() + by;
        self.server.turn(now);
        NOW.set(now);
    }

    /// One step of a random part of a random member that runs.
    pub fn step(&mut self) -> Result<(), Fault> {
        if self.one_in(3) {
            let micros = 100 + self.random.below(3000);
            self.pass(Duration::from_micros(micros));
        }
        if self.one_in(40) {
            self.report();
        }
        let drawn = usize::try_from(self.random.below(10 * MEMBERS as u64)).unwrap();
        for at in 0..MEMBERS {
            // A member that asks in vain claims after a while. That is allowed only to those whose
            // questions may be lost.
            if drawn == at || !self.loses_questions {
                self.ask_others(at);
                self.repair_entries(at);
            }
        }
        let at = usize::try_from(self.random.below(MEMBERS as u64)).unwrap();
        let now = NOW.get();
        RUNNING.set(at);
        if self.members[at].until > now {
            return Ok(());
        }
        let drawn = self.random.draw();
        let clock = self.began + now;
        self.plant(at);
        match &mut self.members[at].life {
            None => match self.start(at) {
                // The process tries again, or its supervisor does.
                Err(_) if self.members[at].is_disk_bad => {
                    self.members[at].until = now + Duration::from_millis(100);
                }
                started => started?,
            },
            Some(life) => {
                let over = life.step(drawn, clock, self.is_probed);
                if !life.is_counted && life.member.role() == MemberRole::Active {
                    life.is_counted = true;
                    self.takeovers += 1;
                }
                if let Some(next) = over {
                    // The process lives on, and recovers.
                    life.settle();
                    let member = &mut self.members[at];
                    member.life = None;
                    member.handed_over = next.handed_over().or(member.handed_over);
                    member.disk_failed = matches!(next, AfterStint::DiskFailed { .. });
                    if next == AfterStint::Replace {
                        self.copies.push(at);
                    }
                }
            }
        }
        if !self.may_differ && self.members[at].probes.differences() > 0 {
            return Err(format!("member {at} differs from digests of the log"));
        }
        self.check_roles()
    }

    /// Lets code that runs from now on have the fault of this member.
    #[cfg(feature = "planted-faults")]
    fn plant(&self, at: usize) {
        if let Some((victim, fault)) = self.planted {
            snapshot::planted::plant((victim == at).then_some(fault));
        }
    }

    #[cfg(not(feature = "planted-faults"))]
    fn plant(&self, _: usize) {
        assert_eq!(self.planted, None, "it needs the feature planted-faults");
    }

    /// A member reports, or a report arrives. A third of them is lost, and others come late.
    fn report(&mut self) {
        let at = usize::try_from(self.random.below(MEMBERS as u64)).unwrap();
        let now = NOW.get();
        let life = self.members[at].life.as_ref().filter(|_| self.members[at].until <= now);
        let standby = life.filter(|life| life.member.role() != MemberRole::Active);
        if let Some(report) = standby.and_then(|life| life.info.report())
            && !self.one_in(3)
        {
            let late = if self.one_in(10) { 400 } else { 10 };
            let arrives = now + Duration::from_millis(self.random.below(late));
            self.under_way.push((arrives, report));
        }
        let Some(next) = self.under_way.iter().position(|(arrives, _)| *arrives <= now) else {
            return;
        };
        let (_, report) = self.under_way.swap_remove(next);
        let reporter = report.member.clone();
        let Some(active) = (0..MEMBERS).find(|at| self.may_reply(*at)) else { return };
        RUNNING.set(active);
        let life = self.members[active].life.as_ref().expect("it may reply");
        let Ok(Reply::Report(reply)) = life.info.heard(report) else { return };
        self.reports += 1;
        let told = (0..MEMBERS).find(|at| format!("m{at}") == reporter);
        if let Some(told) = told.filter(|_| !self.one_in(3)) {
            RUNNING.set(told);
            if let Some(life) = &self.members[told].life {
                life.info.told(reply);
            }
        }
    }

    /// A member that is about to claim asks the others, at a time of its own.
    fn ask_others(&mut self, at: usize) {
        let now = NOW.get();
        let runs = |member: &SimMember| member.until <= now && member.life.is_some();
        if !runs(&self.members[at]) {
            return;
        }
        let life = self.members[at].life.as_mut().expect("it runs");
        let member = Arc::clone(&life.member);
        let under_way = member.claim_check.under_way();
        let Some(round) = under_way.filter(|round| round.number > life.asked) else { return };
        life.asked = round.number;
        let mut is_complete = true;
        for other in member.asked_in(round) {
            let to = (0..MEMBERS).find(|to| other.tcp == format!("m{to}:1")).unwrap();
            if !runs(&self.members[to]) || self.loses_questions && self.one_in(4) {
                is_complete = false;
                continue;
            }
            RUNNING.set(to);
            let reply = self.members[to].life.as_ref().expect("it runs").info.cluster();
            RUNNING.set(at);
            member.claim_check.answered(&other.member, reach_of(&reply, &other.tcp));
        }
        if is_complete {
            member.claim_check.complete(round.number);
        }
    }

    /// A member that lacks an entry asks the others for it.
    fn repair_entries(&mut self, at: usize) {
        let now = NOW.get();
        let runs = |member: &&SimMember| member.until <= now && member.life.is_some();
        let Some(life) = Some(&self.members[at]).filter(runs).and_then(|it| it.life.as_ref())
        else {
            return;
        };
        let Some(seq) = life.member.repair.wanted() else { return };
        let others = self.members.iter().enumerate().filter(|(other, _)| *other != at);
        let others = others.map(|(_, other)| other).filter(runs);
        let given = others.filter_map(|other| {
            let theirs = other.life.as_ref().expect("it runs");
            let until = theirs.info.log.durable();
            given_entry(&other.disk, Path::new(DIR), &theirs.member, seq, until).ok()?
        });
        life.member.repair.answered(seq, given.collect());
    }

    /// Cost of the entries that the engine keeps.
    pub fn kept_bytes(&self) -> u64 {
        let trimmed = self.server.engine.trimmed();
        let kept = self.server.engine.history().filter(|entry| entry.seq > trimmed);
        kept.map(|entry| entry.bytes.len() as u64 + ENTRY_COST_BYTES).sum()
    }

    /// At most one member may reply, whatever the world's time is.
    fn check_roles(&self) -> Result<(), Fault> {
        let reply: Vec<usize> = (0..MEMBERS).filter(|at| self.may_reply(*at)).collect();
        match reply.len() {
            0 | 1 => Ok(()),
            _ if self.may_be_two => Ok(()),
            _ => Err(format!(
                "{:?}: members {reply:?} may reply at once: {:#?}",
                NOW.get(),
                reply.iter().map(|at| self.told(*at)).collect::<Vec<_>>()
            )),
        }
    }

    /// What a member believes of its role.
    fn told(&self, at: usize) -> String {
        RUNNING.set(at);
        let rate = RATES.with_borrow(|rates| rates[at].thousandths);
        let life = self.members[at].life.as_ref().expect("it runs");
        let (epoch, left) =
            (life.member.active().epoch, life.member.lease_left(life.info.clock.boot()));
        format!("m{at}: epoch {epoch}, a lease of {left:?}, a clock faster by {rate} thousandths")
    }

    /// Whether a member would let a read in now.
    pub fn may_reply(&self, at: usize) -> bool {
        RUNNING.set(at);
        let life = self.members[at].life.as_ref();
        life.is_some_and(|life| life.info.turned_away(Kind::Detail, None).is_none())
    }

    fn start(&mut self, at: usize) -> Result<(), Fault> {
        let profile = EngineProfile { condition: self.server.engine.condition(), ..profile() };
        let client = self.server.connect(u32::try_from(at).unwrap(), profile);
        let seed = self.random.draw();
        let member = &mut self.members[at];
        if std::mem::take(&mut member.is_new) {
            let identity = Identity { member: Some(1 + seed % 1000), ..identity() };
            Store::made(member.disk.clone(), Path::new(DIR), identity).unwrap();
        }
        let store = Store::found(member.disk.clone(), Path::new(DIR));
        let store = store.map_err(|error| format!("member {at}: {error}"))?;
        let origin = JournalOrigin { journal: JOURNAL, genesis: genesis(), first: Lsn(1) };
        origin.check(Path::new(DIR), &store.identity).map_err(|error| error.to_string())?;
        self.begun_at_base += u64::from(self.server.engine.trimmed() > 1);
        let member = &self.members[at];
        let settings = (seed, self.trim, self.confirms_reads);
        let started = Life::start(at, store, member, client, settings);
        self.members[at].life = Some(started.map_err(|error| format!("member {at}: {error}"))?);
        Ok(())
    }

    /// Sends a request to a member as a door does: it is turned away, or routed.
    pub fn ask(&mut self, at: usize, kind: Kind, arguments: serde_json::Value) -> Option<Asked> {
        if !self.may_reply(at) || self.members[at].until > NOW.get() {
            return None;
        }
        Some(self.ask_anybody(at, kind, arguments))
    }

    /// Whether a member runs. Its clock is the one that counts from here on.
    pub fn runs(&self, at: usize) -> bool {
        RUNNING.set(at);
        self.members[at].life.is_some() && self.members[at].until <= NOW.get()
    }

    /// Whether a member lets a watch begin now.
    pub fn lets_watch(&self, at: usize) -> bool {
        let life = self.members[at].life.as_ref().filter(|_| self.runs(at));
        life.is_some_and(|life| life.info.turned_away(Kind::Watch, None).is_none())
    }

    /// Like [`World::ask`], on a connection that takes a state which is less than `stale` old.
    pub fn ask_stale(
        &mut self,
        at: usize,
        stale: Duration,
        kind: Kind,
        arguments: serde_json::Value,
    ) -> Option<Asked> {
        let life = self.members[at].life.as_ref().filter(|_| self.runs(at))?;
        let is_let_in = life.info.turned_away(kind, Some(stale)).is_none();
        is_let_in.then(|| self.ask_anybody(at, kind, arguments))
    }

    /// Like [`World::ask`], whatever the role of the member is.
    pub fn ask_anybody(&mut self, at: usize, kind: Kind, arguments: serde_json::Value) -> Asked {
        RUNNING.set(at);
        let (sender, receiver) = oneshot::channel();
        let command = Command::from_json(kind, arguments).unwrap();
        let life = self.members[at].life.as_ref().expect("it runs");
        let shard = ShardId(u16::try_from(self.random.below(2)).unwrap());
        life.info.control(shard, Control::Call(command, sender));
        receiver
    }

    /// Ends the process of a member; a crash of the machine also loses what was not synced.
    pub fn kill(&mut self, at: usize, crash: bool, until: Duration) {
        let member = &mut self.members[at];
        if member.life.is_some() {
            member.disk.freeze_at_sync(1);
            drop(snapshot::Disk::sync_dir(&member.disk, Path::new(DIR)));
            member.life = None;
        }
        member.handed_over = None;
        match crash {
            true => member.disk.crash(),
            false => member.disk.kill(),
        }
        member.disk.free();
        member.disk.freeze_at_sync(u64::MAX);
        member.until = until;
        self.server.engine.forget(u32::try_from(at).unwrap());
    }

    /// Stops a member whose claim is on its way, as if a stop had ended its cores first. Returns
    /// whether its thread ends.
    pub fn stop_claiming(&mut self, at: usize) -> bool {
        let stopped_at = NOW.get() + Duration::from_secs(1);
        for _ in 0..2000 {
            self.pass(Duration::from_millis(1));
            RUNNING.set(at);
            let clock = self.began + NOW.get();
            let life = self.members[at].life.as_mut().expect("it runs");
            if NOW.get() >= stopped_at {
                life.info.log.stop();
            }
            if life.thread.turn(clock).is_some() {
                return true;
            }
        }
        false
    }

    /// Lets the machine of a member stand still, with its clock.
    pub fn stand_still(&mut self, at: usize, until: Duration) {
        let now = NOW.get();
        if self.members[at].until <= now {
            self.members[at].until = until;
            RATES.with_borrow_mut(|rates| {
                rates[at].stood = rates[at].stood(now);
                rates[at].still = (now, until);
            });
        }
    }

    /// Lets a member that stands still, or is down, go on.
    pub fn wake(&mut self, at: usize) {
        self.members[at].until = Duration::ZERO;
        RATES.with_borrow_mut(|rates| {
            let still = &mut rates[at].still;
            still.1 = still.1.min(NOW.get());
        });
    }

    /// Sets the wall clock of a member so many ms off the right time.
    pub fn set_clock(&self, at: usize, set_ms: i64) {
        RATES.with_borrow_mut(|rates| rates[at].set_ms = set_ms);
    }

    /// The disk of a member.
    pub fn disk(&self, at: usize) -> &FaultyDisk {
        &self.members[at].disk
    }

    /// Gives the disk of a member room again, and its directory its place.
    pub fn heal_disk(&mut self, at: usize) {
        let disk = &self.members[at].disk;
        disk.free();
        disk.displace(false);
        disk.fail_sync(u64::MAX);
        self.members[at].is_disk_bad = false;
    }

    /// The newest epoch that a member knows.
    pub fn newest_epoch(&self) -> u64 {
        let lives = self.members.iter().filter_map(|member| member.life.as_ref());
        lives.map(|life| life.member.active().epoch).max().unwrap_or(0)
    }

    /// Begins a snapshot on a member.
    pub fn begin_image(&mut self, at: usize) {
        RUNNING.set(at);
        let Some(life) = self.members[at].life.as_mut().filter(|life| !life.is_imaging) else {
            return;
        };
        life.is_imaging = life.snapshotter.begin(&life.info).is_none();
    }
}

/// A world on a network without faults.
pub fn quiet(seed: u64) -> World {
    World::new(seed, SimFaults { delay: Duration::from_millis(1), ..SimFaults::default() })
}

fn genesis() -> chatshard::journal::entry::Genesis {
    chatshard::journal::entry::Genesis {
        format: JOURNAL_FORMAT,
        hash_seed: 11,
        slots: chatshard::limits::SLOTS,
        incarnation: 5,
        partitions: 1,
    }
}

pub fn identity() -> Identity {
    Identity {
        version: 2,
        node_id: JOURNAL,
        hash_seed: genesis().hash_seed,
        slots: genesis().slots,
        incarnation: genesis().incarnation,
        at_risk: AtRisk::Nothing,
        baseline: StoredBaseline::default(),
        member: None,
        journal: KnownJournal::default(),
        swap: None,
        file: None,
    }
}

/// Appends the first entry, over a network that does not fail.
fn begin_journal(server: &mut SimServer) {
    use chatshard::journal::engine::{EngineReply, EngineRequest};
    let entry = chatshard::node::genesis::first_entry(&identity(), Lsn(1), BEGAN).unwrap();
    let port = server.connect(NOBODY, profile()).port();
    port.send(1, EngineRequest::Append { expect: 0, entry });
    server.turn(Duration::ZERO);
    assert_eq!(port.try_receive(), Some((1, EngineReply::Appended { seq: 1 })));
}
