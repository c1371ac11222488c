//! Every bound of the node in one file, related to each other at compile time.
//!
//! A limit that clients can meet is also told by `hello` (see [`crate::command::node::Limits`]).

/// Number of slots. A key's slot is `xxh64(key, hash_seed) % SLOTS`.
pub const SLOTS: u16 = 4096;

/// Longest id (chat or user), in bytes of UTF-8.
pub const ID_BYTES_MAX: usize = 128;
/// Largest sequence, time (ms) and version: 2^53 - 1, which JavaScript reads exactly.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Largest version and place in a list that `import` takes: as many changes may follow as lie below it, before one
/// would be counted past [`INTEGER_MAX`].
pub const IMPORT_COUNTER_MAX: u64 = 1 << 52;
/// Largest number that is taken from the disk for what is counted up: versions, orders, a slot's
/// sequence. Nothing is ever counted that far, and to count on from it does not overflow.
pub const COUNTER_MAX: u64 = 1 << 62;
/// How far `advance {to}` may move a chat's sequence without `force`, and the most that
/// `allocate` hands out at once.
pub const ADVANCE_AHEAD_MAX: u64 = 1_000_000;
/// How far a client's time may lie ahead of the server's, in milliseconds (one day).
pub const TIME_AHEAD_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Largest request frame, in bytes after the length prefix.
pub const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Largest reply frame, in bytes after the length prefix.
pub const REPLY_BYTES_MAX: usize = 16 << 20;
/// Deepest nesting of arrays in a request.
pub const NESTING_MAX: usize = 8;
/// Most ids in one request.
pub const IDS_MAX: usize = 1000;
/// Most users in one `create`, `add_members` or `remove_members`.
pub const USERS_MAX: usize = 10_000;
/// Most lines (chats and members together) in one `import` request.
pub const IMPORT_LINES_MAX: usize = 10_000;
/// Most lines in one `export` reply; also the default.
pub const EXPORT_LINES_MAX: usize = 1000;
/// Most members in one `members` reply; also the default.
pub const MEMBERS_PAGE_MAX: usize = 10_000;
/// Longest string argument that is not an id (token, client name, cursor), in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Largest HTTP body, in bytes.
pub const HTTP_BODY_BYTES_MAX: usize = REQUEST_BYTES_MAX;

/// Requests in flight on one connection; past it the server stops reading that connection.
pub const IN_FLIGHT_MAX: usize = 1024;
/// Bytes of the requests in flight on one connection; past it the server stops reading that connection. A request
/// more may be there, and what is read takes a few times its bytes.
pub const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;
/// Items of a reply up to which it counts as small.
pub const SMALL_REPLY_ITEMS: usize = 200;
/// Requests in flight on one connection whose replies may be larger; past it the server stops reading that
/// connection. (Where the data are on the connection's own core, one is answered after the other anyway.)
pub const LARGE_IN_FLIGHT_MAX: usize = 16;
/// Connections of each door (TCP, HTTP) a node.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Commands of all its connections that one core may have under way; past it: 429.
pub const CROSS_CORE_MAX: usize = 64 * 1024;
/// Bytes of encoded replies a connection may hold before the server stops reading from it.
pub const UNSENT_BYTES_MAX: usize = 1 << 20;
/// A connection with unsent replies that takes no byte for this long is dropped, in ms.
pub const WRITE_TIMEOUT_MS: u64 = 30_000;
/// A connection that sent half a frame and no more for this long is dropped, in ms.
pub const FRAME_TIMEOUT_MS: u64 = 30_000;
/// A stranger is a connection that has not shown yet who it is. Its TLS handshake, and then `hello`
/// or the head of its first HTTP request, must be there this long after it was accepted, in ms.
pub const GREETING_TIMEOUT_MS: u64 = 10_000;
/// A stranger keeps its place at least this long where others wait for it, in ms.
pub const GREETING_MS_MIN: u64 = 100;
/// Largest first frame, which is `hello`, in bytes after the length prefix.
pub const HELLO_BYTES_MAX: usize = 16 << 10;
/// Most strangers of a door, beside its other connections: a quarter as many, within these bounds.
pub const STRANGERS_MAX: usize = 1024;
/// See [`STRANGERS_MAX`].
pub const STRANGERS_MIN: usize = 64;
/// Bytes that the incomplete requests (frames and HTTP bodies) of a node may take together.
pub const INCOMPLETE_BYTES_MAX: usize = 64 << 20;
/// An incomplete request of at most so many bytes does not count there.
pub const INCOMPLETE_BYTES_FREE: usize = 16 << 10;
/// Bytes that the TCP replies and watches of a node may take together while they are not read;
/// beyond it clients are dropped or held back.
pub const TCP_UNSENT_BYTES_MAX: usize = 256 << 20;
/// A TCP connection that holds at most so many of these bytes does not count there.
pub const TCP_UNSENT_BYTES_FREE: usize = 16 << 10;
/// Bytes that the HTTP answers of a node may take together while their clients do not read them.
pub const HTTP_UNSENT_BYTES_MAX: usize = 64 << 20;
/// An HTTP answer of at most so many bytes is always sent, however many are unread.
pub const HTTP_UNSENT_BYTES_FREE: usize = 64 << 10;
/// An HTTP body of at least so many bytes is compressed for clients that take that.
pub const COMPRESSED_BYTES_MIN: usize = 16 << 10;
/// Reads that an HTTP door answers at a time; further ones wait. Each may be a longest reply.
pub const HTTP_READS_MAX: usize = 16;
/// A client that takes fewer bytes than this within the write time-out does not read, by HTTP. By
/// TCP one that takes fewer does not become younger among those who do not read.
pub const PROGRESS_BYTES: usize = 16 << 10;
/// With `--memory-max` each of these three budgets is an eighth of it, but at least this, in bytes.
pub const BUDGET_BYTES_MIN: usize = 16 << 20;
/// Where one of these budgets is used up, its oldest holder is evicted if it is this old, in ms.
pub const EVICTION_MS_MIN: u64 = 1000;
/// A connection without any request for this long is closed, in ms.
pub const IDLE_TIMEOUT_MS: u64 = 600_000;

