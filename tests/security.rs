//! Authentication and authorization, through the doors of real servers.

// Helpers beside the tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;

#[path = "security/tools.rs"]
mod tools;

#[path = "security/tokens.rs"]
mod tokens;

#[path = "security/tls.rs"]
mod tls;

#[path = "security/unix.rs"]
mod unix;

#[path = "security/isolation.rs"]
mod isolation;

#[path = "security/secrets.rs"]
mod secrets;

#[path = "security/strangers.rs"]
mod strangers;

#[path = "security/readers.rs"]
mod readers;

#[path = "security/credentials.rs"]
mod credentials;

#[path = "security/hosts.rs"]
mod hosts;

#[path = "security/docs.rs"]
mod docs;
