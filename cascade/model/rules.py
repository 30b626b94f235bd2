"""Control rules as data: what may not start, how many attempts may run, how fast they may start.

A rule has a *scope*: ``"global"``, ``"task:<glob>"`` (the glob is matched with the task's name and with
``module.name``) or ``"run:<id>"``. For each scope there is at most one rule of a kind: the last one set.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, ClassVar, Final, Literal

import attrs

from cascade.model.typed.numbers import plain_number

Kind = Literal["pause", "concurrency", "rate"]

# Of the JSON form; raised when a field changes its meaning or goes.
RULES_VERSION: Final = 1
# What a message may be at most, so that nobody can fill memory or logs by a rule.
MOST_CHARACTERS: Final = 256
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_RATE: Final = re.compile(
    r"(?P<count>\d{1,12}(?:\.\d{1,12})?)\s*/\s*(?P<number>\d{1,9})?\s*(?P<unit>[smhd])", re.ASCII
)


def checked_scope(scope: object) -> str:
    """*scope*, if it is one.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(scope, str) and len(scope) <= MOST_CHARACTERS and scope.isprintable():
        kind, separator, name = scope.partition(":")
        if scope == "global" or (separator and name and kind in ("task", "run")):
            return scope
    raise ValueError(f'a scope is "global", "task:<glob>" or "run:<id>", not {scope!r:.100}')


def checked_rate(text: object) -> Fraction:
    """Starts per second that *text*, such as ``"10/s"``, ``"30/m"`` or ``"1/10s"``, allows.

    Raises:
        ValueError: If it is no rate, or one of nothing.
    """
    found = _RATE.fullmatch(text.strip()) if isinstance(text, str) and len(text) < 100 else None
    if found is not None:
        seconds = int(found["number"] or 1) * _SECONDS[found["unit"]]
        count = Fraction(found["count"])
        if seconds and count:
            return count / seconds
    raise ValueError(
        f'a rate is text such as "10/s", "30/m", "0.5/s" or "1/10s" (units s, m, h, d), more than zero, '
        f"not {text!r:.100}"
    )


def _is_number(value: object) -> bool:
    # Integers of JSON know no bounds, and those beyond floats would raise elsewhere.
    return not isinstance(value, bool) and isinstance(value, (int, float)) and abs(value) < 2**53


def checked_ttl(ttl: object) -> float | None:
    """*ttl* as seconds; ``None`` for no end.

    Raises:
        ValueError: If it is no finite number above zero.
    """
    ttl = plain_number(ttl)
    if ttl is None:
        return None
    if not _is_number(ttl) or not ttl > 0:  # type: ignore[operator]  # a number, as seen
        raise ValueError(f"ttl is a number of seconds above 0, or None, not {ttl!r:.100}")
    return float(ttl)  # type: ignore[arg-type]


def _check_scope(_: object, __: object, value: Any) -> None:
    checked_scope(value)


def _check_author(_: object, __: object, value: Any) -> None:
    if not isinstance(value, str) or not value or len(value) > MOST_CHARACTERS or not value.isprintable():
        raise ValueError(f"author is printable text of 1 to {MOST_CHARACTERS} characters, not {value!r:.100}")


