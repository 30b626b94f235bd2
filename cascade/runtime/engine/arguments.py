"""What a caller gives for a run, checked."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from cascade.model.errors import InputError


def new_run_id() -> str:
    """An id that sorts by time and does not occur twice."""
    return f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(4)}"


def checked_params(params: object) -> dict[str, Any]:
    """*params* as a dict; empty for ``None``.

    Raises:
        InputError: If it is no mapping from names.
    """
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise InputError([f"params is a mapping from name to value, not of type {type(params).__name__}"])
    for name in params:
        if not isinstance(name, str):
            raise InputError([f"names in params are strings, not {name!r:.100}"])
    return dict(params)


def checked_run_id(run_id: object) -> str:
    """*run_id*, or a new one for ``None``.

    Raises:
        InputError: If it is no printable string of 1 to 200 characters.
    """
    if run_id is None:
        return new_run_id()
    if not isinstance(run_id, str) or not run_id or len(run_id) > 200 or not run_id.isprintable():
        raise InputError([f"run_id is a printable string of 1 to 200 characters, not {run_id!r:.100}"])
    return run_id
