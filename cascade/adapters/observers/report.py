"""An observer that writes what a run has done as a page that anybody can open."""

from __future__ import annotations

import os
from pathlib import Path

from cascade.runtime.context.settings import Observer


def report(path: str | os.PathLike[str]) -> Observer:
    """An observer that writes a report of the run when it has ended: one HTML file that needs nothing else.

    The report has a summary, a timeline, the graph with the state of each node, failures with their tracebacks and
    arguments, retries, waits, the slowest nodes and the critical path. However many nodes there are, the file
    stays below a few megabytes: what is too much to look at is counted. Secrets are shown as ``***``.

    If the observer is cancelled (it has not ended within ``cleanup_timeout``), no report is written.

    Args:
        path: The file. A new one is made for this user only (mode 0600); one that is there is replaced. A
            symbolic link stays, and its file is replaced; a pipe or device is written to.

    Raises:
        FileNotFoundError: If its folder does not exist.
        IsADirectoryError: If it is a folder.
    """
    file = Path(path)
    if not file.absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder for the report {str(file)!r}; make it, or name another file")
    if file.is_dir():
        raise IsADirectoryError(f"{str(file)!r} is a folder; name a file for the report, such as run.html")
    from cascade.adapters.pages.report import Report  # here, as few runs have one

    return Report(file)
