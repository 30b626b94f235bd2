"""pydantic-graph: a map of one step for the fan-out, a step for each link of the chain."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from measure import FAILS_AFTER, SIBLINGS, Siblings, Trouble, async_outcome, report
from pydantic_graph import BaseNode, End, GraphBuilder, GraphRunContext, StepContext, reduce_list_append

BACKEND = "asyncio"


def mapped(size: int, step: Any) -> Any:
    """A graph that runs *step* on so many items."""
    builder = GraphBuilder(output_type=list[int])

    async def source(context: StepContext[None, None, None]) -> list[int]:
        return list(range(size))

    first = builder.step(source)
    each = builder.step(step)
    join = builder.join(reduce_list_append, initial_factory=list[int])
    builder.add(
        builder.edge_from(builder.start_node).to(first),
        builder.edge_from(first).map().to(each),
        builder.edge_from(each).to(join),
        builder.edge_from(join).to(builder.end_node),
    )
    return builder.build()


async def work(context: StepContext[None, None, int]) -> int:
    """Nothing."""
    return 1


def fan_out(size: int) -> None:
    """Items side by side."""
    assert len(anyio.run(mapped(size, work).run, backend=BACKEND)) == size


def chain(length: int) -> None:
    """Each takes the one before."""
    builder = GraphBuilder(input_type=int, output_type=int)
    steps = [builder.step(work, node_id=f"n{number}") for number in range(length)]
    pairs = zip([builder.start_node, *steps], [*steps, builder.end_node], strict=True)
    builder.add(*[builder.edge_from(before).to(after) for before, after in pairs])
    assert anyio.run(partial(builder.build().run, inputs=1), backend=BACKEND) == 1


@dataclass
class Down(BaseNode[None, None, int]):  # type: ignore[misc]  # no types where this is checked
    """A turn of a loop, which goes on to another one."""

    left: int

    async def run(self, ctx: GraphRunContext[None, None]) -> Down | End[int]:
        return Down(self.left - 1) if self.left else End(0)


def loop(turns: int) -> None:
    """A node that returns the next one."""
    builder = GraphBuilder(input_type=Down, output_type=int)
    builder.add(builder.node(Down), builder.edge_from(builder.start_node).to(Down))
    assert anyio.run(partial(builder.build().run, inputs=Down(turns)), backend=BACKEND) == 0


async def failing(siblings: Siblings) -> None:
    """The first item fails."""

    async def step(context: StepContext[None, None, int]) -> int:
        if context.inputs == 0:
            await anyio.sleep(FAILS_AFTER)
            raise Trouble
        await siblings.wait(anyio.sleep)
        return 1

    await mapped(SIBLINGS + 1, step).run()


if __name__ == "__main__":
    BACKEND = "trio" if "trio" in sys.argv else "asyncio"
    failure = partial(anyio.run, async_outcome, failing, anyio.sleep, backend=BACKEND)
    report({"a": chain, "b": fan_out, "c": fan_out, "d": loop}, {"async": failure}, smaller=10)
