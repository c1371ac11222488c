# Generated from docs/reference/protocol.json by clients/generate. Do not edit.
"""The methods of the blocking client, one for each command."""

from __future__ import annotations

from typing import Any, Iterable, List, Optional, TypeVar

from .._command import Command, flag_value, list_value
from . import commands as c
from . import records as r

T = TypeVar("T")


class BlockingMethods:
    """One method for each command. Every error is a `CallError`."""

    def _call(
        self,
        command: Command[T],
        arguments: List[Any],
        key: Optional[str],
        timeout: Optional[float],
    ) -> T:
        raise NotImplementedError

    def ping(
        self,
        *,
        timeout: Optional[float] = None,
    ) -> None:
        """Does nothing, successfully.

        Args:
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.PING, [], None, timeout)

    def stats(
        self,
        *,
        timeout: Optional[float] = None,
    ) -> r.StatsReply:
        """Counts and sizes of the node.

        Args:
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.STATS, [], None, timeout)

    def snapshot(
        self,
        *,
        timeout: Optional[float] = None,
    ) -> r.SnapshotReply:
        """Writes a snapshot of everything now.

        Args:
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.SNAPSHOT, [], None, timeout)

    def export(
        self,
        *,
        cursor: Optional[str] = None,
        limit: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.ExportReply:
        """A page of everything, in the form that `import` takes.

        Args:
            cursor: `next_cursor` of the page before.
            limit: 1 to 1000; default 1000: most lines in the reply. 1 to 1000; 1000 if absent.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.EXPORT, [cursor, limit], None, timeout)

    def import_(
        self,
        *,
        chats: Optional[Iterable[r.ChatLine]] = None,
        members: Optional[Iterable[r.MemberLine]] = None,
        merge: Optional[bool] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.ImportReply:
        """Takes chats and members as they are.

        Args:
            chats: Nil: none.
            members: Of these chats, or of chats that exist; nil: none.
            merge: Take lines for what exists too: the higher sequence of both stays.
            idempotency_key: See [Repeats](#repeats).
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        chats_ = list_value("chats", chats)
        members_ = list_value("members", members)
        return self._call(c.IMPORT, [chats_, members_, merge, idempotency_key], None, timeout)

    def verify(
        self,
        *,
        timeout: Optional[float] = None,
    ) -> r.VerifyReply:
        """Recounts what is counted as it changes, and names each difference.

        Args:
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.VERIFY, [], None, timeout)

    def cluster(
        self,
        *,
        timeout: Optional[float] = None,
    ) -> r.ClusterReply:
        """The members of the journal, as this node knows them.

        Args:
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.CLUSTER, [], None, timeout)

    def handover(
        self,
        *,
        to: Optional[str] = None,
        epoch: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.HandoverReply:
        """The active gives its place to a standby.

        Args:
            to: Name of the standby that claims first, 1 to 255 bytes; the others wait as after a
                crash; nil: any of them.
            epoch: Number of the claim whose stint is to end, as `cluster` shows it; nil: the
                present one. With it, a request that comes twice ends no later stint.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.HANDOVER, [to, epoch], None, timeout)

    def list(
        self,
        user_id: str,
        *,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.ListReply:
        """A user's rows: pinned first, then newest-joined first.

        Args:
            user_id: Whose rows.
            limit: At least 1; nil: all rows.
            cursor: `next_cursor` of the page before.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.LIST, [user_id, limit, cursor], user_id, timeout)

    def detail(
        self,
        ids: Iterable[str],
        *,
        user_id: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.DetailReply:
        """Chats by id, in the order asked, each once.

        Args:
            ids: At most 1000.
            user_id: For whom: fills `last_read_sequence`.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        ids_ = list_value("ids", ids)
        key = user_id or (ids_[0] if ids_ else None)
        return self._call(c.DETAIL, [ids_, user_id], key, timeout)

    def delete(
        self,
        user_id: str,
        ids: Iterable[str],
        *,
        up_to: Optional[int] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> None:
        """Removes chats from a user's list until their next message.

        Args:
            user_id: Whose list.
            ids: At most 1000.
            up_to: The newest sequence that the user saw; nil: the last one of each chat.
            idempotency_key: See [Repeats](#repeats).
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        ids_ = list_value("ids", ids)
        return self._call(c.DELETE, [user_id, ids_, up_to, idempotency_key], user_id, timeout)

    def set_flags(
        self,
        user_id: str,
        chat_id: str,
        *,
        is_top: Optional[bool] = None,
        is_mute: Optional[bool] = None,
        is_hide: Optional[bool] = None,
        marked_unread: Optional[bool] = None,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.SetFlagsReply:
        """Sets flags of a row.

        Args:
            user_id: Whose row.
            chat_id: The chat.
            is_top: Pin.
            is_mute: Mute.
            is_hide: Hide.
            marked_unread: Mark as unread; the read position does not move.
            idempotency_key: See [Repeats](#repeats).
            if_version: Only if the row has this version; else 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [
            user_id, chat_id, flag_value(is_top), flag_value(is_mute), flag_value(is_hide),
            flag_value(marked_unread), idempotency_key, if_version,
        ]
        return self._call(c.SET_FLAGS, arguments, user_id, timeout)

    def touch(
        self,
        user_id: str,
        *,
        chat_ids: Optional[Iterable[str]] = None,
        time: Optional[int] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.TouchReply:
        """Raises `last_online_time`.

        Args:
            user_id: Who is online.
            chat_ids: In which chats, at most 1000; nil: in all of the user's.
            time: Nil: the server's; more than a day ahead is 400.
            idempotency_key: See [Repeats](#repeats).
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        chat_ids_ = list_value("chat_ids", chat_ids)
        return self._call(c.TOUCH, [user_id, chat_ids_, time, idempotency_key], user_id, timeout)

    def clear(
        self,
        user_id: str,
        chat_id: str,
        *,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.ClearReply:
        """Hides the history of a chat from one user.

        Args:
            user_id: Whose row.
            chat_id: The chat.
            idempotency_key: See [Repeats](#repeats).
            if_version: Only if the row has this version; else 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [user_id, chat_id, idempotency_key, if_version]
        return self._call(c.CLEAR, arguments, user_id, timeout)

    def mark_read(
        self,
        user_id: str,
        chat_id: str,
        seq: int,
        *,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.MarkReadReply:
        """Raises a read position.

        Args:
            user_id: Who has read.
            chat_id: In which chat.
            seq: Up to which sequence.
            idempotency_key: See [Repeats](#repeats).
            if_version: Only if the row has this version; else 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [user_id, chat_id, seq, idempotency_key, if_version]
        return self._call(c.MARK_READ, arguments, user_id, timeout)

    def mark_read_many(
        self,
        user_id: str,
        items: Iterable[r.ReadItem],
        *,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.MarkReadManyReply:
        """Raises the read positions of several chats.

        Args:
            user_id: Who has read.
            items: At most 1000.
            idempotency_key: See [Repeats](#repeats).
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        items_ = list_value("items", items)
        return self._call(c.MARK_READ_MANY, [user_id, items_, idempotency_key], user_id, timeout)

    def conversations(
        self,
        user_id: str,
        *,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
        unread_only: Optional[bool] = None,
        type: Optional[int] = None,
        hidden: Optional[bool] = None,
        active_since: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.ConversationsReply:
        """A page of a user's conversations: rows with their chats and unread counts.

        Args:
            user_id: Whose conversations.
            limit: 1 to 200; default 50. 1 to 200; 50 if absent.
            cursor: `next_cursor` of the page before.
            unread_only: True: only those with unread messages, or marked as unread.
            type: Only those of this type.
            hidden: 1: only hidden ones, 0: only others.
            active_since: Only those whose newest message is of this time or later.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [
            user_id, limit, cursor, unread_only, type, flag_value(hidden), active_since,
        ]
        return self._call(c.CONVERSATIONS, arguments, user_id, timeout)

    def unread(
        self,
        user_ids: Iterable[str],
        *,
        timeout: Optional[float] = None,
    ) -> r.UnreadReply:
        """Unread counts of many users.

        Args:
            user_ids: Whose counts; at most 1000.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        user_ids_ = list_value("user_ids", user_ids)
        key = (user_ids_[0] if user_ids_ else None)
        return self._call(c.UNREAD, [user_ids_], key, timeout)

    def sync(
        self,
        user_id: str,
        *,
        since: Optional[r.Since] = None,
        limit: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.SyncReply:
        """What changed in a user's list.

        Args:
            user_id: Whose changes.
            since: `log` and `version` of the reply before; nil: a listing from the start.
            limit: 1 to 1000; default 1000. Imported rows that share a version come together, even
                beyond it. 1 to 1000; 1000 if absent.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.SYNC, [user_id, since and since._values(), limit], user_id, timeout)

    def explain(
        self,
        user_id: str,
        chat_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> r.ExplainReply:
        """Why a chat is listed and unread as it is.

        Args:
            user_id: Whose view.
            chat_id: The chat.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.EXPLAIN, [user_id, chat_id], user_id, timeout)

    def erase_user(
        self,
        user_id: str,
        *,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.EraseUserReply:
        """Removes every trace of a user.

        Args:
            user_id: Who.
            idempotency_key: See [Repeats](#repeats).
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.ERASE_USER, [user_id, idempotency_key], user_id, timeout)

    def advance(
        self,
        chat_id: str,
        *,
        to: Optional[int] = None,
        allocate: Optional[int] = None,
        time: Optional[int] = None,
        sender_id: Optional[str] = None,
        force: Optional[bool] = None,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.AdvanceReply:
        """Raises the sequence of a chat for a message, or hands out the next ones.

        Args:
            chat_id: The chat.
            to: An older one changes no sequence; more than 1000000 ahead is 400 without `force`.
            allocate: 1 to 1000000: hand out so many, each exactly once. 1 to 1000000.
            time: The time of the newest message; nil: the server's; more than a day ahead is 400.
            sender_id: Who sent it: their own messages are not unread to them.
            force: Allow `to` to be far ahead.
            idempotency_key: See [Repeats](#repeats).
            if_version: Only if the chat has this version; else 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [
            chat_id, to, allocate, time, sender_id, force, idempotency_key, if_version,
        ]
        return self._call(c.ADVANCE, arguments, chat_id, timeout)

    def create(
        self,
        type: int,
        creator_id: str,
        user_ids: Iterable[str],
        *,
        id: Optional[str] = None,
        is_enc: Optional[bool] = None,
        created_at: Optional[int] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.CreateReply:
        """Makes a chat and its members.

        Args:
            id: Nil: the server chooses `s_`, `g_` or `o_` and 16 hex digits, from the idempotency
                key if there is one.
            type: 1 single, 2 group, 3 official.
            creator_id: Who made it; a member only if in `user_ids`.
            is_enc: Nil: 0.
            created_at: Nil: the server's time.
            user_ids: The first members, at most 10000; two different ones for a single chat.
            idempotency_key: See [Repeats](#repeats).
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        user_ids_ = list_value("user_ids", user_ids)
        key = id or (user_ids_[0] if user_ids_ else None)
        arguments: List[Any] = [
            id, type, creator_id, flag_value(is_enc), created_at, user_ids_, idempotency_key,
        ]
        return self._call(c.CREATE, arguments, key, timeout)

    def add_members(
        self,
        chat_id: str,
        user_ids: Iterable[str],
        *,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.AddMembersReply:
        """Adds members.

        Args:
            chat_id: The chat.
            user_ids: Who joins, at most 10000.
            idempotency_key: See [Repeats](#repeats).
            if_version: Only if the chat has this version; else 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        user_ids_ = list_value("user_ids", user_ids)
        arguments: List[Any] = [chat_id, user_ids_, idempotency_key, if_version]
        return self._call(c.ADD_MEMBERS, arguments, chat_id, timeout)

    def remove_members(
        self,
        chat_id: str,
        user_ids: Iterable[str],
        *,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.RemoveMembersReply:
        """Removes members.

        Args:
            chat_id: The chat.
            user_ids: Who leaves, at most 10000.
            idempotency_key: See [Repeats](#repeats).
            if_version: Only if the chat has this version; else 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        user_ids_ = list_value("user_ids", user_ids)
        arguments: List[Any] = [chat_id, user_ids_, idempotency_key, if_version]
        return self._call(c.REMOVE_MEMBERS, arguments, chat_id, timeout)

    def members(
        self,
        chat_id: str,
        *,
        cursor: Optional[str] = None,
        limit: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.MembersReply:
        """The members of a chat, in join order.

        Args:
            chat_id: The chat.
            cursor: `next_cursor` of the page before.
            limit: 1 to 10000; default 10000. 1 to 10000; 10000 if absent.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.MEMBERS, [chat_id, cursor, limit], chat_id, timeout)

    def set_status(
        self,
        chat_id: str,
        status: int,
        *,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.SetStatusReply:
        """Enables or disables a chat.

        Args:
            chat_id: The chat.
            status: 1 normal, 2 disabled.
            idempotency_key: See [Repeats](#repeats).
            if_version: Only if the chat has this version; else 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [chat_id, status, idempotency_key, if_version]
        return self._call(c.SET_STATUS, arguments, chat_id, timeout)

    def dissolve(
        self,
        chat_id: str,
        *,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> None:
        """Ends a chat for good.

        Args:
            chat_id: The chat.
            idempotency_key: See [Repeats](#repeats).
            if_version: Only if the chat has this version; else 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return self._call(c.DISSOLVE, [chat_id, idempotency_key, if_version], chat_id, timeout)
