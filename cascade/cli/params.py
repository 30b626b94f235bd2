"""The parameters of a flow on the command line: as options, and what of them is kept to resume a run."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

import attrs

from cascade.cli.pages.options import PAGE_OPTIONS
from cascade.cli.targets import UsageError
from cascade.cli.words import Options
from cascade.model.inputs import Param
from cascade.model.shown.secrets import MARK
from cascade.model.shown.text import one_line, preview
from cascade.model.shown.urls import shown_url
from cascade.model.typed.declared import Required
from cascade.model.typed.kinds import (
    is_converter,
    is_list,
    is_mapping,
    is_pydantic,
    is_record,
    item_kinds,
    members,
)
from cascade.model.typed.words import choices_of, name_of
from cascade.model.typed.written import written

# Choices that are shown in the place of a value.
_MOST_CHOICES: Final = 8
# What ``cascade resume`` is given itself, or what has no say in how a run goes.
_NOT_KEPT: Final = ("help", "state", "run_id", "param", "traceback", *PAGE_OPTIONS)


@attrs.frozen
class Meaning:
    """What an option of the flow says.

    Attributes:
        param: Name of the parameter.
        bare: Its value where none is given; ``None`` if there must be one.
        is_fixed: Whether no other value may be given.
    """

    param: str
    bare: str | None = None
    is_fixed: bool = False


@attrs.frozen(eq=False)
class FlowOptions:
    """The options that the parameters of a flow become: ``--limit 10``, ``--loud``, ``--no-loud``.

    A parameter whose name is that of another option, or no name of an option, is reached by ``-p`` alone.
    """

    params: Sequence[Param[Any]]
    known: Options
    meanings: Mapping[str, Meaning]

    @classmethod
    def of(cls, params: Sequence[Param[Any]], known: Options) -> FlowOptions:
        """The options of *params* beside those that are *known* already, with whether these take a value."""
        meanings: dict[str, Meaning] = {}
        for param in params:
            if not param.name.isidentifier():
                continue
            option = f"--{param.name.replace('_', '-')}"
            if option not in known:
                meanings.setdefault(option, Meaning(param.name, "true" if _is_bool(param) else None))
        for param in params:
            option = f"--no-{param.name.replace('_', '-')}"
            if _is_bool(param) and param.name.isidentifier() and option not in known:
                meanings.setdefault(option, Meaning(param.name, "false", is_fixed=True))
        return cls(params, known, meanings)

    def add_help(self, command: argparse.ArgumentParser) -> None:
        """Have the help of *command* show them."""
        group = command.add_argument_group("parameters of the flow")
        for param in self.params:
            names = [name for name, meaning in self.meanings.items() if meaning.param == param.name]
            if not names:
                continue
            # They are never parsed by this: as_pairs has done so before.
            shape: dict[str, Any] = (
                {"nargs": 0} if _is_bool(param) else {"metavar": one_line(_metavar(param.type))}
            )
            help_text = one_line(f"{param.description} ({_default(param)})".strip()).replace("%", "%%")
            group.add_argument(*names, dest=f"param:{param.name}", action=_Shown, help=help_text, **shape)

    def as_pairs(self, words: Sequence[str]) -> list[str]:
        """*words* with ``-p NAME=VALUE`` in the place of each option of the flow.

        So a value may begin with a dash, as negative numbers do; only a word that is, or looks like, a long option
        is none. An option may be written with underscores.

        Raises:
            UsageError: If an option lacks its value, or has one where it takes none.
        """
        found: list[str] = []
        rest = deque(words)
        while rest:
            word = rest.popleft()
            option, equals, value = word.partition("=")
            meaning = self.meanings.get(option.replace("_", "-"))
            if meaning is None:
                found.append(word)
                if self.known.get(word) and rest:
                    found.append(rest.popleft())
                continue
            if equals and meaning.is_fixed:
                raise UsageError(f"cascade run: {option} takes no value (see cascade run --help)")
            if not equals:
                has_value = bool(rest) and not self._is_option(rest[0]) and not meaning.is_fixed
                value = rest.popleft() if has_value else self._bare(option, meaning)
            found += ["-p", f"{meaning.param}={value}"]
        return found

    def _is_option(self, word: str) -> bool:
        return word.startswith("--") or word[:2] in self.known

    def _bare(self, option: str, meaning: Meaning) -> str:
        if meaning.bare is None:
            kind = next(name_of(param.type) for param in self.params if param.name == meaning.param)
            raise UsageError(f"cascade run: {option} takes a value of type {kind} (see cascade run --help)")
        return meaning.bare


class _Shown(argparse.Action):
    """An option that stands in the help only."""

    def __call__(self, *_: object) -> NoReturn:
        raise AssertionError("options of the flow are replaced before the command line is parsed")


def _is_bool(param: Param[Any]) -> bool:
    kinds = [kind for kind in members(param.type) if kind is not type(None)] or [param.type]
    return kinds == [bool]


def _default(param: Param[Any]) -> str:
    if isinstance(param.default, Required):
        return "required"
    if param.secret:
        return f"default: {MARK}"
    try:
        return f"default: {written(param.default)}"
    except Exception:  # its __str__ or __repr__ is user code
        return f"default: {preview(param.default)}"


def _metavar(kind: Any) -> str:
    """What stands for the value in the help."""
    choices = choices_of(kind)
    if choices and len(choices) <= _MOST_CHOICES:
        return f"{{{','.join(choices)}}}"
    kinds = [part for part in members(kind) if part is not type(None)]
    if kinds:
        return "|".join(dict.fromkeys(map(_metavar, kinds)))
    if is_list(kind) and not is_pydantic(kind):
        (item, *more) = item_kinds(kind)
        return ",".join(map(_metavar, (item, *more))) if more else f"{_metavar(item)},..."
    if is_mapping(kind) or is_record(kind):
        return "JSON"
    name = name_of(kind)
    is_nameless = not name.isidentifier() or (is_converter(kind) and name == "<lambda>")
    return "VALUE" if is_nameless or name == "Any" else name.upper()


# -- what is kept to resume a run --------------------------------------------------------------------------------


@attrs.frozen
class Kept:
    """What a record keeps of a command line.

    Attributes:
        words: What it takes to make the run again, apart from where it is recorded, and as what.
        asks: What it takes besides and is not kept, as it is secret, or may be: an option, and its value without
            what is secret in it.
    """

    words: Sequence[str]
    asks: Sequence[tuple[str, str]]


def kept(
    command: argparse.ArgumentParser,
    options: argparse.Namespace,
    given: Mapping[str, str],
    params: Sequence[Param[Any]],
) -> Kept:
    """What is kept of *options*, which *command* has understood, and of the values *given* for *params*.

    A value of a parameter that only a later flow may know is not kept: nobody can tell yet whether it is secret.
    """
    words, asks = [options.command, options.target], []
    for option, value in _own(command, options):
        if value is not None and shown_url(value) != value:
            asks.append((option, shown_url(value)))
        else:
            words += [option] if value is None else [option, value]
    shown = {param.name for param in params if not param.secret}
    for name, value in given.items():
        if name in shown:
            words += ["-p", f"{name}={value}"]
        else:
            asks.append(("-p", f"{name}=VALUE"))
    return Kept(words, asks)


def _own(command: argparse.ArgumentParser, options: argparse.Namespace) -> Iterator[tuple[str, str | None]]:
    """The options that were given, with their values; ``None`` for one without."""
    for action in command._actions:  # noqa: SLF001  # there is no other way to ask
        value = getattr(options, action.dest, None)
        is_own = bool(action.option_strings) and not isinstance(action, _Shown)
        if not is_own or action.dest in _NOT_KEPT or value == action.default:
            continue
        for one in value if isinstance(value, list) else [value]:
            yield action.option_strings[-1], None if action.nargs == 0 else str(one)
