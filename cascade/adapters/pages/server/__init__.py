"""A small HTTP server for pages about runs, on AnyIO, beside the runs.

``listening.py`` opens the address and serves connections, each of which is one request: ``exchange.py`` reads it
with h11, within limits, and writes the answer or a stream of server-sent events. ``access.py`` decides who may
ask, ``site.py`` what is answered, about the runs of a *source* (``sources/``). ``service.py`` makes it the page of
a run, or of a command.
"""
