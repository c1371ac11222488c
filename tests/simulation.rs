//! A whole node in one thread, from one seed: several shards, the log and its thread's turns, the
//! outbox, images, recovery, clients; on a disk that loses, tears, refuses, fills up, flips bits and is
//! slow; through kills, crashes and other shard counts, also while it starts. All of it is production's
//! code; the seed decides only what comes next. Whatever happens, every reply is held against the rules:
//! see `alone` (exactly, on keys of its own) and `crowd` (many at once, on common keys).
//!
//! What a run may lose is what its mode says: nothing of what was told with `always`, not even if the
//! machine stops; with `everysec` and `never` nothing by the end of the process, and a suffix of the log
//! by the end of the machine; without a log what came after the last image.
//!
//! Each seed can be played again alone: `CHATSHARD_SIM_SEED=17 cargo test --test simulation -- --nocapture`.
//! `CHATSHARD_SIM_SEEDS` sets their number, and draws new ones; without it the same 1000 are played.
//!
//! # Layout
//! - `world`: disk, clock and node of a seed, and who does something next
//! - `story`: starts, work with faults, ends
//! - `alone`, `crowd`: the clients, and what their replies are held against
//! - `tally`: what happened
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod common;
// A part of it is enough here.
#[path = "simulation/alone.rs"]
mod alone;
#[path = "simulation/crowd.rs"]
mod crowd;
#[allow(dead_code)]
#[path = "model/mod.rs"]
mod model;
#[path = "simulation/story.rs"]
mod story;
#[path = "simulation/tally.rs"]
mod tally;
#[path = "simulation/world.rs"]
mod world;

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use story::{Failure, Played, play};
use tally::Tally;

/// Seeds that are played where no number is given.
const SEEDS: u64 = 1000;

/// Plays a seed; a panic is a failure as any other.
fn attempt(seed: u64) -> Result<Played, Failure> {
    catch_unwind(AssertUnwindSafe(|| play(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let why = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned();
        Err(Failure { why, events: String::new() })
    })
}

/// Plays seeds on all cores; what happened, and the first that failed.
fn run(first: u64, seeds: u64) -> (Tally, Option<(u64, Failure)>) {
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
                            // The others end too.
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
fn a_seed_is_the_same_story_each_time() {
    for seed in [3, 11, 17, 42] {
        let digest =
            |seed| attempt(seed).map(|played| played.digest).map_err(|failure| failure.why);
        assert_eq!(digest(seed), digest(seed), "seed {seed}");
    }
}
