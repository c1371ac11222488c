//! The simulation finds the faults that it is for. With a fault planted in production's code it
//! fails within few seeds, by the check that the fault breaks. It needs the feature
//! `planted-faults`: `cargo test --features planted-faults --test simulation faults`.

use snapshot::Planted;
use snapshot::planted::plant;

use crate::attempt;
use crate::pairs::play_pairs;

/// Seeds within which a fault must be found.
const SEEDS: u64 = 400;

/// Plays seeds until one fails. Its failure must contain one of these texts.
fn finds(fault: Planted, telling: &[&str]) {
    plant(Some(fault));
    let found = (0..SEEDS).find_map(|seed| attempt(seed).err().map(|failure| (seed, failure.why)));
    plant(None);
    let (seed, why) = found.unwrap_or_else(|| panic!("{fault:?} is not found in {SEEDS} seeds"));
    println!("{fault:?} is found by seed {seed}: {why}");
    assert!(telling.iter().any(|part| why.contains(part)), "{fault:?} is told as: {why}");
    assert!(attempt(seed).is_ok(), "seed {seed} fails without {fault:?}, too");
}

#[test]
fn a_reply_before_the_sync() {
    finds(Planted::ReplyBeforeSync, &["last is", "handed out before", "the model:", "was pinned"]);
}

#[test]
fn an_outbox_that_is_not_kept() {
    let newer = "does not see newer messages";
    finds(Planted::OutboxNotKept, &["does not fit the state", "verify:", "of its users", newer]);
}

#[test]
fn an_effect_in_the_log_before_its_cause() {
    let telling = ["verify:", "the model:", "last is", "does not fit", "handed out before"];
    finds(Planted::EffectBeforeCause, &telling);
}

#[test]
fn a_name_before_the_sync() {
    finds(Planted::RenameBeforeSync, &[".img"]);
}

#[test]
fn a_wall_clock_that_is_believed() {
    finds(Planted::ClockBelieved, &["ms further than", "it is too far ahead"]);
}

#[test]
fn keys_that_age_by_the_wall_clock() {
    finds(Planted::KeysAgeByClock, &["the model:", "it was another answer before", "last is"]);
}

#[test]
fn a_delivery_applied_twice() {
    finds(Planted::DeliveredTwice, &["was pinned", "the model:", "another state"]);
}

#[test]
fn a_clean_up_that_poisons_the_log() {
    finds(Planted::CleanUpPoisons, &["the log is poisoned, and no sync of a file failed"]);
}

#[test]
fn a_request_overtaken_by_one_behind_it() {
    plant(Some(Planted::OvertakesOnTheWay));
    let found = (0..8).find_map(|seed| play_pairs(seed, 8).err().map(|why| (seed, why)));
    plant(None);
    let (seed, why) = found.expect("it is not found in 8 seeds");
    println!("found by seed {seed}: {why}");
    assert!(why.contains("a pair"), "it is told as: {why}");
}
