//! chatshard: an in-memory, sharded store of chat metadata that runs beside an IM backend.

pub mod cli;
pub mod client;
pub mod command;
pub mod config;
pub mod http;
pub mod limits;
pub mod metrics;
pub mod net;
pub mod node;
pub mod protocol;
pub mod router;
pub mod server;
pub mod shard;
pub mod types;
