//! A shard: the state machine that owns a part of the slots.
//!
//! Nothing here sees sockets, files, clocks or bytes of the wire protocol.
//!
//! # Layout
//! - [`roster`]: ordered lists in copy-on-write chunks: a chat's members, a user's rows
//! - [`compact`]: numbers kept in half of their bytes
//! - [`row`], [`member`]: what both sides of a membership know
//! - [`interner`]: users' ids, each kept once
//! - [`state`]: what a slot holds
//! - [`deliveries`]: the rows that a chat's event reaches
//! - [`counts`]: what a slot counts as it changes
//! - [`retired`]: the ids of dissolved chats
//! - [`event`]: what was decided, as the log has it
//! - [`idempotency`]: whom idempotency keys belong to
//! - [`apply`]: the one place where events change state
//! - [`listing`]: rows joined with their chats, a part at a time
//! - [`page`]: a user's list, a slice at a time
//! - [`op`]: what a shard is asked and what it tells
//! - [`core`]: the state machine
//! - [`watch_event`]: what a record tells those who watch

pub mod apply;
pub mod compact;
pub mod core;
pub mod counts;
pub mod deliveries;
pub mod event;
pub mod idempotency;
pub mod interner;
pub mod listing;
pub mod member;
pub mod op;
pub mod page;
pub mod retired;
pub mod roster;
pub mod row;
pub mod state;
pub mod watch_event;

pub use self::core::Core;
