# Generated from docs/reference/protocol.json by clients/generate. Do not edit.
"""The methods of the asyncio client, one for each command."""

from __future__ import annotations

from typing import Any, Iterable, List, Optional, TypeVar

from .._command import Command, flag_value, list_value, record_value
from ..pages import AsyncItems, Page
from . import commands as c
from . import records as r

T = TypeVar("T")


class AsyncMethods:
    """One method for each command. Every error is a `CallError`."""

    async def _call(
        self,
        command: Command[T],
        arguments: List[Any],
        key: Optional[str],
        timeout: Optional[float],
    ) -> T:
        raise NotImplementedError

    async def ping(
        self,
        *,
        timeout: Optional[float] = None,
    ) -> None:
        """Does nothing; its reply shows that the node works.

        Args:
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.PING, [], None, timeout)

    async def stats(
        self,
        *,
        timeout: Optional[float] = None,
    ) -> r.StatsReply:
        """Counts and sizes of the node.

        Args:
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.STATS, [], None, timeout)

    async def snapshot(
        self,
        *,
        timeout: Optional[float] = None,
    ) -> r.SnapshotReply:
        """Writes a snapshot now, and replies when its file is published.

        Args:
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.SNAPSHOT, [], None, timeout)

    async def export(
        self,
        *,
        cursor: Optional[str] = None,
        limit: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.ExportReply:
        """A page of all chats and members, in the form that `import` takes.

        Args:
            cursor: `next_cursor` of the previous page; if absent, the first page comes.
            limit: Most lines in the reply. 1 to 1000; 1000 if absent.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.EXPORT, [cursor, limit], None, timeout)

    async def import_(
        self,
        *,
        chats: Optional[Iterable[r.ChatLine]] = None,
        members: Optional[Iterable[r.MemberLine]] = None,
        merge: Optional[bool] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.ImportReply:
        """Stores chats and members as they come from an export.

        Args:
            chats: The chats to store. At most 10000 items.
            members: The memberships to store, of chats in this request or of chats that exist
                already. At most 10000 items.
            merge: Whether to accept lines for chats and memberships that exist; the larger sequence
                of both stays.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        chats_ = list_value("chats", chats)
        members_ = list_value("members", members)
        return await self._call(c.IMPORT, [chats_, members_, merge, idempotency_key], None, timeout)

    async def verify(
        self,
        *,
        timeout: Optional[float] = None,
    ) -> r.VerifyReply:
        """Recounts all figures that are kept incrementally, and names each difference.

        Args:
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.VERIFY, [], None, timeout)

    async def cluster(
        self,
        *,
        timeout: Optional[float] = None,
    ) -> r.ClusterReply:
        """The members of the journal, as far as this node knows them.

        Args:
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.CLUSTER, [], None, timeout)

    async def handover(
        self,
        *,
        to: Optional[str] = None,
        epoch: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.HandoverReply:
        """The active releases the journal, and a standby takes over.

        Args:
            to: Name of the standby that claims first; any standby if absent. 1 to 255 bytes.
            epoch: Number of the claim whose stint is to end. If another one is the newest, nothing
                changes: a request that comes late ends no later stint.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.HANDOVER, [to, epoch], None, timeout)

    async def raise_format(
        self,
        *,
        without: Optional[Iterable[str]] = None,
        timeout: Optional[float] = None,
    ) -> r.RaiseFormatReply:
        """Raises the journal's format without members that are gone.

        Args:
            without: Names of members that do not report, and may not read the newer format.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        without_ = list_value("without", without)
        return await self._call(c.RAISE_FORMAT, [without_], None, timeout)

    async def list(
        self,
        user_id: str,
        *,
        limit: Optional[int] = None,
        cursor: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.ListReply:
        """A user's rows, pinned first, then newest-joined first.

        Args:
            user_id: The user whose rows are listed.
            limit: Most rows in the reply; all rows if absent. 1 to 4294967295.
            cursor: `next_cursor` of the previous page; if absent, the first page comes.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.LIST, [user_id, limit, cursor], user_id, timeout)

    async def detail(
        self,
        ids: Iterable[str],
        *,
        user_id: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.DetailReply:
        """Details of chats, by id.

        Args:
            ids: The chats. At most 1000 items.
            user_id: The user who looks. With it the reply has `last_read_sequence` and leaves out
                chats that the user is not a member of.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        ids_ = list_value("ids", ids)
        key = user_id or (ids_[0] if ids_ else None)
        return await self._call(c.DETAIL, [ids_, user_id], key, timeout)

    async def delete(
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
            user_id: The user whose list loses the chats.
            ids: The chats to remove. Those that the user does not have are ignored. At most 1000
                items.
            up_to: The newest sequence that the user saw; if absent, the last sequence of each chat.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        ids_ = list_value("ids", ids)
        return await self._call(c.DELETE, [user_id, ids_, up_to, idempotency_key], user_id, timeout)

    async def set_flags(
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
        """Sets a row's flags.

        Args:
            user_id: The user whose row changes.
            chat_id: The chat of the row.
            is_top: Pins the row (1) or unpins it (0).
            is_mute: Mutes the row (1) or unmutes it (0).
            is_hide: Hides the row (1) or shows it (0).
            marked_unread: Marks the chat as unread (1) or takes the mark away (0); the read
                position stays.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            if_version: The command needs the row to have this version; otherwise it fails with 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [
            user_id, chat_id, flag_value(is_top), flag_value(is_mute), flag_value(is_hide),
            flag_value(marked_unread), idempotency_key, if_version,
        ]
        return await self._call(c.SET_FLAGS, arguments, user_id, timeout)

    async def touch(
        self,
        user_id: str,
        *,
        chat_ids: Optional[Iterable[str]] = None,
        time: Optional[int] = None,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.TouchReply:
        """Sets `last_online_time`.

        Args:
            user_id: The user who is online.
            chat_ids: The chats in which the user is online; all of the user's chats if absent. At
                most 1000 items.
            time: When the user was online; the server's time if absent. A row keeps a later time
                that it has.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        chat_ids_ = list_value("chat_ids", chat_ids)
        arguments: List[Any] = [user_id, chat_ids_, time, idempotency_key]
        return await self._call(c.TOUCH, arguments, user_id, timeout)

    async def clear(
        self,
        user_id: str,
        chat_id: str,
        *,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.ClearReply:
        """Hides a chat's history from a user; the row stays.

        Args:
            user_id: The user whose row changes.
            chat_id: The chat of the row.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            if_version: The command needs the row to have this version; otherwise it fails with 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [user_id, chat_id, idempotency_key, if_version]
        return await self._call(c.CLEAR, arguments, user_id, timeout)

    async def mark_read(
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
            user_id: The user who has read.
            chat_id: The chat that the user has read.
            seq: The new read position, at most the chat's last sequence. If it is not above the
                stored one, nothing changes.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            if_version: The command needs the row to have this version; otherwise it fails with 409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [user_id, chat_id, seq, idempotency_key, if_version]
        return await self._call(c.MARK_READ, arguments, user_id, timeout)

    async def mark_read_many(
        self,
        user_id: str,
        items: Iterable[r.ReadItem],
        *,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.MarkReadManyReply:
        """Raises read positions of several chats.

        Args:
            user_id: The user who has read.
            items: The chats and their read positions; each chat at most once. At most 1000 items.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        items_ = list_value("items", items)
        arguments: List[Any] = [user_id, items_, idempotency_key]
        return await self._call(c.MARK_READ_MANY, arguments, user_id, timeout)

    async def conversations(
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
            user_id: The user whose conversations are listed.
            limit: Most conversations in the reply; 50 if absent, at most 200. 1 to 200; 50 if
                absent.
            cursor: `next_cursor` of the previous page; if absent, the first page comes.
            unread_only: Only conversations with unread messages or with an unread mark.
            type: Only conversations of this type.
            hidden: 1: only hidden conversations; 0: only the others.
            active_since: Only conversations whose newest message is of this time or later.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [
            user_id, limit, cursor, unread_only, type, flag_value(hidden), active_since,
        ]
        return await self._call(c.CONVERSATIONS, arguments, user_id, timeout)

    async def unread(
        self,
        user_ids: Iterable[str],
        *,
        timeout: Optional[float] = None,
    ) -> r.UnreadReply:
        """Unread totals of many users.

        Args:
            user_ids: The users; a repeated user counts once. At most 1000 items.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        user_ids_ = list_value("user_ids", user_ids)
        key = (user_ids_[0] if user_ids_ else None)
        return await self._call(c.UNREAD, [user_ids_], key, timeout)

    async def sync(
        self,
        user_id: str,
        *,
        since: Optional[r.Since] = None,
        limit: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.SyncReply:
        """A user's changes since a version.

        Args:
            user_id: The user whose rows are synchronized.
            since: `log` and `version` of the previous reply. Without it all rows come, like after a
                reset.
            limit: Most changes in the reply. 1 to 1000; 1000 if absent.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [user_id, record_value("since", since), limit]
        return await self._call(c.SYNC, arguments, user_id, timeout)

    async def explain(
        self,
        user_id: str,
        chat_id: str,
        *,
        timeout: Optional[float] = None,
    ) -> r.ExplainReply:
        """Explains why a chat is listed and unread as it is.

        Args:
            user_id: The user whose view is explained.
            chat_id: The chat to explain.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.EXPLAIN, [user_id, chat_id], user_id, timeout)

    async def erase_user(
        self,
        user_id: str,
        *,
        idempotency_key: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> r.EraseUserReply:
        """Removes every trace of a user.

        Args:
            user_id: The user, of whom no trace remains.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.ERASE_USER, [user_id, idempotency_key], user_id, timeout)

    async def advance(
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
        """Raises a chat's sequence, or hands out the next ones.

        Args:
            chat_id: The chat's id.
            to: The sequence of a message that the backend stored. If it is not above the chat's
                last sequence, that stays.
            allocate: How many sequences to hand out, from the next one on. Each is handed out only
                once. 1 to 1000000.
            time: The time of the newest message; the server's time if absent.
            sender_id: The sender, for whom the message does not count as unread.
            force: Allows `to` to be more than 1 000 000 ahead of the chat's sequence.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            if_version: The command needs the chat to have this version; otherwise it fails with
                409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [
            chat_id, to, allocate, time, sender_id, force, idempotency_key, if_version,
        ]
        return await self._call(c.ADVANCE, arguments, chat_id, timeout)

    async def create(
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
        """Creates a chat and its members.

        Args:
            id: The chat's id. If absent, a single chat derives it from its users. Other chats
                derive it from the idempotency key, or draw it at random.
            type: The chat's type: single, group or official.
            creator_id: The creator: a person, a group or a robot; a member only if in `user_ids`.
            is_enc: Whether the chat's messages are encrypted.
            created_at: The time of creation; the server's time if absent.
            user_ids: The first members; exactly two for a single chat. At most 10000 items.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        user_ids_ = list_value("user_ids", user_ids)
        key = id or (user_ids_[0] if user_ids_ else None)
        arguments: List[Any] = [
            id, type, creator_id, flag_value(is_enc), created_at, user_ids_, idempotency_key,
        ]
        return await self._call(c.CREATE, arguments, key, timeout)

    async def add_members(
        self,
        chat_id: str,
        user_ids: Iterable[str],
        *,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.AddMembersReply:
        """Adds members to a chat.

        Args:
            chat_id: The chat's id.
            user_ids: The users who join. Users who are members already stay as they are. At most
                10000 items.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            if_version: The command needs the chat to have this version; otherwise it fails with
                409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        user_ids_ = list_value("user_ids", user_ids)
        arguments: List[Any] = [chat_id, user_ids_, idempotency_key, if_version]
        return await self._call(c.ADD_MEMBERS, arguments, chat_id, timeout)

    async def remove_members(
        self,
        chat_id: str,
        user_ids: Iterable[str],
        *,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.RemoveMembersReply:
        """Removes members from a chat.

        Args:
            chat_id: The chat's id.
            user_ids: The users who leave. Users who are not members are ignored. At most 10000
                items.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            if_version: The command needs the chat to have this version; otherwise it fails with
                409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        user_ids_ = list_value("user_ids", user_ids)
        arguments: List[Any] = [chat_id, user_ids_, idempotency_key, if_version]
        return await self._call(c.REMOVE_MEMBERS, arguments, chat_id, timeout)

    async def members(
        self,
        chat_id: str,
        *,
        cursor: Optional[str] = None,
        limit: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> r.MembersReply:
        """A chat's members.

        Args:
            chat_id: The chat's id.
            cursor: `next_cursor` of the previous page; if absent, the first page comes.
            limit: Most members in the reply. 1 to 10000; 10000 if absent.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        return await self._call(c.MEMBERS, [chat_id, cursor, limit], chat_id, timeout)

    async def set_status(
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
            chat_id: The chat's id.
            status: The new status: 1 normal, 2 disabled.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            if_version: The command needs the chat to have this version; otherwise it fails with
                409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [chat_id, status, idempotency_key, if_version]
        return await self._call(c.SET_STATUS, arguments, chat_id, timeout)

    async def dissolve(
        self,
        chat_id: str,
        *,
        idempotency_key: Optional[str] = None,
        if_version: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> None:
        """Ends a chat for good; its id is never used again.

        Args:
            chat_id: The chat's id.
            idempotency_key: Makes a retry safe: the same request with this key gets the first
                reply.
            if_version: The command needs the chat to have this version; otherwise it fails with
                409.
            timeout: Seconds for the call with all its repeats; absent: the client's.
        """
        arguments: List[Any] = [chat_id, idempotency_key, if_version]
        return await self._call(c.DISSOLVE, arguments, chat_id, timeout)

    def export_pages(
        self,
        *,
        page: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> AsyncItems[r.ExportReply, str]:
        """All chats and members, page by page, as `import_` takes them.

        Args:
            page: Items of one page. 1 to 1000; 1000 if absent.
            timeout: Seconds for each page; absent: the client's.
        """

        async def fetch(place: Optional[str]) -> Page[r.ExportReply, str]:
            reply = await self.export(cursor=place, limit=page, timeout=timeout)
            return (reply,), reply.next_cursor

        return AsyncItems(fetch)

    def each_row(
        self,
        user_id: str,
        *,
        page: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> AsyncItems[r.Row, str]:
        """All rows of a user's list.

        Args:
            user_id: The user whose rows are listed.
            page: Items of one page. 1 to 4294967295.
            timeout: Seconds for each page; absent: the client's.
        """

        async def fetch(place: Optional[str]) -> Page[r.Row, str]:
            reply = await self.list(user_id, cursor=place, limit=page, timeout=timeout)
            return reply.items, reply.next_cursor

        return AsyncItems(fetch)

    def each_conversation(
        self,
        user_id: str,
        *,
        unread_only: Optional[bool] = None,
        type: Optional[int] = None,
        hidden: Optional[bool] = None,
        active_since: Optional[int] = None,
        page: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> AsyncItems[r.Conversation, str]:
        """All conversations of a user that pass the filters.

        Args:
            user_id: The user whose conversations are listed.
            unread_only: Only conversations with unread messages or with an unread mark.
            type: Only conversations of this type.
            hidden: 1: only hidden conversations; 0: only the others.
            active_since: Only conversations whose newest message is of this time or later.
            page: Items of one page. 1 to 200; 50 if absent.
            timeout: Seconds for each page; absent: the client's.
        """

        async def fetch(place: Optional[str]) -> Page[r.Conversation, str]:
            reply = await self.conversations(
                user_id, unread_only=unread_only, type=type, hidden=hidden,
                active_since=active_since, cursor=place, limit=page, timeout=timeout,
            )
            return reply.items, reply.next_cursor

        return AsyncItems(fetch)

    def sync_pages(
        self,
        user_id: str,
        since: Optional[r.Since] = None,
        *,
        page: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> AsyncItems[r.SyncReply, r.Since]:
        """What changed in a user's list, page by page, until there is no more. Take the items of a
        page, and keep `Since(reply.log, reply.version)` with them: the next `sync_pages` continues
        there. If `reply.reset` is true, forget all rows first.

        Args:
            user_id: The user whose rows are synchronized.
            since: `log` and `version` of the previous reply. Without it all rows come, like after a
                reset.
            page: Items of one page. 1 to 1000; 1000 if absent.
            timeout: Seconds for each page; absent: the client's.
        """

        async def fetch(place: Optional[r.Since]) -> Page[r.SyncReply, r.Since]:
            reply = await self.sync(user_id, since=place, limit=page, timeout=timeout)
            return (reply,), r.Since(reply.log, reply.version) if reply.more else None

        return AsyncItems(fetch, since)

    def each_member(
        self,
        chat_id: str,
        *,
        page: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> AsyncItems[r.Member, str]:
        """All members of a chat, in join order.

        Args:
            chat_id: The chat's id.
            page: Items of one page. 1 to 10000; 10000 if absent.
            timeout: Seconds for each page; absent: the client's.
        """

        async def fetch(place: Optional[str]) -> Page[r.Member, str]:
            reply = await self.members(chat_id, cursor=place, limit=page, timeout=timeout)
            return reply.items, reply.next_cursor

        return AsyncItems(fetch)