def _check_moment(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not _is_number(value):
        raise ValueError(f"{attribute.name} is a number of seconds since the epoch, not {value!r:.100}")


def _check_whole(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**9:
        raise ValueError(f"{attribute.name} is a whole number from 1, not {value!r:.100}")


def _check_rate(_: object, __: object, value: Any) -> None:
    checked_rate(value)


@attrs.frozen(kw_only=True)
class ControlRule:
    """Base class of all control rules.

    Args:
        scope: ``"global"``, ``"task:<glob>"`` or ``"run:<id>"``.
        author: Who set it, for people to read; printable text of 1 to 256 characters. ``"local"`` by default.
        set_at: When it was set: wall clock, seconds since the epoch (0 is 1970). By default now.
        expires_at: When it ends by itself: wall clock, seconds since the epoch (0 is 1970). ``None`` (default):
            never.

    Attributes:
        kind: ``"pause"``, ``"concurrency"`` or ``"rate"``.

    Raises:
        ValueError: If a field is malformed.
    """

    kind: ClassVar[Kind]
    scope: str = attrs.field(validator=_check_scope)
    author: str = attrs.field(default="local", validator=_check_author)
    set_at: float = attrs.field(factory=time.time, converter=plain_number, validator=_check_moment)
    expires_at: float | None = attrs.field(
        default=None, converter=plain_number, validator=attrs.validators.optional(_check_moment)
    )

    @property
    def age(self) -> float:
        """Seconds since it was set."""
        return max(time.time() - self.set_at, 0.0)

    @property
    def has_expired(self) -> bool:
        """Whether it has ended by itself, by the wall clock."""
        return self.expires_at is not None and self.expires_at <= time.time()

    def says_the_same(self, other: ControlRule) -> bool:
        """Whether another rule is the same apart from author and time of setting.

        Args:
            other: The other rule.
        """
        return attrs.evolve(other, author=self.author, set_at=self.set_at) == self

    def __str__(self) -> str:
        return f"{self.kind} {self.scope}"


@attrs.frozen(kw_only=True)
class Pause(ControlRule):
    """Nothing in its scope starts. Attempts that run go on."""

    kind: ClassVar[Kind] = "pause"


@attrs.frozen(kw_only=True)
class Concurrency(ControlRule):
    """A limit on the attempts in its scope that run at a time.

    Args:
        limit: Attempts at a time, at least 1.
    """

    kind: ClassVar[Kind] = "concurrency"
    limit: int = attrs.field(converter=plain_number, validator=_check_whole)

    def __str__(self) -> str:
        return f"limit {self.scope} to {self.limit} at a time"


@attrs.frozen(kw_only=True)
class Rate(ControlRule):
    """A limit on how fast attempts in its scope start.

    In any ``t`` seconds at most ``burst + rate * t`` attempts are admitted.

    Args:
        rate: Text such as ``"10/s"``, ``"30/m"``, ``"0.5/s"`` or ``"1/10s"``; more than zero. Units are s, m, h,
            d.
        burst: Attempts that may start at once after a quiet time, at least 1; 1 by default.
    """

    kind: ClassVar[Kind] = "rate"
    rate: str = attrs.field(validator=_check_rate)
    burst: int = attrs.field(default=1, converter=plain_number, validator=_check_whole)

    @property
    def per_second(self) -> Fraction:
        """Starts per second, as an exact fraction."""
        return checked_rate(self.rate)

    def __str__(self) -> str:
        return f"limit {self.scope} to {self.rate}"


KINDS: Final[Mapping[str, type[ControlRule]]] = {kind.kind: kind for kind in (Pause, Concurrency, Rate)}


def as_json(rule: ControlRule) -> dict[str, Any]:
    """*rule* as plain data that JSON can say."""
    fields = {field.name: getattr(rule, field.name) for field in attrs.fields(type(rule))}
    return {"schema": RULES_VERSION, "kind": rule.kind, **fields}


def from_json(data: object) -> ControlRule:
    """The rule that *data*, from a stranger, says. Nothing in it is evaluated; what is unknown is refused.

    Raises:
        ValueError: If it says none.
    """
    if not isinstance(data, Mapping):
        raise ValueError(f"a rule is an object, not {data!r:.100}")
    if data.get("schema") != RULES_VERSION:
        raise ValueError(f"schema of rules is {RULES_VERSION}, not {data.get('schema')!r:.100}")
    kind = data.get("kind")
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        raise ValueError(f"kind is one of {', '.join(KINDS)}, not {kind!r:.100}")
    fields = {key: value for key, value in data.items() if key not in ("schema", "kind")}
    known = {field.name for field in attrs.fields(cls)}
    if not fields.keys() <= known:
        raise ValueError(f"a rule of kind {kind!r} knows no {sorted(map(str, fields.keys() - known))!r:.100}")
    try:
        return cls(**fields)
    except TypeError as error:
        raise ValueError(f"a rule of kind {kind!r} lacks something: {error}") from None


def matcher(scope: str) -> Callable[[str, str, str], bool]:
    """Whether a scope covers an attempt, given its task's name and full name, and its run's id."""
    kind, _, name = scope.partition(":")
    if kind == "run":
        return lambda task, full, run_id: run_id == name
    if kind == "task":
        pattern = re.compile(fnmatch.translate(name)).match
        known: dict[tuple[str, str], bool] = {}

        def covers(task: str, full: str, _: str) -> bool:
            found = known.get((task, full))
            if found is None:
                if len(known) >= 10_000:  # tasks may be made without end
                    known.clear()
                found = known[task, full] = pattern(task) is not None or pattern(full) is not None
            return found

        return covers
    return lambda task, full, run_id: True
