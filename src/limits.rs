//! Every bound of the node in one file, related to each other at compile time.
//!
//! The reply to `hello` reports the limits that clients can meet (see
//! [`crate::command::hello::Limits`]).

/// Number of slots. The slot of a key is `xxh64(key, hash_seed) % SLOTS`.
pub const SLOTS: u16 = 4096;

/// Longest id (chat or user), in bytes of UTF-8.
pub const ID_BYTES_MAX: usize = 128;
/// Largest sequence, time (ms) and version: 2^53 - 1, which JavaScript reads exactly.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;
/// Largest version and join order that `import` accepts. It leaves as many values again before a
/// counter would exceed [`INTEGER_MAX`].
pub const IMPORT_COUNTER_MAX: u64 = 1 << 52;
/// Largest counter (version, join order, slot's sequence) that is accepted from the disk. No
/// counter gets there by counting, and a few more steps cannot overflow it.
pub const COUNTER_MAX: u64 = 1 << 62;
/// How far `advance {to}` may move a chat's sequence without `force`, and the most that
/// one `allocate` hands out.
pub const ADVANCE_AHEAD_MAX: u64 = 1_000_000;
/// How far a client's time may be ahead of the server's, in ms (one day).
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
/// Bytes of the requests in flight on one connection; past it the server stops reading that
/// connection. One more request may come in, and a decoded request takes a few times its bytes.
pub const IN_FLIGHT_BYTES_MAX: usize = 4 << 20;
/// Most items of a small reply.
pub const SMALL_REPLY_ITEMS: usize = 200;
/// Requests in flight on one connection whose replies may be larger than [`SMALL_REPLY_ITEMS`].
/// Past it the server stops reading that connection.
pub const LARGE_IN_FLIGHT_MAX: usize = 16;
/// Most connections of each door (TCP, HTTP) of a node.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Most commands that one worker has under way over shards for its connections. Past it a command
/// gets 429.
pub const CROSS_CORE_MAX: usize = 64 * 1024;
/// Bytes of encoded replies that one connection may hold; past it the server stops reading it.
pub const UNSENT_BYTES_MAX: usize = 1 << 20;
/// A connection with unsent replies that takes no byte for this long is dropped, in ms.
pub const WRITE_TIMEOUT_MS: u64 = 30_000;
/// A connection that sent part of a frame and nothing more for this long is dropped, in ms.
pub const FRAME_TIMEOUT_MS: u64 = 30_000;
/// Time for a stranger, a connection that has not shown its credentials, in ms from its accept. By
/// then its TLS handshake must be done, and then `hello` or the head of its first HTTP request
/// complete.
pub const GREETING_TIMEOUT_MS: u64 = 10_000;
/// A stranger keeps its place for at least this long while others wait for it, in ms.
pub const GREETING_MS_MIN: u64 = 100;
/// Largest first frame, which is `hello`, in bytes after the length prefix.
pub const HELLO_BYTES_MAX: usize = 16 << 10;
/// Most strangers of a door, besides its other connections. A door allows a quarter of its
/// connections, within [`STRANGERS_MIN`] and this.
pub const STRANGERS_MAX: usize = 1024;
/// Most strangers of a door whose connections are few; see [`STRANGERS_MAX`].
pub const STRANGERS_MIN: usize = 64;
/// Bytes that the incomplete requests (frames and HTTP bodies) of a node may use together.
pub const INCOMPLETE_BYTES_MAX: usize = 64 << 20;
/// An incomplete request of at most this many bytes does not count against
/// [`INCOMPLETE_BYTES_MAX`].
pub const INCOMPLETE_BYTES_FREE: usize = 16 << 10;
/// Bytes that unread TCP replies and watches of a node may use together. Past it, clients that do
/// not read are evicted or held back.
pub const TCP_UNSENT_BYTES_MAX: usize = 256 << 20;
/// A TCP connection that holds at most this many unread bytes does not count against
/// [`TCP_UNSENT_BYTES_MAX`].
pub const TCP_UNSENT_BYTES_FREE: usize = 16 << 10;
/// Bytes that unread HTTP replies of a node may use together.
pub const HTTP_UNSENT_BYTES_MAX: usize = 64 << 20;
/// An HTTP reply of at most this many bytes is sent even if [`HTTP_UNSENT_BYTES_MAX`] is used up.
pub const HTTP_UNSENT_BYTES_FREE: usize = 64 << 10;
/// An HTTP body of at least this many bytes is compressed for clients that accept it.
pub const COMPRESSED_BYTES_MIN: usize = 16 << 10;
/// Reads that an HTTP door runs at the same time; further ones wait. Each may make a reply of the
/// largest size.
pub const HTTP_READS_MAX: usize = 16;
/// Bytes that a client must take to count as reading. Over HTTP, a client that takes fewer within
/// the write time-out is dropped. Over TCP, a client that takes fewer stays early in the order of
/// eviction.
pub const PROGRESS_BYTES: usize = 16 << 10;
/// With `--memory-max`, each of the three budgets (incomplete requests, unread TCP replies, unread
/// HTTP replies) is an eighth of it. This is the least that each gets, in bytes.
pub const BUDGET_BYTES_MIN: usize = 16 << 20;
/// How long a holder of one of the three budgets is safe from eviction, in ms.
pub const EVICTION_MS_MIN: u64 = 1000;
/// A connection without any request for this long is closed, in ms.
pub const IDLE_TIMEOUT_MS: u64 = 600_000;

