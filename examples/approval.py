"""A report that is published once somebody has approved it, which may take days.

The report is made at once; then the run waits. Nothing needs to stay alive meanwhile: the run may be suspended,
its process may be killed, and the machine may be restarted. Whatever was accepted is in the store, and whoever
goes on with the run finds it there::

    cascade run examples/approval.py:flow --state sqlite:///runs.db --run-id march --when-idle suspend
    cascade show march --state sqlite:///runs.db
    cascade send march approve yes --state sqlite:///runs.db
    cascade resume march --state sqlite:///runs.db

The first command ends with status 75, as the run is suspended; the last one publishes. A job of cron that resumes
it again and again does as well: as long as there is no approval, it ends with 75 at once. Without ``--when-idle
suspend`` the run stays alive, and takes the approval within a second.
"""

from __future__ import annotations

import attrs

import cascade

month = cascade.Param("month", default="March", description="the month to report on")
# Whoever approves says yes or no; after a week it is a no.
approve = cascade.signal("approve", bool, default=False, timeout=7 * 24 * 3600, description="may it be published?")


@attrs.frozen
class Report:
    """What there is to approve."""

    title: str
    pages: int


@cascade.task
def write(month: str) -> Report:
    """Write the report: hours of work, in real life, that nobody wants to do twice."""
    print(f"writing the report on {month}", flush=True)
    return Report(f"Report on {month}", pages=12)


@cascade.task
def publish(report: Report) -> str:
    """Publish it. The store sees to it that this happens once."""
    print(f"publishing {report.title}", flush=True)
    return f"{report.title} is published, with {report.pages} pages"


@cascade.task
def withdraw(report: Report) -> str:
    """Put it away."""
    return f"{report.title} is withdrawn"


report = write(month)
# The week begins when the report is there, and not before.
flow = cascade.Router(approve.after(report), {True: publish(report), False: withdraw(report)})


if __name__ == "__main__":
    print(cascade.run_sync(flow, run_id="march", state="sqlite:///runs.db"))
