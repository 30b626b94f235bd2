"""Bytes that stand for plain values, and the hash of a sequence of such bytes.

Plain values stand in a digest as ``marshal`` writes them, which is five times as fast as a hash of each.
"""

from __future__ import annotations

import marshal
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from operator import ne
from typing import Any, Final

DIGEST_BYTES: Final = 16

# Values that contain nothing and whose class cannot say more about them. The most frequent case by far, so it is
# one membership test.
PLAIN: Final[frozenset[type]] = frozenset({
    type(None), bool, int, float, complex, str, bytes, type(Ellipsis),
})  # fmt: skip

# The last format of marshal that writes the same bytes for equal values: from 3 on it notes which objects are
# shared and which strings are interned. Its bytes say the type too.
_FORMAT: Final = 2
# Longer encodings are hashed.
_MOST_RAW: Final = 64
_NAN: Final = marshal.dumps(float("nan"), _FORMAT)


def plain(value: Any) -> bytes:
    """What stands for *value*, whose class is one of ``PLAIN``: short, and never as long as a digest."""
    if value != value:  # there are many NaNs, which all mean the same
        return _NAN if type(value) is float else combine("nan", [repr(value).encode()])
    data = marshal.dumps(value, _FORMAT)
    if len(data) > _MOST_RAW or len(data) == DIGEST_BYTES:
        return blake2b(data, digest_size=DIGEST_BYTES).digest()
    return data


# Items of a flat sequence that are encoded at once.
CHUNK: Final = 16_384


def is_flat(items: Iterable[Any]) -> bool:
    """Whether all *items* are plain."""
    return PLAIN.issuperset(map(type, items))


def chunk(items: Sequence[Any]) -> bytes:
    """What stands for a list of plain *items*, at most ``CHUNK`` of them."""
    types = set(map(type, items))
    if (float in types or complex in types) and any(map(ne, items, items)):
        return combine("chunk", map(plain, items))
    return marshal.dumps(list(items), _FORMAT)


def chunks(items: Sequence[Any]) -> Iterator[bytes | None]:
    """What stands for *items*, piece by piece; ``None`` in the place of a piece that is not flat."""
    for start in range(0, len(items), CHUNK):
        piece = items[start : start + CHUNK]
        yield chunk(piece) if is_flat(piece) else None


# Parts that are longer are not copied.
_MOST_JOINED: Final = 4096
LENGTHS: Final = [length.to_bytes(8, "little") for length in range(_MOST_JOINED)]
# By tag, what every digest with that tag begins with. To copy a hasher takes half as long as to make one.
_BEGUN: Final[dict[str, blake2b]] = {}


def framed(part: bytes) -> bytes:
    """*part* with its length before it, as digests contain it."""
    return len(part).to_bytes(8, "little") + part


def begun(tag: str, *parts: bytes) -> blake2b:
    """A hasher that is given *tag* and *parts* as :func:`combine` does; to be copied, and given further parts."""
    hasher = blake2b(framed(tag.encode()), digest_size=DIGEST_BYTES)
    for part in parts:
        hasher.update(framed(part))
    return hasher


def combine(tag: str, parts: Iterable[bytes | memoryview]) -> bytes:
    """One digest of a tagged sequence of byte strings, each prefixed with its length.

    Args:
        tag: Says what is hashed; one of a few.
        parts: The byte strings; a memory view must be one of bytes.
    """
    known = _BEGUN.get(tag)
    if known is None:
        known = _BEGUN[tag] = begun(tag)
    hasher = known.copy()
    joined: list[bytes | memoryview] = []  # hashing many small parts one by one takes three times as long
    for part in parts:
        length = len(part)
        if length < _MOST_JOINED:
            joined += (LENGTHS[length], part)
            continue
        hasher.update(b"".join(joined) + length.to_bytes(8, "little"))
        hasher.update(part)
        joined.clear()
    hasher.update(b"".join(joined))
    return hasher.digest()
