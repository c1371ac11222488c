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
    "RaiseFormatReply",
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
    """The record `limits`."""

    request_bytes: int
    """Largest request frame, in bytes."""
    reply_bytes: int
    """Largest reply frame, in bytes."""
    ids: int
    """Most ids in a request."""
    users: int
    """Most users in `create`, `add_members`, `remove_members`."""
    import_lines: int
    """Most lines in `import`."""
    in_flight: int
    """Requests in flight on a connection after which the server stops reading it."""
    id_bytes: int
    """Longest id, in bytes."""
    idle_ms: int
    """A connection without a request for this long is closed, in ms."""
    idempotency_ms: int
    """How long the node remembers an idempotency key, in ms."""
    idempotency_keys: int
    """How many idempotency keys the node remembers; beyond it, it forgets the oldest first."""
    tombstones: int
    """How many removals `sync` still reports for each user."""
    hello_bytes: int
    """Largest first frame, which is `hello`, in bytes."""
    text_bytes: int
    """Longest text argument that is not an id, in bytes."""
    nesting: int
    """Deepest nesting of arrays in a request."""
    integer_max: int
    """Largest sequence, time and version."""
    import_counter_max: int
    """Largest version and join order that `import` takes."""
    advance_ahead: int
    """How far one `advance` may go without `force`."""
    time_ahead_ms: int
    """How far a time may be ahead of the server's clock, in ms."""
    export_lines: int
    """Most lines on a page of `export`."""
    members_page: int
    """Most members on a page of `members`."""
    sync_page: int
    """Most changes in a reply of `sync`."""
    conversations_page: int
    """Most conversations on a page of `conversations`."""
    in_flight_bytes: int
    """Bytes of requests in flight on a connection after which the server stops reading it."""
    large_in_flight: int
    """Requests in flight with large replies after which the server stops reading a connection."""
    small_reply_items: int
    """Most items of a reply that does not count as large."""
    unsent_bytes: int
    """Bytes of unsent replies after which the server stops reading a connection."""
    watches: int
    """Most open watches of a connection."""
    greeting_ms: int
    """Time from the accept of a connection until its `hello` must be complete, in ms."""
    frame_ms: int
    """Time from the last byte of an incomplete frame until the connection is dropped, in ms."""
    write_ms: int
    """A client that takes no byte of its replies for this long is dropped, in ms."""
    heartbeat_ms: int
    """A watch without a change for this long gets a heartbeat, in ms."""
    idempotency_answer_bytes: int
    """A long first reply counts as one more idempotency key per this many bytes."""
    connections: int
    """Most connections of the TCP door; further ones get 429."""
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
        "in_flight": v5, "id_bytes": v6, "idle_ms": v7, "idempotency_ms": v8,
        "idempotency_keys": v9, "tombstones": v10, "hello_bytes": v11, "text_bytes": v12,
        "nesting": v13, "integer_max": v14, "import_counter_max": v15, "advance_ahead": v16,
        "time_ahead_ms": v17, "export_lines": v18, "members_page": v19, "sync_page": v20,
        "conversations_page": v21, "in_flight_bytes": v22, "large_in_flight": v23,
        "small_reply_items": v24, "unsent_bytes": v25, "watches": v26, "greeting_ms": v27,
        "frame_ms": v28, "write_ms": v29, "heartbeat_ms": v30, "idempotency_answer_bytes": v31,
        "connections": v32, "stale_ms": v33,
    })
    return o, p


