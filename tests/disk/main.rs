//! What a node keeps: its log, its data directory and its clock, through kills, full disks, damage
//! and upgrades.
//!
//! # Layout
//! - `crash`: `kill -9` under load, full disks, lost directories, missing descriptors and rights
//! - `disk_format`: records, snapshots and directories of each released format
//! - `node_log`: the node's log on a disk that fails or is slow
//! - `clock`: a wall clock that is set

// Helpers beside the tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../process/mod.rs"]
mod process;

#[cfg(target_os = "linux")]
mod clock;
mod crash;
mod disk_format;
mod node_log;
