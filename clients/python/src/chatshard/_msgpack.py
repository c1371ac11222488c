"""MessagePack by hand: nil, booleans, integers, strings and arrays, which is all that the protocol
has.

The `read_...` functions take a buffer and a position, and return a value and the position behind
it. They raise `WireError` for another type. At the end of the buffer they raise one of
`READ_ERRORS`, or return a position behind the end, which the caller compares with the end of the
frame. So nothing is allocated by a length that a server claims.
"""

from __future__ import annotations

import struct
from itertools import product
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

T = TypeVar("T")
NIL = 0xC0
INTEGER_MAX = 2**64 - 1


unpack_u64 = struct.Struct(">Q").unpack_from


class WireError(Exception):
    """The bytes are not what the protocol has at their place."""


# What reading can raise.
READ_ERRORS = (WireError, IndexError, UnicodeDecodeError, struct.error)


def read_int(d: bytes, p: int) -> Tuple[int, int]:
    """Reads an integer of any width. No value of the protocol is negative."""
    marker = d[p]
    if marker < 0x80:
        return marker, p + 1
    if marker == 0xCF:
        value: int = unpack_u64(d, p + 1)[0]
        return value, p + 9
    if marker == 0xCD:
        return d[p + 1] << 8 | d[p + 2], p + 3
    if 0xCC <= marker <= 0xD3:
        width = 1 << (marker & 3)
        end = p + 1 + width
        if end > len(d):
            raise IndexError
        value = int.from_bytes(d[p + 1 : end], "big", signed=marker >= 0xD0)
        if value >= 0:
            return value, end
    raise WireError(f"expected an integer from 0, found the byte {marker:02x}")


def read_str(d: bytes, p: int) -> Tuple[str, int]:
    """Reads a string of any width."""
    marker = d[p]
    if 0xA0 <= marker <= 0xBF:
        start, length = p + 1, marker & 0x1F
    elif 0xD9 <= marker <= 0xDB:
        start = p + 1 + (1 << (marker - 0xD9))
        length = int.from_bytes(d[p + 1 : start], "big")
    else:
        raise WireError(f"expected a string, found the byte {marker:02x}")
    end = start + length
    if end > len(d):
        raise IndexError
    return d[start:end].decode(), end


def read_array(d: bytes, p: int) -> Tuple[int, int]:
    """Reads the head of an array: how many elements follow."""
    marker = d[p]
    if 0x90 <= marker <= 0x9F:
        return marker & 0x0F, p + 1
    if marker == 0xDC:
        return (d[p + 1] << 8) | d[p + 2], p + 3
    if marker == 0xDD:
        return (d[p + 1] << 24) | (d[p + 2] << 16) | (d[p + 3] << 8) | d[p + 4], p + 5
    raise WireError(f"expected an array, found the byte {marker:02x}")


def read_bool(d: bytes, p: int) -> Tuple[bool, int]:
    marker = d[p]
    if marker == 0xC3:
        return True, p + 1
    if marker == 0xC2:
        return False, p + 1
    raise WireError(f"expected a boolean, found the byte {marker:02x}")


def read_flag(d: bytes, p: int) -> Tuple[bool, int]:
    """Reads an integer that is 0 or 1."""
    value, p = read_int(d, p)
    if value > 1:
        raise WireError(f"expected a flag, found {value}")
    return value == 1, p


def read_nil(d: bytes, p: int) -> Tuple[None, int]:
    if d[p] != NIL:
        raise WireError(f"expected nil, found the byte {d[p]:02x}")
    return None, p + 1


def read_optional(
    read: Callable[[bytes, int], Tuple[T, int]], d: bytes, p: int
) -> Tuple[Optional[T], int]:
    if d[p] == NIL:
        return None, p + 1
    return read(d, p)


def read_list(
    read: Callable[[bytes, int], Tuple[T, int]], d: bytes, p: int
) -> Tuple[Tuple[T, ...], int]:
    count, p = read_array(d, p)
    items: List[T] = []
    for _ in range(count):
        item, p = read(d, p)
        items.append(item)
    return tuple(items), p


