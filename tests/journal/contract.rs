//! What every engine must do, as one test for all adapters.
//!
//! An adapter brings an [`EngineDriver`] that makes its calls and waits for the replies, and calls
//! [`keeps_the_contract`] with a function that makes an empty journal. Nothing here is faster than
//! an engine: a call may fail or be lost at any time, and is repeated.

use std::time::Duration;

use bytes::Bytes;
use chatshard::journal::client::EnginePort;
use chatshard::journal::engine::{
    Condition, EngineProfile, EngineReply, EngineRequest, StoredEntry,
};
use chatshard::journal::sim::{SimEngine, SimFaults};
use chatshard::journal::sim_server::SimServer;

use super::driver::{PortDriver, Served};
use super::node::{Draw, profile};

/// Calls of one engine, one after the other.
pub trait EngineDriver {
    /// What its adapter says about it.
    fn profile(&self) -> EngineProfile;
    /// Makes a call and waits for its reply; [`EngineReply::Unknown`] if none comes.
    fn call(&mut self, request: EngineRequest) -> EngineReply;
    /// Makes a call whose reply nobody hears.
    fn call_unheard(&mut self, request: EngineRequest);
    /// Begins to follow; ends the follow before.
    fn follow(&mut self, from: u64);
    /// Waits for the next delivery of the follow.
    fn followed(&mut self) -> EngineReply;
    /// Number of members that can be restarted.
    fn members(&self) -> u16;
    /// Restarts a member, and waits until it is back.
    fn restart(&mut self, member: u16);
}

/// Calls until a request has an answer.
const ATTEMPTS: usize = 200;

/// Runs every test of the contract, each on an empty journal.
pub fn keeps_the_contract<D: EngineDriver>(make: impl Fn() -> D) {
    order(&mut make());
    condition(&mut make());
    unknown(&mut make());
    sizes(&mut make());
    follow(&mut make());
    trim(&mut make());
    endpoints(&mut make());
    restarts(&mut make());
}

/// An entry as an engine sees it: bytes that it does not understand.
fn entry(number: u64) -> Bytes {
    let mut bytes = vec![0xc1, 0, 0xff, b'\n'];
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.into()
}

/// Repeats a call until its reply says something.
fn answered(engine: &mut impl EngineDriver, request: &EngineRequest) -> EngineReply {
    let mut replies = (0..ATTEMPTS).map(|_| engine.call(request.clone()));
    replies.find(|reply| *reply != EngineReply::Unknown).expect("the engine does not answer")
}

fn read(engine: &mut impl EngineDriver, from: u64, max: usize) -> EngineReply {
    answered(engine, &EngineRequest::Read { from, max, endpoint: None })
}

fn entries(engine: &mut impl EngineDriver, from: u64, max: usize) -> Vec<StoredEntry> {
    match read(engine, from, max) {
        EngineReply::Entries(entries) => entries,
        other => panic!("a read from {from}: {other:?}"),
    }
}

fn tail(engine: &mut impl EngineDriver) -> u64 {
    match answered(engine, &EngineRequest::Tail) {
        EngineReply::Tail { seq } => seq,
        other => panic!("the tail: {other:?}"),
    }
}

/// Appends behind the tail, as a writer does: again and again, and with a look after a conflict.
fn append(engine: &mut impl EngineDriver, bytes: Bytes) -> u64 {
    let expect = tail(engine);
    for _ in 0..ATTEMPTS {
        match engine.call(EngineRequest::Append { expect, entry: bytes.clone() }) {
            EngineReply::Appended { seq } => return seq,
            EngineReply::Conflict => {
                let there = entries(engine, expect + 1, 1);
                assert_eq!(there.first().map(|entry| &entry.bytes), Some(&bytes));
                return expect + 1;
            }
            EngineReply::Unknown => {}
            other => panic!("an append: {other:?}"),
        }
    }
    panic!("the engine does not append");
}

/// Appends entries 1 to `count`. An engine without a condition may have some of them twice.
fn fill(engine: &mut impl EngineDriver, count: u64) {
    for number in 1..=count {
        append(engine, entry(number));
    }
}

fn order(engine: &mut impl EngineDriver) {
    assert_eq!(tail(engine), 0);
    assert_eq!(entries(engine, 1, 10), []);
    fill(engine, 20);
    let newest = tail(engine);
    let all = entries(engine, 1, 1000);
    let seqs: Vec<u64> = all.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, (1..=newest).collect::<Vec<u64>>(), "seqs count from 1 without gaps");
    let mut found: Vec<&Bytes> = all.iter().map(|entry| &entry.bytes).collect();
    if engine.profile().condition == Condition::Checked {
        assert_eq!(newest, 20);
    }
    found.dedup();
    let wanted: Vec<Bytes> = (1..=20).map(entry).collect();
    assert_eq!(found, wanted.iter().collect::<Vec<_>>());
    assert_eq!(entries(engine, 5, 3), all[4..7]);
    assert_eq!(entries(engine, newest, 3), all[all.len() - 1..]);
    assert_eq!(entries(engine, newest + 1, 3), []);
}

