"""Tasks for worker processes that write to the standard streams and log."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import threading

import cascade

log = logging.getLogger("talking.tasks")


@cascade.task(mode="process")
def says(out: str = "", err: str = "") -> str:
    print(out)
    print(err, file=sys.stderr)
    return "said"


@cascade.task(mode="process")
def says_in_turn(count: int) -> None:
    """Writes numbered lines in all the ways there are; the last two past Python."""
    for number in range(0, count, 5):
        print(number)
        print(number + 1, file=sys.stderr)
        log.warning("%d", number + 2)
        os.write(1, f"{number + 3}\n".encode())
        os.write(2, f"{number + 4}\n".encode())


@cascade.task(mode="process")
def says_in_pieces() -> None:
    sys.stdout.write("a")
    sys.stderr.write("b")
    sys.stdout.write("c")
    sys.stdout.buffer.write("ö".encode()[:1])
    sys.stdout.buffer.write("ö".encode()[1:])
    print("d", end="")


@cascade.task(mode="process")
def says_past_python(text: str) -> None:
    print("before")
    subprocess.run([sys.executable, "-c", f"print({text!r})"], check=True)
    subprocess.run([sys.executable, "-c", f"print({text!r})"], check=True, stdout=sys.stderr)
    print("after")


def _fork_says(text: str) -> None:
    print(text, flush=True)
    log.warning("logged by %s", text)


@cascade.task(mode="process")
def says_in_a_fork(text: str) -> str:
    print("unfinished", end="")
    child = multiprocessing.get_context("fork").Process(target=_fork_says, args=(text,))
    child.start()
    child.join()
    return f"status {child.exitcode}"


@cascade.task(mode="process")
def returns_twice() -> int:
    """Forks, and returns in both processes."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return os.getpid()


@cascade.task(mode="process")
def says_binary(data: bytes) -> None:
    os.write(1, data)


@cascade.task(mode="process")
def says_much(count: int) -> int:
    for number in range(count):
        print(f"line {number}", file=sys.stdout if number % 2 else sys.stderr)
    os.write(1, b"x" * 300_000)
    return count


@cascade.task(mode="process")
def says_much_at_once(size: int) -> None:
    """More than the other side reads at a time, which a larger pipe takes in without waiting."""
    import fcntl  # there is none on Windows

    fcntl.fcntl(1, fcntl.F_SETPIPE_SZ, 1 << 20)
    os.write(1, b"x" * size)
    print("after")


@cascade.task(mode="process")
def says_and_waits(marker: str) -> None:
    print("last words", flush=True)
    with open(f"{marker}.part", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{marker}.part", marker)
    threading.Event().wait()


@cascade.task(mode="process")
def says_and_dies() -> None:
    print("last words")
    os.write(2, b"of the process\n")
    os._exit(3)


@cascade.task(mode="process")
def says_forever(marker: str) -> None:
    with open(f"{marker}.part", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{marker}.part", marker)
    while True:
        print("again and again")


@cascade.task(mode="process")
def redirects() -> None:
    """Puts something else in the place of its file descriptors."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.write(1, b"to nowhere\n")
    print("to somewhere")


@cascade.task(mode="process")
def speaks_up(text: str) -> str:
    """Answers at once, while a thread goes on to write."""
    threading.Thread(target=print, args=(text,)).start()
    return text


@cascade.task(mode="process")
def reads() -> str:
    return sys.stdin.read(3)


class Unpicklable:
    """Cannot leave its process."""

    def __repr__(self) -> str:
        return "<a thing>"

    def __reduce__(self) -> str:
        raise TypeError("stays")


@cascade.task(mode="process")
def logs() -> None:
    log.debug("debug")
    log.info("info %s", 1)
    log.warning("warning %s", Unpicklable())
    log.error("extra", extra={"thing": Unpicklable(), "number": 1})
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("failed")
    logging.getLogger("talking.other").warning("other")
    logging.warning("root")


@cascade.task(mode="process")
def logs_wrongly() -> None:
    log.warning("%s and %s", 1)


@cascade.task(mode="process")
def logs_with_its_own_handler(path: str) -> None:
    handler = logging.FileHandler(path)
    log.addHandler(handler)
    log.warning("to both")
    handler.close()
    log.removeHandler(handler)
