//! Entries and places as bytes: what is encoded is decoded, changed bits are found, and foreign
//! bytes do no harm. The bytes that `docs/internals/journal.md` draws are those of today.

use std::fmt::Write as _;

use chatshard::journal::base::JournalBase;
use chatshard::journal::engine::Condition;
use chatshard::journal::entry::{
    ClaimFacts, ControlBody, ENTRY_BODY_BYTES_MAX, EntryError, EntryHeader, EntryKind, Genesis,
    JournalEntry, SealedEntry,
};
use chatshard::journal::names::{ActiveMember, MemberNames};
use chatshard::journal::place::JournalPlace;
use chatshard::journal::reader::{Content, JournalReader, Verdict};
use proptest::collection::vec;
use proptest::prelude::*;
use snapshot::{Batch, Lsn};

const PAGE: &str = include_str!("../../docs/internals/journal.md");

fn text() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9.:/ 会话]{0,60}"
}

fn control() -> impl Strategy<Value = ControlBody> {
    let genesis = (any::<u32>(), any::<u64>(), any::<u16>(), any::<u64>(), any::<u16>());
    let claim = (text(), text(), text(), text(), any::<u32>(), text());
    prop_oneof![
        genesis.prop_map(|(format, hash_seed, slots, incarnation, partitions)| {
            ControlBody::Genesis(Genesis { format, hash_seed, slots, incarnation, partitions })
        }),
        claim.prop_map(|(member, tcp, admin, program, format, why)| {
            ControlBody::Claim(ClaimFacts { member, tcp, admin, program, format, why })
        }),
        Just(ControlBody::Beat),
        proptest::option::of(text()).prop_map(ControlBody::Release),
        any::<u32>().prop_map(ControlBody::Format),
        any::<u16>().prop_map(ControlBody::Split),
    ]
}

fn header(kind: EntryKind) -> impl Strategy<Value = EntryHeader> {
    let ids = (any::<u64>(), 1..u64::MAX, any::<u64>(), 1..u64::MAX);
    (ids, 1..1_u64 << 52, any::<u64>(), any::<u32>()).prop_map(
        move |((journal, epoch, writer, index), first, time_ms, previous)| {
            let is_genesis = kind == EntryKind::Genesis;
            EntryHeader {
                kind,
                part: 0,
                parts: 1,
                journal,
                epoch: if is_genesis { 0 } else { epoch },
                writer,
                index: if is_genesis { 1 } else { index },
                first: Lsn(first),
                records: 0,
                time_ms,
                previous: if is_genesis { 0 } else { previous },
            }
        },
    )
}

fn control_entry() -> impl Strategy<Value = (SealedEntry, ControlBody)> {
    control().prop_flat_map(|body| {
        (header(body.kind()), Just(body))
            .prop_map(|(header, body)| (header.seal(&body.encode().unwrap()).unwrap(), body))
    })
}

fn records_entry() -> impl Strategy<Value = SealedEntry> {
    let parts = (1_u16..5).prop_flat_map(|parts| (0..parts, Just(parts)));
    (header(EntryKind::Records), parts, vec(any::<u8>(), 8..200)).prop_map(
        |(header, (part, parts), body)| {
            let header = EntryHeader { part, parts, records: 1, ..header };
            header.seal(&body).unwrap()
        },
    )
}

