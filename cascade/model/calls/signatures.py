"""Checking arguments against a signature, cheaply."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from math import inf
from typing import Any

import attrs

from cascade.model.placeholders import Placeholder


@attrs.frozen
class Arity:
    """How many arguments a signature takes, for a check without ``Signature.bind``.

    Attributes:
        least: Positional arguments that suffice when there are no keywords.
        most: Positional arguments it takes at the most.
        places: Parameters that may be given by keyword, with their positions; infinite for keyword-only ones.
        required: Parameters without default, with their positions.
        takes_any_keyword: Whether there is a ``**kwargs``.
        standing: Parameters whose default is a placeholder, with it: calls that leave one out are completed.
        positional: Parameters that may be given by position, in order.
        rest: The name of the ``*args``; empty if there are none.
    """

    least: float
    most: float
    places: dict[str, float]
    required: dict[str, float]
    takes_any_keyword: bool
    standing: dict[str, Placeholder]
    positional: tuple[str, ...] = ()
    rest: str = ""

    def name_of(self, position: int) -> str:
        """The parameter that takes the positional argument at *position*, from 0."""
        return self.positional[position] if position < len(self.positional) else self.rest

    def accepts(self, given: int, keywords: dict[str, Any]) -> bool:
        """Whether *given* positional arguments and *keywords* fit."""
        if not self.begins_with(given, keywords):
            return False
        for name, place in self.required.items():  # a generator costs more than all the rest
            # A positional-only name among the keywords is one for the catcher.
            if place >= given and (name not in keywords or name not in self.places):
                return False
        return True

    def begins_with(self, given: int, keywords: dict[str, Any]) -> bool:
        """Whether *given* positional arguments and *keywords* fit, if others are added."""
        if given > self.most:
            return False
        stranger = inf if self.takes_any_keyword else -1
        for name in keywords:  # noqa: SIM110  # a generator costs more than all the rest
            if self.places.get(name, stranger) < given:
                return False
        return True

    def takes(self, keyword: str) -> bool:
        """Whether there may be an argument called *keyword*."""
        return self.takes_any_keyword or keyword in self.places

    def complete(self, given: int, keywords: dict[str, Any]) -> dict[str, Any]:
        """*keywords*, and the standing defaults that the call leaves out."""
        left_out = {
            name: default
            for name, default in self.standing.items()
            if self.places[name] >= given and name not in keywords
        }
        return {**keywords, **left_out} if left_out else keywords


ANY_ARGUMENTS = Arity(0, inf, {}, {}, takes_any_keyword=True, standing={})


def signature_of(func: Callable[..., object]) -> inspect.Signature | None:
    """The signature of *func*, for people: of what it wraps, if it wraps something; ``None`` if there is none."""
    try:
        return inspect.signature(func)
    except (TypeError, ValueError):
        return None


def own_signature(func: Callable[..., object]) -> inspect.Signature | None:
    """The signature of *func* itself, whatever it wraps; ``None`` if there is none."""
    try:
        return inspect.signature(func, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def arity_of(name: str, func: Callable[..., object], signature: inspect.Signature | None) -> Arity:
    """How many arguments calls of *func* may have.

    A decorator that takes ``*args`` or ``**kwargs`` may supply some arguments itself, and take others: then it
    counts what the decorator takes, and of the function that it wraps only the defaults that are placeholders.

    Args:
        name: Of the task.
        func: What is called.
        signature: What :func:`signature_of` says of it.

    Raises:
        TypeError: If a positional-only parameter has a placeholder as its default.
    """
    if signature is None:
        return ANY_ARGUMENTS
    inner, own = _arity_of(name, signature), own_signature(func)
    if own is None or own == signature:
        return inner
    outer = _arity_of(name, own)
    standing = {key: default for key, default in inner.standing.items() if outer.takes(key)}
    return attrs.evolve(
        outer,
        places={**{key: inner.places[key] for key in standing}, **outer.places},
        standing={**standing, **outer.standing},
        positional=outer.positional if outer.most < inf else (*outer.positional, *inner.positional),
    )


def _arity_of(name: str, signature: inspect.Signature) -> Arity:
    places: dict[str, float] = {}
    required: dict[str, float] = {}
    standing: dict[str, Placeholder] = {}
    most: float = 0
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            most = inf if parameter.kind is parameter.VAR_POSITIONAL else most
            continue
        position = inf if parameter.kind is parameter.KEYWORD_ONLY else most
        most += parameter.kind is not parameter.KEYWORD_ONLY
        if parameter.kind is not parameter.POSITIONAL_ONLY:
            places[parameter.name] = position
        if parameter.default is parameter.empty:
            required[parameter.name] = position
        elif isinstance(parameter.default, Placeholder):
            _check_standing(name, parameter)
            standing[parameter.name] = parameter.default
    least = max(required.values(), default=-1) + 1
    every = signature.parameters.values()
    takes_any = any(p.kind is p.VAR_KEYWORD for p in every)
    positional = tuple(p.name for p in every if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    rest = next((p.name for p in every if p.kind is p.VAR_POSITIONAL), "")
    return Arity(least, most, places, required, takes_any, standing, positional, rest)


def _check_standing(name: str, parameter: inspect.Parameter) -> None:
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise TypeError(
            f"{name}: the positional-only parameter {parameter.name!r} cannot have {parameter.default!r} as its "
            "default; let it be given by name"
        )
