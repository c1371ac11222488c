//! Helpers that the tests of a whole node share.
//!
//! # Layout
//! - `sim`: a node without threads, clock or files: its cores and routers, driven step by step
//! - `server`: the real server in this process, and a small HTTP client
//! - `door`: one interface to all of them
//! - `bare`: a node without doors, store and threads; its users name the file by its path
//! - `lone_shard`: the only shard of a node, driven by hand; its users name the file by its path
//! - `whole_node`: production's parts of a node in one thread; its users name the file by its path
//! - `golden`: records and snapshots of each form of the disk format
//! - `seed`: the examples of the HTTP API
//! - `served`: a real `chatshard serve` with files of its own, and clients for it
//! - `priority`: the scheduling of threads in a measurement
//! - `random`: random numbers from a seed
//! - `raw`: one connection, frame by frame
//! - `program`: the program of this build, as a process
//! - `vectors`: the vectors of the protocol
// Each test crate uses its own part of this.
#![allow(dead_code, unused_imports)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod door;
pub mod golden;
pub mod priority;
pub mod program;
pub mod random;
pub mod raw;
pub mod seed;
pub mod served;
pub mod server;
pub mod sim;
pub mod vectors;

pub use door::{AdminDoor, Door, RestartDoor, TcpDoor};
pub use server::{HttpConnection, TestServer};
pub use sim::SimNode;

/// The time, in ms, that all tests use as "now": no test looks at the clock.
pub const NOW: u64 = 1_800_000_000_000;
