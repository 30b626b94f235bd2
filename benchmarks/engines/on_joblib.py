"""joblib: two threads, which get the items in batches whose size it finds by itself."""

from __future__ import annotations

from joblib import Parallel, delayed
from measure import report


def give(value: int) -> int:
    """Nothing."""
    return value


def mapped(size: int) -> None:
    """A map."""
    assert len(Parallel(n_jobs=2, prefer="threads")(delayed(give)(number) for number in range(size))) == size


if __name__ == "__main__":
    report({"c": mapped}, {})
