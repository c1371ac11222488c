//! The stream of changes (`watch` and `cancel`): complete, in order, resumable, and no burden to
//! other clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod common;
#[path = "watch/kept.rs"]
mod kept;
#[path = "watch/manners.rs"]
mod manners;
#[path = "watch/many.rs"]
mod many;
#[path = "watch/ops.rs"]
mod ops;
mod process;
#[path = "watch/resume.rs"]
mod resume;
#[path = "watch/ring.rs"]
mod ring;
#[path = "watch/tools.rs"]
mod tools;
