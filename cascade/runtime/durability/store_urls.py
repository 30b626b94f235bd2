"""Finds the backend that ``state=`` names."""

from __future__ import annotations

from typing import Any, Final

from cascade.model.errors import InputError, shown_url
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.foundation.lazy_import import adapter

_ADAPTERS: Final = {
    "memory": "state.memory",
    "sqlite": "state.sqlite",
    "redis": "state.redis",
    "rediss": "state.redis",
}
_KNOWN: Final = "memory:, sqlite:///path, redis://host:port/number"


def check_state(state: object) -> None:
    """Check that *state* is ``None``, a known URL, or a function from run id to backend.

    Raises:
        ImportError: If the library of its store is not installed.
        InputError: If it is a URL of no known kind, or one that its store does not understand.
        TypeError: If it is neither a URL nor a factory.
    """
    if state is None or (callable(state) and not isinstance(state, str)):
        return
    if not isinstance(state, str):
        raise TypeError(
            f"state is a URL, a function from run id to backend, or None, not of type {type(state).__name__}"
        )
    scheme, separator, _ = state.partition(":")
    if not separator or scheme not in _ADAPTERS:
        raise InputError([f"unknown state URL {shown_url(state)!r}; known are: {_KNOWN}"])
    try:
        of_url(state, "check_url")(state)
    except ValueError as error:
        raise InputError([str(error)]) from None


def of_url(url: str, name: str) -> Any:
    """The function called *name* of the adapter for *url*, which has been checked."""
    return adapter(f"{_ADAPTERS[url.partition(':')[0]]}:{name}")


def open_backend(state: Any, run_id: str) -> StateBackend | None:
    """The backend of the run *run_id*; ``None`` if *state* is ``None``.

    Raises:
        TypeError: If the function *state* returns something else.
    """
    if state is None:
        return None
    if isinstance(state, str):
        backend: StateBackend = of_url(state, "open_url")(state, run_id)
        return backend
    made = state(run_id)
    if not isinstance(made, StateBackend):
        raise TypeError(f"the state factory returned {made!r:.100}, which is no StateBackend")
    return made
