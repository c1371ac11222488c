//! The TCP door: bytes in, commands to the node, replies out.
//!
//! # Layout
//! - [`accept`]: listeners; hands each connection to a core
//! - [`buffers`]: room that connections share
//! - [`connection`]: one connection's life
//! - [`hot`]: the most frequent requests, answered where the data stand
//! - [`order`]: which requests of a connection wait for which
//! - [`watching`]: the watches of a connection
//!
//! **Architecture invariant**: this door and the HTTP door do not know each other; both hand a
//! [`crate::command::Command`] to the node and get a [`crate::command::Reply`] back.

pub mod accept;
pub mod buffers;
pub mod connection;
pub mod hot;
pub mod order;
pub mod watching;
