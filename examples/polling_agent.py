"""An agent that polls until a job is done: a loop written as a tail call.

Each turn is a task with a retry policy and a timeout; the state travels in its arguments, so there is nothing to
keep and nothing to clean up, and a million turns take no more memory than one::

    python examples/polling_agent.py
    cascade run examples/polling_agent.py:flow --job build-7 --backend trio
"""

from __future__ import annotations

import anyio
import attrs

import cascade

job = cascade.Param("job", default="build-7", description="the job to wait for")
patience = cascade.Param("patience", default=40, description="polls before giving up")


@attrs.frozen
class Status:
    """What a poll told us."""

    percent: int
    is_done: bool


@cascade.task
async def ask(job: str, polls: int) -> Status:
    """Ask for the job's status. A real agent would make a request here; this job takes twenty polls."""
    await anyio.sleep(0.001)
    if polls == 3 and cascade.current().attempt == 1:
        raise ConnectionError("the network had a hiccup")
    return Status(percent=min(5 * polls, 100), is_done=polls >= 20)


@cascade.task
async def poll(job: str, polls: int, patience: int, status: Status) -> object:
    """Look at the last status, and go on with the next turn unless that is not needed any more."""
    if status.is_done:
        return f"{job} is done after {polls} polls"
    if polls >= patience:
        return f"gave up on {job} at {status.percent} %"
    answer = ask(job, polls + 1).with_retry(max_attempts=3, delay=0.001, backoff=2.0).with_timeout(5.0)
    return poll(job, polls + 1, patience, answer)


flow = poll(job, 0, patience, Status(percent=0, is_done=False))


if __name__ == "__main__":
    print(cascade.run_sync(flow))
