//! The adapter of etcd, against three real members on loopback.
//!
//! `CHATSHARD_ENGINE_APPENDS` sets the number of appends of each size that are timed.

use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chatshard::journal::client::{EngineClient, EnginePort};
use chatshard::journal::engine::{
    Condition, EngineAccess, EngineReply, EngineRequest, StoredEntry,
};
use chatshard::journal::entry::ClaimFacts;
use chatshard::journal::etcd::{EtcdSettings, start};
use chatshard::journal::reader::{Content, JournalReader, Verdict};
use chatshard::journal::writer::{AppendProgress, JournalWriter};
use etcd_client::{Client, GetOptions};
use rustix::process::Signal;
use snapshot::Batch;

use super::contract::{EngineDriver, keeps_the_contract};
use super::driver::{PortDriver, Served};
use super::engine::{Engine, MEMBERS};
use super::histories::genesis;
use super::node::JOURNAL;

/// Longest time of a step.
const PATIENCE: Duration = Duration::from_secs(30);

/// A journal in three members that several journals share.
struct Members {
    engine: Rc<Engine>,
    begun: Instant,
}

impl Served for Members {
    const PATIENCE: Duration = Duration::from_secs(5);

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn receive(&mut self, port: &EnginePort, until: Duration) -> Option<(u64, EngineReply)> {
        port.receive(until.saturating_sub(self.now()))
    }

    fn members(&self) -> u16 {
        u16::try_from(MEMBERS).unwrap()
    }

    fn restart(&mut self, member: u16) {
        self.engine.kill_and_begin(member.into());
        self.engine.wait_healthy(member.into());
    }
}

fn client(engine: &Engine, name: &str) -> EngineClient {
    start(EtcdSettings::new(engine.hosts(), name.to_owned(), EngineAccess::default())).unwrap()
}

fn driver(engine: &Rc<Engine>, name: &str) -> PortDriver<Members> {
    let client = client(engine, name);
    let members = Members { engine: Rc::clone(engine), begun: Instant::now() };
    PortDriver::new(members, client.profile(), client.port())
}

fn append(expect: u64, entry: impl Into<Bytes>) -> EngineRequest {
    EngineRequest::Append { expect, entry: entry.into() }
}

fn read(from: u64, endpoint: Option<u16>) -> EngineRequest {
    EngineRequest::Read { from, max: 100, endpoint }
}

/// Appends as a writer does: again after no word, until the entry is there. Returns how long that
/// took.
fn append_surely(driver: &mut impl EngineDriver, expect: u64, entry: &Bytes) -> Duration {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match driver.call(append(expect, entry.clone())) {
            EngineReply::Appended { seq } => {
                assert_eq!(seq, expect + 1);
                return begun.elapsed();
            }
            EngineReply::Conflict => match driver.call(read(expect + 1, None)) {
                EngineReply::Entries(found) => {
                    assert_eq!(found[0].bytes, *entry, "another entry at {}", expect + 1);
                    return begun.elapsed();
                }
                other => println!("a read: {other:?}"),
            },
            EngineReply::Unknown => {}
            other => panic!("an append: {other:?}"),
        }
    }
    panic!("the engine takes nothing");
}

#[test]
fn etcd_keeps_the_contract() {
    let Some(engine) = Engine::start().map(Rc::new) else { return };
    let made = std::cell::Cell::new(0);
    keeps_the_contract(|| {
        made.set(made.get() + 1);
        driver(&engine, &format!("contract-{}", made.get()))
    });
}

/// An active whose engine is real, with production's reader, writer and times.
struct Active {
    writer: JournalWriter,
    port: EnginePort,
    begun: Instant,
    appended: Vec<u64>,
}

