//! One node of a history: a standby that reads and claims, or an active that appends. It has a clock
//! of its own speed, and keeps what its local log would keep.

use std::collections::BTreeMap;
use std::time::Duration;

use chatshard::journal::base::JournalBase;
use chatshard::journal::engine::{Condition, EngineProfile, EngineReply, EngineRequest};
use chatshard::journal::engine::{LeaseTimes, StoredEntry};
use chatshard::journal::entry::{ClaimFacts, ControlBody, EntryKind};
use chatshard::journal::names::{ActiveMember, MemberNames};
use chatshard::journal::place::JournalPlace;
use chatshard::journal::quiet::QuietTime;
use chatshard::journal::reader::{Content, JournalReader, Verdict};
use chatshard::journal::sim::SimEngine;
use chatshard::journal::writer::{AppendProgress, JournalWriter, StintEnd};
use snapshot::{Batch, Lsn};

pub const JOURNAL: u64 = 0x6a6f_7572_6e61_6c01;
pub const ENDPOINTS: u16 = 3;
const READ_MAX: usize = 8;
const LOOK: Duration = Duration::from_millis(30);

/// Times of a tenth of those that fit a real engine, so that a history is short.
pub fn profile(condition: Condition) -> EngineProfile {
    let ms = Duration::from_millis;
    EngineProfile {
        condition,
        entry_bytes_max: 2048,
        queue_bytes_max: 1 << 16,
        endpoints: ENDPOINTS,
        times: LeaseTimes { beat: ms(50), serve: ms(200), claim: ms(300) },
        retry: ms(40),
        stall: ms(300),
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone)]
pub struct Draw(pub u64);

impl Draw {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, count: u64) -> u64 {
        self.draw() % count
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What a request of a node was for.
enum Purpose {
    Writer(u64),
    Read,
    Follow,
    Trim,
}

/// A prefix of the records that count, as one node has applied them.
#[derive(Clone, Default)]
pub struct Applied {
    /// Records up to here are from another node's snapshot.
    pub before: u64,
    pub records: Vec<u64>,
}

impl Applied {
    pub fn last(&self) -> Lsn {
        Lsn(self.before + u64::try_from(self.records.len()).unwrap())
    }

    fn cut(&mut self, last: Lsn) {
        self.records.truncate(usize::try_from(last.0 - self.before).unwrap());
    }
}

pub struct Node {
    pub number: u32,
    /// Speed of its clock, in thousandths.
    pub speed: u32,
    pub paused_until: Duration,
    /// Deliveries that wait for the end of a pause.
    pub waiting: Vec<(u64, EngineReply)>,
    pub applied: Applied,
    pub writer: Option<JournalWriter>,
    reader: JournalReader,
    profile: EngineProfile,
    quiet: QuietTime,
    looked: Duration,
    claim_at: Option<Duration>,
    follows: Option<u64>,
    wants_follow: bool,
    endpoint: Option<u16>,
    /// The read whose reply is awaited.
    reading: Option<u64>,
    next_id: u64,
    sent: BTreeMap<u64, Purpose>,
    /// The batch under way.
    batch: Vec<u64>,
    /// Places where its local log could end, with the last LSN there.
    places: Vec<JournalPlace>,
    /// Records that it acknowledged since the history looked.
    pub acked: Vec<(Lsn, u64)>,
    pub claims: u64,
    pub beats: u64,
    pub void: u64,
    pub damaged: u64,
}

impl Node {
    pub fn new(number: u32, condition: Condition, draw: &mut Draw) -> Self {
        let reader = JournalReader::new(JOURNAL, condition);
        Self {
            number,
            speed: 900 + u32::try_from(draw.below(201)).unwrap(),
            paused_until: Duration::ZERO,
            waiting: Vec::new(),
            applied: Applied::default(),
            writer: None,
            places: vec![reader.place()],
            reader,
            profile: profile(condition),
            quiet: QuietTime::new(2 * LOOK),
            looked: Duration::ZERO,
            claim_at: None,
            follows: None,
            wants_follow: draw.one_in(2),
            endpoint: None,
            reading: None,
            next_id: 1,
            sent: BTreeMap::new(),
            batch: Vec::new(),
            acked: Vec::new(),
            claims: 0,
            beats: 0,
            void: 0,
            damaged: 0,
        }
    }

    /// Its own clock at this time of the world.
    pub fn clock(&self, world: Duration) -> Duration {
        world * self.speed / 1000
    }

    /// Whether it would answer as the active now.
    pub fn answers(&self, world: Duration) -> bool {
        let left = self.writer.as_ref().map(|writer| writer.lease_left(self.clock(world)));
        self.paused_until <= world && left.is_some_and(|left| !left.is_zero())
    }

    pub fn next_seq(&self) -> u64 {
        self.reader.next_seq()
    }

    fn send(&mut self, sim: &mut SimEngine, purpose: Purpose, request: EngineRequest) {
        let id = self.next_id;
        self.next_id += 1;
        self.sent.insert(id, purpose);
        sim.send(self.number, id, request);
    }

