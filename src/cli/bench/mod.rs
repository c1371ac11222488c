//! `bench`: tools for measuring. The server's CPU time for a request is the figure that counts, and
//! [`run`] tells it; throughput and latencies stand beside it.
//!
//! ```text
//! bench fill --target valkey     data into a system
//! bench run --target valkey      load on it, figures out
//! bench canned                   the limit of the network path, to compare with
//! bench bare                     the same for the HTTP door
//! bench generate                 a data set of realistic shape, for `import`
//! ```
//!
//! `benches/side-by-side` drives all of this, several systems in turn.
//!
//! # Layout
//! - [`data`]: who is in which chat
//! - [`draw`]: uniform and Zipf keys
//! - [`work`]: what is asked
//! - [`wire`]: how each system is spoken to
//! - [`load`]: connections, closed and open loop, latencies
//! - [`socket`]: where the bytes go, with TLS or without
//! - [`report`]: JSON and table
//! - [`run`], [`canned`], [`bare`], [`fill`]: the subcommands

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::unreachable)]

pub mod bare;
pub mod canned;
pub mod data;
pub mod draw;
pub mod fill;
pub mod load;
pub mod report;
pub mod run;
pub mod socket;
pub mod wire;
pub mod work;

use clap::Subcommand;

use super::generate::GenerateArgs;

/// Tools for measuring.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Put load on a server and measure it
    Run(Box<run::RunArgs>),
    /// Load the data that `run` asks for into an empty chatshard or Valkey
    Fill(fill::FillArgs),
    /// Serve ready replies, as the limit of the network path
    Canned(canned::CannedArgs),
    /// Serve a ready list by a bare axum route, as the limit of the HTTP door
    Bare(bare::BareArgs),
    /// Write a data set of realistic shape, in the format of `import`
    Generate(GenerateArgs),
}
