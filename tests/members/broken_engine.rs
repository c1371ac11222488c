//! Members on an engine that breaks its contract, while clients write and read: an entry is missing
//! or altered, the end is lost, or entries are there that no member wrote. What is broken is found
//! and named with seq and LSN. It is repaired from elsewhere, or the members stop. Whoever replies
//! shows all that was acknowledged.
//!
//! Each seed breaks one thing. `CHATSHARD_BROKEN_SEEDS` sets the number of seeds, and draws new
//! ones. One can be played again alone: `CHATSHARD_BROKEN_SEED=17 cargo test --test members broken`.

use std::time::Duration;

use chatshard::journal::engine::{Condition, EngineReply, EngineRequest, StoredEntry};
use chatshard::journal::entry::{ClaimFacts, EntryKind, JournalEntry};
use chatshard::journal::kept::TrimLimits;
use chatshard::journal::reader::{JournalReader, Verdict};
use chatshard::journal::sim::SimFaults;
use chatshard::journal::writer::{AppendProgress, JournalWriter};
use chatshard::node::genesis::first_entry;
use chatshard::node::identity::Identity;
use chatshard::node::journal_figures::{EntryFault, EntrySource};
use snapshot::{Batch, Lsn};

use super::crowds::Crowds;
use super::history::{Client, rest};
use super::plays::{SECOND, active, failure, until_level};
use super::world::{Fault, JOURNAL, MEMBERS, World, identity, profile};

const SEEDS: u64 = 16;
/// Time in which broken things are found, and in which nobody must claim.
const FOUND_WITHIN: Duration = Duration::from_secs(5);
/// Entries at the end among which one is chosen.
const NEWEST: u64 = 12;

/// What the engine does against its contract.
#[derive(Clone, Copy, Debug)]
enum Broken {
    /// One endpoint returns an entry with a changed bit.
    AlteredOnOne,
    /// All endpoints do, and another member has the entry.
    AlteredOnAll,
    /// An entry is missing between others, and another member has it.
    Hole,
    /// All endpoints return an entry with a changed bit, and all members are down.
    AlteredForAll,
    /// The newest entries are gone while all members are down.
    LostEnd,
    /// They are gone while the members run.
    WentBack,
    /// There is an entry of another journal.
    Foreign,
    /// The newest entries are others than those that were acknowledged.
    Rewritten,
}

const ALL: [Broken; 8] = [
    Broken::AlteredOnOne,
    Broken::AlteredOnAll,
    Broken::Hole,
    Broken::AlteredForAll,
    Broken::LostEnd,
    Broken::WentBack,
    Broken::Foreign,
    Broken::Rewritten,
];

/// A world with clients that write and read all the time.
struct Play {
    world: World,
    clients: Vec<Client>,
}

impl Play {
    fn new(seed: u64) -> Self {
        let delay = Duration::from_millis(1);
        let mut world = World::new(seed, SimFaults { delay, ..SimFaults::default() });
        world.loses_questions = false;
        Self { world, clients: (0..3).map(Client::new).collect() }
    }

    fn run_until(
        &mut self,
        at_most: Duration,
        what: &str,
        mut is_so: impl FnMut(&World) -> bool,
    ) -> Result<(), Fault> {
        let end = self.world.now() + at_most;
        while self.world.now() < end {
            for _ in 0..20 {
                self.world.step()?;
                let draw = self.world.random.below(3 * (MEMBERS * self.clients.len()) as u64);
                let draw = usize::try_from(draw).unwrap();
                if let Some(client) = self.clients.get_mut(draw / MEMBERS) {
                    client.turn(&mut self.world, draw % MEMBERS)?;
                }
            }
            if is_so(&self.world) {
                return Ok(());
            }
        }
        Err(format!("not within {at_most:?}: {what}"))
    }

    fn run_for(&mut self, time: Duration) -> Result<(), Fault> {
        let end = self.world.now() + time;
        self.run_until(time + SECOND, "time", |world| world.now() >= end)
    }