proptest! {
    #[test]
    fn what_is_sealed_is_decoded((sealed, body) in control_entry()) {
        let entry = JournalEntry::decode(&sealed.bytes).unwrap();
        prop_assert_eq!(entry.header, sealed.header);
        prop_assert_eq!(entry.checksum, sealed.checksum);
        let decoded = ControlBody::decode(entry.header.kind, entry.body).unwrap();
        prop_assert_eq!(decoded, Some(body));
    }

    #[test]
    fn parts_of_records_are_decoded(sealed in records_entry()) {
        let entry = JournalEntry::decode(&sealed.bytes).unwrap();
        prop_assert_eq!(entry.header, sealed.header);
        prop_assert_eq!(entry.header.seal(entry.body).unwrap(), sealed);
    }

    #[test]
    fn a_changed_bit_is_found(
        sealed in prop_oneof![records_entry(), control_entry().prop_map(|(sealed, _)| sealed)],
        at in any::<prop::sample::Index>(),
    ) {
        let bit = at.index(8 * sealed.bytes.len());
        let mut bytes = sealed.bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = JournalEntry::decode(&bytes).unwrap_err();
        prop_assert!(matches!(error, EntryError::Damaged(_)), "{}", error);
    }

    #[test]
    fn a_changed_length_is_found(sealed in records_entry(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(sealed.bytes.len());
        prop_assert!(JournalEntry::decode(&sealed.bytes[..cut]).is_err());
        let mut longer = sealed.bytes.to_vec();
        longer.push(0);
        prop_assert!(JournalEntry::decode(&longer).is_err());
    }

    #[test]
    fn foreign_bytes_are_refused(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(JournalEntry::decode(&bytes).is_err());
        prop_assert_eq!(JournalBase::decode(&bytes, 1), None);
        for kind in EntryKind::ALL {
            let _ = ControlBody::decode(kind, &bytes);
        }
        let mut reader = JournalReader::new(1, Condition::ReadBack);
        prop_assert!(matches!(reader.accept(1, &bytes), Verdict::Damaged(_)));
    }

    #[test]
    fn foreign_bodies_with_right_checksums_do_no_harm(
        body in vec(any::<u8>(), 1..300),
        (parts, records) in (1_u16..4, 1..20_u32),
    ) {
        let mut journal = Vec::new();
        let mut reader = JournalReader::new(7, Condition::Checked);
        let mut previous = 0;
        for (kind, index) in [(EntryKind::Genesis, 1), (EntryKind::Records, 2)] {
            let is_records = kind == EntryKind::Records;
            let header = EntryHeader {
                kind,
                part: 0,
                parts: if is_records { parts } else { 1 },
                journal: 7,
                epoch: 0,
                writer: 1,
                index,
                first: Lsn(1),
                records: if is_records { records } else { 0 },
                time_ms: 0,
                previous,
            };
            let genesis = ControlBody::decode(kind, &body);
            let Ok(sealed) = header.seal(&body) else { continue };
            let verdict = reader.accept(index, &sealed.bytes);
            if kind == EntryKind::Genesis && genesis.is_err() {
                prop_assert!(matches!(verdict, Verdict::Damaged(_)));
                return Ok(());
            }
            previous = sealed.checksum;
            journal.push(verdict);
        }
    }

    #[test]
    fn elements_that_a_newer_program_adds_are_passed_over(body in control()) {
        prop_assume!(!matches!(body, ControlBody::Beat | ControlBody::Release(None)));
        let mut bytes = body.encode().unwrap();
        // An array of up to 15 elements begins with 0x90 and their number.
        bytes[0] += 1;
        bytes.extend_from_slice(&[0xc3]);
        prop_assert_eq!(ControlBody::decode(body.kind(), &bytes).unwrap(), Some(body));
    }

    #[test]
    fn a_base_is_decoded_and_a_changed_bit_is_found(
        numbers in (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()),
        (checksum, format) in any::<(u32, u32)>(),
        active in (any::<u64>(), text(), text(), text()),
        at in any::<prop::sample::Index>(),
    ) {
        let (seq, epoch, writer, index, next) = numbers;
        let next_lsn = Lsn(next);
        let place = JournalPlace { seq, epoch, writer, index, next_lsn, checksum, format };
        let (epoch, member, tcp, admin) = active;
        let active = ActiveMember { epoch, names: MemberNames { member, tcp, admin } };
        let base = JournalBase { place, active };
        let mut bytes = base.encode(3).unwrap().to_vec();
        prop_assert_eq!(JournalBase::decode(&bytes, 4), None);
        prop_assert_eq!(JournalBase::decode(&bytes[..at.index(bytes.len())], 3), None);
        prop_assert_eq!(JournalBase::decode(&bytes, 3), Some(base));
        let bit = at.index(8 * bytes.len());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(JournalBase::decode(&bytes, 3), None);
    }
}

/// The first program wrote no format into the base.
#[test]
fn a_base_without_a_format_has_the_first_one() {
    let (journal, active) = (3, ActiveMember::default());
    let place = JournalPlace { seq: 9, format: 1, ..JournalPlace::default() };
    let base = JournalBase { place, active };
    let mut bytes = base.encode(journal).unwrap().to_vec();
    bytes.truncate(bytes.len() - 5);
    bytes[56] = 0x94;
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    assert_eq!(JournalBase::decode(&bytes, journal), Some(base));
}

#[test]
fn a_batch_in_parts_is_the_same_batch() {
    let mut batch = Batch::new();
    for record in [&b"first"[..], b"", &[7; 300]] {
        batch.push(record).unwrap();
    }
    let (frames, records) = (batch.bytes().to_vec(), 3);
    for bytes in [1, 7, 64, 331, frames.len()] {
        let mut reader = JournalReader::new(7, Condition::Checked);
        let genesis = ControlBody::Genesis(Genesis {
            format: 1,
            hash_seed: 0,
            slots: 1,
            incarnation: 0,
            partitions: 1,
        });
        let mut header = EntryHeader { journal: 7, epoch: 0, ..drawn(EntryKind::Genesis) };
        let sealed = header.seal(&genesis.encode().unwrap()).unwrap();
        assert!(matches!(reader.accept(1, &sealed.bytes), Verdict::Accepted(_)));
        let parts = frames.chunks(bytes);
        header.kind = EntryKind::Records;
        header.parts = u16::try_from(parts.len()).unwrap();
        header.records = records;
        header.previous = sealed.checksum;
        let mut seq = 1;
        for (part, body) in parts.enumerate() {
            header.part = u16::try_from(part).unwrap();
            header.index += 1;
            seq += 1;
            let sealed = header.seal(body).unwrap();
            header.previous = sealed.checksum;
            let Verdict::Accepted(entry) = reader.accept(seq, &sealed.bytes) else {
                panic!("part {part} of {bytes} bytes");
            };
            let is_last = header.part + 1 == header.parts;
            let wanted = if is_last { Content::Records(batch.clone()) } else { Content::Part };
            assert_eq!(entry.content, wanted);
            assert_eq!(reader.boundary().is_some(), is_last);
            assert_eq!(entry.behind, reader.boundary_cost());
            assert_eq!(reader.committed(), Lsn(if is_last { 3 } else { 0 }));
        }
    }
}

#[test]
fn what_cannot_be_decoded_is_not_sealed() {
    let right = drawn(EntryKind::Records);
    let large = vec![0; ENTRY_BODY_BYTES_MAX + 1];
    assert!(right.seal(&large).is_err());
    assert!(right.seal(&large[1..]).is_ok());
    for wrong in [
        EntryHeader { part: 1, ..right },
        EntryHeader { parts: 0, ..right },
        EntryHeader { index: 0, ..right },
        EntryHeader { first: Lsn(0), ..right },
        EntryHeader { first: Lsn::NAMED_MAX, ..right },
        EntryHeader { first: Lsn(u64::MAX), ..right },
        EntryHeader { records: 0, ..right },
        EntryHeader { records: 1000, ..right },
        EntryHeader { kind: EntryKind::Beat, ..right },
        EntryHeader { kind: EntryKind::Genesis, records: 0, index: 2, ..right },
    ] {
        assert!(wrong.seal(&[0; 16]).is_err(), "{wrong:?}");
    }
    let facts = ClaimFacts { why: "x".repeat(256), ..ClaimFacts::default() };
    assert!(ControlBody::Claim(facts).encode().is_err());
}

/// The header of an entry that the page draws.
fn drawn(kind: EntryKind) -> EntryHeader {
    let is_genesis = kind == EntryKind::Genesis;
    EntryHeader {
        kind,
        part: 0,
        parts: 1,
        journal: 0x0123_4567_89ab_cdef,
        epoch: if is_genesis { 0 } else { 3 },
        writer: 0x5741,
        index: if is_genesis { 1 } else { 9 },
        first: Lsn(if is_genesis { 1 } else { 40 }),
        records: u32::from(kind == EntryKind::Records) * 2,
        time_ms: 1_764_000_000_000,
        previous: if is_genesis { 0 } else { 0xfeed_beef },
    }
}

/// Bytes as the page draws them: 16 in a row, each row with its offset.
fn drawing(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (row, bytes) in bytes.chunks(16).enumerate() {
        write!(text, "{:3} ", 16 * row).unwrap();
        for byte in bytes {
            write!(text, " {byte:02x}").unwrap();
        }
        text.push('\n');
    }
    text
}

#[test]
fn the_page_draws_the_bytes_of_today() {
    let mut batch = Batch::new();
    batch.push(b"one").unwrap();
    batch.push(b"").unwrap();
    let mut wanted = vec![("records", drawn(EntryKind::Records).seal(batch.bytes()).unwrap())];
    for (name, body) in [
        (
            "genesis",
            ControlBody::Genesis(Genesis {
                format: 1,
                hash_seed: 42,
                slots: 4096,
                incarnation: 0xabcd_ef01,
                partitions: 1,
            }),
        ),
        (
            "claim",
            ControlBody::Claim(ClaimFacts {
                member: "a".into(),
                tcp: "10.0.0.1:7400".into(),
                admin: "10.0.0.1:7401".into(),
                program: "0.1.0".into(),
                format: 1,
                why: "silence".into(),
            }),
        ),
        ("beat", ControlBody::Beat),
        ("release", ControlBody::Release(Some("b".into()))),
        ("format", ControlBody::Format(2)),
        ("split", ControlBody::Split(16)),
    ] {
        let sealed = drawn(body.kind()).seal(&body.encode().unwrap()).unwrap();
        wanted.push((name, sealed));
    }
    let all: String = wanted
        .iter()
        .map(|(name, sealed)| format!("{name}\n{}", drawing(&sealed.bytes)))
        .collect::<Vec<_>>()
        .join("\n");
    assert!(PAGE.contains(&all), "docs/internals/journal.md must draw:\n{all}");
    let place = JournalPlace {
        seq: 12,
        epoch: 3,
        writer: 0x5741,
        index: 9,
        next_lsn: Lsn(42),
        checksum: wanted[0].1.checksum,
        format: 1,
    };
    let names = MemberNames {
        member: "a".into(),
        tcp: "10.0.0.1:7400".into(),
        admin: "10.0.0.1:7401".into(),
    };
    let base = JournalBase { place, active: ActiveMember { epoch: 4, names } };
    let base = drawing(&base.encode(0x0123_4567_89ab_cdef).unwrap());
    assert!(PAGE.contains(&base), "docs/internals/journal.md must draw the base:\n{base}");
}
