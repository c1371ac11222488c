//! The rules for bytes from outside, as plain functions over any bytes: each one fails if its rule
//! is broken.
//!
//! An ordinary test replays the corpus with them (`tests/doors/fuzz.rs`), and cargo-fuzz looks for more
//! (`fuzz/`). The file of a target describes its input.
//!
//! # Layout
//! - `frame`: a stream of bytes, cut anywhere
//! - `request`, `reply`: what decodes encodes again, without a change
//! - `fast_path`: replies on the fast path equal those of commands
//! - `http`: bytes of an HTTP connection, both doors
//! - `records`, `snapshot`: contents of the log and of a snapshot, with correct checksums
//! - `files`: the files of a data directory, changed in any way
//! - `config`: settings in a file, in the environment, and the files that they name
//! - `lines`: files for `import`
//! - `bytes`: reads an input piece by piece
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod bytes;
pub mod config;
pub mod fast_path;
pub mod files;
pub mod frame;
pub mod http;
pub mod lines;
pub mod records;
pub mod reply;
pub mod request;
pub mod snapshot;
