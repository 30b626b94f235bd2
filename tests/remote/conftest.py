"""Each test of this folder asks every kind of remote executor, unless it says otherwise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from remote_executors import Kind, params

from cascade.executors import RemoteExecutor


@pytest.fixture(scope="module", params=params())
def remote(request: pytest.FixtureRequest) -> Iterator[RemoteExecutor]:
    """A remote executor with two workers, shared by the tests of a module."""
    kind: Kind = request.param
    with kind.opened() as executor:
        yield executor
