"""What goes wrong with a pool of ``concurrent.futures``: it breaks, or a batch is cancelled that leaves values."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from anyio import to_thread
from real_time import look_until
from remote_executors import KEEP_ABOVE
from remote_tasks import add, large_though_stopped, sizes_of

import cascade
from cascade.executors import FuturesExecutor


class Breaking(Executor):
    """Takes two calls, and breaks."""

    def __init__(self) -> None:
        self.futures: list[Future[Any]] = []

    def submit(self, *_: Any, **__: Any) -> Future[Any]:
        self.futures.append(Future())
        if len(self.futures) == 2:
            for future in self.futures:
                future.set_exception(BrokenExecutor("it is a test"))
        return self.futures[-1]


async def test_a_pool_that_breaks_under_several_calls_is_made_anew_once() -> None:
    made: list[Executor] = []

    def make() -> Executor:
        made.append(ThreadPoolExecutor(2) if made else Breaking())
        return made[-1]

    calls = [add(number).with_retry(2) for number in (1, 2)]
    assert await cascade.run(calls, executor=FuturesExecutor(make, slots=2)) == [2, 3]
    assert len(made) == 2


async def test_a_cancelled_call_leaves_no_value_behind(tmp_path: Path) -> None:
    pool = partial(ThreadPoolExecutor, 2)
    executor = FuturesExecutor(pool, folder=tmp_path / "values", keep_above=KEEP_ABOVE)
    (tmp_path / "values").mkdir()
    async with cascade.Engine(executor=executor) as engine:
        value = large_though_stopped(str(tmp_path), 2 * KEEP_ABOVE)
        async with engine.start(sizes_of([value])) as run:
            assert await to_thread.run_sync(look_until, (tmp_path / "work-begun").exists)
            run.cancel()
        (folder,) = (tmp_path / "values").iterdir()
        assert list(folder.iterdir()) == []
