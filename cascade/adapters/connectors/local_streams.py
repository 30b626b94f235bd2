"""The streams of a session of the local connector, which a thread fills and the event loop reads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import attrs
from anyio.lowlevel import EventLoopToken

from cascade.runtime.control.connector import Message, Signal, Subscription
from cascade.runtime.foundation.threads import wake_soon


@attrs.define(eq=False)
class Streams:
    """Delivers signals to subscriptions, on their event loop.

    One thread delivers. Others may add and remove meanwhile, one at a time, and not during :meth:`open_new`.

    Attributes:
        token: The event loop.
    """

    token: EventLoopToken
    _open: list[Subscription] = attrs.field(factory=list, init=False)
    # Those that have not got what is retained, each with what is called on the loop when it has.
    _new: deque[tuple[Subscription, Callable[[], object]]] = attrs.field(factory=deque, init=False)

    def topics(self) -> tuple[str, ...]:
        """The filters of all streams, each one once."""
        subscriptions = [*self._open, *(subscription for subscription, _ in self._new)]
        return tuple({subscription.topics: None for subscription in subscriptions})

    def add(self, subscription: Subscription, on_ready: Callable[[], object]) -> None:
        """Deliver to *subscription* from the next :meth:`open_new` on; after that, call *on_ready* on the loop."""
        self._new.append((subscription, on_ready))

    def remove(self, subscription: Subscription) -> None:
        """Deliver no more to *subscription*."""
        self._open = [other for other in self._open if other is not subscription]
        self._new = deque(pair for pair in self._new if pair[0] is not subscription)

    def open_new(self, retained: Callable[[], list[Message]]) -> None:
        """Deliver to each stream that was added what is *retained*, and from now on all changes."""
        while self._new:
            kept = retained()  # first: if that raises, the stream is still there for the next time
            subscription, on_ready = self._new.popleft()
            self._deliver(kept, [subscription])
            self._open.append(subscription)
            wake_soon(self.token, on_ready)

    def deliver(self, messages: list[Message]) -> None:
        """Deliver each message to the streams whose filter admits it."""
        self._deliver(messages, list(self._open))

    def tell(self, signal: Signal) -> None:
        """Deliver *signal* to all streams."""
        for subscription in list(self._open):
            wake_soon(self.token, subscription.put, signal)

    def _deliver(self, messages: list[Message], subscriptions: Sequence[Subscription]) -> None:
        if messages and subscriptions:
            wake_soon(self.token, _put_all, messages, subscriptions)

    def finish(self) -> None:
        """End all streams. On the event loop, when no thread delivers any more."""
        for subscription in self._open:
            subscription.finish()
        for subscription, on_ready in self._new:  # the reading thread has not come to it
            subscription.finish()
            on_ready()


def _put_all(messages: list[Message], subscriptions: Sequence[Subscription]) -> None:
    for message in messages:
        for subscription in subscriptions:
            if subscription.covers(message.topic):
                subscription.put(message)