@dataclass(frozen=True)
class LogStats:
    """The record `log_stats`."""

    mode: str
    """The mode: `always`, `everysec`, `never`, or `off`."""
    state: str
    """`ok`, `stalled` (a write failed and is retried) or `poisoned` (a sync failed)."""
    last_lsn: int
    """LSN of the newest record."""
    durable_lsn: int
    """LSN of the newest record that is synced to the disk."""
    queued_bytes: int
    """Bytes of records that wait to be written."""
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
    """The record `snapshot_stats`."""

    last_time: int
    """When the newest snapshot was published, in ms, by this run or an earlier one; 0 without one.
    """
    last_bytes: int
    """Size of the newest snapshot, in bytes."""
    last_duration_ms: int
    """How long the newest snapshot of this run took, in ms; 0 before the first."""
    taken: int
    """Snapshots since the start."""
    failed: int
    """Snapshots that failed since the start."""
    running: int
    """1 while a snapshot is being written."""


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
    """The record `shard_stats`."""

    shard: int
    """The shard's number, from 0."""
    chats: int
    """Chats of the shard, without dissolved ones."""
    dissolved: int
    """Dissolved chats of the shard."""
    users: int
    """Users of the shard with at least one row."""
    memberships: int
    """Rows of the shard's users."""
    outbox: int
    """Chat events of the shard that are not delivered yet."""
    commands: int
    """Commands that the shard ran since the start."""
    connections: int
    """Connections that the shard's worker serves."""


def read_shard_stats_list(d: bytes, p: int) -> Tuple[Tuple[ShardStats, ...], int]:
    count, p = m.read_array(d, p)
    items: List[ShardStats] = []
    for _ in range(count):
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
        items.append(o)
    return tuple(items), p


@dataclass(frozen=True)
class ChatLine:
    """The record `chat_line`."""

    id: str
    """The chat's id."""
    creator_id: str
    """The creator: a person, a group or a robot, not always a member."""
    type: int
    """The chat's type: single, group or official."""
    status: Optional[int] = None
    """The chat's status; normal if absent."""
    is_enc: Optional[bool] = None
    """Whether the chat's messages are encrypted."""
    last_sequence: Optional[int] = None
    """Sequence of the chat's newest message."""
    last_time: Optional[int] = None
    """Time of the chat's newest message."""
    created_at: Optional[int] = None
    """When the chat was created."""
    version: Optional[int] = None
    """The chat's version; 1 if absent."""
    dissolved: Optional[bool] = None
    """1: the chat is dissolved and its id is never used again."""
    request_digest: Optional[str] = None
    """Digest of the `create` request, in 16 hex digits. It makes a repeated request recognizable.
    """

    def _values(self) -> List[Any]:
        return [
            self.id, self.creator_id, self.type, self.status, None if self.is_enc is None else
            int(self.is_enc), self.last_sequence, self.last_time, self.created_at, self.version,
            None if self.dissolved is None else int(self.dissolved), self.request_digest,
        ]


def read_chat_line_list(d: bytes, p: int) -> Tuple[Tuple[ChatLine, ...], int]:
    count, p = m.read_array(d, p)
    items: List[ChatLine] = []
    for _ in range(count):
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
        v3: Optional[int] = None
        if d[p] == 192:
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
        elif v6 == 207:
            v6 = m.unpack_u64(d, p + 1)[0]
            p += 9
        else:
            v6, p = m.read_int(d, p)
        v7 = d[p]
        if v7 < 128:
            p += 1
        elif v7 == 207:
            v7 = m.unpack_u64(d, p + 1)[0]
            p += 9
        else:
            v7, p = m.read_int(d, p)
        v8: Optional[int] = None
        if d[p] == 192:
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
            "last_time": v6, "created_at": v7, "version": v8, "dissolved": v9, "request_digest":
            v10,
        })
        items.append(o)
    return tuple(items), p


