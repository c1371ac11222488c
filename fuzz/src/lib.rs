//! The targets of `tests/doors/fuzz`, as a library for cargo-fuzz.
#![allow(dead_code)]

#[path = "../../tests/doors/fuzz/targets.rs"]
pub mod targets;

/// The parts of `tests/common` that the targets use.
#[path = "../../tests/common"]
mod common {
    pub mod random;
    pub mod sim;

    pub use sim::SimNode;

    /// The time, in ms, that all tests use as "now".
    pub const NOW: u64 = 1_800_000_000_000;
}
