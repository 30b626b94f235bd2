"""How a command line may go on."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence

import attrs

from cascade.cli.completion.lines import Line
from cascade.cli.completion.sources import live_runs, node_ids, run_ids, stores, targets, task_names


@attrs.define
class _Place:
    """Where on the command line the word stands that is being typed.

    Attributes:
        parser: The command so far.
        given: What was said for its arguments without options, in order.
        option: The option whose value is being typed, if any.
        options: Values of the options so far.
    """

    parser: argparse.ArgumentParser
    given: list[str] = attrs.field(factory=list)
    option: argparse.Action | None = None
    options: dict[str, str] = attrs.field(factory=dict)


def candidates(line: Line, parser: argparse.ArgumentParser) -> list[str]:
    """Words that may stand where the last word of *line* is being typed, which begin as that does.

    Those with line ends or other control characters are left out: the script is told one word on each line, and no
    shell could show them.

    Args:
        line: The command line up to the cursor, with the name of the program.
        parser: Knows the commands.
    """
    word, place = line.word, _place(parser, line.words[1:])
    option, equals, value = word.partition("=")
    actions = _by_name(place.parser)
    if equals and option in actions:
        found: Iterable[str] = (f"{option}={known}" for known in _values(actions[option], place, value))
    elif place.option is not None:
        found = _values(place.option, place, word)
    elif word.startswith("-"):
        found = [name for name in actions if name.startswith("--")]
    else:
        found = _arguments(place, word)
    return [known for known in dict.fromkeys(found) if known.startswith(word) and known.isprintable()]


def _place(parser: argparse.ArgumentParser, words: Sequence[str]) -> _Place:
    place = _Place(parser)
    for word in words:
        if place.option is not None:
            place.options[place.option.dest], place.option = word, None
            continue
        if word.startswith("-") and len(word) > 1:
            _take_option(place, word)
        elif word in (commands := _commands(place.parser)):
            place = _Place(commands[word], options=place.options)
        else:
            place.given.append(word)
    return place


def _take_option(place: _Place, word: str) -> None:
    option, equals, value = word.partition("=")
    action = _by_name(place.parser).get(option)
    if action is not None and equals:
        place.options[action.dest] = value
    elif action is not None and action.nargs != 0:
        place.option = action


def _by_name(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {name: action for action in _actions(parser) for name in action.option_strings}


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return parser._actions  # noqa: SLF001  # there is no other way to ask


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in _actions(parser):
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001  # the same
            found.update(action.choices)
    return found


def _arguments(place: _Place, word: str) -> Iterator[str]:
    """What may stand where no option and no value of one does."""
    yield from _commands(place.parser)
    free = [
        action
        for action in _actions(place.parser)
        if not action.option_strings and not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    ]
    if len(place.given) < len(free):
        yield from _values(free[len(place.given)], place, word)


def _values(action: argparse.Action, place: _Place, word: str) -> Iterator[str]:
    """What *action* may be given."""
    state = place.options.get("state")
    match action.dest:
        case "target":
            yield from targets(word)
        case "state":
            yield from stores()
        case "run_id" | "run":
            yield from run_ids(state)
        case "node" if place.given and "state" in _dests(place.parser):
            yield from node_ids(state, place.given[0])
        case "scope":
            yield from _scopes(action, place)
        case _ if action.choices is not None:
            yield from map(str, action.choices)


def _dests(parser: argparse.ArgumentParser) -> set[str]:
    return {action.dest for action in _actions(parser)}


def _scopes(action: argparse.Action, place: _Place) -> Iterator[str]:
    if action.nargs == "?":  # else only a run will do
        yield "global"
        yield from (f"task:{name}" for name in task_names())
    runs = live_runs(place.options.get("via", "local:"))
    yield from (f"run:{run_id}" for run_id in runs)
