//! The histories find the faults that are planted for them. This needs the feature
//! `planted-faults`: `just planted-faults`.

use snapshot::Planted;
use snapshot::planted::plant;

use super::histories::play;

/// Histories within which a fault must be found.
const SEEDS: u64 = 400;

/// Plays histories until one fails. Its failure must contain one of these texts.
fn finds(fault: Planted, telling: &[&str]) {
    plant(Some(fault));
    let found = (0..SEEDS).find_map(|seed| play(seed).err().map(|why| (seed, why)));
    plant(None);
    let (seed, why) = found.unwrap_or_else(|| panic!("{fault:?} is not found in {SEEDS} seeds"));
    println!("{fault:?} is found by seed {seed}: {why}");
    assert!(telling.iter().any(|part| why.contains(part)), "{fault:?} is told as: {why}");
    assert!(play(seed).is_ok(), "seed {seed} fails without {fault:?}, too");
}

#[test]
fn entries_that_are_believed_whatever_their_index() {
    finds(Planted::JournalIndexUnchecked, &["its first LSN", "it follows another entry", "Gap"]);
}

#[test]
fn a_lease_that_begins_with_the_reply() {
    finds(Planted::LeaseFromReply, &["nodes answer at", "is acknowledged"]);
}
