//! chatshard: an in-memory, sharded store of chat (会话) metadata that runs as a sidecar beside an
//! instant-messaging backend.
//!
//! One process keeps the head and the members of each chat, and the rows of each user's chats.
//! Chats and users are spread over shards, one per core. A log and snapshots keep what was
//! acknowledged. A MessagePack protocol over TCP serves backends, and JSON over HTTP serves apps.
//!
//! ```text
//! TCP bytes -> net -> protocol ---+
//!                                 +-> Command -> router -> shard ----> Reply (back the same way)
//! HTTP JSON -> http --------------+              (key -> slot -> core)   |  ^
//!                                                     validate -> Event -> log -> apply
//!                                                                        |
//!                                                                   snapshot
//! ```
//!
//! # The life of a request
//!
//! A connection belongs to one core. It decodes whole frames (`protocol`) into commands
//! ([`command`]) and hands them to the worker of its core (`node::worker`). The router
//! (`router`) turns each command into operations for the shards that own its keys. A shard
//! (`shard`) validates, decides an event, writes the event's record and applies the event:
//! nothing else changes state. If the change concerns rows on other shards, the shard sends
//! messages, and the answer waits until they are confirmed. The worker hands the records to the log
//! (`node::log`) before anything that depends on them leaves. It holds answers until the log has
//! the records. Then the reply goes back to the door that the command came from.
//!
//! A plain `list`, `detail`, `advance` or `mark_read` takes the fast path if all its keys are on the
//! connection's own core. `protocol::fast_path` reads the request in place in the receive buffer,
//! and the shard answers from its state. The reply is written directly into the send queue. If all
//! keys are on one other core, the bytes of the request go to that core. The bytes of the reply come
//! back (`node::worker::fast_path`). Both paths run the same rules. All other requests become
//! commands.
//!
//! # Layout
//!
//! An import points down this table, never up; `tests/tidy` checks it. Modules of one layer do
//! not see each other.
//!
//! | layer | modules | what they know |
//! |---|---|---|
//! | 1 | `limits`, `throttle`, `files`, `system` | numbers; log lines that repeat; regular files; calls that only some systems have |
//! | 2 | [`types`] | ids, sequences, times, slots, the key hash |
//! | 3 | [`command`], `journal` | commands and replies, without any encoding; the log that several nodes share |
//! | 4 | `protocol`, `shard`, `metrics`, `access` | bytes of the wire; state; figures; who may do what |
//! | 5 | `router`, [`client`], `admission` | keys and shards; the protocol from the other end; places and budgets |
//! | 6 | `node` | threads, queues, clocks, the data directory; of the protocol only what one core passes to another |
//! | 7 | `net`, `http` | the doors |
//! | 8 | [`config`] | settings |
//! | 9 | [`server`] | wiring: start, recovery, stop |
//! | 10 | `cli` | the command line |
//!
//! The member crate `snapshot` is the contract with the disk; it knows only bytes.
//!
//! **Architecture invariants**: `shard` and `router` have no clock, no sockets, no files, no async
//! and no randomness of their own. Doors hand in a [`command::Command`] and get a
//! [`command::Reply`]; no command holds a socket.
//!
//! # What is public
//!
//! [`client`], [`command`] and [`types`] for programs that talk to a node; [`config`] and [`server`]
//! for programs that run one. Tests and benches of this package see all modules by the feature
//! `internals`, which promises nothing to anybody else.

#![cfg_attr(feature = "internals", allow(missing_docs))]

#[cfg(feature = "internals")]
pub mod access;
#[cfg(not(feature = "internals"))]
mod access;
#[cfg(feature = "internals")]
pub mod admission;
#[cfg(not(feature = "internals"))]
mod admission;
#[cfg(feature = "internals")]
pub mod cli;
#[cfg(not(feature = "internals"))]
mod cli;
pub mod client;
pub mod command;
pub mod config;
#[cfg(feature = "internals")]
pub mod files;
#[cfg(not(feature = "internals"))]
mod files;
#[cfg(feature = "internals")]
pub mod http;
#[cfg(not(feature = "internals"))]
mod http;
#[cfg(feature = "internals")]
pub mod journal;
#[cfg(not(feature = "internals"))]
#[allow(dead_code, reason = "only tests use the simulated engine")]
mod journal;
#[cfg(feature = "internals")]
pub mod limits;
#[cfg(not(feature = "internals"))]
mod limits;
#[cfg(feature = "internals")]
pub mod metrics;
#[cfg(not(feature = "internals"))]
mod metrics;
#[cfg(feature = "internals")]
pub mod net;
#[cfg(not(feature = "internals"))]
mod net;
#[cfg(feature = "internals")]
pub mod node;
#[cfg(not(feature = "internals"))]
mod node;
#[cfg(feature = "internals")]
pub mod protocol;
#[cfg(not(feature = "internals"))]
mod protocol;
#[cfg(feature = "internals")]
pub mod router;
#[cfg(not(feature = "internals"))]
mod router;
pub mod server;
#[cfg(feature = "internals")]
pub mod shard;
#[cfg(not(feature = "internals"))]
mod shard;
#[cfg(feature = "internals")]
pub mod system;
#[cfg(not(feature = "internals"))]
mod system;
#[cfg(feature = "internals")]
pub mod throttle;
#[cfg(not(feature = "internals"))]
mod throttle;
pub mod types;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program `chatshard` with its arguments, and returns its exit code. `live_bytes` returns
/// how many bytes the allocator has given out now; `--memory-max` uses it.
pub fn run(arguments: impl IntoIterator<Item = OsString>, live_bytes: fn() -> usize) -> ExitCode {
    node::memory::count_live_by(live_bytes);
    cli::run(arguments)
}

/// Compiles the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
