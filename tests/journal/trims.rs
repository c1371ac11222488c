//! What of a journal an active trims, and when: the decision as a value, and the requests.

use std::time::Duration;

use chatshard::journal::base::JournalBase;
use chatshard::journal::engine::{Condition, EngineReply, EngineRequest, StoredEntry};
use chatshard::journal::entry::{EntryHeader, EntryKind, JournalEntry};
use chatshard::journal::kept::{KeptEntries, TrimDecision, TrimLimits};
use chatshard::journal::names::{ActiveMember, MemberNames};
use chatshard::journal::place::JournalPlace;
use chatshard::journal::reader::JournalReader;
use chatshard::journal::trimmer::Trimmer;
use chatshard::node::standby::Standby;
use proptest::collection::vec;
use proptest::prelude::*;
use snapshot::{Batch, Lsn};

use super::histories::genesis;
use super::node::{JOURNAL, profile};

const SECOND: Duration = Duration::from_secs(1);
const ENTRY_BYTES: u64 = 100;

const LIMITS: TrimLimits = TrimLimits {
    keep_bytes: 1000,
    keep_time: Duration::from_secs(60),
    bytes_max: 4000,
    copies: 2,
    copies_min: 1,
};

/// The place behind entry `seq`; each entry has one record, and LSN and seq are equal.
fn place(seq: u64) -> JournalPlace {
    let next_lsn = Lsn(seq + 1);
    JournalPlace { seq, epoch: 1, writer: 2, index: seq, next_lsn, checksum: 3, format: 1 }
}

