//! A running node: one worker thread for each core, and threads for the log, `watch`, snapshots and
//! offloaded work.
//!
//! Shard and router are sans-IO. This module brings them threads, queues, clocks and wake-ups. The
//! doors are one layer above.
//!
//! An import between these modules points down this list, never up. `tests/tidy` checks that
//! imports have no circle.
//!
//! # Layout
//! - [`stop`]: ends the threads, after their work is finished
//! - [`start`]: recovers the data and begins the threads
//! - [`handle`]: runs commands of callers that are not connections of the TCP door
//! - [`snapshotter`]: takes snapshots while the node serves requests
//! - [`prober`]: hashes slots for probes, and says which one is next
//! - [`worker`]: the thread of one core
//! - [`info`]: the state that all threads share
//! - [`log_thread`]: writes and syncs the log
//! - [`member_thread`]: applies the journal, claims, and then writes the log as the active
//! - [`journal_sink`]: the sink of an active: the journal, with the log on the disk behind it
//! - [`member_disk`]: the log of a member on its disk, and what the disk refuses
//! - [`handover`]: the active drains its cores and releases the journal
//! - [`trimming`]: the trims of an active
//! - `log_comparison`: compares entries with the records that a member has already
//! - [`core_turns`]: whether every core still has turns
//! - [`standby`]: a standby as values: what it asks the engine, and when it may claim
//! - [`sink`]: what the log's thread writes to
//! - `journal_keeper`: keeps what a member knows of its journal in the identity file
//! - [`after_stint`]: what a node does when the thread of its member is over
//! - [`confirmations`]: appends that show that a node still is the active
//! - [`membership`]: the role of a member, what it knows of others, and whether doors may route a
//!   request
//! - [`standby_reads`]: what a standby replies to, and how old the state is that it replies from
//! - [`entry_repair`]: entries that other members give, because the engine has damaged them
//! - [`claim_check`]: what other members must say before a standby claims
//! - [`known_members`]: what a member knows of the others
//! - `digest_votes`: which member is wrong when their data differs
//! - [`journal_figures`]: figures of the journal, for metrics
//! - [`watch`]: the stream of changes
//! - [`log`]: the queue of records that all shards fill, and how far the log has come
//! - [`mailbox`]: the queues that other threads fill for a core
//! - [`frame_batch`]: what cores send each other on the fast path
//! - [`snapshot_requests`]: requests to the snapshot thread, and its figures
//! - [`commit_gate`]: holds replies back until the log has the records that they depend on
//! - [`responder`]: brings a reply to the caller who waits for it
//! - [`buffers`]: byte buffers that the connections of a core share
//! - [`clock`]: the time that commands and idempotency keys use
//! - [`memory`]: decides whether there is room for more chats and members
//! - [`offload`]: runs long work that needs no shard
//! - [`probes`]: slots to be hashed, and what was compared
//!
//! What handles the data directory, mostly before the threads begin:
//! - [`restore`]: makes a copy of a data directory ready for service
//! - [`first_member`]: makes the data directory of a journal's first member out of another one
//! - [`join`]: copies the data of another member into a directory of its own, and swaps it in
//! - [`give`]: what a member gives to one that copies its data
//! - [`store`]: the data directory: its lock and its recovery
//! - [`load`]: recovery of all shards
//! - [`loss`]: describes what damage costs
//! - `swap`: puts copied files in the place of those of the data directory
//! - [`journal_end`]: where a journal begins and ends in its engine
//! - [`refill`]: writes records into a journal whose engine lost its end
//! - [`genesis`]: the first entry of a journal, which says who its members are
//! - [`identity`]: the identity file `node`
//! - [`error`]: why a node did not start or did not stop cleanly
//! - [`rights`]: file permissions of the data directory

pub mod after_stint;
pub mod buffers;
pub mod claim_check;
pub mod clock;
pub mod commit_gate;
pub mod confirmations;
mod core_turns;
mod digest_votes;
pub mod entry_repair;
pub mod error;
pub mod first_member;
pub mod frame_batch;
pub mod genesis;
pub mod give;
pub mod handle;
mod handover;
pub mod identity;
pub mod info;
pub mod join;
pub mod journal_end;
pub mod journal_figures;
mod journal_keeper;
pub mod journal_sink;
mod known_members;
pub mod load;
pub mod log;
mod log_comparison;
pub mod log_thread;
pub mod loss;
pub mod mailbox;
mod member_disk;
pub mod member_thread;
pub mod membership;
pub mod memory;
pub mod offload;
pub mod prober;
pub mod probes;
pub mod refill;
pub mod responder;
pub mod restore;
pub mod rights;
pub mod sink;
pub mod snapshot_requests;
pub mod snapshotter;
pub mod standby;
pub mod standby_reads;
pub mod start;
pub mod stop;
pub mod store;
mod swap;
mod trimming;
pub mod watch;
pub mod worker;

pub use handle::Handle;
pub use info::NodeInfo;
pub use start::{Node, NodeOptions};

pub use crate::router::Work;
