//! Operations: what a shard does for a router or for another shard, one file per family.
//!
//! A read takes the [`Slots`](super::machine::Slots). A write takes the [`Shard`](super::Shard), and
//! looks things up in its slots. It ends in `Shard::commit`, which makes an event a record and
//! applies it.
//!
//! # Layout
//! - [`reservations`]: idempotency keys of requests that several shards decide
//! - [`chats`]: `create`, `set_status`, `dissolve`
//! - [`members`]: `members`, `add_members`, `remove_members`
//! - [`messages`]: the command `advance`
//! - [`read_positions`]: `mark_read`, `mark_read_many`, `clear`
//! - [`rows`]: `list`, `set_flags`, `touch`
//! - [`details`]: what chats and rows know for `detail`, what the chat knows for `explain`
//! - [`deletes`]: the command `delete`
//! - [`conversations`]: `conversations`, `unread`
//! - [`sync`]: the command `sync`
//! - [`export`], [`import`]: the shard's part of both
//! - [`places`]: the join orders of imported rows
//! - [`erase`]: the command `erase_user`
//! - [`verify`]: the shard's part of `verify`

pub(super) mod chats;
pub(super) mod conversations;
pub(super) mod deletes;
pub(super) mod details;
pub(super) mod erase;
pub(super) mod export;
pub(super) mod import;
pub(super) mod members;
pub(super) mod messages;
pub(super) mod places;
pub(super) mod read_positions;
pub(super) mod reservations;
pub(super) mod rows;
pub(super) mod sync;
pub(super) mod verify;
