"""One word for one thing: words that were given up do not come back, and what documents name is there."""

from __future__ import annotations

import importlib
import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

import attrs
import pytest

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "cascade"
ARCHITECTURE: Final = ROOT / "docs" / "architecture.md"
DOCUMENTS: Final = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
CODE: Final = sorted(
    chain.from_iterable((ROOT / folder).rglob("*.py") for folder in ("cascade", "tests", "benchmarks", "proof"))
)
# The words stand here as well.
EVERYTHING: Final = [*DOCUMENTS, *(path for path in CODE if path != Path(__file__))]

# Where another word begins in an identifier such as ThreadCrew.
_CAPITAL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")


@attrs.frozen
class Retired:
    """Words that are not used any more.

    Attributes:
        pattern: A regular expression for them, as whole words, also inside of identifiers.
        instead: What is said today.
        under: The folders, or files, in which they are not used; everywhere by default.
        is_exact: Whether capitals matter.
    """

    pattern: str
    instead: str
    under: tuple[str, ...] = ("",)
    is_exact: bool = False

    def found_in(self, path: Path, text: str) -> Iterator[str]:
        """Where the words stand in *text*, the content of *path*."""
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(self.under):
            return
        flags = re.NOFLAG if self.is_exact else re.IGNORECASE
        whole = re.compile(rf"(?<![A-Za-z])(?:{self.pattern})(?![A-Za-z])", flags)
        for number, line in enumerate([name, *text.splitlines()]):
            found = whole.search(line if self.is_exact else _CAPITAL.sub(" ", line))
            if found is not None and (name, found[0]) not in ALLOWED:
                yield f"{name}:{number}: {found[0]!r}; say {self.instead}"


RETIRED: Final = (
    Retired("crews?", "scheduler"),
    Retired("antechambers?", "crowd: nodes that wait behind others of their task"),
    Retired("conduct(?:s|ed|ing|ors?)?", "lifetime, of a run"),
    Retired("flights", "single flight, which has one Flight a key"),
    Retired("ledgers?", "journal for what writes, history for what is read", under=("cascade/runtime/", "docs/")),
    Retired("predecessors?", "what a call runs after", under=("cascade/", "docs/", "README.md")),
    Retired("Execution", "RunContext", under=("cascade/runtime/", "docs/"), is_exact=True),
    Retired("Surroundings", "RunContext", is_exact=True),
    Retired(
        "(?:execution|(?<!run_)context): RunContext",
        "run_context",
        under=tuple(f"cascade/runtime/{room}/" for room in ("engine", "execution", "run", "scheduling")),
        is_exact=True,
    ),
)

# Modules that said too little of what is in them, and what they are called in ``cascade/runtime`` today.
RENAMED: Final = {
    "capacity": "pool", "current": "task_context", "drive": "step_in_context", "lanes": "loop_lane, thread_lane",
    "lines": "waiting_line", "link": "remote_link, telemetry", "loop": "tail_loop", "maps": "map_items",
    "node": "node_run", "overdue": "overdue_watch", "pacing": "simulation_seam", "plugins": "lazy_import",
    "prepare": "preparation", "queues": "ready_queue", "remote": "remote_client", "rules": "standing_rules",
    "run": "handle", "slices": "fairness", "state": "backend", "stores": "urls", "turns": "hot_turns",
    "wire": "protocol, connector",
}  # fmt: skip

# File and word: why it may stand there.
ALLOWED: Final = {
    ("cascade/runtime/engine/urls.py", "ledger"): "names modules of adapters/ that read what a store says",
}

# -- what documents name ----------------------------------------------------------------------------------------

_FOLDERS: Final = "adapters|cli|control|graph|model|planning|runtime|testing|tests|benchmarks|proof|docs|examples"
_PATH: Final = re.compile(rf"(?<![\w/.:~-])(?:cascade/)?(?:{_FOLDERS})(?:(?:/\w+)+(?:/|\.(?:py|md|toml)\b)|/)")
_DOTTED: Final = re.compile(r"(?<![\w/.])cascade(?:\.[A-Za-z_]\w*)+")
_FILE: Final = re.compile(r"`((?:\w+/)*\w+\.py)`")
_NAME: Final = re.compile(r"`([A-Za-z_]\w*)`")


def missing_paths(text: str) -> Iterator[str]:
    """Paths of the project in *text* that lead nowhere."""
    for found in _PATH.findall(text):
        if not any((base / found).exists() for base in (ROOT, PACKAGE)):
            yield found


