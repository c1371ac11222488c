//! The doors of a server in this process: bytes of the wire, HTTP routes, the stream of changes.
//!
//! # Layout
//! - `protocol_examples`, `protocol_schema`, `protocol_server`: vectors, schema and `protocol.md` agree
//!   with code and server
//! - `old_clients`: clients of every kept release are served
//! - `connection`: one TCP connection
//! - `watch`: the stream of changes
//! - `http`: both HTTP doors, without sockets
//! - `node_app`: the HTTP API through a real server
//! - `fuzz`: bytes from outside, one rule for each kind

// Helpers beside the tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../process/mod.rs"]
mod process;

mod connection;
mod fuzz;
mod http;
mod node_app;
mod old_clients;
mod protocol_examples;
mod protocol_schema;
mod protocol_server;
mod watch;
