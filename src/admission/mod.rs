//! Admission: who may hold a place at a door, and how much memory all connections may use together.
//!
//! # Layout
//! - [`budget`]: a bound that many holders share; it evicts the oldest holders when it is used up
//! - [`door`]: the places of a door, for strangers and for connections with credentials
//!
//! **Architecture invariant**: nothing here reads or writes a socket. Both doors and the admin
//! listener use this module.
#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::unreachable)]

pub mod budget;
pub mod door;

pub use budget::{Budget, BudgetHold};
pub use door::{Admission, Door, Guest, Peer};