@dataclass(frozen=True)
class MemberLine:
    """The record `member_line`."""

    user_id: str
    """The user who is the member."""
    chat_id: str
    """The chat that the user is a member of."""
    id: Optional[str] = None
    """The `id` of a list row; if present it must equal `chat_id`."""
    is_top: Optional[bool] = None
    """Whether the user pinned the chat."""
    is_mute: Optional[bool] = None
    """Whether the user muted the chat."""
    is_show: Optional[bool] = None
    """0 means that the user deleted the chat; 1 if absent."""
    is_hide: Optional[bool] = None
    """Whether the user hid the chat."""
    max_read_seq: Optional[int] = None
    """The user's read position in the chat."""
    last_online_time: Optional[int] = None
    """When the user was last online in the chat."""
    join_seq: Optional[int] = None
    """The join sequence: the first sequence that counts; 1 if absent."""
    deleted_to_seq: Optional[int] = None
    """The watermark. If absent, a deleted row takes the chat's last sequence, another row 0."""
    sent_seq: Optional[int] = None
    """Sequence of the newest message that the user sent."""
    marked_unread: Optional[bool] = None
    """Whether the user marked the chat as unread by hand."""
    join_order: Optional[int] = None
    """The place in the user's list: a larger order joined later. If absent, lines join as they
    arrive."""
    version: Optional[int] = None
    """The version of the row; if absent, the next version of the user."""
    removed: Optional[bool] = None
    """1: the user is no longer a member; only `user_id`, `chat_id` and `version` count."""

    def _values(self) -> List[Any]:
        return [
            self.user_id, self.chat_id, self.id, None if self.is_top is None else int(self.is_top),
            None if self.is_mute is None else int(self.is_mute), None if self.is_show is None else
            int(self.is_show), None if self.is_hide is None else int(self.is_hide),
            self.max_read_seq, self.last_online_time, self.join_seq, self.deleted_to_seq,
            self.sent_seq, None if self.marked_unread is None else int(self.marked_unread),
            self.join_order, self.version, None if self.removed is None else int(self.removed),
        ]


def read_member_line_list(d: bytes, p: int) -> Tuple[Tuple[MemberLine, ...], int]:
    count, p = m.read_array(d, p)
    items: List[MemberLine] = []
    for _ in range(count):
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
        f3 = m.FLAGS2.get(d[p : p + 2])
        if f3 is None:
            f3, p = m.read_flags(d, p, 2)
        else:
            p += 2
        v3, v4 = f3
        v5: Optional[bool] = None
        if d[p] == 192:
            p += 1
        else:
            v5, p = m.read_flag(d, p)
        v6, p = m.read_flag(d, p)
        v7 = d[p]
        if v7 < 128:
            p += 1
        else:
            v7, p = m.read_int(d, p)
        v8 = d[p]
        if v8 < 128:
            p += 1
        elif v8 == 207:
            v8 = m.unpack_u64(d, p + 1)[0]
            p += 9
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
            "is_hide": v6, "max_read_seq": v7, "last_online_time": v8, "join_seq": v9,
            "deleted_to_seq": v10, "sent_seq": v11, "marked_unread": v12, "join_order": v13,
            "version": v14, "removed": v15,
        })
        items.append(o)
    return tuple(items), p


@dataclass(frozen=True)
class ClusterMember:
    """The record `cluster_member`."""

    member: str
    """Its name among the members."""
    role: str
    """`active`, `standby`, `claiming`, `demoted`, or `failed` if it waits for an operator."""
    address: str
    """The address of its TCP door, as clients reach it."""
    admin: str
    """The address of its admin listener; empty if it has none."""
    version: Optional[str]
    """The version of its program."""
    format: Optional[int]
    """The newest format of the journal that it reads."""
    lsn: Optional[int]
    """LSN of the newest record that all of its shards have applied."""
    durable_lsn: Optional[int]
    """LSN of the newest record that is synced to its disk."""
    lag: Optional[int]
    """Committed records that it has not applied, as of its last word."""
    heard_ms: Optional[int]
    """Time since its last word, in ms."""
    disk: Optional[str]
    """Why its disk takes nothing, if so."""


def read_cluster_member_list(d: bytes, p: int) -> Tuple[Tuple[ClusterMember, ...], int]:
    count, p = m.read_array(d, p)
    items: List[ClusterMember] = []
    for _ in range(count):
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
            "member": v0, "role": v1, "address": v2, "admin": v3, "version": v4, "format": v5,
            "lsn": v6, "durable_lsn": v7, "lag": v8, "heard_ms": v9, "disk": v10,
        })
        items.append(o)
    return tuple(items), p


