"""Resources that an attempt claims here and of its worker, too, and the URLs that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cascade.adapters.remote.words import number, options_of
from cascade.runtime.foundation.remote_executor import RemoteCall


def cluster_of(url: str) -> tuple[str, int | None, dict[str, Any]]:
    """The parts of the URL of an executor on a cluster.

    Returns:
        The URL without its query, its option ``workers`` (``None``: not given), and the arguments that it has for
        the executor.

    Raises:
        ValueError: If an option is unknown, is given twice, or has no value of its kind.
    """
    place, arguments, own = options_of(url, ("workers", "resources"))
    if "resources" in own:
        arguments["remote_resources"] = _names_in(own["resources"])
    return place, number("workers", own["workers"], int, 1) if "workers" in own else None, arguments


def _names_in(text: str) -> dict[str, str]:
    """The names in the option ``resources=gpu:GPU,licence:LICENCE`` of a URL: ours, and those of the cluster.

    Raises:
        ValueError: If it is malformed.
    """
    names: dict[str, str] = {}
    for pair in text.split(","):
        ours, _, theirs = pair.partition(":")
        if not ours or not theirs:
            raise ValueError(f"resources={text!r:.100} is not of the form NAME:NAME_ON_THE_CLUSTER,...")
        names[ours] = theirs
    return names


def claimed(calls: Sequence[RemoteCall], names: Mapping[str, str]) -> dict[str, float]:
    """What *calls* claim of the cluster, by its names."""
    amounts = ((names[name], amount) for call in calls for name, amount in call.amounts.items() if name in names)
    return {name: float(amount) for name, amount in amounts}
