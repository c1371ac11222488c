# Generated from docs/reference/protocol.json by clients/generate. Do not edit.
"""The records of the protocol, and the replies of commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

from .. import _msgpack as m

__all__ = [
    "AddMembersReply",
    "AdvanceReply",
    "Chat",
    "ChatLine",
    "ClearReply",
    "ClusterMember",
    "ClusterReply",
    "Conversation",
    "ConversationsReply",
    "CreateReply",
    "DetailReply",
    "EraseUserReply",
    "Event",
    "ExplainFloors",
    "ExplainReply",
    "ExportReply",
    "HandoverReply",
    "HelloReply",
    "ImportReply",
    "Limits",
    "ListReply",
    "LogStats",
    "MarkReadManyReply",
    "MarkReadReply",
    "Member",
    "MemberLine",
    "MembersReply",
    "ReadItem",
    "ReadResult",
    "RemoveMembersReply",
    "Row",
    "SetFlagsReply",
    "SetStatusReply",
    "ShardStats",
    "Since",
    "SnapshotReply",
    "SnapshotStats",
    "StatsReply",
    "SyncItem",
    "SyncReply",
    "TouchReply",
    "UnreadItem",
    "UnreadReply",
    "VerifyReply",
]

_new = object.__new__
# How to fill a frozen object in one step.
_set = object.__setattr__


@dataclass(frozen=True)
class Limits:
    """A record `limits`."""

    request_bytes: int
    """Largest request payload."""
    reply_bytes: int
    """Largest reply payload."""
    ids: int
    """Most ids in one request."""
    users: int
    """Most users in `create`, `add_members`, `remove_members`."""
    import_lines: int
    """Most chats and members together in one `import`."""
    in_flight: int
    """Open requests of a connection at which the server stops reading it."""
    id_bytes: int
    """Longest id, in bytes of UTF-8."""
    idle_ms: int
    """A connection without a request for this long is closed."""
    idempotency_ms: int
    """How long an [idempotency key](#repeats) is remembered."""
    idempotency_keys: int
    """How many keys a node remembers."""
    tombstones: int
    """How many removed chats of each user [`sync`](#change-logs) remembers."""
    hello_bytes: int
    """Largest first frame, which is `hello`."""
    text_bytes: int
    """Longest text in a request that is no id, in bytes of UTF-8."""
    nesting: int
    """Deepest nesting of arrays; the request itself counts."""
    integer_max: int
    """Largest sequence, time and version."""
    import_counter_max: int
    """Largest `version` and `join_order` in an `import`."""
    advance_ahead: int
    """How far `advance` goes at once: `allocate`, and `to` without `force`."""
    time_ahead_ms: int
    """How far a `time` may be ahead of the server's."""
    export_lines: int
    """Largest `limit` of `export`, also the default."""
    members_page: int
    """Largest `limit` of `members`, also the default."""
    sync_page: int
    """Largest `limit` of `sync`, also the default."""
    conversations_page: int
    """Largest `limit` of `conversations`."""
    in_flight_bytes: int
    """Bytes of open requests of a connection at which the server stops reading it."""
    large_in_flight: int
    """Open requests of a connection with large replies at which the server stops reading it."""
    small_reply_items: int
    """A reply with more items is large."""
    unsent_bytes: int
    """Bytes of replies that wait for the client at which the server stops reading it."""
    watches: int
    """Most open watches of one connection."""
    greeting_ms: int
    """`hello` must be complete this long after the accept."""
    frame_ms: int
    """The rest of a frame must come this long after its last byte."""
    write_ms: int
    """A client must take a byte of waiting replies within this time."""
    heartbeat_ms: int
    """A `watch` gets a heartbeat after this long without a change."""
    idempotency_answer_bytes: int
    """This many bytes of a long reply to `mark_read_many` count as one more key."""
    connections: int
    """Most connections of the TCP door of this server; further ones get 429."""
    stale_ms: int
    """Largest `stale_ms` of `hello`."""


def read_limits(d: bytes, p: int) -> Tuple[Limits, int]:
    count, p = m.read_array(d, p)
    more = count - 34
    v0, p = m.read_int(d, p) if count > 0 else (0, p)
    v1, p = m.read_int(d, p) if count > 1 else (0, p)
    v2, p = m.read_int(d, p) if count > 2 else (0, p)
    v3, p = m.read_int(d, p) if count > 3 else (0, p)
    v4, p = m.read_int(d, p) if count > 4 else (0, p)
    v5, p = m.read_int(d, p) if count > 5 else (0, p)
    v6, p = m.read_int(d, p) if count > 6 else (0, p)
    v7, p = m.read_int(d, p) if count > 7 else (0, p)
    v8, p = m.read_int(d, p) if count > 8 else (0, p)
    v9, p = m.read_int(d, p) if count > 9 else (0, p)
    v10, p = m.read_int(d, p) if count > 10 else (0, p)
    v11, p = m.read_int(d, p) if count > 11 else (0, p)
    v12, p = m.read_int(d, p) if count > 12 else (0, p)
    v13, p = m.read_int(d, p) if count > 13 else (0, p)
    v14, p = m.read_int(d, p) if count > 14 else (0, p)
    v15, p = m.read_int(d, p) if count > 15 else (0, p)
    v16, p = m.read_int(d, p) if count > 16 else (0, p)
    v17, p = m.read_int(d, p) if count > 17 else (0, p)
    v18, p = m.read_int(d, p) if count > 18 else (0, p)
    v19, p = m.read_int(d, p) if count > 19 else (0, p)
    v20, p = m.read_int(d, p) if count > 20 else (0, p)
    v21, p = m.read_int(d, p) if count > 21 else (0, p)
    v22, p = m.read_int(d, p) if count > 22 else (0, p)
    v23, p = m.read_int(d, p) if count > 23 else (0, p)
    v24, p = m.read_int(d, p) if count > 24 else (0, p)
    v25, p = m.read_int(d, p) if count > 25 else (0, p)
    v26, p = m.read_int(d, p) if count > 26 else (0, p)
    v27, p = m.read_int(d, p) if count > 27 else (0, p)
    v28, p = m.read_int(d, p) if count > 28 else (0, p)
    v29, p = m.read_int(d, p) if count > 29 else (0, p)
    v30, p = m.read_int(d, p) if count > 30 else (0, p)
    v31, p = m.read_int(d, p) if count > 31 else (0, p)
    v32, p = m.read_int(d, p) if count > 32 else (0, p)
    v33, p = m.read_int(d, p) if count > 33 else (0, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(Limits)
    _set(o, "__dict__", {
        "request_bytes": v0, "reply_bytes": v1, "ids": v2, "users": v3, "import_lines": v4,
        "in_flight": v5, "id_bytes": v6, "idle_ms": v7, "idempotency_ms": v8, "idempotency_keys":
        v9, "tombstones": v10, "hello_bytes": v11, "text_bytes": v12, "nesting": v13, "integer_max":
        v14, "import_counter_max": v15, "advance_ahead": v16, "time_ahead_ms": v17, "export_lines":
        v18, "members_page": v19, "sync_page": v20, "conversations_page": v21, "in_flight_bytes":
        v22, "large_in_flight": v23, "small_reply_items": v24, "unsent_bytes": v25, "watches": v26,
        "greeting_ms": v27, "frame_ms": v28, "write_ms": v29, "heartbeat_ms": v30,
        "idempotency_answer_bytes": v31, "connections": v32, "stale_ms": v33,
    })
    return o, p


@dataclass(frozen=True)
class LogStats:
    """A record `log_stats`."""

    mode: str
    """`always`, `everysec`, `never` or `off`."""
    state: str
    """`ok`, `stalled` (the disk or the system rejected a write, which is retried) or `poisoned` (a
    sync failed)."""
    last_lsn: int
    """Number of the newest record."""
    durable_lsn: int
    """Newest record that is synced."""
    queued_bytes: int
    """Bytes that wait to be written."""
    written_bytes: int
    """Bytes written since the start."""
    syncs: int
    """Syncs since the start."""


def read_log_stats(d: bytes, p: int) -> Tuple[LogStats, int]:
    more = 0
    if d[p] == 151:
        p += 1
    else:
        more, p = m.read_fields(d, p, 7)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v1 = d[p + 1 : e].decode()
        p = e
    else:
        v1, p = m.read_str(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3 = d[p]
    if v3 < 128:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    v4 = d[p]
    if v4 < 128:
        p += 1
    else:
        v4, p = m.read_int(d, p)
    v5 = d[p]
    if v5 < 128:
        p += 1
    else:
        v5, p = m.read_int(d, p)
    v6 = d[p]
    if v6 < 128:
        p += 1
    else:
        v6, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(LogStats)
    _set(o, "__dict__", {
        "mode": v0, "state": v1, "last_lsn": v2, "durable_lsn": v3, "queued_bytes": v4,
        "written_bytes": v5, "syncs": v6,
    })
    return o, p


@dataclass(frozen=True)
class SnapshotStats:
    """A record `snapshot_stats`."""

    last_time: int
    """When the newest was published, by this run or one before; 0 without a snapshot."""
    last_bytes: int
    """Size of the newest."""
    last_duration_ms: int
    """How long the newest of this run took; 0 before the first."""
    taken: int
    """Snapshots since the start."""
    failed: int
    """Attempts that failed since the start."""
    running: int
    """1 while one is being written."""


def read_snapshot_stats(d: bytes, p: int) -> Tuple[SnapshotStats, int]:
    more = 0
    if d[p] == 150:
        p += 1
    else:
        more, p = m.read_fields(d, p, 6)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3 = d[p]
    if v3 < 128:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    v4 = d[p]
    if v4 < 128:
        p += 1
    else:
        v4, p = m.read_int(d, p)
    v5 = d[p]
    if v5 < 128:
        p += 1
    else:
        v5, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(SnapshotStats)
    _set(o, "__dict__", {
        "last_time": v0, "last_bytes": v1, "last_duration_ms": v2, "taken": v3, "failed": v4,
        "running": v5,
    })
    return o, p


@dataclass(frozen=True)
class ShardStats:
    """A record `shard_stats`."""

    shard: int
    """Its number."""
    chats: int
    """Chats, without dissolved ones."""
    dissolved: int
    """Dissolved chats."""
    users: int
    """Users with at least one row."""
    memberships: int
    """Rows."""
    outbox: int
    """Events of chats that are not delivered yet."""
    commands: int
    """Commands that it ran."""
    connections: int
    """Connections on its core."""


def read_shard_stats(d: bytes, p: int) -> Tuple[ShardStats, int]:
    more = 0
    if d[p] == 152:
        p += 1
    else:
        more, p = m.read_fields(d, p, 8)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3 = d[p]
    if v3 < 128:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    v4 = d[p]
    if v4 < 128:
        p += 1
    else:
        v4, p = m.read_int(d, p)
    v5 = d[p]
    if v5 < 128:
        p += 1
    else:
        v5, p = m.read_int(d, p)
    v6 = d[p]
    if v6 < 128:
        p += 1
    else:
        v6, p = m.read_int(d, p)
    v7 = d[p]
    if v7 < 128:
        p += 1
    else:
        v7, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ShardStats)
    _set(o, "__dict__", {
        "shard": v0, "chats": v1, "dissolved": v2, "users": v3, "memberships": v4, "outbox": v5,
        "commands": v6, "connections": v7,
    })
    return o, p


@dataclass(frozen=True)
class ChatLine:
    """A record `chat_line`."""

    id: str
    """The chat; required."""
    creator_id: str
    """Who made it; required."""
    type: int
    """1 single, 2 group, 3 official; required."""
    status: Optional[int] = None
    """Nil: 1."""
    is_enc: Optional[bool] = None
    """Nil: 0."""
    last_sequence: Optional[int] = None
    """Nil: 0."""
    last_time: Optional[int] = None
    """Nil: 0."""
    created_at: Optional[int] = None
    """Nil: 0."""
    version: Optional[int] = None
    """At most 2^52, so that it can be counted up; nil: 1. `export` has 2^52 for a larger one."""
    dissolved: Optional[bool] = None
    """1: the chat is gone and its id is never used again; nil: 0."""
    request_digest: Optional[str] = None
    """Digest of the `create` that made it, opaque: 16 hex digits; nil: not known. `export` has nil
    for a chat that was dissolved or that came by `import` without one."""

    def _values(self) -> List[Any]:
        return [
            self.id, self.creator_id, self.type, self.status, None if self.is_enc is None else
            int(self.is_enc), self.last_sequence, self.last_time, self.created_at, self.version,
            None if self.dissolved is None else int(self.dissolved), self.request_digest,
        ]


def read_chat_line(d: bytes, p: int) -> Tuple[ChatLine, int]:
    more = 0
    if d[p] == 155:
        p += 1
    else:
        more, p = m.read_fields(d, p, 11)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v1 = d[p + 1 : e].decode()
        p = e
    else:
        v1, p = m.read_str(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3 = d[p]
    if v3 < 128:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    v4, p = m.read_flag(d, p)
    v5 = d[p]
    if v5 < 128:
        p += 1
    else:
        v5, p = m.read_int(d, p)
    v6 = d[p]
    if v6 < 128:
        p += 1
    else:
        v6, p = m.read_int(d, p)
    v7 = d[p]
    if v7 < 128:
        p += 1
    else:
        v7, p = m.read_int(d, p)
    v8 = d[p]
    if v8 < 128:
        p += 1
    else:
        v8, p = m.read_int(d, p)
    v9, p = m.read_flag(d, p)
    v10: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v10, p = m.read_str(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ChatLine)
    _set(o, "__dict__", {
        "id": v0, "creator_id": v1, "type": v2, "status": v3, "is_enc": v4, "last_sequence": v5,
        "last_time": v6, "created_at": v7, "version": v8, "dissolved": v9, "request_digest": v10,
    })
    return o, p


@dataclass(frozen=True)
class MemberLine:
    """A record `member_line`."""

    user_id: str
    """Who; required."""
    chat_id: str
    """In which chat; required."""
    id: Optional[str] = None
    """Nil, or the same as `chat_id`; `export` has nil."""
    is_top: Optional[bool] = None
    """Nil: 0."""
    is_mute: Optional[bool] = None
    """Nil: 0."""
    is_show: Optional[bool] = None
    """0 means deleted; nil: 1."""
    is_hide: Optional[bool] = None
    """Nil: 0."""
    max_read_seq: Optional[int] = None
    """Nil: 0."""
    last_online_time: Optional[int] = None
    """Nil: 0."""
    join_seq: Optional[int] = None
    """Nil: 1. `export` has nil with `removed`."""
    deleted_to_seq: Optional[int] = None
    """Watermark; nil: the chat's last sequence if `is_show` is 0, else 0. `export` has nil with
    `removed`, and while the user's row is not made yet."""
    sent_seq: Optional[int] = None
    """The user's own newest message; nil: 0."""
    marked_unread: Optional[bool] = None
    """Nil: 0."""
    join_order: Optional[int] = None
    """Place in the user's list, larger is joined later; at most 2^52; nil: in order of arrival, see
    [`import`](#import). `export` has nil with `removed`, and while the user's row is not made yet;
    it has 2^52 for a larger one."""
    version: Optional[int] = None
    """The row's version, at most 2^52, taken as it is while all that the user has was imported;
    nil, or after that: the user's next. `export` has nil while the user's row is not made yet, and
    2^52 for a larger one."""
    removed: Optional[bool] = None
    """1: the user is no longer a member, and only `user_id`, `chat_id` and `version` count; nil: 0.
    See [`import`](#import)."""

    def _values(self) -> List[Any]:
        return [
            self.user_id, self.chat_id, self.id, None if self.is_top is None else int(self.is_top),
            None if self.is_mute is None else int(self.is_mute), None if self.is_show is None else
            int(self.is_show), None if self.is_hide is None else int(self.is_hide),
            self.max_read_seq, self.last_online_time, self.join_seq, self.deleted_to_seq,
            self.sent_seq, None if self.marked_unread is None else int(self.marked_unread),
            self.join_order, self.version, None if self.removed is None else int(self.removed),
        ]


def read_member_line(d: bytes, p: int) -> Tuple[MemberLine, int]:
    more, p = m.read_fields(d, p, 16)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v1 = d[p + 1 : e].decode()
        p = e
    else:
        v1, p = m.read_str(d, p)
    v2: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v2, p = m.read_str(d, p)
    f3 = m.FLAGS.get(d[p : p + 4])
    if f3 is None:
        f3, p = m.read_flags(d, p, 4)
    else:
        p += 4
    v3, v4, v5, v6 = f3
    v7 = d[p]
    if v7 < 128:
        p += 1
    else:
        v7, p = m.read_int(d, p)
    v8 = d[p]
    if v8 < 128:
        p += 1
    else:
        v8, p = m.read_int(d, p)
    v9: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v9, p = m.read_int(d, p)
    v10: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v10, p = m.read_int(d, p)
    v11 = d[p]
    if v11 < 128:
        p += 1
    else:
        v11, p = m.read_int(d, p)
    v12, p = m.read_flag(d, p)
    v13: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v13, p = m.read_int(d, p)
    v14: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v14, p = m.read_int(d, p)
    v15, p = m.read_flag(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(MemberLine)
    _set(o, "__dict__", {
        "user_id": v0, "chat_id": v1, "id": v2, "is_top": v3, "is_mute": v4, "is_show": v5,
        "is_hide": v6, "max_read_seq": v7, "last_online_time": v8, "join_seq": v9, "deleted_to_seq":
        v10, "sent_seq": v11, "marked_unread": v12, "join_order": v13, "version": v14, "removed":
        v15,
    })
    return o, p


@dataclass(frozen=True)
class ClusterMember:
    """A record `cluster_member`."""

    member: str
    """Its name."""
    role: str
    """`active`, `standby`, `claiming`, `demoted`, or `failed` if it waits for an operator."""
    address: str
    """Address of its TCP door."""
    admin: str
    """Address of its admin listener; empty without one."""
    version: Optional[str]
    """Version of its program."""
    format: Optional[int]
    """Newest format of the journal that it reads."""
    lsn: Optional[int]
    """Number of the newest record that it has applied."""
    durable_lsn: Optional[int]
    """Number of the newest record that is synced to its disk."""
    lag: Optional[int]
    """Committed records behind its `lsn`."""
    heard_ms: Optional[int]
    """Time since its last word, in ms."""
    disk: Optional[str]
    """Why its disk takes nothing; nil if it does."""


def read_cluster_member(d: bytes, p: int) -> Tuple[ClusterMember, int]:
    more = 0
    if d[p] == 155:
        p += 1
    else:
        more, p = m.read_fields(d, p, 11)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v1 = d[p + 1 : e].decode()
        p = e
    else:
        v1, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v2 = d[p + 1 : e].decode()
        p = e
    else:
        v2, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v3 = d[p + 1 : e].decode()
        p = e
    else:
        v3, p = m.read_str(d, p)
    v4: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v4, p = m.read_str(d, p)
    v5: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v5, p = m.read_int(d, p)
    v6: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v6, p = m.read_int(d, p)
    v7: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v7, p = m.read_int(d, p)
    v8: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v8, p = m.read_int(d, p)
    v9: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v9, p = m.read_int(d, p)
    v10: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v10, p = m.read_str(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ClusterMember)
    _set(o, "__dict__", {
        "member": v0, "role": v1, "address": v2, "admin": v3, "version": v4, "format": v5, "lsn":
        v6, "durable_lsn": v7, "lag": v8, "heard_ms": v9, "disk": v10,
    })
    return o, p


@dataclass(frozen=True)
class Row:
    """A record `row`."""

    chat_id: str
    """The chat."""
    is_top: bool
    """Pinned."""
    is_mute: bool
    """Without notifications."""
    is_show: bool
    """1; `delete` makes it 0 and the next message 1 again."""
    is_hide: bool
    """Hidden by the user."""
    max_read_seq: int
    """Read position."""
    last_online_time: int
    """When the user was last online in it."""


def read_row(d: bytes, p: int) -> Tuple[Row, int]:
    more = 0
    if d[p] == 151:
        p += 1
    else:
        more, p = m.read_fields(d, p, 7)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    f1 = m.FLAGS.get(d[p : p + 4])
    if f1 is None:
        f1, p = m.read_flags(d, p, 4)
    else:
        p += 4
    v1, v2, v3, v4 = f1
    v5 = d[p]
    if v5 < 128:
        p += 1
    else:
        v5, p = m.read_int(d, p)
    v6 = d[p]
    if v6 < 128:
        p += 1
    else:
        v6, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(Row)
    _set(o, "__dict__", {
        "chat_id": v0, "is_top": v1, "is_mute": v2, "is_show": v3, "is_hide": v4, "max_read_seq":
        v5, "last_online_time": v6,
    })
    return o, p


@dataclass(frozen=True)
class Chat:
    """A record `chat`."""

    id: str
    """The chat."""
    creator_id: str
    """Who made it."""
    type: int
    """1 single, 2 group, 3 official."""
    status: int
    """1 normal, 2 disabled."""
    is_enc: bool
    """Messages are encrypted."""
    last_read_sequence: int
    """The floor of the asking user, at most `last_sequence`; 0 without a user."""
    last_sequence: int
    """The newest message."""
    last_time: int
    """Time of the newest message."""
    created_at: int
    """When the chat was made."""


def read_chat(d: bytes, p: int) -> Tuple[Chat, int]:
    more = 0
    if d[p] == 153:
        p += 1
    else:
        more, p = m.read_fields(d, p, 9)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v1 = d[p + 1 : e].decode()
        p = e
    else:
        v1, p = m.read_str(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3 = d[p]
    if v3 < 128:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    v4, p = m.read_flag(d, p)
    v5 = d[p]
    if v5 < 128:
        p += 1
    else:
        v5, p = m.read_int(d, p)
    v6 = d[p]
    if v6 < 128:
        p += 1
    else:
        v6, p = m.read_int(d, p)
    v7 = d[p]
    if v7 < 128:
        p += 1
    else:
        v7, p = m.read_int(d, p)
    v8 = d[p]
    if v8 < 128:
        p += 1
    else:
        v8, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(Chat)
    _set(o, "__dict__", {
        "id": v0, "creator_id": v1, "type": v2, "status": v3, "is_enc": v4, "last_read_sequence":
        v5, "last_sequence": v6, "last_time": v7, "created_at": v8,
    })
    return o, p


@dataclass(frozen=True)
class ReadItem:
    """A record `read_item`."""

    chat_id: str
    """Which chat; required."""
    seq: int
    """Up to which sequence; required."""

    def _values(self) -> List[Any]:
        return [self.chat_id, self.seq]


def read_read_item(d: bytes, p: int) -> Tuple[ReadItem, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ReadItem)
    _set(o, "__dict__", {"chat_id": v0, "seq": v1})
    return o, p


@dataclass(frozen=True)
class ReadResult:
    """A record `read_result`."""

    chat_id: str
    """The chat."""
    status: int
    """200, or the [status](#errors) of the error that `mark_read` would have."""
    max_read_seq: Optional[int]
    """The stored position; nil if rejected."""
    unread: Optional[int]
    """What is still unread; nil if rejected."""


def read_read_result(d: bytes, p: int) -> Tuple[ReadResult, int]:
    more = 0
    if d[p] == 148:
        p += 1
    else:
        more, p = m.read_fields(d, p, 4)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ReadResult)
    _set(o, "__dict__", {"chat_id": v0, "status": v1, "max_read_seq": v2, "unread": v3})
    return o, p


@dataclass(frozen=True)
class Conversation:
    """A record `conversation`."""

    id: str
    """The chat."""
    chat_id: str
    """The chat again."""
    is_top: bool
    """Pinned."""
    is_mute: bool
    """Without notifications."""
    is_show: bool
    """1."""
    is_hide: bool
    """Hidden by the user."""
    max_read_seq: int
    """Read position."""
    last_online_time: int
    """When the user was last online in it."""
    creator_id: str
    """Who made the chat."""
    type: int
    """1 single, 2 group, 3 official."""
    status: int
    """1 normal, 2 disabled."""
    is_enc: bool
    """Messages are encrypted."""
    last_read_sequence: int
    """The highest floor, at most `last_sequence`."""
    last_sequence: int
    """The newest message."""
    last_time: int
    """Time of the newest message."""
    created_at: int
    """When the chat was made."""
    unread: int
    """Unread messages."""
    marked_unread: bool
    """Marked as unread by hand."""


def read_conversation(d: bytes, p: int) -> Tuple[Conversation, int]:
    more, p = m.read_fields(d, p, 18)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v1 = d[p + 1 : e].decode()
        p = e
    else:
        v1, p = m.read_str(d, p)
    f2 = m.FLAGS.get(d[p : p + 4])
    if f2 is None:
        f2, p = m.read_flags(d, p, 4)
    else:
        p += 4
    v2, v3, v4, v5 = f2
    v6 = d[p]
    if v6 < 128:
        p += 1
    else:
        v6, p = m.read_int(d, p)
    v7 = d[p]
    if v7 < 128:
        p += 1
    else:
        v7, p = m.read_int(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v8 = d[p + 1 : e].decode()
        p = e
    else:
        v8, p = m.read_str(d, p)
    v9 = d[p]
    if v9 < 128:
        p += 1
    else:
        v9, p = m.read_int(d, p)
    v10 = d[p]
    if v10 < 128:
        p += 1
    else:
        v10, p = m.read_int(d, p)
    v11, p = m.read_flag(d, p)
    v12 = d[p]
    if v12 < 128:
        p += 1
    else:
        v12, p = m.read_int(d, p)
    v13 = d[p]
    if v13 < 128:
        p += 1
    else:
        v13, p = m.read_int(d, p)
    v14 = d[p]
    if v14 < 128:
        p += 1
    else:
        v14, p = m.read_int(d, p)
    v15 = d[p]
    if v15 < 128:
        p += 1
    else:
        v15, p = m.read_int(d, p)
    v16 = d[p]
    if v16 < 128:
        p += 1
    else:
        v16, p = m.read_int(d, p)
    v17, p = m.read_flag(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(Conversation)
    _set(o, "__dict__", {
        "id": v0, "chat_id": v1, "is_top": v2, "is_mute": v3, "is_show": v4, "is_hide": v5,
        "max_read_seq": v6, "last_online_time": v7, "creator_id": v8, "type": v9, "status": v10,
        "is_enc": v11, "last_read_sequence": v12, "last_sequence": v13, "last_time": v14,
        "created_at": v15, "unread": v16, "marked_unread": v17,
    })
    return o, p


@dataclass(frozen=True)
class UnreadItem:
    """A record `unread_item`."""

    user_id: str
    """Who."""
    messages: int
    """Unread messages in chats that are not muted."""
    chats: int
    """Chats with unread messages or marked as unread, not muted."""
    muted_messages: int
    """Unread messages in muted chats."""
    muted_chats: int
    """Muted chats with unread messages or marked as unread."""


def read_unread_item(d: bytes, p: int) -> Tuple[UnreadItem, int]:
    more = 0
    if d[p] == 149:
        p += 1
    else:
        more, p = m.read_fields(d, p, 5)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3 = d[p]
    if v3 < 128:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    v4 = d[p]
    if v4 < 128:
        p += 1
    else:
        v4, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(UnreadItem)
    _set(o, "__dict__", {
        "user_id": v0, "messages": v1, "chats": v2, "muted_messages": v3, "muted_chats": v4,
    })
    return o, p


@dataclass(frozen=True)
class Since:
    """A record `since`."""

    log: str
    """From the reply before; required."""
    version: int
    """From the reply before; required."""

    def _values(self) -> List[Any]:
        return [self.log, self.version]


def read_since(d: bytes, p: int) -> Tuple[Since, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(Since)
    _set(o, "__dict__", {"log": v0, "version": v1})
    return o, p


@dataclass(frozen=True)
class SyncItem:
    """A record `sync_item`."""

    op: str
    """`upsert`: the row is in the list, with these fields; `remove`: it is not."""
    id: str
    """The chat."""
    chat_id: str
    """The chat again."""
    is_top: bool
    """Pinned."""
    is_mute: bool
    """Without notifications."""
    is_show: bool
    """1 for `upsert`, 0 for `remove`."""
    is_hide: bool
    """Hidden by the user."""
    max_read_seq: int
    """Read position."""
    last_online_time: int
    """When the user was last online in it."""
    marked_unread: bool
    """Marked as unread by hand."""
    version: int
    """The row's version."""


def read_sync_item(d: bytes, p: int) -> Tuple[SyncItem, int]:
    more = 0
    if d[p] == 155:
        p += 1
    else:
        more, p = m.read_fields(d, p, 11)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v1 = d[p + 1 : e].decode()
        p = e
    else:
        v1, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v2 = d[p + 1 : e].decode()
        p = e
    else:
        v2, p = m.read_str(d, p)
    f3 = m.FLAGS.get(d[p : p + 4])
    if f3 is None:
        f3, p = m.read_flags(d, p, 4)
    else:
        p += 4
    v3, v4, v5, v6 = f3
    v7 = d[p]
    if v7 < 128:
        p += 1
    else:
        v7, p = m.read_int(d, p)
    v8 = d[p]
    if v8 < 128:
        p += 1
    else:
        v8, p = m.read_int(d, p)
    v9, p = m.read_flag(d, p)
    v10 = d[p]
    if v10 < 128:
        p += 1
    else:
        v10, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(SyncItem)
    _set(o, "__dict__", {
        "op": v0, "id": v1, "chat_id": v2, "is_top": v3, "is_mute": v4, "is_show": v5, "is_hide":
        v6, "max_read_seq": v7, "last_online_time": v8, "marked_unread": v9, "version": v10,
    })
    return o, p


@dataclass(frozen=True)
class ExplainFloors:
    """A record `explain_floors`."""

    join: int
    """The last sequence before the user joined; 0 for a user who is no member."""
    deleted: int
    """The watermark: what the user deleted or cleared."""
    read: int
    """What the user has read."""
    sent: int
    """The user's own newest message."""


def read_explain_floors(d: bytes, p: int) -> Tuple[ExplainFloors, int]:
    more = 0
    if d[p] == 148:
        p += 1
    else:
        more, p = m.read_fields(d, p, 4)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3 = d[p]
    if v3 < 128:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ExplainFloors)
    _set(o, "__dict__", {"join": v0, "deleted": v1, "read": v2, "sent": v3})
    return o, p


@dataclass(frozen=True)
class Member:
    """A record `member`."""

    user_id: str
    """Who."""
    join_seq: int
    """The first sequence that counts for them."""


def read_member(d: bytes, p: int) -> Tuple[Member, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(Member)
    _set(o, "__dict__", {"user_id": v0, "join_seq": v1})
    return o, p


@dataclass(frozen=True)
class HelloReply:
    """The reply of `hello`."""

    server: str
    """`chatshard`."""
    version: str
    """The server's version."""
    protocol: int
    """The version of the protocol: 1."""
    shards: int
    """How many shards the node has."""
    slots: int
    """How many slots there are: 4096."""
    hash_seed: int
    """Seed of the hash, up to 2^64-1."""
    shard: int
    """The shard whose core this connection is on."""
    limits: Limits
    """What the server accepts."""
    role: str
    """`active`, `standby`, `claiming` or `demoted`; without a [journal](#nodes-of-a-journal)
    `active`."""
    active: str
    """Address of the active's TCP door; empty if it is not known, or without a journal."""
    epoch: int
    """Number of the active's claim; 0 without a journal."""
    journal: int
    """Id of the journal; 0 without one."""


def read_hello_reply(d: bytes, p: int) -> Tuple[HelloReply, int]:
    count, p = m.read_array(d, p)
    more = count - 12
    v0, p = m.read_str(d, p) if count > 0 else ("", p)
    v1, p = m.read_str(d, p) if count > 1 else ("", p)
    v2, p = m.read_int(d, p) if count > 2 else (0, p)
    v3, p = m.read_int(d, p) if count > 3 else (0, p)
    v4, p = m.read_int(d, p) if count > 4 else (0, p)
    v5, p = m.read_int(d, p) if count > 5 else (0, p)
    v6, p = m.read_int(d, p) if count > 6 else (0, p)
    v7, p = read_limits(d, p) if count > 7 else (read_limits(b"\x90", 0)[0], p)
    v8, p = m.read_str(d, p) if count > 8 else ("", p)
    v9, p = m.read_str(d, p) if count > 9 else ("", p)
    v10, p = m.read_int(d, p) if count > 10 else (0, p)
    v11, p = m.read_int(d, p) if count > 11 else (0, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(HelloReply)
    _set(o, "__dict__", {
        "server": v0, "version": v1, "protocol": v2, "shards": v3, "slots": v4, "hash_seed": v5,
        "shard": v6, "limits": v7, "role": v8, "active": v9, "epoch": v10, "journal": v11,
    })
    return o, p


@dataclass(frozen=True)
class StatsReply:
    """The reply of `stats`."""

    version: str
    """The server's version."""
    uptime_ms: int
    """Since the start."""
    chats: int
    """Without dissolved ones."""
    dissolved: int
    """Dissolved chats."""
    users: int
    """Users with at least one row."""
    memberships: int
    """Rows, with deleted ones."""
    outbox: int
    """Events of chats that are not delivered yet."""
    requests: int
    """Replies since the start."""
    errors: int
    """Replies among them with an error."""
    connections: int
    """Open connections of the TCP door."""
    memory_bytes: int
    """Resident memory when it was read last; 0 if the system never said it."""
    log: LogStats
    """The log."""
    snapshot: SnapshotStats
    """The newest snapshot."""
    shards: Tuple[ShardStats, ...]
    """Each shard."""
    memory_max_bytes: int
    """Memory at which new chats and members are rejected; 0 without a bound."""
    memory_full: int
    """1 while they are rejected."""
    memory_live_bytes: int
    """Bytes that the program has allocated and not freed; 0 if its allocator does not count."""
    memory_stale: int
    """1 while the system does not say the resident memory, so that `memory_bytes` is older."""


def read_stats_reply(d: bytes, p: int) -> Tuple[StatsReply, int]:
    more, p = m.read_fields(d, p, 18)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3 = d[p]
    if v3 < 128:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    v4 = d[p]
    if v4 < 128:
        p += 1
    else:
        v4, p = m.read_int(d, p)
    v5 = d[p]
    if v5 < 128:
        p += 1
    else:
        v5, p = m.read_int(d, p)
    v6 = d[p]
    if v6 < 128:
        p += 1
    else:
        v6, p = m.read_int(d, p)
    v7 = d[p]
    if v7 < 128:
        p += 1
    else:
        v7, p = m.read_int(d, p)
    v8 = d[p]
    if v8 < 128:
        p += 1
    else:
        v8, p = m.read_int(d, p)
    v9 = d[p]
    if v9 < 128:
        p += 1
    else:
        v9, p = m.read_int(d, p)
    v10 = d[p]
    if v10 < 128:
        p += 1
    else:
        v10, p = m.read_int(d, p)
    v11, p = read_log_stats(d, p)
    v12, p = read_snapshot_stats(d, p)
    v13, p = m.read_list(read_shard_stats, d, p)
    v14 = d[p]
    if v14 < 128:
        p += 1
    else:
        v14, p = m.read_int(d, p)
    v15 = d[p]
    if v15 < 128:
        p += 1
    else:
        v15, p = m.read_int(d, p)
    v16 = d[p]
    if v16 < 128:
        p += 1
    else:
        v16, p = m.read_int(d, p)
    v17 = d[p]
    if v17 < 128:
        p += 1
    else:
        v17, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(StatsReply)
    _set(o, "__dict__", {
        "version": v0, "uptime_ms": v1, "chats": v2, "dissolved": v3, "users": v4, "memberships":
        v5, "outbox": v6, "requests": v7, "errors": v8, "connections": v9, "memory_bytes": v10,
        "log": v11, "snapshot": v12, "shards": v13, "memory_max_bytes": v14, "memory_full": v15,
        "memory_live_bytes": v16, "memory_stale": v17,
    })
    return o, p


@dataclass(frozen=True)
class SnapshotReply:
    """The reply of `snapshot`."""

    path: str
    """Path of the file on the server."""
    bytes: int
    """Its size."""
    records: int
    """Chats and memberships in it."""


def read_snapshot_reply(d: bytes, p: int) -> Tuple[SnapshotReply, int]:
    more = 0
    if d[p] == 147:
        p += 1
    else:
        more, p = m.read_fields(d, p, 3)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(SnapshotReply)
    _set(o, "__dict__", {"path": v0, "bytes": v1, "records": v2})
    return o, p


@dataclass(frozen=True)
class ExportReply:
    """The reply of `export`."""

    chats: Tuple[ChatLine, ...]
    """Chats."""
    members: Tuple[MemberLine, ...]
    """Members."""
    next_cursor: Optional[str]
    """Nil on the last page."""


def read_export_reply(d: bytes, p: int) -> Tuple[ExportReply, int]:
    more = 0
    if d[p] == 147:
        p += 1
    else:
        more, p = m.read_fields(d, p, 3)
    v0, p = m.read_list(read_chat_line, d, p)
    v1, p = m.read_list(read_member_line, d, p)
    v2: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v2, p = m.read_str(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ExportReply)
    _set(o, "__dict__", {"chats": v0, "members": v1, "next_cursor": v2})
    return o, p


@dataclass(frozen=True)
class ImportReply:
    """The reply of `import`."""

    chats: int
    """Chats that were taken."""
    members: int
    """Members that were taken."""


def read_import_reply(d: bytes, p: int) -> Tuple[ImportReply, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ImportReply)
    _set(o, "__dict__", {"chats": v0, "members": v1})
    return o, p


@dataclass(frozen=True)
class VerifyReply:
    """The reply of `verify`."""

    chats: int
    """Chats that were checked, with dissolved ones."""
    members: int
    """Members that were compared with their rows."""
    rows: int
    """Rows that were compared with their chats."""
    differences: int
    """How many there are; 0 is right."""
    items: Tuple[str, ...]
    """The first 1000 of them, in words."""


def read_verify_reply(d: bytes, p: int) -> Tuple[VerifyReply, int]:
    more = 0
    if d[p] == 149:
        p += 1
    else:
        more, p = m.read_fields(d, p, 5)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3 = d[p]
    if v3 < 128:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    v4, p = m.read_list(m.read_str, d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(VerifyReply)
    _set(o, "__dict__", {"chats": v0, "members": v1, "rows": v2, "differences": v3, "items": v4})
    return o, p


@dataclass(frozen=True)
class Event:
    """A change, as `watch` returns it."""

    offset: str
    """Where to continue behind this event; opaque."""
    user_id: Optional[str]
    """The user."""
    chat_id: Optional[str]
    """The chat."""
    op: str
    """What happened."""
    last_sequence: Optional[int]
    """The chat's newest sequence."""
    last_time: Optional[int]
    """Its time."""
    seq: Optional[int]
    """Read position, watermark, the user's own newest message, or the first sequence that counts
    for a new member."""
    is_top: Optional[bool]
    """Pin, if it was set."""
    is_mute: Optional[bool]
    """Mute, if it was set."""
    is_hide: Optional[bool]
    """Hide, if it was set."""
    marked_unread: Optional[bool]
    """Mark, if it was set."""
    status: Optional[int]
    """The chat's status, if it was set."""


def read_event(d: bytes, p: int) -> Tuple[Event, int]:
    more = 0
    if d[p] == 156:
        p += 1
    else:
        more, p = m.read_fields(d, p, 12)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    v1: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v1, p = m.read_str(d, p)
    v2: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v2, p = m.read_str(d, p)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v3 = d[p + 1 : e].decode()
        p = e
    else:
        v3, p = m.read_str(d, p)
    v4: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v4, p = m.read_int(d, p)
    v5: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v5, p = m.read_int(d, p)
    v6: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v6, p = m.read_int(d, p)
    v7: Optional[bool] = None
    if d[p] == 192:
        p += 1
    else:
        v7, p = m.read_flag(d, p)
    v8: Optional[bool] = None
    if d[p] == 192:
        p += 1
    else:
        v8, p = m.read_flag(d, p)
    v9: Optional[bool] = None
    if d[p] == 192:
        p += 1
    else:
        v9, p = m.read_flag(d, p)
    v10: Optional[bool] = None
    if d[p] == 192:
        p += 1
    else:
        v10, p = m.read_flag(d, p)
    v11: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v11, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(Event)
    _set(o, "__dict__", {
        "offset": v0, "user_id": v1, "chat_id": v2, "op": v3, "last_sequence": v4, "last_time": v5,
        "seq": v6, "is_top": v7, "is_mute": v8, "is_hide": v9, "marked_unread": v10, "status": v11,
    })
    return o, p


@dataclass(frozen=True)
class ClusterReply:
    """The reply of `cluster`."""

    members: Tuple[ClusterMember, ...]
    """This node, the active, and those that reported to it; at most 34."""
    epoch: int
    """Number of the newest claim that this node knows; 0 without one."""
    age_ms: Optional[int]
    """How old the active's word is that this node passes on; 0 on the active; nil without one."""
    seq: Optional[int]
    """Number of the newest entry of the journal that this node knows of; nil without a journal, and
    if it knows none of `epoch`."""
    no_claim: Optional[str]
    """Why this node does not claim although no active replies: another member has more than the
    engine shows."""


def read_cluster_reply(d: bytes, p: int) -> Tuple[ClusterReply, int]:
    more = 0
    if d[p] == 149:
        p += 1
    else:
        more, p = m.read_fields(d, p, 5)
    v0, p = m.read_list(read_cluster_member, d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3: Optional[int] = None
    if d[p] == 192:
        p += 1
    else:
        v3, p = m.read_int(d, p)
    v4: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v4, p = m.read_str(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ClusterReply)
    _set(o, "__dict__", {"members": v0, "epoch": v1, "age_ms": v2, "seq": v3, "no_claim": v4})
    return o, p


@dataclass(frozen=True)
class HandoverReply:
    """The reply of `handover`."""

    epoch: int
    """Number of the claim that has ended."""
    last_lsn: int
    """Number of the newest record of the node as the active."""


def read_handover_reply(d: bytes, p: int) -> Tuple[HandoverReply, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(HandoverReply)
    _set(o, "__dict__", {"epoch": v0, "last_lsn": v1})
    return o, p


@dataclass(frozen=True)
class ListReply:
    """The reply of `list`."""

    items: Tuple[Row, ...]
    """The rows."""
    next_cursor: Optional[str]
    """Nil on the last page."""


def read_list_reply(d: bytes, p: int) -> Tuple[ListReply, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    v0, p = m.read_list(read_row, d, p)
    v1: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v1, p = m.read_str(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ListReply)
    _set(o, "__dict__", {"items": v0, "next_cursor": v1})
    return o, p


@dataclass(frozen=True)
class DetailReply:
    """The reply of `detail`."""

    items: Tuple[Chat, ...]
    """The chats that exist."""


def read_detail_reply(d: bytes, p: int) -> Tuple[DetailReply, int]:
    more = 0
    if d[p] == 145:
        p += 1
    else:
        more, p = m.read_fields(d, p, 1)
    v0, p = m.read_list(read_chat, d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(DetailReply)
    _set(o, "__dict__", {"items": v0})
    return o, p


@dataclass(frozen=True)
class SetFlagsReply:
    """The reply of `set_flags`."""

    row: Row
    """The row as it is now."""
    version: int
    """The row's version."""


def read_set_flags_reply(d: bytes, p: int) -> Tuple[SetFlagsReply, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    v0, p = read_row(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(SetFlagsReply)
    _set(o, "__dict__", {"row": v0, "version": v1})
    return o, p


@dataclass(frozen=True)
class TouchReply:
    """The reply of `touch`."""

    touched: int
    """How many of the named rows the user has."""


def read_touch_reply(d: bytes, p: int) -> Tuple[TouchReply, int]:
    more = 0
    if d[p] == 145:
        p += 1
    else:
        more, p = m.read_fields(d, p, 1)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(TouchReply)
    _set(o, "__dict__", {"touched": v0})
    return o, p


@dataclass(frozen=True)
class ClearReply:
    """The reply of `clear`."""

    deleted_to_seq: int
    """The watermark: the user sees nothing at or below it."""


def read_clear_reply(d: bytes, p: int) -> Tuple[ClearReply, int]:
    more = 0
    if d[p] == 145:
        p += 1
    else:
        more, p = m.read_fields(d, p, 1)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ClearReply)
    _set(o, "__dict__", {"deleted_to_seq": v0})
    return o, p


@dataclass(frozen=True)
class MarkReadReply:
    """The reply of `mark_read`."""

    max_read_seq: int
    """The stored position."""
    unread: int
    """What is still unread."""


def read_mark_read_reply(d: bytes, p: int) -> Tuple[MarkReadReply, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(MarkReadReply)
    _set(o, "__dict__", {"max_read_seq": v0, "unread": v1})
    return o, p


@dataclass(frozen=True)
class MarkReadManyReply:
    """The reply of `mark_read_many`."""

    items: Tuple[ReadResult, ...]
    """One for each item, in the order asked."""


def read_mark_read_many_reply(d: bytes, p: int) -> Tuple[MarkReadManyReply, int]:
    more = 0
    if d[p] == 145:
        p += 1
    else:
        more, p = m.read_fields(d, p, 1)
    v0, p = m.read_list(read_read_result, d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(MarkReadManyReply)
    _set(o, "__dict__", {"items": v0})
    return o, p


@dataclass(frozen=True)
class ConversationsReply:
    """The reply of `conversations`."""

    items: Tuple[Conversation, ...]
    """The conversations of this page."""
    next_cursor: Optional[str]
    """Nil on the last page."""
    moved: bool
    """Up to the cursor, conversations moved, came or went; false without a cursor."""


def read_conversations_reply(d: bytes, p: int) -> Tuple[ConversationsReply, int]:
    more = 0
    if d[p] == 147:
        p += 1
    else:
        more, p = m.read_fields(d, p, 3)
    v0, p = m.read_list(read_conversation, d, p)
    v1: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v1, p = m.read_str(d, p)
    v2, p = m.read_bool(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ConversationsReply)
    _set(o, "__dict__", {"items": v0, "next_cursor": v1, "moved": v2})
    return o, p


@dataclass(frozen=True)
class UnreadReply:
    """The reply of `unread`."""

    items: Tuple[UnreadItem, ...]
    """The counts."""


def read_unread_reply(d: bytes, p: int) -> Tuple[UnreadReply, int]:
    more = 0
    if d[p] == 145:
        p += 1
    else:
        more, p = m.read_fields(d, p, 1)
    v0, p = m.read_list(read_unread_item, d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(UnreadReply)
    _set(o, "__dict__", {"items": v0})
    return o, p


@dataclass(frozen=True)
class SyncReply:
    """The reply of `sync`."""

    log: str
    """For the next `since`; opaque."""
    version: int
    """For the next `since`."""
    reset: bool
    """Forget all rows before taking the items."""
    reason: Optional[str]
    """Why, if so."""
    more: bool
    """There is more: ask again at once."""
    items: Tuple[SyncItem, ...]
    """The changes."""


def read_sync_reply(d: bytes, p: int) -> Tuple[SyncReply, int]:
    more = 0
    if d[p] == 150:
        p += 1
    else:
        more, p = m.read_fields(d, p, 6)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2, p = m.read_bool(d, p)
    v3: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v3, p = m.read_str(d, p)
    v4, p = m.read_bool(d, p)
    v5, p = m.read_list(read_sync_item, d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(SyncReply)
    _set(o, "__dict__", {
        "log": v0, "version": v1, "reset": v2, "reason": v3, "more": v4, "items": v5,
    })
    return o, p


@dataclass(frozen=True)
class ExplainReply:
    """The reply of `explain`."""

    listed: bool
    """Whether the chat is in the user's list."""
    reasons: Tuple[str, ...]
    """Why all is as it is, in words."""
    last_sequence: int
    """The newest message."""
    floors: ExplainFloors
    """At or below each of them nothing is unread."""
    unread: int
    """Unread messages; 0 for a user who is no member."""


def read_explain_reply(d: bytes, p: int) -> Tuple[ExplainReply, int]:
    more = 0
    if d[p] == 149:
        p += 1
    else:
        more, p = m.read_fields(d, p, 5)
    v0, p = m.read_bool(d, p)
    v1, p = m.read_list(m.read_str, d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    v3, p = read_explain_floors(d, p)
    v4 = d[p]
    if v4 < 128:
        p += 1
    else:
        v4, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(ExplainReply)
    _set(o, "__dict__", {
        "listed": v0, "reasons": v1, "last_sequence": v2, "floors": v3, "unread": v4,
    })
    return o, p


@dataclass(frozen=True)
class EraseUserReply:
    """The reply of `erase_user`."""

    memberships: int
    """How many ended."""


def read_erase_user_reply(d: bytes, p: int) -> Tuple[EraseUserReply, int]:
    more = 0
    if d[p] == 145:
        p += 1
    else:
        more, p = m.read_fields(d, p, 1)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(EraseUserReply)
    _set(o, "__dict__", {"memberships": v0})
    return o, p


@dataclass(frozen=True)
class AdvanceReply:
    """The reply of `advance`."""

    first_sequence: int
    """The first that was handed out; with `to` the same as `last_sequence`."""
    last_sequence: int
    """The last that was handed out; with `to` the stored one."""
    last_time: int
    """Time of the newest sequence."""


def read_advance_reply(d: bytes, p: int) -> Tuple[AdvanceReply, int]:
    more = 0
    if d[p] == 147:
        p += 1
    else:
        more, p = m.read_fields(d, p, 3)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(AdvanceReply)
    _set(o, "__dict__", {"first_sequence": v0, "last_sequence": v1, "last_time": v2})
    return o, p


@dataclass(frozen=True)
class CreateReply:
    """The reply of `create`."""

    id: str
    """The chat."""
    created: bool
    """False if it existed already."""
    version: int
    """The chat's version."""


def read_create_reply(d: bytes, p: int) -> Tuple[CreateReply, int]:
    more = 0
    if d[p] == 147:
        p += 1
    else:
        more, p = m.read_fields(d, p, 3)
    b = d[p]
    if 160 <= b < 192:
        e = p + b - 159
        v0 = d[p + 1 : e].decode()
        p = e
    else:
        v0, p = m.read_str(d, p)
    v1, p = m.read_bool(d, p)
    v2 = d[p]
    if v2 < 128:
        p += 1
    else:
        v2, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(CreateReply)
    _set(o, "__dict__", {"id": v0, "created": v1, "version": v2})
    return o, p


@dataclass(frozen=True)
class AddMembersReply:
    """The reply of `add_members`."""

    added: int
    """How many joined."""
    members: int
    """How many members the chat has now."""


def read_add_members_reply(d: bytes, p: int) -> Tuple[AddMembersReply, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(AddMembersReply)
    _set(o, "__dict__", {"added": v0, "members": v1})
    return o, p


@dataclass(frozen=True)
class RemoveMembersReply:
    """The reply of `remove_members`."""

    removed: int
    """How many left."""
    members: int
    """How many members the chat has now."""


def read_remove_members_reply(d: bytes, p: int) -> Tuple[RemoveMembersReply, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    v1 = d[p]
    if v1 < 128:
        p += 1
    else:
        v1, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(RemoveMembersReply)
    _set(o, "__dict__", {"removed": v0, "members": v1})
    return o, p


@dataclass(frozen=True)
class MembersReply:
    """The reply of `members`."""

    items: Tuple[Member, ...]
    """The members of this page."""
    next_cursor: Optional[str]
    """Nil on the last page."""


def read_members_reply(d: bytes, p: int) -> Tuple[MembersReply, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    v0, p = m.read_list(read_member, d, p)
    v1: Optional[str] = None
    if d[p] == 192:
        p += 1
    else:
        v1, p = m.read_str(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(MembersReply)
    _set(o, "__dict__", {"items": v0, "next_cursor": v1})
    return o, p


@dataclass(frozen=True)
class SetStatusReply:
    """The reply of `set_status`."""

    version: int
    """The chat's version."""


def read_set_status_reply(d: bytes, p: int) -> Tuple[SetStatusReply, int]:
    more = 0
    if d[p] == 145:
        p += 1
    else:
        more, p = m.read_fields(d, p, 1)
    v0 = d[p]
    if v0 < 128:
        p += 1
    else:
        v0, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(SetStatusReply)
    _set(o, "__dict__", {"version": v0})
    return o, p