    /// Its process ends and begins again. Its local log has lost some of its end, or all of it.
    pub fn restart(&mut self, sim: &mut SimEngine, draw: &mut Draw) {
        sim.forget(self.number);
        let kept = self.places.len().saturating_sub(usize::try_from(draw.below(4)).unwrap());
        self.places.truncate(if draw.one_in(8) { 1 } else { kept.max(1) });
        self.begin_again();
    }

    /// Continues as a standby, from the end of its local log.
    fn begin_again(&mut self) {
        let place = *self.places.last().unwrap();
        self.void += self.reader.void();
        self.reader = JournalReader::begin(JOURNAL, self.profile.condition, place);
        if place.next_lsn.previous().0 < self.applied.before {
            self.applied = Applied::default();
        }
        self.applied.cut(place.next_lsn.previous());
        self.stand_by();
    }

    fn stand_by(&mut self) {
        self.writer = None;
        self.quiet = QuietTime::new(2 * LOOK);
        (self.claim_at, self.follows, self.endpoint) = (None, None, None);
        self.sent.clear();
        self.batch.clear();
    }

    /// Does what is due: looks at the tail, claims, sends what the writer wants.
    pub fn turn(&mut self, sim: &mut SimEngine, draw: &mut Draw) -> Result<(), String> {
        let now = self.clock(sim.now());
        match &mut self.writer {
            Some(writer) if writer.is_idle() => {
                if writer.is_beat_due(now) {
                    writer.control(0, &ControlBody::Beat).unwrap();
                    self.beats += 1;
                } else if draw.one_in(3) {
                    self.begin_batch(draw);
                } else if draw.one_in(120) {
                    writer.control(0, &ControlBody::Release(None)).unwrap();
                } else if draw.one_in(30) {
                    self.trim(sim, draw);
                }
            }
            Some(_) => {}
            None => self.look(sim, now, draw),
        }
        self.poll(sim);
        Ok(())
    }

    fn begin_batch(&mut self, draw: &mut Draw) {
        let records = 1 + draw.below(3);
        let padding = if draw.one_in(6) { 1500 } else { 0 };
        let mut batch = Batch::new();
        self.batch = (0..records).map(|_| draw.draw()).collect();
        for record in &self.batch {
            let mut payload = record.to_le_bytes().to_vec();
            payload.resize(8 + padding, 7);
            batch.push(&payload).unwrap();
        }
        self.writer.as_mut().unwrap().append(0, &batch).unwrap();
    }

    fn trim(&mut self, sim: &mut SimEngine, draw: &mut Draw) {
        let Some(writer) = &self.writer else { return };
        let back = usize::try_from(draw.below(6)).unwrap() + 1;
        let Some(place) = self.places.len().checked_sub(back).map(|at| self.places[at]) else {
            return;
        };
        if place.seq > 1 {
            let (epoch, upto) = (writer.epoch(), place.seq);
            let active = ActiveMember { epoch, names: MemberNames::default() };
            let base = JournalBase { place, active }.encode(JOURNAL).unwrap();
            self.send(sim, Purpose::Trim, EngineRequest::Trim { epoch, upto, base });
        }
    }

    fn look(&mut self, sim: &mut SimEngine, now: Duration, draw: &mut Draw) {
        if self.claim_at.is_some_and(|at| at <= now) {
            let reader = self.reader.clone();
            let facts = ClaimFacts { member: self.number.to_string(), ..ClaimFacts::default() };
            let writer = JournalWriter::claim(reader, self.profile, draw.draw(), 0, facts);
            self.writer = Some(writer.unwrap());
            (self.claim_at, self.follows) = (None, None);
            self.claims += 1;
            return;
        }
        if self.wants_follow && self.follows.is_none() {
            self.follows = Some(self.next_id);
            let from = self.reader.next_seq();
            self.send(sim, Purpose::Follow, EngineRequest::Follow { from });
        }
        if now.saturating_sub(self.looked) >= LOOK {
            self.read(sim, now);
        }
    }

    fn read(&mut self, sim: &mut SimEngine, now: Duration) {
        self.looked = now;
        self.reading = Some(self.next_id);
        let (from, max, endpoint) = (self.reader.next_seq(), READ_MAX, self.endpoint);
        self.send(sim, Purpose::Read, EngineRequest::Read { from, max, endpoint });
    }

    fn poll(&mut self, sim: &mut SimEngine) {
        let now = self.clock(sim.now());
        while let Some((id, request)) = self.writer.as_mut().and_then(|writer| writer.poll(now)) {
            self.send(sim, Purpose::Writer(id), request);
        }
    }

