"""Who ran when: a bounded number of bars, and how many nodes of each task were at work at any time."""

from __future__ import annotations

import heapq
from itertools import zip_longest
from typing import Any, Final

import attrs

# Bars that are shown, at most. If there are more: how many are kept as failures, as the longest, as a sample.
MOST_BARS: Final = 2000
MOST_FAILED_BARS: Final = 400
MOST_LONG_BARS: Final = 400
MOST_SAMPLED_BARS: Final = 400
# Intervals of time in which activity is counted; tasks that are counted each, and that are shown; at most.
MOST_BINS: Final = 200
MOST_ROWS: Final = 60
SHOWN_ROWS: Final = 12
OTHERS: Final = "others"
# Microseconds of a second, and of the shortest interval.
_SECOND: Final = 1_000_000
_FINEST: Final = 10_000
# Seconds of the shortest wait that is shown as a bar.
SHORTEST_WAIT: Final = 0.005


@attrs.frozen
class Bar:
    """A node at work, or one that waits.

    Attributes:
        start: When it began, in seconds since the epoch.
        end: When it ended.
        status: How it ended, in lower case; ``"handled"`` if it failed and that was handled; ``"waiting"`` for a
            wait.
        node_id: The node.
        task: Its task.
        worker: Where it ran, in words; empty if that is not known.
        attempts: Number of attempts.
        reason: Why it waited; empty if it did not.
    """

    start: float
    end: float
    status: str
    node_id: str
    task: str
    worker: str = ""
    attempts: int = 1
    reason: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether the node failed, handled or not."""
        return self.status in ("failed", "handled")

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.start


@attrs.define(eq=False)
class Bars:
    """The bars that are shown: all; or, of too many, failures, the longest ones, and a sample of the others.

    Attributes:
        shown: The bars, in the order in which they ended.
        left_out: Number of bars that are not shown.
        version: Changes when bars are taken out; until then bars are only added.
    """

    shown: list[Bar] = attrs.field(factory=list)
    left_out: int = 0
    version: int = 0
    _numbers: list[int] = attrs.field(factory=list)
    _count: int = 0
    _stride: int = 1
    # How long bars were that were taken out, at most; one that is longer is among the longest.
    _shortest: float = 0.0
    _failed: int = 0

    def add(self, bar: Bar) -> None:
        """Take in *bar*, which has ended after those before it."""
        self._count += 1
        if bar.has_failed and self._failed < MOST_FAILED_BARS:
            self._failed += 1
        elif self._count % self._stride and bar.seconds <= self._shortest:
            self.left_out += 1
            return
        self.shown.append(bar)
        self._numbers.append(self._count)
        if len(self.shown) > MOST_BARS:
            self._thin()

    def _thin(self) -> None:
        """Take out half of the bars, so that this is not done for each one."""
        bars, numbers = self.shown, self._numbers
        failed = {place for place, bar in enumerate(bars) if bar.has_failed}
        kept = set(sorted(failed)[:MOST_FAILED_BARS])
        others = [place for place in range(len(bars)) if place not in kept]
        longest = heapq.nlargest(MOST_LONG_BARS, others, key=lambda place: (bars[place].seconds, -place))
        kept.update(longest)
        while len(sample := [place for place in others if not numbers[place] % self._stride]) > MOST_SAMPLED_BARS:
            self._stride *= 2
        kept.update(sample)
        out = [bars[place].seconds for place in others if place not in kept]
        self._shortest = max([self._shortest, *out])
        self.left_out += len(out)
        self.shown = [bar for place, bar in enumerate(bars) if place in kept]
        self._numbers = [number for place, number in enumerate(numbers) if place in kept]
        self.version += 1


@attrs.define
class _Stints:
    """The beginnings and ends of the work of one task, by interval.

    Attributes:
        steps: How many more nodes have begun than ended.
        moments: The sum of the moments at which they have begun, less those at which they have ended.
    """

    steps: list[int] = attrs.field(factory=list)
    moments: list[int] = attrs.field(factory=list)

    def add(self, number: int, step: int, moment: int) -> None:
        """A node begins, or ends."""
        missing = number + 1 - len(self.steps)
        if missing > 0:
            self.steps += [0] * missing
            self.moments += [0] * missing
        self.steps[number] += step
        self.moments[number] += step * moment

    def widened(self) -> _Stints:
        """The same in intervals of twice the length."""
        return _Stints(_in_pairs(self.steps), _in_pairs(self.moments))

    def worked(self, width: int, now: int) -> list[int]:
        """How long nodes were at work in each interval of *width*, until *now*; without zeros at the end."""
        found = []
        at_work = 0
        for number in range(now // width + 1):
            begin, end = number * width, min((number + 1) * width, now)
            total = at_work * (end - begin)
            if number < len(self.steps):
                total += self.steps[number] * end - self.moments[number]
                at_work += self.steps[number]
            elif not at_work:
                break
            found.append(total)
        while found and not found[-1]:
            found.pop()
        return found


@attrs.define(eq=False)
class Activity:
    """How many nodes of each task were at work, on average, in intervals of equal length.

    A node that begins or ends is one step up or down, so that neither the number of nodes at work nor how long
    they are at it makes a difference to what it takes to hear of them, or to show them. Times are whole
    microseconds: sums of these are exact, and what is taken back leaves nothing behind.

    Attributes:
        start: When the first interval begins, in seconds since the epoch.
        width: Microseconds of an interval; doubled whenever there would be too many.
    """

    start: float
    width: int = _FINEST
    _rows: dict[str, _Stints] = attrs.field(factory=dict)
    _latest: int = 0

    def add(self, task: str, start: float, end: float) -> None:
        """Count a node that was at work from *start* to *end*."""
        self.begin(task, start)
        self.end(task, end)

    def begin(self, task: str, at: float) -> None:
        """A node is at work from *at* on."""
        self._step(task, at, 1)

    def end(self, task: str, at: float) -> None:
        """A node is at work no more, from *at* on. If that is when it has begun, it never was."""
        self._step(task, at, -1)

    def _step(self, task: str, at: float, step: int) -> None:
        moment = self._moment(at)
        self._latest = max(self._latest, moment)
        while moment >= self.width * MOST_BINS:
            self._widen()
        name = task if task in self._rows or len(self._rows) < MOST_ROWS else OTHERS
        self._rows.setdefault(name, _Stints()).add(moment // self.width, step, moment)

    def _moment(self, at: float) -> int:
        return max(round((at - self.start) * _SECOND), 0)

    def _widen(self) -> None:
        self.width *= 2
        self._rows = {name: stints.widened() for name, stints in self._rows.items()}

    def shown(self, now: float) -> dict[str, Any]:
        """The busiest tasks, with what is at work until *now*; the others are counted together.

        Args:
            now: Seconds since the epoch; before the last beginning or end it stands for that.
        """
        last = max(self._moment(now), self._latest)
        while last >= self.width * MOST_BINS:
            self._widen()
        rows = {name: stints.worked(self.width, last) for name, stints in self._rows.items()}
        names = sorted(rows, key=lambda name: (name == OTHERS, -sum(rows[name])))
        if len(names) > SHOWN_ROWS:
            rest = [rows[name] for name in names[SHOWN_ROWS - 1 :]]
            names = [*names[: SHOWN_ROWS - 1], OTHERS]
            rows = {**rows, OTHERS: [sum(bins) for bins in zip_longest(*rest, fillvalue=0)]}
        shares = [[round(took / self.width, 3) for took in rows[name]] for name in names]
        return {"start": self.start, "width": self.width / _SECOND, "names": names, "rows": shares}


def _in_pairs(numbers: list[int]) -> list[int]:
    return [one + other for one, other in zip_longest(numbers[::2], numbers[1::2], fillvalue=0)]


@attrs.define(eq=False)
class Names:
    """Names that are written once and meant by number."""

    known: list[str] = attrs.field(factory=list)
    _numbers: dict[str, int] = attrs.field(factory=dict)

    def number(self, name: str) -> int:
        """The number of *name*."""
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self.known)
            self.known.append(name)
        return number


@attrs.define(eq=False)
class Timeline:
    """Bars and activity of one run, as a page reads them.

    Attributes:
        bars: The bars.
        activity: How many nodes were at work; ``None`` before the first event.
    """

    bars: Bars = attrs.field(factory=Bars)
    activity: Activity | None = None
    _tasks: Names = attrs.field(factory=Names)
    _workers: Names = attrs.field(factory=Names)

    def begin(self, at: float) -> None:
        """Let time begin, unless it has."""
        if self.activity is None:
            self.activity = Activity(at)

    def start(self, task: str, at: float) -> None:
        """A node of *task* is at work."""
        assert self.activity is not None  # time has begun
        self.activity.begin(task, at)

    def withdraw(self, task: str, at: float) -> None:
        """Forget that a node of *task* began at *at*: it waits now, or :meth:`work` tells how long it has run."""
        assert self.activity is not None  # time has begun
        self.activity.end(task, at)

    def work(self, bar: Bar) -> None:
        """Take in that a node was at work."""
        assert self.activity is not None  # time has begun
        self.activity.add(bar.task, bar.start, bar.end)
        self.bars.add(bar)

    def rows(self) -> list[list[Any]]:
        """The bars, with tasks and workers by number."""
        return [
            [
                round(bar.start, 6), round(bar.end, 6), bar.status, bar.node_id, self._tasks.number(bar.task),
                self._workers.number(bar.worker) if bar.worker else -1, bar.attempts, bar.reason or None,
            ]
            for bar in self.bars.shown
        ]  # fmt: skip

    def shown(self, now: float) -> dict[str, Any]:
        """The section about time.

        Args:
            now: Seconds since the epoch.
        """
        activity = None if self.activity is None else self.activity.shown(now)
        return {"now": now, "task_names": self._tasks.known, "workers": self._workers.known, "activity": activity}
