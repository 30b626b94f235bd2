"""An event loop whose library is not installed: the error says how to get it, wherever the loop was asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

import cascade
from cascade.adapters.event_loops import check_backend
from cascade.testing import simulate, virtual_backends, virtual_trio_clock

REMEDY = 'pip install "cascade-anyio[trio]"'

TRIO: Any = "trio"


@cascade.task
async def one() -> int:
    return 1


@pytest.fixture
def without_trio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trio", None)


@pytest.mark.usefixtures("without_trio")
@pytest.mark.parametrize(
    "ask",
    [
        lambda: cascade.run_sync(one(), backend="trio"),
        lambda: simulate(one(), backend=TRIO),
        virtual_trio_clock,
        lambda: check_backend("trio"),
    ],
    ids=["run_sync", "simulate", "virtual_trio_clock", "check_backend"],
)
def test_without_trio_the_error_says_what_to_install(ask: Callable[[], object]) -> None:
    with pytest.raises(ImportError) as caught:
        ask()

    assert str(caught.value) == f"backend 'trio' needs Trio, which is not installed; install the extra: {REMEDY}"


@pytest.mark.usefixtures("without_trio")
def test_without_trio_all_else_works() -> None:
    assert cascade.run_sync(one()) == 1
    assert simulate(one()).result() == 1
    assert [name for name, _ in virtual_backends()] == ["asyncio"]
