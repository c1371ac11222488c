//! The command line: settings, output, files and the load tool.
//!
//! # Layout
//! - `binary`: stdout, stderr, exit codes, log lines, metrics, terminals
//! - `config`: sources of settings
//! - `transfer`: `import` and `export`
//! - `generate`, `bench`: generated data, and the load tool

// Helpers beside the tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;

mod bench;
mod binary;
mod config;
mod generate;
mod transfer;