def leads_somewhere(dotted: str) -> bool:
    """Whether *dotted* is a module, or a name in one."""
    place, *names = dotted.split(".")
    thing = importlib.import_module(place)
    try:
        for name in names:
            place = f"{place}.{name}"
            try:
                thing = importlib.import_module(place)
            except ModuleNotFoundError:
                if not hasattr(thing, name):
                    return False
                thing = getattr(thing, name)
    except ImportError as error:  # it is there, and says which extra it needs
        return "pip install" in str(error)
    return True


@pytest.mark.parametrize("retired", RETIRED, ids=lambda retired: retired.pattern)
def test_words_that_were_given_up_do_not_come_back(retired: Retired) -> None:
    assert [found for path in EVERYTHING for found in retired.found_in(path, path.read_text("utf-8"))] == []


def test_modules_of_the_runtime_keep_the_names_that_say_more() -> None:
    assert RENAMED.keys().isdisjoint(path.stem for path in (PACKAGE / "runtime").rglob("*.py"))


@pytest.mark.parametrize(("name", "word"), ALLOWED)
def test_an_exception_is_still_needed(name: str, word: str) -> None:
    assert word in (ROOT / name).read_text("utf-8")


def test_paths_that_are_named_exist() -> None:
    missing = {path.name: [*missing_paths(path.read_text("utf-8"))] for path in EVERYTHING}

    assert {name: paths for name, paths in missing.items() if paths} == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_modules_that_documents_name_exist(document: Path) -> None:
    named = set(_DOTTED.findall(document.read_text("utf-8")))

    assert [dotted for dotted in sorted(named) if not leads_somewhere(dotted)] == []


# -- the architecture -------------------------------------------------------------------------------------------


def test_the_architecture_is_short() -> None:
    lines = ARCHITECTURE.read_text("utf-8").splitlines()

    assert len(lines) <= 200
    assert [line for line in lines if len(line) > 140] == []


def test_files_and_names_in_the_architecture_exist() -> None:
    text = ARCHITECTURE.read_text("utf-8")
    files = [path.as_posix() for path in PACKAGE.rglob("*.py")]
    words = {word for path in PACKAGE.rglob("*.py") for word in re.findall(r"\w+", path.read_text("utf-8"))}

    named = set(_FILE.findall(text))
    assert [file for file in sorted(named) if not any(path.endswith(f"/{file}") for path in files)] == []
    assert set(_NAME.findall(text)) <= words


def test_the_architecture_has_the_rooms_in_the_order_of_the_contract() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = {contract["name"]: contract for contract in project["tool"]["importlinter"]["contracts"]}
    rooms = [room for layer in contracts["The rooms of the runtime"]["layers"] for room in layer.split(" | ")]
    text = ARCHITECTURE.read_text("utf-8")
    picture = text.partition("## The rooms")[2].partition("```text\n")[2].partition("```")[0]

    assert re.findall(r"(?:^|\|   )(\w+) {3}", picture, re.MULTILINE) == rooms
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.MULTILINE) == rooms
    assert sorted(rooms) == sorted(path.parent.name for path in PACKAGE.glob("runtime/*/__init__.py"))


# -- the tests see what is wrong --------------------------------------------------------------------------------

CREW: Final = Retired("crews?", "scheduler", under=("docs/",))
PLACE: Final = ROOT / "docs" / "page.md"


@pytest.mark.parametrize("text", ["the crew", "Crews start it", "a_crew = 1", "class ThreadCrew:", "crew2"])
def test_a_word_is_found_in_text_and_in_identifiers(text: str) -> None:
    (found,) = CREW.found_in(PLACE, f"first\n{text}\n")

    assert found.startswith("docs/page.md:2: ")


@pytest.mark.parametrize("text", ["a screw", "crewel", "nothing"])
def test_other_words_are_left_alone(text: str) -> None:
    assert [*CREW.found_in(PLACE, text)] == []


def test_a_word_is_found_in_the_name_of_a_file() -> None:
    assert [*CREW.found_in(ROOT / "docs" / "crew.md", "")] == ["docs/crew.md:0: 'crew'; say scheduler"]


def test_a_word_may_be_retired_in_some_places_only() -> None:
    assert [*CREW.found_in(ROOT / "tests" / "life.py", "a crew")] == []


def test_a_path_that_leads_nowhere_is_found() -> None:
    text = "`runtime/nothing.py`, tests/life.py, cascade/runtime/, https://x.org/docs/none.md, docs/index.md."

    assert [*missing_paths(text)] == ["runtime/nothing.py"]


def test_a_module_that_is_not_there_is_found() -> None:
    assert leads_somewhere("cascade.testing.virtual_backends")
    assert not leads_somewhere("cascade.runtime.nothing")