impl Active {
    fn claim(client: &EngineClient) -> Self {
        let (port, begun) = (client.port(), Instant::now());
        port.send(0, append(0, genesis()));
        assert_eq!(port.receive(PATIENCE), Some((0, EngineReply::Appended { seq: 1 })));
        let mut reader = JournalReader::new(JOURNAL, client.profile().condition);
        assert!(matches!(reader.accept(1, &genesis()), Verdict::Accepted(_)));
        let facts = ClaimFacts::default();
        let writer = JournalWriter::claim(reader, client.profile(), 7, 0, facts).unwrap();
        let mut active = Self { writer, port, begun, appended: Vec::new() };
        active.until_idle();
        active
    }

    /// Appends a batch of two records. Returns how long it took.
    fn append(&mut self) -> Duration {
        let mut batch = Batch::new();
        for _ in 0..2 {
            let record = self.appended.len() as u64;
            batch.push(&record.to_le_bytes()).unwrap();
            self.appended.push(record);
        }
        self.writer.append(0, &batch).unwrap();
        self.until_idle()
    }

    fn until_idle(&mut self) -> Duration {
        let begun = self.begun.elapsed();
        while !self.writer.is_idle() {
            let now = self.begun.elapsed();
            assert!(now - begun < PATIENCE, "nothing is committed");
            while let Some((id, request)) = self.writer.poll(now) {
                self.port.send(id, request);
            }
            let Some((id, reply)) = self.port.receive(Duration::from_millis(20)) else { continue };
            let told = self.writer.on_reply(self.begun.elapsed(), id, reply);
            assert!(!matches!(told, AppendProgress::Ended(_)), "{told:?}");
        }
        self.begun.elapsed() - begun
    }
}

/// The records in entries, by the reader's rule.
fn records(entries: &[StoredEntry]) -> Vec<u64> {
    let mut reader = JournalReader::new(JOURNAL, Condition::Checked);
    let mut found = Vec::new();
    for StoredEntry { seq, bytes } in entries {
        match reader.accept(*seq, bytes) {
            Verdict::Accepted(entry) => {
                if let Content::Records(batch) = entry.content {
                    found.extend(
                        batch
                            .payloads()
                            .map(|payload| u64::from_le_bytes(payload.try_into().unwrap())),
                    );
                }
            }
            other => panic!("entry {seq}: {other:?}"),
        }
    }
    found
}

/// Whatever becomes of members, as long as two of them come back: what was committed is there once,
/// in order, for a reader and for a follower.
#[test]
fn entries_outlive_every_member() {
    let Some(engine) = Engine::start().map(Rc::new) else { return };
    let client = client(&engine, "outlives");
    let mut active = Active::claim(&client);
    let mut follower = driver(&engine, "outlives");
    follower.follow(1);
    let mut go_on = |what: &str| {
        let longest = (0..50).map(|_| active.append()).max().unwrap();
        println!("{what}: the longest append took {longest:?}");
        longest
    };
    go_on("all members");
    let leader = engine.leader();
    engine.kill(leader);
    // The specification demands 3 s of a machine that does nothing else.
    assert!(go_on("the leader is killed") < Duration::from_secs(10));
    engine.begin(leader);
    engine.wait_healthy(leader);
    let leader = engine.leader();
    engine.signal(leader, Signal::STOP);
    assert!(go_on("the leader stands still") < Duration::from_secs(10));
    engine.signal(leader, Signal::CONT);
    engine.wait_healthy(leader);
    for member in 0..MEMBERS {
        engine.kill_and_begin(member);
    }
    go_on("all members are killed and begin again");
    let mut reader = driver(&engine, "outlives");
    let read = EngineRequest::Read { from: 1, max: 1000, endpoint: None };
    let EngineReply::Entries(all) = reader.call(read) else { panic!("the entries") };
    assert_eq!(records(&all), active.appended);
    assert_eq!(follow_to(&mut follower, all.len()), all);
}

