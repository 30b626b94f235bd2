"""Tell somebody when a run fails: post what happened to a URL, as chat rooms and pagers take it.

    python examples/tell_somebody.py http://127.0.0.1:8000/hooks/nightly

The call blocks, so ``on_failure`` makes it in a thread, and for as long as its ``timeout`` allows.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Any

import cascade


@cascade.task
def load(name: str) -> int:
    """Stand in for work of which one part fails."""
    if name == "b.csv":
        raise FileNotFoundError(name)
    return len(name)


@cascade.task
def total(sizes: list[int]) -> int:
    """Add up."""
    return sum(sizes)


flow = total(load.map(name=["a.csv", "b.csv", "c.csv"]))


def post_to(url: str) -> Any:
    """An observer that posts a message to *url* when a run has failed."""

    def post(event: cascade.RunFinished) -> None:
        text = f"{event.run_id} failed: {event.error} ({event.counts['failed']} failed nodes)"
        body, headers = json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
        try:
            urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=4).close()
        except urllib.error.HTTPError as refusal:
            refusal.close()
            raise

    return cascade.observers.on_failure(post)


def main(url: str) -> None:
    """Run the flow, and have *url* told if it fails."""
    try:
        cascade.run_sync(flow, run_id="nightly", observers=[post_to(url)])
    except FileNotFoundError as error:
        print(f"failed: {error}")
        for note in error.__notes__:
            print(note)


if __name__ == "__main__":
    main(sys.argv[1])
