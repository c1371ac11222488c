"""A command, and how its arguments become bytes."""

from __future__ import annotations

from typing import Any, Callable, Generic, Iterable, List, Optional, Tuple, TypeVar

from . import _msgpack

T = TypeVar("T")


class Command(Generic[T]):
    """A command of the protocol, with the type of its reply."""

    __slots__ = ("_head", "is_read", "key_at", "name", "read")

    def __init__(
        self,
        name: str,
        code: int,
        arguments: int,
        is_read: bool,
        key_at: int,
        read: Callable[[bytes, int], Tuple[T, int]],
    ) -> None:
        self.name = name
        self.is_read = is_read
        # The place of `idempotency_key` in the arguments; -1 if the command takes none.
        self.key_at = key_at
        self.read = read
        self._head = _msgpack.int_bytes(code) + _msgpack.array_head(arguments)

    def encode(self, arguments: List[Any]) -> bytes:
        """Encodes what follows the id of a request. Raises `TypeError` and `ValueError`."""
        parts = [self._head]
        _msgpack.pack(arguments, parts)
        return b"".join(parts)


def read_empty(d: bytes, p: int) -> Tuple[None, int]:
    """Reads a reply without fields."""
    more, p = _msgpack.read_array(d, p)
    return None, _msgpack.skip(d, p, more)


def flag_value(value: Optional[bool]) -> Optional[int]:
    """A flag is 0 or 1 on the wire."""
    if value is not None and not isinstance(value, int):
        raise TypeError(f"a flag is a bool, this one is a {type(value).__name__}")
    return None if value is None else int(value)


def list_value(name: str, values: Optional[Iterable[Any]]) -> Optional[List[Any]]:
    """The items of a list as values of the wire."""
    if values is None:
        return None
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{name}: expected several, found a single {type(values).__name__}")
    return [value if isinstance(value, str) else record_value(name, value) for value in values]


def record_value(name: str, value: Any) -> Optional[List[Any]]:
    """The fields of a record as values of the wire."""
    if value is None:
        return None
    try:
        return value._values()  # type: ignore[no-any-return]
    except AttributeError:
        kind = type(value).__name__
        raise TypeError(f"{name}: no value of the type {kind} belongs here") from None
