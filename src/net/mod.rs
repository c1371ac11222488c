//! The TCP door: bytes in, commands to the node, replies out.
//!
//! # Layout
//! - [`listener`]: sockets that listen
//! - [`accept`]: hands each connection to a core, after its TLS handshake
//! - [`connection`]: one connection's life
//! - [`stream`]: the bytes of a connection, plain or in TLS
//! - [`greeting`]: the time before the first request
//! - [`wrong_protocol`]: clients that speak another protocol
//! - [`lookahead`]: the requests that have come
//! - [`incomplete`]: a request that comes in parts
//! - [`fast_path`]: the most frequent requests, answered where the data stand
//! - [`offload`]: requests that are decoded aside
//! - [`send_queue`]: what is to be sent
//! - [`timeouts`]: how long a client is waited for
//! - [`turn_budget`]: when others on a core have their turn
//! - [`shutdown`]: the server's stop
//! - [`order`]: which requests of a connection wait for which
//! - [`unread`]: what a client has not read, and its part of the node's memory
//! - [`watching`]: the watches of a connection
//!
//! **Architecture invariant**: this door and the HTTP door do not know each other; both hand a
//! [`crate::command::Command`] to the node and get a [`crate::command::Reply`] back.

pub mod accept;
pub mod connection;
pub mod fast_path;
pub mod greeting;
pub mod incomplete;
pub mod listener;
pub mod lookahead;
pub mod offload;
pub mod order;
pub mod send_queue;
pub mod shutdown;
pub mod stream;
pub mod timeouts;
pub mod turn_budget;
pub mod unread;
pub mod watching;
pub mod wrong_protocol;