@dataclass(frozen=True)
class Row:
    """The record `row`."""

    chat_id: str
    """The chat's id again, under the API's second name for it."""
    is_top: bool
    """Whether the user pinned the chat."""
    is_mute: bool
    """Whether the user muted the chat: no notifications."""
    is_show: bool
    """0 after the user deleted the chat, until its next message; else 1."""
    is_hide: bool
    """Whether the user hid the chat."""
    max_read_seq: int
    """The user's read position in the chat."""
    last_online_time: int
    """When the user was last online in the chat."""


def read_row_list(d: bytes, p: int) -> Tuple[Tuple[Row, ...], int]:
    count, p = m.read_array(d, p)
    items: List[Row] = []
    for _ in range(count):
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
        f1 = m.FLAGS4.get(d[p : p + 4])
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
        elif v6 == 207:
            v6 = m.unpack_u64(d, p + 1)[0]
            p += 9
        else:
            v6, p = m.read_int(d, p)
        if more > 0:
            p = m.skip(d, p, more)
        o = _new(Row)
        _set(o, "__dict__", {
            "chat_id": v0, "is_top": v1, "is_mute": v2, "is_show": v3, "is_hide": v4,
            "max_read_seq": v5, "last_online_time": v6,
        })
        items.append(o)
    return tuple(items), p


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
    f1 = m.FLAGS4.get(d[p : p + 4])
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
    elif v6 == 207:
        v6 = m.unpack_u64(d, p + 1)[0]
        p += 9
    else:
        v6, p = m.read_int(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(Row)
    _set(o, "__dict__", {
        "chat_id": v0, "is_top": v1, "is_mute": v2, "is_show": v3, "is_hide": v4,
        "max_read_seq": v5, "last_online_time": v6,
    })
    return o, p


@dataclass(frozen=True)
class Chat:
    """The record `chat`."""

    id: str
    """The chat's id."""
    creator_id: str
    """The creator: a person, a group or a robot, not always a member."""
    type: int
    """The chat's type: single, group or official."""
    status: int
    """The chat's status: normal or disabled."""
    is_enc: bool
    """Whether the chat's messages are encrypted."""
    last_read_sequence: int
    """The floor of the user who looks, but at most `last_sequence`; 0 without a user."""
    last_sequence: int
    """Sequence of the chat's newest message."""
    last_time: int
    """Time of the chat's newest message."""
    created_at: int
    """When the chat was created."""


def read_chat_list(d: bytes, p: int) -> Tuple[Tuple[Chat, ...], int]:
    count, p = m.read_array(d, p)
    items: List[Chat] = []
    for _ in range(count):
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
        elif v7 == 207:
            v7 = m.unpack_u64(d, p + 1)[0]
            p += 9
        else:
            v7, p = m.read_int(d, p)
        v8 = d[p]
        if v8 < 128:
            p += 1
        elif v8 == 207:
            v8 = m.unpack_u64(d, p + 1)[0]
            p += 9
        else:
            v8, p = m.read_int(d, p)
        if more > 0:
            p = m.skip(d, p, more)
        o = _new(Chat)
        _set(o, "__dict__", {
            "id": v0, "creator_id": v1, "type": v2, "status": v3, "is_enc": v4,
            "last_read_sequence": v5, "last_sequence": v6, "last_time": v7, "created_at": v8,
        })
        items.append(o)
    return tuple(items), p


@dataclass(frozen=True)
class ReadItem:
    """The record `read_item`."""

    chat_id: str
    """The chat that the user has read."""
    seq: int
    """The new read position, at most the chat's last sequence."""

    def _values(self) -> List[Any]:
        return [self.chat_id, self.seq]


@dataclass(frozen=True)
class ReadResult:
    """The record `read_result`."""

    chat_id: str
    """The chat's id."""
    status: int
    """200, or the status that a `mark_read` of this item would have."""
    max_read_seq: Optional[int]
    """The stored read position; absent if the item was refused."""
    unread: Optional[int]
    """How many messages are still unread; absent if the item was refused."""


def read_read_result_list(d: bytes, p: int) -> Tuple[Tuple[ReadResult, ...], int]:
    count, p = m.read_array(d, p)
    items: List[ReadResult] = []
    for _ in range(count):
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
        items.append(o)
    return tuple(items), p


@dataclass(frozen=True)
class Conversation:
    """The record `conversation`."""

    id: str
    """The chat's id."""
    chat_id: str
    """The chat's id again, under the API's second name for it."""
    is_top: bool
    """Whether the user pinned the chat."""
    is_mute: bool
    """Whether the user muted the chat: no notifications."""
    is_show: bool
    """Always 1, because deleted rows are not conversations."""
    is_hide: bool
    """Whether the user hid the chat."""
    max_read_seq: int
    """The user's read position in the chat."""
    last_online_time: int
    """When the user was last online in the chat."""
    creator_id: str
    """The creator: a person, a group or a robot, not always a member."""
    type: int
    """The chat's type: single, group or official."""
    status: int
    """The chat's status: normal or disabled."""
    is_enc: bool
    """Whether the chat's messages are encrypted."""
    last_read_sequence: int
    """The user's floor, but at most `last_sequence`; `unread` counts the messages above it."""
    last_sequence: int
    """Sequence of the chat's newest message."""
    last_time: int
    """Time of the chat's newest message."""
    created_at: int
    """When the chat was created."""
    unread: int
    """How many messages of the chat are unread for the user."""
    marked_unread: bool
    """Whether the user marked the chat as unread by hand."""


def read_conversation_list(d: bytes, p: int) -> Tuple[Tuple[Conversation, ...], int]:
    count, p = m.read_array(d, p)
    items: List[Conversation] = []
    for _ in range(count):
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
        f2 = m.FLAGS4.get(d[p : p + 4])
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
        elif v7 == 207:
            v7 = m.unpack_u64(d, p + 1)[0]
            p += 9
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
        elif v14 == 207:
            v14 = m.unpack_u64(d, p + 1)[0]
            p += 9
        else:
            v14, p = m.read_int(d, p)
        v15 = d[p]
        if v15 < 128:
            p += 1
        elif v15 == 207:
            v15 = m.unpack_u64(d, p + 1)[0]
            p += 9
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
        items.append(o)
    return tuple(items), p


@dataclass(frozen=True)
class UnreadItem:
    """The record `unread_item`."""

    user_id: str
    """The user whom the counts are for."""
    messages: int
    """Unread messages in chats that are not muted."""
    chats: int
    """Chats that have unread messages or an unread mark, and are not muted."""
    muted_messages: int
    """Unread messages in muted chats."""
    muted_chats: int
    """Muted chats that have unread messages or an unread mark."""


def read_unread_item_list(d: bytes, p: int) -> Tuple[Tuple[UnreadItem, ...], int]:
    count, p = m.read_array(d, p)
    items: List[UnreadItem] = []
    for _ in range(count):
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
        items.append(o)
    return tuple(items), p


@dataclass(frozen=True)
class Since:
    """The record `since`."""

    log: str
    """The incarnation of the log that the version belongs to; opaque."""
    version: int
    """The version up to which the caller has all changes."""

    def _values(self) -> List[Any]:
        return [self.log, self.version]


@dataclass(frozen=True)
class SyncItem:
    """The record `sync_item`."""

    op: str
    """Whether the row is in the list or left it."""
    id: str
    """The chat's id."""
    chat_id: str
    """The chat's id again, under the API's second name for it."""
    is_top: bool
    """Whether the user pinned the chat."""
    is_mute: bool
    """Whether the user muted the chat: no notifications."""
    is_show: bool
    """1 for an upsert, 0 for a remove."""
    is_hide: bool
    """Whether the user hid the chat."""
    max_read_seq: int
    """The user's read position in the chat."""
    last_online_time: int
    """When the user was last online in the chat."""
    marked_unread: bool
    """Whether the user marked the chat as unread by hand."""
    version: int
    """The version that the row got by this change."""


def read_sync_item_list(d: bytes, p: int) -> Tuple[Tuple[SyncItem, ...], int]:
    count, p = m.read_array(d, p)
    items: List[SyncItem] = []
    for _ in range(count):
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
        f3 = m.FLAGS4.get(d[p : p + 4])
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
        elif v8 == 207:
            v8 = m.unpack_u64(d, p + 1)[0]
            p += 9
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
            "op": v0, "id": v1, "chat_id": v2, "is_top": v3, "is_mute": v4, "is_show": v5,
            "is_hide": v6, "max_read_seq": v7, "last_online_time": v8, "marked_unread": v9,
            "version": v10,
        })
        items.append(o)
    return tuple(items), p


