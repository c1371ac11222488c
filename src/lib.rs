//! chatshard: an in-memory, sharded store of chat (会话) metadata that runs as a sidecar beside an
//! instant-messaging backend.
//!
//! One process keeps, for each chat, its head and its members, and for each user the rows of their
//! chats. Chats and users are spread over shards, one a core; a log and snapshots keep what was
//! acknowledged; a MessagePack protocol over TCP serves backends, JSON over HTTP serves apps.
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
//! A connection lives on one core. It decodes whole frames ([`protocol`]) into commands
//! ([`command`]) and hands them to its core's worker ([`node::worker`]). The router ([`router`])
//! turns each into ops for the shards that own its keys. A shard ([`shard`]) validates, makes an
//! event of what it decided, writes the event's record and applies it: the only way anything
//! changes. Where users' rows on other shards must hear of it, messages go out, and the answer
//! waits for their confirmation. The worker hands the records to the log ([`node::log`]) before
//! anything that depends on them leaves, and holds answers until the log has them. Then the reply
//! goes back to where the command came from.
//!
//! A plain `list`, `detail`, `advance` or `mark_read` whose keys are all on the connection's own core goes
//! the same way in fewer steps: [`protocol::fast_path`] looks at the request where it lies, the shard answers with
//! what it holds, and the reply is written where it leaves from. Where all keys are on one other core the
//! bytes of the request go there and the bytes of the reply come back ([`node::worker::fast_path`]). The rules
//! are the same code; whatever is not plain takes the way above.
//!
//! # Layout
//!
//! An import points down this table, never up; `tests/tidy.rs` checks it.
//!
//! | layer | modules | knows of |
//! |---|---|---|
//! | 1 | [`types`], [`limits`], [`throttle`], [`files`] | nothing |
//! | 2 | [`command`] | what can be asked and answered |
//! | 3 | [`protocol`], [`shard`], [`metrics`], [`access`] | bytes of the wire; state; who may do what (they do not see each other) |
//! | 4 | [`router`], [`client`], [`admission`] | keys and shards; the protocol from the other side; who holds a place or memory |
//! | 5 | [`node`] | threads, queues, clocks, the data directory; of the protocol only what one core passes on to another |
//! | 6 | [`net`], [`http`] | the two doors (they do not see each other) |
//! | 7 | [`config`], [`server`] | wiring: start, recovery, stop |
//! | 8 | [`cli`] | the command line |
//!
//! The member crate `snapshot` is the contract with the disk; it knows only bytes.
//!
//! **Architecture invariants**: `shard` and `router` have no clock, no sockets, no files, no async
//! and no randomness of their own. Doors hand in a [`command::Command`] and get a
//! [`command::Reply`]; no command holds a socket.

pub mod access;
pub mod admission;
pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod files;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod net;
pub mod node;
pub mod protocol;
pub mod router;
pub mod server;
pub mod shard;
pub mod throttle;
pub mod types;

/// Compiles the programs of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
