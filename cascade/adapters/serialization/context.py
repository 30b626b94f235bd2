"""Context variables: those that another process can import, with values that can be pickled."""

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
from cascade.model.errors import annotate

# Module, and name in it.
Place = tuple[str, str]

# Packages whose variables are about the event loop here.
_OF_EVENT_LOOPS: Final = frozenset({"anyio", "asyncio", "cascade", "sniffio", "trio", "uvloop"})

# Where variables have been found. They are globals of modules, which live as long as the process does.
_places: dict[ContextVar[Any], tuple[Place, ...]] = {}
# Variables of a notebook or console, made in the process that functions from there were sent to.
_made: dict[Place, ContextVar[Any]] = {}


@attrs.frozen
class Variables:
    """Context variables on their way.

    Attributes:
        values: For each variable its places, as of :func:`places_of`, and its pickled value.
        left: The name of each variable that stayed behind, and why.
    """

    values: tuple[tuple[tuple[Place, ...], bytes], ...] = ()
    left: dict[str, str] = attrs.field(factory=dict)


def variables_of(context: Mapping[ContextVar[Any], Any], *, shares_main: bool = True) -> Variables:
    """The variables that are set in *context*, as far as they can be sent; never raises.

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
        except Exception as error:  # whatever the value's own __reduce__ raises
            left[variable.name] = shortened(error)
    return Variables(tuple(values), left)


def places_of(variables: Iterable[ContextVar[Any]]) -> dict[ContextVar[Any], tuple[Place, ...]]:
    """Modules and names under which *variables* can be imported; none for those that are no globals.

    Looks through the globals of all modules, which takes milliseconds, unless all have been found before.
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
    # Backwards, as a module comes after the first one that imports it, which thus is not the first choice.
    for module_name, module in reversed(list(sys.modules.items())):
        if isinstance(module, ModuleType) and module_name != ALIAS:
            # Not vars(): that would load a module which waits for its first use.
            for name, value in list(object.__getattribute__(module, "__dict__").items()):
                yield module_name, name, value


def context_of(variables: Variables) -> Context:
    """In the other process: a new context with *variables*; never raises.

    A variable that cannot be set here joins those that were left behind.
    """
    context = Context()
    for places, pickled in variables.values:
        try:
            context.run(_variable(places).set, pickle.loads(pickled))
        except Exception as error:  # whatever importing and unpickling raise
            variables.left[places[0][1]] = shortened(error)
    return context


def _variable(places: Sequence[Place]) -> ContextVar[Any]:
    """The variable of these places; what has been imported already is looked at first.

    Raises:
        LookupError: If it is at none of them.
    """
    tries = [(module, name, is_import_allowed) for is_import_allowed in (False, True) for module, name in places]
    for module, name, is_import_allowed in tries:
        if (module, name) in _made:
            return _made[module, name]
        if is_import_allowed and module not in sys.modules:
            with suppress(Exception):  # whatever the module raises; there may be another
                importlib.import_module(module)
        found = getattr(sys.modules.get(module), name, None)
        if isinstance(found, ContextVar):
            return found
    raise LookupError(f"no module here has it (looked for {', '.join(map('.'.join, places))})")


def variable_at(places: tuple[Place, ...], *default: Any) -> ContextVar[Any]:
    """In the other process: the variable of these places, made if it is at none of them."""
    try:
        return _variable(places)
    except LookupError:
        name = places[0][1]
        variable: ContextVar[Any] = ContextVar(name, default=default[0]) if default else ContextVar(name)
        _made[places[0]], _places[variable] = variable, places  # it may be sent on
        return variable


def explain_unset(error: BaseException, variables: Variables) -> None:
    """Say in a note to *error*, if a context variable raised it that is not set, why it was left behind."""
    if type(error) is not LookupError or not error.args or not isinstance(error.args[0], ContextVar):
        return
    name = error.args[0].name
    if name in variables.left:
        annotate(
            error,
            f"the context variable {name!r} is set where the flow was run, and could not be sent to this process: "
            f"{variables.left[name]}",
        )
