"""Control-C in scripts: a plain KeyboardInterrupt on either backend, after the clean-up."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from typing import Self

import pytest

pytestmark = pytest.mark.loop

PATIENCE = 60  # seconds after which a script that should have ended is killed, and the test fails

PRELUDE = """
import signal, sys, threading
import anyio
import cascade

def say(*words):
    print(*words, flush=True)

@cascade.task
async def waits(*_):
    say("ready")
    try:
        await anyio.sleep_forever()
    finally:
        say("task cleaned up")

@cascade.task
def works():
    say("ready")
    try:
        while True:
            cascade.checkpoint()
    finally:
        say("thread ended")

@cascade.task(abandon_on_cancel=True)
def stuck():
    say("ready")
    threading.Event().wait()

@cascade.task
async def clumsy():
    say("ready")
    try:
        await anyio.sleep_forever()
    finally:
        raise ValueError("in clean-up")

@cascade.task
async def outer():
    await cascade.run(waits())

@cascade.resource
async def laboratory():
    try:
        yield "open"
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
        say("laboratory closed")

@cascade.resource
async def first():
    yield
    say("first closed")

@cascade.resource
async def second():
    try:
        yield
    finally:
        say("second closing")
        with anyio.move_on_after(0.5, shield=True):
            await anyio.sleep_forever()
        say("second closed")

@cascade.task
async def uses(_):
    return "done"

BOTH = [cascade.inject("first"), cascade.inject("second")]

def script(flow, providers=(laboratory,), **settings):
    try:
        cascade.run_sync(flow, backend=sys.argv[1], providers=providers, **settings)
    except BaseException as error:
        say("ended in", type(error).__name__)
"""


class Script:
    """A script in a process of its own."""

    def __init__(self, backend: str, body: str) -> None:
        code = PRELUDE + textwrap.dedent(body)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, backend],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def wait_for(self, line: str) -> None:
        """Read what it says, up to *line*."""
        assert self.process.stdout is not None
        while not self.lines or self.lines[-1] != line:
            said = self.process.stdout.readline()
            assert said, f"the script ended without having said {line!r}: {self.lines}"
            self.lines.append(said.rstrip("\n"))

    def interrupt(self) -> None:
        """Press Control-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> tuple[list[str], str]:
        """Wait for the end: everything it said, and what is on its standard error."""
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            pytest.fail(f"the script hangs, having said {self.lines}")
        self.lines += out.splitlines()
        return self.lines, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def interrupted(backend: str, body: str) -> tuple[list[str], str]:
    """What a script says that is interrupted as soon as it is ready."""
    with Script(backend, body) as script:
        script.wait_for("ready")
        script.interrupt()
        return script.end()


@pytest.mark.parametrize(
    "call",
    [
        "script(waits())",
        "script(waits(), schedule='eager')",
        "script(waits(), on_error='group')",
        "script(waits(), on_error='continue')",
        "script(outer())",
        "script([waits(cascade.inject('laboratory'))], state='memory:')",
    ],
)
def test_an_interrupt_is_a_plain_keyboard_interrupt_after_the_clean_up(backend_name: str, call: str) -> None:
    lines, _ = interrupted(backend_name, call)
    assert "task cleaned up" in lines
    assert lines[-1] == "ended in KeyboardInterrupt"


def test_resources_are_closed_before_the_interrupt_is_raised(backend_name: str) -> None:
    lines, _ = interrupted(backend_name, "script(waits(cascade.inject('laboratory')))")
    assert lines[:3] == ["ready", "task cleaned up", "laboratory closed"]


def test_threads_have_ended_before_the_interrupt_is_raised(backend_name: str) -> None:
    lines, _ = interrupted(backend_name, "script(works())")
    assert lines[:2] == ["ready", "thread ended"]
    assert lines[-1] == "ended in KeyboardInterrupt"


def test_a_thread_that_may_be_left_behind_does_not_hold_up_the_interrupt(backend_name: str) -> None:
    lines, _ = interrupted(backend_name, "script(stuck())")
    assert lines[-1] == "ended in KeyboardInterrupt"


@pytest.mark.needs("trio")
def test_a_failure_in_the_clean_up_does_not_hide_the_interrupt_on_trio_where_it_is_an_exception_of_its_own() -> (
    None
):
    lines, _ = interrupted("trio", "script(clumsy())")
    assert lines[-1] == "ended in KeyboardInterrupt"


def test_the_last_event_of_an_interrupted_run_is_delivered(backend_name: str) -> None:
    body = """
    async def observe(events):
        async for event in events:
            say(type(event).__name__)

    script(waits(), observers=[observe])
    """
    lines, _ = interrupted(backend_name, body)
    assert lines[-2] == "RunFinished"


def test_a_script_that_does_not_catch_the_interrupt_dies_of_the_signal(backend_name: str) -> None:
    with Script(backend_name, "cascade.run_sync(waits(), backend=sys.argv[1])") as script:
        script.wait_for("ready")
        script.interrupt()
        _, err = script.end()
    assert script.process.returncode == -signal.SIGINT
    assert err.rstrip().splitlines()[-1] == "KeyboardInterrupt"
    assert "ExceptionGroup" not in err


def test_a_second_interrupt_during_the_clean_up_does_not_hang(backend_name: str) -> None:
    with Script(backend_name, "script(waits(BOTH), [first, second])") as script:
        script.wait_for("ready")
        script.interrupt()
        script.wait_for("second closing")
        script.interrupt()
        lines, _ = script.end()
    assert lines[-1] == "ended in KeyboardInterrupt"
    assert ("second closed" in lines) is (backend_name == "trio")


