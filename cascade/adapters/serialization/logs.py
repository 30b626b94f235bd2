"""Sends log records to another process, whose loggers, with their levels, filters and handlers, handle them."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import attrs

from cascade.adapters.serialization.errors import FarError
from cascade.adapters.serialization.values import dumps
from cascade.adapters.telemetry.log_ids import LogIds

_TRACEBACKS: Final = logging.Formatter()
_IDS: Final = LogIds()


# -- in the process that handles the records -------------------------------------------------------------------


@attrs.frozen
class Levels:
    """Which records are worth sending.

    Attributes:
        disabled: The level up to which :func:`logging.disable` suppresses all records.
        levels: The levels that are set, by name of the logger; the root's name is empty.
    """

    disabled: int
    levels: Mapping[str, int]


def present_levels() -> Levels:
    """The levels of this process."""
    named = {logger.name: logger.level for logger in _loggers() if logger.level != logging.NOTSET}
    return Levels(logging.root.manager.disable, {**named, "": logging.root.level})


def handle_record(data: bytes) -> None:
    """Let the logger of its name handle the record in *data*."""
    rich, plain, error = pickle.loads(data)
    try:
        fields: dict[str, Any] = pickle.loads(rich)
    except Exception:  # unpickling imports modules, which may be missing here or raise anything
        fields = plain
    if error is not None:
        near, _ = error.rebuilt()
        fields["exc_info"] = None if near is None else (type(near), near, None)
    record = logging.makeLogRecord(fields)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


# -- in the process that makes the records ---------------------------------------------------------------------


class LogForwarder(logging.Handler):
    """Sends log records to another process, as bytes for :func:`handle_record`.

    Args:
        send: Called with the bytes; must not raise.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send *record*, with the run, node and attempt in which it was made."""
        _IDS.filter(record)
        self._send(dump_record(record))


def dump_record(record: logging.LogRecord) -> bytes:
    """*record* as bytes; never raises. Values that cannot be pickled, or unpickled there, are replaced by text."""
    fields: dict[str, Any] = {**vars(record), "exc_info": None}
    error: FarError | None = None
    if record.exc_info and record.exc_info[1] is not None:
        fields["exc_text"] = record.exc_text or _TRACEBACKS.formatException(record.exc_info)
        error = FarError.of(record.exc_info[1])
    plain = {name: _plain(value) for name, value in fields.items()}
    plain.update(msg=_message(record), args=None)
    try:
        rich = dumps(fields)
    except Exception:  # pickling runs the __reduce__ of the values, which may raise anything
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
    except Exception:  # arguments that do not fit, or a __str__ that raises: the record says what it can
        return f"{_text(record.msg)} with arguments {_text(record.args)}"


def apply_levels(levels: Levels, previous: Levels | None) -> None:
    """Give the loggers of this process *levels*, and reset those that only *previous* has."""
    logging.disable(levels.disabled)
    for name in previous.levels if previous is not None else ():
        if name not in levels.levels:
            logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in levels.levels.items():
        logging.getLogger(name).setLevel(level)


@contextmanager
def undoing_configuration() -> Iterator[None]:
    """Remove the handlers that the block adds, and let its loggers propagate.

    For modules that configure logging when they are imported: the process that handles the records has imported
    them too, so each record would be handled twice.
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
