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

__all__ = ["AsyncItems"]

Item = TypeVar("Item")
Place = TypeVar("Place")


# The items of a page, and where the next one begins; `None` behind the last one.
Page = Tuple[Sequence[Item], Optional[Place]]


class AsyncItems(Generic[Item, Place], AsyncIterator[Item]):
    """Items of several pages, for `async for`. It holds no connection between pages."""

    def __init__(
        self,
        fetch: Callable[[Optional[Place]], Awaitable[Page[Item, Place]]],
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


def blocking_items(
    fetch: Callable[[Optional[Place]], Page[Item, Place]],
    place: Optional[Place] = None,
) -> Iterator[Item]:
    """Items of several pages, for `for`."""
    while True:
        items, place = fetch(place)
        yield from items
        if place is None:
            return
