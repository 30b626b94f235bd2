"""OpenTelemetry: spans and metrics of runs, made around the calls of tasks.

``opening`` makes the observer, once OpenTelemetry is known to be there; ``run_trace`` follows one run; ``metrics``
has the instruments, which all runs with one meter provider share; ``carriers`` takes the context to other
processes. ``log_ids`` needs no OpenTelemetry.
"""
