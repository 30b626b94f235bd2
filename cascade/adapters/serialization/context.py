"""Sends context variables to another process: those that it can import, with values that can be pickled."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, ContextVar
from types import ModuleType
from typing import Any, Final

import attrs

from cascade.adapters.serialization.main_module import ALIAS
from cascade.adapters.serialization.values import dumps, shortened
from cascade.model.shown.raised import annotate

# Module, and name in it.
Place = tuple[str, str]

# Packages whose variables belong to the event loop of this process.
_OF_EVENT_LOOPS: Final = frozenset({"anyio", "asyncio", "cascade", "sniffio", "trio", "uvloop"})

# Places of the variables that were found: they are globals of modules, and so live as long as the process.
_places: dict[ContextVar[Any], tuple[Place, ...]] = {}
# In the other process: variables of a notebook or console, which exist in no module here.
_made: dict[Place, ContextVar[Any]] = {}


@attrs.frozen
class Variables:
    """Context variables on their way to another process.

    Attributes:
        values: For each variable its places, as from :func:`places_of`, and its pickled value.
        left: By name, the variables that could not be sent, and why.
    """

    values: tuple[tuple[tuple[Place, ...], bytes], ...] = ()
    left: dict[str, str] = attrs.field(factory=dict)


def variables_of(context: Mapping[ContextVar[Any], Any], *, shares_main: bool = True) -> Variables:
    """The variables that are set in *context*, if they can be sent; never raises.

    Args:
        context: A context.
        shares_main: Whether the other process can import what ``__main__`` defines.
    """
    values: list[tuple[tuple[Place, ...], bytes]] = []
    left: dict[str, str] = {}
    for variable, places in places_of(context).items():
        if any(module.partition(".")[0] in _OF_EVENT_LOOPS for module, _ in places):
            continue
        if not places:
            left[variable.name] = "it is no global of a module"
            continue
        try:
            values.append((places, dumps(context[variable], shares_main=shares_main)))
        except Exception as error:  # pickling runs the value's __reduce__, which may raise anything
            left[variable.name] = shortened(error)
    return Variables(tuple(values), left)


def places_of(variables: Iterable[ContextVar[Any]]) -> dict[ContextVar[Any], tuple[Place, ...]]:
    """Modules and names under which each of *variables* can be imported; none if it is not a global of a module.

    Looks through the globals of all modules, which takes milliseconds, unless all were found before.
    """
    wanted = list(variables)
    found: dict[ContextVar[Any], list[Place]] = {variable: [] for variable in wanted if variable not in _places}
    if found:
        for module, name, value in _globals():
            if isinstance(value, ContextVar) and value in found:
                found[value].append((module, name))
        _places.update((variable, tuple(places)) for variable, places in found.items() if places)
    return {variable: _places.get(variable, ()) for variable in wanted}


def _globals() -> Iterator[tuple[str, str, Any]]:
    # Backwards: a module starts to be imported after those that import it, and the module that defines a variable
    # should come first.
    for module_name, module in reversed(list(sys.modules.items())):
        if isinstance(module, ModuleType) and module_name != ALIAS:
            # Not vars(): it would load a module that is imported lazily.
            for name, value in list(object.__getattribute__(module, "__dict__").items()):
                yield module_name, name, value


def context_of(variables: Variables) -> Context:
    """In the other process: a new context with *variables*; never raises.

    A variable that cannot be set here is added to those that could not be sent.
    """
    context = Context()
    for places, pickled in variables.values:
        try:
            context.run(_variable(places).set, pickle.loads(pickled))
        except Exception as error:  # importing and unpickling run the user's code, which may raise anything
            variables.left[places[0][1]] = shortened(error)
    return context


def _variable(places: Sequence[Place]) -> ContextVar[Any]:
    """The variable at one of *places*; looks first into modules that have been imported already.

    Raises:
        LookupError: If it is at none of them.
    """
    tries = [(module, name, is_import_allowed) for is_import_allowed in (False, True) for module, name in places]
    for module, name, is_import_allowed in tries:
        if (module, name) in _made:
            return _made[module, name]
        if is_import_allowed:  # also of one that another thread imports just now
            with suppress(Exception):  # the module may raise anything; there may be other places
                importlib.import_module(module)
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, ContextVar):
            return found
    raise LookupError(f"no module here has it (looked for {', '.join(map('.'.join, places))})")


def variable_at(places: tuple[Place, ...], *default: Any) -> ContextVar[Any]:
    """In the other process: the variable at one of *places*, or a new one if it is at none of them."""
    try:
        return _variable(places)
    except LookupError:
        name = places[0][1]
        variable: ContextVar[Any] = ContextVar(name, default=default[0]) if default else ContextVar(name)
        _made[places[0]], _places[variable] = variable, places  # it may be sent on
        return variable


def explain_unset(error: BaseException, variables: Variables) -> None:
    """If *error* comes from a context variable that could not be sent, add a note that says why."""
    if type(error) is not LookupError or not error.args or not isinstance(error.args[0], ContextVar):
        return
    name = error.args[0].name
    if name in variables.left:
        annotate(
            error,
            f"the context variable {name!r} is set where the flow was run, and could not be sent to this process: "
            f"{variables.left[name]}",
        )