fn condition(engine: &mut impl EngineDriver) {
    fill(engine, 3);
    if engine.profile().condition == Condition::ReadBack {
        return;
    }
    for expect in [0, 1, 2, 4, 1000] {
        let request = EngineRequest::Append { expect, entry: entry(9) };
        assert_eq!(answered(engine, &request), EngineReply::Conflict, "expect {expect}");
    }
    assert_eq!(tail(engine), 3);
}

fn unknown(engine: &mut impl EngineDriver) {
    fill(engine, 2);
    for number in 3..20 {
        let expect = tail(engine);
        engine.call_unheard(EngineRequest::Append { expect, entry: entry(number) });
        let seq = append(engine, entry(number));
        // It may have come before the tail was read, after it, or never.
        assert!(seq > expect, "entry {number} at {seq}");
    }
    // Requests that arrive late and twice change nothing.
    let before = tail(engine);
    for expect in 0..before {
        engine.call_unheard(EngineRequest::Append { expect, entry: entry(expect + 1) });
    }
    let all = entries(engine, 1, 1000);
    let numbers: Vec<&Bytes> = all.iter().map(|entry| &entry.bytes).collect();
    for number in 1..20 {
        assert!(numbers.contains(&&entry(number)), "entry {number} is lost");
    }
    if engine.profile().condition == Condition::Checked {
        assert_eq!(tail(engine), before, "a late arrival was appended");
    }
}

fn sizes(engine: &mut impl EngineDriver) {
    let largest: Bytes = vec![0xa5; engine.profile().entry_bytes_max].into();
    let seq = append(engine, largest.clone());
    assert_eq!(entries(engine, seq, 1)[0].bytes, largest);
    // Every value of a byte comes back.
    let all: Bytes = (0..=255).collect::<Vec<u8>>().into();
    let seq = append(engine, all.clone());
    assert_eq!(entries(engine, seq, 1)[0].bytes, all);
}

/// Follows from `from` until an entry with the seq `until` has come. A follow that ends or says
/// nothing is begun again behind what has come.
fn follow_until(engine: &mut impl EngineDriver, from: u64, until: u64) -> Vec<StoredEntry> {
    let mut all: Vec<StoredEntry> = Vec::new();
    engine.follow(from);
    for _ in 0..10 * ATTEMPTS {
        let next = from + u64::try_from(all.len()).unwrap();
        if next > until {
            return all;
        }
        match engine.followed() {
            EngineReply::Entries(entries) => {
                for entry in entries {
                    let due = from + u64::try_from(all.len()).unwrap();
                    assert!(entry.seq <= due, "{} is delivered before {due}", entry.seq);
                    if entry.seq == due {
                        all.push(entry);
                    }
                }
            }
            EngineReply::FollowEnded | EngineReply::Unknown => engine.follow(next),
            other => panic!("a follow: {other:?}"),
        }
    }
    panic!("the follow does not come to {until}");
}

fn follow(engine: &mut impl EngineDriver) {
    fill(engine, 5);
    let newest = tail(engine);
    let followed = follow_until(engine, 1, newest);
    assert_eq!(followed, entries(engine, 1, 1000));
    fill(engine, 5);
    let newest = tail(engine);
    let followed = follow_until(engine, 3, newest);
    assert_eq!(followed, entries(engine, 3, 1000));
}

fn trim_to(
    engine: &mut impl EngineDriver,
    epoch: u64,
    upto: u64,
    base: &'static str,
) -> EngineReply {
    answered(
        engine,
        &EngineRequest::Trim { epoch, upto, base: Bytes::from_static(base.as_bytes()) },
    )
}

