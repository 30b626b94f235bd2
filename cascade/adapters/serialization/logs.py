"""Log records of another process, handled by the loggers of this one: their levels, filters and handlers count."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import attrs

from cascade.adapters.serialization.errors import FarError
from cascade.adapters.serialization.values import dumps

_TRACEBACKS: Final = logging.Formatter()


# -- where they are handled ------------------------------------------------------------------------------------


@attrs.frozen
class Levels:
    """Which records are worth sending.

    Attributes:
        disabled: Up to which level :func:`logging.disable` suppresses everything.
        levels: The levels that have been set, by name of the logger; the root's name is empty.
    """

    disabled: int
    levels: Mapping[str, int]


def present_levels() -> Levels:
    """The levels of this process."""
    named = {logger.name: logger.level for logger in _loggers() if logger.level != logging.NOTSET}
    return Levels(logging.root.manager.disable, {**named, "": logging.root.level})


def handle_record(data: bytes) -> None:
    """Have the record in *data* handled by the logger of its name."""
    rich, plain, error = pickle.loads(data)
    try:
        fields: dict[str, Any] = pickle.loads(rich)
    except Exception:  # it needs something that is not here
        fields = plain
    if error is not None:
        near, _ = error.rebuilt()
        fields["exc_info"] = None if near is None else (type(near), near, None)
    record = logging.makeLogRecord(fields)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


# -- where they come from --------------------------------------------------------------------------------------


class ForwardingHandler(logging.Handler):
    """Sends records away, as bytes for :func:`handle_record`.

    Args:
        send: Called with the bytes; must not raise.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send *record*."""
        self._send(dump_record(record))


def dump_record(record: logging.LogRecord) -> bytes:
    """*record* as bytes; never raises. What cannot be pickled, or not be read there, is replaced by its text."""
    fields: dict[str, Any] = {**vars(record), "exc_info": None}
    error: FarError | None = None
    if record.exc_info and record.exc_info[1] is not None:
        fields["exc_text"] = record.exc_text or _TRACEBACKS.formatException(record.exc_info)
        error = FarError.of(record.exc_info[1])
    plain = {name: _plain(value) for name, value in fields.items()}
    plain.update(msg=_message(record), args=None)
    try:
        rich = dumps(fields)
    except Exception:  # whatever the values' own __reduce__ raise
        rich = b""
    return pickle.dumps((rich, plain, error), pickle.HIGHEST_PROTOCOL)


def _plain(value: object) -> object:
    return value if value is None or type(value) in (str, int, float, bool) else _text(value)


def _text(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # a broken __repr__ must not lose a record
        return f"<{type(value).__name__}: its __repr__ raised>"


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # too many or too few arguments: the record says what it can
        return f"{_text(record.msg)} with arguments {_text(record.args)}"


def apply_levels(levels: Levels, previous: Levels | None) -> None:
    """Have the loggers here let through what those in the process of *levels* would."""
    logging.disable(levels.disabled)
    for name in previous.levels if previous is not None else ():
        if name not in levels.levels:
            logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in levels.levels.items():
        logging.getLogger(name).setLevel(level)


@contextmanager
def undoing_configuration() -> Iterator[None]:
    """Take away the handlers that the block adds, and let its loggers propagate.

    For modules that configure logging when they are imported: the process where records are handled has imported
    them too, and each record would be handled twice.
    """
    before = set(_handlers())
    try:
        yield
    finally:
        for logger, handler in set(_handlers()) ^ before:
            if (logger, handler) in before:
                logger.addHandler(handler)
            else:
                logger.removeHandler(handler)
                logger.propagate = True


def _handlers() -> Iterator[tuple[logging.Logger, logging.Handler]]:
    for logger in (logging.root, *_loggers()):
        for handler in logger.handlers:
            yield logger, handler


def _loggers() -> Iterator[logging.Logger]:
    """All loggers but the root."""
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger
