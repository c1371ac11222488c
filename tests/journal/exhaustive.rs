//! All orders of events of a small world: an active and a standby, a few entries, and pauses, losses,
//! late and doubled appends anywhere. The members are production's: its standby, its reader's rule, its
//! writer with the lease.
//!
//! A state is searched once. In each one, every event that may come next is tried:
//!
//! - a tick of the clock, which is the same for both members; a member that did nothing meanwhile
//!   was paused
//! - a standby looks at the journal and reads it, and claims if it may; once a tick
//! - a writer sends its entry, again if it is time, or reads; the active begins a batch; once a
//!   tick
//! - an append arrives, with or without a reply, and stays on its way so that it may arrive again;
//!   or it is lost
//!
//! # Checked in each state
//! - At most one member has a lease, and it knows of every acknowledged record.
//! - No member finds a fault in what the engine has.

use std::collections::{BTreeSet, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use chatshard::journal::engine::{
    Condition, EngineProfile, EngineReply, EngineRequest, LeaseTimes, StoredEntry,
};
use chatshard::journal::entry::{
    ClaimFacts, ControlBody, EntryHeader, EntryKind, Genesis, SealedEntry,
};
use chatshard::journal::reader::JournalReader;
use chatshard::journal::writer::{AppendProgress, JournalWriter, StintEnd};
use chatshard::node::standby::Standby;
use snapshot::{Batch, Lsn};

use super::node::JOURNAL;

const MEMBERS: usize = 2;
const TICK: Duration = Duration::from_millis(1);
/// The search ends at this time, in ticks.
const TICKS: u32 = 5;
/// Most entries of the journal, genesis and claims included.
const ENTRIES: usize = 4;
/// Most appends on their way.
const ON_THE_WAY: usize = 2;

/// `serve` and `claim` in ticks. A standby looks at each tick.
fn profile(serve: u32, claim: u32) -> EngineProfile {
    EngineProfile {
        condition: Condition::Checked,
        entry_bytes_max: 4096,
        queue_bytes_max: 1 << 16,
        endpoints: 1,
        times: LeaseTimes { beat: TICK, serve: serve * TICK, claim: claim * TICK },
        retry: 2 * TICK,
        stall: 2 * TICK,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "most states have a standby")]
enum Member {
    Standby(Standby),
    Writer(Box<(Standby, JournalWriter)>),
    /// It was fenced, and recovers outside of this world.
    Gone,
}

/// An append that has not arrived, or may arrive again.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Append {
    member: usize,
    id: u64,
    expect: u64,
    entry: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    tick: u32,
    log: Vec<Bytes>,
    members: [Member; MEMBERS],
    on_the_way: BTreeSet<Append>,
    /// The members that had their turn in this tick.
    had_turn: [bool; MEMBERS],
    /// The newest record that some active has acknowledged.
    acked: Lsn,
}

type Fault = String;

impl State {
    fn begin(profile: EngineProfile) -> Self {
        let reader = || JournalReader::new(JOURNAL, Condition::Checked);
        let standby = || {
            let standby = Standby::new(reader(), profile, Lsn(0), Duration::ZERO);
            Member::Standby(standby.with_looks(3))
        };
        let log = vec![genesis().bytes];
        let members = [standby(), standby()];
        let begun = Self {
            tick: 0,
            log,
            members,
            on_the_way: BTreeSet::new(),
            had_turn: [false; MEMBERS],
            acked: Lsn(0),
        };
        begun.claimed(profile)
    }

    /// The first member has read the journal, and its claim counts.
    fn claimed(mut self, profile: EngineProfile) -> Self {
        let next = match &self.members[0] {
            Member::Standby(standby) => self.looked(0, standby, profile).unwrap(),
            _ => self.clone(),
        };
        let Member::Standby(standby) = next.members[0].clone() else { panic!("{next:?}") };
        let reader = standby.reader().clone();
        let claim = JournalWriter::claim(reader, profile, 1, 0, ClaimFacts::default());
        let mut writer = claim.unwrap();
        let Some((id, EngineRequest::Append { entry, .. })) = writer.poll(self.now()) else {
            panic!("{writer:?}");
        };
        self.log.push(entry);
        writer.on_reply(self.now(), id, EngineReply::Appended { seq: 2 });
        assert!(writer.is_active());
        self.members[0] = Member::Writer(Box::new((standby, writer)));
        self
    }

