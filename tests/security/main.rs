//! Authentication and authorization, through the doors of real servers.

// Helpers beside the tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod tokens;

mod tls;

mod unix;

mod isolation;

mod secrets;

mod strangers;

mod readers;

mod credentials;

mod hosts;

mod docs;
