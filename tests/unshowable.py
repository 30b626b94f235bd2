"""Values and errors that cannot be shown, or not in a few words."""

from __future__ import annotations


class Loud:
    """Has a ``repr`` of a million characters."""

    def __repr__(self) -> str:
        return "x" * 1_000_000


class Broken:
    """Has no ``repr``."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class MuteError(Exception):
    """Has neither text nor ``repr``."""

    def __str__(self) -> str:
        raise RuntimeError("cannot be shown")

    __repr__ = __str__
