"""What a loop keeps of its cached calls, to save the final value for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

import attrs

# Saves the final value of a flow for one of the calls that it replaced.
Save = Callable[[Any], Awaitable[None]]
# In how many of the calls of a loop, from its beginning and from its end, the final value is saved.
SAVED_AT_EACH_END: Final = 16


@attrs.define(eq=False)
class Saves:
    """What is to be done with the final value of a flow, for the cached calls that it replaced.

    A loop may make millions of calls, each with its arguments, in constant memory: the first ones and the last
    ones are kept.
    """

    _first: list[Save] = attrs.field(factory=list)
    _last: deque[Save] = attrs.field(factory=lambda: deque(maxlen=SAVED_AT_EACH_END))

    def add(self, save: Save) -> None:
        """Do this, too."""
        if len(self._first) < SAVED_AT_EACH_END:
            self._first.append(save)
        else:
            self._last.append(save)

    async def finish(self, value: Any) -> None:
        """Save *value*, the innermost call first."""
        for save in (*reversed(self._last), *reversed(self._first)):
            await save(value)
