"""Real clusters for tests: dask and Ray as processes on loopback, stopped by their own process ids."""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
from ports import free_port
from real_time import look_until

import cascade

# What Ray is to do for tests: no tokens in the home directory, no reports, no warning that it is not told of GPUs.
RAY_SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}

# Where workers find the library, and the tasks of tests.
IMPORTABLE = os.pathsep.join([str(Path(cascade.__file__).parents[1]), str(Path(__file__).parent)])


def need(library: str) -> None:
    """Skip the test without *library*, or fail it where servers are required."""
    if importlib.util.find_spec(library) is None:
        if os.environ.get("CASCADE_REQUIRE_SERVERS") == "1":
            pytest.fail(f"{library} is not installed, and CASCADE_REQUIRE_SERVERS=1 says that it has to be")
        pytest.skip(f"{library} is not installed")


@attrs.define(eq=False)
class DaskCluster:
    """A dask scheduler, and workers of one thread each.

    Attributes:
        folder: For logs, and where workers work.
        port: Of the scheduler.
        allowed_failures: How often the scheduler runs a call again by itself if its worker dies.
        also_importable: A folder whose modules workers can import, too.
        scheduler: Its process.
        workers: Their processes.
    """

    folder: Path
    port: int
    allowed_failures: int = 0
    also_importable: Path | None = None
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes]] = attrs.field(factory=list)
    _watched: list[subprocess.Popen[bytes]] = attrs.field(factory=list)

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """For ``executor=``."""
        return f"dask://127.0.0.1:{self.port}"

    def start_scheduler(self) -> None:
        """Start it, and wait until it listens."""
        words = ("--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show")
        self.scheduler = self._start("scheduler", words)
        assert look_until(self._listens, 60)

    def _listens(self) -> bool:
        assert self.scheduler is not None
        assert self.scheduler.poll() is None, (self.folder / "scheduler.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def add_worker(
        self, *, threads: int = 1, is_reborn: bool = False, first_on_path: str = ""
    ) -> subprocess.Popen[bytes]:
        """Start another worker, with one of the resource GPU.

        Args:
            threads: How many calls it makes at a time.
            is_reborn: Whether another process takes the place of one that has died.
            first_on_path: A folder where its Python looks for modules first.
        """
        nanny = () if is_reborn else ("--no-nanny",)
        words = (self.address, f"--nthreads={threads}", "--no-dashboard", "--resources", "GPU=1", *nanny)
        worker = self._start("worker", words, first_on_path)
        self.workers.append(worker)
        if is_reborn:
            self._watched.append(worker)
        return worker

    def _start(self, program: str, words: Iterable[str], first_on_path: str = "") -> subprocess.Popen[bytes]:
        path = [first_on_path, IMPORTABLE, str(self.also_importable or "")]
        settings = {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(self.allowed_failures),
        }
        with open(self.folder / f"{program}.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{program}", *words],
                stdout=log, stderr=log, cwd=self.folder, env={**os.environ, **settings},
            )  # fmt: skip

    def stop(self) -> None:
        """End all of it."""
        processes = [*self.workers, *([self.scheduler] if self.scheduler else [])]
        for process in processes:
            if process in self._watched:
                process.terminate()  # it ends its worker, too, which takes a moment
            else:
                process.kill()
        for process in processes:
            process.wait(20)
        self.workers.clear()
        self.scheduler = None


@contextmanager
def dask_cluster(
    folder: Path,
    *,
    workers: int = 2,
    are_reborn: bool = False,
    allowed_failures: int = 0,
    also_importable: Path | None = None,
) -> Iterator[DaskCluster]:
    """A cluster for the duration of the block; its workers may come a little later."""
    need("distributed")
    cluster = DaskCluster(folder, free_port(), allowed_failures, also_importable)
    try:
        cluster.start_scheduler()
        for _ in range(workers):
            cluster.add_worker(is_reborn=are_reborn)
        yield cluster
    finally:
        cluster.stop()


# Workers take whichever ports are free, and not some of ours.
_ANY_PORTS = ("--min-worker-port=0", "--max-worker-port=0")


def _ray_start(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    with open(folder / "ray.log", "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *words],
            stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, **RAY_SETTINGS, "PYTHONPATH": IMPORTABLE},
        )  # fmt: skip


@attrs.frozen
class RayHead:
    """A head node of Ray.

    Attributes:
        folder: For the log.
        port: Where other nodes join it.
        url: That of its client port, for ``executor=``.
        process: ``ray start``; what it has started is in its session.
        nodes: The same of other nodes.
    """

    folder: Path
    port: int
    url: str
    process: subprocess.Popen[bytes]
    nodes: list[subprocess.Popen[bytes]] = attrs.field(factory=list)

    def add_node(self) -> subprocess.Popen[bytes]:
        """Start another node, with one CPU."""
        port = f"--dashboard-agent-listen-port={free_port()}"
        words = (f"--address=127.0.0.1:{self.port}", "--num-cpus=1", port)
        self.nodes.append(_ray_start(self.folder, *words, *_ANY_PORTS))
        return self.nodes[-1]

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a node, and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)

    def kill(self) -> None:
        """Kill all of it."""
        for process in (*self.nodes, self.process):
            self.end(process)


@contextmanager
def ray_head(folder: Path, *, cpus: int = 2) -> Iterator[RayHead]:
    """A head node, started as users start one."""
    need("ray")
    ports = {
        "port": free_port(),
        "ray-client-server-port": free_port(),
        "dashboard-agent-listen-port": free_port(),
    }
    words = ["--head", f"--num-cpus={cpus}", "--include-dashboard=false", *_ANY_PORTS]
    words += [f"--{name}={port}" for name, port in ports.items()]
    # Sockets have short paths.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as short:
        process = _ray_start(folder, *words, f"--temp-dir={short}")
        client_port = ports["ray-client-server-port"]
        head = RayHead(folder, ports["port"], f"ray://127.0.0.1:{client_port}", process)
        try:
            assert look_until(lambda: _answers(process, client_port), 90)
            # The first client may be refused, as the server that Ray starts for it takes too long for Ray itself.
            assert look_until(lambda: _serves(head.url), 180)
            yield head
        finally:
            head.kill()


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    assert process.poll() is None, "ray start has ended"
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _serves(url: str) -> bool:
    words = [sys.executable, "-c", f"import ray; ray.init({url!r}); ray.shutdown()"]
    env = {**os.environ, **RAY_SETTINGS}
    return subprocess.run(words, env=env, capture_output=True, timeout=120, check=False).returncode == 0


# -- one for all tests of a process ------------------------------------------------------------------------------


@functools.cache
def shared_dask() -> DaskCluster:
    """A dask cluster with two workers, which are replaced when they die. It ends with this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    return stack.enter_context(dask_cluster(Path(folder), are_reborn=True))


@functools.cache
def shared_ray() -> None:
    """Ray with two CPUs, to which this process is connected until it ends."""
    need("ray")
    os.environ.update(RAY_SETTINGS)
    import ray

    options: dict[str, Any] = {
        "num_cpus": 2,
        "resources": {"LAMP": 1},
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": "error",
    }
    ray.init("local", runtime_env={"env_vars": {"PYTHONPATH": IMPORTABLE}}, **options)
    atexit.register(ray.shutdown)
