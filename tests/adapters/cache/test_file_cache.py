"""The cache that is the output file itself."""

from __future__ import annotations

import os
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

import pytest
from strategies_runtime import raised_by

import cascade
from cascade.cache import MISS, FileExistenceCache, Hit
from cascade.testing import record_events


async def test_a_file_that_is_there_is_a_hit_that_yields_its_path(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("")
    assert await FileExistenceCache(path).check("task", {}) == Hit(path)


async def test_a_file_that_is_not_there_is_a_miss(tmp_path: pathlib.Path) -> None:
    assert await FileExistenceCache(tmp_path / "out.txt").check("task", {}) is MISS


async def test_saving_writes_no_file(tmp_path: pathlib.Path) -> None:
    await FileExistenceCache(tmp_path / "out.txt").save("task", {}, "result")
    assert await FileExistenceCache(tmp_path / "out.txt").check("task", {}) is MISS


async def test_the_file_system_is_asked_in_a_worker_thread() -> None:
    class Asked:
        threads: set[int] = set()

        def __fspath__(self) -> str:
            self.threads.add(threading.get_ident())
            return "/nowhere"

    path = Asked()
    await FileExistenceCache(path).check("task", {})
    assert path.threads
    assert threading.get_ident() not in path.threads


async def test_a_task_that_writes_a_file_runs_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.txt"
    ran: list[int] = []

    @cascade.task
    def write() -> pathlib.Path:
        ran.append(1)
        path.write_text("written")
        return path

    flow = write().with_cache(FileExistenceCache(path))
    assert [await cascade.run(flow), await cascade.run(flow)] == [path, path]
    assert ran == [1]


# -- unfinished files ------------------------------------------------------------------------------------------


def marks(folder: pathlib.Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*.unfinished"))


async def test_a_file_is_marked_until_its_task_has_succeeded(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.txt"
    seen: list[Any] = []

    @cascade.task(cache=FileExistenceCache(path))
    def write() -> pathlib.Path:
        path.write_text("half")
        seen.append(marks(tmp_path))
        return path

    await cascade.run(write())
    assert seen == [[".out.txt.unfinished"]]
    assert marks(tmp_path) == []


async def test_the_half_file_of_a_task_that_failed_is_no_hit(tmp_path: pathlib.Path, schedule: Any) -> None:
    path = tmp_path / "out.txt"
    ran: list[int] = []

    @cascade.task(cache=FileExistenceCache(path))
    def write() -> pathlib.Path:
        ran.append(1)
        path.write_text("half")
        if len(ran) == 1:
            raise ValueError("in the middle")
        path.write_text("whole")
        return path

    await raised_by(write(), schedule=schedule)
    assert [await cascade.run(write(), schedule=schedule) for _ in range(2)] == [path, path]
    assert path.read_text() == "whole"
    assert len(ran) == 2


async def test_the_half_file_of_a_process_that_was_killed_is_no_hit(tmp_path: pathlib.Path) -> None:
    cache = FileExistenceCache(tmp_path / "out.txt")
    assert await cache.check("task", {}) is MISS
    (tmp_path / "out.txt").write_text("half")
    assert await cache.check("task", {}) is MISS  # as the next process asks
    await cache.save("task", {}, None)
    assert await cache.check("task", {}) == Hit(tmp_path / "out.txt")


async def test_a_retry_goes_on_with_its_own_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.txt"
    ran: list[int] = []

    @cascade.task(cache=FileExistenceCache(path), retry=cascade.Retry(2))
    def write() -> pathlib.Path:
        ran.append(1)
        path.write_text("half" if len(ran) == 1 else "whole")
        if len(ran) == 1:
            raise ValueError("in the middle")
        return path

    await cascade.run(write())
    assert path.read_text() == "whole"
    assert marks(tmp_path) == []


async def test_a_folder_may_be_what_a_task_makes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out"
    cache = FileExistenceCache(f"{path}/")
    assert await cache.check("task", {}) is MISS
    path.mkdir()
    assert await cache.check("task", {}) is MISS
    await cache.save("task", {}, None)
    assert await cache.check("task", {}) == Hit(f"{path}/")


async def test_a_missing_folder_is_made_for_the_mark(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a" / "b" / "out.txt"
    assert await FileExistenceCache(path).check("task", {}) is MISS
    assert marks(tmp_path) == [".out.txt.unfinished"]
    assert (path.parent / ".out.txt.unfinished").stat().st_mode & 0o777 == 0o600


async def test_a_mark_that_cannot_be_written_is_no_obstacle(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    cache = FileExistenceCache(tmp_path / "file" / "out.txt")
    assert await cache.check("task", {}) is MISS
    await FileExistenceCache(tmp_path / "none" / "out.txt").save("task", {}, None)


async def test_calls_that_make_the_same_file_at_the_same_time_make_it_once(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "out.txt"
    ran: list[int] = []

    @cascade.task(cache=FileExistenceCache(path))
    async def write(n: int) -> pathlib.Path:
        ran.append(n)
        path.write_text("whole")
        return path

    assert await cascade.run([write(1), write(2)]) == [path, path]
    assert len(ran) == 1


# -- a path for each call --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "inputs", "expected"),
    [
        ("out/{k}.txt", {"k": "a"}, "out/a.txt"),
        ("{k:03d}-{n!r}.txt", {"k": 5, "n": "x"}, "005-'x'.txt"),
        ("{k.real}{n[0]}.txt", {"k": 5, "n": "x"}, "5x.txt"),
        ("{{k}}.txt", {"k": "a"}, "{k}.txt"),
        (pathlib.PurePosixPath("out/{k}.txt"), {"k": "a"}, pathlib.PurePosixPath("out/a.txt")),
        (lambda inputs: f"out/{inputs['k']}.txt", {"k": "a"}, "out/a.txt"),
        ("out.txt", {"k": "a"}, "out.txt"),
    ],
)
def test_a_path_may_depend_on_the_arguments(path: Any, inputs: Mapping[str, Any], expected: Any) -> None:
    assert FileExistenceCache(path).path_of(inputs) == expected


async def test_each_item_of_a_map_has_its_file(tmp_path: pathlib.Path, schedule: Any) -> None:
    ran: list[str] = []

    @cascade.task
    def item(k: str, folder: str) -> str:
        ran.append(k)
        path = f"{folder}/{k}.out"
        pathlib.Path(path).write_text(k)
        return path

    def flow(*ks: str) -> Any:
        call = item.partial(folder=str(tmp_path)).map(k=list(ks))
        return call.with_cache(FileExistenceCache("{folder}/{k}.out"))

    expected = [f"{tmp_path}/{k}.out" for k in "abc"]
    assert await cascade.run(flow("a", "b"), schedule=schedule) == expected[:2]
    assert await cascade.run(flow("a", "b", "c"), schedule=schedule) == expected
    assert sorted(ran) == ["a", "b", "c"]


@cascade.task
def square(n: int, folder: str = "out") -> int:
    return n * n


@pytest.mark.parametrize("path", ["out.txt", pathlib.Path("out.txt"), "{folder}/out.txt", "{{n}}.txt"])
@pytest.mark.parametrize("is_default", [False, True])
async def test_one_file_for_all_items_of_a_map_is_refused(path: Any, is_default: bool) -> None:
    cache = FileExistenceCache(path)
    task: Any = cascade.task(cache=cache if is_default else None)(square.func)
    mapped = task.map(n=[1, 2])
    with pytest.raises(cascade.GraphError, match=r"^square\.map\(\): .* names one file for all items; .*\{n\}"):
        await cascade.run(mapped if is_default else mapped.with_cache(cache))


@pytest.mark.parametrize("path", ["{n}.txt", "{n.real}.txt", "{folder}/{n}", lambda inputs: f"{inputs['n']}.txt"])
def test_a_file_for_each_item_is_not(path: Any) -> None:
    cascade.plan(square.map(n=[1, 2]).with_cache(FileExistenceCache(path)))


async def test_a_path_that_names_no_argument_is_told(tmp_path: pathlib.Path) -> None:
    async with cascade.Engine() as engine:
        with record_events(engine) as recorded:
            assert await engine.run(square(3).with_cache(FileExistenceCache(str(tmp_path / "{x}.txt")))) == 9
    messages = [warning.message for warning in recorded.of(cascade.EngineWarning)]
    assert any("names 'x', which is no argument of the task (it has: n, folder)" in text for text in messages)


def test_a_function_that_returns_no_path_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="must return a path, not 5"):
        FileExistenceCache(lambda inputs: inputs["n"]).path_of({"n": 5})


async def test_the_working_directory_of_the_check_counts(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.txt").touch()
    assert await FileExistenceCache("out.txt").check("task", {}) == Hit("out.txt")
    assert FileExistenceCache("out.txt").place_of("task", {}) == ("file", os.path.join(tmp_path, "out.txt"))
