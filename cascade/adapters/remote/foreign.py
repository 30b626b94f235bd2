"""Work of libraries that have threads of their own, awaited on any event loop."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from types import ModuleType
from typing import Any, Final, Generic, TypeVar

import anyio
import attrs
from anyio import CancelScope, move_on_after
from anyio.lowlevel import current_token

from cascade.runtime.foundation.remote_executor import RemoteOutcome, Stayed
from cascade.runtime.foundation.threads import counted, wake_soon

T = TypeVar("T")

# Seconds that a library may take to close; after that it goes on by itself, in a daemon thread.
CLOSING: Final = 10.0


def library_of(extra: str, name: str) -> ModuleType:
    """The module *name*, which with cloudpickle is the extra *extra*.

    Raises:
        ImportError: If one of the two is not installed; the message names the extra.
    """
    try:
        importlib.import_module("cloudpickle")
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ImportError(
            f"The {error.name!r} library is required to run tasks on {extra}; install it with: "
            f"pip install 'cascade-anyio[{extra}]'"
        ) from None


def with_handles(outcomes: Sequence[RemoteOutcome], handles: Sequence[object]) -> list[RemoteOutcome]:
    """*outcomes*, with the handles of values that have stayed in place of their numbers among *handles*."""

    def found(outcome: RemoteOutcome) -> RemoteOutcome:
        if not isinstance(outcome, Stayed):
            return outcome
        number: Any = outcome.handle
        return attrs.evolve(outcome, handle=handles[number])

    return [found(outcome) for outcome in outcomes]


async def outcome_of(future: Future[T]) -> T:
    """What *future* gives, once a thread has set it. If cancelled, stops waiting and leaves the future alone."""
    if not future.done():
        token, done = current_token(), anyio.Event()
        future.add_done_callback(lambda _: wake_soon(token, done.set))
        with counted():  # virtual clocks stand still meanwhile
            await done.wait()
    return future.result()


def in_daemon(func: Callable[[], T], name: str) -> Future[T]:
    """Call *func* in a daemon thread, which does not keep the process from ending."""
    future: Future[T] = Future()

    def body() -> None:
        try:
            value = func()
        except BaseException as error:  # whoever waits for the future raises it
            future.set_exception(error)
        else:
            future.set_result(value)

    threading.Thread(target=body, name=name, daemon=True).start()
    return future


@attrs.define(eq=False)
class Shared(Generic[T]):
    """Something that is made for its first user, on whatever event loop, and closed after its last.

    Args:
        make: Makes it, in a thread; may raise.
        close: Closes it, in a thread.
    """

    make: Callable[[], T]
    close: Callable[[T], None]
    _users: int = 0
    _made: Future[T] | None = None
    _lock: Any = attrs.field(factory=threading.Lock)

    @property
    def value(self) -> T:
        """What has been made.

        Raises:
            RuntimeError: If it is not open.
        """
        made = self._made
        if made is None or not made.done():
            raise RuntimeError("the remote executor is not open")
        return made.result()

    async def enter(self) -> T:
        """Begin to use it. If cancelled or refused, nothing is left open that has no other user."""
        with self._lock:
            self._users += 1
            if self._made is None:
                self._made = in_daemon(self.make, "cascade-open")
            made = self._made
        try:
            return await outcome_of(made)
        except BaseException:
            self._end_use()
            raise

    async def leave(self) -> None:
        """End to use it; the last user waits until it is closed, ten seconds at most, and is not cancelled."""
        closing = self._end_use()
        if closing is not None:
            with CancelScope(shield=True), move_on_after(CLOSING):
                await outcome_of(closing)

    def _end_use(self) -> Future[None] | None:
        with self._lock:
            self._users -= 1
            if self._users:
                return None
            made, self._made = self._made, None
        assert made is not None

        def close() -> None:
            with suppress(Exception):  # it could not be made, or the library cannot say goodbye to what is gone
                self.close(made.result())

        return in_daemon(close, "cascade-close")
