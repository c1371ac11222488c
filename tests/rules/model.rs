//! The rules, written a second time as plainly as possible, against a whole node. Stories have
//! random commands, keys and versions, paging clients and syncing devices, crashes, snapshots and
//! shard counts. After every command everything that it could change is compared, and at the end
//! the whole state.
//!
//! Each story has a seed of its own, so that a failing one can be played again alone:
//! `MODEL_SEED=17 cargo test --test rules model::`. `PROPTEST_CASES` sets the number of stories and draws
//! new ones. Without it the same 10 000 are played.
//!
//! # Layout
//! - `acts`: the steps of a story, and how stories are drawn
//! - `store`, `memory`, `views`: the model: effects of commands, memory of keys, replies
//! - `play`: a story, played by node and model

mod acts;
mod memory;
mod play;
mod store;
mod views;

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestError, TestRunner};

/// Stories that are played if no number is set.
const CASES: u64 = 10_000;

/// Draws the story of a seed and plays it. If it fails, the error is that of the shortest story
/// that fails.
fn run(seed: u64) -> Result<(), String> {
    let config = ProptestConfig {
        cases: 1,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..ProptestConfig::default()
    };
    let strategy = (acts::story(), any::<u64>());
    let outcome = TestRunner::new(config).run(&strategy, |(story, seed)| {
        play::play(&story, seed).map_err(|failure| TestCaseError::fail(failure.why))
    });
    match outcome {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, (story, node_seed))) => {
            let lines = match play::play(&story, node_seed) {
                Err(failure) => failure.lines.join("\n"),
                Ok(()) => "it does not fail again: the node is not deterministic".into(),
            };
            Err(format!("{reason}\n\nThe story:\n{lines}"))
        }
        Err(other) => Err(other.to_string()),
    }
}

#[test]
fn the_node_does_what_the_model_does() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (first, cases) = match (number("MODEL_SEED"), number("PROPTEST_CASES")) {
        (Some(seed), _) => (seed, 1),
        (None, Some(cases)) => (RandomState::new().hash_one(0), cases),
        (None, None) => (0, CASES),
    };
    let next = AtomicU64::new(0);
    let failed = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = first.wrapping_add(next.fetch_add(1, Ordering::Relaxed));
                    if seed.wrapping_sub(first) >= cases {
                        return;
                    }
                    if let Err(why) = run(seed) {
                        // The other threads end too.
                        next.fetch_max(cases, Ordering::Relaxed);
                        failed.lock().unwrap().get_or_insert((seed, why));
                        return;
                    }
                }
            });
        }
    });
    if let Some((seed, why)) = failed.into_inner().unwrap() {
        panic!("{why}\n\nTo play it again: MODEL_SEED={seed} cargo test --test rules model::\n");
    }
}
