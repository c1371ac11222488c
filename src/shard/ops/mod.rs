//! Operations: what a shard does for a router or for another shard, one file per family.
//!
//! A read takes the [`Slots`](super::core::Slots). A write takes the [`Core`](super::Core), looks
//! things up in its slots, and ends in `Core::commit`, the one point where an event becomes a
//! record and is applied.
//!
//! # Layout
//! - [`chats`]: `create`, `set_status`, `dissolve`
//! - [`members`]: `members`, `add_members`, `remove_members`
//! - [`messages`]: the command `advance`
//! - [`read_positions`]: `mark_read`, `mark_read_many`, `clear`
//! - [`rows`]: `list`, `set_flags`, `touch`
//! - [`details`]: both sides of `detail`, the chat's side of `explain`
//! - [`deletes`]: the command `delete`
//! - [`conversations`]: `conversations`, `unread`
//! - [`sync`]: the command `sync`
//! - [`export`], [`import`]: the shard's part of both
//! - [`places`]: the places of imported rows in their users' lists
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
pub(super) mod rows;
pub(super) mod sync;
pub(super) mod verify;
