"""Parameters that are independent: each value in the usual suite once, all combinations in the slow one."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest


def each_once(names: str, *columns: dict[str, Any]) -> pytest.MarkDecorator:
    """All combinations of what *columns* hold; those that show no value that others do not show are slow.

    Args:
        names: Of the parameters, with commas between them.
        columns: The values by their ids, tuples where they stand for several parameters.
    """
    longest = max(map(len, columns))
    usual = {tuple(number % len(column) for column in columns) for number in range(longest)}
    cases = []
    for places in product(*(range(len(column)) for column in columns)):
        chosen = [list(column.items())[place] for column, place in zip(columns, places, strict=True)]
        values = [value for _, held in chosen for value in (held if type(held) is tuple else (held,))]
        marks = () if places in usual else (pytest.mark.slow,)
        cases.append(pytest.param(*values, marks=marks, id="-".join(name for name, _ in chosen)))
    return pytest.mark.parametrize(names, cases)


BACKENDS = {"asyncio": "asyncio", "trio": "trio"}
SCHEDULES = {"stages": "stages", "eager": "eager"}
