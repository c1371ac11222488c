//! The journal: one totally ordered log of entries in an existing replicated system, the engine.
//!
//! The active appends each batch of records as an entry before it replies, and standbys read the
//! entries and apply them. The engine orders the newest entries and keeps them on a majority of its
//! members. Images and older records are on the nodes' own disks. `docs/internals/journal.md` has
//! the words, the bytes and the rule.
//!
//! ```text
//!   batches, beats --> writer --- requests ---> engine (an adapter, or `sim`)
//!                        |   <--- replies -----    |
//!                        | own entries             | entries
//!                        v                         v
//!                      reader <------------- standby's reader
//! ```
//!
//! A process may have several journals, one for each partition. Nothing here is global.
//!
//! # Layout
//! - [`entry`]: one entry as bytes
//! - [`place`]: a place between two entries, and the base of a trim
//! - [`reader`]: the reader's rule: which entries count
//! - [`writer`]: one stint of one active: claim, append, retry, lease, release
//! - [`quiet`]: how long a standby has known that the active is silent
//! - [`engine`]: requests and replies as values, and the contract of an engine
//! - [`sim`]: an engine for tests, which loses, delays, doubles, and breaks its word if asked to
//!
//! # Invariants
//! - The module knows bytes, LSNs and times that come as arguments. It has no shard, protocol,
//!   clock, socket, async or randomness of its own, and no name of an engine.
//! - An entry counts by one rule, which the writer, standbys and tools share.
//! - Bytes from an engine are verified before anything believes them. What is missing, damaged or
//!   newer ends in a verdict that names the entry and the LSN, never in silence.
//! - A record is committed when its entry counts and all parts of its batch do.

pub mod engine;
pub mod entry;
pub mod place;
pub mod quiet;
pub mod reader;
pub mod sim;
pub mod writer;