/// Bytes of records that may wait for the log; past it writes get 429.
pub const LOG_QUEUE_BYTES_MAX: usize = 32 << 20;
/// How long an idempotency key is remembered, by logged time, in ms.
pub const IDEMPOTENCY_WINDOW_MS: u64 = 10 * 60 * 1000;
/// Idempotency keys that a node remembers; beyond it the oldest go first.
pub const IDEMPOTENCY_KEYS_MAX: usize = 1_000_000;
/// So many more bytes of a first answer count as one more key.
pub const IDEMPOTENCY_ANSWER_BYTES: usize = 256;
/// Removed chats that a user's change log still tells of.
pub const TOMBSTONES_MAX: usize = 1000;
/// Removals that a node remembers for the change logs of all users; past it those who have waited longest
/// are forgotten. Some 50 bytes each.
pub const GONE_MAX: usize = 1 << 16;
/// A large node remembers more: one removal for so many rows.
pub const GONE_SHARE: u64 = 4;
/// A user without rows, of whom the version is remembered, counts as so many removals.
pub const IDLE_USER_WEIGHT: u64 = 8;
/// Most changes in one `sync` reply; also the default.
pub const SYNC_PAGE_MAX: usize = 1000;
/// Most conversations in one page.
pub const CONVERSATIONS_PAGE_MAX: usize = 200;
/// Conversations in a page where no limit is given.
pub const CONVERSATIONS_PAGE: usize = 50;
/// Differences that `verify` names; it counts them all.
pub const DIFFERENCES_MAX: usize = 1000;
/// Bytes of records whose changes are held for watchers; also of those that wait to be told.
pub const WATCH_RING_BYTES: usize = 16 << 20;
/// Bytes of records that a watcher is given at once when it resumes from the log's files.
pub const WATCH_PAGE_BYTES: usize = 256 << 10;
/// What such bytes take as changes, with those that are sent, about.
pub const WATCH_PAGE_HELD_BYTES: usize = 8 * WATCH_PAGE_BYTES;
/// A watcher for whose page there is no room looks again after this long, in ms.
pub const WATCH_RETRY_MS: u64 = 100;
/// How long a watcher hears nothing before it gets a heartbeat, in ms.
pub const HEARTBEAT_MS: u64 = 10_000;
/// Watches that may be open on one connection.
pub const WATCHES_MAX: usize = 16;

