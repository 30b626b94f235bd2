"""Building gives way to others as it goes, and its work grows with the flow and no faster."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chains import chain, pure, step
from effort import effort, once
from life import turns_beside
from strategies import Crate

import cascade
from cascade.graph.build import build, build_steps
from cascade.graph.identity import digests, shape, value_digest
from cascade.graph.nested import Hold, finish
from cascade.graph.nodes import Graph
from cascade.planning.layout import certain_nodes, lay_out
from cascade.planning.solve import solve, solve_steps

ROOT = Path(cascade.__file__).parent.parent


@cascade.task(mode="inline")
def every(*xs: Any) -> Any:
    return xs


RESOURCE = cascade.inject("resource")

FLOWS: dict[str, Callable[[int], Any]] = {
    "chain": lambda n: chain(n, step, step()),
    "chain of lists": lambda n: chain(n, lambda value: step([value]), step()),
    "one wide call": lambda n: step([step(number) for number in range(n)]),
    "gathered": lambda n: cascade.gather(*[step(number) for number in range(n)]),
    "wide target": lambda n: [step(number) for number in range(n)],
    "many arguments": lambda n: every(*[step(number) for number in range(n)]),
    "wide dict": lambda n: step({number: step(number) for number in range(n)}),
    "many predecessors": lambda n: step().after(*[step(number) for number in range(n)]),
    "large plain data": lambda n: step([[number] for number in range(n)]),
    "deep container": lambda n: step(chain(n, lambda value: [value], step())),
    "copies": lambda n: [step(number).after(step()).with_retry(2) for number in range(n)],
    "map": lambda n: step.map(x=[step(number) for number in range(n)]),
    "many routes": lambda n: cascade.Router(0, {number: step(number) for number in range(n)}),
    "wide set": lambda n: step({step(number) for number in range(n)}),
    "chain in a set": lambda n: step({chain(n, step, step())}),
    "pure call of large data": lambda n: pure([[number] for number in range(n)]),
    "wide call that injects": lambda n: every([step(number) for number in range(n)], RESOURCE),
    "claims": lambda n: [step(number).with_constraints(gpu=1) for number in range(n)],
    "originals and copies": lambda n: [
        lazy for number in range(n // 2) for call in [step(number)] for lazy in (call, call.with_retry(2))
    ],
}
every_flow = pytest.mark.parametrize("make", FLOWS.values(), ids=FLOWS)


@every_flow
def test_building_gives_way_to_others(make: Callable[[int], Any]) -> None:
    """A pass at the speed of C over all values is let pass, work on each of them is not."""
    size = 4_000
    assert effort(build_steps(make(size), Hold())).longest <= 15 * size


@every_flow
def test_planning_gives_way_to_others(make: Callable[[int], Any]) -> None:
    size = 4_000
    assert effort(solve_steps(build(make(size)))).longest <= 5 * size


@every_flow
def test_laying_out_gives_way_to_others(make: Callable[[int], Any]) -> None:
    size = 4_000
    assert effort(lay_out(build(make(size)))).longest <= 5 * size


@every_flow
def test_finding_out_what_is_certain_to_run_gives_way_to_others(make: Callable[[int], Any]) -> None:
    size = 4_000
    assert effort(certain_nodes(build(make(size)))).longest <= 5 * size


def test_laying_out_a_wide_call_that_injects_takes_as_long_as_one_that_does_not() -> None:
    def seconds(*resources: Any) -> float:
        graph = build(every([step(number) for number in range(40_000)], *resources))
        begin = time.process_time()
        finish(lay_out(graph))
        return time.process_time() - begin

    assert min(seconds(RESOURCE) for _ in range(3)) < 5 * min(seconds() for _ in range(3))


async def test_other_tasks_go_on_while_a_large_flow_is_built() -> None:
    # Refused once it has been built, so that nothing but building is counted.
    flow = [cascade.Param("missing"), *[step(number) for number in range(20_000)]]

    async def refuse() -> None:
        with pytest.raises(cascade.InputError):
            await cascade.run(flow)

    assert await turns_beside(refuse) > 10


# -- work grows with the flow ----------------------------------------------------------------------------------

LINEAR: dict[str, Callable[[int], Any]] = {
    **{name: make for name, make in FLOWS.items() if name != "deep container"},
    "deep container": lambda n: step(chain(n, lambda value: [value], step())),
    "deep dict": lambda n: step(chain(n, lambda value: {"k": value}, step())),
    "chain of sets": lambda n: chain(n, lambda value: step({value}), step()),
    "set in set in set": lambda n: step(chain(n, lambda value: frozenset([value]), step())),
    "chain of routers": lambda n: chain(n, lambda value: cascade.Router(0, {0: step(value)}), step()),
    "chain of copies": lambda n: [chain(n, lambda lazy: lazy.with_timeout(2), step())],
    "chain of originals and copies": lambda n: chain(
        n, lambda value: step([lazy for call in [step(value)] for lazy in (call, call.with_retry(2))]), step()
    ),
    "shared containers": lambda n: step(chain(n, lambda value: [value, value], step())),
}
WORK: dict[str, Callable[[Graph], object]] = {
    "plan": solve,
    "lay out": lambda graph: [*lay_out(graph)],
    "digest": lambda graph: [*digests(graph, {})],
    "shape": shape,
    "certain": lambda graph: [*certain_nodes(graph)],
}
every_linear = pytest.mark.parametrize("make", LINEAR.values(), ids=LINEAR)


@every_linear
def test_twice_the_flow_is_twice_the_work_of_building(make: Callable[[int], Any]) -> None:
    small, large = (effort(once(build, make(size))).total for size in (100, 200))
    assert large < 2.6 * small


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
@every_linear
def test_twice_the_graph_is_twice_the_work(make: Callable[[int], Any], work: Callable[[Graph], object]) -> None:
    small, large = (effort(once(work, build(make(size)))).total for size in (100, 200))
    assert large < 2.6 * small


@pytest.mark.parametrize(
    "wrap",
    [
        lambda value: [value],
        lambda value: {"k": value},
        lambda value: {"k": value, "l": 1},
        Crate,
        lambda v: (v, {}),
    ],
    ids=["list", "dict", "dict with two keys", "attrs", "tuple with a dict"],
)
def test_twice_the_depth_is_twice_the_work_of_hashing(wrap: Callable[[Any], Any]) -> None:
    def work(value: Any) -> object:
        return value_digest(value, "value")

    small, large = (effort(once(work, chain(size, wrap, 1))).total for size in (200, 400))
    assert large < 2.6 * small


def _peak_of_planning(flow: Any) -> int:
    """Bytes that the planning of *flow* held at most."""
    graph = build(flow)
    gc.collect()
    tracemalloc.start()
    try:
        solve(graph)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda n: chain(n, step, step()), id="chain"),
        pytest.param(lambda n: chain(n, lambda value: cascade.Router(0, {0: step(value)}), step()), id="routers"),
        pytest.param(
            lambda n: chain(n, lambda value: cascade.Router(step(), {0: step(value)}), step()),
            id="selected routers",
        ),
    ],
)
def test_twice_the_flow_is_twice_the_memory(make: Callable[[int], Any]) -> None:
    small, large = (_peak_of_planning(make(size)) for size in (400, 800))
    assert large < 2.6 * small + 200_000


# -- what must not hang ----------------------------------------------------------------------------------------

HANGS = {
    "a cycle through a set": "members = []; lazy = step(members); members.append(lazy); build({lazy})",
    "a cycle through a router in a set": "ways = {0: 1}; r = cascade.Router(0, ways); ways[1] = r; build({r})",
    "a container in itself, in a set": "m = [step(1)]; m.append(m); build({step(m)})",
}


@pytest.mark.parametrize("code", HANGS.values(), ids=HANGS)
def test_building_ends_in_an_error_also_for(code: str) -> None:
    """In a process of its own, with bounds: a walk without end would take the other tests with it."""
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (5, 5))\n"
        "import cascade\nfrom cascade.graph.build import build\n"
        "step = cascade.task(lambda x: x, name='step')\n"
        f"try:\n    {code}\nexcept cascade.GraphError:\n    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "refused\n"
