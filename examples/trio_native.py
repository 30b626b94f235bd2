"""A Trio program that runs a flow beside its other tasks, follows its events, and cancels it.

The flow would never end: it watches a few sources for ever. The program gives it a second task of its own as
company, shows what it does, and has enough after ten observations::

    python examples/trio_native.py
"""

from __future__ import annotations

import anyio
import trio

import cascade


@cascade.task
async def observe(source: str, round_number: int) -> str:
    """Look at a source once; any AnyIO or Trio code may stand here."""
    await anyio.sleep(0.01)
    return f"{source} in round {round_number}"


@cascade.task
async def watch(round_number: int, seen: list[str]) -> object:
    """One round after another, as a tail call: constant memory, however long it goes on."""
    upcoming = [observe(source, round_number + 1) for source in ("sensor", "queue", "disk")]
    return watch(round_number + 1, upcoming)


async def follow(run: cascade.Run, enough: int) -> int:
    """Count observations as they happen, and cancel the run after some."""
    count = 0
    async with run.subscribe(cascade.TaskExecutionFinished) as events:
        async for event in events:
            if isinstance(event, cascade.TaskExecutionFinished) and event.task_name == "observe":
                count += 1
                print(f"  {event.result_preview}")
            if count == enough:
                run.cancel()
                return count
    return count


async def greet(stop: trio.Event) -> None:
    """Something else that the program does meanwhile."""
    print("the program has other things to do")
    await stop.wait()


async def main() -> int:
    """The program: one nursery, with the flow as one of its tasks."""
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(greet, stop)
        run: cascade.Run = await nursery.start(cascade.serve, watch(0, []))
        count = await follow(run, enough=10)
        try:
            await run.result()
        except cascade.RunCancelled:
            print(f"cancelled after {count} observations; nothing of the flow is alive any more")
        stop.set()
    return count


if __name__ == "__main__":
    trio.run(main)