@dataclass(frozen=True)
class ExplainFloors:
    """The record `explain_floors`."""

    join: int
    """The newest sequence before the user joined."""
    deleted: int
    """The watermark: the newest sequence that the user deleted or cleared."""
    read: int
    """The user's read position."""
    sent: int
    """Sequence of the newest message that the user sent."""


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
    """The record `member`."""

    user_id: str
    """The user who is the member."""
    join_seq: int
    """The join sequence: the first sequence that counts for the member."""


def read_member_list(d: bytes, p: int) -> Tuple[Tuple[Member, ...], int]:
    count, p = m.read_array(d, p)
    items: List[Member] = []
    for _ in range(count):
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
        items.append(o)
    return tuple(items), p


@dataclass(frozen=True)
class HelloReply:
    """The reply of `hello`."""

    server: str
    """Always `chatshard`."""
    version: str
    """The version of the server's build."""
    protocol: int
    """The version of the wire protocol."""
    shards: int
    """How many shards the node has, from 1."""
    slots: int
    """How many slots the keys are spread over."""
    hash_seed: int
    """Seed of the key hash: slot = xxh64(key, seed) mod slots, shard = slot mod shards."""
    shard: int
    """The shard whose core serves this connection."""
    limits: Limits
    """The limits of this server."""
    role: str
    """What the node is in its journal: `active`, `standby`, `claiming` or `demoted`. A node without
    a journal is `active`."""
    active: str
    """The address of the active's TCP door; empty if it is not known, or there is no journal."""
    epoch: int
    """The number of the active's claim; 0 without a journal."""
    journal: int
    """The id of the journal; 0 without one."""


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
    """The version of the server's build."""
    uptime_ms: int
    """Milliseconds since the start of the process."""
    chats: int
    """Chats, without dissolved ones."""
    dissolved: int
    """Dissolved chats, whose ids stay taken."""
    users: int
    """Users with at least one row."""
    memberships: int
    """Memberships, including those whose row the user deleted."""
    outbox: int
    """Chat events that are not delivered to the rows of their users yet."""
    requests: int
    """Requests with a reply since the start."""
    errors: int
    """Requests since the start that failed."""
    connections: int
    """Open connections of the TCP door."""
    memory_bytes: int
    """Resident memory of the process, in bytes."""
    log: LogStats
    """State and figures of the log."""
    snapshot: SnapshotStats
    """State and figures of snapshots."""
    shards: Tuple[ShardStats, ...]
    """Figures of each shard, in the order of their numbers."""
    memory_max_bytes: int
    """Memory at which the node refuses new chats and members, in bytes; 0 without a bound."""
    memory_full: int
    """1 while the node refuses new chats and members."""
    memory_live_bytes: int
    """Bytes that the program allocated and did not free; 0 if its allocator does not count."""
    memory_stale: int
    """1 while the system does not report the resident memory. `memory_bytes` then is the last known
    figure, or 0 if there never was one."""


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
    v13, p = read_shard_stats_list(d, p)
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
        "version": v0, "uptime_ms": v1, "chats": v2, "dissolved": v3, "users": v4,
        "memberships": v5, "outbox": v6, "requests": v7, "errors": v8, "connections": v9,
        "memory_bytes": v10, "log": v11, "snapshot": v12, "shards": v13, "memory_max_bytes":
        v14, "memory_full": v15, "memory_live_bytes": v16, "memory_stale": v17,
    })
    return o, p


