//! What bytes from outside may do, as plain functions over any bytes: each fails if its rule is broken.
//!
//! An ordinary test replays the corpus with them (`tests/fuzz.rs`), and cargo-fuzz looks for more
//! (`fuzz/`). What an input looks like is said in its target's file.
//!
//! # Layout
//! - `frame`: a stream of bytes, cut anywhere
//! - `request`, `reply`: what decodes encodes again, as the same
//! - `at_once`: what is answered without a command in between is answered as always
//! - `http`: bytes of an HTTP connection, both doors
//! - `records`, `image`: what the log and an image say, right checksums given
//! - `files`: the files of a data directory, changed in any way
//! - `config`: settings in a file, in the environment, and the files that they name
//! - `lines`: files for `import`
//! - `bytes`: reading an input piece by piece
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

pub mod at_once;
pub mod bytes;
pub mod config;
pub mod files;
pub mod frame;
pub mod http;
pub mod image;
pub mod lines;
pub mod records;
pub mod reply;
pub mod request;
