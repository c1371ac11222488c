//! `stats`: figures of the node and of each shard.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Arguments, Check, Error, NamedKeys};

/// Arguments of `stats`, which has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Stats {}

impl Check for Stats {
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl Arguments for Stats {
    type Reply = Box<StatsReply>;
    const EXAMPLE: Option<&str> = Some(r#"{}"#);

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// Reply to `stats`: figures of the node and of each shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatsReply {
    /// The version of the server's build.
    pub version: String,
    /// Milliseconds since the start of the process.
    pub uptime_ms: u64,
    /// Chats, without dissolved ones.
    pub chats: u64,
    /// Dissolved chats, whose ids stay taken.
    pub dissolved: u64,
    /// Users with at least one row.
    pub users: u64,
    /// Memberships, including those whose row the user deleted.
    pub memberships: u64,
    /// Chat events that are not delivered to the rows of their users yet.
    pub outbox: u64,
    /// Requests with a reply since the start.
    pub requests: u64,
    /// Requests since the start that failed.
    pub errors: u64,
    /// Open connections of the TCP door.
    pub connections: u64,
    /// Resident memory of the process, in bytes.
    pub memory_bytes: u64,
    /// State and figures of the log.
    pub log: LogStats,
    /// State and figures of snapshots.
    pub snapshot: SnapshotStats,
    /// Figures of each shard, in the order of their numbers.
    pub shards: Vec<ShardStats>,
    /// Memory at which the node refuses new chats and members, in bytes; 0 without a bound.
    pub memory_max_bytes: u64,
    /// 1 while the node refuses new chats and members.
    pub memory_full: u64,
    /// Bytes that the program allocated and did not free; 0 if its allocator does not count.
    pub memory_live_bytes: u64,
    /// 1 while the system does not report the resident memory. `memory_bytes` then is the last
    /// known figure, or 0 if there never was one.
    pub memory_stale: u64,
}

impl StatsReply {
    /// Appends a shard, and adds its figures to the node's.
    pub fn add_shard(&mut self, shard: ShardStats) {
        self.chats += shard.chats;
        self.dissolved += shard.dissolved;
        self.users += shard.users;
        self.memberships += shard.memberships;
        self.outbox += shard.outbox;
        self.shards.push(shard);
    }
}

/// State and figures of the log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LogStats {
    /// The mode: `always`, `everysec`, `never`, or `off`.
    pub mode: String,
    /// `ok`, `stalled` (a write failed and is retried) or `poisoned` (a sync failed).
    pub state: String,
    /// LSN of the newest record.
    pub last_lsn: u64,
    /// LSN of the newest record that is synced to the disk.
    pub durable_lsn: u64,
    /// Bytes of records that wait to be written.
    pub queued_bytes: u64,
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// Syncs since the start.
    pub syncs: u64,
}

/// State and figures of snapshots.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SnapshotStats {
    /// When the newest snapshot was published, in ms, by this run or an earlier one; 0 without one.
    pub last_time: u64,
    /// Size of the newest snapshot, in bytes.
    pub last_bytes: u64,
    /// How long the newest snapshot of this run took, in ms; 0 before the first.
    pub last_duration_ms: u64,
    /// Snapshots since the start.
    pub taken: u64,
    /// Snapshots that failed since the start.
    pub failed: u64,
    /// 1 while a snapshot is being written.
    pub running: u64,
}

/// Figures of one shard.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ShardStats {
    /// The shard's number, from 0.
    pub shard: u16,
    /// Chats of the shard, without dissolved ones.
    pub chats: u64,
    /// Dissolved chats of the shard.
    pub dissolved: u64,
    /// Users of the shard with at least one row.
    pub users: u64,
    /// Rows of the shard's users.
    pub memberships: u64,
    /// Chat events of the shard that are not delivered yet.
    pub outbox: u64,
    /// Commands that the shard ran since the start.
    pub commands: u64,
    /// Connections that the shard's worker serves.
    pub connections: u64,
}

#[cfg(test)]
draw! {
    Stats {}
    StatsReply {
        version, uptime_ms, chats, dissolved, users, memberships, outbox, requests, errors,
        connections, memory_bytes, log, snapshot, shards, memory_max_bytes, memory_full,
        memory_live_bytes, memory_stale,
    }
    LogStats { mode, state, last_lsn, durable_lsn, queued_bytes, written_bytes, syncs }
    SnapshotStats { last_time, last_bytes, last_duration_ms, taken, failed, running }
    ShardStats { shard, chats, dissolved, users, memberships, outbox, commands, connections }
}
