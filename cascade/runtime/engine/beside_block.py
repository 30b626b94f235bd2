"""A run beside a block of code: each may fail, and each may end the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import anyio
from anyio import get_cancelled_exc_class

from cascade.model.errors import RunCancelled
from cascade.model.shown.raised import raise_unchanged
from cascade.runtime.engine.handle import Run
from cascade.runtime.foundation.async_context import async_context
from cascade.runtime.foundation.cancellations import without_cancellations
from cascade.runtime.run.lifetime import RunLifetime


@async_context
async def beside_block(lifetime: RunLifetime) -> AsyncGenerator[Run, None]:
    """Run to the end beside a block, which gets the handle; an exception in the block cancels the run.

    Raises:
        BaseExceptionGroup: If the block and the run failed with different errors.
        BaseException: The error of the block or of the run, as it is; not one that the handle has raised already.
    """
    run = Run(lifetime)
    errors: list[BaseException] = []
    try:
        async with anyio.create_task_group() as group:
            lifetime.run_context.tasks.spawn(group, lifetime.run)
            try:
                yield run
            except BaseException as error:  # whatever it is: it is raised when the run has ended
                errors.append(error)
                run.cancel()
            await lifetime.ended.wait()
    except get_cancelled_exc_class() as cancellation:
        errors.append(cancellation)
    unreported = run.unreported()
    if unreported is not None and not (errors and isinstance(unreported, RunCancelled)):
        errors.append(unreported)  # what has cancelled the run is among the errors already
    _raise(errors)


def _raise(errors: Sequence[BaseException]) -> None:
    """Raise what block and run have raised: one error as it is, two in a group.

    A cancellation counts only if there is nothing else: its scope stays cancelled anyway, an error would be lost.
    """
    distinct = list({id(error): error for error in errors}.values())
    failures = [failure for error in distinct if (failure := without_cancellations(error)) is not None]
    if len(failures) > 1:
        raise BaseExceptionGroup("the run and the block around it both failed", failures)
    for error in failures or distinct[:1]:
        raise_unchanged(error)
