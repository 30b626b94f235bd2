"""``cascade run --capture``: what tasks print and log is kept with their records, and shown as ever."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cascade.runtime.durability.details.captured import Captured, captured_var

_FORM = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
# Set in a thread that shows a record which has been captured already.
_showing = threading.local()


class Tee:
    """A stream that also hands on what is written to it by tasks.

    Everything but ``write`` and ``writelines`` is that of the stream itself.
    """

    def __init__(self, stream: Any, captured: Captured) -> None:
        self._stream = stream
        self._captured = captured

    def write(self, text: str) -> int:
        """Write *text*."""
        if isinstance(text, str) and not getattr(_showing, "is_set", False):
            self._captured.write(text)
        written: int = self._stream.write(text)
        return written

    def writelines(self, lines: Any) -> None:
        """Write each of *lines*."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class LogCapture(logging.Handler):
    """Hands on the log records that tasks make."""

    def __init__(self, captured: Captured) -> None:
        super().__init__()
        self._captured = captured

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on *record*; shows it, if it would be shown without this handler only."""
        try:
            self._captured.write(f"{_FORM.format(record)}\n")
            last_resort = logging.lastResort
            if last_resort is not None and record.levelno >= last_resort.level and self._is_alone(record.name):
                _showing.is_set = True
                try:
                    last_resort.handle(record)
                finally:
                    _showing.is_set = False
        except Exception:  # as all handlers do it: what is wrong with a record must not fail the task
            self.handleError(record)

    def _is_alone(self, name: str) -> bool:
        """Whether no other handler hears of the records of the logger *name*."""
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True


@contextmanager
def capturing() -> Iterator[None]:
    """Keep, in the block, what tasks of runs that begin in it write to the standard streams and to loggers."""
    captured = Captured()
    streams = sys.stdout, sys.stderr
    handler = LogCapture(captured)
    token = captured_var.set(captured)
    if sys.stdout is not None:
        sys.stdout = Tee(sys.stdout, captured)
    if sys.stderr is not None:
        sys.stderr = Tee(sys.stderr, captured)
    logging.root.addHandler(handler)
    try:
        yield
    finally:
        logging.root.removeHandler(handler)
        sys.stdout, sys.stderr = streams
        captured_var.reset(token)
