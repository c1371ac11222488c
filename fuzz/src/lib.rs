//! The targets of `tests/fuzz`, for cargo-fuzz.
#![allow(dead_code)]

#[path = "../../tests/fuzz/targets.rs"]
pub mod targets;

/// What of `tests/common` they need.
#[path = "../../tests/common"]
mod common {
    pub mod random;
    pub mod sim;

    pub use sim::SimNode;

    /// A time of which all tests are "now", in ms.
    pub const NOW: u64 = 1_800_000_000_000;
}
