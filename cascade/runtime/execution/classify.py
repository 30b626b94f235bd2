"""What an error means for the node that raised it."""

from __future__ import annotations

from cascade.model.errors import AttemptCancelled, TaskCancelledError
from cascade.model.outcomes import Cancelled, Failed, NodeOutcome
from cascade.model.shown.raised import leaves
from cascade.runtime.context.lifecycle import DrainedError
from cascade.runtime.foundation.cancellations import is_cancelled, without_cancellations


def classify(error: BaseException, node_id: str) -> NodeOutcome:
    """What *error*, raised by a node's own code or on its behalf, means for the node."""
    if isinstance(error, DrainedError):
        return Cancelled()
    failure = without_cancellations(error)
    if failure is None:
        return _cancelled(next(leaves(error)), node_id)
    if isinstance(failure, StopIteration):
        # No coroutine can raise it (PEP 479), and the run is one.
        failure = RuntimeError(
            f"task {node_id!r} raised StopIteration, which is the end of an iterator and no error that can be "
            "handed on; give next() a default, or raise something else"
        )
        failure.__cause__ = error
    return Failed(failure)


def _cancelled(cancellation: BaseException, node_id: str) -> NodeOutcome:
    """What a cancellation means: the end of the node, or its failure if nothing around it is cancelled."""
    if is_cancelled() or isinstance(cancellation, AttemptCancelled):
        return Cancelled()
    failure = TaskCancelledError(node_id)
    failure.__cause__ = cancellation
    return Failed(failure)
