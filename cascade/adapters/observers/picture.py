"""The progress of a run as text: a bar and a line for each task, or one line for logs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from cascade.adapters.observers.tally import Tally, TaskTally, parts_of
from cascade.adapters.observers.terminal import Span, Style
from cascade.model.shown.text import columns, counted, duration, fitted, one_line

Line = list[Span]

# Columns that are kept for the time left, so that the bar does not jump when its length changes.
LEFT_COLUMNS: Final = 18
# Columns of the bar: the fewest, the usual number, and the most.
SHORTEST_BAR, USUAL_BAR, LONGEST_BAR = 8, 20, 40
# Fewest columns of the name of the run: beside anything else, and if nothing else fits.
LEAST_NAME, SHORTEST_NAME = 12, 4
# Tasks with a line of their own, at most.
MOST_TASKS: Final = 12
# Tasks that the line for logs names, at most.
NAMED_TASKS: Final = 3
_STYLES: Final[dict[str, Style]] = {"running": "cyan", "succeeded": "green", "failed": "red"}
_PARTS: Final[dict[str, Style]] = {
    "failed": "red", "failed (handled)": "yellow", "waiting": "yellow", "retries": "yellow", "retry": "yellow",
}  # fmt: skip


def picture(tally: Tally, now: float, *, width: int, height: int, is_ascii: bool = False) -> list[Line]:
    """How far the run is, in at most *height* lines of at most *width* columns.

    Args:
        tally: The run, in numbers.
        now: The present time, on the clock of the tally.
        width: Columns of the terminal.
        height: Lines of the terminal.
        is_ascii: Whether the terminal can only show ASCII.
    """
    shown, hidden = _chosen(list(tally.tasks.values()), min(height - 3, MOST_TASKS))
    lines = [_headline(tally, now, width, is_ascii=is_ascii)]
    names = [fitted(one_line(task.name), max(width // 2, 1)) for task in shown]
    counts = [f"{task.ended}/{task.total}" if tally.is_sized else f"{task.ended} done" for task in shown]
    widest_name, widest_count = max(map(columns, names), default=0), max(map(len, counts), default=0)
    for task, name, count in zip(shown, names, counts, strict=True):
        gap = " " * (widest_name - columns(name))
        start = f"  {name}{gap}  {count:>{widest_count}}"
        lines.append(cut([Span(start), *_parts(task, width - columns(start))], width))
    if hidden:
        ended = sum(task.ended == task.total for task in hidden)
        done = "" if tally.is_over and ended == len(hidden) else f", {ended} of these done"
        lines.append(cut([Span(f"  and {counted(len(hidden), 'more task')}{done}", "dim")], width))
    return lines


def _parts(task: TaskTally, room: int) -> Iterator[Span]:
    """The numbers of *task* that fit into *room* columns; a number is left out rather than cut."""
    for words, number in parts_of(task):
        part = f"  {number} {words}"
        room -= len(part)
        if room < 0:
            return
        yield Span(part, _PARTS.get(words, "dim"))


def _chosen(tasks: Sequence[TaskTally], most: int) -> tuple[list[TaskTally], list[TaskTally]]:
    """The tasks to show, in their order, and the others. Tasks that run are preferred to those that are done."""
    if len(tasks) <= most:
        return list(tasks), []
    by_interest = sorted(tasks, key=_interest)
    chosen = {task.name for task in by_interest[: max(most - 1, 0)]}
    return [task for task in tasks if task.name in chosen], [task for task in tasks if task.name not in chosen]


def _interest(task: TaskTally) -> int:
    if task.counts["running"] or task.counts["waiting"]:
        return 0
    if task.counts["failed"]:
        return 1
    return 2 if task.ended < task.total else 3


def _headline(tally: Tally, now: float, width: int, *, is_ascii: bool) -> Line:
    """Name, bar and numbers; if these do not fit, the least interesting numbers are left out."""
    title = one_line(f"run {tally.run_id}" if tally.run_id else "no run yet")
    style = _STYLES.get(tally.status, "yellow")
    least = min(columns(title), LEAST_NAME)
    choices = _choices(tally, now, style)
    for numbers in choices[:-1] if tally.is_sized else ():
        room = _room(width, numbers) - 2
        if room >= least + SHORTEST_BAR:
            # The name is cut so that there is room for the bar.
            name = fitted(title, max(room - USUAL_BAR, least))
            length = min(room - columns(name), LONGEST_BAR)
            return _spaced([Span(name, "bold"), *_bar(tally, length, style, is_ascii=is_ascii)], numbers, width)
    numbers = next((some for some in choices if _room(width, some) >= least), choices[-1])
    return _spaced([Span(fitted(title, max(_room(width, numbers), SHORTEST_NAME)), "bold")], numbers, width)


def _choices(tally: Tally, now: float, style: Style) -> list[Line]:
    """Choices for the numbers of the headline: first all of them, then fewer, down to the most interesting one."""
    elapsed = Span(stopwatch(tally.elapsed(now)), "dim")
    total = _total(tally)
    count = Span(f"{tally.ended:>{len(total)}}/{total}" if tally.is_sized else f"{tally.ended} done")
    share = Span(f"{percent(tally):>3} %")
    turns = Span("" if tally.turns is None else f"{tally.turns[0]}: {tally.turns[1]} turns", "dim")
    left = Span(f"{_left(tally, now):<{LEFT_COLUMNS}}" if tally.is_sized else "", "dim")
    state = Span(tally.status, style) if tally.is_over else left
    numbers = [span for span in (share, count, elapsed, state, turns) if span.text]
    if not tally.is_sized:
        numbers.remove(share)
    # Once the run has ended, its status is more interesting than its count.
    choices = [numbers]
    for expendable in (elapsed, turns, *((share, count) if tally.is_over else (state, count))):
        if expendable in numbers and len(numbers) > 1:
            numbers = [span for span in numbers if span != expendable]
            choices.append(numbers)
    return choices


def _room(width: int, numbers: Sequence[Span]) -> int:
    """Columns that are left beside *numbers*, each of which follows a gap."""
    return width - sum(columns(one_line(span.text)) + 2 for span in numbers)


def _spaced(line: Line, numbers: Sequence[Span], width: int) -> Line:
    for span in numbers:
        line += [Span("  "), span]
    return cut(line, width)


def _bar(tally: Tally, length: int, style: Style, *, is_ascii: bool) -> list[Span]:
    done, rest = ("#", "-") if is_ascii else ("━", "─")
    filled = _share(tally, length)
    return [Span("  "), Span(done * filled, style), Span(rest * (length - filled), "dim")]


def cut(line: Sequence[Span], width: int) -> Line:
    """*line*, cut to *width* columns."""
    found, left = [], width
    for span in line:
        text = fitted(one_line(span.text), left)
        found.append(Span(text, span.style))
        left -= columns(text)
    return found


def percent(tally: Tally) -> int:
    """The share of nodes that have ended, rounded down: 100 if all have, or if the run has succeeded."""
    return _share(tally, 100)


def _share(tally: Tally, whole: int) -> int:
    if (
        tally.status == "succeeded" or not tally.total
    ):  # also without those that were cancelled, as losers of races
        return whole * tally.is_over
    return whole * tally.ended // tally.total


def _total(tally: Tally) -> str:
    return f"{tally.total}{'+' if tally.is_open else ''}"


def stopwatch(seconds: float) -> str:
    """*seconds* as ``0:07`` or ``1:02:03``, whose width seldom changes."""
    minutes, rest = divmod(max(int(seconds), 0), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _left(tally: Tally, now: float) -> str:
    left = tally.left(now)
    return "" if left is None else f"{about(left)} left"


def about(seconds: float) -> str:
    """*seconds* rounded, as it is an estimate."""
    if seconds < 10:
        return "a few seconds"
    for limit, step in ((60, 5), (3600, 60), (36_000, 600)):
        if seconds < limit:
            return f"about {duration(max(round(seconds / step) * step, step))}".replace(".0 s", " s")
    return f"about {duration(round(seconds / 3600) * 3600)}"


def plain_line(tally: Tally, now: float) -> str:
    """How far the run is, in one line, for logs."""
    words = [f"{number} {words}" for words, number in parts_of(*tally.tasks.values())]
    if tally.is_replayed:
        return f"run {tally.run_id} had finished before: nothing ran, {_done(tally)}"
    if tally.is_over:
        took = duration(tally.elapsed(now))
        return f"run {tally.run_id} {tally.status} after {took}: {', '.join([_done(tally), *words])}"
    share = f" ({percent(tally)} %)" if tally.is_sized else ""
    parts = [", ".join([f"{_done(tally)}{share}", *words])]
    under_way = list(_under_way(tally))
    parts += [", ".join(under_way)] if under_way else []
    left = _left(tally, now)
    parts += [left] if left else []
    return f"run {tally.run_id}: {'; '.join(parts)}"


def _done(tally: Tally) -> str:
    if not tally.is_sized or (tally.is_over and tally.ended == tally.total):
        return f"{tally.ended} done"
    return f"{tally.ended} of {_total(tally)} done"


def _under_way(tally: Tally) -> Iterator[str]:
    """Tasks that have begun and are not done; none if the run has only one task."""
    begun = [task for task in tally.tasks.values() if task.ended or task.counts["running"]]
    tasks = [task for task in begun if task.ended < task.total]
    if len(tally.tasks) > 1:
        yield from (f"{task.name} {task.ended}/{task.total}" for task in tasks[:NAMED_TASKS])
