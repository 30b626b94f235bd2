"""The lease on one run in Redis, and the writes that need it. Called in worker threads.

Keys, each beginning with ``cascade:run:{run_id}:``; times are seconds since the epoch:

``results``
    Hash: node id to pickled value.
``skipped``
    Hash: node id to the reason, UTF-8.
``nodes``
    Hash: node id to JSON: ``status``, ``digest`` (hexadecimal), ``task``, ``reason``, ``attempts``, ``duration``
    (seconds), ``error``, ``recorded``, ``is_durable``, and, where there are such, ``label``, ``started`` and
    ``worker``.
``meta``
    Hash: ``status``, ``flow`` (JSON), ``params`` (JSON), ``origin`` (JSON), ``flow_digest``, ``created``,
    ``updated``, ``finished``, ``error``, ``turn`` and ``continuation`` (pickle) of a loop, ``result`` (pickle),
    ``format`` (2: what digests are made of).
``signals``
    Hash: key (see ``signal_records.py``) to pickle. Senders write it too, without the lease.
``details``
    Hash: node id to JSON (see ``NodeDetail``): why it failed, with what it was called, what it wrote.
``outline``
    JSON (see ``graph/pictures/outline.py``): what the flow is made of.
``lease``
    JSON: ``epoch`` (times it was begun), ``owner`` (who executes it, or null), ``until`` (by the server's clock).

The key that all runs share, ``cascade:durations``, is described in ``durations.py``.

Redis may lose what it has confirmed, and answers then as if nothing had been there. So each ``MULTI`` begins by
asking for the keys that the last one left, and the lease must be the very one that this process wrote last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from cascade.adapters.redis_client import Session
from cascade.adapters.state.ownership import LEASE, Owner, Vigil, overtaken, steady_time, vanished
from cascade.model.errors import StateError

PREFIX: Final = "cascade:run:"
FORMAT: Final = b"2"
PARTS: Final = ("results", "skipped", "nodes", "meta", "lease", "signals", "details", "outline")


@attrs.frozen
class Lease:
    """Which process may write the records of a run.

    Attributes:
        epoch: How often the run was begun.
        owner: The process that executes it; ``None`` if none does.
        until: When the lease ends, by the server's clock.
    """

    epoch: int = 0
    owner: Owner | None = None
    until: float = 0.0

    @classmethod
    def read(cls, text: bytes | None) -> Lease:
        """The lease that :meth:`written` encoded as *text*; that of a new run if *text* is ``None``.

        Raises:
            ValueError: If *text* encodes no lease.
        """
        if text is None:
            return cls()
        fields = json.loads(text)
        try:
            epoch, owner, until = int(fields["epoch"]), fields["owner"], float(fields["until"])
        except (TypeError, KeyError) as error:
            raise ValueError(f"{text!r:.100} is no lease") from error
        return cls(epoch, None if owner is None else Owner.of_fields(owner), until)

    def written(self) -> str:
        """As JSON, for the store."""
        owner = None if self.owner is None else attrs.asdict(self.owner)
        return json.dumps({"epoch": self.epoch, "owner": owner, "until": self.until})


@attrs.define(eq=False)
class RunLease:
    """Writes the keys of one run, unless another process has its lease.

    Attributes:
        run_id: The run.
        ttl: Seconds after the last write for which the keys are kept.
        owner: The holder of the lease in this process; ``None`` while the run is not executed here.
        renewed: When the lease was renewed, by :func:`steady_time`.
        names: The keys, by what is in them.
    """

    run_id: str
    ttl: int
    owner: Owner | None = None
    renewed: float = 0.0
    names: Mapping[str, str] = attrs.field(init=False)
    # The lease in the store must have one of these ends: that of the last write, or of a write without an answer.
    _ends: set[float] = attrs.field(factory=set)
    # Keys that existed after the last write; if one is gone, the server has lost records.
    _left: tuple[str, ...] = ()
    # Seconds by which the server's clock is ahead of the steady one.
    _ahead: float = 0.0

    def __attrs_post_init__(self) -> None:
        self.names = {part: f"{PREFIX}{self.run_id}:{part}" for part in PARTS}

    def change(
        self, session: Session, change: Callable[[Any], None], renewed: Callable[[Lease], Lease] | None = None
    ) -> Lease:
        """Make *change* in one MULTI, unless another process has the run; returns the lease after that.

        Args:
            session: The visit to the server.
            change: Queues commands.
            renewed: Makes the lease after the change from the one before, or raises to refuse the change. By
                default it renews the lease of this process.

        Raises:
            StateError: If another process has the run, or the server has lost records.
            redis.WatchError: If another client has changed the lease in this moment.
        """
        key = self.names["lease"]
        with session.pipeline(transaction=True) as pipe:
            pipe.watch(key)
            lease = (renewed or self._renewed)(Lease.read(pipe.get(key)))
            pipe.multi()
            must = self._left
            if must:
                pipe.exists(*must)
            change(pipe)
            if lease.epoch:
                pipe.set(key, lease.written())
                self._ends.add(lease.until)
            for name in self.names.values():
                pipe.expire(name, self.ttl)
            self._left = ()  # unknown, until there is an answer
            answers = pipe.execute()
        self._ends = {lease.until}
        self.renewed = steady_time()
        if must and answers[0] != len(must):
            raise StateError(self.has_lost())
        there = zip(self.names.values(), answers[-len(self.names) :], strict=True)
        self._left = () if self.owner is None else tuple(name for name, is_there in there if is_there)
        return lease

    def has_lost(self) -> str:
        """The message for a server that has lost records."""
        return (
            f"Redis has lost records of run {self.run_id!r}: keys were deleted, flushed or evicted, or the server "
            "was replaced by an older state; let it evict nothing (maxmemory-policy noeviction), and run again"
        )

    def _renewed(self, lease: Lease) -> Lease:
        if self.owner is None:
            return lease
        if not lease.epoch:
            raise StateError(vanished(self.run_id))
        if lease.owner is None and lease.until in self._ends:
            return lease  # an earlier try, whose answer was lost, has given it up
        # Compared by token, as the epoch starts again where keys were lost.
        if lease.owner is None or lease.owner.token != self.owner.token:
            raise StateError(overtaken(self.run_id, lease.owner))
        if lease.until not in self._ends:
            raise StateError(self.has_lost())
        return attrs.evolve(lease, until=self._now() + LEASE)

    def _now(self) -> float:
        """Seconds on the server's clock, by which all processes judge leases."""
        return self._ahead + steady_time()

    def set_clock(self, session: Session) -> None:
        """Compare the server's clock with the steady one."""
        seconds, micros = session.ask("time")
        self._ahead = seconds + micros / 1e6 - steady_time()

    def take(self, session: Session, change: Callable[[Any], None], mine: Owner, vigil: Vigil) -> int:
        """Take the lease for *mine*, and make *change*; returns the epoch.

        Raises:
            RunInProgressError: If another process or task executes the run.
            UncertainHolderError: If that cannot be told yet.
        """
        self.owner, self._left, self._ends = None, (), set()
        self.set_clock(session)
        lease = self.change(session, change, lambda lease: self._taken(lease, mine, vigil))
        self.owner = mine
        return lease.epoch

    def _taken(self, lease: Lease, mine: Owner, vigil: Vigil) -> Lease:
        if lease.owner is not None and lease.owner != mine:
            left = lease.until - self._now()
            is_certain = left <= LEASE  # else the server's clock has been set
            vigil.refuse_if_alive(lease.owner, lease, left, is_certain=is_certain)
        # The lease is ours already if the answer to an earlier try was lost.
        epoch = lease.epoch if lease.owner == mine else lease.epoch + 1
        return Lease(epoch, mine, self._now() + LEASE)

    def beat(self, session: Session) -> None:
        """Renew the lease, and the expiry of the keys.

        Raises:
            StateError: If another process has the run, or the server has lost records.
        """
        self.set_clock(session)
        self.change(session, _nothing)

    def give_up(self, session: Session) -> None:
        """Give the lease back, if this process has it; the run counts as cut short."""
        self.change(session, _nothing, self._given_up)

    def ended(self, lease: Lease) -> Lease:
        """*lease* once the run has ended; raises what :meth:`change` does."""
        return attrs.evolve(self._renewed(lease), owner=None, until=0.0)

    def _given_up(self, lease: Lease) -> Lease:
        if self.owner is None or lease.owner is None or lease.owner.token != self.owner.token:
            return lease
        return attrs.evolve(lease, owner=None, until=0.0)

    def disown(self) -> None:
        """Note that the run is not executed here any more."""
        if self.owner is not None:
            self.owner.release()
        self.owner, self._left = None, ()


def _nothing(_: Any) -> None:
    """A change that only renews the lease."""