    /// Takes one delivery of the engine.
    pub fn on_reply(
        &mut self,
        sim: &mut SimEngine,
        id: u64,
        reply: EngineReply,
        draw: &mut Draw,
    ) -> Result<(), String> {
        let now = self.clock(sim.now());
        match (self.sent.get(&id), self.writer.is_some()) {
            (Some(Purpose::Writer(id)), true) => {
                let writer = self.writer.as_mut().unwrap();
                match writer.on_reply(now, *id, reply) {
                    AppendProgress::None => {}
                    AppendProgress::Committed { kind, lsn, .. } => self.committed(kind, lsn),
                    AppendProgress::Ended(end) => self.ended(&end)?,
                }
                self.poll(sim);
                Ok(())
            }
            (Some(Purpose::Read), false) if self.reading == Some(id) => {
                self.reading = None;
                self.on_read(sim, now, reply, draw)
            }
            (Some(Purpose::Follow), false) if self.follows == Some(id) => match reply {
                // While bytes are damaged, reads from single endpoints alone are believed.
                EngineReply::Entries(_) if self.endpoint.is_some() => Ok(()),
                EngineReply::Entries(entries) => self.take(sim, now, &entries).map(drop),
                _ => {
                    self.follows = None;
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }

    fn committed(&mut self, kind: EntryKind, lsn: Lsn) {
        let writer = self.writer.as_ref().unwrap();
        let boundary = writer.boundary().unwrap();
        let is_whole = kind != EntryKind::Records || lsn > self.applied.last();
        if kind == EntryKind::Records && is_whole {
            let first = self.applied.last().next().0;
            self.acked.extend((first..).map(Lsn).zip(self.batch.iter().copied()));
            self.applied.records.append(&mut self.batch);
            assert_eq!(self.applied.last(), lsn, "the LSN of a committed batch");
        }
        if is_whole {
            self.places.push(boundary);
        }
        if kind == EntryKind::Release {
            self.begin_again();
        }
    }

    fn ended(&mut self, end: &StintEnd) -> Result<(), String> {
        let had_claim = self.writer.as_ref().is_some_and(|writer| writer.boundary().is_some());
        match end {
            StintEnd::Fenced { .. } | StintEnd::LeftBehind | StintEnd::Released if had_claim => {
                self.begin_again();
            }
            StintEnd::Overtaken | StintEnd::LeftBehind => self.stand_by(),
            _ => return Err(format!("node {}: {end}", self.number)),
        }
        Ok(())
    }

    fn on_read(
        &mut self,
        sim: &mut SimEngine,
        now: Duration,
        reply: EngineReply,
        draw: &mut Draw,
    ) -> Result<(), String> {
        match reply {
            EngineReply::Gone { base } => {
                let base = JournalBase::decode(&base, JOURNAL).ok_or("the base is damaged")?;
                let base = base.place;
                if base.seq >= self.reader.next_seq() {
                    // A snapshot of another node has what is before the base.
                    self.void += self.reader.void();
                    self.reader = JournalReader::begin(JOURNAL, self.profile.condition, base);
                    let before = base.next_lsn.previous().0;
                    self.applied = Applied { before, records: Vec::new() };
                    self.places = vec![base];
                }
            }
            EngineReply::Entries(entries) => {
                let is_all = entries.len() < READ_MAX && self.endpoint.is_none();
                let is_new = self.take(sim, now, &entries)?;
                self.quiet.looked(now, is_new);
                let may = self.quiet.quiet() >= self.profile.times.claim
                    || self.reader.is_released() && draw.one_in(2);
                let is_begun = self.reader.place().index > 0;
                if is_new {
                    self.claim_at = None;
                } else if is_all && may && is_begun && self.claim_at.is_none() {
                    self.claim_at = Some(now + Duration::from_millis(draw.below(30)));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Judges entries. Returns whether one of them was new.
    fn take(
        &mut self,
        sim: &mut SimEngine,
        now: Duration,
        entries: &[StoredEntry],
    ) -> Result<bool, String> {
        let mut is_new = false;
        for StoredEntry { seq, bytes } in entries {
            // A follow that began earlier may be ahead of a reader that began again.
            if *seq > self.reader.next_seq() {
                break;
            }
            match self.reader.accept(*seq, bytes) {
                Verdict::Repeated => continue,
                Verdict::Void => {}
                Verdict::Damaged(fault) => {
                    self.damaged += 1;
                    let next = self.endpoint.map_or(0, |asked| asked + 1);
                    if next >= ENDPOINTS {
                        return Err(format!("node {}: {fault}", self.number));
                    }
                    self.endpoint = Some(next);
                    self.read(sim, now);
                    return Ok(true);
                }
                Verdict::Gap(fault) | Verdict::Newer(fault) => {
                    return Err(format!("node {}: {fault}", self.number));
                }
                Verdict::Accepted(entry) => {
                    if let Content::Records(batch) = &entry.content {
                        for payload in batch.payloads() {
                            let (record, _) = payload.split_first_chunk::<8>().unwrap();
                            self.applied.records.push(u64::from_le_bytes(*record));
                        }
                    }
                    self.places.extend(self.reader.boundary());
                }
            }
            is_new = true;
            self.endpoint = None;
            self.claim_at = None;
        }
        if is_new {
            self.quiet.looked(now, true);
        }
        Ok(is_new)
    }
}
