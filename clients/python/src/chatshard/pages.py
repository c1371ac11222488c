"""Iterators over `list`, `conversations`, `members`, `export` and `sync`.

They ask for a page when the items of the page before are used up. Each page is a call of its own,
with its own deadline and repeats. The protocol says what happens to an item that moves between two
pages.
"""

from __future__ import annotations

from collections import deque
from typing import (
    AsyncIterator,
    Awaitable,
    Callable,
    Deque,
    Generic,
    Iterator,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

from ._generated.async_methods import AsyncMethods
from ._generated.blocking_methods import BlockingMethods
from ._generated.records import (
    Conversation,
    ExportReply,
    Member,
    Row,
    Since,
    SyncReply,
)

Item = TypeVar("Item")
Place = TypeVar("Place")


class AsyncItems(Generic[Item, Place], AsyncIterator[Item]):
    """Items of several pages, for `async for`. It holds no connection between pages."""

    def __init__(
        self,
        fetch: Callable[[Optional[Place]], Awaitable[Tuple[Sequence[Item], Optional[Place]]]],
        place: Optional[Place] = None,
    ) -> None:
        self._fetch = fetch
        self._place = place
        self._items: Deque[Item] = deque()
        self._is_last = False

    def __aiter__(self) -> AsyncItems[Item, Place]:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self._is_last:
                raise StopAsyncIteration
            items, self._place = await self._fetch(self._place)
            self._is_last = self._place is None
            self._items.extend(items)
        return self._items.popleft()


class AsyncPages(AsyncMethods):
    """The iterators of the asyncio client."""

    def each_row(
        self, user_id: str, *, page: Optional[int] = None, timeout: Optional[float] = None
    ) -> AsyncItems[Row, str]:
        """All rows of a user's list.

        Args:
            user_id: Whose rows.
            page: Rows of one page; absent: all come in one.
            timeout: Seconds for each page; absent: the client's.
        """

        async def fetch(cursor: Optional[str]) -> Tuple[Sequence[Row], Optional[str]]:
            reply = await self.list(user_id, limit=page, cursor=cursor, timeout=timeout)
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
    ) -> AsyncItems[Conversation, str]:
        """All conversations of a user that pass the filters of `conversations`.

        Args:
            page: Conversations of one page, 1 to 200; absent: 50.
            timeout: Seconds for each page; absent: the client's.
        """

        async def fetch(cursor: Optional[str]) -> Tuple[Sequence[Conversation], Optional[str]]:
            reply = await self.conversations(
                user_id,
                limit=page,
                cursor=cursor,
                unread_only=unread_only,
                type=type,
                hidden=hidden,
                active_since=active_since,
                timeout=timeout,
            )
            return reply.items, reply.next_cursor

        return AsyncItems(fetch)

    def each_member(
        self, chat_id: str, *, page: Optional[int] = None, timeout: Optional[float] = None
    ) -> AsyncItems[Member, str]:
        """All members of a chat, in join order.

        Args:
            chat_id: The chat.
            page: Members of one page, 1 to 10000; absent: 10000.
            timeout: Seconds for each page; absent: the client's.
        """

        async def fetch(cursor: Optional[str]) -> Tuple[Sequence[Member], Optional[str]]:
            reply = await self.members(chat_id, limit=page, cursor=cursor, timeout=timeout)
            return reply.items, reply.next_cursor

        return AsyncItems(fetch)

    def export_pages(
        self, *, page: Optional[int] = None, timeout: Optional[float] = None
    ) -> AsyncItems[ExportReply, str]:
        """All chats and members, page by page, as `import_` takes them.

        Args:
            page: Lines of one page, 1 to 1000; absent: 1000.
            timeout: Seconds for each page; absent: the client's.
        """

        async def fetch(cursor: Optional[str]) -> Tuple[Sequence[ExportReply], Optional[str]]:
            reply = await self.export(cursor=cursor, limit=page, timeout=timeout)
            return (reply,), reply.next_cursor

        return AsyncItems(fetch)

    def sync_pages(
        self,
        user_id: str,
        since: Optional[Since] = None,
        *,
        page: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> AsyncItems[SyncReply, Since]:
        """What changed in a user's list, page by page, until there is no more.

        Take the items of a page, and keep `Since(reply.log, reply.version)` with them: the next
        `sync_pages` continues there. If `reply.reset` is true, forget all rows first.

        Args:
            user_id: Whose changes.
            since: From the last page that was taken; absent: a listing from the start.
            page: Changes of one page, 1 to 1000; absent: 1000.
            timeout: Seconds for each page; absent: the client's.
        """

        async def fetch(place: Optional[Since]) -> Tuple[Sequence[SyncReply], Optional[Since]]:
            reply = await self.sync(user_id, since=place, limit=page, timeout=timeout)
            return (reply,), Since(reply.log, reply.version) if reply.more else None

        return AsyncItems(fetch, since)


class BlockingPages(BlockingMethods):
    """The iterators of the blocking client."""

    def each_row(
        self, user_id: str, *, page: Optional[int] = None, timeout: Optional[float] = None
    ) -> Iterator[Row]:
        """All rows of a user's list.

        Args:
            user_id: Whose rows.
            page: Rows of one page; absent: all come in one.
            timeout: Seconds for each page; absent: the client's.
        """
        cursor: Optional[str] = None
        while True:
            reply = self.list(user_id, limit=page, cursor=cursor, timeout=timeout)
            yield from reply.items
            cursor = reply.next_cursor
            if cursor is None:
                return

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
    ) -> Iterator[Conversation]:
        """All conversations of a user that pass the filters of `conversations`.

        Args:
            page: Conversations of one page, 1 to 200; absent: 50.
            timeout: Seconds for each page; absent: the client's.
        """
        cursor: Optional[str] = None
        while True:
            reply = self.conversations(
                user_id,
                limit=page,
                cursor=cursor,
                unread_only=unread_only,
                type=type,
                hidden=hidden,
                active_since=active_since,
                timeout=timeout,
            )
            yield from reply.items
            cursor = reply.next_cursor
            if cursor is None:
                return

    def each_member(
        self, chat_id: str, *, page: Optional[int] = None, timeout: Optional[float] = None
    ) -> Iterator[Member]:
        """All members of a chat, in join order.

        Args:
            chat_id: The chat.
            page: Members of one page, 1 to 10000; absent: 10000.
            timeout: Seconds for each page; absent: the client's.
        """
        cursor: Optional[str] = None
        while True:
            reply = self.members(chat_id, limit=page, cursor=cursor, timeout=timeout)
            yield from reply.items
            cursor = reply.next_cursor
            if cursor is None:
                return

    def export_pages(
        self, *, page: Optional[int] = None, timeout: Optional[float] = None
    ) -> Iterator[ExportReply]:
        """All chats and members, page by page, as `import_` takes them.

        Args:
            page: Lines of one page, 1 to 1000; absent: 1000.
            timeout: Seconds for each page; absent: the client's.
        """
        cursor: Optional[str] = None
        while True:
            reply = self.export(cursor=cursor, limit=page, timeout=timeout)
            yield reply
            cursor = reply.next_cursor
            if cursor is None:
                return

    def sync_pages(
        self,
        user_id: str,
        since: Optional[Since] = None,
        *,
        page: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> Iterator[SyncReply]:
        """What changed in a user's list, page by page, until there is no more.

        Take the items of a page, and keep `Since(reply.log, reply.version)` with them: the next
        `sync_pages` continues there. If `reply.reset` is true, forget all rows first.

        Args:
            user_id: Whose changes.
            since: From the last page that was taken; absent: a listing from the start.
            page: Changes of one page, 1 to 1000; absent: 1000.
            timeout: Seconds for each page; absent: the client's.
        """
        while True:
            reply = self.sync(user_id, since=since, limit=page, timeout=timeout)
            yield reply
            since = Since(reply.log, reply.version)
            if not reply.more:
                return