    fn now(&self) -> Duration {
        self.tick * TICK
    }

    /// What the engine replies at once to anything but an append.
    fn reply(&self, request: &EngineRequest) -> Option<EngineReply> {
        match request {
            EngineRequest::Tail => Some(EngineReply::Tail { seq: self.log.len() as u64 }),
            EngineRequest::Read { from, .. } => {
                let seqs = 1_u64..;
                let all = seqs.zip(&self.log).skip_while(|(seq, _)| seq < from);
                let entry = |(seq, bytes): (u64, &Bytes)| StoredEntry { seq, bytes: bytes.clone() };
                Some(EngineReply::Entries(all.map(entry).collect()))
            }
            _ => None,
        }
    }

    /// All states that may come next.
    fn next(&self, profile: EngineProfile) -> Result<Vec<Self>, Fault> {
        let mut next = Vec::new();
        if self.tick < TICKS {
            let had_turn = [false; MEMBERS];
            next.push(Self { tick: self.tick + 1, had_turn, ..self.clone() });
        }
        for append in &self.on_the_way {
            for is_answered in [false, true] {
                next.push(self.arrived(append, is_answered)?);
            }
            let mut lost = self.clone();
            lost.on_the_way.remove(append);
            next.push(lost);
        }
        for at in (0..MEMBERS).filter(|at| !self.had_turn[*at]) {
            match &self.members[at] {
                Member::Gone => {}
                Member::Standby(standby) => next.push(self.looked(at, standby, profile)?),
                Member::Writer(writing) => next.extend(self.wrote(at, &writing.0, &writing.1)?),
            }
        }
        Ok(next)
    }

    /// An append takes effect. It stays on its way, as it may have been doubled.
    fn arrived(&self, append: &Append, is_answered: bool) -> Result<Self, Fault> {
        let mut next = self.clone();
        let reply = if append.expect == next.log.len() as u64 {
            next.log.push(append.entry.clone());
            EngineReply::Appended { seq: next.log.len() as u64 }
        } else {
            EngineReply::Conflict
        };
        if is_answered {
            next.replied(append.member, append.id, reply)?;
        }
        Ok(next)
    }

    fn replied(&mut self, at: usize, id: u64, reply: EngineReply) -> Result<(), Fault> {
        let now = self.now();
        let Member::Writer(writing) = &mut self.members[at] else { return Ok(()) };
        let (standby, writer) = &mut **writing;
        match writer.on_reply(now, id, reply) {
            AppendProgress::None => {}
            AppendProgress::Committed { lsn, .. } => self.acked = self.acked.max(lsn),
            AppendProgress::Ended(StintEnd::Overtaken) => {
                self.members[at] = Member::Standby(standby.clone());
            }
            AppendProgress::Ended(StintEnd::Fenced { .. } | StintEnd::LeftBehind) => {
                self.members[at] = Member::Gone;
            }
            AppendProgress::Ended(end) => return Err(format!("member {at}: {end}")),
        }
        Ok(())
    }

    fn looked(&self, at: usize, standby: &Standby, profile: EngineProfile) -> Result<Self, Fault> {
        let mut standby = standby.clone();
        while let Some((id, request)) = standby.poll(self.now()) {
            if let Some(reply) = self.reply(&request) {
                standby.on_reply(self.now(), id, reply);
            }
        }
        if let Some(end) = standby.end() {
            return Err(format!("member {at}: {end}"));
        }
        let mut next = self.clone();
        next.had_turn[at] = true;
        next.members[at] = if standby.may_claim() && self.log.len() < ENTRIES {
            let (reader, facts) = (standby.reader().clone(), ClaimFacts::default());
            let writer = JournalWriter::claim(reader, profile, 1 + at as u64, 0, facts).unwrap();
            Member::Writer(Box::new((standby, writer)))
        } else {
            Member::Standby(standby)
        };
        Ok(next)
    }

