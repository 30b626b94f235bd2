"""Labels: what users call nodes, shown beside their ids. They change neither ids nor digests."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from string import Formatter
from typing import Any, Final

import attrs

from cascade.model.shown.secrets import redacted

# Characters of a label that are shown, at most.
_SHOWN: Final = 100
# The name that a replacement field begins with: "row" in "{row.path[0]}".
_ROOT: Final = re.compile(r"[^.\[]*")


@attrs.frozen(repr=False)
class Label:
    """What a call, or a map and its items, are called.

    Attributes:
        own: The name of the call or map; ``None`` if it has none.
        items: Of a map, a format over its columns that names each item; ``None``: items are called as the map is.
    """

    own: str | None = None
    items: str | None = None

    def text(self) -> str | None:
        """The name of the call or map as it is shown: at most 100 characters, without secrets."""
        return None if self.own is None else _cut(redacted(self.own))

    def text_of_item(self, values: Mapping[str, Any]) -> str | None:
        """The name of an item of a map as it is shown; never raises.

        Args:
            values: What the item has of its own, by column.
        """
        if self.items is None:
            return self.text()
        try:
            text = self.items.format_map(values)
        except Exception as error:  # formatting is user code, and a label must not fail a node
            text = f"{self.items}: {type(error).__name__}"
        return _cut(redacted(text))

    def __repr__(self) -> str:
        """As error messages quote it."""
        return repr(self.items if self.own is None else self.own)


def checked_name(text: object) -> str | None:
    """*text* if it can be the name of a call.

    Raises:
        TypeError: If it is neither text nor ``None``.
        ValueError: If it is empty.
    """
    if text is None:
        return None
    if not isinstance(text, str):
        raise TypeError(f"a name is a text, or None for no name, not {text!r:.100}")
    if not text.strip():
        raise ValueError("a name must not be empty; None removes it")
    return str(text)


def checked_format(task_name: str, text: str, columns: Collection[str]) -> str:
    """*text* if it is a format over *columns*.

    Raises:
        ValueError: If it is empty, is no format, or has a field that is no column.
    """
    try:
        fields = list(_fields(text))
    except ValueError as error:
        raise ValueError(f"{task_name}.map(): name={text!r:.100} is no format: {error}") from None
    for field in fields:
        if field not in columns:
            known = ", ".join(f"{{{column}}}" for column in columns)
            raise ValueError(
                f"{task_name}.map(): name={text!r:.100} has the field {{{field}}}, which is no column; "
                f"use {known}, and {{{{ for a brace"
            )
    if not text.strip():
        raise ValueError(f"{task_name}.map(): name= must not be empty; leave it out for no name")
    return str(text)


def labelled(node_id: str, label: str | None) -> str:
    """*node_id* as people are shown it, with its label if it has one: ``fetch#2 (july)``."""
    return node_id if label is None else f"{node_id} ({label})"


def _fields(text: str) -> Iterator[str]:
    """The names that the replacement fields of the format *text* begin with, also those within others."""
    for _, field, spec, _ in Formatter().parse(text):
        if field is not None:
            yield _ROOT.match(field)[0]  # type: ignore[index]  # it matches anything
        if spec:
            yield from _fields(spec)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
