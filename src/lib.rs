//! chatshard: an in-memory, sharded store of chat metadata that runs beside an IM backend.

pub mod command;
pub mod limits;
pub mod shard;
pub mod types;
