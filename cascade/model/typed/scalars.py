"""Kinds of single values: from text, and what else is one."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from numbers import Complex, Real
from typing import Any, Final, get_args

import attrs

from cascade.model.typed.kinds import Mismatch, is_same
from cascade.model.typed.numbers import is_foreign_real, is_whole, plain_number

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})
_NONE: Final = frozenset({"none", "null"})
# ISO 8601: weeks, or days and a time; fractions of the seconds only.
_DURATION: Final = re.compile(
    r"(?P<sign>[+-]?)P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)(?:[.,](?P<fraction>\d{1,6})\d*)?S)?)?",
    re.ASCII,
)


@attrs.frozen
class Scalar:
    """How values of a kind come about.

    Attributes:
        read: From text; raises ``ValueError`` or :class:`Mismatch`.
        accept: From a value of another class; raises the same.
        is_in_json: Whether JSON has such values, so that a string in it stands for none.
    """

    read: Callable[[str], Any]
    accept: Callable[[Any], Any]
    is_in_json: bool = False


def _refuse(_: Any) -> Any:
    raise Mismatch


def _read_bool(text: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise Mismatch


def _accept_bool(value: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if isinstance(value, bool) or (numpy is not None and isinstance(value, numpy.bool_)):
        return value
    raise Mismatch


def _read_none(text: str) -> None:
    if text.strip().lower() not in _NONE:
        raise Mismatch


def _read_number(kind: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind(text)
        except (ValueError, ArithmeticError):
            raise Mismatch from None

    return read


def _accept_int(value: Any) -> Any:
    if is_whole(value):
        return value
    raise Mismatch


def _accept_float(value: Any) -> Any:
    if isinstance(value, float):
        return value
    if is_whole(value) or is_foreign_real(value):
        try:
            return float(value)
        except OverflowError:
            raise Mismatch("too large") from None
    raise Mismatch


def _accept_complex(value: Any) -> Any:
    if isinstance(value, complex):
        return value
    if isinstance(value, Complex) and not isinstance(value, Real):
        return complex(value)
    return complex(_accept_float(value))


def _accept_exact(kind: type[Decimal | Fraction]) -> Callable[[Any], Any]:
    """For exact numbers: whole ones, and floats as the shortest decimal that they are written as."""

    def accept(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        if is_whole(value):
            return kind(int(value))
        if isinstance(value, float):
            try:
                return kind(float.__repr__(value))
            except ValueError:  # a Fraction is finite
                raise Mismatch from None
        raise Mismatch

    return accept


def _read_duration(text: str) -> timedelta:
    found = _DURATION.fullmatch(text.strip().upper())
    if found is None or not any(found[name] for name in ("weeks", "days", "hours", "minutes", "seconds")):
        raise Mismatch
    parts = {name: int(found[name] or 0) for name in ("weeks", "days", "hours", "minutes", "seconds")}
    try:
        size = timedelta(**parts, microseconds=int((found["fraction"] or "").ljust(6, "0")))
        return -size if found["sign"] == "-" else size
    except OverflowError:
        raise Mismatch("too long") from None


def written_duration(value: timedelta) -> str:
    """*value* in the form that is read: ISO 8601."""
    sign = "-" if value < timedelta() else ""
    size = abs(value)
    fraction = f".{size.microseconds:06}" if size.microseconds else ""
    return f"{sign}P{size.days}DT{size.seconds}{fraction}S"


def _instances_of(kind: type, *, but: tuple[type, ...] = ()) -> Callable[[Any], Any]:
    def accept(value: Any) -> Any:
        if isinstance(value, kind) and not isinstance(value, but):
            return value
        raise Mismatch

    return accept


def _from_iso(kind: Any) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return kind.fromisoformat(text.strip())
        except ValueError:
            raise Mismatch from None

    return read


SCALARS: Final[Mapping[Any, Scalar]] = {
    bool: Scalar(_read_bool, _accept_bool, is_in_json=True),
    int: Scalar(_read_number(int), _accept_int, is_in_json=True),
    float: Scalar(_read_number(float), _accept_float, is_in_json=True),
    complex: Scalar(_read_number(complex), _accept_complex),
    type(None): Scalar(_read_none, _instances_of(type(None)), is_in_json=True),
    str: Scalar(lambda text: text, _instances_of(str)),
    # The bytes of the command line, also where they are no UTF-8.
    bytes: Scalar(lambda text: text.encode("utf-8", "surrogateescape"), _instances_of(bytes)),
    Decimal: Scalar(_read_number(Decimal), _accept_exact(Decimal)),
    Fraction: Scalar(_read_number(Fraction), _accept_exact(Fraction)),
    date: Scalar(_from_iso(date), _instances_of(date, but=(datetime,))),
    datetime: Scalar(_from_iso(datetime), _instances_of(datetime)),
    time: Scalar(_from_iso(time), _instances_of(time)),
    timedelta: Scalar(_read_duration, _instances_of(timedelta)),
}


# -- enumerated values -------------------------------------------------------------------------------------------


def enum_from_text(text: str, kind: type[Enum]) -> Enum:
    """The member of this name, or of this value."""
    if text in kind.__members__:
        return kind[text]
    for member in kind:
        if str(member.value) == text:
            return member
    raise Mismatch


def enum_from_value(value: Any, kind: type[Enum]) -> Enum:
    """*value* if it is a member, otherwise the member of this name, or of this value."""
    if isinstance(value, kind):
        return value
    if isinstance(value, str) and value in kind.__members__:
        return kind[value]
    for member in kind:
        if _is_equal(member.value, value):
            return member
    if issubclass(kind, Flag) and is_whole(value):
        try:
            return kind(int(value))
        except ValueError:
            raise Mismatch from None
    raise Mismatch


def literal_from_value(value: Any, kind: Any) -> Any:
    """*value* if it is listed; 1, True and 1.0 are different."""
    for choice in get_args(kind):
        if _is_equal(choice, value):
            return choice
    raise Mismatch


def _is_equal(listed: Any, value: Any) -> bool:
    """Whether *value* is the one that is listed; numbers of numpy are numbers."""
    number = plain_number(value)
    return type(plain_number(listed)) is type(number) and is_same(listed, number)


# -- any other class ---------------------------------------------------------------------------------------------


def class_from_text(text: str, kind: type) -> Any:
    """An instance of *kind*, made of text alone."""
    if kind is type:
        raise Mismatch
    try:
        made = kind(text)
    except Exception as error:  # whatever the class finds wrong with the text
        raise Mismatch(reason(error)) from error
    return class_from_value(made, kind)


def class_from_value(value: Any, kind: Any) -> Any:
    """*value* if it is an instance of *kind*."""
    try:
        if isinstance(value, kind):
            return value
    except Exception:  # a protocol, for which Python does not tell, or a class with a test of its own
        raise Mismatch("Python cannot tell whether a value is of this type") from None
    raise Mismatch


def converter_from_text(text: str, convert: Callable[[str], Any]) -> Any:
    """What *convert* makes of text."""
    try:
        return convert(text)
    except Exception as error:  # whatever the function finds wrong with the text
        raise Mismatch(reason(error)) from error


def reason(error: Exception) -> str:
    """What a class or a function of a user finds wrong with a value."""
    try:
        text = str(error)
    except Exception:  # a broken __str__ must not turn one failure into another
        text = ""
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
