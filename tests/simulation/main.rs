//! A whole node in one thread, from one seed: several shards, the log and the turns of its thread,
//! the outbox, snapshots, recovery, clients. Its disk loses, tears, refuses, fills up, flips bits
//! and is slow. It lives through kills, crashes and other shard counts, even while it starts. All
//! of it is production's code; the seed only decides what happens next. Every reply is compared
//! with the rules: exactly in `alone`, on keys of its own, and by bounds in `crowd`, where many
//! clients share keys.
//!
//! The fsync mode of a run says what it may lose. With `always` no reported change may be lost, not
//! even if the machine stops. With `everysec` and `never` the end of the process loses nothing, and
//! the end of the machine loses a suffix of the log. Without a log everything after the last
//! snapshot may be lost.
//!
//! Each seed can be played again alone: `CHATSHARD_SIM_SEED=17 cargo test --test simulation --
//! --nocapture`. `CHATSHARD_SIM_EVENTS` sets how many of its events are printed.
//! `CHATSHARD_SIM_SEEDS` sets the number of seeds and draws new ones; without it the same 1000 are
//! played.
//!
//! # Layout
//! - `world`: disk, clock and node of a seed, and the choice of the next step
//! - `story`: starts, work with faults, ends
//! - `alone`, `crowd`: the clients, and the checks of their replies
//! - `connection`: requests of a client, on the ways that the TCP door gives them
//! - `links`: batches on their way from core to core
//! - `pairs`: any two requests of one connection, sent together and one after the other
//! - `tally`: counts of what happened
//! - `faults`: faults planted in production's code, which the simulation finds
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../common/mod.rs"]
mod common;
// The simulation uses only a part of the model.
#[allow(dead_code)]
#[path = "../rules/model"]
mod model {
    pub mod acts;
    pub mod memory;
    pub mod store;
    pub mod views;
}

mod alone;
mod connection;
mod crowd;
#[cfg(feature = "planted-faults")]
mod faults;
mod links;
mod pairs;
mod story;
mod tally;
#[path = "../common/whole_node.rs"]
mod whole_node;
mod world;

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use pairs::{check_keys, play_pairs};
use story::{Failure, Played, play};
use tally::Tally;

/// Seeds that are played if no number is set.
const SEEDS: u64 = 1000;
/// Seeds that found a fault, each with that fault.
const FOUND: [(u64, &str); 6] = [
    (
        5_156_921_292_960_875_961,
        "a `delete` of nothing was answered before its key was on the disk",
    ),
    (
        1_362_199_520_507_196_224,
        "the checker took for kept what a start without a log had read of one",
    ),
    (12_572_211_424_002_374_786, "the same, of a chat that nobody had joined"),
    (
        18_264_372_440_281_299_688,
        "`erase_user` changed the version of a chat that the user had deleted and then left",
    ),
    (436_564_353_069_068_807, "the checker took a forgotten key for gone after the next start"),
    (
        13_258_529_343_993_329_319,
        "a flip in the mark of a clean stop was told of the segment behind it",
    ),
];

/// Plays a seed. A panic counts as a failure.
pub fn attempt(seed: u64) -> Result<Played, Failure> {
    catch_unwind(AssertUnwindSafe(|| play(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let why = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned();
        Err(Failure { why, events: String::new() })
    })
}

/// Plays seeds on all cores of the machine. Returns the counts, and the first seed that failed.
pub fn run(first: u64, seeds: u64) -> (Tally, Option<(u64, Failure)>) {
    let next = AtomicU64::new(0);
    let (total, failed) = (Mutex::new(Tally::default()), Mutex::new(None));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= seeds {
                        return;
                    }
                    let seed = first.wrapping_add(number);
                    match attempt(seed) {
                        Ok(played) => *total.lock().unwrap() += played.tally,
                        Err(failure) => {
                            // The other threads end too.
                            next.fetch_max(seeds, Ordering::Relaxed);
                            failed.lock().unwrap().get_or_insert((seed, failure));
                            return;
                        }
                    }
                }
            });
        }
    });
    (total.into_inner().unwrap(), failed.into_inner().unwrap())
}

#[test]
fn a_node_keeps_its_promises_whatever_happens() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, seeds) = match (number("CHATSHARD_SIM_SEED"), number("CHATSHARD_SIM_SEEDS")) {
        (Some(seed), _) => (seed, 1),
        (None, Some(seeds)) => (RandomState::new().hash_one(0), seeds),
        (None, None) => (0, SEEDS),
    };
    let (total, failed) = run(first, seeds);
    if let Some((seed, Failure { why, events })) = failed {
        panic!(
            "{why}\n\nThe last events:\n{events}\n\
             To play it again: CHATSHARD_SIM_SEED={seed} cargo test --test simulation -- --nocapture\n"
        );
    }
    println!("{total}");
    if seeds >= SEEDS {
        let never: Vec<_> = total.counts().into_iter().filter(|(_, count)| *count == 0).collect();
        assert!(never.is_empty(), "these did not happen: {never:?}");
    }
}

#[test]
fn what_was_found_once_stays_mended() {
    for (seed, what) in FOUND {
        let failed = attempt(seed).err();
        assert!(
            failed.is_none(),
            "{what}, seed {seed}: {}",
            failed.map_or(String::new(), |f| f.why)
        );
    }
}

#[test]
fn every_command_names_its_keys() {
    check_keys();
}

/// `CHATSHARD_PAIRS_SEEDS` sets how often all pairs are played, and draws new seeds.
#[test]
fn any_two_requests_of_one_connection_keep_their_order() {
    let rounds = std::env::var("CHATSHARD_PAIRS_SEEDS").ok().and_then(|text| text.parse().ok());
    let first = rounds.map_or(0, |_| RandomState::new().hash_one(0));
    for round in 0..rounds.unwrap_or(2_u64) {
        let seed = first.wrapping_add(5 * round);
        let shards = 3 + u16::try_from(seed % 6).unwrap();
        match play_pairs(seed, shards) {
            Ok(played) => println!("{played} pairs on {shards} shards, seed {seed}"),
            Err(why) => panic!("{why}"),
        }
    }
}

#[test]
fn a_seed_is_the_same_story_each_time() {
    for seed in [3, 11, 17, 42] {
        let digest =
            |seed| attempt(seed).map(|played| played.digest).map_err(|failure| failure.why);
        assert_eq!(digest(seed), digest(seed), "seed {seed}");
    }
}