/// What a follow that began at 1 delivers, up to so many entries. It is begun again where it ended.
fn follow_to(follower: &mut PortDriver<Members>, count: usize) -> Vec<StoredEntry> {
    let mut all: Vec<StoredEntry> = Vec::new();
    let begun = Instant::now();
    while all.len() < count {
        assert!(begun.elapsed() < PATIENCE, "the follow is at {}", all.len());
        match follower.followed() {
            EngineReply::Entries(mut entries) => all.append(&mut entries),
            _ => follower.follow(u64::try_from(all.len()).unwrap() + 1),
        }
    }
    all
}

#[test]
fn without_two_members_nothing_is_appended_and_nothing_hangs() {
    let Some(engine) = Engine::start().map(Rc::new) else { return };
    let mut driver = driver(&engine, "alone");
    append_surely(&mut driver, 0, &Bytes::from_static(b"one"));
    engine.kill(0);
    engine.kill(1);
    for request in [append(1, "two"), read(1, None), EngineRequest::Tail, read(1, Some(0))] {
        let begun = Instant::now();
        assert_eq!(driver.call(request.clone()), EngineReply::Unknown, "{request:?}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{request:?}");
    }
    engine.begin(0);
    engine.begin(1);
    append_surely(&mut driver, 1, &Bytes::from_static(b"two"));
}

