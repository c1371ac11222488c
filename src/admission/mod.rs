//! Admission: who may hold a place at a door, and how much memory connections may take together.
//!
//! # Layout
//! - [`budget`]: a bound that many share, and that evicts the oldest when it is used up
//! - [`door`]: the places of a door, for strangers and for those whom it knows
//!
//! **Architecture invariant**: nothing here reads or writes a socket; both kinds of doors use it.
#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::unreachable)]

pub mod budget;
pub mod door;

pub use budget::{Budget, BudgetClaim};
pub use door::{Admission, Door, Guest, Peer};
