//! The journal: entries as bytes, the reader's rule, the writer with its lease, and the contract of
//! an engine. Nothing here waits for a clock, and a seed repeats each history exactly.
//!
//! `CHATSHARD_JOURNAL_HISTORIES` sets the number of random histories, and draws new ones. One can be
//! played again alone: `CHATSHARD_JOURNAL_SEED=17 cargo test --test journal histories`.
//!
//! # Layout
//! - `bytes`: entries and places, and the bytes that `docs/internals/journal.md` draws
//! - `client`: requests and replies between the threads of a node and an engine
//! - `contract`: what every engine must do, as one test for all adapters
//! - `histories`: several nodes on an engine with a bad network, from one seed
//! - `broken`: an engine that does not keep its contract is found out
//! - `node`: one node of a history
//! - `faults`: faults planted in production's code, which the histories find
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

mod broken;
mod bytes;
mod client;
mod contract;
#[cfg(feature = "planted-faults")]
mod faults;
mod histories;
mod node;