@dataclass(frozen=True)
class SnapshotReply:
    """The reply of `snapshot`."""

    path: str
    """The path of the snapshot file on the server."""
    bytes: int
    """Size of the file, in bytes."""
    records: int
    """How many chats and memberships the snapshot holds."""


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
    """The chats of this page."""
    members: Tuple[MemberLine, ...]
    """The memberships of this page."""
    next_cursor: Optional[str]
    """The `cursor` of the next page; absent on the last page."""


def read_export_reply(d: bytes, p: int) -> Tuple[ExportReply, int]:
    more = 0
    if d[p] == 147:
        p += 1
    else:
        more, p = m.read_fields(d, p, 3)
    v0, p = read_chat_line_list(d, p)
    v1, p = read_member_line_list(d, p)
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
    """How many chats were stored."""
    members: int
    """How many memberships were stored."""


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
    """Chats that were compared, including dissolved ones."""
    members: int
    """Members that were compared with their rows."""
    rows: int
    """Rows that were compared with their chats."""
    differences: int
    """How many differences were found, including those that `items` leaves out."""
    items: Tuple[str, ...]
    """The first differences, in words."""


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
    _set(o, "__dict__", {
        "chats": v0, "members": v1, "rows": v2, "differences": v3, "items": v4,
    })
    return o, p


