//! The TCP door: bytes in, commands to the node, replies out.
//!
//! # Layout
//! - [`listener`]: sockets that listen
//! - [`accept`]: hands each connection to a core, after its TLS handshake
//! - [`connection`]: one connection's life
//! - [`stream`]: the bytes of a connection, plain or in TLS
//! - [`greeting`]: the time before the first request
//! - [`stranger`]: clients that speak another protocol
//! - [`ahead`]: the requests that have come
//! - [`incomplete`]: a request that comes in parts
//! - [`hot`]: the most frequent requests, answered where the data stand
//! - [`large`]: requests that are decoded aside
//! - [`output`]: what is to be sent
//! - [`patience`]: how long a client is waited for
//! - [`share`]: when others on a core have their turn
//! - [`stop`]: the server's stop
//! - [`order`]: which requests of a connection wait for which
//! - [`unread`]: what a client has not read, and its part of the node's memory
//! - [`watching`]: the watches of a connection
//!
//! **Architecture invariant**: this door and the HTTP door do not know each other; both hand a
//! [`crate::command::Command`] to the node and get a [`crate::command::Reply`] back.

pub mod accept;
pub mod ahead;
pub mod connection;
pub mod greeting;
pub mod hot;
pub mod incomplete;
pub mod large;
pub mod listener;
pub mod order;
pub mod output;
pub mod patience;
pub mod share;
pub mod stop;
pub mod stranger;
pub mod stream;
pub mod unread;
pub mod watching;
