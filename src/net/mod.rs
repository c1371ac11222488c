//! The TCP door: reads bytes, hands commands to the node, and writes replies.
//!
//! # Layout
//! - [`listener`]: the sockets that listen
//! - [`accept`]: hands each connection to a worker, after its TLS handshake
//! - [`connection`]: the life of one connection
//! - [`stream`]: the bytes of a connection, plain or in TLS
//! - [`greeting`]: the wait for the first request, and what a stranger may hold meanwhile
//! - [`wrong_protocol`]: clients that speak another protocol
//! - [`lookahead`]: the whole requests at the front of the input
//! - [`incomplete`]: the memory of requests that arrive in parts
//! - [`fast_path`]: the most frequent requests, without a command in between
//! - [`offload`]: large requests, which the offload thread decodes
//! - [`send_queue`]: the bytes that wait for the socket
//! - [`timeouts`]: the time limits of a client
//! - [`turn_budget`]: when a connection lets the others of its worker run
//! - [`shutdown`]: the server's stop, as a connection waits for it
//! - [`order`]: which requests of a connection wait for which others
//! - [`unread`]: what a client leaves unread, and its part of the node's memory
//! - [`watching`]: the watches of a connection
//!
//! **Architecture invariant**: this door and the HTTP door do not know each other. Both hand a
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
