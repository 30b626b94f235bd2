"""dask as a place for tasks: batches of calls are tasks of a dask cluster.

``executor`` is what users see. ``connection`` has one dask client, in whose event loop (a thread of dask's) all
else happens, and knows which batches are ``under_way``; ``batch`` follows one of them from submission to answer.
``there`` is what runs on the workers.

*Start.* The worker logs an event under a topic with the name of the client, which the client listens to.

*Cancellation.* dask forgets what is queued. What runs in a thread cannot be stopped, so each worker process keeps
a ledger of its batches (``there``): once a batch is revoked it either never begins, or is known to run until it
has left; ``cascade.checkpoint()`` looks there. The client asks the ledgers until the batch has left.

*Values that stay.* A batch gives the answer and the values as one result. Tasks of their own take the answer and
each value out of it, on the same worker; the client holds the futures of the latter.
"""

from cascade.adapters.remote.dask.executor import DaskExecutor, from_url

__all__ = ["DaskExecutor", "from_url"]
