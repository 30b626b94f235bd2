"""Executors that run functions on other machines: what the engine asks of them, and what passes between.

The engine hands over *batches* of calls. A batch runs on one worker, one call after another; a node with a retry,
a timeout or a claim is a batch of one. A large value that only other remote calls need may stay on the cluster:
then a :class:`KeptValue` stands for it, also among the arguments of later calls.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from cascade.model.calls.callee import Callee
from cascade.model.errors import CascadeError

# Bytes from which a value stays on the cluster, if all who need it can get it there.
KEEP_ABOVE: Final = 64 * 1024


@attrs.frozen
class AttemptInfo:
    """The attempt that a call belongs to, as ``cascade.current()`` shows it on the worker.

    Attributes:
        run_id: The run.
        node_id: The node.
        number: Number of the attempt, from 1.
        turns: For each loop around the node, the outermost first: the number of its turn, from 1.
        undone: How often the node was undone in earlier executions of the run; 0 or more.
    """

    run_id: str
    node_id: str
    number: int
    turns: tuple[int, ...]
    undone: int


@attrs.frozen(eq=False)
class RemoteCall:
    """One call of a function on a worker.

    Attributes:
        task: The task. Its function travels by name, or with its code (cloudpickle) if the name is
            of no use there.
        args: Positional arguments. A :class:`KeptValue` may stand at any depth, an :class:`Earlier` at the top.
        kwargs: Arguments by name, likewise.
        attempt: What ``cascade.current()`` shows there.
        timeout: Seconds the attempt may take from its start there, more than 0; ``None`` (default): no limit.
            ``cascade.checkpoint()`` keeps to it there; the engine keeps to it from when *started* was called.
        remaining: Seconds until the scopes around the run end, from when it was handed over; 0 or less: they have
            ended; ``inf`` (default): they do not end.
        carrier: The tracing context, as W3C headers. Empty (default): none.
        amounts: What the attempt claims of named resources here. Empty (default): nothing.
        ends_batch: Whether the later calls of its batch are not made if this one raises. True by default.
    """

    task: Callee
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    attempt: AttemptInfo
    timeout: float | None = None
    remaining: float = float("inf")
    carrier: Mapping[str, str] = attrs.field(factory=dict)
    amounts: Mapping[str, float] = attrs.field(factory=dict)
    ends_batch: bool = True


@attrs.frozen
class Earlier:
    """Stands for the value of an earlier call of the same batch, as an argument of its own.

    Attributes:
        position: The number of that call in the batch, from 0.
    """

    position: int


def with_earlier(call: RemoteCall, value: Any) -> RemoteCall:
    """*call*, with *value* in the place of that of an earlier call: it can be made without the other."""

    def found(argument: Any) -> Any:
        return value if type(argument) is Earlier else argument

    kwargs = {name: found(argument) for name, argument in call.kwargs.items()}
    return attrs.evolve(call, args=tuple(map(found, call.args)), kwargs=kwargs)


@attrs.frozen(eq=False)
class Returned:
    """The call has returned a value, which is here.

    Attributes:
        value: The value.
        seconds: How long the function took; 0 or more.
        worker: Where it ran.
    """

    value: Any
    seconds: float
    worker: str


@attrs.frozen(eq=False)
class Stayed:
    """The call has returned a value, which is still there.

    Attributes:
        handle: What the executor finds it by.
        size: Bytes, about; 0 or more.
        seconds: How long the function took; 0 or more.
        worker: Where it ran.
    """

    handle: object
    size: int
    seconds: float
    worker: str


@attrs.frozen(eq=False)
class Raised:
    """The call has raised, or its arguments or its value could not be sent.

    Attributes:
        error: The exception, of its own class and with its attributes; a note has the traceback of the worker.
        seconds: How long the function took; 0 (default) if it did not run.
        worker: Where it ran. Empty (default): it did not.
    """

    error: BaseException
    seconds: float = 0.0
    worker: str = ""


@attrs.frozen(eq=False)
class NotMade:
    """The call was not made; it may be made in another batch.

    Attributes:
        is_alone: Whether that has to be a batch of its own, as its batch was lost, or could not be read.
    """

    is_alone: bool = False


RemoteOutcome = Returned | Stayed | Raised | NotMade


class ValuesLost(Exception):
    """Values that were kept are not on the cluster any more, so a batch that needs them cannot run.

    Raised by ``execute_many`` and ``fetch``. The engine computes them again, and asks again.

    Attributes:
        values: The values.
    """

    def __init__(self, values: Sequence[KeptValue]) -> None:
        self.values: tuple[KeptValue, ...] = tuple(values)
        super().__init__(f"{len(self.values)} kept values are lost")


class Packing(threading.local):
    """The kept values that were met while this thread pickles arguments; ``None`` while it does not."""

    met: dict[int, KeptValue] | None = None


PACKING: Final = Packing()


def _let_be(_: Sequence[object]) -> None:
    """Of a value that nobody lets go of."""


@attrs.define(eq=False)
class KeptValue:
    """Stands for the value of a node that has stayed on the cluster.

    It cannot be pickled but as an argument of a remote call, where it travels as a reference.

    Attributes:
        handle: What the executor finds the value by.
        size: Bytes, about; 0 or more.
        worker: Where it was made.
        recipe: The call that makes it again, should it be lost. ``None`` (default): there is none.
        is_there: Whether the value is on the cluster, as far as is known.
        is_released: Whether nobody wants it any more.
        made: The number of the last time that it was made again; 0: it never was.
        drop: Lets go of handles; ``RemoteExecutor.drop``. By default, nothing does.
    """

    handle: object
    size: int
    worker: str
    recipe: RemoteCall | None = attrs.field(default=None, repr=False)
    is_there: bool = attrs.field(default=True, init=False)
    is_released: bool = attrs.field(default=False, init=False)
    made: int = attrs.field(default=0, init=False)
    _drop: Callable[[Sequence[object]], None] = attrs.field(default=_let_be, kw_only=True, repr=False)

    def release(self) -> None:
        """Nobody wants it any more: let go of it on the cluster."""
        self.is_released = True
        self.lose()

    def lose(self) -> None:
        """It is not there any more: let go of its handle."""
        if self.is_there:
            self.is_there = False
            self._drop([self.handle])

    def __reduce__(self) -> tuple[Any, ...]:
        if PACKING.met is None:
            raise TypeError("it has stayed on the cluster")
        PACKING.met[id(self)] = self
        return kept_value, (id(self),)

    def __repr__(self) -> str:
        return f"<{self.size} bytes on {self.worker}>"

    def __del__(self) -> None:
        if self.is_there:  # of a run that has ended otherwise than it should
            self.release()


class Arriving(threading.local):
    """On a worker: the values that kept values stand for, while this thread unpickles arguments."""

    values: Mapping[int, Any] | None = None


ARRIVING: Final = Arriving()


def kept_value(key: int) -> Any:
    """On a worker: the value that a kept value stands for. For unpickling."""
    if ARRIVING.values is None:
        raise CascadeError("a reference to a kept value is read outside a remote call")
    return ARRIVING.values[key]


class RemoteExecutor(ABC):
    """Runs the functions of tasks on a cluster, or in any pool of workers.

    Give it as ``executor=``. Tasks that :meth:`goes` is true of run there; all others stay in this process and
    run as without it. The engine sees to everything else: order, capacity, rules, retries, timeouts, events.

    The engine calls ``open``, ``aclose``, ``execute_many`` and ``fetch`` as coroutines in tasks of its event loop,
    which may be asyncio's or Trio's: an implementation uses AnyIO, and wakes the loop from threads of its library.
    ``goes``, ``slots`` and ``drop`` do not wait.

    Args:
        tasks: Which tasks go there. ``"remote"`` (default): those declared with ``mode="remote"``. ``"sync"``:
            all sync ones, except ``mode="inline"`` and those with ``abandon_on_cancel``.
        keep_above: Bytes from which a value stays on the cluster if all who need it run there; 65 536 by
            default. 0: every such value; ``inf``: none.

    Raises:
        ValueError: If *tasks* or *keep_above* is none of these.
    """

    def __init__(self, *, tasks: str = "remote", keep_above: float = KEEP_ABOVE) -> None:
        if tasks not in ("remote", "sync"):
            raise ValueError(f'tasks is "remote" or "sync", not {tasks!r}')
        if isinstance(keep_above, bool) or not isinstance(keep_above, (int, float)) or not keep_above >= 0:
            raise ValueError(f"keep_above is a number of bytes from 0, not {keep_above!r}")
        self.tasks: str = tasks
        self.keep_above: float = keep_above

    def goes(self, task: Callee) -> bool:
        """Whether calls of *task* go to the cluster. Asked often, and always answered alike for a task.

        Calls that inject resources stay in this process whatever this says.

        Args:
            task: The task.
        """
        if task.mode == "remote":
            return True
        return self.tasks == "sync" and not (task.is_async or task.mode == "inline" or task.abandon_on_cancel)

    @abstractmethod
    async def open(self) -> None:
        """Connect, or start the workers. Called on an event loop before the first call.

        Several engines may open the same executor, one after another or at once; each calls :meth:`aclose` when
        its last run has ended. If cancelled, nothing has been opened.

        Raises:
            ConnectionError: If the cluster cannot be reached within ten seconds.
            ImportError: If its library is not installed; the message names the extra.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of what :meth:`open` has opened; what belongs to the user stays open. Not cancelled half-way."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many calls run at a time at present; 0 if there is no worker. Asked often, so it must be quick."""

    @property
    def notices(self) -> Sequence[tuple[str, str]]:
        """What users should know of the cluster: codes and messages, which each run tells as ``EngineWarning``."""
        return ()

    @abstractmethod
    async def execute_many(
        self, calls: Sequence[RemoteCall], keep: Sequence[bool], started: Callable[[int, str], None]
    ) -> Sequence[RemoteOutcome]:
        """Have one worker make *calls*, one after another.

        Must not wait before the batch has been handed over: what is handed over counts as begun for control rules.

        If cancelled, it tells the worker to stop, so that ``cascade.checkpoint()`` raises in the call that runs,
        and the calls after it are not made. It waits, shielded, until the worker has left the batch, and then lets
        the cancellation pass. Before that, it has called *started* for each call that has begun, or may have.

        Args:
            calls: At least one. One that has a timeout, a claim or further attempts is alone.
            keep: For each call, whether its value may stay there if it has more than ``keep_above`` bytes.
            started: To be called with the position of a call and the name of the worker once the function is being
                called: at once for the first call of a batch; for the others as is convenient, or not at all. May
                be called in any thread, and more than once.

        Returns:
            For each call in its order, how it has ended. What the functions raise is among them, and not raised.

        Raises:
            WorkerLost: If the worker has died with the batch, or the scheduler has given it up. The engine makes
                calls anew that had not begun.
            ValuesLost: If kept values among the arguments are not there any more. No call has been made.
            ConnectionError: If the cluster cannot be reached any more; within ten seconds.
            GraphError: If no worker could run the batch at all: another version of Python or of cascade there.
        """

    @abstractmethod
    async def fetch(self, value: KeptValue) -> Any:
        """The value that has stayed on the cluster. If cancelled, it stays there.

        Args:
            value: What stands for it.

        Raises:
            ValuesLost: If it is not there any more.
            ConnectionError: If the cluster cannot be reached any more; within ten seconds.
        """

    @abstractmethod
    def drop(self, handles: Sequence[object]) -> None:
        """Let go of values that have stayed on the cluster; each is given once.

        May be called in any thread, also after :meth:`aclose`. Must neither wait nor raise.

        Args:
            handles: What ``Stayed.handle`` was for each.
        """
