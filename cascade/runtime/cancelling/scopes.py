"""The cancel scopes of the tasks that nodes of a frame run in."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import attrs
from anyio import CancelScope


class _NoScope:
    """In the place of a cancel scope, where nothing will cancel it."""

    cancel_called = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def cancel(self) -> None:
        """Do nothing."""


NO_SCOPE: Final = _NoScope()
NodeScope = CancelScope | _NoScope


@attrs.define(eq=False)
class NodeScopes:
    """Knows, for each node that has begun to wait, what cancels it.

    A task may run several nodes, one after another; its scope belongs to one of them only while that waits, or
    while the task runs no other.

    Attributes:
        is_cancelled: Whether the node has been cancelled.
    """

    is_cancelled: Callable[[int], bool]
    _scopes: dict[int, NodeScope] = attrs.field(factory=dict)

    def enter(self, index: int, scope: NodeScope) -> None:
        """The node is about to wait inside *scope*; cancelled at once if the node has been."""
        self._scopes[index] = scope
        if self.is_cancelled(index):
            scope.cancel()

    def leave(self, index: int) -> None:
        """The node waits no longer."""
        self._scopes.pop(index, None)

    def cancel(self, index: int) -> None:
        """Cancel what the node waits in; does nothing if it does not wait."""
        if index in self._scopes:
            self._scopes[index].cancel()
