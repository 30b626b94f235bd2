"""Every way into a run: from scripts, from programs on either backend, from threads."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest
from anyio import get_cancelled_exc_class
from labels import label
from life import Log, joined, just, raising, until
from plain_tasks import doubled_param, sums

import cascade

pytestmark = pytest.mark.loop


# -- starting a loop -------------------------------------------------------------------------------------------


def test_anyio_runs_a_flow(backend_name: str) -> None:
    assert anyio.run(cascade.run, sums(), backend=backend_name) == 14


def test_anyio_runs_a_flow_with_params_as_its_second_argument(backend_name: str) -> None:
    assert anyio.run(cascade.run, doubled_param(), {"limit": 10}, backend=backend_name) == 20


@pytest.mark.needs("trio")
def test_trio_runs_a_flow() -> None:
    import trio

    assert trio.run(cascade.run, sums()) == 14


def test_asyncio_runs_a_flow() -> None:
    assert asyncio.run(cascade.run(sums())) == 14


@pytest.mark.parametrize("schedule", ["stages", "eager"])
def test_a_script_runs_a_flow(backend_name: str, schedule: Any) -> None:
    assert cascade.run_sync(sums(), backend=backend_name, schedule=schedule) == 14


def test_a_script_passes_params_by_name_or_as_the_second_argument(backend_name: str) -> None:
    assert cascade.run_sync(doubled_param(), params={"limit": 10}, backend=backend_name) == 20
    assert cascade.run_sync(doubled_param(), {"limit": 10}, backend=backend_name) == 20


def test_the_default_backend_of_a_script_is_asyncio() -> None:
    @cascade.task
    async def which() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert cascade.run_sync(which()).startswith("asyncio")


@pytest.mark.skipif(not importlib.util.find_spec("uvloop"), reason="uvloop is not installed")
def test_backend_options_are_passed_on() -> None:
    @cascade.task
    async def which() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert cascade.run_sync(which(), backend_options={"use_uvloop": True}).startswith("uvloop")


def test_a_script_raises_the_very_object_that_a_node_raised(backend_name: str) -> None:
    error = ValueError("bad")
    with pytest.raises(ValueError, match="bad") as caught:
        cascade.run_sync(raising(error), backend=backend_name)
    assert caught.value is error


@pytest.mark.needs("trio")
def test_a_script_may_run_one_flow_after_another_on_either_backend() -> None:
    the_flow = sums()
    results = [cascade.run_sync(the_flow, backend=backend) for backend in ("asyncio", "trio") * 2]
    assert results == [14] * 4


@pytest.mark.needs("trio")
def test_the_same_flow_gives_the_same_everywhere() -> None:
    import trio

    the_flow = sums()
    ways: list[Callable[[], int]] = [
        lambda: anyio.run(cascade.run, the_flow),
        lambda: anyio.run(cascade.run, the_flow, backend="trio"),
        lambda: trio.run(cascade.run, the_flow),
        lambda: asyncio.run(cascade.run(the_flow)),
        lambda: cascade.run_sync(the_flow),
    ]
    assert [way() for way in ways] == [14] * 5


def test_asyncio_starts_and_follows_a_run_without_anyio() -> None:
    async def main() -> Any:
        async with cascade.start(sums()) as run:
            return await run.result()

    assert asyncio.run(main()) == 14


def test_a_setting_that_there_is_not_is_refused(backend_name: str) -> None:
    with pytest.raises(TypeError, match="shedule"):
        cascade.run_sync(sums(), backend=backend_name, shedule="eager")  # type: ignore[call-overload]


# -- plain values and containers -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [5, None, "text", [], {}, (1, [2]), {"a": {1, 2}}], ids=label)
async def test_a_plain_value_is_returned_in_both_schedules(value: Any, schedule: Any) -> None:
    assert await cascade.run(value, schedule=schedule) is value


async def test_a_container_of_lazies_gives_the_same_container_of_values(schedule: Any) -> None:
    target = {"a": [just(1), 2], "b": (just(None), just(False))}
    assert await cascade.run(target, schedule=schedule) == {"a": [1, 2], "b": (None, False)}


# -- from threads ----------------------------------------------------------------------------------------------


def test_a_blocking_portal_runs_a_flow(backend_name: str) -> None:
    with anyio.from_thread.start_blocking_portal(backend=backend_name) as portal:
        assert portal.call(cascade.run, sums()) == 14


def test_a_blocking_portal_raises_the_very_object_that_a_node_raised(backend_name: str) -> None:
    error = ValueError("bad")
    portals = anyio.from_thread.start_blocking_portal(backend=backend_name)
    with portals as portal, pytest.raises(ValueError, match="bad") as caught:
        portal.call(cascade.run, raising(error))
    assert caught.value is error


def test_a_blocking_portal_starts_and_cancels_a_run(backend_name: str) -> None:
    log = Log()
    with anyio.from_thread.start_blocking_portal(backend=backend_name) as portal:
        future, run = portal.start_task(cascade.serve, log.waits("a"))
        portal.call(until, log.has("a starts"))
        portal.call(run.cancel)
        future.result(30)
    assert log.lines == ["a starts", "a is cancelled"]


def test_a_blocking_portal_wraps_the_block_of_start(backend_name: str) -> None:
    portals = anyio.from_thread.start_blocking_portal(backend=backend_name)
    with portals as portal, portal.wrap_async_context_manager(cascade.start(sums())) as run:
        assert portal.call(run.result) == 14


def test_runs_on_several_loops_at_once_do_not_get_in_each_others_way(backend_name: str) -> None:
    results: list[int] = []
    barrier = threading.Barrier(4, timeout=30)

    @cascade.task
    def meets(x: int) -> int:
        barrier.wait()
        return x

    threads = [
        threading.Thread(target=lambda x=x: results.append(cascade.run_sync(meets(x), backend=backend_name)))
        for x in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == [0, 1, 2, 3]


# -- manners ---------------------------------------------------------------------------------------------------


async def test_a_run_installs_no_signal_handlers() -> None:
    watched = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    before = [signal.getsignal(number) for number in watched]

    @cascade.task
    async def look() -> Any:
        return [signal.getsignal(number) for number in watched]

    assert await cascade.run(look()) == before
    assert [signal.getsignal(number) for number in watched] == before


def test_a_script_leaves_the_signal_handlers_as_they_were(backend_name: str) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    cascade.run_sync(just(1), backend=backend_name)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


async def test_a_run_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="bad"):
        await cascade.run(joined(just(1), raising(ValueError("bad"))))
    assert capfd.readouterr() == ("", "")


def test_importing_the_library_starts_no_thread_and_imports_no_backend() -> None:
    code = "import sys, threading, cascade; print(threading.active_count(), 'trio' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]


async def test_a_cancellation_is_not_an_exception_that_handlers_of_exceptions_see() -> None:
    seen: list[BaseException] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        try:
            await cascade.run(just(1))
        except Exception as error:
            seen.append(error)
        except get_cancelled_exc_class():
            raise
    assert seen == []
