//! An engine that does not keep its contract is found out: by readers, by writers, and by the end.
//! Each verdict names the entry and the LSN.

use std::time::Duration;

use chatshard::journal::engine::{Condition, EngineReply, EngineRequest, StoredEntry};
use chatshard::journal::entry::{ClaimFacts, JournalEntry};
use chatshard::journal::reader::{JournalReader, Verdict};
use chatshard::journal::sim::{SimEngine, SimFaults};
use chatshard::journal::writer::{AppendProgress, JournalWriter, StintEnd};
use snapshot::{Batch, Lsn};

use super::histories::genesis;
use super::node::{JOURNAL, profile};

/// An engine on a perfect network, and the active that has written two batches of two records.
/// Genesis is entry 1, its claim 2, the batches 3 and 4.
fn written() -> (SimEngine, JournalWriter) {
    let condition = Condition::Checked;
    let mut sim = SimEngine::new(1, condition, 3, SimFaults::default());
    sim.send(0, 0, EngineRequest::Append { expect: 0, entry: genesis() });
    sim.next(Duration::ZERO).unwrap();
    let mut reader = JournalReader::new(JOURNAL, condition);
    assert!(matches!(reader.accept(1, &genesis()), Verdict::Accepted(_)));
    let facts = ClaimFacts::default();
    let mut writer = JournalWriter::claim(reader, profile(condition), 5, 0, facts).unwrap();
    assert!(matches!(drive(&mut sim, &mut writer), AppendProgress::Committed { seq: 2, .. }));
    for seq in 3..5 {
        writer.append(0, &batch()).unwrap();
        let lsn = Lsn(2 * (seq - 2));
        let progress = drive(&mut sim, &mut writer);
        assert!(
            matches!(progress, AppendProgress::Committed { seq: at, lsn: to, .. } if (at, to) == (seq, lsn))
        );
    }
    (sim, writer)
}

fn batch() -> Batch {
    let mut batch = Batch::new();
    batch.push(b"one").unwrap();
    batch.push(b"two").unwrap();
    batch
}

/// Sends what the writer wants until something is decided.
fn drive(sim: &mut SimEngine, writer: &mut JournalWriter) -> AppendProgress {
    for _ in 0..100 {
        if let Some((id, request)) = writer.poll(sim.now()) {
            sim.send(0, id, request);
        }
        let later = sim.now() + Duration::from_millis(10);
        if let Some(delivery) = sim.next(later) {
            let progress = writer.on_reply(sim.now(), delivery.id, delivery.reply);
            if progress != AppendProgress::None {
                return progress;
            }
        }
    }
    panic!("nothing is decided");
}

fn read(sim: &mut SimEngine, from: u64, endpoint: Option<u16>) -> Vec<StoredEntry> {
    sim.send(9, 9, EngineRequest::Read { from, max: 100, endpoint });
    match sim.next(sim.now()).unwrap().reply {
        EngineReply::Entries(entries) => entries,
        other => panic!("{other:?}"),
    }
}

/// Reads from genesis, and returns the first verdict that is not accepted.
fn stops(sim: &mut SimEngine, endpoint: Option<u16>) -> (JournalReader, Option<Verdict>) {
    let mut reader = JournalReader::new(JOURNAL, Condition::Checked);
    for entry in read(sim, 1, endpoint) {
        match reader.accept(entry.seq, &entry.bytes) {
            Verdict::Accepted(_) => {}
            other => return (reader, Some(other)),
        }
    }
    (reader, None)
}

#[test]
fn a_hole_is_a_gap() {
    let (mut sim, _) = written();
    sim.make_hole(3);
    let (reader, verdict) = stops(&mut sim, None);
    let Some(Verdict::Gap(fault)) = verdict else { panic!("{verdict:?}") };
    assert_eq!((fault.seq, fault.lsn), (3, Lsn(1)), "{fault}");
    assert_eq!(reader.next_seq(), 3, "nothing has changed");
}