/// Keys of others, a hole, and a trim that was changed.
#[test]
fn foreign_values_are_no_entries() {
    let Some(engine) = Engine::start().map(Rc::new) else { return };
    let mut driver = driver(&engine, "foreign");
    for expect in 0..6 {
        append_surely(&mut driver, expect, &Bytes::from(format!("{expect}")));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut raw = runtime.block_on(Client::connect([engine.host(0)], None)).unwrap();
    let mut put = |key: &str, value: &[u8]| {
        runtime.block_on(raw.put(key, value, None)).unwrap();
    };
    put("foreign/e/0000000000000000007", b"a digit is missing");
    put("foreign/e/zzzz", b"no number");
    put("foreign2/e/00000000000000000009", b"another journal");
    assert_eq!(driver.call(EngineRequest::Tail), EngineReply::Tail { seq: 6 });
    let EngineReply::Entries(all) = driver.call(read(1, None)) else { panic!("the entries") };
    assert_eq!(all.len(), 6);
    // A missing entry is no trim: the reader sees what comes behind it.
    runtime.block_on(raw.delete("foreign/e/00000000000000000003", None)).unwrap();
    let EngineReply::Entries(behind) = driver.call(read(3, None)) else { panic!("not gone") };
    assert_eq!(behind, all[3..]);
    // A trim whose bytes were changed tells nothing, and stops the next one.
    let trim = |upto| EngineRequest::Trim { epoch: 1, upto, base: Bytes::from_static(b"base") };
    assert_eq!(driver.call(trim(4)), EngineReply::Trimmed);
    let kept = runtime.block_on(raw.get("foreign/trim", None)).unwrap().kvs()[0].value().to_vec();
    let mut changed = kept.clone();
    changed[8] ^= 1;
    let mut put = |key: &str, value: &[u8]| {
        runtime.block_on(raw.put(key, value, None)).unwrap();
    };
    put("foreign/trim", &changed);
    assert_eq!(driver.call(read(2, None)), EngineReply::Unknown);
    assert_eq!(driver.call(trim(5)), EngineReply::Unknown);
    put("foreign/trim", &kept);
    assert_eq!(driver.call(trim(5)), EngineReply::Trimmed);
}

/// A trim frees space: what was removed can be read at no older revision.
#[test]
fn a_trim_frees_space() {
    let Some(engine) = Engine::start().map(Rc::new) else { return };
    let mut driver = driver(&engine, "frees");
    for expect in 0..20 {
        append_surely(&mut driver, expect, &vec![7; 60_000].into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut raw = runtime.block_on(Client::connect([engine.host(0)], None)).unwrap();
    let key = "frees/e/00000000000000000005";
    let revision = runtime.block_on(raw.get(key, None)).unwrap().header().unwrap().revision();
    let trim = EngineRequest::Trim { epoch: 1, upto: 19, base: Bytes::from_static(b"base") };
    assert_eq!(driver.call(trim), EngineReply::Trimmed);
    let before = GetOptions::new().with_revision(revision);
    let old = runtime.block_on(raw.get(key, Some(before)));
    assert!(old.unwrap_err().to_string().contains("compacted"));
}

#[test]
fn an_engine_that_fills_up_says_so_before_it_refuses() {
    let Some(engine) = Engine::with_quota(16 << 20) else { return };
    let settings = EtcdSettings::new(engine.hosts(), "full".to_owned(), EngineAccess::default());
    let settings = EtcdSettings { quota_bytes: 16 << 20, ..settings };
    let client = start(settings).unwrap();
    let port = client.port();
    let (begun, mut expect) = (Instant::now(), 0);
    while !client.space().is_full() {
        for _ in 0..8 {
            port.send(expect + 1, append(expect, vec![1; 60_000]));
            let (_, reply) = port.receive(PATIENCE).unwrap();
            assert_eq!(reply, EngineReply::Appended { seq: expect + 1 }, "it refuses already");
            expect += 1;
        }
        let before = client.space().used_bytes();
        while client.space().used_bytes() == before {
            assert!(begun.elapsed() < 2 * PATIENCE, "{before:?} bytes");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    assert!(client.space().used_bytes().unwrap() > 10 << 20);
}

/// A follower that takes nothing costs a bounded amount of memory.
#[test]
fn a_follow_that_nobody_takes_ends() {
    let Some(engine) = Engine::start().map(Rc::new) else { return };
    let mut driver = driver(&engine, "slow");
    for expect in 0..200 {
        append_surely(&mut driver, expect, &vec![9; 60_000].into());
    }
    let follower = client(&engine, "slow").port();
    follower.send(1, EngineRequest::Follow { from: 1 });
    std::thread::sleep(Duration::from_secs(2));
    let mut replies: Vec<EngineReply> = Vec::new();
    while let Some((_, reply)) = follower.try_receive() {
        replies.push(reply);
    }
    assert!(replies.pop() == Some(EngineReply::FollowEnded));
    let delivered: usize = replies
        .iter()
        .map(|reply| match reply {
            EngineReply::Entries(entries) => entries.len(),
            _ => panic!("no delivery of a follow"),
        })
        .sum();
    assert!((60..=128).contains(&delivered), "{delivered} entries are delivered ahead");
}

#[test]
fn an_engine_that_is_not_there_ends_the_start() {
    let nobody = ["127.0.0.1:9", "127.0.0.1:10"].map(str::to_owned).to_vec();
    let told = start(EtcdSettings::new(nobody, "x".to_owned(), EngineAccess::default()))
        .err()
        .unwrap()
        .to_string();
    assert!(told.contains("no member of etcd replies: 127.0.0.1:10"), "{told}");
}

#[test]
fn appends_are_timed() {
    let Some(engine) = Engine::start().map(Rc::new) else { return };
    let count = std::env::var("CHATSHARD_ENGINE_APPENDS").ok();
    let count: usize = count.map_or(50, |text| text.parse().unwrap());
    for bytes in [200, 8 << 10, 64 << 10] {
        let mut driver = driver(&engine, &format!("timed-{bytes}"));
        let entry = Bytes::from(vec![0xa5; bytes]);
        let mut times: Vec<Duration> =
            (0..).take(count).map(|expect| append_surely(&mut driver, expect, &entry)).collect();
        times.sort();
        let (half, nearly_all) = (times[count / 2], times[count * 99 / 100]);
        println!("{bytes} B: p50 {half:?}, p99 {nearly_all:?}, of {count} appends");
        assert!(half < Duration::from_secs(1));
    }
}
