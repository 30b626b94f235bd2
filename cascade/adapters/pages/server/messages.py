"""Requests and answers of the page, apart from how they are sent."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import attrs

# What every answer says: no guessing of types, no addresses to others, no copies, no frames.
ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}
# Fields in the query of a request.
_MOST_FIELDS: Final = 20


@attrs.frozen
class Request:
    """A request, read whole.

    Attributes:
        method: Such as ``"GET"``.
        path: The path, as it was written.
        query: What stands after the ``?``, decoded; the last one of each name.
        headers: Names in lower case; the last one of each name.
        body: The body.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    @classmethod
    def of(cls, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
        """The request for *target*, which is a path, with a query or without one.

        Raises:
            ValueError: If the query has too many fields.
        """
        path, _, query = target.partition("?")
        try:
            fields = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
        except ValueError as error:
            raise ValueError(f"the query has more than {_MOST_FIELDS} fields") from error
        return cls(method, path, fields, headers, body)

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies, by name."""
        pairs = (part.strip().partition("=") for part in self.headers.get("cookie", "").split(";"))
        return {name: value for name, _, value in pairs}


@attrs.frozen
class Answer:
    """An answer.

    Attributes:
        status: Such as 200.
        body: The body.
        kind: Its media type.
        headers: Headers besides those that every answer has.
    """

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Updates:
    """An answer that goes on: server-sent events.

    Attributes:
        messages: Each is a whole event, or a comment.
    """

    messages: AsyncGenerator[bytes, None]


def text(status: int, words: str, **headers: str) -> Answer:
    """An answer of one line for people; a ``_`` in the name of a header stands for ``-``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, f"{words}\n".encode(), headers=named)


def data(status: int, value: Any) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(value, separators=(",", ":")).encode(), "application/json")


def event(name: str, body: bytes) -> bytes:
    """One server-sent event; *body* is JSON, so it has no line ends."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), body)


# Keeps the connection from being taken for dead, and finds out whether it is.
PING: Final = b": still here\n\n"