@dataclass(frozen=True)
class Event:
    """A change, as `watch` returns it."""

    offset: str
    """The position behind this change, for a later `from`; opaque."""
    user_id: Optional[str]
    """The user whom the change concerns."""
    chat_id: Optional[str]
    """The chat that the change concerns."""
    op: str
    """The kind of the change, which decides which fields are present."""
    last_sequence: Optional[int]
    """The chat's newest sequence."""
    last_time: Optional[int]
    """The time of that sequence."""
    seq: Optional[int]
    """The sequence of the op: read position, watermark, newest sent message, or join sequence."""
    is_top: Optional[bool]
    """The new pin flag, if the change set it."""
    is_mute: Optional[bool]
    """The new mute flag, if the change set it."""
    is_hide: Optional[bool]
    """The new hide flag, if the change set it."""
    marked_unread: Optional[bool]
    """The new unread mark, if the change set it."""
    status: Optional[int]
    """The chat's new status, if the change set it."""


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
        "offset": v0, "user_id": v1, "chat_id": v2, "op": v3, "last_sequence": v4, "last_time":
        v5, "seq": v6, "is_top": v7, "is_mute": v8, "is_hide": v9, "marked_unread": v10,
        "status": v11,
    })
    return o, p


@dataclass(frozen=True)
class ClusterReply:
    """The reply of `cluster`."""

    members: Tuple[ClusterMember, ...]
    """The members, by name: the newest active, this node, and those that reported to the active."""
    epoch: int
    """Number of the newest claim that this node knows; 0 without a journal."""
    age_ms: Optional[int]
    """Age of what a standby passes on, in ms. On the active it is 0, and on a standby that has not
    heard of an active it is absent."""
    seq: Optional[int]
    """Seq of the newest entry of the journal that this node or, as far as it heard, another member
    has accepted. Absent without a journal, and while no entry of `epoch` was accepted."""
    no_claim: Optional[str]
    """Why this node does not claim although the active is silent: another member has accepted more
    than the engine shows."""


def read_cluster_reply(d: bytes, p: int) -> Tuple[ClusterReply, int]:
    more = 0
    if d[p] == 149:
        p += 1
    else:
        more, p = m.read_fields(d, p, 5)
    v0, p = read_cluster_member_list(d, p)
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
    """Number of the claim whose stint has ended."""
    last_lsn: int
    """LSN of the newest record of that stint."""


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
class RaiseFormatReply:
    """The reply of `raise_format`."""

    format: int
    """The newest format that this active reads: that of the journal, once the entry is there."""
    before: int
    """The format of the journal before."""
    without: Tuple[str, ...]
    """The members that were left out, and may not read the format."""