/// Rows in one slice of a scan over users' rows; a shard works on no more at once.
pub const SCAN_ROWS: usize = 256;
/// Rows that such a slice looks at where most of them are passed over.
pub const LOOK_ROWS: usize = 16 * SCAN_ROWS;
/// Lines of an import that a shard takes at once, where they are not all of one slot.
pub const IMPORT_SLICE: usize = 64;
/// Rows that a shard may be asked to look at without waiting for its turn.
pub const SCAN_ROWS_AT_ONCE: usize = 128;
/// Users whose rows are held at once for `unread`.
pub const USERS_A_SCAN: usize = 256;

/// Users of one chat event that are delivered in one step (one message a shard).
pub const DELIVERY_SLICE: usize = 32;
/// Entries (members of a chat, rows of a user) in one copy-on-write chunk.
pub const CHUNK_ENTRIES_MAX: usize = 64;
/// Bytes of one image block; a larger slot is cut into several.
pub const IMAGE_BLOCK_BYTES: usize = 256 << 10;

const _: () = assert!(SLOTS.is_power_of_two());
const _: () = assert!(IDS_MAX * (ID_BYTES_MAX + 3) < REQUEST_BYTES_MAX);
const _: () = assert!(TEXT_BYTES_MAX < REQUEST_BYTES_MAX);
const _: () = assert!(REQUEST_BYTES_MAX < REPLY_BYTES_MAX);
const _: () = assert!(UNSENT_BYTES_MAX <= REPLY_BYTES_MAX);
const _: () = assert!(LARGE_IN_FLIGHT_MAX < IN_FLIGHT_MAX);
const _: () = assert!(REQUEST_BYTES_MAX < IN_FLIGHT_BYTES_MAX);
const _: () = assert!(CONVERSATIONS_PAGE_MAX <= SMALL_REPLY_ITEMS);
const _: () = assert!(STRANGERS_MIN <= STRANGERS_MAX && STRANGERS_MAX < CONNECTIONS_MAX);
const _: () = assert!(GREETING_MS_MIN < GREETING_TIMEOUT_MS);
// A token and a client's name are the long arguments of `hello`.
const _: () = assert!(2 * TEXT_BYTES_MAX < HELLO_BYTES_MAX && HELLO_BYTES_MAX < REQUEST_BYTES_MAX);
const _: () = assert!(INCOMPLETE_BYTES_FREE < REQUEST_BYTES_MAX);
const _: () = assert!(4 * REQUEST_BYTES_MAX <= BUDGET_BYTES_MIN);
const _: () = assert!(REPLY_BYTES_MAX <= BUDGET_BYTES_MIN);
const _: () = assert!(BUDGET_BYTES_MIN <= INCOMPLETE_BYTES_MAX);
const _: () = assert!(BUDGET_BYTES_MIN <= HTTP_UNSENT_BYTES_MAX);
const _: () = assert!(BUDGET_BYTES_MIN <= TCP_UNSENT_BYTES_MAX);
const _: () = assert!(TCP_UNSENT_BYTES_FREE < UNSENT_BYTES_MAX);
const _: () = assert!(WATCH_PAGE_HELD_BYTES < BUDGET_BYTES_MIN);
const _: () = assert!(PROGRESS_BYTES <= HTTP_UNSENT_BYTES_FREE);
const _: () = assert!(EVICTION_MS_MIN < WRITE_TIMEOUT_MS);
const _: () = assert!(TOMBSTONES_MAX < GONE_MAX / 64);
const _: () = assert!(IDS_MAX <= USERS_MAX);
const _: () = assert!(USERS_MAX * (ID_BYTES_MAX + 3) < 2 * REQUEST_BYTES_MAX);
const _: () = assert!(ADVANCE_AHEAD_MAX < INTEGER_MAX && INTEGER_MAX < COUNTER_MAX);
const _: () = assert!(2 * (IMPORT_COUNTER_MAX - 1) < INTEGER_MAX);
// A record holds at most one request's users or lines; a batch gathers many records.
const _: () = assert!(4 * REQUEST_BYTES_MAX <= snapshot::RECORD_BYTES_MAX);
const _: () = assert!(2 * LOG_QUEUE_BYTES_MAX <= snapshot::BATCH_BYTES_MAX);
const _: () = assert!(2 * IMAGE_BLOCK_BYTES <= snapshot::RECORD_BYTES_MAX);
