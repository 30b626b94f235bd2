"""Kinds that pydantic checks: its models, its types, and types with its constraints."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from cascade.model.typed.kinds import Mismatch

# Of what is wrong with one value, so much is told.
_SHOWN: Final = 3


def checker(kind: Any) -> Callable[[Any], Any]:
    """A function that gives what pydantic makes of a value, and raises :class:`Mismatch` if it refuses."""
    adapter = TypeAdapter(kind)

    def check(value: Any) -> Any:
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            raise Mismatch("; ".join(_reasons(error))) from None

    return check


def _reasons(error: ValidationError) -> list[str]:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return [
        ": ".join([*filter(None, [".".join(map(str, part["loc"]))]), part["msg"]]) for part in problems[:_SHOWN]
    ]


def from_text(text: str, kind: Any) -> Any:
    """What pydantic makes of *text*: of what it says as JSON, if it is an object or a list.

    Raises:
        Mismatch: If it refuses.
    """
    value: Any = text
    if text.lstrip()[:1] in ("{", "["):
        with suppress(ValueError):  # it only looks like JSON
            value = json.loads(text)
    return checker(kind)(value)
