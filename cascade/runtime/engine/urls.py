"""What a word or URL of a setting stands for: ``state=`` (stores), ``control=`` (planes), ``executor=``."""

from __future__ import annotations

import os
from typing import Any, Final, cast

from cascade.model.errors import InputError
from cascade.model.shown.urls import shown_url
from cascade.runtime.control.connector import Connector
from cascade.runtime.control.plane import ControlPlane
from cascade.runtime.durability.backend import StateBackend
from cascade.runtime.foundation.lazy_import import adapter
from cascade.runtime.foundation.remote_executor import RemoteExecutor

# By scheme: the module that opens runs.
_STORES: Final = {
    "memory": "state.memory",
    "sqlite": "state.sqlite",
    "redis": "state.redis",
    "rediss": "state.redis",
}
_KNOWN_STORES: Final = "memory:, sqlite:///path, redis://host:port/number"
# By scheme: the package that reads histories, of stores that outlive the process.
_HISTORIES: Final = {
    "sqlite": "state.sqlite",
    "redis": "state.redis",
    "rediss": "state.redis",
}
_CONNECTORS: Final = {
    "local": "connectors.local:from_url",
    "mqtt": "connectors.mqtt:from_url",
    "mqtts": "connectors.mqtt:from_url",
}
_KNOWN_CONNECTORS: Final = "local:, mqtt://HOST, mqtts://HOST"
_EXECUTORS: Final = {"dask": "remote.dask:from_url", "ray": "remote.ray:from_url"}
_KNOWN_EXECUTORS: Final = "dask:local, dask://HOST:PORT, ray:local, ray://HOST:PORT"


def _scheme(url: str) -> str:
    """The scheme of *url*; empty if there is none."""
    scheme, separator, _ = url.partition(":")
    return scheme if separator else ""


# -- stores ------------------------------------------------------------------------------------------------------


def check_state(state: object) -> None:
    """See that *state* names a store: a URL, a function from run id to backend, or ``None`` for no store.

    Raises:
        ImportError: If the library of the store is not installed.
        InputError: If the URL is invalid.
        TypeError: If it is none of these.
    """
    if state is None or (callable(state) and not isinstance(state, str)):
        return
    if not isinstance(state, str):
        raise TypeError(
            f"state is a URL, a function from run id to backend, or None, not of type {type(state).__name__}"
        )
    scheme = _scheme(state)
    if scheme not in _STORES:
        raise InputError([f"unknown state URL {shown_url(state)!r}; known are: {_KNOWN_STORES}"])
    try:
        adapter(f"{_STORES[scheme]}:check_url")(state)
    except ValueError as error:
        raise InputError([str(error)]) from None


def open_backend(state: Any, run_id: str) -> StateBackend | None:
    """The backend of the run *run_id* in the store *state*, which has been checked; ``None`` if that is ``None``.

    Raises:
        TypeError: If *state* is a function that returns something else.
    """
    if state is None:
        return None
    if isinstance(state, str):
        backend: StateBackend = adapter(f"{_STORES[_scheme(state)]}:open_url")(state, run_id)
        return backend
    made = state(run_id)
    if not isinstance(made, StateBackend):
        raise TypeError(f"the state factory returned {made!r:.100}, which is no StateBackend")
    return made


def history_reader(state: str, name: str, part: str = "ledger") -> Any:
    """The function *name* of the adapter that reads the history of the store at the URL *state*.

    Args:
        state: The URL.
        name: The function.
        part: ``"upkeep"`` for the adapter that keeps the store in order.

    Raises:
        ImportError: If the library of the store is not installed.
        InputError: If the URL is invalid, or its store does not outlive the process.
    """
    check_state(state)
    if not outlives_process(state):
        raise InputError(
            [f"{shown_url(state)!r} keeps nothing once the process has ended; give sqlite:///... or redis://..."]
        )
    return adapter(f"{_HISTORIES[_scheme(state)]}.{part}:{name}")


def outlives_process(state: str) -> bool:
    """Whether the store at the URL *state* is there when the process has ended."""
    return _scheme(state) in _HISTORIES


def from_folder(state: str, folder: str) -> str:
    """The URL *state* for use in any folder: a path in it, which may be relative to *folder*, is made absolute."""
    if not state.startswith("sqlite:///"):
        return state
    return f"sqlite:///{os.path.normpath(os.path.join(folder, state.removeprefix('sqlite:///')))}"


# -- executors ---------------------------------------------------------------------------------------------------


def remote_executor(executor: object) -> RemoteExecutor | None:
    """The remote executor that *executor* is, or is a URL of; ``None`` if it is neither.

    Raises:
        ImportError: If the library of the executor is not installed.
        InputError: If the URL is invalid.
    """
    if not isinstance(executor, str):
        return executor if isinstance(executor, RemoteExecutor) else None
    scheme = _scheme(executor)
    if scheme not in _EXECUTORS:
        raise InputError([f"unknown executor URL {shown_url(executor)!r:.100}; known are: {_KNOWN_EXECUTORS}"])
    try:
        made: RemoteExecutor = adapter(_EXECUTORS[scheme])(executor)
    except ValueError as error:
        raise InputError([f"executor URL: {error}"]) from error
    return made


# -- control -----------------------------------------------------------------------------------------------------


def open_control(control: object) -> ControlPlane:
    """The plane for *control*: a plane, a connector or its URL; a plane of its own for ``None``.

    Raises:
        ImportError: If the library of the connector is not installed.
        InputError: If the URL is invalid.
        TypeError: If it is none of these.
    """
    if control is None:
        return ControlPlane()
    if isinstance(control, ControlPlane):
        return control
    if isinstance(control, str):
        return ControlPlane(open_connector(control))
    if all(callable(getattr(control, name, None)) for name in ("connect", "publish", "subscribe", "disconnect")):
        return ControlPlane(cast("Connector", control))
    raise TypeError(
        f"control is a cascade.control.ControlPlane, a Connector or a URL, not of type {type(control).__name__}"
    )


def open_connector(url: str) -> Connector:
    """The connector for *url*: ``local:``, ``local:PATH``, ``mqtt://...`` or ``mqtts://...``.

    Raises:
        ImportError: If its library is not installed.
        InputError: If the URL is invalid.
    """
    scheme = _scheme(url)
    if scheme not in _CONNECTORS:
        raise InputError([f"unknown control URL {shown_url(url)!r:.100}; known are: {_KNOWN_CONNECTORS}"])
    try:
        connector: Connector = adapter(_CONNECTORS[scheme])(url)
    except ValueError as error:
        raise InputError([f"control URL: {error}"]) from error
    return connector