    fn kill(&mut self, at: usize) {
        self.world.kill(at, false, 1000 * SECOND);
    }

    fn start(&mut self, at: usize) {
        self.world.members[at].until = self.world.now();
    }

    fn all_entries(&self) -> Vec<StoredEntry> {
        self.world.server.engine.history().collect()
    }

    /// A seq among the newest entries that the engine keeps.
    fn newest_seq(&mut self) -> u64 {
        let engine = &self.world.server.engine;
        let (tail, trimmed) = (engine.tail(), engine.trimmed());
        let oldest = (trimmed + 2).max(tail.saturating_sub(NEWEST));
        oldest + self.world.random.below(tail - oldest)
    }

    /// A place at the end behind which the engine has records.
    fn end_before_records(&mut self) -> u64 {
        let entries = self.all_entries();
        loop {
            let end = self.newest_seq() - 1;
            let mut lost = entries.iter().filter(|entry| entry.seq > end);
            let is_records = |entry: &StoredEntry| {
                JournalEntry::decode(&entry.bytes).unwrap().header.kind == EntryKind::Records
            };
            if lost.any(is_records) {
                return end;
            }
        }
    }

    /// A standby is down while the engine breaks an entry that all others have. Then it starts, and
    /// gets the entry elsewhere.
    fn break_entry(&mut self, broken: Broken) -> Result<(), Fault> {
        let late = (active(&self.world).ok_or("nobody is the active")? + 1) % MEMBERS;
        self.kill(late);
        self.run_for(SECOND / 4)?;
        until_level(&mut self.world)?;
        self.alter_one(broken);
        self.start(late);
        self.run_until(FOUND_WITHIN, "a repair", |world| is_level(world, late))
    }

    /// All members are down while all endpoints alter an entry: nobody can give it.
    fn alter_for_all(&mut self) -> Result<(), Fault> {
        until_level(&mut self.world)?;
        (0..MEMBERS).for_each(|at| self.kill(at));
        let seq = self.alter_one(Broken::AlteredForAll);
        (0..MEMBERS).for_each(|at| self.start(at));
        self.stops(&[&format!("entry {seq} of the journal, where LSN ")])
    }

    /// Breaks one of the newest entries, and returns its seq.
    fn alter_one(&mut self, broken: Broken) -> u64 {
        let seq = self.newest_seq();
        let bytes = self.all_entries()[usize::try_from(seq - 1).unwrap()].bytes.len() as u64;
        let at = usize::try_from(self.world.random.below(bytes)).unwrap();
        let mask = 1 << self.world.random.below(8);
        let endpoint = u16::try_from(self.world.random.below(3)).unwrap();
        let engine = &mut self.world.server.engine;
        match broken {
            Broken::Hole => engine.make_hole(seq),
            Broken::AlteredOnOne => engine.alter(seq, endpoint, at, mask),
            _ => (0..3).for_each(|endpoint| engine.alter(seq, endpoint, at, mask)),
        }
        seq
    }

    /// The newest entries are lost, with records among them. Returns all that there were.
    fn lose_end(&mut self, is_down: bool) -> Result<Vec<StoredEntry>, Fault> {
        until_level(&mut self.world)?;
        if is_down {
            (0..MEMBERS).for_each(|at| self.kill(at));
        }
        let (end, whole) = (self.end_before_records(), self.all_entries());
        self.world.server.engine.lose_end(end);
        (0..MEMBERS).for_each(|at| self.start(at));
        self.stops(&["the engine lost its end", "the engine ends with entry", "lost entries"])?;
        Ok(whole)
    }