fn trim(engine: &mut impl EngineDriver) {
    fill(engine, 10);
    let newest = tail(engine);
    let all = entries(engine, 1, 1000);
    let base = |reply: &EngineReply| match reply {
        EngineReply::Gone { base } => String::from_utf8(base.to_vec()).unwrap(),
        other => panic!("not gone: {other:?}"),
    };
    assert_eq!(trim_to(engine, 2, 4, "four"), EngineReply::Trimmed);
    assert_eq!(entries(engine, 1, 1000), all[..1], "genesis stays");
    assert_eq!(base(&read(engine, 2, 1000)), "four");
    assert_eq!(base(&read(engine, 4, 1)), "four");
    assert_eq!(entries(engine, 5, 1000), all[4..]);
    // A trim of one who was replaced, and of less.
    assert_eq!(trim_to(engine, 1, 6, "old"), EngineReply::TrimRefused);
    assert_eq!(trim_to(engine, 3, 3, "less"), EngineReply::TrimRefused);
    assert_eq!(base(&read(engine, 2, 1000)), "four");
    assert_eq!(trim_to(engine, 3, 6, "six"), EngineReply::Trimmed);
    assert_eq!(base(&read(engine, 6, 1000)), "six");
    assert_eq!(entries(engine, 7, 1000), all[6..]);
    assert_eq!(tail(engine), newest);
    let seq = append(engine, entry(11));
    assert!(seq > newest);
    // A follow that begins too early says so, or ends.
    engine.follow(2);
    match engine.followed() {
        EngineReply::Gone { base: told } => assert_eq!(told, "six"),
        EngineReply::FollowEnded | EngineReply::Unknown => {}
        // It may repeat what comes before.
        EngineReply::Entries(again) if again == all[..1] => {}
        other => panic!("a follow of what is trimmed: {other:?}"),
    }
    if engine.profile().condition == Condition::Checked {
        // What was trimmed leaves no room for an append that arrives late.
        for expect in 0..seq {
            let late = EngineRequest::Append { expect, entry: entry(expect + 1) };
            assert_eq!(answered(engine, &late), EngineReply::Conflict, "expect {expect}");
        }
        assert_eq!(tail(engine), seq);
        assert_eq!(base(&read(engine, 2, 1000)), "six");
    }
    // The newest entry stays.
    assert_eq!(trim_to(engine, 3, seq, "all"), EngineReply::TrimRefused);
    assert_eq!(entries(engine, seq, 1)[0].bytes, entry(11));
}

fn endpoints(engine: &mut impl EngineDriver) {
    fill(engine, 4);
    let EngineReply::Endpoints(count) = answered(engine, &EngineRequest::Endpoints) else {
        panic!("the number of endpoints");
    };
    assert!(count > 0);
    let all = entries(engine, 1, 1000);
    for endpoint in (0..count).map(Some) {
        let request = EngineRequest::Read { from: 1, max: 1000, endpoint };
        assert_eq!(answered(engine, &request), EngineReply::Entries(all.clone()), "{endpoint:?}");
    }
}

fn restarts(engine: &mut impl EngineDriver) {
    for member in 0..engine.members() {
        fill(engine, 3);
        let before = entries(engine, 1, 1000);
        engine.restart(member);
        let after = entries(engine, 1, 1000);
        // An entry without a word may have arrived meanwhile, where there is no condition.
        assert_eq!(after[..before.len()], before, "after a restart of member {member}");
        append(engine, entry(100));
    }
}

/// The engine of [`chatshard::journal::sim`]. Time passes only while a call waits.
struct Simulated(SimServer);

const STEP: Duration = Duration::from_millis(5);

impl Served for Simulated {
    const PATIENCE: Duration = Duration::from_millis(200);

    fn now(&self) -> Duration {
        self.0.engine.now()
    }

    fn receive(&mut self, port: &EnginePort, until: Duration) -> Option<(u64, EngineReply)> {
        while self.now() < until {
            self.0.turn(self.now() + STEP);
            if let Some(reply) = port.try_receive() {
                return Some(reply);
            }
        }
        None
    }

    fn members(&self) -> u16 {
        3
    }

    fn restart(&mut self, _: u16) {
        self.0.engine.restart();
    }
}

fn simulated(condition: Condition, seed: Option<u64>) -> PortDriver<Simulated> {
    let ms = Duration::from_millis;
    let faults = match seed {
        None => SimFaults::default(),
        Some(_) => SimFaults {
            lost_requests: 100,
            doubled_requests: 200,
            lost_replies: 100,
            doubled_replies: 100,
            unknown_replies: 100,
            late_ones: 100,
            delay: ms(20),
            late: ms(500),
            bad_follows: 300,
        },
    };
    let mut server = SimServer::new(SimEngine::new(seed.unwrap_or(0), condition, 3, faults));
    let profile = EngineProfile { entry_bytes_max: 1 << 16, ..profile(condition) };
    let port = server.connect(0, profile).port();
    PortDriver::new(Simulated(server), profile, port)
}

#[test]
fn the_simulated_engine_keeps_the_contract() {
    for condition in [Condition::Checked, Condition::ReadBack] {
        keeps_the_contract(|| simulated(condition, None));
    }
}

#[test]
fn the_simulated_engine_keeps_the_contract_on_a_bad_network() {
    for seed in 0..100 {
        let random = Draw(seed).draw();
        keeps_the_contract(|| simulated(Condition::Checked, Some(random)));
    }
}
