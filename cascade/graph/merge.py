"""Copies of one call: what holds when a flow reaches several of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import attrs

from cascade.graph.nested import Steps
from cascade.model.errors import GraphError
from cascade.model.lazies import LazyResult
from cascade.model.placeholders import Placeholder
from cascade.model.policies import EXCLUSIVE_POLICIES, UNSET, Policies


def root_of(call: LazyResult[Any]) -> LazyResult[Any]:
    """The call that *call* is a chained copy of; itself, if it is none."""
    while call.parent is not None:
        call = call.parent
    return call


def identity_of(call: Placeholder) -> Placeholder:
    """What a call or router is known by in a graph: a chained copy by the call that it is a copy of."""
    if isinstance(call, LazyResult) and call.parent is not None:
        return root_of(call)
    return call


def _line(call: LazyResult[Any]) -> Iterator[LazyResult[Any]]:
    """*call* and what it was made from, nearest first."""
    link: LazyResult[Any] | None = call
    while link is not None:
        yield link
        link = link.parent


def merged_policies(copies: Sequence[LazyResult[Any]]) -> Policies:
    """What *copies* of one call say together.

    What the copies run after is united, and conditions conjoin. Of the other policies, a copy's word holds against
    that of those it descends from.

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
        after=_united(copy.own.after for copy in latest),
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


@attrs.define(eq=False)
class Copies:
    """The chained copies met of each call, and what they say together where there are several."""

    met: dict[Placeholder, dict[int, LazyResult[Any]]] = attrs.field(factory=dict)
    merged: dict[Placeholder, Policies] = attrs.field(factory=dict)

    def note(self, call: Placeholder, root: Placeholder, is_known: bool) -> None:
        """Note that *call* was met; *is_known* tells whether some copy of it was met before."""
        if call is root and root not in self.met:
            return
        copies = self.met.setdefault(root, {})
        if is_known and not copies:
            copies[id(root)] = cast("LazyResult[Any]", root)
        copies[id(call)] = cast("LazyResult[Any]", call)

    def has(self, call: Placeholder, root: Placeholder) -> bool:
        """Whether *call* has been noted, or need not be."""
        return id(call) in self.met[root] if root in self.met else call is root

    def must_merge(self) -> Steps[bool]:
        """Whether the copies say something together that the last building did not know."""
        merged: dict[Placeholder, Policies] = {}
        for root, copies in self.met.items():
            if len(copies) > 1:
                merged[root] = merged_policies(list(copies.values()))
                yield
        is_news = merged != self.merged
        self.merged = merged
        return is_news

    def policies_of(self, call: LazyResult[Any]) -> Policies:
        """What is said of *call*."""
        return self.merged.get(identity_of(call), call.own) if self.merged else call.own
