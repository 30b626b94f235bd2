"""Draws ``run.svg``, the picture of a run in the README: a terminal in which the survey of the examples runs.

Needs rich and a POSIX system: ``python docs/picture.py``.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 84, 20
SURVEY = "examples/stdlib_survey.py:flow"
WORDS = ["run", SURVEY, "--resources", "parsers=4", "--run-id", "survey", "--log", "progress"]
# Moves to the beginning of the picture before, and clears it: what follows is the next picture.
_NEXT_PICTURE = re.compile(r"\r(?:\x1b\[2K|\x1b\[1A)+")


def typed() -> str:
    """What a terminal of that size gets while the command runs."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "cascade", *WORDS, "--output", f"{folder}/survey.md"]
        env = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(FOLDER.parent)}
        with subprocess.Popen(command, cwd=FOLDER.parent, stdout=theirs, stderr=theirs, env=env):
            os.close(theirs)
            received = b""
            try:
                while chunk := os.read(ours, 65536):
                    received += chunk
            except OSError:  # all who could write are gone
                pass
    os.close(ours)
    return received.decode()


def distance(frame: str) -> int:
    """How far from two thirds it is, in percent."""
    found = re.search(r"(\d+) %", frame)
    return abs(int(found[1]) - 66) if found else 100


def main() -> None:
    """Run the survey, and draw the picture nearest to two thirds."""
    frames = [frame for frame in _NEXT_PICTURE.split(typed().replace("\r\n", "\n")) if " % " in frame]
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text(f"$ cascade {' '.join(WORDS[:4])} \\\n    {' '.join(WORDS[4:])}"))
    console.print(Text.from_ansi(min(frames, key=distance).rstrip()))
    svg = console.export_svg(title="a run, at two thirds")
    # Without fonts from elsewhere: those that show it may not load any.
    (FOLDER / "run.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
