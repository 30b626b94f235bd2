"""Ray as a place for tasks: batches of calls are tasks of a Ray cluster.

``executor`` is what users see. ``cluster`` has the process's connection to Ray, and a thread that talks to it, as
any word with Ray may block. ``there`` is what runs on the workers, ``board`` an actor there.

*Start.* A worker tells the board, and the board answers the question for news that is always under way from here:
a generator, which would need no actor, does not work with Ray's client (``ray://``).

*Cancellation.* Ray forgets what is queued, and raises ``KeyboardInterrupt`` in what runs. Its result comes when
the function has ended, so waiting for that is waiting until the batch has left.

*Values that stay.* They are further results of the task, owned by this process, so they outlive the worker.
"""

from cascade.adapters.remote.ray.executor import RayExecutor, from_url

__all__ = ["RayExecutor", "from_url"]
