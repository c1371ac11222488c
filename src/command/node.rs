//! The connection and the node: hello, ping, stats, snapshot.

use serde::{Deserialize, Serialize};

use super::chat::check_text;
use super::{Check, Error};
use crate::limits;
use crate::types::wide;

/// Version of the wire protocol; `protocol::VERSION` says when it changes.
pub const PROTOCOL_VERSION: u16 = 1;

/// Arguments of `hello`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The secret, where the server asks for one.
    #[serde(default)]
    pub token: Option<String>,
    /// The client's name and version, for the server's log.
    #[serde(default)]
    pub client: Option<String>,
    /// Move this connection to the core of this shard.
    #[serde(default)]
    pub shard: Option<u16>,
}

impl std::fmt::Debug for Hello {
    /// Without the token, which no message may show.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("client", &self.client)
            .field("shard", &self.shard)
            .finish()
    }
}

impl Check for Hello {
    fn check(&self) -> Result<(), Error> {
        check_text("token", self.token.as_deref())?;
        check_text("client", self.client.as_deref())
    }
}

/// Answer of `hello`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HelloReply {
    /// `chatshard`.
    pub server: String,
    /// The server's version.
    pub version: String,
    /// The protocol's version.
    pub protocol: u16,
    /// How many shards the node has.
    pub shards: u16,
    /// How many slots there are.
    pub slots: u16,
    /// Seed of the hash: slot = xxh64(key, seed) mod slots, shard = slot mod shards.
    pub hash_seed: u64,
    /// The shard whose core this connection is on.
    pub shard: u16,
    /// What the server takes.
    pub limits: Limits,
}

/// The limits that a client can meet. Those that an older server does not tell are 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest request frame, in bytes.
    pub request_bytes: u64,
    /// Largest reply frame, in bytes.
    pub reply_bytes: u64,
    /// Most ids in a request.
    pub ids: u64,
    /// Most users in `create`, `add_members`, `remove_members`.
    pub users: u64,
    /// Most lines in `import`.
    pub import_lines: u64,
    /// Requests in flight after which the server stops reading.
    pub in_flight: u64,
    /// Longest id, in bytes.
    pub id_bytes: u64,
    /// A connection without a request for this long is closed, in ms.
    pub idle_ms: u64,
    /// How long an idempotency key is remembered, in ms.
    pub idempotency_ms: u64,
    /// How many of them are remembered by a node; beyond it the oldest go first.
    pub idempotency_keys: u64,
    /// How many removed chats `sync` still tells of for each user.
    pub tombstones: u64,
    /// Largest first frame, which is `hello`, in bytes.
    #[serde(default)]
    pub hello_bytes: u64,
    /// Longest text that is no id, in bytes.
    #[serde(default)]
    pub text_bytes: u64,
    /// Deepest nesting of arrays in a request.
    #[serde(default)]
    pub nesting: u64,
    /// Largest sequence, time and version.
    #[serde(default)]
    pub integer_max: u64,
    /// Largest version and join order that `import` takes.
    #[serde(default)]
    pub import_counter_max: u64,
    /// How far `advance` goes at once without `force`.
    #[serde(default)]
    pub advance_ahead: u64,
    /// How far a time may be ahead of the server's, in ms.
    #[serde(default)]
    pub time_ahead_ms: u64,
    /// Most lines on a page of `export`.
    #[serde(default)]
    pub export_lines: u64,
    /// Most members on a page.
    #[serde(default)]
    pub members_page: u64,
    /// Most changes in a reply of `sync`.
    #[serde(default)]
    pub sync_page: u64,
    /// Most conversations on a page.
    #[serde(default)]
    pub conversations_page: u64,
    /// Bytes of requests in flight after which the server stops reading.
    #[serde(default)]
    pub in_flight_bytes: u64,
    /// Requests in flight with large replies after which the server stops reading.
    #[serde(default)]
    pub large_in_flight: u64,
    /// Items up to which a reply is not large.
    #[serde(default)]
    pub small_reply_items: u64,
    /// Bytes of unsent replies after which the server stops reading.
    #[serde(default)]
    pub unsent_bytes: u64,
    /// Open watches of a connection.
    #[serde(default)]
    pub watches: u64,
    /// `hello` must be whole so long after the connection was accepted, in ms.
    #[serde(default)]
    pub greeting_ms: u64,
    /// A part of a frame is waited for so long after its last byte, in ms.
    #[serde(default)]
    pub frame_ms: u64,
    /// A client that takes no byte of its replies for so long is dropped, in ms.
    #[serde(default)]
    pub write_ms: u64,
    /// A watch hears a heartbeat after so long without a change, in ms.
    #[serde(default)]
    pub heartbeat_ms: u64,
    /// So many bytes of a long first answer count as one more key.
    #[serde(default)]
    pub idempotency_answer_bytes: u64,
    /// Connections of the TCP door; further ones get 429.
    #[serde(default)]
    pub connections: u64,
}

