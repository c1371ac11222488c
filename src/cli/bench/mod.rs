//! `bench`: tools that measure servers. The most telling figure is the server's CPU time per
//! request, which [`run`] reports next to throughput and latencies.
//!
//! ```text
//! bench fill --target valkey     loads data into a system
//! bench run --target valkey      puts load on the system and prints figures
//! bench canned                   serves prepared replies, to compare the TCP door with
//! bench bare                     serves a prepared list, to compare the HTTP door with
//! bench failover                 writes to the members of a journal while one of them ends
//! bench generate                 writes a data set of realistic shape, for `import`
//! ```
//!
//! `benches/side-by-side` runs all of this, for several systems in turn.
//!
//! # Layout
//! - [`data`]: the chats, users and rows that are measured on
//! - [`draw`]: uniform and Zipf keys
//! - [`work`]: the commands of a run
//! - [`wire`]: the protocol of each system
//! - [`load`]: connections, closed and open loop, latencies
//! - [`socket`]: sockets with TLS or without
//! - [`report`]: results as JSON and as a table
//! - [`preflight`]: whether the server has the data of a run
//! - [`run`], [`canned`], [`bare`], [`fill`], [`failover`]: the subcommands

#![deny(clippy::indexing_slicing, clippy::as_conversions, clippy::panic, clippy::unreachable)]

pub mod bare;
pub mod canned;
pub mod data;
pub mod draw;
pub mod failover;
pub mod fill;
pub mod load;
pub mod preflight;
pub mod report;
pub mod run;
pub mod socket;
pub mod wire;
pub mod work;

use clap::Subcommand;

use super::generate::GenerateArgs;

/// The subcommands of `bench`, with their arguments.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Put load on a server and measure it
    Run(Box<run::RunArgs>),
    /// Load the data that `run` works on into an empty chatshard or Valkey
    Fill(fill::FillArgs),
    /// Write to the members of a journal, and show how writes go on over failovers
    Failover(failover::FailoverArgs),
    /// Serve prepared replies, as the limit of the network path
    Canned(canned::CannedArgs),
    /// Serve a prepared list by a bare axum route, as the limit of the HTTP door
    Bare(bare::BareArgs),
    /// Write a data set of realistic shape, in the format of `import`
    Generate(GenerateArgs),
}