def read_fields(d: bytes, p: int, known: int) -> Tuple[int, int]:
    """Reads the head of a record. Returns how many elements follow the known ones."""
    count, p = read_array(d, p)
    if count < known:
        raise WireError(f"expected an array of {known}, found one of {count}")
    return count - known, p


def _flags(count: int) -> Dict[bytes, Tuple[bool, ...]]:
    return {bytes(bits): tuple(bit == 1 for bit in bits) for bits in product((0, 1), repeat=count)}


# Flags that follow each other, by their bytes: one look-up reads them all.
FLAGS2, FLAGS3, FLAGS4 = _flags(2), _flags(3), _flags(4)


def read_flags(d: bytes, p: int, count: int) -> Tuple[Tuple[bool, ...], int]:
    """Reads flags that follow each other, in forms that `FLAGS2` and its kin do not have."""
    flags = []
    for _ in range(count):
        flag, p = read_flag(d, p)
        flags.append(flag)
    return tuple(flags), p


def skip(d: bytes, p: int, count: int = 1) -> int:
    """Passes over values, however deep they nest. Returns the position behind them."""
    while count:
        count -= 1
        marker = d[p]
        if marker < 0x80 or marker >= 0xE0 or marker in (NIL, 0xC2, 0xC3):
            p += 1
        elif 0x90 <= marker <= 0x9F or marker in (0xDC, 0xDD):
            elements, p = read_array(d, p)
            count += elements
        elif 0xCC <= marker <= 0xD3:
            p += 1 + (1 << (marker & 3))
        else:
            _, p = read_str(d, p)
    return p


def array_head(count: int) -> bytes:
    """Encodes the head of an array."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def int_bytes(value: int) -> bytes:
    """Encodes an integer in its shortest form."""
    if value < 0 or value > INTEGER_MAX:
        raise ValueError(f"an integer must be from 0 to 2^64-1, this one is {value}")
    if value < 128:
        return bytes((value,))
    for marker, width in ((b"\xcc", 1), (b"\xcd", 2), (b"\xce", 4)):
        if value < 1 << (8 * width):
            return marker + value.to_bytes(width, "big")
    return b"\xcf" + value.to_bytes(8, "big")


def str_head(length: int) -> bytes:
    """Encodes the head of a string of so many bytes."""
    if length < 32:
        return bytes((0xA0 | length,))
    for marker, width in ((b"\xd9", 1), (b"\xda", 2)):
        if length < 1 << (8 * width):
            return marker + length.to_bytes(width, "big")
    return b"\xdb" + length.to_bytes(4, "big")


# Heads of the strings that have one byte of it, and integers of one byte.
_FIXSTR = tuple(str_head(length) for length in range(32))
_FIXINT = tuple(bytes((value,)) for value in range(128))


def pack(values: Sequence[Any], parts: List[bytes]) -> None:
    """Appends the encoded values, in their shortest form.

    Raises `TypeError` for another type than the protocol has, and `ValueError` for an integer out
    of range or a string that is not UTF-8.
    """
    append = parts.append
    for value in values:
        if value is None:
            append(b"\xc0")
            continue
        kind = type(value)
        if kind is str:
            text = value.encode()
            length = len(text)
            append(_FIXSTR[length] if length < 32 else str_head(length))
            append(text)
        elif kind is int:
            append(_FIXINT[value] if 0 <= value < 128 else int_bytes(value))
        elif kind is bool:
            append(b"\xc3" if value else b"\xc2")
        elif kind is list or kind is tuple:
            append(array_head(len(value)))
            pack(value, parts)
        elif isinstance(value, int):
            append(int_bytes(int(value)))
        elif isinstance(value, str):
            pack((str.__str__(value),), parts)
        else:
            raise TypeError(f"the protocol has no value of the type {kind.__name__}")