    /// An entry of another journal is appended. Returns the entries before it.
    fn append_foreign(&mut self) -> Result<Vec<StoredEntry>, Fault> {
        let foreign = Identity { node_id: JOURNAL + 1, ..identity() };
        let entry = first_entry(&foreign, Lsn(1), 1).unwrap();
        loop {
            let expect = self.world.server.engine.tail();
            let append = EngineRequest::Append { expect, entry: entry.clone() };
            self.world.server.engine.send(99, 0, append);
            self.run_for(Duration::from_millis(5))?;
            if self.all_entries().iter().any(|stored| stored.bytes == entry) {
                break;
            }
        }
        self.stops(&["it belongs to another journal"])?;
        Ok(self.all_entries().into_iter().take_while(|stored| stored.bytes != entry).collect())
    }

    /// All members are down, and the newest entries become a claim and records of somebody else.
    /// Returns the entries that there were.
    fn rewrite_end(&mut self) -> Result<Vec<StoredEntry>, Fault> {
        until_level(&mut self.world)?;
        (0..MEMBERS).for_each(|at| self.kill(at));
        let (end, whole) = (self.end_before_records(), self.all_entries());
        self.world.server.engine.lose_end(end);
        let mut reader = JournalReader::new(JOURNAL, Condition::Checked);
        for entry in self.all_entries() {
            assert!(matches!(reader.accept(entry.seq, &entry.bytes), Verdict::Accepted(_)));
        }
        let facts = ClaimFacts { member: "somebody else".into(), ..ClaimFacts::default() };
        let mut writer = JournalWriter::claim(reader, profile(), 5, 0, facts).unwrap();
        self.append(&mut writer);
        let mut batch = Batch::new();
        batch.push(b"what nobody wrote").unwrap();
        writer.append(0, &batch).unwrap();
        self.append(&mut writer);
        (0..MEMBERS).for_each(|at| self.start(at));
        self.stops(&["is not the one that this member has"])?;
        Ok(whole)
    }

    /// Appends what a writer has under way, at once.
    fn append(&mut self, writer: &mut JournalWriter) {
        let (id, request) = writer.poll(self.world.now()).unwrap();
        let EngineRequest::Append { expect, .. } = &request else { panic!("{request:?}") };
        let seq = expect + 1;
        self.world.server.engine.send(99, 0, request);
        self.world.pass(Duration::from_millis(5));
        assert_eq!(self.world.server.engine.tail(), seq);
        let appended = EngineReply::Appended { seq };
        let progress = writer.on_reply(self.world.now(), id, appended);
        assert!(matches!(progress, AppendProgress::Committed { .. }), "{progress:?}");
    }

    /// The figures of the members tell of what was broken.
    fn is_counted(&mut self, broken: Broken) -> Result<(), Fault> {
        let count = |fault, source| -> u64 {
            let figures = self.world.members.iter().map(|member| &member.figures);
            let faults = figures.flat_map(|figures| figures.entry_faults(fault));
            faults.filter(|(other, _)| *other == source).map(|(_, count)| count).sum()
        };
        let (damaged, missing) = (EntryFault::Damaged, EntryFault::Missing);
        let is_counted = match broken {
            // Another endpoint may have been asked first.
            Broken::AlteredOnOne => count(damaged, EntrySource::Nobody) == 0,
            Broken::AlteredOnAll => count(damaged, EntrySource::Member) > 0,
            Broken::Hole => count(missing, EntrySource::Member) > 0,
            Broken::AlteredForAll | Broken::Foreign => count(damaged, EntrySource::Nobody) > 0,
            // Members that have not accepted what is lost only wait.
            Broken::LostEnd | Broken::WentBack => true,
            // It continues what the members have, but for the records.
            Broken::Rewritten => count(damaged, EntrySource::Nobody) == 0,
        };
        let states = (0..MEMBERS).map(|at| {
            let is_stopped = self.world.runs(at) && all_wait(broken);
            let life = self.world.members[at].life.as_ref().filter(|_| is_stopped)?;
            life.info.journal_metrics()?.state
        });
        let states: Vec<_> = states.flatten().collect();
        match is_counted && states.iter().all(|state| ["failed", "blocked"].contains(state)) {
            true => Ok(()),
            false => Err(format!("the figures do not tell of it: {states:?}")),
        }
    }

