"""What a store keeps of the signals of a run: a few values by key, the first of which stands.

======================  ===================================================================
key                     value
======================  ===================================================================
``value:NAME``          the value that was accepted, in a tuple of one
``declared:NAME``       the ``SignalTask``, by which a sender in another process checks values
``wanted:NAME``         since when it is waited for, in seconds since the epoch
``secret``              ``True`` once a flow of the run has a secret: values are shown to nobody
======================  ===================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Final

import attrs

VALUE: Final = "value:"
DECLARED: Final = "declared:"
WANTED: Final = "wanted:"
SECRET: Final = "secret"


class UnstorableError(ValueError):
    """A store cannot take a value, which cannot be pickled. Users never see this error."""


@attrs.frozen
class Unreadable:
    """In the place of a value that cannot be read.

    Attributes:
        reason: Why, in words.
    """

    reason: str


class SignalRecords(ABC):
    """The signals of one run in a store.

    Unlike all other records they may be written by processes that do not execute the run.

    Attributes:
        look_every: Seconds between two looks of a run that waits, for what others have written. ``None``
            (default): nobody else writes.
    """

    look_every: float | None = None

    @abstractmethod
    async def accept(self, key: str, value: Any, *, replaces: bool = False) -> Any:
        """Record *value* under *key*, unless there is a value already. A write that has begun is not cancelled.

        Args:
            key: The key.
            value: The value.
            replaces: Whether it takes the place of the value that there is.

        Returns:
            The value that stands now. It is in the store when this returns.

        Raises:
            StateError: If the store has no such run, or fails; or if this process executed the run, and another
                one has taken it over.
            UnstorableError: If the store cannot take the value.
        """

    @abstractmethod
    async def all(self) -> Mapping[str, Any]:
        """All that is recorded, by key; an :class:`Unreadable` for what cannot be read. May be cancelled.

        Raises:
            StateError: If the store fails.
        """

    @abstractmethod
    async def forget(self) -> None:
        """Forget all of it, as the run begins anew. A write that has begun is not cancelled.

        Raises:
            StateError: If the store fails, or another process has taken the run over.
        """
