"""Frames and marked pipes: what is put together from pieces of any size."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cascade.adapters.executors.frames import FrameBuffer, Kind, frame, send_some
from cascade.adapters.executors.output import MarkedPipe, Screen, new_mark

MARK = b"\0" + b"0123456789abcdef"
# Received in its place.
LARGE = b"x" * 70_000


def pieces_of(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """*data*, cut at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in itertools.pairwise(places):
        yield data[start:end]


# What may look like a mark, or like the beginning of one.
texts = (
    st.lists(st.sampled_from([b"a", b"\0", b"\0" + b"01", MARK[:-1], MARK[1:], b"\n"]), max_size=4)
    .map(b"".join)
    .filter(lambda text: MARK not in text)
)


@given(st.lists(texts, min_size=1, max_size=5), st.lists(st.integers(0, 1000)))
@example([MARK[:-1], b""], [16])
@example([b"\0", b"\0"], [1])
def test_marks_are_found_however_what_is_read_is_cut(between: list[bytes], cuts: list[int]) -> None:
    pipe = MarkedPipe(-1, "stdout", MARK)
    found = [b""]
    for piece in pieces_of(MARK.join(between), cuts):
        pipe.feed(piece)
        found[-1] += pipe.take()
        while pipe.is_at_mark:
            pipe.pass_mark()
            found.append(pipe.take())
    pipe.finish()
    found[-1] += pipe.take()
    assert found == between


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(0, 1000)))
def test_text_without_marks_is_not_kept_back(texts: list[bytes], cuts: list[int]) -> None:
    pipe = MarkedPipe(-1, "stdout", MARK)
    data = b"".join(texts).replace(b"\0", b"x")
    for piece in pieces_of(data, cuts):
        pipe.feed(piece)
        assert pipe.take() == piece


def test_marks_are_few_bytes_and_differ() -> None:
    assert len({new_mark() for _ in range(100)}) == 100
    assert len(new_mark()) < 64


@given(
    st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=20) | st.just(LARGE))),
    st.lists(st.integers(0, 1_000_000), max_size=8),
)
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[tuple[Kind, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(bytes(piece) for kind, data in frames for piece in frame(kind, data))
    buffer = FrameBuffer()
    found = []
    for piece in pieces_of(stream, cuts):
        buffer.feed(piece)
        while (taken := buffer.take()) is not None:
            found.append((taken[0], bytes(taken[1])))
    assert found == frames
    assert buffer.space() is None


def test_there_is_space_for_the_rest_of_a_large_frame_and_of_no_other() -> None:
    buffer = FrameBuffer()
    for data, missing in [(b"small", None), (LARGE, len(LARGE) - 3)]:
        whole = b"".join(frame(Kind.RESULT, data))
        buffer.feed(whole[:12])
        space = buffer.space()
        assert (None if space is None else len(space)) == missing
        if space is None:
            buffer.feed(whole[12:])
        else:
            with space:
                space[:] = whole[12:]
            buffer.fill(len(whole) - 12)
        assert buffer.take() == (Kind.RESULT, data)
        assert buffer.take() is None


@pytest.mark.skipif(os.name == "nt", reason="sockets take in all that there is room for")
def test_pieces_are_sent_whole_however_little_goes_at_a_time() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        pieces = [*frame(Kind.CALL, b""), *frame(Kind.ARGUMENTS, os.urandom(3_000_000)), *frame(Kind.CALL, b"x")]
        whole, arrived, refusals = b"".join(pieces), bytearray(), 0
        while pieces:
            try:
                send_some(ours, pieces)
            except BlockingIOError:
                refusals += 1
                arrived += theirs.recv(100_000)
        ours.close()
        while data := theirs.recv(100_000):
            arrived += data
    assert refusals > 1
    assert arrived == whole


class Noting(io.StringIO):
    """A stream that notes when it is written to and flushed."""

    def __init__(self, name: str, notes: list[str]) -> None:
        super().__init__()
        self.label = name
        self.notes = notes

    def write(self, text: str) -> int:
        self.notes.append(f"{self.label}: {text}")
        return len(text)

    def flush(self) -> None:
        self.notes.append(f"{self.label} flushed")


def test_a_stream_is_flushed_before_the_other_is_written_to() -> None:
    notes: list[str] = []
    screen = Screen()
    with contextlib.redirect_stdout(Noting("out", notes)), contextlib.redirect_stderr(Noting("err", notes)):
        for name, text in [("stdout", b"a"), ("stdout", b"b"), ("stderr", b"c"), ("stdout", b"d")]:
            screen.write(name, text)  # type: ignore[arg-type]  # these are the names
        screen.flush()
        screen.flush()
    assert notes == ["out: a", "out: b", "out flushed", "err: c", "err flushed", "out: d", "out flushed"]


def test_a_character_that_is_cut_in_two_is_written_whole() -> None:
    screen, out = Screen(), io.StringIO()
    with contextlib.redirect_stdout(out):
        for byte in "aöß€".encode():
            screen.write("stdout", bytes([byte]))
    assert out.getvalue() == "aöß€"


def test_a_stream_needs_no_flush() -> None:
    class Written:
        text = ""

        def write(self, text: str) -> None:
            self.text += text

    written, screen = Written(), Screen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", written)
        screen.write("stdout", b"text")
        screen.flush()
    assert written.text == "text"


@pytest.mark.skipif(os.name == "nt", reason="pipes block there")
def test_what_is_left_in_a_pipe_is_read_at_the_end() -> None:
    reads, writes = os.pipe()
    os.set_blocking(reads, False)
    try:
        pipe = MarkedPipe(reads, "stderr", MARK)
        assert pipe.read()
        pipe.read_last()
        assert pipe.take() == b""
        os.write(writes, b"text" + MARK[:3])
        pipe.read_last()
        assert pipe.take() == b"text" + MARK[:3]
        os.close(writes)
        assert not pipe.read()
    finally:
        os.close(reads)
