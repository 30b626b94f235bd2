"""Copies of one call: what holds when a flow reaches several of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from cascade.model.errors import GraphError
from cascade.model.lazies import LazyResult
from cascade.model.policies import EXCLUSIVE_POLICIES, UNSET, Policies


def root_of(call: LazyResult[Any]) -> LazyResult[Any]:
    """The call that *call* is a chained copy of; itself, if it is none."""
    while call.parent is not None:
        call = call.parent
    return call


def _line(call: LazyResult[Any]) -> Iterator[LazyResult[Any]]:
    """*call* and what it was made from, nearest first."""
    link: LazyResult[Any] | None = call
    while link is not None:
        yield link
        link = link.parent


def merged_policies(copies: Sequence[LazyResult[Any]]) -> Policies:
    """What *copies* of one call say together.

    Predecessors unite and conditions conjoin. Of the other policies, a copy's word holds against that of those it
    descends from.

    Raises:
        GraphError: If two copies contradict each other and neither descends from the other.
    """
    older = {id(link) for copy in copies for link in list(_line(copy))[1:]}
    latest = [copy for copy in copies if id(copy) not in older]
    said = {name: _agreed(name, latest) for name in EXCLUSIVE_POLICIES}
    return attrs.evolve(
        Policies(),
        **said,
        conditions=_united(copy.own.conditions for copy in latest),
        predecessors=_united(copy.own.predecessors for copy in latest),
    )


def _united(groups: Iterator[tuple[Any, ...]]) -> tuple[Any, ...]:
    by_identity = {id(member): member for group in groups for member in group}
    return tuple(by_identity.values())


def _agreed(name: str, copies: Sequence[LazyResult[Any]]) -> Any:
    """The value of policy *name* in all *copies*."""
    speakers = {id(speaker): speaker for copy in copies if (speaker := _speaker(name, copy)) is not None}
    overruled = {id(link) for speaker in speakers.values() for link in list(_line(speaker))[1:]}
    values = [getattr(s.own, name) for key, s in speakers.items() if key not in overruled]
    for value in values[1:]:
        if value is not values[0] and value != values[0]:
            raise GraphError(
                f"two copies of the same call of {copies[0].task.name!r} contradict each other: {name} is "
                f"{values[0]!r} in one and {value!r} in another; chain one from the other, or call the task twice"
            )
    return values[0] if values else UNSET


def _speaker(name: str, copy: LazyResult[Any]) -> LazyResult[Any] | None:
    """The link in the line of *copy* that said its value of policy *name*."""
    value = getattr(copy.own, name)
    if value is UNSET:
        return None
    speaker = copy
    for link in _line(copy):
        if getattr(link.own, name) is not value:
            break
        speaker = link
    return speaker