    /// The turns that a writer may have: with new work, if it is idle, and without.
    fn wrote(
        &self,
        at: usize,
        standby: &Standby,
        writer: &JournalWriter,
    ) -> Result<Vec<Self>, Fault> {
        let mut writers = vec![writer.clone()];
        if writer.is_idle() && self.log.len() < ENTRIES {
            let mut batch = Batch::new();
            batch.push(b"x").unwrap();
            let mut busy = writer.clone();
            busy.append(0, &batch).unwrap();
            writers.push(busy);
        }
        let turn = |mut writer: JournalWriter| {
            let mut next = self.clone();
            next.had_turn[at] = true;
            let sent = (self.on_the_way.len() < ON_THE_WAY).then(|| writer.poll(self.now()));
            next.members[at] = Member::Writer(Box::new((standby.clone(), writer)));
            let Some((id, request)) = sent.flatten() else { return Ok(next) };
            let reply = self.reply(&request);
            match (request, reply) {
                (EngineRequest::Append { expect, entry }, _) => {
                    next.on_the_way.insert(Append { member: at, id, expect, entry });
                }
                (_, Some(reply)) => next.replied(at, id, reply)?,
                _ => {}
            }
            Ok(next)
        };
        writers.into_iter().map(turn).collect()
    }

    fn check(&self) -> Result<(), Fault> {
        let leased = |member: &Member| match member {
            Member::Writer(writing) if !writing.1.lease_left(self.now()).is_zero() => {
                Some(writing.1.committed())
            }
            _ => None,
        };
        let leases: Vec<Lsn> = self.members.iter().filter_map(leased).collect();
        match leases.as_slice() {
            [] => Ok(()),
            [knows] if *knows >= self.acked => Ok(()),
            [knows] => Err(format!("a member replies from LSN {knows}, behind {}", self.acked)),
            _ => Err("two members have a lease at once".to_owned()),
        }
    }
}

fn genesis() -> SealedEntry {
    let body = Genesis { format: 1, hash_seed: 1, slots: 4096, incarnation: 1, partitions: 1 };
    let header = EntryHeader {
        kind: EntryKind::Genesis,
        part: 0,
        parts: 1,
        journal: JOURNAL,
        epoch: 0,
        writer: 0,
        index: 1,
        first: Lsn(1),
        records: 0,
        time_ms: 0,
        previous: 0,
    };
    header.seal(&ControlBody::Genesis(body).encode().unwrap()).unwrap()
}

/// Searches all states. Returns their number.
fn search(profile: EngineProfile) -> Result<usize, Fault> {
    let hashes = RandomState::new();
    let mut seen = HashSet::new();
    let mut open = vec![State::begin(profile)];
    while let Some(state) = open.pop() {
        if !seen.insert(hashes.hash_one(&state)) {
            continue;
        }
        state.check().map_err(|why| format!("{why} in {state:#?}"))?;
        open.extend(state.next(profile)?);
    }
    println!("{} states", seen.len());
    Ok(seen.len())
}

#[test]
fn no_order_of_events_lets_two_members_reply_or_one_reply_with_what_is_old() {
    let states = search(profile(2, 3)).unwrap();
    assert!(states > 10_000, "the world is too small to show anything: {states} states");
}

/// The check sees a lease that is too long for the wait of a standby.
#[test]
fn a_lease_as_long_as_the_wait_before_a_claim_is_found() {
    let why = search(profile(5, 3)).unwrap_err();
    assert!(why.contains("two members have a lease at once") || why.contains("behind"), "{why}");
}
