//! The journal: one totally ordered log of entries in an existing replicated system, the engine.
//!
//! The active appends each batch of records as an entry before it replies. Standbys read the
//! entries and apply them. The engine orders entries, and keeps the newest ones on a majority of
//! its members. Snapshots and older records lie on the nodes' own disks.
//! `docs/internals/journal.md` draws the bytes and explains the rule.
//!
//! ```text
//!   batches, beats --> writer --- requests ---> engine (an adapter, or `sim`)
//!                        |   <--- replies -----    |
//!                        | own entries             | entries
//!                        v                         v
//!                      reader <------------- standby's reader
//! ```
//!
//! A process may have several journals, one for each partition. So this module has no global state.
//!
//! # Layout
//! - [`entry`]: one entry as bytes
//! - [`accepted_heads`]: headers of accepted entries, for readers whose engine has damaged one
//! - `array`: MessagePack arrays in entries and bases
//! - [`place`]: a place between two entries
//! - [`base`]: the base of a trim
//! - [`reach`]: how far a journal is known to have come
//! - [`names`]: how a journal names its members
//! - [`reader`]: the reader's rule: which entries count
//! - [`writer`]: one stint of one active: claim, append, retry, lease, release
//! - [`copied_log`]: records of a member's log on their way to another member
//! - [`quiet`]: how long a standby has known that the active is silent
//! - [`kept`]: what the engine keeps, and what of it may go
//! - [`trimmer`]: the trims of one stint
//! - [`engine`]: requests and replies as values, and the contract of an engine
//! - [`client`]: ports through which the threads of a node send requests and get replies
//! - `etcd`: the adapter of etcd, with the feature `journal-etcd`
//! - [`sim`]: an engine for tests. It loses, delays and doubles messages, and can break its
//!   contract
//! - [`sim_server`]: that engine behind the ports of several nodes
//!
//! # Invariants
//! - The module gets bytes, LSNs and times as arguments. It has no shard, protocol, clock, socket,
//!   async or randomness of its own, and does not know which engine it uses. Only an adapter has
//!   these, on a thread of its own, behind the queues of [`client`].
//! - One rule decides which entries count. The writer, standbys and tools share its code.
//! - Bytes from an engine are verified before they are used. A missing, damaged or newer entry is
//!   never skipped in silence: it ends in a verdict that names its seq and its LSN.
//! - The records of a batch are committed when all parts of the batch are accepted.

pub mod accepted_heads;
mod array;
pub mod base;
pub mod client;
pub mod copied_log;
pub mod engine;
pub mod entry;
#[cfg(feature = "journal-etcd")]
pub mod etcd;
pub mod kept;
pub mod names;
pub mod place;
pub mod quiet;
pub mod reach;
pub mod reader;
pub mod sim;
pub mod sim_server;
pub mod trimmer;
pub mod writer;
