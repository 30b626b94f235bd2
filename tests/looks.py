"""How much of their data runs look at, in numbers that do not depend on the machine."""

from __future__ import annotations

import gc
import threading
from typing import Any

import attrs
import pytest

from cascade.graph.nested import look


@attrs.define
class Visits:
    """Containers that were looked into, by thread."""

    by_thread: dict[int, int] = attrs.field(factory=dict)

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_thread.values())

    def on_this_thread(self) -> int:
        """Those that the calling thread has looked into."""
        return self.by_thread.get(threading.get_ident(), 0)

    def clear(self) -> None:
        """Count anew."""
        self.by_thread.clear()


def note_visits(monkeypatch: pytest.MonkeyPatch) -> Visits:
    """Count, from here on, the containers that are looked into for placeholders."""
    visits = Visits()

    def noted(*values: Any) -> list[Any]:
        thread = threading.get_ident()
        visits.by_thread[thread] = visits.by_thread.get(thread, 0) + len(values)
        return gc.get_referents(*values)

    monkeypatch.setattr(look, "get_referents", noted)
    return visits


@pytest.fixture
def noted_visits(monkeypatch: pytest.MonkeyPatch) -> Visits:
    """Those since the test began. For a module: ``visits = noted_visits``."""
    return note_visits(monkeypatch)


def rows(size: int) -> list[Any]:
    """Plain data of *size* containers in one more."""
    return [[number] for number in range(size)]