EVERYWHERE = """
import asyncio

left = -1
run = asyncio.Handle._run

def counted(handle):
    global left
    left -= 1
    if left == 0:
        signal.raise_signal(signal.SIGINT)  # the step that is lost if this raises an error is about to be done
    run(handle)

asyncio.Handle._run = counted

@cascade.task
async def interrupted(*_):
    signal.raise_signal(signal.SIGINT)
    await anyio.sleep_forever()

@cascade.resource
async def slow():
    global left
    try:
        yield
    finally:
        left = number
        for _ in range(10):
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()

for number in range(1, 60):
    script([interrupted(cascade.inject("slow")), waits()], [slow])
    say(number, "left" if left > 0 else "struck")
    left = -1
"""


@pytest.mark.parametrize("backend_name", ["asyncio"])
def test_a_second_interrupt_amid_the_work_of_the_event_loop_loses_none_of_its_steps(backend_name: str) -> None:
    with Script(backend_name, EVERYWHERE) as script:
        lines, _ = script.end()
    assert [line for line in lines if line.startswith("ended in ")] == ["ended in KeyboardInterrupt"] * 59
    struck = [line for line in lines if line.endswith(" struck")]
    assert 20 < len(struck) < 59, "some interrupts are to come before the end, and some not at all"


@pytest.mark.parametrize("backend_name", ["asyncio"])
def test_a_third_interrupt_stops_what_blocks_the_event_loop(backend_name: str) -> None:
    body = """
    @cascade.task
    async def blocks():
        try:
            signal.raise_signal(signal.SIGINT)
            await anyio.sleep_forever()
        finally:
            signal.raise_signal(signal.SIGINT)
            say("second")
            signal.raise_signal(signal.SIGINT)
            say("third")

    script(blocks())
    """
    with Script(backend_name, body) as script:
        lines, _ = script.end()
    assert lines == ["second", "ended in KeyboardInterrupt"]


@pytest.mark.parametrize("backend_name", ["asyncio"])
def test_an_interrupt_while_handlers_are_set_is_not_lost(backend_name: str) -> None:
    body = """
    set_handler, left = signal.signal, 0

    def set_and_interrupt(number, handler):
        global left
        before = set_handler(number, handler)
        left -= 1
        if left == 0:
            signal.raise_signal(signal.SIGINT)
        return before

    signal.signal = set_and_interrupt
    for left, flow in ((1, waits()), (2, uses(None))):
        script(flow)
        say("left" if left > 0 else "struck")
    """
    with Script(backend_name, body) as script:
        lines, _ = script.end()
    assert [line for line in lines if "ready" not in line and "cleaned" not in line] == [
        "ended in KeyboardInterrupt",
        "struck",
    ] * 2


def test_an_interrupt_that_comes_with_the_end_is_not_lost(backend_name: str) -> None:
    body = """
    async def observe(events):
        async for event in events:
            pass
        signal.raise_signal(signal.SIGINT)

    script(uses(None), observers=[observe])
    """
    with Script(backend_name, body) as script:
        lines, _ = script.end()
    assert lines == ["ended in KeyboardInterrupt"]


def test_afterwards_interrupts_are_handled_as_before(backend_name: str) -> None:
    body = """
    script(uses(None))
    say(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.set_wakeup_fd(-1))
    """
    with Script(backend_name, body) as script:
        lines, _ = script.end()
    assert lines == ["True -1"]


def test_a_handler_that_a_flow_sets_stays_in_force(backend_name: str) -> None:
    body = """
    @cascade.task
    async def sets():
        signal.signal(signal.SIGINT, lambda *_: say("heard"))

    script(sets())
    signal.raise_signal(signal.SIGINT)
    """
    with Script(backend_name, body) as script:
        lines, _ = script.end()
    assert lines == ["heard"]


def test_a_handler_of_the_program_itself_stays_in_force(backend_name: str) -> None:
    body = """
    signal.signal(signal.SIGINT, lambda *_: say("heard"))

    @cascade.task
    async def interrupted():
        signal.raise_signal(signal.SIGINT)

    script(interrupted())
    """
    with Script(backend_name, body) as script:
        lines, _ = script.end()
    assert lines == ["heard"]


def test_an_interrupt_while_a_successful_run_is_closing_its_resources_does_not_hang(backend_name: str) -> None:
    with Script(backend_name, "script(uses(BOTH), [first, second])") as script:
        script.wait_for("second closing")
        script.interrupt()
        lines, _ = script.end()
    assert lines == ["second closing", "second closed", "first closed", "ended in KeyboardInterrupt"]


def test_a_process_does_not_wait_for_a_thread_that_was_left_behind(backend_name: str) -> None:
    body = """
    try:
        cascade.run_sync(stuck().with_timeout(0.1), backend=sys.argv[1])
    except cascade.TaskTimeoutError:
        say("timed out")
    """
    with Script(backend_name, body) as script:
        lines, err = script.end()
    assert "timed out" in lines  # after "ready", unless the machine is so loaded that the thread comes late
    assert (script.process.returncode, err) == (0, "")


def test_an_exit_of_a_task_is_the_exit_of_the_script(backend_name: str) -> None:
    body = """
    @cascade.task
    async def exits():
        sys.exit(7)

    cascade.run_sync([exits(), waits()], backend=sys.argv[1])
    """
    with Script(backend_name, body) as script:
        _, err = script.end()
    assert (script.process.returncode, err) == (7, "")