impl Limits {
    /// The limits of this build.
    pub fn of_this_build() -> Self {
        Self {
            request_bytes: wide(limits::REQUEST_BYTES_MAX),
            reply_bytes: wide(limits::REPLY_BYTES_MAX),
            ids: wide(limits::IDS_MAX),
            users: wide(limits::USERS_MAX),
            import_lines: wide(limits::IMPORT_LINES_MAX),
            in_flight: wide(limits::IN_FLIGHT_MAX),
            id_bytes: wide(limits::ID_BYTES_MAX),
            idle_ms: limits::IDLE_TIMEOUT_MS,
            idempotency_ms: limits::IDEMPOTENCY_WINDOW_MS,
            idempotency_keys: wide(limits::IDEMPOTENCY_KEYS_MAX),
            tombstones: wide(limits::TOMBSTONES_MAX),
            hello_bytes: wide(limits::HELLO_BYTES_MAX),
            text_bytes: wide(limits::TEXT_BYTES_MAX),
            nesting: wide(limits::NESTING_MAX),
            integer_max: limits::INTEGER_MAX,
            import_counter_max: limits::IMPORT_COUNTER_MAX,
            advance_ahead: limits::ADVANCE_AHEAD_MAX,
            time_ahead_ms: limits::TIME_AHEAD_MS_MAX,
            export_lines: wide(limits::EXPORT_LINES_MAX),
            members_page: wide(limits::MEMBERS_PAGE_MAX),
            sync_page: wide(limits::SYNC_PAGE_MAX),
            conversations_page: wide(limits::CONVERSATIONS_PAGE_MAX),
            in_flight_bytes: wide(limits::IN_FLIGHT_BYTES_MAX),
            large_in_flight: wide(limits::LARGE_IN_FLIGHT_MAX),
            small_reply_items: wide(limits::SMALL_REPLY_ITEMS),
            unsent_bytes: wide(limits::UNSENT_BYTES_MAX),
            watches: wide(limits::WATCHES_MAX),
            greeting_ms: limits::GREETING_TIMEOUT_MS,
            frame_ms: limits::FRAME_TIMEOUT_MS,
            write_ms: limits::WRITE_TIMEOUT_MS,
            heartbeat_ms: limits::HEARTBEAT_MS,
            idempotency_answer_bytes: wide(limits::IDEMPOTENCY_ANSWER_BYTES),
            connections: wide(limits::CONNECTIONS_MAX),
        }
    }
}

macro_rules! empty_arguments {
    ($($(#[$doc:meta])* $name:ident;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $name {}

            impl Check for $name {
                fn check(&self) -> Result<(), Error> {
                    Ok(())
                }
            }
        )+
    };
}

empty_arguments! {
    /// Arguments of `ping`: none.
    Ping;
    /// Arguments of `stats`: none.
    Stats;
    /// Arguments of `snapshot`: none.
    Snapshot;
    /// Arguments of `verify`: none.
    Verify;
}

/// Answer of `ping`: nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PingReply {}

/// Answer of `snapshot`, when the image is published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnapshotReply {
    /// The image's path on the server.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Chats and memberships in it.
    pub records: u64,
}

