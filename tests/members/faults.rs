//! The histories find the faults that are planted for them. This needs the feature
//! `planted-faults`: `just planted-faults`.

mod digests;

use snapshot::Planted;
use snapshot::planted::plant;

use super::handover::hand_over_often;
use super::world::Fault;
use super::{bad_disk, clocks, confirmed, history, lost_end, returns, upgrade};

/// Histories within which a fault must be found.
const SEEDS: u64 = 60;

/// Plays histories until one fails. Its failure must contain one of these texts.
fn finds(fault: Planted, telling: &[&str]) {
    finds_by(|seed| history::play(seed).map(drop), fault, telling);
}

/// Like [`finds`], by other plays than histories.
fn finds_by(play: impl Fn(u64) -> Result<(), Fault>, fault: Planted, telling: &[&str]) {
    plant(Some(fault));
    let found = (0..SEEDS).find_map(|seed| play(seed).err().map(|why| (seed, why)));
    plant(None);
    let (seed, why) = found.unwrap_or_else(|| panic!("{fault:?} is not found in {SEEDS} seeds"));
    println!("{fault:?} is found by seed {seed}: {why}");
    assert!(telling.iter().any(|part| why.contains(part)), "{fault:?} is told as: {why}");
    assert!(play(seed).is_ok(), "seed {seed} fails without {fault:?}, too");
}

#[test]
fn a_claim_without_waiting() {
    finds(Planted::ClaimWithoutWait, &["may reply at once"]);
}

#[test]
fn a_claim_without_asking() {
    finds_by(lost_end::play, Planted::ClaimWithoutAsking, &["lost its end"]);
}

#[test]
fn a_return_without_comparing() {
    finds_by(returns::play, Planted::ReturnUncompared, &["a word of the record that differs"]);
}

#[test]
fn a_lease_that_begins_with_the_reply() {
    finds(Planted::LeaseFromReply, &["may reply at once", "was promised"]);
}

#[test]
fn a_read_that_an_earlier_append_confirms() {
    let play = |seed| confirmed::play(seed, true).map(drop);
    finds_by(play, Planted::ConfirmedBefore, &["was promised"]);
}

#[test]
fn a_state_as_new_as_the_reply_to_a_look() {
    finds(Planted::FreshFromReply, &["is older than"]);
}

#[test]
fn a_reply_before_the_journal_has_the_record() {
    let telling = ["was promised", "and was at", "again, after", "is older than"];
    finds(Planted::ReplyBeforeJournal, &telling);
}

#[test]
fn an_outbox_that_a_promotion_does_not_start() {
    finds(Planted::OutboxNotStarted, &["deliveries are left"]);
}

#[test]
fn a_release_before_the_cores_have_finished() {
    let play = |seed| hand_over_often(seed).map(drop);
    finds_by(play, Planted::ReleaseUndrained, &["are unknown"]);
}

#[test]
fn a_format_that_a_member_does_not_read() {
    finds_by(upgrade::play, Planted::FormatUnread, &["and a member reads up to"]);
}

#[test]
fn a_replay_that_changes_a_field() {
    finds(Planted::ReplayAlters, &["differs from digests"]);
}

#[test]
fn a_clock_that_goes_back_on_promotion() {
    finds_by(clocks::slow_next, Planted::ClockBackOnPromotion, &["goes back from"]);
}

#[test]
fn keys_that_age_by_the_clock_of_the_next_active() {
    finds_by(clocks::key_survives, Planted::KeysAgeByClock, &["the key was forgotten"]);
}

#[test]
fn an_active_that_stays_with_a_disk_that_takes_nothing() {
    finds_by(bad_disk::full_active, Planted::BadDiskStays, &["another active does not come"]);
}

#[test]
fn a_claim_with_a_disk_that_takes_nothing() {
    finds_by(bad_disk::full_standby, Planted::BadDiskClaims, &["with a disk that takes nothing"]);
}

#[test]
fn a_trim_of_what_others_do_not_have() {
    // A member that lacks what is trimmed waits for a copy, which this world does not make.
    finds(Planted::TrimOnOwnWord, &["the members do not come to rest"]);
}
