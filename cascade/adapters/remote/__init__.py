"""Remote executors: calls that run on other machines, or in any pool of workers.

``wire`` is the side of the engine: it makes bytes of a batch of calls, and outcomes of the answer. ``entry`` is
the side of the worker: ``run_batch`` makes the calls. What lies between is up to each executor: how bytes travel,
how the start of a call is told (``Site.started``), how a cancellation gets there (``Site.is_cancelled``), and
where values stay (``Site.keep``); ``cluster_site`` has what dask and Ray do alike there.
"""
