"""xxh64, and the slots of keys."""

from __future__ import annotations

from typing import Dict, List

_MASK = 2**64 - 1
_P1 = 0x9E3779B185EBCA87
_P2 = 0xC2B2AE3D27D4EB4F
_P3 = 0x165667B19E3779F9
_P4 = 0x85EBCA77C2B2AE63
_P5 = 0x27D4EB2F165667C5
# Slots that are kept, because a hash costs several microseconds in Python.
KEPT_MAX = 16384


def _round(lane: int, word: int) -> int:
    lane = (lane + word * _P2) & _MASK
    return (((lane << 31) | (lane >> 33)) * _P1) & _MASK


def xxh64(data: bytes, seed: int = 0) -> int:
    """The 64-bit xxHash of the bytes."""
    length, p = len(data), 0
    if length >= 32:
        lanes: List[int] = [seed + _P1 + _P2, seed + _P2, seed, seed - _P1]
        lanes = [lane & _MASK for lane in lanes]
        while p + 32 <= length:
            for i in range(4):
                word = int.from_bytes(data[p + 8 * i : p + 8 * i + 8], "little")
                lanes[i] = _round(lanes[i], word)
            p += 32
        rotated = zip(lanes, (1, 7, 12, 18))
        h = sum(((lane << by) | (lane >> (64 - by))) & _MASK for lane, by in rotated) & _MASK
        for lane in lanes:
            h = ((h ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        h = (seed + _P5) & _MASK
    h = (h + length) & _MASK
    while p + 8 <= length:
        h ^= _round(0, int.from_bytes(data[p : p + 8], "little"))
        h = ((((h << 27) | (h >> 37)) & _MASK) * _P1 + _P4) & _MASK
        p += 8
    if p + 4 <= length:
        h ^= (int.from_bytes(data[p : p + 4], "little") * _P1) & _MASK
        h = ((((h << 23) | (h >> 41)) & _MASK) * _P2 + _P3) & _MASK
        p += 4
    for byte in data[p:]:
        h ^= byte * _P5 & _MASK
        h = ((((h << 11) | (h >> 53)) & _MASK) * _P1) & _MASK
    h = ((h ^ (h >> 33)) * _P2) & _MASK
    h = ((h ^ (h >> 29)) * _P3) & _MASK
    return h ^ (h >> 32)


class Slots:
    """The slots of keys on one node. Keeps those of at most `KEPT_MAX` keys."""

    def __init__(self, seed: int, slots: int) -> None:
        self._seed = seed
        self._slots = slots
        self._kept: Dict[str, int] = {}

    def of(self, key: str) -> int:
        slot = self._kept.get(key)
        if slot is None:
            slot = xxh64(key.encode(), self._seed) % self._slots
            if len(self._kept) >= KEPT_MAX:
                self._kept.clear()
            self._kept[key] = slot
        return slot
