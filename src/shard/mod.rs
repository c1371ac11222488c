//! A shard: the state machine that owns a part of the slots.
//!
//! The code here sees no sockets, files, clocks, or bytes of the wire protocol.
//!
//! # Layout
//! - [`roster`]: ordered lists in copy-on-write chunks, for a chat's members and a user's rows
//! - [`compact`]: numbers stored in half of their bytes
//! - [`table`], [`decode`]: hash tables of a slot; checks of what the disk holds
//! - [`row`], [`member`]: a membership as the user knows it, and as the chat knows it
//! - [`interner`]: ids of users, each stored once per shard
//! - [`state`]: the contents of a slot
//! - [`deliveries`]: what an event of a chat changes in rows
//! - [`counts`]: how much a slot holds, updated with each change
//! - [`retired`]: the ids of dissolved chats
//! - [`events`]: decisions, what they change, and their encoding in the log
//! - [`idempotency`]: owners of idempotency keys, and reservations
//! - [`keyed`]: requests with an idempotency key, by the place of their first answer
//! - [`listing`]: rows joined with their chats, a part at a time
//! - [`list_order`]: the rows of a list in list order
//! - [`page`], [`sync_page`]: a user's list, and a page of `sync`, made in slices
//! - [`op`]: operations, answers and messages of a shard
//! - [`machine`]: the state machine
//! - [`ops`]: what operations do, one file per family
//! - [`dispatch`]: calls the function of each operation and message

pub mod compact;
pub mod counts;
pub mod decode;
pub mod deliveries;
mod dispatch;
pub mod events;
pub mod idempotency;
pub mod interner;
pub mod keyed;
pub mod list_order;
pub mod listing;
pub mod machine;
pub mod member;
pub mod op;
mod ops;
pub mod page;
pub mod retired;
pub mod roster;
pub mod row;
pub mod state;
pub mod sync_page;
pub mod table;

pub use machine::Shard;