    /// No member claims, and each one says why.
    fn stops(&mut self, telling: &[&str]) -> Result<(), Fault> {
        let takeovers = self.world.takeovers;
        self.run_for(FOUND_WITHIN)?;
        if self.world.takeovers > takeovers || active(&self.world).is_some() {
            return Err("a member serves on an engine that lost entries".into());
        }
        for at in 0..MEMBERS {
            let life = self.world.members[at].life.as_ref().ok_or("a member is down")?;
            let forbidding = || life.member.claim_check.forbidding();
            let why = life.member.failure().or_else(|| Some(forbidding()?.to_string()));
            let why = why.ok_or_else(|| format!("member {at} says nothing"))?;
            let is_named = why.contains("LSN ") && why.contains("entry ");
            if !is_named || !telling.iter().any(|part| why.contains(part)) {
                return Err(format!("member {at} says: {why}"));
            }
        }
        Ok(())
    }
}

fn is_level(world: &World, at: usize) -> bool {
    let Some(active) = active(world) else { return false };
    let tail = |at: usize| world.members[at].life.as_ref().map(|life| life.info.log.tail());
    tail(at) == tail(active)
}

/// Whether all members wait for an operator or for the engine.
fn all_wait(broken: Broken) -> bool {
    !matches!(broken, Broken::AlteredOnOne | Broken::AlteredOnAll | Broken::Hole)
}

/// Plays one seed: the engine breaks one thing, and is right again later.
fn play(seed: u64) -> Result<(), Fault> {
    let broken = ALL[usize::try_from(seed % ALL.len() as u64).unwrap()];
    let mut play = Play::new(seed);
    if matches!(broken, Broken::AlteredOnAll | Broken::Hole | Broken::AlteredForAll) {
        // A trim would remove what is broken.
        play.world.trim = TrimLimits::default();
    }
    play.run_until(20 * SECOND, "an active whom all know", |world| {
        active(world).is_some()
            && world.members.iter().all(|member| {
                member.life.as_ref().is_some_and(|life| life.member.others().len() == MEMBERS - 1)
            })
    })?;
    // So long that everybody has kept whom it knows.
    play.run_for(2 * SECOND)?;
    let whole = match broken {
        Broken::AlteredOnOne | Broken::AlteredOnAll | Broken::Hole => {
            play.break_entry(broken)?;
            None
        }
        Broken::AlteredForAll => {
            play.alter_for_all()?;
            None
        }
        Broken::LostEnd => Some(play.lose_end(true)?),
        Broken::WentBack => Some(play.lose_end(false)?),
        Broken::Foreign => Some(play.append_foreign()?),
        Broken::Rewritten => Some(play.rewrite_end()?),
    };
    play.is_counted(broken)?;
    if let Some(whole) = whole {
        let engine = &mut play.world.server.engine;
        engine.lose_end(0);
        engine.bring_back(whole);
    }
    play.world.server.engine.mend();
    for at in 0..MEMBERS {
        if failure(&play.world, at).is_some() {
            play.kill(at);
            play.start(at);
        }
    }
    let Play { mut world, mut clients } = play;
    rest(&mut world, &mut clients, &Crowds::default())
        .map_err(|why| format!("{broken:?} is mended, and {why}"))
}

#[test]
fn what_an_engine_breaks_is_found_and_nothing_acknowledged_is_lost() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match (number("CHATSHARD_BROKEN_SEED"), number("CHATSHARD_BROKEN_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(seeds)) => {
            let first = getrandom::u64().unwrap() >> 1;
            first..first + seeds
        }
        (None, None) => 0..SEEDS,
    };
    for seed in seeds {
        let broken = ALL[usize::try_from(seed % ALL.len() as u64).unwrap()];
        play(seed).unwrap_or_else(|why| panic!("seed {seed}, {broken:?}: {why}"));
    }
}
