//! `hello`: introduces a connection; the reply describes the node and its limits.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::check::check_text;
use super::schema::Bound;
use super::{Arguments, Check, Error, NamedKeys};
use crate::limits;
use crate::types::wide;

/// Version of the wire protocol. It rises when an older client would misread this server. Fields
/// and commands that are only added do not raise it.
pub const PROTOCOL_VERSION: u16 = 1;

/// Arguments of `hello`, the first request of a connection. All of them are optional.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The secret of the caller, if the server requires one.
    #[serde(default)]
    pub token: Option<String>,
    /// The client's name and version, for the server's log.
    #[serde(default)]
    pub client: Option<String>,
    /// The shard to whose worker the connection moves.
    #[serde(default)]
    pub shard: Option<u16>,
    /// How old the state may be that a standby replies to reads from, in ms. If absent, a standby
    /// replies to no reads. The active, and a node without a journal, pass over it.
    #[serde(default)]
    pub stale_ms: Option<u64>,
}

impl std::fmt::Debug for Hello {
    /// Leaves out the token, which no message may show.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hello")
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("client", &self.client)
            .field("shard", &self.shard)
            .field("stale_ms", &self.stale_ms)
            .finish()
    }
}

impl Check for Hello {
    fn check(&self) -> Result<(), Error> {
        check_text("token", self.token.as_deref())?;
        check_text("client", self.client.as_deref())?;
        let max = limits::STALE_MS_MAX;
        match self.stale_ms.is_none_or(|stale| (1..=max).contains(&stale)) {
            true => Ok(()),
            false => Err(Error::invalid(format!("stale_ms: must be 1 to {max}"))),
        }
    }
}

impl Arguments for Hello {
    type Reply = Box<HelloReply>;
    const EXAMPLE: Option<&str> = Some(r#"{}"#);
    const BOUNDS: &[Bound] = &[Bound::integer("stale_ms", 1, limits::STALE_MS_MAX)];

    fn touch(&self, _: &mut impl NamedKeys) {}
}

/// Reply to `hello`: versions, placement of keys, and limits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HelloReply {
    /// Always `chatshard`.
    pub server: String,
    /// The version of the server's build.
    pub version: String,
    /// The version of the wire protocol.
    pub protocol: u16,
    /// How many shards the node has, from 1.
    pub shards: u16,
    /// How many slots the keys are spread over.
    pub slots: u16,
    /// Seed of the key hash: slot = xxh64(key, seed) mod slots, shard = slot mod shards.
    #[schema(format = "bits64")]
    pub hash_seed: u64,
    /// The shard whose core serves this connection.
    pub shard: u16,
    /// The limits of this server.
    pub limits: Limits,
    /// What the node is in its journal: `active`, `standby`, `claiming` or `demoted`. A node
    /// without a journal is `active`.
    #[serde(default)]
    pub role: String,
    /// The address of the active's TCP door; empty if it is not known, or there is no journal.
    #[serde(default)]
    pub active: String,
    /// The number of the active's claim; 0 without a journal.
    #[serde(default)]
    pub epoch: u64,
    /// The id of the journal; 0 without one.
    #[serde(default)]
    #[schema(format = "bits64")]
    pub journal: u64,
}

/// The limits that a client can meet. One that an older server does not report is 0.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Requests in flight on a connection after which the server stops reading it.
    pub in_flight: u64,
    /// Longest id, in bytes.
    pub id_bytes: u64,
    /// A connection without a request for this long is closed, in ms.
    pub idle_ms: u64,
    /// How long the node remembers an idempotency key, in ms.
    pub idempotency_ms: u64,
    /// How many idempotency keys the node remembers; beyond it, it forgets the oldest first.
    pub idempotency_keys: u64,
    /// How many removals `sync` still reports for each user.
    pub tombstones: u64,
    /// Largest first frame, which is `hello`, in bytes.
    #[serde(default)]
    pub hello_bytes: u64,
    /// Longest text argument that is not an id, in bytes.
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
    /// How far one `advance` may go without `force`.
    #[serde(default)]
    pub advance_ahead: u64,
    /// How far a time may be ahead of the server's clock, in ms.
    #[serde(default)]
    pub time_ahead_ms: u64,
    /// Most lines on a page of `export`.
    #[serde(default)]
    pub export_lines: u64,
    /// Most members on a page of `members`.
    #[serde(default)]
    pub members_page: u64,
    /// Most changes in a reply of `sync`.
    #[serde(default)]
    pub sync_page: u64,
    /// Most conversations on a page of `conversations`.
    #[serde(default)]
    pub conversations_page: u64,
    /// Bytes of requests in flight on a connection after which the server stops reading it.
    #[serde(default)]
    pub in_flight_bytes: u64,
    /// Requests in flight with large replies after which the server stops reading a connection.
    #[serde(default)]
    pub large_in_flight: u64,
    /// Most items of a reply that does not count as large.
    #[serde(default)]
    pub small_reply_items: u64,
    /// Bytes of unsent replies after which the server stops reading a connection.
    #[serde(default)]
    pub unsent_bytes: u64,
    /// Most open watches of a connection.
    #[serde(default)]
    pub watches: u64,
    /// Time from the accept of a connection until its `hello` must be complete, in ms.
    #[serde(default)]
    pub greeting_ms: u64,
    /// Time from the last byte of an incomplete frame until the connection is dropped, in ms.
    #[serde(default)]
    pub frame_ms: u64,
    /// A client that takes no byte of its replies for this long is dropped, in ms.
    #[serde(default)]
    pub write_ms: u64,
    /// A watch without a change for this long gets a heartbeat, in ms.
    #[serde(default)]
    pub heartbeat_ms: u64,
    /// A long first reply counts as one more idempotency key per this many bytes.
    #[serde(default)]
    pub idempotency_answer_bytes: u64,
    /// Most connections of the TCP door; further ones get 429.
    #[serde(default)]
    pub connections: u64,
    /// Largest `stale_ms` of `hello`.
    #[serde(default)]
    pub stale_ms: u64,
}

impl Limits {
    /// The limits of this build, from `crate::limits`.
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
            tombstones: wide(limits::USER_REMOVALS_MAX),
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
            stale_ms: limits::STALE_MS_MAX,
        }
    }
}

#[cfg(test)]
draw! {
    Hello {
        token, client, shard,
        stale_ms = |choices: &mut super::test_values::Choices<'_>| {
            choices.draw::<Option<u64>>().map(|stale| 1 + stale % limits::STALE_MS_MAX)
        },
    }
    HelloReply {
        server, version, protocol, shards, slots, hash_seed, shard, limits, role, active, epoch,
        journal,
    }
    Limits {
        request_bytes, reply_bytes, ids, users, import_lines, in_flight, id_bytes, idle_ms,
        idempotency_ms, idempotency_keys, tombstones, hello_bytes, text_bytes, nesting, integer_max,
        import_counter_max, advance_ahead, time_ahead_ms, export_lines, members_page, sync_page,
        conversations_page, in_flight_bytes, large_in_flight, small_reply_items, unsent_bytes,
        watches, greeting_ms, frame_ms, write_ms, heartbeat_ms, idempotency_answer_bytes,
        connections, stale_ms,
    }
}