#[test]
fn a_changed_byte_is_damage_and_another_endpoint_has_the_entry() {
    let (sim, _) = written();
    let bytes = read(&mut sim.clone(), 4, None)[0].bytes.len();
    for at in 0..bytes {
        let mut sim = sim.clone();
        sim.alter(4, 1, at, 1 << (at % 8));
        let (mut reader, verdict) = stops(&mut sim, Some(1));
        let Some(Verdict::Damaged(fault)) = verdict else { panic!("byte {at}: {verdict:?}") };
        assert_eq!((fault.seq, fault.lsn), (4, Lsn(3)), "{fault}");
        let whole = read(&mut sim, 4, Some(2));
        assert!(matches!(reader.accept(4, &whole[0].bytes), Verdict::Accepted(_)));
        assert_eq!(reader.committed(), Lsn(4));
    }
}

#[test]
fn an_end_that_went_back_is_found_by_the_tail_and_by_the_next_append() {
    let (mut sim, mut writer) = written();
    let (reader, verdict) = stops(&mut sim, None);
    assert_eq!(verdict, None);
    assert_eq!(reader.lost_end(sim.tail()), None);
    sim.lose_end(3);
    let fault = reader.lost_end(sim.tail()).unwrap();
    assert_eq!((fault.seq, fault.lsn), (4, Lsn(4)), "{fault}");
    writer.append(0, &batch()).unwrap();
    let ended = drive(&mut sim, &mut writer);
    let AppendProgress::Ended(StintEnd::Broken(fault)) = ended else { panic!("{ended:?}") };
    assert_eq!((fault.seq, fault.lsn), (5, Lsn(5)), "{fault}");
    assert_eq!(writer.lease_left(sim.now()), Duration::ZERO);
}

#[test]
fn an_end_that_was_lost_and_written_again_is_a_gap() {
    let (mut sim, mut writer) = written();
    let (mut reader, _) = stops(&mut sim, None);
    let old = read(&mut sim, 3, None);
    sim.lose_end(2);
    for entry in [&old[1], &old[0], &old[1]] {
        let expect = sim.tail();
        sim.send(3, 1, EngineRequest::Append { expect, entry: entry.bytes.clone() });
        sim.next(sim.now()).unwrap();
    }
    writer.append(0, &batch()).unwrap();
    let ended = drive(&mut sim, &mut writer);
    assert!(matches!(ended, AppendProgress::Ended(StintEnd::Broken(_))), "{ended:?}");
    let next = read(&mut sim, 5, None);
    assert!(matches!(reader.accept(5, &next[0].bytes), Verdict::Gap(_)));
    let (_, verdict) = stops(&mut sim, None);
    assert!(matches!(verdict, Some(Verdict::Gap(_))), "{verdict:?}");
}

#[test]
fn an_entry_of_another_journal_is_damage() {
    let (mut sim, _) = written();
    let mut reader = JournalReader::new(JOURNAL + 1, Condition::Checked);
    let verdict = reader.accept(1, &read(&mut sim, 1, None)[0].bytes);
    assert!(matches!(verdict, Verdict::Damaged(_)), "{verdict:?}");
}

#[test]
fn an_entry_of_a_newer_program_stops_the_reader() {
    let (mut sim, _) = written();
    let stored = read(&mut sim, 4, None);
    let (mut reader, _) = stops(&mut sim, None);
    let place = reader.place();
    for (at, byte) in [(3, 2), (4, 8), (5, 1), (10, 1)] {
        let mut bytes = stored[0].bytes.to_vec();
        bytes[at] = byte;
        let checksum = crc32c::crc32c(&bytes[..76]).to_le_bytes();
        bytes[76..80].copy_from_slice(&checksum);
        let verdict = reader.accept(5, &bytes);
        let Verdict::Newer(fault) = verdict else { panic!("byte {at}: {verdict:?}") };
        assert_eq!((fault.seq, fault.lsn), (5, Lsn(5)), "{fault}");
        assert!(JournalEntry::decode(&bytes).is_err());
    }
    assert_eq!(reader.place(), place);
}