def read_raise_format_reply(d: bytes, p: int) -> Tuple[RaiseFormatReply, int]:
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
    v2, p = m.read_list(m.read_str, d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(RaiseFormatReply)
    _set(o, "__dict__", {"format": v0, "before": v1, "without": v2})
    return o, p


@dataclass(frozen=True)
class ListReply:
    """The reply of `list`."""

    items: Tuple[Row, ...]
    """The rows in list order: pinned first, then newest-joined first."""
    next_cursor: Optional[str]
    """The `cursor` of the next page; null on the last page."""


def read_list_reply(d: bytes, p: int) -> Tuple[ListReply, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    v0, p = read_row_list(d, p)
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
    """The chats that exist and are not dissolved, in the order of the request, each once."""


def read_detail_reply(d: bytes, p: int) -> Tuple[DetailReply, int]:
    more = 0
    if d[p] == 145:
        p += 1
    else:
        more, p = m.read_fields(d, p, 1)
    v0, p = read_chat_list(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(DetailReply)
    _set(o, "__dict__", {"items": v0})
    return o, p


@dataclass(frozen=True)
class SetFlagsReply:
    """The reply of `set_flags`."""

    row: Row
    """The row with its new flags."""
    version: int
    """The row's version after the change."""


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
    """The watermark: the user sees no message at or below it."""


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
    """The stored read position, which never falls."""
    unread: int
    """How many messages are still unread."""


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
    """The results of all items, refused ones included."""


def read_mark_read_many_reply(d: bytes, p: int) -> Tuple[MarkReadManyReply, int]:
    more = 0
    if d[p] == 145:
        p += 1
    else:
        more, p = m.read_fields(d, p, 1)
    v0, p = read_read_result_list(d, p)
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
    """The `cursor` of the next page; null on the last page."""
    moved: bool
    """True if conversations before this page moved, came or went since the previous page. All
    others are neither skipped nor repeated."""


def read_conversations_reply(d: bytes, p: int) -> Tuple[ConversationsReply, int]:
    more = 0
    if d[p] == 147:
        p += 1
    else:
        more, p = m.read_fields(d, p, 3)
    v0, p = read_conversation_list(d, p)
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
    """The counts of each user."""


def read_unread_reply(d: bytes, p: int) -> Tuple[UnreadReply, int]:
    more = 0
    if d[p] == 145:
        p += 1
    else:
        more, p = m.read_fields(d, p, 1)
    v0, p = read_unread_item_list(d, p)
    if more > 0:
        p = m.skip(d, p, more)
    o = _new(UnreadReply)
    _set(o, "__dict__", {"items": v0})
    return o, p


@dataclass(frozen=True)
class SyncReply:
    """The reply of `sync`."""

    log: str
    """The `log` of the next `since`."""
    version: int
    """The `version` of the next `since`."""
    reset: bool
    """If true, the client must forget all rows before it applies these: its `since` was too old, or
    named another log."""
    reason: Optional[str]
    """Why the client must forget its rows; null without `reset`."""
    more: bool
    """More changes follow: the client sends the next `sync` now."""
    items: Tuple[SyncItem, ...]
    """The changed rows of this reply."""


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
    v5, p = read_sync_item_list(d, p)
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
    """The reasons, each in one sentence for people."""
    last_sequence: int
    """Sequence of the chat's newest message."""
    floors: ExplainFloors
    """The floors that keep messages from being unread."""
    unread: int
    """How many messages of the chat are unread for the user."""


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
    """How many memberships were removed."""


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
    """The first sequence handed out; with `to` it equals `last_sequence`."""
    last_sequence: int
    """The last sequence handed out; with `to` the chat's last sequence."""
    last_time: int
    """The time of the chat's newest message."""


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
    elif v2 == 207:
        v2 = m.unpack_u64(d, p + 1)[0]
        p += 9
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
    """The chat's id."""
    created: bool
    """False if the same request had created the chat before."""
    version: int
    """The version that the chat has now."""


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
    """How many of the users are new members."""
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
    """How many of the users were members."""
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
    """The `cursor` of the next page; absent on the last page."""


def read_members_reply(d: bytes, p: int) -> Tuple[MembersReply, int]:
    more = 0
    if d[p] == 146:
        p += 1
    else:
        more, p = m.read_fields(d, p, 2)
    v0, p = read_member_list(d, p)
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
    """The version that the chat has now."""


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
