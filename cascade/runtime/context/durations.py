"""How long the tasks of an engine take, as far as it has seen."""

from __future__ import annotations

from typing import Final

import attrs

# Names that are remembered; beyond that the oldest is forgotten.
_MOST_NAMES: Final = 4096
# Weight of one more attempt, once there have been several: what was long ago counts for less.
_NEWS: Final = 0.1


@attrs.define(eq=False)
class Durations:
    """Mean seconds by task name, later attempts counting for more than earlier ones.

    Attributes:
        means: What has been learnt.
    """

    means: dict[str, float] = attrs.field(factory=dict)
    _seen: dict[str, int] = attrs.field(factory=dict)

    def learn(self, task_name: str, seconds: float) -> None:
        """An attempt of a task has taken so long."""
        seen = self._seen[task_name] = self._seen.get(task_name, 0) + 1
        mean = self.means.get(task_name, 0.0)
        self.means[task_name] = mean + (seconds - mean) * max(1 / seen, _NEWS)
        if len(self.means) > _MOST_NAMES:
            oldest = next(iter(self.means))
            del self.means[oldest], self._seen[oldest]
