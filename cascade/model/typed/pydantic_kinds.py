"""Kinds that pydantic checks: its models, its types, and types with its constraints."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cascade.model.typed.kinds import Mismatch


def checked(value: Any, kind: Any) -> Any:
    """What pydantic makes of *value*.

    Raises:
        Mismatch: If it refuses.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        reasons = [
            f"{''.join(f'.{step}' for step in problem['loc']).lstrip('.')}: {problem['msg']}".lstrip(": ")
            for problem in found
        ]
        raise Mismatch("; ".join(reasons[:3])) from None


def from_text(text: str, kind: Any) -> Any:
    """What pydantic makes of *text*: of what it says as JSON, if it is an object or a list.

    Raises:
        Mismatch: If it refuses.
    """
    if text.lstrip()[:1] in ("{", "["):
        try:
            return checked(json.loads(text), kind)
        except ValueError as error:
            if isinstance(error, Mismatch):
                raise
    return checked(text, kind)
