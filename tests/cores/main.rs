//! What work costs a core and what stays in memory, measured with a counting allocator.
//!
//! # Layout
//! - `turns`: no work occupies a core for long
//! - `allocations`: requests on the fast path allocate nothing
//! - `kept`: bytes that stay for what is gone

// Helpers beside the tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../common/bare.rs"]
mod bare;
#[path = "../common/lone_shard.rs"]
mod lone_shard;

mod allocations;
mod kept;
mod turns;
