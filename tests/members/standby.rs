//! A standby as values, without threads: what it does with replies of the engine.

use std::time::Duration;

use bytes::Bytes;
use chatshard::journal::base::JournalBase;
use chatshard::journal::engine::{EngineReply, EngineRequest, StoredEntry};
use chatshard::journal::names::{ActiveMember, MemberNames};
use chatshard::journal::place::JournalPlace;
use chatshard::journal::reader::JournalReader;
use chatshard::node::identity::Identity;
use chatshard::node::standby::{Standby, StandbyEnd};
use snapshot::Lsn;

use super::world::{JOURNAL, identity, profile};

/// A standby that has the records up to `have` and the first entry, and whose next read is `read`.
fn behind_genesis(have: u64) -> (Standby, u64) {
    let reader = JournalReader::new(JOURNAL, profile().condition);
    let mut standby = Standby::new(reader, profile(), Lsn(have), Duration::ZERO);
    let (id, first) = standby.poll(Duration::ZERO).unwrap();
    assert!(matches!(first, EngineRequest::Read { from: 1, .. }), "{first:?}");
    let genesis = first_entry(&identity());
    let entries = EngineReply::Entries(vec![StoredEntry { seq: 1, bytes: genesis }]);
    assert_eq!(standby.on_reply(Duration::ZERO, id, entries).len(), 1);
    let read = next_read(&mut standby, None);
    (standby, read)
}

fn first_entry(identity: &Identity) -> Bytes {
    chatshard::node::genesis::first_entry(identity, Lsn(1), 1).unwrap()
}

fn next_read(standby: &mut Standby, of: Option<u16>) -> u64 {
    let (id, request) = standby.poll(Duration::ZERO).unwrap();
    match request {
        EngineRequest::Read { endpoint, .. } => assert_eq!(endpoint, of),
        other => panic!("{other:?}"),
    }
    id
}

fn base() -> JournalBase {
    let next_lsn = Lsn(30);
    let (seq, index) = (40, 40);
    let place = JournalPlace { seq, epoch: 3, writer: 5, index, next_lsn, checksum: 6, format: 1 };
    let names =
        MemberNames { member: "m1".into(), tcp: "one:7700".into(), admin: "one:7701".into() };
    JournalBase { place, active: ActiveMember { epoch: 4, names } }
}

#[test]
fn a_standby_that_begins_at_the_base_knows_the_active() {
    let (mut standby, read) = behind_genesis(29);
    let gone = EngineReply::Gone { base: base().encode(JOURNAL).unwrap() };
    standby.on_reply(Duration::ZERO, read, gone);
    assert_eq!(standby.end(), None);
    assert_eq!(standby.reader().place(), base().place);
    assert_eq!(standby.take_base_active(), Some(base().active));
    assert_eq!(standby.take_base_active(), None);
}

#[test]
fn a_journal_that_begins_behind_records_that_are_missing_ends_the_standby() {
    for (have, end) in [(6, Some(StandbyEnd::Trimmed { have: Lsn(6) })), (7, None), (8, None)] {
        let reader = JournalReader::new(JOURNAL, profile().condition);
        let mut standby = Standby::new(reader, profile(), Lsn(have), Duration::ZERO);
        let (id, _) = standby.poll(Duration::ZERO).unwrap();
        let genesis = chatshard::node::genesis::first_entry(&identity(), Lsn(8), 1).unwrap();
        let entries = EngineReply::Entries(vec![StoredEntry { seq: 1, bytes: genesis }]);
        let accepted = standby.on_reply(Duration::ZERO, id, entries);
        assert_eq!(standby.end(), end.as_ref(), "with {have} records");
        assert_eq!(accepted.is_empty(), end.is_some());
    }
}

#[test]
fn a_base_behind_records_that_are_missing_ends_the_standby() {
    let (mut standby, read) = behind_genesis(28);
    let gone = EngineReply::Gone { base: base().encode(JOURNAL).unwrap() };
    standby.on_reply(Duration::ZERO, read, gone);
    assert_eq!(standby.end(), Some(&StandbyEnd::Trimmed { have: Lsn(28) }));
    assert_eq!(standby.take_base_active(), None);
}

#[test]
fn a_damaged_base_is_asked_for_at_every_endpoint() {
    let (mut standby, mut read) = behind_genesis(29);
    let mut damaged = base().encode(JOURNAL).unwrap().to_vec();
    damaged[20] ^= 1;
    let damaged = || EngineReply::Gone { base: Bytes::from(damaged.clone()) };
    for endpoint in 0..profile().endpoints {
        standby.on_reply(Duration::ZERO, read, damaged());
        assert_eq!(standby.end(), None);
        read = next_read(&mut standby, Some(endpoint));
    }
    standby.on_reply(Duration::ZERO, read, damaged());
    let Some(StandbyEnd::Broken(fault)) = standby.end() else { panic!("{:?}", standby.end()) };
    assert!(fault.what.contains("base"), "{fault}");
}
