//! Members whose wall clock is wrong: time never goes back from one active to the next, and who is far
//! ahead claims last.

use std::time::Duration;

use chatshard::command::Kind;
use serde_json::json;

use super::history::check_times;
use super::plays::{Play, active};
use super::world::{Fault, MEMBERS};

/// Ten minutes.
const WRONG_MS: i64 = 600_000;

/// The active dies, and the clocks of all others are far behind.
pub fn slow_next(seed: u64) -> Result<(), Fault> {
    let (mut play, first) = Play::begin(seed)?;
    for at in (0..MEMBERS).filter(|at| *at != first) {
        play.world.set_clock(at, -WRONG_MS);
        // A start believes the wall clock.
        let now = play.world.now();
        play.world.kill(at, false, now);
    }
    play.until("standbys", |world| (0..MEMBERS).all(|at| world.members[at].life.is_some()))?;
    let later = play.world.now() + Duration::from_secs(5);
    play.world.kill(first, false, later);
    play.until("another active", |world| active(world).is_some())?;
    for _ in 0..10_000 {
        play.step()?;
    }
    check_times(&play.world)?;
    play.rest()
}

/// A key is remembered by the next active, whose clocks have nothing to do with those before.
pub fn key_survives(seed: u64) -> Result<(), Fault> {
    let (mut play, first) = Play::begin(seed)?;
    let asked = json!({"id": "k", "creator_id": "a", "type": 2, "user_ids": ["a", "b"]});
    play.ask(first, Kind::Create, asked)?;
    for at in (0..MEMBERS).filter(|at| *at != first) {
        play.world.set_clock(at, 2 * WRONG_MS * [1, -1][usize::try_from(seed % 2).unwrap()]);
        let now = play.world.now();
        play.world.kill(at, false, now);
    }
    let heard = play.world.now() + Duration::from_secs(1);
    play.until("reports", |world| world.now() > heard)?;
    let write = json!({"chat_id": "k", "allocate": 1, "idempotency_key": "once"});
    let reply = play.ask(first, Kind::Advance, write.clone())?;
    let later = play.world.now() + Duration::from_secs(5);
    play.world.kill(first, false, later);
    let mut next = first;
    play.until("another active", |world| {
        let found = active(world);
        next = found.unwrap_or(first);
        found.is_some()
    })?;
    let again = play.ask(next, Kind::Advance, write)?;
    if again != reply {
        return Err(format!("the key was forgotten: {reply:?}, and then {again:?}"));
    }
    play.rest()
}

#[test]
fn the_next_active_remembers_keys() {
    for seed in 0..4 {
        key_survives(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn the_next_active_decides_at_no_earlier_time() {
    for seed in 0..4 {
        slow_next(seed).unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}

#[test]
fn a_member_whose_clock_is_far_ahead_claims_last() {
    for seed in 0..4 {
        let (mut play, first) = Play::begin(seed).unwrap();
        let ahead = (first + 1) % MEMBERS;
        play.world.set_clock(ahead, WRONG_MS);
        let now = play.world.now();
        play.world.kill(ahead, false, now);
        let heard = play.world.now() + Duration::from_secs(1);
        play.until("reports", |world| world.now() > heard).unwrap();
        let mut next = None;
        for dies in [Some(first), None] {
            let dies = dies.or(next).unwrap();
            let later = play.world.now() + Duration::from_secs(60);
            play.world.kill(dies, false, later);
            play.until("another active", |world| {
                next = active(world);
                next.is_some()
            })
            .unwrap();
            assert_eq!(next == Some(ahead), dies != first, "seed {seed}");
        }
        play.rest().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
