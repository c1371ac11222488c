//! Members of a journal on the simulated engine: as whole servers with doors, threads and real time,
//! and in one thread from one seed.
//!
//! # Layout
//! - `cluster`: starts members and ends them
//! - `world`, `history`: three members in one thread, from one seed, whatever happens
//! - `crowds`: chats of many members in these histories, and deliveries that a kill cuts off
//! - `handover`: the active gives its place away on purpose
//! - `standby`: a standby as values
//! - `confirmed`: replies that wait for an append, on machines that stand still with their clocks
//! - `readers`, `watchers`: clients of standbys in these histories
//! - `reads`: what a standby replies to
//! - `clocks`: members whose wall clock is wrong
//! - `bad_disk`: disks that are full, moved away, or fail a sync
//! - `trims`: the journal is trimmed, and members know each other
//! - `upgrade`: another version of the program, member by member
//! - `processes`: whole processes on a real etcd
//! - `faults`: faults planted in production's code, which the histories find
//! - `plays`: what plays on a world have in common
//! - `returns`: a member whose records are not those of the journal comes back
//! - `broken_engine`: histories on an engine that breaks its contract
//! - `refill`: what the engine lost is written again
//! - `lost_end`: the engine loses its end before a claim
//! - `join`: copies of the data of another member, and what breaks on their way
//! - `rejoin`: members that come back when the journal has trimmed what they need
//! - `self_check`: members whose data is wrong, though every byte is whole
//! - `first_member`: journals that begin with the data of another node
//! - `figures`: metrics of the journal
//! - `failover`: who replies, what is kept, and what clients see when the active ends
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod bad_disk;
mod broken_engine;
mod clocks;
mod cluster;
mod confirmed;
mod crowds;
#[cfg(feature = "journal-etcd")]
#[path = "../engine/mod.rs"]
mod engine;
mod failover;
#[cfg(feature = "planted-faults")]
mod faults;
mod figures;
mod first_member;
mod handover;
mod history;
mod join;
mod lost_end;
mod plays;
#[cfg(feature = "journal-etcd")]
mod processes;
mod readers;
mod reads;
mod refill;
mod rejoin;
mod returns;
mod self_check;
mod standby;
mod trims;
mod upgrade;
mod watchers;
#[path = "../common/whole_node.rs"]
mod whole_node;
mod world;
