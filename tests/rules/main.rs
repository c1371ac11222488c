//! The rules of the commands, on nodes that are simulated or run in this process.
//!
//! # Layout
//! - `scenarios`: the semantics, chapter by chapter, at every door and through crashes
//! - `model`: random stories, compared with a plain second version of the rules
//! - `node_answers`: a reply for several shards
//! - `node_crash`: writes that concern several shards, with the log cut after every record
//! - `node_races`: commands that meet, with messages in any order that links allow
//! - `node_refusals`: changes that were not applied leave no trace
//! - `digests`: digests of slots, and what they find
//! - `conversations_paging`: pages of `conversations` while messages arrive
//! - `sync_converge`: devices that sync end with exactly the list
//! - `transfer`: an import of an export equals the store

// Helpers beside the tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod conversations_paging;
mod digests;
mod model;
mod node_answers;
mod node_crash;
mod node_races;
mod node_refusals;
mod scenarios;
mod sync_converge;
mod transfer;