/// A journal of entries of [`ENTRY_BYTES`], one each second.
fn kept(entries: u64) -> KeptEntries {
    let mut kept = KeptEntries::new(&LIMITS);
    for seq in 1..=entries {
        kept.note(seconds(seq), place(seq), seq * ENTRY_BYTES);
    }
    kept
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Where a trim ends, and whether writes are refused, when the newest entry has just come.
fn decide(entries: u64, limits: TrimLimits, own: u64, others: &[u64]) -> (Option<u64>, bool) {
    let others: Vec<Lsn> = others.iter().map(|lsn| Lsn(*lsn)).collect();
    let decision = kept(entries).decide(seconds(entries), &limits, Lsn(own), &others);
    (decision.upto.map(|place| place.seq), decision.is_refusing)
}

#[test]
fn a_trim_leaves_the_bytes_and_the_time_that_are_kept() {
    assert_eq!(decide(40, LIMITS, 40, &[40]), (None, false), "nothing is old enough");
    let brief = TrimLimits { keep_time: 5 * SECOND, ..LIMITS };
    assert_eq!(decide(40, brief, 40, &[40]), (Some(30), false));
    let long = TrimLimits { keep_time: 35 * SECOND, ..LIMITS };
    assert_eq!(decide(40, long, 40, &[40]), (Some(5), false));
    let all = TrimLimits { keep_bytes: 0, keep_time: Duration::ZERO, ..LIMITS };
    assert_eq!(decide(40, all, 40, &[40]), (Some(39), false), "the newest entry stays");
    assert_eq!(decide(1, all, 1, &[1]), (None, false), "the newest entry stays");
}

#[test]
fn nothing_is_trimmed_that_too_few_members_have() {
    let brief = TrimLimits { keep_time: Duration::ZERO, ..LIMITS };
    for (own, others, upto) in [
        (40, &[12][..], Some(12)),
        (7, &[12], Some(7)),
        (40, &[12, 20], Some(20)),
        (40, &[0], None),
        (40, &[], None),
    ] {
        assert_eq!(decide(40, brief, own, others), (upto, false), "{own} {others:?}");
    }
    let three = TrimLimits { copies: 3, ..brief };
    assert_eq!(decide(40, three, 40, &[20, 12]), (Some(12), false));
    assert_eq!(decide(40, three, 40, &[20]), (None, false));
    let alone = TrimLimits { copies: 1, ..brief };
    assert_eq!(decide(40, alone, 25, &[]), (Some(25), false));
}

#[test]
fn over_the_maximum_fewer_copies_are_enough() {
    assert_eq!(decide(41, LIMITS, 41, &[41]), (Some(11), false), "three quarters stay");
    assert_eq!(decide(41, LIMITS, 41, &[]), (Some(11), false), "its own disk is enough");
    assert_eq!(decide(41, LIMITS, 41, &[0]), (Some(11), false), "who lags is left behind");
    assert_eq!(decide(41, LIMITS, 41, &[3]), (Some(3), false), "unless that is enough");
    assert_eq!(decide(60, LIMITS, 15, &[]), (Some(15), false), "never what it has not itself");
}

#[test]
fn with_a_minimum_of_copies_writes_are_refused_instead() {
    let two = TrimLimits { copies_min: 2, ..LIMITS };
    assert_eq!(decide(40, two, 40, &[]), (None, false), "not before the maximum");
    assert_eq!(decide(41, two, 41, &[]), (None, true));
    assert_eq!(decide(41, two, 41, &[41]), (Some(11), false));
    assert_eq!(decide(60, two, 60, &[3]), (Some(3), true), "it trims what it may");
    let three = TrimLimits { copies: 3, copies_min: 2, ..LIMITS };
    assert_eq!(decide(41, three, 41, &[41]), (Some(11), false));
}

#[test]
fn a_batch_over_the_maximum_refuses_no_writes_once_all_before_it_is_trimmed() {
    let two = TrimLimits { copies_min: 2, ..LIMITS };
    let mut kept = kept(10);
    kept.note(seconds(11), place(11), 10_000);
    let decide = |kept: &KeptEntries, other| {
        let decision = kept.decide(seconds(11), &two, Lsn(11), &[Lsn(other)]);
        (decision.upto.map(|place| place.seq), decision.is_refusing)
    };
    assert_eq!(decide(&kept, 9), (Some(9), true), "entry 10 waits for the other one");
    assert_eq!(decide(&kept, 10), (Some(10), false));
    kept.trimmed(&place(10));
    assert_eq!(decide(&kept, 0), (None, false), "only further writes make a boundary behind it");
    for seq in 12..50 {
        kept.note(seconds(11), place(seq), 10_000 + (seq - 11) * ENTRY_BYTES);
    }
    assert_eq!(decide(&kept, 0), (None, true));
    assert_eq!(decide(&kept, 11), (Some(11), false));
}

/// A journal of `records` batches behind genesis, each with one record.
fn entries(records: u64) -> Vec<StoredEntry> {
    let (mut batch, genesis) = (Batch::new(), genesis());
    batch.push(&[7; 40]).unwrap();
    let header = JournalEntry::decode(&genesis).unwrap().header;
    let mut header = EntryHeader { kind: EntryKind::Records, records: 1, ..header };
    let mut entries = vec![StoredEntry { seq: 1, bytes: genesis }];
    for seq in 2..2 + records {
        header.previous = JournalEntry::decode(&entries.last().unwrap().bytes).unwrap().checksum;
        (header.index, header.first) = (seq, Lsn(seq - 1));
        entries.push(StoredEntry { seq, bytes: header.seal(batch.bytes()).unwrap().bytes });
    }
    entries
}

#[test]
fn one_read_of_many_entries_leaves_a_boundary_behind_each() {
    let (reader, profile) =
        (JournalReader::new(JOURNAL, Condition::Checked), profile(Condition::Checked));
    let mut standby = Standby::new(reader, profile, Lsn(0), Duration::ZERO);
    let (id, _) = standby.poll(Duration::ZERO).unwrap();
    let read = EngineReply::Entries(entries(60));
    let mut kept = KeptEntries::new(&LIMITS);
    for entry in standby.on_reply(Duration::ZERO, id, read) {
        let (place, bytes) = entry.behind.unwrap();
        kept.note(Duration::ZERO, place, bytes);
    }
    assert!(kept.retained_bytes() > LIMITS.bytes_max);
    let decision = kept.decide(Duration::ZERO, &LIMITS, Lsn(60), &[Lsn(60)]);
    assert!((20..50).contains(&decision.upto.unwrap().seq), "{decision:?}");
}

#[test]
fn what_is_trimmed_counts_no_more() {
    let mut kept = kept(41);
    assert_eq!(kept.retained_bytes(), 4100);
    kept.trimmed(&place(11));
    assert_eq!(kept.retained_bytes(), 3000);
    assert_eq!(kept.copies(&[Lsn(10), Lsn(11), Lsn(50)]), 3, "with this one");
    let decision = kept.decide(seconds(41), &LIMITS, Lsn(41), &[]);
    assert_eq!(decision, TrimDecision::default());
}

#[test]
fn the_number_of_boundaries_is_bounded() {
    let limits = TrimLimits { bytes_max: u64::MAX, ..LIMITS };
    let mut kept = KeptEntries::new(&TrimLimits { bytes_max: 1, ..limits });
    for seq in 1..100_000 {
        kept.note(Duration::ZERO, place(seq), seq);
    }
    assert!(size_of_val(&kept) < 1000 && format!("{kept:?}").matches("seq").count() < 5000);
    let limits = TrimLimits { keep_bytes: 50_000, keep_time: Duration::ZERO, ..limits };
    let upto = kept.decide(Duration::ZERO, &limits, Lsn(u64::MAX), &[Lsn(u64::MAX)]).upto;
    assert!((9_900..=10_001).contains(&upto.unwrap().seq), "one trim removes so many: {upto:?}");
    for seq in (10_000..50_000).step_by(10_000) {
        kept.trimmed(&place(seq));
    }
    let upto = kept.decide(Duration::ZERO, &limits, Lsn(u64::MAX), &[Lsn(u64::MAX)]).upto;
    assert!((49_900..=50_000).contains(&upto.unwrap().seq), "{upto:?}");
}

proptest! {
    /// Whatever the numbers are: a trim leaves the newest entry, and takes nothing that is missing
    /// on this disk or on too many others.
    #[test]
    fn a_trim_never_takes_too_much(
        entries in 1_u64..100,
        own in 0_u64..100,
        others in vec(0_u64..100, 0..4),
        (keep_bytes, time, more) in (0_u64..5000, 0_u64..100, 0_u64..5000),
        (copies_min, more_copies) in (1_u16..4, 0_u16..3),
    ) {
        let limits = TrimLimits {
            keep_bytes,
            keep_time: seconds(time),
            bytes_max: keep_bytes + more,
            copies: copies_min + more_copies,
            copies_min,
        };
        let (upto, is_refusing) = decide(entries, limits, own, &others);
        let is_over = entries * ENTRY_BYTES > limits.bytes_max;
        prop_assert!(!is_refusing || copies_min > 1 && is_over);
        let Some(upto) = upto else { return Ok(()) };
        prop_assert!(upto < entries && upto <= own);
        prop_assert!((entries - upto) * ENTRY_BYTES >= keep_bytes);
        let have = 1 + others.iter().filter(|other| **other >= upto).count();
        let needed = if is_over { copies_min } else { limits.copies };
        prop_assert!(have >= usize::from(needed));
    }
}

fn trimmer(entries: u64) -> Trimmer {
    let names = MemberNames { member: "m1".into(), ..MemberNames::default() };
    Trimmer::new(JOURNAL, ActiveMember { epoch: 4, names }, LIMITS, kept(entries))
}

fn poll(trimmer: &mut Trimmer, now: Duration) -> Option<(u64, EngineRequest)> {
    trimmer.poll(now, Lsn(1000), &[Lsn(1000)])
}

/// Answers the question what is trimmed already.
fn answered(mut trimmer: Trimmer, reply: &EngineReply) -> Trimmer {
    let (id, asked) = poll(&mut trimmer, seconds(41)).unwrap();
    assert_eq!(asked, EngineRequest::Read { from: 2, max: 1, endpoint: None });
    assert_eq!(trimmer.on_reply(seconds(41), id, reply), None);
    trimmer
}

fn upto(request: &EngineRequest) -> u64 {
    let EngineRequest::Trim { epoch: 4, upto, base } = request else { panic!("{request:?}") };
    let base = JournalBase::decode(base, JOURNAL).unwrap();
    assert_eq!((base.place, base.active.epoch), (place(*upto), 4));
    assert_eq!(base.active.names.member, "m1");
    *upto
}

#[test]
fn a_trim_is_sent_again_until_there_is_a_reply() {
    let mut trimmer = answered(trimmer(41), &EngineReply::Entries(Vec::new()));
    let (first, request) = poll(&mut trimmer, seconds(41)).unwrap();
    assert_eq!(upto(&request), 11);
    assert_eq!(poll(&mut trimmer, seconds(42)), None);
    trimmer.note(seconds(43), place(42), 4200);
    let (second, again) = poll(&mut trimmer, seconds(60)).unwrap();
    assert_eq!(again, request, "the same trim");
    assert_eq!(trimmer.on_reply(seconds(60), first, &EngineReply::Trimmed), None, "a late reply");
    assert_eq!(trimmer.on_reply(seconds(60), second, &EngineReply::Unknown), None);
    assert_eq!(poll(&mut trimmer, seconds(60)), None);
    let (third, _) = poll(&mut trimmer, seconds(62)).unwrap();
    assert_eq!(trimmer.on_reply(seconds(62), third, &EngineReply::Trimmed), Some(place(11)));
    assert_eq!(trimmer.kept().retained_bytes(), 3100);
    assert_eq!(poll(&mut trimmer, seconds(62)), None);
}

#[test]
fn an_active_knows_what_another_one_has_trimmed() {
    let active = ActiveMember { epoch: 3, names: MemberNames::default() };
    let base = JournalBase { place: place(20), active }.encode(JOURNAL).unwrap();
    let mut trimmer = answered(trimmer(41), &EngineReply::Gone { base });
    assert_eq!(trimmer.kept().retained_bytes(), 2100);
    assert_eq!(poll(&mut trimmer, seconds(41)), None);
}

#[test]
fn a_refused_trim_was_done_before() {
    let mut trimmer = answered(trimmer(41), &EngineReply::Entries(Vec::new()));
    let (id, _) = poll(&mut trimmer, seconds(41)).unwrap();
    assert_eq!(trimmer.on_reply(seconds(41), id, &EngineReply::TrimRefused), None);
    assert_eq!(trimmer.kept().retained_bytes(), 3000);
}

#[test]
fn trims_below_the_maximum_wait_for_each_other() {
    let mut trimmer = answered(trimmer(30), &EngineReply::Entries(Vec::new()));
    let (id, _) = poll(&mut trimmer, seconds(70)).unwrap();
    trimmer.on_reply(seconds(70), id, &EngineReply::Trimmed);
    let pause = LIMITS.keep_time / 120;
    assert_eq!(poll(&mut trimmer, seconds(70)), None);
    assert_eq!(poll(&mut trimmer, seconds(70) + pause / 2), None);
    assert!(poll(&mut trimmer, seconds(72)).is_some());
}
