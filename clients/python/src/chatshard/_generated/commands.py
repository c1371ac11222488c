# Generated from docs/reference/protocol.json by clients/generate. Do not edit.
"""The commands: their codes, and how to read their replies."""

from __future__ import annotations

from .._command import Command, read_empty
from .._msgpack import read_nil
from . import records as r

HELLO = Command("hello", 1, 4, True, -1, r.read_hello_reply)
PING = Command("ping", 2, 0, True, -1, read_empty)
STATS = Command("stats", 3, 0, True, -1, r.read_stats_reply)
SNAPSHOT = Command("snapshot", 4, 0, False, -1, r.read_snapshot_reply)
EXPORT = Command("export", 5, 2, True, -1, r.read_export_reply)
IMPORT = Command("import", 6, 4, False, 3, r.read_import_reply)
VERIFY = Command("verify", 7, 0, True, -1, r.read_verify_reply)
WATCH = Command("watch", 8, 1, True, -1, r.read_event)
CLUSTER = Command("cluster", 10, 0, True, -1, r.read_cluster_reply)
HANDOVER = Command("handover", 11, 2, False, -1, r.read_handover_reply)
RAISE_FORMAT = Command("raise_format", 13, 1, False, -1, r.read_raise_format_reply)
LIST = Command("list", 16, 3, True, -1, r.read_list_reply)
DETAIL = Command("detail", 17, 2, True, -1, r.read_detail_reply)
DELETE = Command("delete", 18, 4, False, 3, read_nil)
SET_FLAGS = Command("set_flags", 19, 8, False, 6, r.read_set_flags_reply)
TOUCH = Command("touch", 20, 4, False, 3, r.read_touch_reply)
CLEAR = Command("clear", 21, 4, False, 2, r.read_clear_reply)
MARK_READ = Command("mark_read", 22, 5, False, 3, r.read_mark_read_reply)
MARK_READ_MANY = Command("mark_read_many", 23, 3, False, 2, r.read_mark_read_many_reply)
CONVERSATIONS = Command("conversations", 24, 7, True, -1, r.read_conversations_reply)
UNREAD = Command("unread", 25, 1, True, -1, r.read_unread_reply)
SYNC = Command("sync", 26, 3, True, -1, r.read_sync_reply)
EXPLAIN = Command("explain", 27, 2, True, -1, r.read_explain_reply)
ERASE_USER = Command("erase_user", 28, 2, False, 1, r.read_erase_user_reply)
ADVANCE = Command("advance", 32, 8, False, 6, r.read_advance_reply)
CREATE = Command("create", 33, 7, False, 6, r.read_create_reply)
ADD_MEMBERS = Command("add_members", 34, 4, False, 2, r.read_add_members_reply)
REMOVE_MEMBERS = Command("remove_members", 35, 4, False, 2, r.read_remove_members_reply)
MEMBERS = Command("members", 36, 3, True, -1, r.read_members_reply)
SET_STATUS = Command("set_status", 37, 4, False, 2, r.read_set_status_reply)
DISSOLVE = Command("dissolve", 38, 3, False, 1, read_nil)