/// Bytes of records that may wait for the log; past it writes get 429.
pub const LOG_QUEUE_BYTES_MAX: usize = 32 << 20;
/// How long an idempotency key is remembered, in ms of elapsed time. A step of the wall clock
/// changes nothing.
pub const IDEMPOTENCY_WINDOW_MS: u64 = 10 * 60 * 1000;
/// Idempotency keys that a node remembers. Past it, the oldest ones are forgotten first.
pub const IDEMPOTENCY_KEYS_MAX: usize = 1_000_000;
/// A long first reply counts as one more idempotency key for each of this many bytes.
pub const IDEMPOTENCY_ANSWER_BYTES: usize = 256;
/// Removals that `sync` still reports for one user.
pub const USER_REMOVALS_MAX: usize = 1000;
/// Removals that a node remembers for all users together. Past it, users forget removals in turn;
/// `shard/machine/forgetting.rs` says which. A removal takes about 50 bytes.
pub const REMOVALS_MAX: usize = 1 << 16;
/// A large node remembers more removals than [`REMOVALS_MAX`]: one for each of this many rows.
pub const ROWS_PER_REMOVAL: u64 = 4;
/// A user without rows, whose version is remembered, counts as this many removals against
/// [`REMOVALS_MAX`].
pub const IDLE_USER_WEIGHT: u64 = 8;
/// Most changes in one `sync` reply; also the default.
pub const SYNC_PAGE_MAX: usize = 1000;
/// Most conversations on one page.
pub const CONVERSATIONS_PAGE_MAX: usize = 200;
/// Conversations on a page if the request has no limit.
pub const CONVERSATIONS_PAGE: usize = 50;
/// Differences that `verify` names; it counts all of them.
pub const DIFFERENCES_MAX: usize = 1000;
/// Bytes of the newest records whose changes are kept for watchers. Also the bound on records that
/// the watch thread has not taken apart yet.
pub const WATCH_RING_BYTES: usize = 16 << 20;
/// Bytes of records that a watcher gets in one page when it resumes from the files of the log.
pub const WATCH_PAGE_BYTES: usize = 256 << 10;
/// About how many bytes of memory the changes of one page take, with those on their way to the
/// connection. The page is of [`WATCH_PAGE_BYTES`].
pub const WATCH_PAGE_HELD_BYTES: usize = 8 * WATCH_PAGE_BYTES;
/// How long a watcher waits before it asks again for room for a page, in ms.
pub const WATCH_RETRY_MS: u64 = 100;
/// How long a watcher gets no change before it gets a heartbeat, in ms.
pub const HEARTBEAT_MS: u64 = 10_000;
/// Watches that one connection may have open.
pub const WATCHES_MAX: usize = 16;

