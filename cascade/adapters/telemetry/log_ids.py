"""Run, node and attempt on log records."""

from __future__ import annotations

import logging

from cascade.runtime.foundation.task_context import ambient


class LogIds(logging.Filter):
    """A filter for handlers that drops nothing, and gives each record the attributes ``run_id``, ``node_id`` and
    ``attempt``.

    They say in which run, node and attempt the record was made, in worker processes too. Outside of tasks they are
    ``"-"``, ``"-"`` and 0. A record that has one of them already, by ``extra=``, keeps it.
    """

    def __init__(self) -> None:
        super().__init__()

    def filter(self, record: logging.LogRecord) -> bool:
        """Give *record* the attributes; returns true.

        Args:
            record: The record.
        """
        known, here = vars(record), ambient()
        known.setdefault("run_id", "-" if here is None else here.run_id)
        known.setdefault("node_id", "-" if here is None else here.node_id)
        known.setdefault("attempt", 0 if here is None else here.number)
        return True
