"""The words that all URLs of remote executors understand."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cascade.model.shown.urls import shown_url


def options_of(url: str, own: Collection[str] = ()) -> tuple[str, dict[str, Any], dict[str, str]]:
    """The parts of the URL of a remote executor.

    Args:
        url: The URL, such as ``dask://host:8786?tasks=sync`` or ``dask:local?workers=2``.
        own: Options that this kind of executor understands beside ``tasks`` and ``keep_above``.

    Returns:
        The URL without its query, the arguments of ``RemoteExecutor`` that it gives, and the options among *own*.

    Raises:
        ValueError: If an option is unknown, is given twice, or has no value of its kind.
    """
    parts = urlsplit(url)
    given: dict[str, str] = {}
    known = ("tasks", "keep_above", *own)
    for name, text in parse_qsl(parts.query, keep_blank_values=True, separator="&"):
        if name not in known:
            raise ValueError(f"{shown_url(url)!r} has an unknown option {name!r}; known are: {', '.join(known)}")
        if name in given:
            raise ValueError(f"{shown_url(url)!r} gives the option {name!r} twice")
        given[name] = text
    common: dict[str, Any] = {}
    if "tasks" in given:
        common["tasks"] = given.pop("tasks")
    if "keep_above" in given:
        common["keep_above"] = number("keep_above", given.pop("keep_above"), float)
    return url.partition("?")[0], common, given


def number(option: str, text: str, kind: Callable[[str], float], least: float = 0) -> Any:
    """The number *text*, the value of *option*.

    Raises:
        ValueError: If it is none, or less than *least*.
    """
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not value >= least:
        raise ValueError(f"{option}={text!r:.100} is no number from {least:g}")
    return value