/// Rows of one slice of a long list or scan. A shard works on no more in one step.
pub const SCAN_ROWS: usize = 256;
/// Rows that a shard looks at in one step if it passes over most of them.
pub const LOOK_ROWS: usize = 16 * SCAN_ROWS;
/// Lines of an import that a shard applies in one step, unless more of them are of one slot.
pub const IMPORT_SLICE: usize = 64;
/// Most rows of an operation that a shard runs at once. A longer one waits behind short ones.
pub const SCAN_ROWS_AT_ONCE: usize = 128;
/// Users whose rows one `unread` holds in memory at a time.
pub const USERS_A_SCAN: usize = 256;

/// Users to whom one step of a delivery brings a chat's event. Each shard of them gets one message.
pub const DELIVERY_SLICE: usize = 32;
/// Entries (members of a chat, or rows of a user) in one chunk, which snapshots and long reads
/// share.
pub const CHUNK_ENTRIES_MAX: usize = 64;
/// Bytes of one block of a snapshot file. A larger slot is written as several blocks.
pub const SNAPSHOT_BLOCK_BYTES: usize = 256 << 10;

/// Largest entry of a journal, in bytes with its header. The engine's adapter sets its own limit,
/// between [`JOURNAL_ENTRY_BYTES_MIN`] and this one.
pub const JOURNAL_ENTRY_BYTES_MAX: usize = 1 << 20;
/// Smallest limit of an entry that an adapter may set. With it the largest batch still fits into 65
/// 535 parts.
pub const JOURNAL_ENTRY_BYTES_MIN: usize = 2048;
/// Longest text (name, address, version, reason) in a control entry of a journal, in bytes.
pub const JOURNAL_TEXT_BYTES_MAX: usize = 255;
/// Entries that the writer of a journal reads at once to find out whether its own was appended.
pub const JOURNAL_LOOK_ENTRIES: usize = 16;
/// Bytes of entries that a follow delivers ahead of the thread that takes them.
pub const JOURNAL_BACKLOG_BYTES_MAX: usize = 4 << 20;
/// Entries that a standby reads at once.
pub const JOURNAL_READ_ENTRIES: usize = 64;
/// Most that a client may allow the state of a standby to be old, in ms.
pub const STALE_MS_MAX: u64 = 600_000;
/// How long a `sync` or `watch` waits on a member for a change that its client has seen on another
/// one, in ms.
pub const LAG_WAIT_MS: u64 = 500;
/// Most requests of a core that wait for [`LAG_WAIT_MS`] at the same time. Beyond it they get 421 at
/// once.
pub const LAG_WAITS_MAX: usize = 1024;
/// Digests that one report of a standby has at most.
pub const COMPARED_DIGESTS_MAX: usize = 16;
/// The format of events and entries that this build writes to a journal.
pub const JOURNAL_FORMAT: u32 = 2;
/// The first format of a journal that has digests of slots.
pub const PROBED_FORMAT: u32 = 2;

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
// A `hello` has two long arguments: the token and the client's name.
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
const _: () = assert!(USER_REMOVALS_MAX < REMOVALS_MAX / 64);
const _: () = assert!(IDS_MAX <= USERS_MAX);
const _: () = assert!(USERS_MAX * (ID_BYTES_MAX + 3) < 2 * REQUEST_BYTES_MAX);
const _: () = assert!(ADVANCE_AHEAD_MAX < INTEGER_MAX && INTEGER_MAX < COUNTER_MAX);
const _: () = assert!(2 * (IMPORT_COUNTER_MAX - 1) < INTEGER_MAX);
// A record has at most what one request has: its users, or its lines.
const _: () = assert!(4 * REQUEST_BYTES_MAX <= snapshot::RECORD_BYTES_MAX);
const _: () = assert!(2 * LOG_QUEUE_BYTES_MAX <= snapshot::BATCH_BYTES_MAX);
const _: () = assert!(2 * SNAPSHOT_BLOCK_BYTES <= snapshot::RECORD_BYTES_MAX);
// Five texts with their heads fit into the smallest entry of a journal.
const _: () = assert!(5 * (JOURNAL_TEXT_BYTES_MAX + 2) + 16 <= JOURNAL_ENTRY_BYTES_MIN - 80);
const _: () = assert!(JOURNAL_ENTRY_BYTES_MIN < JOURNAL_ENTRY_BYTES_MAX);
const _: () = assert!(JOURNAL_ENTRY_BYTES_MAX < JOURNAL_BACKLOG_BYTES_MAX);
