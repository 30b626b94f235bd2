"""When worker processes begin and end: with their run, with their parent, and not by Ctrl-C."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import process_tasks
import pytest
from life import until

import cascade
from cascade.executors import ProcessExecutor

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(
        [str(Path(cascade.__file__).parent.parent), str(Path(process_tasks.__file__).parent)]
    ),
}


def children() -> set[int]:
    """Ids of the children of this process, also of those that have ended and been forgotten."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def held() -> tuple[set[str], set[int], set[threading.Thread]]:
    """Open file descriptors, children and threads of this process, without idle threads of the event loop."""
    gc.collect()  # what tests before have left would go at any moment
    threads = {thread for thread in threading.enumerate() if not thread.name.startswith(("AnyIO", "Trio"))}
    return set(os.listdir("/proc/self/fd")), children(), threads


# -- with their run --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["success", "failure", "death", "timeout", "cancellation", "unloadable"])
async def test_nothing_is_left_when_a_run_has_ended(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    marker = tmp_path / "pid"
    await anyio.lowlevel.checkpoint()
    before = held()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            if ending == "cancellation":

                async def cancel() -> None:
                    await until(marker.exists, patience=10**9)
                    scope.cancel()

                group.start_soon(cancel)
            if ending == "unloadable":
                (tmp_path / "sitecustomize.py").write_text("import os; os._exit(5)\n")
                monkeypatch.setenv("PYTHONPATH", str(tmp_path))
            with suppress(ValueError, anyio.BrokenWorkerProcess, cascade.TaskTimeoutError):
                flow = {
                    "success": process_tasks.pid(),
                    "failure": process_tasks.fails("bad"),
                    "death": process_tasks.kills_itself(signal.SIGKILL),
                    "timeout": process_tasks.never_ends(str(marker)).with_timeout(0.01),
                    "cancellation": process_tasks.never_ends(str(marker)),
                    "unloadable": process_tasks.pid(),
                }[ending]
                await cascade.run(flow)
    assert held() == before
    assert caplog.records == []


async def test_workers_stay_for_the_runs_of_an_open_engine() -> None:
    async with cascade.Engine() as engine:
        first = await engine.run(process_tasks.pid())
        assert await engine.run(process_tasks.pid()) == first
        assert first in children()
    assert first not in children()


@pytest.mark.slow
async def test_a_worker_is_started_anew_after_one_was_killed() -> None:
    async with cascade.Engine() as engine:
        first = await engine.run(process_tasks.pid())
        with pytest.raises(cascade.TaskTimeoutError):
            await engine.run(process_tasks.waits().with_timeout(0.01))
        assert first not in children()
        assert await engine.run(process_tasks.pid()) in children()


async def test_an_executor_of_ones_own_ends_its_workers_with_its_block() -> None:
    async with ProcessExecutor(anyio.CapacityLimiter(1)) as executor:
        first = await executor.execute(process_tasks.pid, (), {})
        assert await executor.execute(process_tasks.pid, (), {}) == first
        await executor.aclose()
        assert first not in children()
        second = await executor.execute(process_tasks.pid, (), {})
        assert second in children()
    assert second not in children()


async def test_an_executor_outside_a_run_sends_the_context_variables_of_each_call() -> None:
    async with ProcessExecutor(anyio.CapacityLimiter(1)) as executor:
        for value in ("one", "one", "two"):
            process_tasks.seen_by_caller.set(value)
            assert await executor.execute(process_tasks.variable, (), {}) == value


async def test_a_worker_does_at_its_end_what_it_has_registered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await cascade.run(process_tasks.registers(str(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()
    assert capsys.readouterr().out == "at the end\n"


async def test_a_worker_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cascade.adapters.executors.processes.GRACE", 0.01)
    worker = await cascade.run(process_tasks.leaves_a_thread())
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


@pytest.mark.parametrize("ending", ["success", "timeout"])
async def test_workers_end_without_help_of_the_kernel(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there are no file descriptors for processes."""
    monkeypatch.delattr(os, "pidfd_open")
    before = children()
    with suppress(cascade.TaskTimeoutError):
        await cascade.run(process_tasks.waits().with_timeout(0.01) if ending == "timeout" else process_tasks.pid())
    assert children() == before


# -- with their parent -----------------------------------------------------------------------------------------

DIES = """
import os, signal, sys, threading
import anyio, cascade, process_tasks

def die() -> None:
    sys.stdin.readline()
    {how}

if __name__ == "__main__":
    threading.Thread(target=die, daemon=True).start()
    cascade.run_sync(process_tasks.{task}(sys.argv[1]), backend=sys.argv[2])
"""
DEATHS = {
    "kill -9": "os.kill(os.getpid(), signal.SIGKILL)",
    "os._exit": "os._exit(0)",
    "crash": "os.kill(os.getpid(), signal.SIGSEGV)",
}


def has_ended(pid: int, patience: float = 60) -> bool:
    """Whether a process ends within *patience* seconds."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], patience)[0])
    finally:
        os.close(fd)


def process_id(marker: Path) -> int:
    """What a task wrote, once it is there."""
    while not marker.exists():
        os.sched_yield()
    return int(marker.read_text())


@pytest.mark.parametrize(
    ("how", "task", "backend_name"),
    [
        ("kill -9", "never_ends", "asyncio"),
        pytest.param("kill -9", "never_ends", "trio", marks=pytest.mark.needs("trio")),
        ("kill -9", "computes_forever", "asyncio"),
        ("os._exit", "never_ends", "asyncio"),
        ("crash", "never_ends", "asyncio"),
    ],
)
def test_a_worker_dies_with_its_parent(how: str, task: str, backend_name: str, tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    (tmp_path / "script.py").write_text(DIES.format(how=DEATHS[how], task=task))
    with subprocess.Popen(
        [sys.executable, "script.py", marker, backend_name], cwd=tmp_path, env=ENVIRONMENT, stdin=subprocess.PIPE
    ) as parent:
        worker = process_id(marker)
        parent.communicate(b"\n", timeout=60)
    assert has_ended(worker)


WATCHES = """
import os, signal, socket, subprocess, sys

CHILD = '''
import os, signal, socket, sys
from cascade.adapters.executors import parent
parent._kernel_kills = lambda: False
channel = socket.socket(fileno=0)
parent.end_with_parent(int(sys.argv[1]), channel)
print(os.getpid(), flush=True)
channel.recv(1)
print("hung up", flush=True)
signal.pause()
'''
ours, theirs = socket.socketpair()
parent = os.getpid() if sys.argv[1] == "alive" else 1
child = subprocess.Popen([sys.executable, "-c", CHILD, str(parent)], stdin=theirs)
theirs.close()
if sys.argv[1] != "alive":
    sys.exit(child.wait())
sys.stdin.readline()
ours.shutdown(socket.SHUT_WR)
sys.stdin.readline()
os._exit(0)
"""


def test_a_worker_that_the_kernel_does_not_kill_watches_its_parent(tmp_path: Path) -> None:
    """It does not take a parent for dead that has only hung up."""
    with subprocess.Popen(
        [sys.executable, "-c", WATCHES, "alive"],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert parent.stdout.readline() == "hung up\n"
        assert not has_ended(worker, patience=0.1)
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert has_ended(worker)


def test_a_worker_whose_parent_has_ended_already_ends() -> None:
    done = subprocess.run([sys.executable, "-c", WATCHES, "dead"], env=ENVIRONMENT, check=False, timeout=60)
    assert done.returncode == 1


# -- signals ---------------------------------------------------------------------------------------------------

FLOWS = """
import process_tasks
waiting = process_tasks.never_ends({marker!r})
"""
OPTIONS = ["--log", "none", "--grace", "0"]


@contextmanager
def running(folder: Path, backend: str, **more: str) -> Iterator[subprocess.Popen[str]]:
    """``cascade run`` in a process group of its own, as a terminal would start it."""
    (folder / "flows.py").write_text(FLOWS.format(marker=str(folder / "pid")))
    with subprocess.Popen(
        [sys.executable, "-m", "cascade", "run", "flows.py:waiting", *OPTIONS, "--backend", backend],
        cwd=folder,
        env={**ENVIRONMENT, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_ctrl_c_in_a_terminal_ends_the_run_quietly(backend_name: str, tmp_path: Path) -> None:
    with running(tmp_path, backend_name) as process:
        worker = process_id(tmp_path / "pid")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "cascade: ended by SIGINT\n")
    assert has_ended(worker)


def test_ctrl_c_while_a_worker_starts_ends_the_run_quietly(backend_name: str, tmp_path: Path) -> None:
    """Python itself prints a traceback if it is interrupted while it starts."""
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "sitecustomize.py").write_text(
        f"""
import os, signal, sys
if "-c" in sys.orig_argv:
    open({str(tmp_path / "part")!r}, "w").write(str(os.getpid()))
    os.replace({str(tmp_path / "part")!r}, {str(tmp_path / "pid")!r})
    signal.alarm(60)
    signal.pause()  # the interpreter takes long to start
"""
    )
    path = os.pathsep.join([str(slow), ENVIRONMENT["PYTHONPATH"]])
    with running(tmp_path, backend_name, PYTHONPATH=path) as process:
        worker = process_id(tmp_path / "pid")
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "cascade: ended by SIGINT\n")
    assert has_ended(worker)


async def test_an_interrupt_that_reaches_a_worker_alone_is_left_to_the_parent() -> None:
    assert await cascade.run(process_tasks.interrupts_itself()) == "went on"


async def test_programs_that_a_task_starts_hear_interrupts() -> None:
    assert await cascade.run(process_tasks.asks_how_children_are_interrupted()) == "True []"


# -- what is large ---------------------------------------------------------------------------------------------


async def test_what_is_larger_than_pipes_and_buffers_arrives_whole() -> None:
    data = os.urandom(1 << 16) * 400
    assert await cascade.run(process_tasks.echo(data)) == data


async def test_the_event_loop_goes_on_while_much_is_sent() -> None:
    steps = 0

    async def count() -> None:
        nonlocal steps
        while True:
            await anyio.lowlevel.checkpoint()
            steps += 1

    async with cascade.Engine() as engine, anyio.create_task_group() as group:
        await engine.run(process_tasks.pid())
        group.start_soon(count)
        await engine.run(process_tasks.echo(bytes(30_000_000)))
        group.cancel_scope.cancel()
    assert steps > 50