/// Answer of `verify`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VerifyReply {
    /// Chats that were looked at, dissolved ones counted.
    pub chats: u64,
    /// Members that were held against their rows.
    pub members: u64,
    /// Rows that were held against their chats.
    pub rows: u64,
    /// How many differences there are.
    pub differences: u64,
    /// The first of them, in words.
    pub items: Vec<String>,
}

/// Answer of `stats`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StatsReply {
    /// The server's version.
    pub version: String,
    /// Milliseconds since the start.
    pub uptime_ms: u64,
    /// Chats, dissolved ones not counted.
    pub chats: u64,
    /// Dissolved chats, whose ids are kept.
    pub dissolved: u64,
    /// Users with at least one row.
    pub users: u64,
    /// Memberships, deleted ones counted.
    pub memberships: u64,
    /// Chat events still to be delivered to users' shards.
    pub outbox: u64,
    /// Requests answered since the start.
    pub requests: u64,
    /// Errors among them.
    pub errors: u64,
    /// Open connections of the TCP door.
    pub connections: u64,
    /// Resident memory of the process, in bytes.
    pub memory_bytes: u64,
    /// The log.
    pub log: LogStats,
    /// The newest snapshot.
    pub snapshot: SnapshotStats,
    /// Each shard.
    pub shards: Vec<ShardStats>,
    /// Memory at which new chats and members are refused, in bytes; 0 without a bound.
    pub memory_max_bytes: u64,
    /// 1 while they are refused.
    pub memory_full: u64,
    /// Bytes that the program has allocated and not freed; 0 if its allocator does not count.
    pub memory_live_bytes: u64,
    /// 1 while the system does not tell the resident memory: `memory_bytes` is the last known figure, or 0 if there
    /// never was one.
    pub memory_stale: u64,
}

impl StatsReply {
    /// Adds a shard and its share to the node's figures.
    pub fn add_shard(&mut self, shard: ShardStats) {
        self.chats += shard.chats;
        self.dissolved += shard.dissolved;
        self.users += shard.users;
        self.memberships += shard.memberships;
        self.outbox += shard.outbox;
        self.shards.push(shard);
    }
}

/// State of the log.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LogStats {
    /// `always`, `everysec`, `never`, or `off`.
    pub mode: String,
    /// `ok`, `stalled` (a write failed and is retried) or `poisoned` (a sync failed).
    pub state: String,
    /// Sequence number of the newest record.
    pub last_lsn: u64,
    /// Newest record that is synced to the disk.
    pub durable_lsn: u64,
    /// Bytes of records that wait to be written.
    pub queued_bytes: u64,
    /// Bytes written since the start.
    pub written_bytes: u64,
    /// Syncs since the start.
    pub syncs: u64,
}

/// The newest snapshot.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SnapshotStats {
    /// When it was published, by this run or one before; 0 without a snapshot.
    pub last_time: u64,
    /// Its size.
    pub last_bytes: u64,
    /// How long the newest of this run took; 0 before.
    pub last_duration_ms: u64,
    /// Snapshots since the start.
    pub taken: u64,
    /// Snapshots that failed since the start.
    pub failed: u64,
    /// 1 while one is being written.
    pub running: u64,
}

/// One shard's share.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardStats {
    /// The shard's number.
    pub shard: u16,
    /// Chats on it, dissolved ones not counted.
    pub chats: u64,
    /// Dissolved chats on it.
    pub dissolved: u64,
    /// Users on it with at least one row.
    pub users: u64,
    /// Rows on it.
    pub memberships: u64,
    /// Chat events still to be delivered.
    pub outbox: u64,
    /// Commands that it ran.
    pub commands: u64,
    /// Connections on its core.
    pub connections: u64,
}
