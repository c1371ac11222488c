//! The modules and the runner that `tests/simulation.rs` and `tests/simulation_faults.rs` share.

pub mod alone;
pub mod connection;
pub mod crowd;
pub mod links;
// The simulation uses only a part of the model.
#[allow(dead_code)]
#[path = "../model/mod.rs"]
pub mod model;
pub mod pairs;
pub mod story;
pub mod tally;
pub mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use story::{Failure, Played, play};
use tally::Tally;

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
