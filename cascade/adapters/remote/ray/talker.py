"""Threads that talk to Ray, as any word with it may block: when the cluster is gone, for half a minute."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

import attrs
import ray

T = TypeVar("T")

# Seconds between two questions to the cluster whether it is there, and between two looks for the answer; how many
# looks in a row may see none: less than ten seconds, not counting time for which this process was suspended.
_PING_EVERY: Final = 1.0
_LOOK_EVERY: Final = 0.5
_LOOKS: Final = 17


@attrs.define(eq=False)
class Talker:
    """A daemon thread that calls functions, one after another.

    The connection is made in it, too: on Linux, what Ray starts on this machine ends with the thread that started
    it.
    """

    _words: queue.SimpleQueue[Callable[[], object] | None] = attrs.field(factory=queue.SimpleQueue)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="cascade-ray", daemon=True)
        self._thread.start()

    def say(self, word: Callable[[], object]) -> None:
        """Have *word* called soon; it must not raise. May be called in any thread."""
        self._words.put(word)

    def ask(self, word: Callable[[], T]) -> T:
        """What *word* gives; waits for it."""
        answer: Future[T] = Future()

        def answered() -> None:
            try:
                answer.set_result(word())
            except BaseException as error:  # the thread that asks raises it
                answer.set_exception(error)

        self.say(answered)
        return answer.result()

    def end(self) -> None:
        """Wait until what has been said is done, and the thread has ended."""
        self._words.put(None)
        assert self._thread is not None
        self._thread.join()

    def _run(self) -> None:
        while (word := self._words.get()) is not None:
            word()
            del word  # it may hold a reference to a value on the cluster


@attrs.define(eq=False)
class Pulse:
    """Two daemon threads: one asks the cluster for its size, again and again; the other notices when it is silent.

    Args:
        on_answer: Called with the number of CPUs.
        on_silence: Called when there has been no answer for nine seconds, and again every nine seconds.
    """

    on_answer: Callable[[int], None]
    on_silence: Callable[[], None]
    _has_ended: threading.Event = attrs.field(factory=threading.Event)
    _looks: int = 0

    def start(self) -> None:
        """Start the threads."""
        for body in (self._ask, self._look):
            threading.Thread(target=body, name="cascade-ray-pulse", daemon=True).start()

    def end(self) -> None:
        """End the threads, once the present question is answered."""
        self._has_ended.set()

    def _ask(self) -> None:
        while not self._has_ended.wait(_PING_EVERY):
            try:
                cpus = size()
            except Exception:  # whatever Ray raises, it is no answer
                continue
            self._looks = 0
            self.on_answer(cpus)

    def _look(self) -> None:
        while not self._has_ended.wait(_LOOK_EVERY):
            self._looks += 1
            if self._looks >= _LOOKS:
                self._looks = 0
                self.on_silence()


def size() -> int:
    """CPUs of all nodes."""
    library: Any = ray  # this function of it has no annotations
    return int(library.cluster_resources().get("CPU", 0))
