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
//! - `driver`: its calls through a port
//! - `etcd`: the adapter of etcd, against three real members
//! - `etcd_access`: users and certificates towards it
//! - `exhaustive`: all orders of events of a small world of two members
//! - `histories`: several nodes on an engine with a bad network, from one seed
//! - `broken`: an engine that does not keep its contract is found out
//! - `node`: one node of a history
//! - `trims`: what an active trims, and when
//! - `faults`: faults planted in production's code, which the histories find
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod broken;
mod bytes;
mod client;
mod contract;
mod driver;
#[cfg(feature = "journal-etcd")]
#[path = "../engine/mod.rs"]
mod engine;
#[cfg(feature = "journal-etcd")]
mod etcd;
#[cfg(feature = "journal-etcd")]
mod etcd_access;
mod exhaustive;
#[cfg(feature = "planted-faults")]
mod faults;
mod histories;
mod node;
mod trims;
